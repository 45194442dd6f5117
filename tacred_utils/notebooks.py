"""A notebook as a step to run: what it depends on, what it wrote, whether that is up to date."""

import ast
import hashlib
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from tacred_utils.errors import UserError
from tacred_utils.outputs import PUBLISHED, Places, read_manifest
from tacred_utils.paths import PACKAGE, ROOT, write_text
from tacred_utils.registry import corpus_files, data_folder

PARAMETERS = ("profile", "corpus", "data_dir", "labels", "seeds", "results")  # what every notebook takes
REFERENCES = ("authors", "retacred", "tacrev")  # read beside the corpus, from the same data folder


@dataclass(frozen=True)
class Job:
    """One notebook with its parameters. `inputs` is the digest of all it depends on but the data files."""

    source: Path
    where: Places
    parameters: dict[str, object]
    inputs: str

    @property
    def number(self) -> str:
        return self.source.name[:2]

    @property
    def executed(self) -> Path:
        return self.where.executed / self.source.name

    @property
    def log(self) -> Path:
        return self.where.logs / f"{self.number}.log"

    @property
    def stamp(self) -> Path:
        return self.where.stamps / f"{self.number}.json"

    def written(self) -> dict[Path, int]:
        """Figures and tables that the manifests call its own, with the time of writing (in nanoseconds)."""
        folders = [self.where.figures, self.where.figures.parent / PUBLISHED]
        entries = [
            (folder / file, entry) for folder in folders for file, entry in read_manifest(folder).items()
        ]
        own = [file for file, entry in entries if entry.get("notebook") == self.number and file.exists()]
        return {file: file.stat().st_mtime_ns for file in own}

    def data_files(self) -> dict[str, list[int]]:
        """Size and time of each file that it may read: the corpus, and what is published about TACRED."""
        data = ROOT / data_folder(self.parameters["data_dir"])
        files = corpus_files(self.parameters["corpus"], data)
        files += [path for name in REFERENCES for path in (data / name).rglob("*")]
        return {
            str(path): [(stat := path.stat()).st_size, stat.st_mtime_ns] for path in files if path.is_file()
        }

    def last(self) -> dict:
        """The stamp of the last complete run: inputs, data, outputs, seconds. Empty without one."""
        try:
            stamp = json.loads(self.stamp.read_text(encoding="utf-8"))
            return stamp if isinstance(stamp, dict) else {}
        except (OSError, ValueError):
            return {}

    def is_current(self) -> bool:
        """Whether inputs and data are those of the last complete run, and all that it wrote is unchanged."""
        stamp = self.last()
        if stamp.get("inputs") != self.inputs or stamp.get("data") != self.data_files():
            return False
        return all(_digest(ROOT / file) == digest for file, digest in stamp["outputs"].items())

    def complete(self, data: dict[str, list[int]], outputs: list[Path], seconds: float) -> None:
        """Write the stamp. `data` is what the files were at the start; what was downloaded since is added."""
        stamp = {
            "inputs": self.inputs,
            "data": self.data_files() | data,
            "outputs": {portable(path): _digest(path) for path in outputs},
            "seconds": round(seconds, 1),
        }
        write_text(self.stamp, json.dumps(stamp, indent=1))


def make_job(source: Path, where: Places, parameters: dict[str, object]) -> Job:
    """A job of a notebook that is checked to take all parameters. Raises `UserError` if it does not."""
    cells = _cells(source)
    tagged = ["".join(cell["source"]) for cell in cells if "parameters" in cell["metadata"].get("tags", [])]
    needs = f"tag the one cell that sets {', '.join(PARAMETERS)}"
    if len(tagged) != 1:
        raise UserError(f"{source}: {len(tagged)} cells are tagged `parameters`, not one; {needs}.")
    missing = set(parameters) - _assigned(tagged[0])
    if missing:
        raise UserError(f"{source}: its parameters cell does not set {', '.join(sorted(missing))}; {needs}.")
    files = [
        path for path in sorted(PACKAGE.rglob("*")) if path.is_file() and "__pycache__" not in path.parts
    ]
    code = [(cell["cell_type"], "".join(cell["source"])) for cell in cells]
    sums = [(portable(path), _digest(path)) for path in [ROOT / "requirements.txt", *files]]
    parts = json.dumps([code, sums, sys.version_info[:2], parameters])
    return Job(source, where, parameters, hashlib.sha256(parts.encode()).hexdigest())


def portable(value: Path | str) -> str:
    """A path as notebooks and stamps write it: relative to the root where it lies below it."""
    path = Path(value)
    return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else os.fspath(path)


def _cells(source: Path) -> list[dict]:
    try:
        return json.loads(source.read_text(encoding="utf-8"))["cells"]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{source}: is not a notebook ({error!r}); restore it.") from error


def _assigned(code: str) -> set[str]:
    """Names that a piece of code sets at its top level."""
    targets: list[ast.expr] = []
    for statement in ast.parse(code).body:
        if isinstance(statement, ast.Assign):
            targets += statement.targets
        elif isinstance(statement, ast.AnnAssign):
            targets.append(statement.target)
    return {target.id for target in targets if isinstance(target, ast.Name)}


def _digest(path: Path) -> str | None:
    """sha256 of a file's content; None for a file that is not there."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None

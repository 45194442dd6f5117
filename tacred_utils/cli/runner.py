"""Runs the notebooks in order, skips those that are up to date, stops at the first failure with its cause."""

import argparse
import hashlib
import json
import logging
import os
import re
import shlex
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
from filelock import FileLock, Timeout

from tacred_utils.corpora.registry import SOURCES, corpora, corpus_files, corpus_name
from tacred_utils.ground.errors import UserError
from tacred_utils.ground.files import UNDECODABLE, expanded, read_bytes, write_text
from tacred_utils.ground.paths import DATA, NOTEBOOKS, PACKAGE, PUBLISHED_RUNS, ROOT
from tacred_utils.notebook.manifest import Places, forget, made_by, places
from tacred_utils.runs.profile import checked_seeds, load_profile

REFERENCES = ("authors", "retacred", "tacrev")  # read beside the corpus, from the same data folder
ADDED = {"injected-parameters", "papermill-error-cell-tag"}  # tags of cells that papermill adds
VOLATILE = {"papermill", "execution", "widgets", "language_info"}  # parts of a notebook that are not kept
WIDGET = "application/vnd.jupyter.widget-view+json"
READS = re.compile(r"study\.(find|systems)\(|\bshelves\(")  # marks a notebook that reads runs and trains none
ANY_RUN = re.compile(r"study\.find\(|\bshelves\(")  # … and not those of the study's systems alone
GATHERS = re.compile(r"\bshelves\(")  # marks one that reads the published runs of all corpora as well
HINTS = {  # where the error itself says little
    "SystemExit": "sys.exit leaves the cells below undone; raise an error instead",
    "DeadKernelError": "the kernel died, most often because memory ran out; lower batch_size in the profile",
}


class Stamp(msgspec.Struct):
    """What a complete run of a notebook was made from and what it wrote, and its seconds."""

    inputs: str
    outputs: dict[str, str | None]  # digests by file
    seconds: float


class _Metadata(msgspec.Struct):
    tags: list[str] = []


class _Cell(msgspec.Struct):
    cell_type: str
    metadata: _Metadata
    source: str | list[str]


class _Notebook(msgspec.Struct):
    cells: list[_Cell]


class NotebookFailed(Exception):
    """A notebook did not complete, and it was not a mistake of the user."""


STATUS = {UserError: 2, NotebookFailed: 1, KeyboardInterrupt: 130}


@dataclass(frozen=True)
class Job:
    """One notebook with its parameters; `given` is the digest of all that it is made from, but for runs."""

    source: Path
    where: Places
    parameters: dict[str, object]
    given: str
    reads: tuple[Path, ...] = ()  # the folders of the runs that it reads and does not train
    any_run: bool = True  # whether it reads more of them than the study's systems

    @property
    def number(self) -> str:
        return self.source.name[:2]

    @property
    def inputs(self) -> str:
        """The digest of all that it is made from; for a reader of runs it changes with the runs that are there."""
        runs = [run for folder in self.reads for run in sorted(folder.glob("*/run.json"))]
        if not self.any_run:  # a later notebook may have trained others for its own sake
            from tacred_utils.runs.experiments import of_a_system  # here: pandas takes a second
            from tacred_utils.runs.store import Run, is_done

            profile = load_profile(self.parameters["profile"])
            runs = [run for run in runs if is_done(run.parent) and of_a_system(Run(run.parent), profile)]
        parts = [self.given, *(f"{run.parent.name} {_digest(run)}" for run in runs)]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    @property
    def stamp(self) -> Path:
        return self.where.stamps / f"{self.number}.json"

    def last(self) -> Stamp | None:
        """The stamp of the last complete run; None without one that can be read."""
        try:
            return msgspec.json.decode(self.stamp.read_bytes(), type=Stamp)
        except (OSError, *UNDECODABLE):
            return None

    def is_current(self) -> bool:
        """Whether inputs are those of the last complete run, and all that it wrote is unchanged."""
        stamp = self.last()
        same = stamp is not None and stamp.inputs == self.inputs
        return same and all(_digest(ROOT / file) == digest for file, digest in stamp.outputs.items())

    def written(self) -> dict[Path, int]:
        """Its figures and tables by the manifests, with the time of writing (nanoseconds)."""
        folders = (self.where.figures, self.where.figures.parent / "published")
        files = [folder / name for folder in folders for name in made_by(self.number, folder)]
        return {file: file.stat().st_mtime_ns for file in files if file.exists()}


def _folder(text: str) -> Path:
    """The folder as an absolute path. Raises `UserError` for links that go in a circle, or if here is no folder."""
    try:
        return expanded(text).resolve()
    except (OSError, RuntimeError) as error:
        raise UserError(f"{text}: leads to no folder ({error}); name another, or start elsewhere.") from None


def run(options: argparse.Namespace) -> int:
    """Run the notebooks that are asked for and are not up to date; one run at a time in a results folder."""
    options.results = _folder(options.results) / ("smoke" if options.profile == "smoke" else "")
    os.environ["TACRED_STUDY_PROCESSES"] = str(options.processes)  # for `Study.run`
    try:
        jobs = plan(options)
        options.results.mkdir(parents=True, exist_ok=True)
        with FileLock(options.results / ".runner.lock", timeout=0):
            return run_jobs(jobs, options.force, options.arguments)
    except Timeout:
        raise UserError(f"{options.results}: another run works here; choose other --results.") from None
    except OSError as error:
        raise _unwritten(error, options.results) from error


def _unwritten(error: OSError, place: Path) -> UserError:
    return UserError(f"{error.filename or place}: {error.strerror or error}; free space, or choose other --results.")


def plan(options: argparse.Namespace) -> list[Job]:
    """The notebooks that are asked for; downloads an open corpus that is not there. Raises `UserError`."""
    sources, data = _chosen(options), _folder(options.data_dir or DATA)
    if options.data_dir and not data.is_dir():
        raise UserError(f"--data-dir {options.data_dir}: there is no such folder; name another.")
    corpus = options.corpus or load_profile(options.profile or "sample").corpus
    if corpus not in corpora():
        corpus = str(_folder(corpus))  # notebooks do not work in the caller's folder
    name = corpus_name(corpus, data, options.labels)
    where = places(options.profile or "sample", options.results, name)
    _fetch(corpus, data)
    folder = options.data_dir and _portable(data)
    parameters = {
        "profile": options.profile or "sample", "corpus": corpus, "data_dir": folder, "labels": options.labels,
        "seeds": options.seeds and checked_seeds(options.seeds), "results": _portable(options.results),
    }  # fmt: skip
    shared = [parameters, sys.version_info[:2], _digests(corpus, data)]
    jobs = []
    for source in sources:
        cells = _cells(source, parameters)
        digest = hashlib.sha256(json.dumps([cells, *shared]).encode()).hexdigest()
        reads = [options.results / name] if any(map(READS.search, cells)) else []
        reads += sorted(PUBLISHED_RUNS.glob("*/")) if any(map(GATHERS.search, cells)) else []
        jobs.append(Job(source, where, parameters, digest, tuple(reads), any(map(ANY_RUN.search, cells))))
    return jobs


def _chosen(options: argparse.Namespace) -> list[Path]:
    known = {int(path.name[:2]): path for path in sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))}
    wrong = {*options.only, options.first} - {0, *known}
    chosen = [path for n, path in known.items() if n >= options.first and n in (options.only or known)]
    if wrong or not chosen:
        there = ", ".join(f"{n:02}" for n in known)
        raise UserError(f"--only, --from: no notebook {min(wrong, default='is left')}; there are {there}.")
    return chosen


def _fetch(corpus: str, data: Path) -> None:
    """Download a corpus that is open and not complete below `data`."""
    is_open = corpus in SOURCES and SOURCES[corpus].url
    if is_open and not all(path.exists() for path in corpus_files(corpus, data)):
        from tacred_utils.corpora.download import get  # most runs do without

        print(f"Downloading {corpus} into {data / corpus}", flush=True)
        get(corpus, data)


def _cells(source: Path, parameters: Iterable[str]) -> list[str]:
    """The cells of a notebook without outputs. Raises `UserError` if it is damaged or does not take all parameters."""
    try:
        cells = msgspec.json.decode(read_bytes(source), type=_Notebook).cells
    except UNDECODABLE as error:
        raise UserError(f"{source}: is no readable notebook ({error}); restore it.") from None
    code = "\n".join("".join(cell.source) for cell in cells if "parameters" in cell.metadata.tags)
    missing = [name for name in parameters if not re.search(rf"^{name}\b.*=", code, re.MULTILINE)]
    if missing:
        raise UserError(f"{source}: its parameters cell does not set {', '.join(missing)}; set each there.")
    return [f"{cell.cell_type} {''.join(cell.source)}" for cell in cells]


def _digests(corpus: str, data: Path) -> dict[str, str | None]:
    """Digests of the files that any notebook may read: package, pins, corpus, what is published on TACRED."""
    files = [ROOT / "requirements.txt", *PACKAGE.rglob("*"), *corpus_files(corpus, data)]
    files += [path for name in REFERENCES for path in (data / name).rglob("*")]
    return {_portable(file): _digest(file) for file in sorted(files) if "__pycache__" not in file.parts}


def _portable(path: Path) -> str:
    """A path as notebooks and stamps write it: relative to the root where it lies below it."""
    return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else str(path)


def _digest(path: Path) -> str | None:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


def run_jobs(jobs: list[Job], force: bool, arguments: list[str]) -> int:
    """Run the jobs in order; the exit status. What stops it is told with the command that resumes."""
    if force:
        os.environ["TACRED_STUDY_FORCE"] = "1"  # `Study.run` trains again
    stale = [job for job in jobs if force or not job.is_current()]
    expected = {job.number: stamp.seconds if (stamp := job.last()) else 60.0 for job in stale}
    start = time.monotonic()
    for place, job in enumerate(jobs, start=1):
        head = f"[{place}/{len(jobs)}] {job.source.stem:<24}"
        try:
            if not force and job.is_current():  # asked again: the notebooks before it may have made runs that it reads
                print(head, "up to date", flush=True)
                continue
            left = _clock(sum(expected.values()))
            seconds = execute(job, f"{head} {{n}}/{{total}} cells in {{elapsed}}, about {left} left in all")
        except (OSError, *STATUS) as error:
            stop = _unwritten(error, job.where.logs) if isinstance(error, OSError) else error
            cause = str(stop) or f"Stopped by Ctrl-C in {job.source.name}."
            print(f"{cause}\nTo resume: {_resume(arguments, job.number)}", file=sys.stderr)
            return STATUS[type(stop)]
        expected.pop(job.number, None)
        left = f"about {_clock(sum(expected.values()))} left" if expected else "finished"
        elapsed = _clock(time.monotonic() - start)
        print(f"{head} done in {_clock(seconds)} (elapsed {elapsed}, {left})", flush=True)
    return 0


def _clock(seconds: float) -> str:
    """95 → "1 min 35 s"."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def _resume(arguments: list[str], number: str) -> str:
    """This run's command from notebook `number` on; what completed under --force is not done again."""
    script = "./run_all.sh" if Path.cwd() == ROOT else shlex.quote(str(ROOT / "run_all.sh"))
    kept = re.sub(r" --(force|from[= ]\S+)", "", f" {shlex.join(arguments)}")
    return f"{script}{kept.rstrip()} --from {number}"


def execute(job: Job, bar: str) -> float:
    """Run one notebook and return its seconds; it counts only if every cell completed."""
    start, before = time.monotonic(), job.written()
    job.where.logs.mkdir(parents=True, exist_ok=True)
    job.stamp.unlink(missing_ok=True)
    failed, log = job.where.logs / f"{job.number}_failed.ipynb", job.where.logs / f"{job.number}.log"
    cause = _papermill(job, failed, log, bar)
    notebook = json.loads(failed.read_text(encoding="utf-8"))
    _check(notebook, cause, job.source.name, log)
    given = {str(value): name.upper() for name, value in job.parameters.items() if os.path.isabs(str(value))}
    names = {str(ROOT): ".", sys.prefix: "ENVIRONMENT", str(Path.home()): "~"} | given
    executed = job.where.executed / job.source.name
    write_text(executed, clean(notebook, names))
    failed.unlink()
    made = [file for file, when in job.written().items() if before.get(file) != when]
    forget(job.where.figures, before.keys() - made)
    seconds = round(time.monotonic() - start, 1)
    outputs = {_portable(file): _digest(file) for file in [executed, *made]}
    stamp = Stamp(job.inputs, outputs, seconds)
    write_text(job.stamp, json.dumps(msgspec.structs.asdict(stamp), indent=1))
    return seconds


def _papermill(job: Job, output: Path, log: Path, bar: str) -> Exception | None:
    """Run a notebook in a new kernel that works in the root; what its cells print goes to the log."""
    import papermill  # takes a second
    from papermill.exceptions import PapermillExecutionError

    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # after Ctrl-C nobody asks how the cell's task ended
    os.environ["IPYTHONDIR"] = str(job.where.logs / "ipython")  # the user's own start-up files stay out
    progress = {"bar_format": bar, "leave": False, "file": sys.stdout} if sys.stdout.isatty() else False
    terminal = os.dup(2)
    with log.open("w", encoding="utf-8", buffering=1) as stream:
        os.dup2(stream.fileno(), 2)  # what the kernel itself says: it inherits the file descriptor
        try:
            papermill.execute_notebook(
                job.source, output, job.parameters, kernel_name="python3", language="python", cwd=ROOT,
                progress_bar=progress, start_timeout=180, stdout_file=stream, stderr_file=stream,
                coalesce_streams=True,
            )  # fmt: skip
        except (PapermillExecutionError, RuntimeError, TimeoutError) as error:
            print(error, file=stream)
            return error
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)
    return None


def _check(notebook: dict, cause: Exception | None, name: str, log: Path) -> None:
    """Raise `UserError` or `NotebookFailed`, with place and reason, unless every cell completed."""
    cells = [cell for cell in notebook["cells"] if not ADDED & set(cell["metadata"].get("tags", []))]
    code = [n for n, cell in enumerate(cells, start=1) if cell["cell_type"] == "code"]
    begun = [n for n in code if cells[n - 1]["metadata"]["papermill"]["start_time"]]
    place = begun[-1] if begun else code[0]
    cell = cells[place - 1]
    if cause is None and begun == code and all(output["output_type"] != "error" for output in cell["outputs"]):
        return
    error = getattr(cause, "ename", type(cause).__name__ if cause else "SystemExit")
    message = getattr(cause, "evalue", cause)
    line = "".join(cell["source"]).strip().partition("\n")[0]
    reason = message if error == "UserError" else HINTS.get(error, f"{error}: {message}")
    kind = UserError if error == "UserError" else NotebookFailed
    raise kind(f"{name} stopped at cell {place}, `{line[:80]}`:\n{reason}\nLog: {log}")


def clean(notebook: dict, names: Mapping[str, str]) -> str:
    """The notebook as a file that depends on its outputs alone: no times, widgets, machine's paths.

    `names` says what stands for which folder ({"/home/me/study": "."}); it applies to text, not to images.
    """
    paths = sorted((path for path in names if path != "/"), key=len, reverse=True)  # inner folders first
    rules = [(rf"(?<![\w.~-]){re.escape(path)}(?![\w-])", names[path]) for path in paths]
    rules += [(r"[\w/.~-]*ipykernel_\d+/\d+\.py", "<cell>"), (r"\b0x[0-9a-f]{8,16}\b", "0x…")]

    def scrub(value: object) -> object:
        if isinstance(value, dict):
            kept = {key: item for key, item in value.items() if key not in VOLATILE | {WIDGET}}
            return {
                key: item if key.startswith(("image/", "application/")) else scrub(item) for key, item in kept.items()
            }
        if isinstance(value, list):
            return [scrub(item) for item in value]
        for pattern, name in rules if isinstance(value, str) else ():
            value = re.sub(pattern, name, value)
        return value

    for cell in notebook["cells"]:
        if "injected-parameters" in cell["metadata"].get("tags", []):
            cell["id"] = "injected-parameters"  # papermill draws one at random
        if cell["cell_type"] == "code":  # a line of progress leaves an empty output behind
            kept = [output for output in cell["outputs"] if output.get("data", {}).get("text/markdown") not in ("", [])]
            cell["outputs"] = kept
    return json.dumps(scrub(notebook), ensure_ascii=False, indent=1, sort_keys=True) + "\n"

"""Where the products of a notebook go, and the manifest that links every figure and table to its makers."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from tacred_utils.ground.errors import UserError
from tacred_utils.ground.files import UNDECODABLE, read_bytes, write_text
from tacred_utils.ground.paths import FIGURES, NOTEBOOKS


@dataclass(frozen=True)
class Places:
    """The folders of one corpus under one profile."""

    executed: Path  # executed notebooks
    figures: Path  # figures, the manifest, and tables/ below it
    logs: Path  # one log per notebook, and the notebook that failed
    stamps: Path  # one stamp per notebook: what it was made from and what it wrote


def places(profile: str, results: Path, corpus: str) -> Places:
    """Folders for a corpus' name; profile smoke keeps all below `results`, leaving the git tree clean."""
    executed, figures = NOTEBOOKS / "executed", FIGURES
    if profile == "smoke":
        executed, figures = results / "executed", results / "figures"
    return Places(executed / corpus, figures / corpus, results / "logs" / corpus, results / "stamps" / corpus)


def read_manifest(figures: Path) -> dict[str, dict]:
    """`manifest.json` of a figures folder: file → notebook, runs, profile, corpus, labels, seeds, commit. Empty if absent.

    Raises `UserError` when it is damaged.
    """
    path = figures / "manifest.json"
    if not path.exists():
        return {}
    try:
        return msgspec.json.decode(read_bytes(path), type=dict[str, dict[str, object]])
    except UNDECODABLE as error:
        raise UserError(
            f"{path}: is damaged ({error}); restore it, or delete it and run all notebooks with --force."
        ) from None


def made_by(notebook: str, figures: Path) -> list[str]:
    """The files that the manifest of a figures folder calls a notebook's own."""
    return [name for name, entry in read_manifest(figures).items() if entry.get("notebook") == notebook]


def record(
    figures: Path, files: Iterable[Path], notebook: str, runs: Iterable[str], settings: Mapping[str, object],
    commit: str | None,
) -> None:  # fmt: skip
    """Enter files below `figures` into its manifest: who made them, from which runs, under which settings and commit.

    What a run was trained with stands in its run.json, below data/runs or the results folder.
    """
    entry = {"notebook": notebook, "runs": sorted(set(runs)), **settings, "commit": commit}
    made = {file.relative_to(figures).as_posix(): entry for file in files}
    _write_manifest(figures, read_manifest(figures) | made)


def forget(figures: Path, files: Iterable[Path]) -> None:
    """Delete files that their notebook no longer makes, and their entries; files elsewhere stay."""
    manifest = read_manifest(figures)
    gone = {figures / name for name in manifest} & set(files)
    for file in gone:
        file.unlink(missing_ok=True)
    if gone:
        _write_manifest(figures, {name: manifest[name] for name in manifest if figures / name not in gone})


def _write_manifest(figures: Path, manifest: dict[str, dict]) -> None:
    write_text(figures / "manifest.json", json.dumps(manifest, indent=1, sort_keys=True) + "\n")

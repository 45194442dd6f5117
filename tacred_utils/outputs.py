"""Where the products of a notebook go, and the manifest that links every figure and table to its makers."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tacred_utils.errors import UserError
from tacred_utils.paths import FIGURES, NOTEBOOKS, write_text

PUBLISHED = "published"  # the folder of what concerns published systems, whatever the corpus


@dataclass(frozen=True)
class Places:
    """The folders of one corpus under one profile."""

    executed: Path  # executed notebooks
    figures: Path  # figures, the manifest, and tables/ below it
    logs: Path  # one log per notebook, and the notebook that failed
    stamps: Path  # one stamp per notebook: what it was made from and what it wrote


def places(profile: str, results: Path, corpus: str) -> Places:
    """Folders for a corpus' name; profile smoke keeps all below `results`, leaving the git tree clean."""
    results = Path(results)
    smoke = profile == "smoke"
    return Places(
        executed=(results / "executed" if smoke else NOTEBOOKS / "executed") / corpus,
        figures=(results / "figures" if smoke else FIGURES) / corpus,
        logs=results / "logs" / corpus,
        stamps=results / "stamps" / corpus,
    )


def read_manifest(figures: Path) -> dict[str, dict]:
    """`manifest.json` of a figures folder: file → notebook, runs, profile, commit. Empty if absent."""
    path = Path(figures) / "manifest.json"
    if not path.exists():
        return {}
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        if not all(isinstance(entry, dict) for entry in manifest.values()):
            raise ValueError
    except (ValueError, AttributeError) as error:
        raise UserError(
            f"{path}: not a manifest (damaged JSON); delete it and run the notebooks again."
        ) from error
    return manifest


def record(
    figures: Path, files: Iterable[Path], notebook: str, runs: Iterable[str], profile: str, commit: str | None
) -> None:
    """Enter files below `figures` into its manifest: who made them, from which runs, at which commit."""
    manifest = read_manifest(figures)
    entry = {"notebook": notebook, "runs": sorted(set(runs)), "profile": profile, "commit": commit}
    manifest |= {Path(file).relative_to(figures).as_posix(): entry for file in files}
    write_text(Path(figures) / "manifest.json", json.dumps(manifest, indent=1, sort_keys=True) + "\n")


def forget(figures: Path, files: Iterable[Path]) -> None:
    """Delete files that their notebook no longer makes, and their entries; files outside `figures` stay."""
    files = [file for file in files if file.is_relative_to(figures)]
    if not files:
        return
    manifest = read_manifest(figures)
    for file in files:
        manifest.pop(file.relative_to(figures).as_posix(), None)
        file.unlink(missing_ok=True)
    write_text(Path(figures) / "manifest.json", json.dumps(manifest, indent=1, sort_keys=True) + "\n")

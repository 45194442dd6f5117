"""Where the products of a notebook go, and the manifest that links every figure and table to its makers.

A notebook always writes below the results. Once all its cells are through, the runner hands its products over to the
folders that people read, `figures/` and `notebooks/executed/`, unless they know less than what lies there.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from tacred_utils.ground.errors import UserError
from tacred_utils.ground.files import (
    FIGURES,
    NOTEBOOKS,
    PUBLISHED_RUNS,
    RESULTS,
    UNDECODABLE,
    read_bytes,
    write_bytes,
    write_text,
)

STUDY = "redocred_small"  # the corpus on which people read the study: its executed notebooks are committed
SHOWN_PROFILE = "open"  # what is committed was made under it
PUBLISHED = "published"  # stands for a corpus where products are of no single one
COMMITTED = (STUDY, "conll04", "kbp37", PUBLISHED)  # whose figures and tables are committed


@dataclass(frozen=True)
class Places:
    """The folders of one corpus."""

    executed: Path  # executed notebooks
    figures: Path  # figures, the manifest, and tables/ below it
    logs: Path  # one log per notebook, and the notebook that failed
    stamps: Path  # one stamp per notebook: what it was made from and what it wrote


def places(results: Path, corpus: str, read: bool = False) -> Places:
    """The folders of a corpus, by its name: those that its notebooks write to, or (`read`) those that people read.

    The first lie below the results, and those of published runs below results/published: data/runs holds runs alone.
    """
    work = RESULTS / PUBLISHED if results == PUBLISHED_RUNS else results
    executed, figures = work / "executed" / corpus, work / "figures" / corpus
    if read:
        executed, figures = NOTEBOOKS / "executed" / ("" if corpus == STUDY else corpus), FIGURES / corpus
    return Places(executed, figures, work / "logs" / corpus, work / "stamps" / corpus)


def held_back(corpus: str, maker: str, profile: str, new: Mapping[str, dict], old: Mapping[str, dict]) -> str:
    """Why a notebook's new products must not take the place of old ones; empty if they may.

    `new` and `old` are its entries of two manifests of `corpus` (or of PUBLISHED, then made on the corpus `maker`).
    """
    if corpus not in COMMITTED:
        return ""
    if profile != SHOWN_PROFILE or maker != corpus and maker != STUDY:
        return f"is made on {STUDY if corpus == PUBLISHED else corpus} under profile {SHOWN_PROFILE}"
    if lost := sorted(set(old) - set(new)):
        return f"holds {lost[0]}, which was not made now"
    fewer = [name for name in old if _systems(old[name]) - _systems(new[name])]
    return f"holds {fewer[0]} of more runs" if fewer else ""


def _systems(entry: Mapping[str, object]) -> Counter[str]:
    """How many runs an entry rests on by corpus, family, variant, task and seed: a run's name without its hash."""
    return Counter(str(run).rpartition("-")[0] for run in entry["runs"])


def entries(notebook: str, figures: Path) -> dict[str, dict]:
    """What the manifest of a figures folder says of a notebook's own files, as far as they are there."""
    manifest = read_manifest(figures).items()
    return {name: entry for name, entry in manifest if entry.get("notebook") == notebook and (figures / name).exists()}


def hand_over(notebook: str, made: Path, read: Path) -> None:
    """Move a notebook's files from one figures folder to another, in place of those that it made there before.

    An entry stays as it was where nothing but the commit differs: a file's maker is the first that made it so.
    """
    new, old = entries(notebook, made), entries(notebook, read)
    for name, entry in new.items():
        content = read_bytes(made / name)
        same = name in old and read_bytes(read / name) == content and old[name] | {"commit": entry["commit"]} == entry
        if same:
            new[name] = old[name]
        else:
            write_bytes(read / name, content)
    forget(notebook, made)
    for name in old.keys() - new.keys():
        (read / name).unlink()
    _replace_entries(notebook, read, new)


def forget(notebook: str, figures: Path) -> None:
    """Delete a notebook's files in a figures folder, and their entries; files that it did not make stay."""
    for name in entries(notebook, figures):
        (figures / name).unlink()
    _replace_entries(notebook, figures, {})


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
        remedy = "restore it, or delete it and run all notebooks with --force"
        raise UserError(f"{path}: is damaged ({error}); {remedy}.") from None


def _replace_entries(notebook: str, figures: Path, new: Mapping[str, dict]) -> None:
    others = {name: entry for name, entry in read_manifest(figures).items() if entry.get("notebook") != notebook}
    _write_manifest(figures, others | new)


def _write_manifest(figures: Path, manifest: dict[str, dict]) -> None:
    if manifest != read_manifest(figures):
        write_text(figures / "manifest.json", json.dumps(manifest, indent=1, sort_keys=True) + "\n")

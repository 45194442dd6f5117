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
from tacred_utils.ground.files import UNDECODABLE, read_bytes, write_bytes, write_text
from tacred_utils.ground.paths import FIGURES, NOTEBOOKS, PUBLISHED_RUNS, RESULTS

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
    # How many runs a file rests on by corpus, family, variant, task and seed: a run's name without its hash.
    runs = [
        {name: Counter(run.rpartition("-")[0] for run in each[name]["runs"]) for name in old} for each in (old, new)
    ]
    fewer = [name for name in old if runs[0][name] - runs[1][name]]
    return f"holds {fewer[0]} of more runs" if fewer else ""


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
    replace_entries(notebook, made, {})
    replace_entries(notebook, read, new)


def replace_entries(notebook: str, figures: Path, new: Mapping[str, dict]) -> None:
    """Put entries in place of a notebook's own, and delete its files that have none; those of others stay."""
    for name in entries(notebook, figures).keys() - new.keys():
        (figures / name).unlink()
    others = {name: entry for name, entry in read_manifest(figures).items() if entry.get("notebook") != notebook}
    _write_manifest(figures, others | new)


def record(figures: Path, files: Iterable[Path], entry: Mapping[str, object]) -> None:
    """Enter files below `figures` into its manifest: notebook, runs, settings and commit that made them.

    What a run was trained with stands in its run.json, below data/runs or the results folder.
    """
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


def _write_manifest(figures: Path, manifest: Mapping[str, dict]) -> None:
    if manifest != read_manifest(figures):
        write_text(figures / "manifest.json", json.dumps(manifest, indent=1, sort_keys=True) + "\n")

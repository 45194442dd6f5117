"""The scores of any file of predictions, and what is refused because it cannot be meant."""

from pathlib import Path
from shlex import quote

import pandas as pd

from tacred_utils.ground.errors import UserError
from tacred_utils.ground.files import nfc
from tacred_utils.ground.labels import NO_RELATION, RELATION, as_negative, likely_negative, undirected, unnumbered
from tacred_utils.metrics.counts import is_detection, task_scores
from tacred_utils.runs.predictions import read_predictions
from tacred_utils.runs.store import Run

LABELS = ["label_true", "label_pred"]


def score_file(path: Path, gold: Path | None = None, negative: str | None = None) -> dict[str, float]:
    """The scores of a file of predictions, as `python -m tacred_utils score` prints them.

    In a run's folder classes and task are those of run.json; elsewhere the classes are the union of gold and predicted
    labels. `negative` is what the files call `no_relation`. Raises `UserError` as `read_predictions` does, and for
    labels that cannot be meant.
    """
    frame, folder = read_predictions(path, gold), Path(path).resolve().parent
    beside = folder.name == "predictions" and (folder.parent / "run.json").is_file()
    run, negative = Run(folder.parent).facts if beside else None, negative and nfc(negative)
    if run is None or negative is not None:
        frame = _with_negative(frame, path, negative)
    task = run.task if run else "detection" if is_detection(frame.label_pred) else "joint"
    if task != "detection":
        _check_overlap(frame, path)
    for side in LABELS if run is None and negative is None else []:
        _check_negative(set(frame[side]), f"{path}: {side}")
    classes = run.classes if run else [NO_RELATION, RELATION] if task == "detection" else None
    return task_scores(task, frame.label_true.tolist(), frame.label_pred.tolist(), classes)


def _with_negative(frame: pd.DataFrame, path: Path, negative: str | None) -> pd.DataFrame:
    """The rows with the negative label as `no_relation`; without one, all rows would silently count as relations."""
    names = {*frame.label_true, *frame.label_pred}
    if negative not in (None, NO_RELATION) and undirected(negative) not in map(undirected, names):
        raise UserError(
            f"{path}: --negative {negative}: is none of its labels, such as {min(names)}; check the spelling."
        )
    if negative is None and all(name.isdigit() for name in names):
        raise UserError(f"{path}: its labels are numbers; write names, or say which is no relation by --negative N.")
    if negative is None:
        _check_negative(names, str(path))
    renamed = {name: [as_negative(label, negative or NO_RELATION) for label in frame[name]] for name in LABELS}
    return frame.assign(**renamed)


def _check_negative(names: set[str], where: str) -> None:
    """Refuse labels that lack `no_relation` and have another one that looks like it."""
    if NO_RELATION not in names and (likely := likely_negative(names)) is not None:
        raise UserError(
            f"{where}: has no label {NO_RELATION}, and {likely} looks like it; give --negative {quote(likely)}, or "
            f"--negative {NO_RELATION} if every label is a relation."
        )


def _check_overlap(frame: pd.DataFrame, path: Path) -> None:
    """Refuse predicted relations of which gold has none, where they are gold's in another form or nothing agrees."""
    true, pred = (set(frame[name]) - {NO_RELATION} for name in LABELS)
    if not true or not pred or true & pred:
        return
    negative = all((frame[name] == NO_RELATION).any() for name in LABELS)
    other_form = {unnumbered(name) for name in true} & {unnumbered(name) for name in pred}
    numbers = all(name.isdigit() for name in true) != all(name.isdigit() for name in pred)
    if other_form or numbers or not negative:
        raise UserError(
            f"{path}: no predicted relation, such as {min(pred)!r}, is among the gold ones, such as {min(true)!r}; "
            "write both in the same names."
        )

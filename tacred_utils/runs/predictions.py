"""Files of labels and predictions, and their scores: JSON lines (plain or gzipped), TACRED's JSON list, or one label a line.

What a file holds is told by its content. A first line that heads a column of labels is no row.
"""

import gzip
import zlib
from pathlib import Path
from shlex import quote
from typing import Annotated, Literal

import msgspec
import pandas as pd
from msgspec import Meta

from tacred_utils.ground import labels as naming
from tacred_utils.ground.errors import UserError
from tacred_utils.ground.files import UNDECODABLE, doubled_key, nfc, read_bytes
from tacred_utils.ground.labels import NO_RELATION, RELATION, TASKS
from tacred_utils.metrics.counts import is_detection, task_scores

HEADERS = {"label", "labels", "label_true", "label_pred", "gold", "pred", "prediction", "relation", "y_true", "y_pred"}
LABELS = ["label_true", "label_pred"]


class _Row(msgspec.Struct):
    """One line of a run's predictions, or one record of a corpus; other fields are ignored."""

    id: str | int
    label_true: str | None = None
    relation: str | None = None
    label_pred: str | None = None
    p: Annotated[float, Meta(ge=0, le=1)] | None = None


class _RunJson(msgspec.Struct):
    """What run.json says of the predictions beside it."""

    task: Literal[TASKS]
    classes: list[str]


def read_predictions(path: Path, gold: Path | None = None) -> pd.DataFrame:
    """Predictions with their gold labels: columns id, label_true, label_pred, p (missing where the file has none).

    `path` is JSON lines with id, label_pred and, unless `gold` is given, label_true; or one label a line, in
    the order of `gold`. With `gold` (see `read_labels`) rows are joined by id where both files have ids.
    Raises `UserError`, naming file, line, field and remedy, for everything that is not so.
    """
    path = Path(path)
    frame = _read(path)
    _require(frame, path, "label_pred", "write the predicted label there")
    if gold is None:
        _require(frame, path, "label_true", "write the gold label there, or give the gold labels with --gold FILE")
    else:
        frame["label_true"] = _aligned(read_labels(gold), frame, Path(gold), path)
    return frame[["id", "label_true", "label_pred", "p"]]


def predictions_bytes(frame: pd.DataFrame) -> bytes:
    """The JSON lines of a frame such as `read_predictions` gives."""
    return msgspec.json.Encoder().encode_lines(frame[["id", "label_true", "label_pred", "p"]].to_dict("records"))


def read_labels(path: Path) -> pd.DataFrame:
    """Gold labels in file order: columns id (missing where the file has none) and label.

    Reads one label a line, JSON lines with id and label_true or relation, or a TACRED JSON list.
    """
    path = Path(path)
    frame = _read(path)
    plain = frame.id.isna().all()
    frame["label_true"] = frame.label_pred if plain else frame.label_true.fillna(frame.relation)
    _require(frame, path, "label_true", "write the gold label there, or in a field relation")
    return frame[["id", "label_true"]].set_axis(["id", "label"], axis=1)


def _content(path: Path) -> bytes:
    """A file's content, unpacked if gzipped, without byte-order mark."""
    data = read_bytes(path)
    try:
        data = gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"{path}: the gzip file is damaged ({error}); make or fetch it again.") from error
    data = data.removeprefix(b"\xef\xbb\xbf").rstrip()
    if not data:
        raise UserError(f"{path}: the file is empty; give one with a row for every instance.")
    return data


def _read(path: Path) -> pd.DataFrame:
    """All rows of a file; plain labels become `label_pred` without ids."""
    data = _content(path)
    if data.lstrip().startswith(b"["):
        rows, place = _decode(data, list[_Row], f"{path}"), "record"
    else:
        lines, place = [line.strip() for line in data.split(b"\n")], "line"
        if b"" in lines:
            raise UserError(f"{path}, line {lines.index(b'') + 1}: the line is empty; write one row a line.")
        if not (lines[0].startswith(b"{") or ".jsonl" in path.suffixes):
            return _plain(lines, path)
        rows = _own_rows(data) or [_decode(line, _Row, f"{path}, line {n}") for n, line in enumerate(lines, 1)]
    if not rows:
        raise UserError(f"{path}: the list is empty; give one with a record for every instance.")
    frame = pd.DataFrame([msgspec.structs.astuple(row) for row in rows], columns=_Row.__struct_fields__)
    frame["id"] = frame.id.astype(str).map(nfc)
    if (doubled := frame.id.duplicated()).any():
        row = int(doubled.argmax())
        raise UserError(f"{path}, {place} {row + 1}: id {frame.id[row]} occurs twice; keep one row for each id.")
    return frame.astype({"p": float})


def _own_rows(data: bytes) -> list[_Row] | None:
    """The rows of a file as the study writes it, four fields a line; None for any other, which is read with more care."""
    try:
        rows = msgspec.json.Decoder(_Row).decode_lines(data)
    except UNDECODABLE:
        return None
    complete = all([None not in (row.label_true, row.label_pred, row.p) for row in rows])
    return rows if complete and data.count(b'":') == 4 * len(rows) else None  # so no field stands twice in a line


def _plain(lines: list[bytes], path: Path) -> pd.DataFrame:
    try:
        first, *rest = labels = [line.decode() for line in lines]
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text ({error.reason}); save the labels as UTF-8.") from error
    if first.strip("\"'").lower() in HEADERS and first not in rest and set(rest) - {NO_RELATION}:
        labels = rest
    return pd.DataFrame({"label_pred": labels}, columns=_Row.__struct_fields__).astype({"p": float})


def _decode(data: bytes, kind: type, place: str):
    try:
        content = msgspec.json.decode(data, type=kind)
    except msgspec.ValidationError as error:
        raise UserError(f"{place}: {error}; correct the field.") from error
    except UNDECODABLE as error:
        raise UserError(f"{place}: not valid JSON ({error}); write one JSON object a line.") from error
    if key := doubled_key(data):
        raise UserError(f"{place}: field {key} stands twice in a row; keep one of them.")
    return content


def _require(frame: pd.DataFrame, path: Path, field: str, remedy: str) -> None:
    lacking = frame[field].isna() | (frame[field] == "")
    if lacking.any():
        row = int(lacking.argmax())
        raise UserError(f"{path}, row {row + 1}: field {field} is missing; {remedy}.")
    if odd := {label for label in frame[field].unique() if not naming.is_name(label)}:
        row = int(frame[field].isin(odd).argmax())
        what = f"{frame[field][row]!r} has spaces around it or control characters; give a plain name"
        raise UserError(f"{path}, row {row + 1}: field {field}: {what}.")
    frame[field] = frame[field].map(nfc)


def _aligned(gold: pd.DataFrame, frame: pd.DataFrame, gold_path: Path, path: Path) -> list[str]:
    """Gold labels in the order of the predictions: by id where both have ids, else by position."""
    if gold.id.isna().any() or frame.id.isna().any():
        if len(gold) != len(frame):
            raise UserError(f"{path} has {len(frame):,} rows and {gold_path} {len(gold):,}; give one label a row.")
        return gold.label.tolist()
    if len(unknown := frame.id[~frame.id.isin(gold.id)]):
        what = f"id {unknown.iloc[0]} is not in {gold_path} ({len(unknown):,} such rows)"
        raise UserError(f"{path}, row {unknown.index[0] + 1}: {what}; give the gold labels of the same split.")
    if len(missing := gold.id[~gold.id.isin(frame.id)]):
        what = f"no prediction for id {missing.iloc[0]} of {gold_path} ({len(missing):,} such ids)"
        raise UserError(f"{path}: {what}; predict every instance once.")
    return gold.set_index("id").label.loc[frame.id].tolist()


def score_file(path: Path, gold: Path | None = None, negative: str | None = None) -> dict[str, float]:
    """The scores of a file of predictions, as `python -m tacred_utils score` prints them.

    In a run's folder classes and task are those of run.json; elsewhere the classes are the union of gold and predicted
    labels. `negative` is what the files call `no_relation`. Raises `UserError` as `read_predictions` does, and for
    labels that cannot be meant.
    """
    frame, folder = read_predictions(path, gold), Path(path).resolve().parent
    description = folder.parent / "run.json"
    beside = folder.name == "predictions" and description.is_file()
    run = _decode(read_bytes(description), _RunJson, str(description)) if beside else None
    negative = negative and nfc(negative)
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
    if negative not in (None, NO_RELATION) and naming.undirected(negative) not in map(naming.undirected, names):
        raise UserError(f"{path}: --negative {negative}: is none of its labels, such as {min(names)}; correct it.")
    if negative is None and all(name.isdigit() for name in names):
        raise UserError(f"{path}: its labels are numbers; write names, or say which is no relation by --negative N.")
    if negative is None:
        _check_negative(names, str(path))
    renamed = {name: [naming.as_negative(label, negative or NO_RELATION) for label in frame[name]] for name in LABELS}
    return frame.assign(**renamed)


def _check_negative(names: set[str], where: str) -> None:
    """Refuse labels that lack `no_relation` and have another one that looks like it."""
    if NO_RELATION not in names and (likely := naming.likely_negative(names)) is not None:
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
    other_form = {naming.unnumbered(name) for name in true} & {naming.unnumbered(name) for name in pred}
    numbers = all(name.isdigit() for name in true) != all(name.isdigit() for name in pred)
    if other_form or numbers or not negative:
        raise UserError(
            f"{path}: no predicted relation, such as {min(pred)!r}, is among the gold ones, such as {min(true)!r}; "
            "write both in the same names."
        )

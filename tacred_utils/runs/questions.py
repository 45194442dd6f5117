"""What a trained model is asked: sentences of the user's own, from the command line or from a file, checked.

Nothing here needs the model: a mistake is told before it is loaded.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from tacred_utils.corpora.example import COLUMNS, UNTYPED, Example
from tacred_utils.corpora.reader import problem, read_unlabelled, split_records
from tacred_utils.ground.errors import UserError
from tacred_utils.ground.files import UNDECODABLE, read_data
from tacred_utils.ground.labels import NO_RELATION, SPLITS
from tacred_utils.runs.info import CorpusInfo
from tacred_utils.runs.words import locate, words

Place = str | tuple[int, int]  # an entity: its text, or its first and last word, counted from 0
Types = tuple[str | None, str | None]  # of subject and object; None: not given
ROLES = ("subject", "object")


@dataclass(frozen=True)
class Question:
    """A sentence and what is known of it: both entities or neither, and columns."""

    id: str
    token: list[str]
    spans: tuple[int, int, int, int] | None  # of subject and object, as in an Example; None: of all that are found
    types: Types = (None, None)
    columns: dict[str, list] = field(default_factory=dict)


class _Line(msgspec.Struct):
    """A sentence in a file of JSON lines."""

    sentence: str
    id: str | int | None = None
    subject: str | None = None
    object: str | None = None
    subject_type: str | None = None
    object_type: str | None = None


def from_sentence(
    trained: CorpusInfo, sentence: str, places: Mapping[str, Place], types: Types = (None, None),
    columns: Mapping[str, str] | None = None, name: str = "sentence",
) -> Question:  # fmt: skip
    """The question that a plain sentence asks; `places` are those of both roles, or empty for all entities.

    `columns` has a value for each word, separated by blanks. Raises `UserError` for what is missing, unknown or
    ambiguous.
    """
    token, spans = _read(sentence, places, trained.named)
    _check_types(trained, types)
    given = _columns(columns or {})
    example = Example(name, NO_RELATION, token, *(spans or (0, 0, 0, 0)), UNTYPED, UNTYPED, **given)
    if wrong := problem(example):
        raise UserError(f"the sentence of {len(token)} words: {wrong}")
    return Question(name, token, spans, types, given)


def from_file(trained: CorpusInfo, path: Path) -> list[Question]:
    """The questions of a file, in order; raises `UserError` that names the line or the record.

    JSON lines with `sentence` and, both or neither, `subject` and `object`; or records in TACRED's format, as lines,
    as a list or as a folder of splits, where `id` and `relation` may be missing.
    """
    if path.is_dir():
        files = [file for split in SPLITS if (file := path / f"{split}.json").is_file()]
        if not files:
            raise UserError(f"--file {path}: holds none of train.json, dev.json and test.json; name a file.")
        return [_from_record(trained, row, f) for f in files for row in read_unlabelled(f, split_records(f))]
    data = read_data(path)
    lines = [(number, line) for number, line in enumerate(data.splitlines(), start=1) if line.strip()]
    as_list = data.lstrip().startswith(b"[")
    if as_list or b'"token"' in lines[0][1]:
        records = split_records(path) if as_list else [msgspec.Raw(line) for _, line in lines]
        return [_from_record(trained, row, path) for row in read_unlabelled(path, records)]
    return [_from_line(trained, line, f"{path}: line {number}", str(number)) for number, line in lines]


def _from_record(trained: CorpusInfo, row: Example, path: Path) -> Question:
    columns = {name: values for name in COLUMNS if (values := getattr(row, name)) is not None}
    types = (row.subj_type, row.obj_type) if trained.typed else (None, None)
    try:
        _check_types(trained, types)
    except UserError as error:
        raise UserError(f"{path}: id {row.id!r}: {_as_field(error)}") from None
    return Question(row.id, row.token, (*row.subject, *row.object), types, columns)


def _from_line(trained: CorpusInfo, line: bytes, place: str, number: str) -> Question:
    try:
        given = msgspec.json.decode(line, type=_Line)
        places = {role: text for role in ROLES if (text := getattr(given, role)) is not None}
        name = number if given.id is None else str(given.id)
        return from_sentence(trained, given.sentence, places, (given.subject_type, given.object_type), name=name)
    except UNDECODABLE as error:
        raise UserError(f"{place}: {error}; give an object with a sentence.") from None
    except UserError as error:
        raise UserError(f"{place}: {_as_field(error)}") from None


def _as_field(error: UserError) -> str:
    """The message with options named as the fields of a file are."""
    return re.sub("--(subject|object|sentence)(-type)?", lambda option: option[0][2:].replace("-", "_"), str(error))


def _read(
    sentence: str, places: Mapping[str, Place], named: bool
) -> tuple[list[str], tuple[int, int, int, int] | None]:
    """The words of the sentence, and the first and last word of subject and object."""
    token, spans = words(sentence, named), {}
    if not token:
        raise UserError("--sentence: is empty; give one with two entities.")
    if re.search("[\ud800-\udfff]", sentence):
        raise UserError("--sentence: holds bytes that are no UTF-8 text; write it as UTF-8.")
    if len(places) == 1:
        raise UserError("--subject, --object: one is missing; name both, or neither for every pair that is found.")
    for role, place in places.items():
        spans[role] = start, end = locate(place, token, f"--{role}", named) if isinstance(place, str) else place
        if not 0 <= start <= end < len(token):
            raise UserError(
                f"--{role}-at {start}:{end}: no words of the sentence; they run from 0 to {len(token) - 1}."
            )
    if spans and spans["subject"] == spans["object"]:
        raise UserError("--subject, --object: are the same words of the sentence; name two entities.")
    return token, (*spans["subject"], *spans["object"]) if spans else None


def _check_types(trained: CorpusInfo, types: Types) -> None:
    for role, kind in zip(ROLES, types, strict=True):
        if kind and kind not in trained.types[role]:
            known = ", ".join(trained.types[role])
            raise UserError(f"--{role}-type {kind!r}: the run has never seen it; known are {known}.")


def _columns(given: Mapping[str, str]) -> dict[str, list]:
    """The values of each column, one a word; raises `UserError` for an unknown column and a head that is no number."""
    for name, values in given.items():
        if name not in COLUMNS:
            raise UserError(f"--column {name}: unknown; choose from {', '.join(COLUMNS)}.")
        if name == "stanford_head" and not all(re.fullmatch("[0-9]{1,6}", value) for value in values.split()):
            raise UserError(f"--column {name}: takes whole numbers, each word's head counted from 1, 0 for the root.")
    return {name: [int(v) if name == "stanford_head" else v for v in text.split()] for name, text in given.items()}

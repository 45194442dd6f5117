"""The reader that turns TACRED's JSON into Examples or says exactly what is wrong.

The format is TACRED's own (https://nlp.stanford.edu/projects/tacred/): a folder with train.json, dev.json and
test.json, each one list of records; spans are inclusive; the four Stanford columns are optional.
"""

import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from sys import intern
from typing import NamedTuple

import msgspec

from tacred_utils.corpora.example import COLUMNS, READ, Corpus, Example
from tacred_utils.ground.errors import UserError
from tacred_utils.ground.files import UNDECODABLE, doubled_key, nfc, read_data
from tacred_utils.ground.labels import NO_RELATION, SPLITS, is_name


class Reading(NamedTuple):
    """What reading a corpus gives."""

    splits: dict[str, list[Example]]
    notes: list[str]  # what there is to report
    left_out: dict[str, list[str]]  # split → gold labels of the rows that could not be read


class _Record(Example, frozen=True, gc=False):
    """An Example as it stands in a file: TACRED writes heads as strings, other tools as integers."""

    stanford_head: msgspec.Raw = msgspec.Raw(b"null")
    document: msgspec.Raw = msgspec.Raw(b"null")  # no field of TACRED's format: another tool's may hold anything
    evidence: msgspec.Raw = msgspec.Raw(b"null")


class _Unlabelled(_Record, frozen=True, gc=False, kw_only=True):
    """A record that a model is to answer: it needs no label, and no id."""

    id: str | None = None
    relation: str = NO_RELATION


_RECORDS = msgspec.json.Decoder(list[msgspec.Raw])
_RECORD, _UNLABELLED = msgspec.json.Decoder(_Record), msgspec.json.Decoder(_Unlabelled)
_HEADS = msgspec.json.Decoder(list[int] | None, strict=False)  # reads "12" and 12 alike
_LOOSE = msgspec.json.Decoder(dict)
_KEYS = re.compile(f'"({"|".join(READ)})"\\s*:'.encode())


def split_records(path: Path) -> list[msgspec.Raw]:
    """The undecoded records of a JSON list file; raises `UserError` that names the place of a syntax error."""
    data = read_data(path)
    try:
        records = _RECORDS.decode(data)
    except UNDECODABLE as error:
        raise UserError(f"{path}: {_explain_syntax(data, error)}") from None
    if not records:
        raise UserError(f"{path}: holds no record; a split needs at least one.")
    return records


def decode_each(
    path: Path, records: list[msgspec.Raw], decode: Callable[[int, msgspec.Raw], object], what: str = "record",
    key: str = "id",
) -> list:  # fmt: skip
    """`decode` of each number and record. What it raises as msgspec does becomes a `UserError` with the place:
    file, number of the record and, as far as it can be read, its `key`.
    """
    found = []
    for index, raw in enumerate(records):
        try:
            found.append(decode(index, raw))
        except UNDECODABLE as error:
            try:
                name = _LOOSE.decode(raw).get(key)
            except UNDECODABLE:
                name = None
            named = f" ({key} {name!r})" if isinstance(name, str) else ""
            raise UserError(f"{path}: {what} {index}{named}: {_explain_record(error)}") from None
    return found


def read_json(folder: Path) -> Reading:
    """A folder in TACRED's format; raises `UserError` as `read_split` does."""
    return Reading({split: read_split(folder / f"{split}.json") for split in SPLITS}, [], {})


def read_split(path: Path) -> list[Example]:
    """Decode and validate one split, record by record; ids, words, tags, labels and types come in normal form (NFC).

    Raises `UserError` naming file, record index (from 0), id, field and remedy.
    """
    return _read_records(Path(path), split_records(path), _RECORD)


def read_unlabelled(path: Path, records: list[msgspec.Raw]) -> list[Example]:
    """The same for records that may lack relation and id: they get `no_relation` and their index."""
    return _read_records(path, records, _UNLABELLED)


def _read_records(path: Path, records: list[msgspec.Raw], decoder: msgspec.json.Decoder) -> list[Example]:
    words = cache(lambda word: intern(nfc(word)))  # one string for all occurrences: a corpus repeats its words and tags
    examples = decode_each(path, records, lambda index, raw: _labelled_example(index, raw, words, decoder))
    _check_records(path, examples)
    return examples


def assemble(name: str, splits: dict[str, list[Example]], folder: str, **facts: object) -> Corpus:
    """Make a Corpus of three validated splits after checking them against each other.

    Raises `UserError` for an id that stands in two splits and for a column that only some splits have; labels that
    training lacks are allowed and noted.
    """
    seen: dict[str, str] = {}
    for split in SPLITS:
        for example in splits[split]:
            if (other := seen.setdefault(example.id, split)) != split:
                raise UserError(f"{folder}: id {example.id!r} stands in {other} and in {split}; give each its own id.")
    for column in COLUMNS:
        found = [split for split in SPLITS if getattr(splits[split][0], column) is not None]
        if found and len(found) < len(SPLITS):
            raise UserError(f"{folder}: {column} is present in {' and '.join(found)} only; give it in all or none.")
    corpus = Corpus(name, splits["train"], splits["dev"], splits["test"], **facts)
    known = {example.relation for example in corpus.train}
    unseen = [label for label in corpus.labels if label not in known]
    return corpus.noting(f"labels that training lacks: {', '.join(unseen)}") if unseen else corpus


def _labelled_example(
    index: int, raw: msgspec.Raw, words: Callable[[str], str], decoder: msgspec.json.Decoder
) -> Example:
    record = decoder.decode(raw)
    heads = _HEADS.decode(record.stanford_head)
    keys = _KEYS.findall(bytes(raw))  # of a key that stands twice the decoder silently takes the last
    if len(set(keys)) < len(keys) and (key := doubled_key(bytes(raw))):
        raise msgspec.ValidationError(f"field {key}: stands twice in the record; keep one of them.")
    token, pos, ner, deprel = (
        None if column is None else list(map(words, column))
        for column in (record.token, record.stanford_pos, record.stanford_ner, record.stanford_deprel)
    )
    spans = record.subj_start, record.subj_end, record.obj_start, record.obj_end
    relation, *types = (words(name) for name in (record.relation, record.subj_type, record.obj_type))
    identity = str(index) if record.id is None else nfc(record.id)
    example = Example(identity, relation, token, *spans, *types, pos, ner, heads, deprel)
    if wrong := problem(example):
        raise msgspec.ValidationError(wrong)
    return example


def problem(example: Example) -> str:
    """What is wrong with a decoded record, as "field f: … ; remedy", or an empty string."""
    return next(_problems(example), "")


def _problems(example: Example) -> Iterator[str]:
    words, heads = len(example.token), example.stanford_head or [0]
    if words == 0:
        yield "field token: is an empty list; a sentence needs at least one word."
    for role, (start, end) in (("subj", example.subject), ("obj", example.object)):
        if start > end:
            yield f"field {role}_start: {start} lies after {role}_end {end}; spans are inclusive, from start to end."
        for name, value in (("start", start), ("end", end)):
            if not 0 <= value < words:
                yield f"field {role}_{name}: {value} is outside the sentence; give one of its {words} words, from 0."
    for column in COLUMNS:
        values = getattr(example, column)
        if values is not None and len(values) != words:
            yield f"field {column}: has {len(values)} values for {words} words; give one per word."
    if min(heads) < 0 or max(heads) > words:
        wrong = next(head for head in heads if not 0 <= head <= words)
        yield f"field stanford_head: {wrong} is out of range; heads run from 1 to {words}, 0 for the root."
    good = {"id": example.id.isprintable() and example.id.strip()}
    good |= {name: is_name(getattr(example, name)) for name in ("relation", "subj_type", "obj_type")}
    for name in (name for name in good if not good[name]):
        value = getattr(example, name)
        yield f"field {name}: {value!r} is empty or has spaces around it or control characters; give a plain name."


def _check_records(path: Path, examples: list[Example]) -> None:
    """Raises `UserError` for a column that only some records have, and for an id that two have."""
    for column in COLUMNS:
        lacking = [index for index, example in enumerate(examples) if getattr(example, column) is None]
        if lacking and len(lacking) < len(examples):
            raise UserError(
                f"{path}: record {lacking[0]} (id {examples[lacking[0]].id!r}), field {column}: is missing though "
                "other records have it; give it in every record or in none."
            )
    first: dict[str, int] = {}
    for index, example in enumerate(examples):
        if (other := first.setdefault(example.id, index)) != index:
            raise UserError(
                f"{path}: record {index}, field id: {example.id!r} is already the id of record {other}; "
                "give every record its own id."
            )


def _explain_record(error: Exception) -> str:
    """msgspec's "Expected `int`, got `str` - at `$.subj_start`" as "field subj_start: expected int, got str; …"."""
    text = str(error).replace("`", "")
    if text.startswith("field "):
        return text
    if isinstance(error, UnicodeDecodeError):
        return f"is not UTF-8 text ({error.reason}); save the file as UTF-8."
    what, _, where = text.partition(" - at $")
    if "missing required field" in what:
        return f"field {f'{where}.'.removeprefix('.')}{what.split()[-1]}: is missing; every record needs it."
    if not where and "array | null" in what:  # the heads are decoded on their own
        where = ".stanford_head"
    if not where:
        return f"cannot be decoded ({text.lower()}); a record is a JSON object with the fields of its format."
    if where.startswith("["):  # a head among the heads
        return f"field stanford_head{where}: is no whole number; give the 1-based index of a head, 0 for the root."
    return f"field {where.removeprefix('.')}: {what[0].lower()}{what[1:]}; mend the value."


def _explain_syntax(data: bytes, error: Exception) -> str:
    text = data.lstrip()
    if text.startswith(b"{"):
        if b"\n" in text.strip():
            return "holds JSON lines or a single object, not one JSON list; jq -s . turns lines into a list."
        return "holds an object, not a list of records; wrap the records in [ and ]."
    if not text.startswith(b"["):
        return "is not a JSON list of records; check that it is the right file."
    if "truncated" in str(error):
        return f"ends in the middle of a record (truncated at byte {len(data)}); fetch it again."
    if found := re.search(rb"NaN|Infinity", data):
        line = data[: found.start()].count(b"\n") + 1
        return f"holds {found[0].decode()} (line {line}), which JSON does not know; give a number or leave it out."
    return f"is not valid JSON ({str(error).lower()}); fetch or write it again."

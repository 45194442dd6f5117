"""One Example type, and the reader that turns TACRED's JSON into it or says exactly what is wrong.

The format is TACRED's own (https://nlp.stanford.edu/projects/tacred/): a folder with train.json, dev.json and
test.json, each one list of records; spans are inclusive; the four Stanford columns are optional.
"""

import re
from pathlib import Path
from sys import intern

import msgspec

from tacred_utils.corpora.example import COLUMNS, READ, Corpus, Example
from tacred_utils.ground.errors import UserError
from tacred_utils.ground.files import UNDECODABLE, doubled_key, nfc, read_data
from tacred_utils.ground.labels import NO_RELATION, SPLITS, is_name


class _Record(Example, frozen=True, gc=False):
    """An Example as it stands in a file: TACRED writes heads as strings, other tools as integers."""

    stanford_head: msgspec.Raw = msgspec.Raw(b"null")
    document: msgspec.Raw = msgspec.Raw(b"null")  # no field of TACRED's format: another tool's may hold anything
    evidence: msgspec.Raw = msgspec.Raw(b"null")


class _Unlabelled(_Record, frozen=True, gc=False, kw_only=True):
    """A record that a model is to answer: it needs no label, and no id."""

    id: str | None = None
    relation: str = NO_RELATION


class _Words(dict):
    """Word → the same in normal form, one string for all its occurrences: a corpus repeats its words and tags."""

    def __missing__(self, word: str) -> str:
        self[word] = intern(nfc(word))
        return self[word]


_RECORDS = msgspec.json.Decoder(list[msgspec.Raw])
_RECORD, _UNLABELLED = msgspec.json.Decoder(_Record), msgspec.json.Decoder(_Unlabelled)
_HEADS = msgspec.json.Decoder(list[int] | None, strict=False)  # reads "12" and 12 alike
_LOOSE = msgspec.json.Decoder(dict)
_KEYS = re.compile(f'"({"|".join(READ)})"\\s*:'.encode())
_GOOD_NAMES: set[str] = set()  # relations and types found well-formed: a corpus repeats a few dozen


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


def read_split(path: Path) -> list[Example]:
    """Decode and validate one split, record by record; words, tags, labels and types come in normal form (NFC).

    Raises `UserError` naming file, record index (from 0), id, field and remedy.
    """
    return _read_records(Path(path), split_records(path), _RECORD)


def read_unlabelled(path: Path, records: list[msgspec.Raw]) -> list[Example]:
    """The same for records that may lack relation and id: they get `no_relation` and their index."""
    return _read_records(path, records, _UNLABELLED)


def _read_records(path: Path, records: list[msgspec.Raw], decoder: msgspec.json.Decoder) -> list[Example]:
    words = _Words()
    examples = [_decode(path, index, raw, words, decoder) for index, raw in enumerate(records)]
    _check_columns(path, examples)
    _check_ids(path, examples)
    return examples


def assemble(name: str, splits: dict[str, list[Example]], folder: str, **facts: object) -> Corpus:
    """Make a Corpus of three validated splits after checking them against each other.

    Raises `UserError` for an id that stands in two splits and for a column that only some splits have; labels that
    training lacks are allowed and noted.
    """
    seen: dict[str, str] = {}
    for split in SPLITS:
        for example in splits[split]:
            if seen.setdefault(example.id, split) != split:
                raise UserError(
                    f"{folder}: id {example.id!r} stands in {seen[example.id]} and in {split}; give every record its own id."
                )
    for column in COLUMNS:
        with_column = [split for split in SPLITS if getattr(splits[split][0], column) is not None]
        if with_column and len(with_column) < len(SPLITS):
            raise UserError(
                f"{folder}: {column} is present in {' and '.join(with_column)} only; give it in all splits or in none."
            )
    corpus = Corpus(name, splits["train"], splits["dev"], splits["test"], **facts)
    known = {example.relation for example in corpus.train}
    unseen = [label for label in corpus.labels if label not in known]
    return corpus.noting(f"labels that training lacks: {', '.join(unseen)}") if unseen else corpus


def _decode(path: Path, index: int, raw: msgspec.Raw, words: _Words, decoder: msgspec.json.Decoder) -> Example:
    try:
        record = decoder.decode(raw)
        heads = _HEADS.decode(record.stanford_head)
    except UNDECODABLE as error:
        raise UserError(f"{_place(path, index, raw)}: {_explain_record(error)}") from None
    keys = _KEYS.findall(bytes(raw))  # of a key that stands twice the decoder silently takes the last
    if len(set(keys)) < len(keys) and (key := doubled_key(bytes(raw))):
        raise UserError(f"{_place(path, index, raw)}, field {key}: stands twice in the record; keep one of them.")
    token, pos, ner, deprel = (
        None if column is None else list(map(words.__getitem__, column))
        for column in (record.token, record.stanford_pos, record.stanford_ner, record.stanford_deprel)
    )
    spans = record.subj_start, record.subj_end, record.obj_start, record.obj_end
    relation, *types = (words[name] for name in (record.relation, record.subj_type, record.obj_type))
    identity = str(index) if record.id is None else record.id
    example = Example(identity, relation, token, *spans, *types, pos, ner, heads, deprel)
    if wrong := problem(example):
        raise UserError(f"{_place(path, index, raw)}: {wrong}")
    return example


def problem(example: Example) -> str:
    """What is wrong with a decoded record, as "field f: … ; remedy", or an empty string."""
    words = len(example.token)
    if words == 0:
        return "field token: is an empty list; a sentence needs at least one word."
    if not 0 <= example.subj_start <= example.subj_end < words:
        return _span_problem("subj", example.subj_start, example.subj_end, words)
    if not 0 <= example.obj_start <= example.obj_end < words:
        return _span_problem("obj", example.obj_start, example.obj_end, words)
    for column in COLUMNS:
        values = getattr(example, column)
        if values is not None and len(values) != words:
            return f"field {column}: has {len(values)} values for {words} words; give one per word."
    heads = example.stanford_head
    if heads is not None and (min(heads) < 0 or max(heads) > words):
        wrong = next(head for head in heads if not 0 <= head <= words)
        return f"field stanford_head: {wrong} is out of range; heads run from 1 to {words}, 0 for the root."
    if not example.id.isprintable() or not example.id.strip():
        return _name_problem("id", example.id)
    for name in ("relation", "subj_type", "obj_type"):
        value = getattr(example, name)
        if value not in _GOOD_NAMES:
            if not is_name(value):
                return _name_problem(name, value)
            _GOOD_NAMES.add(value)
    return ""


def _name_problem(name: str, value: str) -> str:
    return f"field {name}: {value!r} is empty or has spaces around it or control characters; give a plain name."


def _span_problem(role: str, start: int, end: int, words: int) -> str:
    if start > end:
        return f"field {role}_start: {start} lies after {role}_end {end}; spans are inclusive, so start must not exceed end."
    name, value = (f"{role}_start", start) if not 0 <= start < words else (f"{role}_end", end)
    return (
        f"field {name}: {value} is outside the sentence; give the index of one of its {words} words (0 to {words - 1})."
    )


def _check_columns(path: Path, examples: list[Example]) -> None:
    for column in COLUMNS:
        lacking = [index for index, example in enumerate(examples) if getattr(example, column) is None]
        if lacking and len(lacking) < len(examples):
            first = lacking[0]
            raise UserError(
                f"{path}: record {first} (id {examples[first].id!r}), field {column}: is missing though other records "
                "have it; give it in every record or in none."
            )


def _check_ids(path: Path, examples: list[Example]) -> None:
    first: dict[str, int] = {}
    for index, example in enumerate(examples):
        if first.setdefault(example.id, index) != index:
            raise UserError(
                f"{path}: record {index}, field id: {example.id!r} is already the id of record {first[example.id]}; "
                "give every record its own id."
            )


def _place(path: Path, index: int, raw: msgspec.Raw) -> str:
    """`file: record 7 (id 'x')`, with the id as far as it can be read."""
    try:
        identity = _LOOSE.decode(raw).get("id")
    except UNDECODABLE:
        identity = None
    return f"{path}: record {index}" + (f" (id {identity!r})" if isinstance(identity, str) else "")


def _explain_record(error: Exception) -> str:
    """msgspec's "Expected `int`, got `str` - at `$.subj_start`" as "field subj_start: expected int, got str; …"."""
    text = str(error)
    if "missing required field" in text:
        return f"field {text.split('`')[1]}: is missing; every record needs it."
    if isinstance(error, UnicodeDecodeError):
        return f"is not UTF-8 text ({error.reason}); save the file as UTF-8."
    what, _, where = text.partition(" - at `$")
    if not where and "array | null" in what:  # the heads are decoded on their own
        where = ".stanford_head"
    if not where:
        return f"cannot be decoded ({text.lower()}); a record is a JSON object with TACRED's fields."
    name = where.strip("`").removeprefix(".") or "record"
    if name.startswith("["):  # a head among the heads
        return (
            f"field stanford_head{name}: is no whole number; give the 1-based index of the word's head, 0 for the root."
        )
    return f"field {name}: {what[0].lower() + what[1:].replace('`', '')}; mend the value."


def _explain_syntax(data: bytes, error: Exception) -> str:
    text = data.lstrip()
    if text.startswith(b"{"):
        if b"\n" in text.strip():
            return "holds one record a line (JSON lines) or a single object; TACRED's format is one JSON list: jq -s . turns lines into it."
        return "holds an object, not a list of records; wrap the records in [ and ]."
    if not text.startswith(b"["):
        return "is not a JSON list of records; check that it is the right file."
    if "truncated" in str(error):
        return f"ends in the middle of a record (truncated at byte {len(data)}); fetch it again."
    for constant in (b"NaN", b"Infinity"):
        if constant in data:
            line = data[: data.index(constant)].count(b"\n") + 1
            return f"holds {constant.decode()} (line {line}), which JSON does not know; give a number or leave the field out."
    return f"is not valid JSON ({str(error).lower()}); fetch or write it again."

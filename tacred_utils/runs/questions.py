"""What a trained model is asked: sentences of the user's own, from the command line or a file, split into words, checked.

Nothing here needs the model: a mistake is told before it is loaded.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from tacred_utils.corpora.example import COLUMNS, Example
from tacred_utils.corpora.reader import read_unlabelled, split_records
from tacred_utils.ground.errors import UserError
from tacred_utils.ground.files import UNDECODABLE, nfc, read_data
from tacred_utils.ground.labels import SPLITS
from tacred_utils.runs.store import CorpusInfo

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
    trained: CorpusInfo,
    sentence: str,
    places: Mapping[str, Place],
    types: Types = (None, None),
    name: str = "sentence",
) -> Question:
    """The question that a plain sentence asks; `places` are those of both roles, or empty for all entities.

    Raises `UserError` for what is missing, unknown or ambiguous.
    """
    token = words(sentence, trained.named)
    if not token:
        raise UserError("--sentence: is empty; give one with two entities.")
    if re.search("[\ud800-\udfff]", sentence):
        raise UserError("--sentence: holds bytes that are no UTF-8 text; write it as UTF-8.")
    types = tuple(kind and nfc(kind) for kind in types)
    _check_types(trained, types)
    if not places:
        return Question(name, token, None, types)
    if len(places) == 1:
        raise UserError("--subject, --object: one is missing; name both, or neither for every pair that is found.")
    subject, objekt = (_span(role, places[role], token, trained.named) for role in ROLES)
    if subject == objekt:
        raise UserError("--subject, --object: are the same words of the sentence; name two entities.")
    return Question(name, token, (*subject, *objekt), types)


def from_file(trained: CorpusInfo, path: Path) -> list[Question]:
    """The questions of a file, in order; raises `UserError` that names the line or the record.

    JSON lines with `sentence` and, both or neither, `subject` and `object`; or records in TACRED's format, as lines,
    as a list or as a folder of splits, where `id` and `relation` may be missing.
    """
    if path.is_dir():
        files = [file for split in SPLITS if (file := path / f"{split}.json").is_file()]
        if not files:
            raise UserError(f"--file {path}: holds none of train.json, dev.json and test.json; name a file.")
        return [question for file in files for question in from_file(trained, file)]
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
        return from_sentence(trained, given.sentence, places, (given.subject_type, given.object_type), name)
    except UNDECODABLE as error:
        raise UserError(f"{place}: {error}; give an object with a sentence.") from None
    except UserError as error:
        raise UserError(f"{place}: {_as_field(error)}") from None


def _as_field(error: UserError) -> str:
    """The message with options named as the fields of a file are."""
    return re.sub("--(subject|object|sentence)(-type)?", lambda option: option[0][2:].replace("-", "_"), str(error))


def _check_types(trained: CorpusInfo, types: Types) -> None:
    for role, kind in zip(ROLES, types, strict=True):
        if kind and kind not in trained.types[role]:
            known = ", ".join(trained.types[role])
            raise UserError(f"--{role}-type {kind!r}: the run has never seen it; known are {known}.")


def _span(role: str, place: Place, token: list[str], named: bool) -> tuple[int, int]:
    """First and last word of an entity."""
    if isinstance(place, str):
        return locate(place, token, f"--{role}", named)
    start, end = place
    if not 0 <= start <= end < len(token):
        raise UserError(f"--{role}-at {start}:{end}: no words of the sentence; they run from 0 to {len(token) - 1}.")
    return place


# A plain sentence as words, much as TACRED's are split

_WORD = re.compile(
    r"""-[LR][RSC]B- | `` | '' | --+ | \.\.+  # named brackets and quotes, dashes, dots
    | '(?:s|re|ve|ll|d|m)\b                   # a clitic that is split off already
    | \w+://\S*[\w/] | \bUS\$ | \.\d+          # addresses, a currency, .22
    | (?<!\w) (?: (?:[^\W\d_]{1,2}\.){2,} | [^\W\d_]\.  # U.S., Ph.D., J.
      | (?:Mrs?|Ms|Dr|Prof|Sen|Rep|Gov|Gen|Lt|Col|Capt|Sgt|Rev|St|Jr|Sr|Inc|Corp|Co|Cos|Ltd|Bros|vs|etc
      |Jan|Feb|Mar|Apr|Aug|Sept|Sep|Oct|Nov|Dec)\. ) (?![\w-])
    | \w+ (?: (?: \.?- | [.'&/@] | (?<=\d)[,:](?=\d) ) \w+ )*  # with what stands inside: co-chair, O'Hara, 1,000
    | \S""",
    re.VERBOSE,
)
_CLITIC = re.compile(r"(?i)(?<=\w)(?=(?:n't|'(?:s|re|ve|ll|d|m))$)")
_TYPED = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"', "—": " -- ", "…": " ... "})
_NAMES = {"(": "-LRB-", ")": "-RRB-", "[": "-LSB-", "]": "-RSB-", "{": "-LCB-", "}": "-RCB-"}
PLAIN = {name: sign for sign, name in _NAMES.items()} | {"``": '"', "''": '"'}  # named signs as they are written
LISTED = 40  # words or places that an error shows at the most


def words(sentence: str, named: bool = False) -> list[str]:
    """The words of a sentence, which end at blanks; punctuation and clitics (`'s`, `n't`) are words of their own.

    Abbreviations and initials keep their dot, and what is split already stays as it is. Stanford's tools, with which
    TACRED was made, give brackets and double quotes names (`-LRB-`, two backticks); `named` does so too.
    """
    found = [part for word in _WORD.findall(nfc(sentence).translate(_TYPED)) for part in _CLITIC.split(word)]
    if not named:
        return found
    quotes = 0
    for place, word in enumerate(found):
        quotes += word == '"'
        found[place] = ("``" if quotes % 2 else "''") if word == '"' else _NAMES.get(word, word)
    return found


def locate(text: str, token: Sequence[str], option: str, named: bool) -> tuple[int, int]:
    """First and last word of the one place where a text stands, from 0; the option's name is for errors.

    Raises `UserError` for a text that does not stand there as whole words, or in several places, which it lists.
    """
    mention = words(text, named)
    width, quotes = len(mention), ("``", "''")  # a quote opens or closes by what stands before it
    alike = [[quotes if word in quotes else word for word in part] for part in (token, mention)]
    starts = [at for at in range(len(token) - width + 1) if mention and alike[0][at : at + width] == alike[1]]
    if not starts:
        listed = " ".join(f"{number} {word!r}" for number, word in enumerate(token[:LISTED]))
        raise UserError(
            f"{option} {text!r}: does not stand in the sentence as whole words, in this spelling; its words are, by "
            f"number, {listed}{' …' if len(token) > LISTED else ''}; give a text of these, or {option}-at FIRST:LAST."
        )
    if len(starts) > 1:
        places = [f"{at}:{at + width - 1} ({_around(token, at, at + width)!r})" for at in starts[:LISTED]]
        more = " and further on" * (len(starts) > LISTED)
        raise UserError(
            f"{option} {text!r}: stands in {len(starts)} places of the sentence, at words {', '.join(places)}{more}; "
            f"choose one with {option}-at, for example {option}-at {starts[0]}:{starts[0] + width - 1}."
        )
    return starts[0], starts[0] + width - 1


def _around(token: Sequence[str], start: int, end: int) -> str:
    before, after = token[max(0, start - 2) : start], token[end : end + 2]
    return " ".join([*before, f"[{' '.join(token[start:end])}]", *after])

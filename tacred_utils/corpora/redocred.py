"""Re-DocRED read sentence by sentence, which gives it TACRED's shape: typed pairs, most of them without a relation.

Source: Tan et al. 2022, Revisiting DocRED, https://github.com/tonytan48/Re-DocRED (MIT; text from Wikipedia). The
names of its properties (properties.tsv) are Wikidata's English labels.
"""

import csv
from collections import Counter
from collections.abc import Iterator
from functools import cache
from itertools import permutations
from math import inf
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from tacred_utils.corpora.example import Example
from tacred_utils.corpora.reader import split_records
from tacred_utils.ground.errors import UserError
from tacred_utils.ground.files import UNDECODABLE, nfc
from tacred_utils.ground.labels import NO_RELATION, SPLITS

Splits = tuple[dict[str, list[Example]], list[str]]  # the Examples of each split, and what their reader has to report
DOCUMENTS = {"train_revised.json": 3_053, "dev_revised.json": 500, "test_revised.json": 500}
TYPES = {
    "PER": "PERSON", "ORG": "ORGANIZATION", "LOC": "LOCATION", "TIME": "DATE", "NUM": "NUMBER", "MISC": "MISC",
}  # fmt: skip
ROLES = {"PER": "per", "ORG": "org"}  # what a subject can be, and how its relations begin
FEWEST = 10  # training rows of a relation that is kept


class _Mention(msgspec.Struct):
    sent_id: int
    pos: tuple[int, int]  # first word, and the one after the last
    type: Literal[tuple(TYPES)]


class _Fact(msgspec.Struct):
    r: str
    h: int
    t: int
    evidence: list[int]


class _Document(msgspec.Struct):
    title: str
    sents: list[list[str]]
    vertexSet: list[list[_Mention]]
    labels: list[_Fact]


class _Pair(NamedTuple):
    """A row whose label is not chosen yet."""

    example: Example
    role: str  # per or org
    stated: dict[str, bool | None]  # property → whether this sentence is among its evidence; None: it lists none


class _File(NamedTuple):
    pairs: list[list[_Pair]]  # by document
    left_out: Counter[str]
    blank: int  # words


_DOCUMENT = msgspec.json.Decoder(_Document)
_TITLE = msgspec.json.Decoder(dict)


def read_redocred(folder: Path) -> Splits:
    """The official splits as rows, and what was left out or changed.

    A row is an ordered pair of entities with a mention in one sentence, the subject a person or an organization.
    Raises `UserError` that names file, document, field and remedy.
    """
    files = {split: _read_file(folder / f"{split}_revised.json") for split in SPLITS}
    splits = {split: [pair for document in file.pairs for pair in document] for split, file in files.items()}
    return _labelled(splits, [_note(f"{split}_revised.json", file) for split, file in files.items()])


def read_redocred_small(folder: Path) -> Splits:
    """As `read_redocred`, of the two smaller files: dev_revised is for training, test_revised for dev and test.

    Documents of test_revised go to dev and test by turns, the first to dev.
    """
    train, rest = (_read_file(folder / f"{name}_revised.json") for name in ("dev", "test"))
    documents = {"train": train.pairs, "dev": rest.pairs[::2], "test": rest.pairs[1::2]}
    splits = {split: [pair for document in pairs for pair in document] for split, pairs in documents.items()}
    return _labelled(splits, [_note("dev_revised.json", train), _note("test_revised.json", rest)])


def _labelled(splits: dict[str, list[_Pair]], notes: list[str]) -> Splits:
    """Rows with the rarest of their relations, without the relations that training has in fewer than FEWEST rows."""
    pairs = Counter(name for pair in splits["train"] for name in pair.stated)
    rows = {split: [_choose(pair, pairs) for pair in splits[split]] for split in SPLITS}
    counts = Counter(row.relation for row in rows["train"])
    kept = {NO_RELATION, *(label for label, count in counts.items() if count >= FEWEST)}
    rare = {row.relation for split in SPLITS for row in rows[split]} - kept
    lost = " / ".join(f"{sum(row.relation in rare for row in rows[split]):,}" for split in SPLITS)
    if rare:
        notes.append(
            f"{len(rare)} relations with fewer than {FEWEST} training rows are left out with their {lost} rows"
        )
    return {split: [row for row in rows[split] if row.relation in kept] for split in SPLITS}, notes


def _choose(pair: _Pair, counts: Counter[str]) -> Example:
    """The row with its label: the property in the fewest training pairs, then the one with the smallest number."""
    if not pair.stated:
        return pair.example
    chosen = min(pair.stated, key=lambda name: (counts.get(name, inf), int(name[1:])))
    label = f"{pair.role}:{_properties()[chosen].replace(' ', '_')}"
    return msgspec.structs.replace(pair.example, relation=label, evidence=pair.stated[chosen])


@cache
def _properties() -> dict[str, str]:
    with (Path(__file__).parent / "properties.tsv").open(encoding="utf-8") as lines:
        return dict(csv.reader(lines, delimiter="\t"))


def _note(name: str, file: _File) -> str:
    """What was left out of or changed in one file, as a sentence."""
    overlapping, elsewhere, several = (file.left_out[what] for what in ("overlapping", "elsewhere", "several"))
    return (
        f"{name}: {overlapping:,} pairs with overlapping mentions and {elsewhere:,} whose relations are all stated in "
        f"other sentences are left out; of {several:,} pairs with several relations the rarest is kept; {file.blank:,} "
        "words are blank"
    )


def _read_file(path: Path) -> _File:
    documents = [_decode(path, index, raw) for index, raw in enumerate(split_records(path))]
    if len(documents) != DOCUMENTS[path.name]:
        raise UserError(
            f"{path}: holds {len(documents):,} documents, the published file has {DOCUMENTS[path.name]:,}: it is cut or "
            "another split's; fetch it again."
        )
    pairs, left_out, blank = [], Counter(), 0
    for index, document in enumerate(documents):
        pairs.append([*_document_pairs(f"redocred-{path.name.partition('_')[0]}-{index}", document, left_out)])
        blank += sum(not word.strip() for sentence in document.sents for word in sentence)
    return _File(pairs, left_out, blank)


def _document_pairs(name: str, document: _Document, left_out: Counter[str]) -> Iterator[_Pair]:
    """The pairs of a document, sentence by sentence; what is left out is counted."""
    facts: dict[tuple[int, int], list[_Fact]] = {}
    for fact in document.labels:
        facts.setdefault((fact.h, fact.t), []).append(fact)
    for number, words in enumerate(document.sents):
        token = [nfc(word) for word in words]
        first = [next((m for m in mentions if m.sent_id == number), None) for mentions in document.vertexSet]
        for head, tail in permutations([entity for entity, mention in enumerate(first) if mention], 2):
            subj, obj, about = first[head], first[tail], facts.get((head, tail), [])
            stated = {
                fact.r: True if fact.evidence else None for fact in about if number in (fact.evidence or [number])
            }
            if subj.type not in ROLES:
                continue
            if subj.pos[0] < obj.pos[1] and obj.pos[0] < subj.pos[1]:
                left_out["overlapping"] += 1
            elif about and not stated:
                left_out["elsewhere"] += 1
            else:
                left_out["several"] += len(stated) > 1
                spans = subj.pos[0], subj.pos[1] - 1, obj.pos[0], obj.pos[1] - 1
                types, identity = (TYPES[subj.type], TYPES[obj.type]), f"{name}-{number}-{head}-{tail}"
                example = Example(identity, NO_RELATION, token, *spans, *types, document=name)
                yield _Pair(example, ROLES[subj.type], stated)


def _decode(path: Path, index: int, raw: msgspec.Raw) -> _Document:
    """A document that was found right; raises `UserError` for one that is not."""
    try:
        document = _DOCUMENT.decode(raw)
        wrong = _problem(document)
    except UNDECODABLE as error:
        what, _, where = str(error).replace("`", "").partition(" - at $")
        wrong = f"field {where.removeprefix('.') or 'of the document'}: {what[0].lower()}{what[1:]}"
    if wrong:
        raise UserError(f"{path}: document {index} ({_title(raw)!r}), {wrong}; mend it or fetch the file again.")
    return document


def _title(raw: msgspec.Raw) -> object:
    try:
        return _TITLE.decode(raw).get("title")
    except UNDECODABLE:
        return None


def _problem(document: _Document) -> str:
    """What is wrong with a decoded document, as "field f: …", or an empty string."""
    sentences, entities = document.sents, len(document.vertexSet)
    if not sentences or not all(sentences):
        return "field sents: " + ("holds no sentence" if not sentences else f"sentence {sentences.index([])} is empty")
    for entity, mentions in enumerate(document.vertexSet):
        for place, mention in enumerate(mentions):
            field, (start, end) = f"field vertexSet[{entity}][{place}]", mention.pos
            if not 0 <= mention.sent_id < len(sentences):
                return f"{field}.sent_id: {mention.sent_id} is none of its {len(sentences)} sentences"
            if not 0 <= start < end <= len(sentences[mention.sent_id]):
                return f"{field}.pos: {start} to {end} is no span of its {len(sentences[mention.sent_id])} words"
    for number, fact in enumerate(document.labels):
        field = f"field labels[{number}]"
        if fact.r not in _properties():
            return f"{field}.r: {fact.r!r} is none of the {len(_properties())} properties"
        if not (0 <= fact.h < entities and 0 <= fact.t < entities):
            return f"{field}: h {fact.h} and t {fact.t} are not both among its {entities} entities"
        if odd := [sentence for sentence in fact.evidence if not 0 <= sentence < len(sentences)]:
            return f"{field}.evidence: {odd[0]} is none of its {len(sentences)} sentences"
    return ""

"""Readers of the published files of Re-DocRED, KBP37 and CoNLL04, and the table of all readers.

Re-DocRED read sentence by sentence has TACRED's shape: typed pairs, most of them without a relation. Source: Tan et al.
2022, Revisiting DocRED, https://github.com/tonytan48/Re-DocRED (MIT; text from Wikipedia). The names of its properties
(properties.tsv) are Wikidata's English labels. The other files are known by their checksums (sources.toml), so that
their readers have no damage to look for.
"""

import csv
import re
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from itertools import chain, permutations
from math import inf
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import msgspec

from tacred_utils.corpora.example import UNTYPED, Example
from tacred_utils.corpora.reader import Reading, decode_each, read_json, split_records
from tacred_utils.ground.errors import UserError
from tacred_utils.ground.files import nfc, read_data
from tacred_utils.ground.labels import NO_RELATION, SPLITS

DOCUMENTS = {"train_revised.json": 3_053, "dev_revised.json": 500, "test_revised.json": 500}
TYPES = {
    "PER": "PERSON", "ORG": "ORGANIZATION", "LOC": "LOCATION", "TIME": "DATE", "NUM": "NUMBER", "MISC": "MISC",
}  # fmt: skip
ROLES = {"PER": "per", "ORG": "org"}  # what a subject can be, and how its relations begin
FEWEST = 10  # training rows of a relation that is kept
Number = Annotated[int, msgspec.Meta(ge=0)]
Entity = tuple[int, int, str]  # first word, last word (inclusive), type
_KBP37_MARKS = ("<e1>", "</e1>", "<e2>", "</e2>")
_LABELS, _PLACES = re.compile("[A-Za-z_]+"), re.compile("[0-9]+")  # of a word's relations, as ['A', 'B'] and [3, 5]


class _Mention(msgspec.Struct):
    sent_id: Number
    pos: tuple[Number, int]  # first word, and the one after the last
    type: Literal[tuple(TYPES)]


class _Fact(msgspec.Struct):
    r: str
    h: Number
    t: Number
    evidence: list[Number]


class _Document(msgspec.Struct):
    title: str
    sents: Annotated[list[Annotated[list[str], msgspec.Meta(min_length=1)]], msgspec.Meta(min_length=1)]
    vertexSet: list[list[_Mention]]
    labels: list[_Fact]

    def __post_init__(self) -> None:
        """Raises `ValueError`, which msgspec passes on, for a number of something that is not there."""

        def require(holds: bool, field: str, wrong: str) -> None:
            if not holds:
                raise ValueError(f"field {field}: {wrong}; mend it or fetch the file again.")

        words, entities = [*map(len, self.sents)], len(self.vertexSet)
        for entity, mentions in enumerate(self.vertexSet):
            for place, mention in enumerate(mentions):
                field, (start, end) = f"vertexSet[{entity}][{place}]", mention.pos
                require(mention.sent_id < len(words), f"{field}.sent_id", f"is none of its {len(words)} sentences")
                size = words[mention.sent_id]
                require(start < end <= size, f"{field}.pos", f"{start} to {end} is no span of its {size} words")
        for place, fact in enumerate(self.labels):
            field, sentences = f"labels[{place}]", len(words)
            require(fact.r in _properties(), f"{field}.r", f"{fact.r!r} is none of the properties")
            require(max(fact.h, fact.t) < entities, field, f"h or t is none of its {entities} entities")
            known = max(fact.evidence, default=0) < sentences
            require(known, f"{field}.evidence", f"names more than its {sentences} sentences")


class _Pair(NamedTuple):
    """A row whose label is not chosen yet."""

    example: Example
    role: str  # per or org
    stated: dict[str, bool | None]  # property → whether this sentence is among its evidence; None: it lists none


def read_redocred(folder: Path) -> Reading:
    """The official splits as rows, and what was left out or changed.

    A row is an ordered pair of entities with a mention in one sentence, the subject a person or an organization.
    Raises `UserError` that names file, document, field and remedy.
    """
    pairs, notes = zip(*(_read_file(folder / f"{split}_revised.json") for split in SPLITS), strict=True)
    return _labelled(dict(zip(SPLITS, pairs, strict=True)), [*notes])


def read_redocred_small(folder: Path) -> Reading:
    """As `read_redocred`: dev_revised is for training, documents of test_revised go to dev and test by turns."""
    (train, *notes), (rest, note) = (_read_file(folder / f"{name}_revised.json") for name in ("dev", "test"))
    return _labelled({"train": train, "dev": rest[::2], "test": rest[1::2]}, [*notes, note])


def _labelled(documents: dict[str, list[list[_Pair]]], notes: list[str]) -> Reading:
    """Rows with the rarest of their relations, without the relations that training has in fewer than FEWEST rows."""
    splits = {split: [*chain.from_iterable(pairs)] for split, pairs in documents.items()}
    pairs = Counter(name for pair in splits["train"] for name in pair.stated)
    rows = {split: [_choose(pair, pairs) for pair in splits[split]] for split in SPLITS}
    counts = Counter(row.relation for row in rows["train"])
    kept = {NO_RELATION, *(label for label, count in counts.items() if count >= FEWEST)}
    rare = {row.relation for split in SPLITS for row in rows[split]} - kept
    lost = " / ".join(f"{sum(row.relation in rare for row in rows[split]):,}" for split in SPLITS)
    if rare:
        few = f"{len(rare)} relations with fewer than {FEWEST} training rows"
        notes.append(f"{few} are left out with their {lost} rows")
    return Reading({split: [row for row in rows[split] if row.relation in kept] for split in SPLITS}, notes, {})


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


def _read_file(path: Path) -> tuple[list[list[_Pair]], str]:
    """The pairs of each document, and what was left out or changed."""
    decoder = msgspec.json.Decoder(_Document)
    documents = decode_each(path, split_records(path), lambda _, raw: decoder.decode(raw), "document", "title")
    if len(documents) != DOCUMENTS[path.name]:
        raise UserError(
            f"{path}: holds {len(documents):,} documents, the published file has {DOCUMENTS[path.name]:,}: it is cut "
            "or another split's; fetch it again."
        )
    left_out, name = Counter(), path.name.partition("_")[0]
    pairs = [[*_document_pairs(f"redocred-{name}-{n}", document, left_out)] for n, document in enumerate(documents)]
    blank = sum(not word.strip() for document in documents for sentence in document.sents for word in sentence)
    overlapping, elsewhere, several = (left_out[what] for what in ("overlapping", "elsewhere", "several"))
    return (
        pairs,
        f"{path.name}: {overlapping:,} pairs with overlapping mentions and {elsewhere:,} whose relations are all "
        f"stated in other sentences are left out; of {several:,} pairs with several relations the rarest is kept; "
        f"{blank:,} words are blank",
    )


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
            stated = {one.r: True if one.evidence else None for one in about if number in (one.evidence or [number])}
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


def read_kbp37(folder: Path) -> Reading:
    """KBP37 (https://github.com/zhangdongxu/kbp37): subject = e1, object = e2.

    A sentence with an empty mention cannot carry a span: it is left out, and its label reported.
    """
    found = Reading({}, [], {})
    for split in SPLITS:
        text = nfc(read_data(folder / f"{split}.txt").decode()).replace("\r\n", "\n").strip()
        examples, left_out = [], []
        for block in re.split(r"\n\s*\n", text):
            number, _, rest = block.partition("\t")
            sentence, label = (part.strip() for part in rest.split("\n")[:2])
            words = sentence.removeprefix('"').removesuffix('"').split()
            marks = [(place, word) for place, word in enumerate(words) if word in _KBP37_MARKS]
            bounds = {word: place - before for before, (place, word) in enumerate(marks)}
            subj, obj = ((bounds[f"<e{n}>"], bounds[f"</e{n}>"] - 1) for n in (1, 2))
            token = [word for word in words if word not in _KBP37_MARKS]
            if subj[0] > subj[1] or obj[0] > obj[1]:
                left_out.append(label)
            else:
                identity = f"kbp37-{split}-{number.strip()}"
                examples.append(Example(identity, label, token, *subj, *obj, UNTYPED, UNTYPED))
        found.splits[split] = examples
        if left_out:
            found.left_out[split] = left_out
            found.notes.append(f"{split}.txt: {len(left_out)} sentences with an empty mention left out")
    return found


def read_conll04(folder: Path) -> Reading:
    """CoNLL04 with relations at the last word of an entity; every ordered entity pair is an Example.

    The types of all entities of a sentence are the column `stanford_ner`. An I- tag that continues no entity is no
    entity (strict BIO), and a relation that points to it has no argument, which is reported. Source:
    bekou/multihead_joint_entity_relation_extraction, data/CoNLL04.
    """
    found = Reading({}, [], {})
    for split in SPLITS:
        text = nfc(read_data(folder / f"{split}.txt").decode())
        examples, stray, lost = [], 0, 0
        for document in re.split("^#doc", text, flags=re.MULTILINE)[1:]:
            name, *lines = document.splitlines()
            rows = [line.split("\t") for line in lines if line.strip()]  # number, word, tag, relations, their places
            entities = _bio_entities([row[2] for row in rows])
            relations, without = _conll04_relations(rows, entities)
            lost += without
            stray += sum(row[2].startswith("I-") for row in rows) - sum(end - start for start, end, _ in entities)
            examples += _conll04_examples(f"conll04-{split}-{name.strip()}", rows, entities, relations)
        found.splits[split] = examples
        told = {"words tagged I- outside an entity are no entity": stray}
        told["relations point to no entity and are left out"] = lost
        found.notes.extend(f"{split}.txt: {count} {what}" for what, count in told.items() if count)
    return found


def _conll04_examples(name: str, rows: list[list[str]], entities: list[Entity], relations: dict) -> list[Example]:
    words, tags = [row[1] for row in rows], ["O"] * len(rows)
    for start, end, kind in entities:
        tags[start : end + 1] = [kind] * (end + 1 - start)
    return [
        Example(
            f"{name}-{subj[0]}-{obj[0]}", relations.get((subj, obj), NO_RELATION), words, *subj[:2], *obj[:2],
            subj[2], obj[2], stanford_ner=tags,
        )
        for subj, obj in permutations(entities, 2)
    ]  # fmt: skip


def _bio_entities(tags: list[str]) -> list[Entity]:
    """(start, end, type) of each entity, ends inclusive."""
    entities: list[Entity] = []
    for index, tag in enumerate(tags):
        begun, _, kind = tag.partition("-")
        if begun == "B":
            entities.append((index, index, kind))
        elif begun == "I" and entities and entities[-1][1:] == (index - 1, kind):
            entities[-1] = (entities[-1][0], index, kind)
    return entities


def _conll04_relations(rows: list[list[str]], entities: list[Entity]) -> tuple[dict, int]:
    """Relations by (subject, object) entity, and how many have no entity at one of their ends."""
    by_end = {entity[1]: entity for entity in entities}
    relations, lost = {}, 0
    for index, row in enumerate(rows):
        for label, tail in zip(_LABELS.findall(row[3]), map(int, _PLACES.findall(row[4])), strict=True):
            if label == "N":
                continue
            if index in by_end and tail in by_end:
                relations[by_end[index], by_end[tail]] = label
            else:
                lost += 1
    return relations, lost


READERS: dict[str, Callable[[Path], Reading]] = {  # of the sources that are corpora
    "redocred": read_redocred,
    "redocred_small": read_redocred_small,
    "kbp37": read_kbp37,
    "conll04": read_conll04,
    "tacred": read_json,
    "tacred_sample": read_json,
}

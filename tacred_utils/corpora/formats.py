"""Readers for the published files of KBP37 and CoNLL04."""

import re
from collections.abc import Callable
from itertools import permutations
from pathlib import Path
from typing import NamedTuple

from tacred_utils.corpora.example import UNTYPED, Example
from tacred_utils.ground.errors import UserError
from tacred_utils.ground.files import nfc, read_data
from tacred_utils.ground.labels import NO_RELATION

Entity = tuple[int, int, str]  # first word, last word (inclusive), type


class Split(NamedTuple):
    """What the reader of a file found in it."""

    examples: list[Example]
    notes: list[str]  # what there is to report
    left_out: list[str]  # gold labels of the rows that could not be read


def _text(path: Path) -> str:
    try:
        return nfc(read_data(path).decode())
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not UTF-8 text ({error.reason}); fetch it again.") from None


_KBP37_MARKS = ("<e1>", "</e1>", "<e2>", "</e2>")


def read_kbp37(path: Path) -> Split:
    """Read one file of KBP37 (https://github.com/zhangdongxu/kbp37): subject = e1, object = e2.

    A sentence with an empty mention cannot carry a span: it is left out, and its label reported. Raises `UserError`
    with the record's number for a block that has not the form of the format.
    """
    blocks = re.split(r"\n\s*\n", _text(path).replace("\r\n", "\n").strip())
    examples, left_out = [], []
    for block in blocks:
        number, _, rest = block.partition("\t")
        sentence, _, label = rest.partition("\n")
        words = sentence.strip().removeprefix('"').removesuffix('"').split()
        if not label.strip() or "\n" in label or not all(words.count(mark) == 1 for mark in _KBP37_MARKS):
            raise UserError(
                f"{path}: record {number!r}: is not a number, a sentence with <e1> and <e2>, and a label; fetch it again."
            )
        example = _kbp37_example(f"kbp37-{path.stem}-{number.strip()}", words, label.strip())
        examples.append(example) if example else left_out.append(label.strip())
    notes = [f"{path.name}: {len(left_out)} sentences with an empty mention left out"] if left_out else []
    return Split(examples, notes, left_out)


def _kbp37_example(identity: str, words: list[str], label: str) -> Example | None:
    token, bounds = [], {}
    for word in words:
        if word in _KBP37_MARKS:
            bounds[word] = len(token)
        else:
            token.append(word)
    subj, obj = ((bounds[f"<e{n}>"], bounds[f"</e{n}>"] - 1) for n in (1, 2))
    if subj[0] > subj[1] or obj[0] > obj[1]:
        return None
    return Example(identity, label, token, *subj, *obj, UNTYPED, UNTYPED)


_LABELS, _PLACES = re.compile("[A-Za-z_]+"), re.compile("[0-9]{1,9}")  # of a word's relations, as ['A', 'B'] and [3, 5]


def read_conll04(path: Path) -> Split:
    """Read one file of CoNLL04 with relations at the last word of an entity; every ordered entity pair is an Example.

    The types of all its entities, which the file gives, are the column `stanford_ner`. An I- tag that continues no
    entity is no entity (strict BIO), and a relation that points to it has no argument: both are reported. Source:
    bekou/multihead_joint_entity_relation_extraction, data/CoNLL04.
    """
    examples, stray, lost = [], 0, 0
    for identity, rows in _conll04_documents(path):
        entities, strays = _bio_entities([row[2] for row in rows])
        relations, without = _conll04_relations(rows, entities)
        stray, lost = stray + strays, lost + without
        words, tags = [row[1] for row in rows], ["O"] * len(rows)
        for start, end, kind in entities:
            tags[start : end + 1] = [kind] * (end + 1 - start)
        for subj, obj in permutations(entities, 2):
            label = relations.get((subj, obj), NO_RELATION)
            name = f"conll04-{path.stem}-{identity}-{subj[0]}-{obj[0]}"
            examples.append(Example(name, label, words, *subj[:2], *obj[:2], subj[2], obj[2], stanford_ner=tags))
    found = (
        (stray, "words tagged I- outside an entity are no entity"),
        (lost, "relations point to no entity and are left out"),
    )
    return Split(examples, [f"{path.name}: {count} {what}" for count, what in found if count], [])


def _conll04_documents(path: Path) -> list[tuple[str, list[list[str]]]]:
    """Each document's name, and the five columns of its words."""
    documents: list[tuple[str, list[list[str]]]] = []
    for number, line in enumerate(_text(path).splitlines(), start=1):
        if line.startswith("#doc"):
            documents.append((line.removeprefix("#doc").strip(), []))
        elif line.strip():
            columns = line.split("\t")
            fits = len(columns) == 5 and len(_LABELS.findall(columns[3])) == len(_PLACES.findall(columns[4]))
            if not documents or not fits:
                raise UserError(
                    f"{path}: line {number}: is not 5 columns with a place for each label, below a #doc line; fetch it again."
                )
            documents[-1][1].append(columns)
    return documents


def _bio_entities(tags: list[str]) -> tuple[list[Entity], int]:
    """(start, end, type) of each entity, ends inclusive, and how many I- tags continue nothing."""
    entities: list[Entity] = []
    stray, is_open = 0, False
    for index, tag in enumerate(tags):
        if tag.startswith("B-"):
            entities.append((index, index, tag[2:]))
            is_open = True
        elif is_open and tag == f"I-{entities[-1][2]}":
            entities[-1] = (entities[-1][0], index, tag[2:])
        else:
            is_open = False
            stray += tag.startswith("I-")
    return entities, stray


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


# Corpora with a format of their own: how a split's file is read, and the ending of its name.
FORMATS: dict[str, tuple[Callable[[Path], Split], str]] = {
    "kbp37": (read_kbp37, ".txt"),
    "conll04": (read_conll04, ".txt"),
}

"""Readers of the published files of KBP37 and CoNLL04, and the table of all readers.

Files are known by their checksums (sources.toml), so that these readers have no damage to look for.
"""

import re
from collections.abc import Callable
from itertools import permutations
from pathlib import Path

from tacred_utils.corpora.example import UNTYPED, Example
from tacred_utils.corpora.reader import Reading, read_json
from tacred_utils.corpora.redocred import read_redocred, read_redocred_small
from tacred_utils.ground.files import nfc, read_data
from tacred_utils.ground.labels import NO_RELATION, SPLITS

Entity = tuple[int, int, str]  # first word, last word (inclusive), type
_KBP37_MARKS = ("<e1>", "</e1>", "<e2>", "</e2>")
_LABELS, _PLACES = re.compile("[A-Za-z_]+"), re.compile("[0-9]+")  # of a word's relations, as ['A', 'B'] and [3, 5]


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
            sentence, _, label = rest.partition("\n")
            words = sentence.strip().removeprefix('"').removesuffix('"').split()
            example = _kbp37_example(f"kbp37-{split}-{number.strip()}", words, label.strip())
            examples.append(example) if example else left_out.append(label.strip())
        found.splits[split] = examples
        if left_out:
            found.left_out[split] = left_out
            found.notes.append(f"{split}.txt: {len(left_out)} sentences with an empty mention left out")
    return found


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


def read_conll04(folder: Path) -> Reading:
    """CoNLL04 with relations at the last word of an entity; every ordered entity pair is an Example.

    The types of all entities of a sentence are the column `stanford_ner`. An I- tag that continues no entity is no
    entity (strict BIO), and a relation that points to it has no argument: both are reported. Source:
    bekou/multihead_joint_entity_relation_extraction, data/CoNLL04.
    """
    found = Reading({}, [], {})
    for split in SPLITS:
        text = nfc(read_data(folder / f"{split}.txt").decode())
        examples, stray, lost = [], 0, 0
        for document in re.split("^#doc", text, flags=re.MULTILINE)[1:]:
            name, *lines = document.splitlines()
            rows = [line.split("\t") for line in lines if line.strip()]  # number, word, tag, relations, their places
            entities, strays = _bio_entities([row[2] for row in rows])
            relations, without = _conll04_relations(rows, entities)
            stray, lost = stray + strays, lost + without
            examples += _conll04_examples(f"conll04-{split}-{name.strip()}", rows, entities, relations)
        found.splits[split] = examples
        told = (
            (stray, "words tagged I- outside an entity are no entity"),
            (lost, "relations point to no entity and are left out"),
        )
        found.notes.extend(f"{split}.txt: {count} {what}" for count, what in told if count)
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


READERS: dict[str, Callable[[Path], Reading]] = {  # of the sources that are corpora
    "redocred": read_redocred,
    "redocred_small": read_redocred_small,
    "kbp37": read_kbp37,
    "conll04": read_conll04,
    "tacred": read_json,
    "tacred_sample": read_json,
}

"""Readers for the published files of the open corpora, and for the revisions of TACRED's labels."""

import re
from collections.abc import Collection
from itertools import permutations
from pathlib import Path

import msgspec

from tacred_utils.corpora.example import UNTYPED, Example
from tacred_utils.ground.errors import UserError
from tacred_utils.ground.files import UNDECODABLE, doubled_key, read_data
from tacred_utils.ground.labels import NO_RELATION, is_name

Split = tuple[list[Example], list[str]]  # the Examples of a file, and what its reader has to report
Entity = tuple[int, int, str]  # first word, last word (inclusive), type


def _text(path: Path) -> str:
    try:
        return read_data(path).decode()
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not UTF-8 text ({error.reason}); fetch it again.") from None


_KBP37_MARKS = ("<e1>", "</e1>", "<e2>", "</e2>")


def read_kbp37(path: Path) -> Split:
    """Read one file of KBP37 (https://github.com/zhangdongxu/kbp37): subject = e1, object = e2.

    A sentence with an empty mention cannot carry a span: it is left out and reported. Raises `UserError` with the
    record's number for a block that has not the form of the format.
    """
    blocks = re.split(r"\n\s*\n", _text(path).replace("\r\n", "\n").strip())
    examples, empty = [], []
    for block in blocks:
        number, _, rest = block.partition("\t")
        sentence, _, label = rest.partition("\n")
        words = sentence.strip().removeprefix('"').removesuffix('"').split()
        if not label.strip() or "\n" in label or not all(words.count(mark) == 1 for mark in _KBP37_MARKS):
            raise UserError(
                f"{path}: record {number!r}: is not a number, a sentence with <e1> and <e2>, and a label; fetch it again."
            )
        example = _kbp37_example(f"kbp37-{path.stem}-{number.strip()}", words, label.strip())
        examples.append(example) if example else empty.append(number)
    return examples, [f"{path.name}: {len(empty)} sentences with an empty mention left out"] if empty else []


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
    notes = [f"{path.name}: {stray} words tagged I- outside an entity are no entity"] if stray else []
    return examples, notes + ([f"{path.name}: {lost} relations point to no entity and are left out"] if lost else [])


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


class _Change(msgspec.Struct):
    id: str
    relation: str


def read_patch(path: Path, ids: Collection[str] | None = None) -> dict[str, str]:
    """A revision's labels by id, from TACREV's list of {id, relation} or Re-TACRED's object {id: label}.

    TACREV lists changed rows only; Re-TACRED lists every row that it keeps, and a row missing there is
    dropped from the split. With `ids`, those of the split to be relabelled, a patch that names any other id
    raises `UserError`; so does a file of another form, or an id with two labels.
    """
    data = read_data(path)
    try:
        content = msgspec.json.decode(data, type=list[_Change] | dict[str, str])
    except UNDECODABLE as error:
        raise UserError(f"{path}: not a label revision ({error}); fetch TACREV's or Re-TACRED's file again.") from error
    pairs = [*content.items()] if isinstance(content, dict) else [(row.id, row.relation) for row in content]
    patch = dict(pairs)
    if len(patch) < len(pairs) or isinstance(content, dict) and doubled_key(data):
        raise UserError(f"{path}: an id occurs twice among {len(pairs):,} records; fetch the published file again.")
    odd = next((name for name, label in patch.items() if not is_name(label)), None)
    if odd is not None:
        raise UserError(
            f"{path}: id {odd}: {patch[odd]!r} is no plain name of a label; fetch the published file again."
        )
    if ids is not None and (foreign := patch.keys() - set(ids)):
        raise UserError(
            f"{path}: {len(foreign):,} of {len(patch):,} ids, such as {min(foreign)}, are not in this split; "
            "give the patch of the same split."
        )
    return patch

"""What sentences are made of: the annotated templates, the words and the counts of the files beside."""

import tomllib
from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

PLACE_SORTS = ("city", "state", "country", "nationality")


class Item(NamedTuple):
    """A word of a template, or what stands for words: a slot, or a clause (@)."""

    form: str
    tag: str  # of a slot: NNP, PRP where a pronoun can stand for it, NN where it has no article
    head: int  # 1-based, 0 for the root
    relation: str
    slot: str  # "" for a word
    forms: list[str]  # of {per|his|her}: by gender


@dataclass(frozen=True, slots=True, eq=False)
class Template:
    """An annotated clause or description of a name, and what it states."""

    items: list[Item]
    slots: list[str]  # of the mentions
    host: str  # the slot of its topic
    names: bool  # whether it is a description: a name and what is said of it
    states: list[tuple[list[str], str, str]]  # relations of which one is true, slot of the subject, of the object
    held_out: bool  # for dev and test only


class Material:
    """The files, read."""

    def __init__(self):
        counts, words, templates = (
            tomllib.loads((Path(__file__).parent / f"{name}.toml").read_text(encoding="utf-8"))
            for name in ("counts", "words", "templates")
        )
        self.counts: dict[str, list[int]] = counts["relations"]  # rows of a relation in train, dev and test
        self.negatives: dict[str, dict[str, int]] = counts["negatives"]  # weights of no_relation type pairs
        self.frequent = list(self.counts), [sum(rows) for rows in self.counts.values()]  # to draw from
        self.sorts: dict[str, dict[str, str]] = words["slots"]  # type and NER tag of mentions
        self.choices = {name: [choice.strip() for choice in text.split("|")] for name, text in words["words"].items()}
        regions = [("", country, *known) for country, known in words["countries"].items()]
        regions += [(state, "", "", cities) for state, cities in words["states"].items()]
        self.places: list[dict[str, str]] = [
            dict(zip(PLACE_SORTS, (city, *known), strict=True))
            for *known, cities in regions for city in cities.split(", ")
        ]  # fmt: skip
        self.around = {kind: [self._read(text) for text in texts] for kind, texts in templates["around"].items()}
        self.lures: list[Template] = []
        self.stating: dict[str, list[Template]] = defaultdict(list)  # by relation
        for fact in templates["fact"]:
            states = [(relations.split("|"), *pair) for relations, *pair in map(str.split, fact["states"])]
            stating = [self._read(text, states) for text in fact.get("clause", [])]
            stating += [self._read(text, states, names=True) for text in fact.get("name", [])]
            self.lures += [self._read(text) for text in fact.get("lure", [])]
            for relation in {relation for relations, *_ in states for relation in relations}:
                self.stating[relation] += stating

    def takes(self, slot: str, sort: str) -> bool:
        """Whether a slot accepts a name of this sort: {org} takes any organisation."""
        return sort_of(slot) == sort or sort_of(slot) == "org" and sort in self.choices["org"]

    def _read(self, text: str, states: list[tuple[list[str], str, str]] = (), names: bool = False) -> Template:
        items = []
        for form, tag, head, relation in (word.rsplit("/", 3) for word in text.removeprefix("~ ").split()):
            slot, *forms = form[1:-1].split("|") if form[0] == "{" else [""]
            items.append(Item(form, tag, int(head), relation, slot, forms))
        slots = list(dict.fromkeys(item.slot for item in items if sort_of(item.slot) in self.sorts))
        topics = [item.slot for item in items if names and item.head == 0]
        topics += [slot for slot in slots if self.sorts[sort_of(slot)]["type"] in ("PERSON", "ORGANIZATION")]
        return Template(items, slots, (topics + [""])[0], names, states, text.startswith("~"))


def sort_of(slot: str) -> str:
    """`per2` → `per`: slots of the same sort are told apart by a number."""
    return slot.rstrip("0123456789")


@cache
def load_material() -> Material:
    """The files, read once."""
    return Material()

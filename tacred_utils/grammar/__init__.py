"""The grammar of the synthetic corpus: templates, word lists, places and counts, from the files beside."""

import re
import tomllib
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import import_module
from itertools import accumulate, product
from pathlib import Path

from tacred_utils.trees import Item, Notation

HERE = Path(__file__).resolve().parent
# Faker's word lists of names that are used, and how often: the mixture of an English-language newswire.
NAME_LOCALES = {
    "en_US": 40, "en_GB": 10, "es_ES": 10, "it_IT": 6, "de_DE": 6, "fr_FR": 6, "en_IN": 6, "pt_BR": 4,
    "sv_SE": 4, "tr_TR": 3, "hr_HR": 3, "zu_ZA": 2,
}  # fmt: skip
TAG_OF_TYPE = {"NUMBER": "CD", "TITLE": "NN", "CRIMINAL_CHARGE": "NN", "CAUSE_OF_DEATH": "NN"}  # others: NNP

# What a relation speaks of, if that is not what stands after "_of_": nothing is said twice of anyone.
TOPICS = {
    "per:origin": "birth",
    "per:age": "birth",
    "org:founded": "foundation",
    "org:founded_by": "foundation",
}

Place = tuple[str, str, str, str]  # city, state or "", country, nationality


@dataclass(frozen=True, slots=True, eq=False)
class Template:
    """A tree and what it states: `holds` are (relations of which one is true, subject slot, object slot)."""

    tree: Item
    host: str = ""  # the slot of its topic; of a graft, the name it hangs on, which is not in the tree
    holds: tuple[tuple[tuple[str, ...], str, str], ...] = ()
    true: bool = True  # a lure has the words of its facts and does not state them
    life: str = ""  # "dead" or "alive": what it presupposes of its topic
    held_out: bool = False  # for dev and test only
    graft: bool = False
    event: bool = False  # a clause that tells an event
    slots: tuple[str, ...] = ()
    topics: tuple[tuple[str, int, str], ...] = ()  # what it speaks of, in which role, of which slot


@dataclass(frozen=True)
class Grammar:
    """Everything in the files, ready for use."""

    notation: Notation
    sorts: dict[str, dict]  # what fills a slot: type, ner, pos, patterns
    organisations: dict[str, int]  # the sorts that {org} takes, with their weights
    pools: dict[str, list[str]]
    lists: dict[str, list[Item]]
    clauses: dict[str, list[Template]]  # person, organisation, tail, report, doubt, join, fact, lure
    by_relation: dict[str, list[Template]]  # clauses and grafts that can state it
    counts: dict[str, tuple[int, int]]  # rows of a relation in all splits and in test
    positives: dict[str, int]  # rows with a relation in train and dev
    implies: dict[str, str]
    negatives: dict[str, dict[str, int]]  # weights of no_relation pairs, by subject type and object type
    places: list[Place]
    names: list[dict[str, list[str]]]  # male and female first names and last names, by language

    @cached_property
    def frequent(self) -> tuple[list[str], list[int]]:
        """The relations and, summed up, how many rows each has: for weighted draws."""
        return list(self.counts), list(accumulate(rows for rows, _ in self.counts.values()))

    def takes(self, slot: str, sort: str) -> bool:
        """Whether a slot accepts a name of this sort: {org} takes any organisation."""
        return sort_of(slot) == sort or sort_of(slot) == "org" and sort in self.organisations


def sort_of(slot: str) -> str:
    """`per2` → `per`: slots of the same sort are told apart by a number."""
    return slot.rstrip("0123456789")


@cache
def load() -> Grammar:
    """The grammar. Raises `ValueError` at a template that cannot be read or lacks a slot of its facts."""
    words, counts = _read("words"), _read("counts")
    sorts, organisations = words["sorts"], words["anyorg"]
    tags = {word: tag for tag, line in _read("lexicon").items() for word in line.split()}
    notation = Notation(
        tags, {name: sort.get("pos") or TAG_OF_TYPE.get(sort["type"], "NNP") for name, sort in sorts.items()}
    )
    clauses = {
        kind: [_clause(tree, kind, organisations) for tree in map(notation.read, texts)]
        for kind, texts in _read("clauses").items()
    }
    facts = [
        template for entry in _read("relations")["fact"] for template in _fact(notation, entry, organisations)
    ]
    clauses["fact"] = [template for template in facts if template.true and not template.graft]
    clauses["lure"] = [template for template in facts if not template.true]
    by_relation = defaultdict(list)
    for template in facts:
        for relation in sorted(stated(template, counts["implies"])) if template.true else ():
            by_relation[relation].append(template)
    names = _person_names()
    pools = words["pools"] | {"surname": names[0]["last"]}
    pools["coin"] = [
        "".join(parts) for parts in product(*(line.split(" ") for line in pools.pop("syllables")))
    ]
    pools["town"] = ["".join(parts) for parts in product(*(line.split() for line in pools["town"]))]
    return Grammar(
        notation=notation,
        sorts=sorts,
        organisations=organisations,
        pools=pools,
        lists={name: [notation.read(text) for text in texts] for name, texts in words["lists"].items()},
        clauses=clauses,
        by_relation=dict(by_relation),
        counts={name: tuple(rows) for name, rows in counts["relations"].items()},
        positives=counts["positives"],
        implies=counts["implies"],
        negatives=counts["negatives"],
        places=_places(),
        names=names,
    )


def stated(template: Template, implies: dict[str, str]) -> set[str]:
    """The relations that a template can state, in either direction."""
    direct = {relation for options, *_ in template.holds for relation in options if relation != "-"}
    return direct | {implies[relation] for relation in direct if relation in implies}


def _read(name: str) -> dict:
    return tomllib.loads((HERE / f"{name}.toml").read_text(encoding="utf-8"))


def _topic(tree: Item, organisations: dict[str, int]) -> str:
    """The first slot for a person or an organisation, if there is one."""
    return next((slot for slot in tree.slots if sort_of(slot) in ("per", "org", *organisations)), "")


def _clause(tree: Item, kind: str, organisations: dict[str, int]) -> Template:
    event, life = kind in ("person", "organisation"), "alive" if kind == "person" else ""
    return Template(
        tree, _topic(tree, organisations) if event else "", life=life, event=event, slots=tuple(tree.slots)
    )


def _fact(notation: Notation, entry: dict, organisations: dict[str, int]) -> Iterator[Template]:
    holds = [line.split() for line in entry["holds"]]
    holds = tuple((tuple(relations.split("|")), subj, obj) for relations, subj, obj in holds)
    slots = {slot for _, *pair in holds for slot in pair}
    topics = tuple(
        (TOPICS.get(option, option.split("_of_")[-1]), role, slot)
        for options, *pair in holds for option in options for role, slot in enumerate(pair)
    )  # fmt: skip
    for kind in ("clause", "graft", "lure"):
        for text in entry.get(kind, ()):
            tree = notation.read(text.removeprefix("~"))
            missing = sorted(slots.difference(tree.slots))
            if len(missing) != (kind == "graft"):
                raise ValueError(f"template {text!r}: slots of its facts that are not in it: {missing}")
            host = missing[0] if missing else _topic(tree, organisations)
            life = entry.get("life") or ("alive" if sort_of(host) == "per" and _is_present(tree) else "")
            yield Template(
                tree,
                host,
                holds,
                kind != "lure",
                life,
                text.startswith("~"),
                kind == "graft",
                False,
                tuple(tree.slots),
                topics,
            )


def _is_present(tree: Item) -> bool:
    """Whether a clause tells of today or of this week: not of somebody dead."""
    return any(item.tag in ("VBZ", "VBP") or item.text in ("weekday", "recent") for item in tree.walk())


def _places() -> list[Place]:
    places = _read("places")
    abroad = [
        (city, "", country, nation)
        for country, (nation, cities) in places["countries"].items()
        for city in cities.split(", ")
    ]
    return abroad + [
        (city, state, "", "") for state, cities in places["regions"].items() for city in cities.split(", ")
    ]


def _person_names() -> list[dict[str, list[str]]]:
    """Names of Faker's lists without accents, in a fixed order; a language stands as often as it is drawn."""
    kinds = {"male": "first_names_male", "female": "first_names_female", "last": "last_names"}
    languages = []
    for locale, weight in NAME_LOCALES.items():
        provider = import_module(f"faker.providers.person.{locale}").Provider
        languages += [
            {kind: _plain(getattr(provider, attribute)) for kind, attribute in kinds.items()}
        ] * weight
    return languages


def _plain(names: Iterable[str]) -> list[str]:
    ascii_names = (unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode() for name in names)
    return list(dict.fromkeys(name for name in ascii_names if re.fullmatch("[A-Z][a-z]{2,11}", name)))

"""The people, organisations, places and values of the synthetic corpus, drawn at random for a template's slots."""

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass

from tacred_utils.sample.grammar import Grammar, Place, Template, sort_of

NICKNAMES = ("alias", "acronym")  # sorts of other names for the same
PLACE_SORTS = ("city", "state", "country", "nationality")
FAMILY = frozenset(("per:spouse", "per:siblings", "per:parents", "per:children", "per:other_family"))
OPPOSITE = {"male": "female", "female": "male", "": ""}


@dataclass(slots=True, eq=False)
class Entity:
    """A person, an organisation or a value. Facts are between keys; an alias has the key of whom it names."""

    sort: str
    type: str  # as TACRED has it
    key: str
    words: list[str]
    short: list[str]  # for later mentions
    article: str = ""
    gender: str = ""
    named: bool = False
    life: str = ""


class Casting:
    """Draws entities; all chance in a sentence is of one generator, in one order."""

    def __init__(self, rng: random.Random, grammar: Grammar):
        self.rng, self.grammar = rng, grammar

    def chance(self, rate: float) -> bool:
        return self.rng.random() < rate

    def choose(self, options):
        return options[int(self.rng.random() * len(options))]

    def fill(self, template: Template, given: Mapping[str, Entity], apart_from: str) -> dict[str, Entity]:
        """An entity for every slot of a template; a city, its state and its country belong together.

        A person is not of the gender `apart_from`, if there is one, unless the template says so.
        """
        roles, places = dict(given), {}
        for slot in template.slots:
            sort = sort_of(slot)
            if slot in roles or sort in NICKNAMES:
                continue
            if sort in PLACE_SORTS:
                number = slot.removeprefix(sort)
                if number not in places:
                    places[number] = self.place([part for part in PLACE_SORTS if part + number in template.slots])
                name = places[number][sort]
                roles[slot] = Entity(sort, self.grammar.sorts[sort]["type"], name, name.split(), [])
            elif sort == "per":
                roles[slot] = self.person(*self.relative(template, slot, roles, apart_from))
            else:
                roles[slot] = self.thing(sort)
        nicknames = {obj: roles[subj] for _, subj, obj in template.holds if sort_of(obj) in NICKNAMES}
        return roles | {slot: self.alias(entity, sort_of(slot)) for slot, entity in nicknames.items()}

    def relative(self, template: Template, slot: str, roles: Mapping[str, Entity], apart_from: str) -> tuple[str, str]:
        """Gender and last name of a person where they depend: spouses differ, relatives often share their name."""
        gender, last = OPPOSITE[apart_from], ""
        for relations, *pair in template.holds:
            other = roles.get(pair[slot == pair[0]]) if slot in pair else None
            if "per:spouse" in relations and slot in pair:
                gender = OPPOSITE[other.gender] if other else ""
            if other and slot == pair[1] and not last and FAMILY.intersection(relations) and self.chance(0.5):
                last = other.words[-1]
        return gender, last

    def person(self, gender: str = "", last: str = "") -> Entity:
        gender = gender or ("female" if self.chance(0.4) else "male")
        names = self.choose(self.grammar.names)
        first, last = self.choose(names[gender]), last or self.choose(names["last"])
        middle = [self.choose("ABCDEFGHJKLMNPRSTW") + "."] if self.chance(0.08) else []
        return Entity("per", "PERSON", f"{first} {last}", [first, *middle, last], [last], gender=gender)

    def place(self, sorts: list[str]) -> Place:
        """A place of which all these are known: its city, its state, its country or its nationality."""
        place: Place = {}
        while not all(place.get(sort) for sort in sorts):
            place = self.choose(self.grammar.places)
        small_town = place["state"] and self.chance(0.5)
        return place | {"city": self.choose(self.grammar.pools["town"])} if small_town else place

    def thing(self, sort: str) -> Entity:
        """A person; an organisation or a value, drawn from the patterns of its sort."""
        if sort == "per":
            return self.person()
        if sort == "org":
            sorts = self.grammar.organisations
            sort = self.rng.choices(list(sorts), list(sorts.values()))[0]
        known = self.grammar.sorts[sort]
        words = re.sub(r"\{([^}]+)\}", self.draw, self.choose(known["patterns"])).split()
        article = words.pop(0) if words[0] in ("the", "a", "an") else ""
        short = words[: words.index("|")] if "|" in words else words
        words = [word.lower() if sort == "url" else word for word in words if word != "|"]
        return Entity(sort, known["type"], " ".join(words), words, short, article)

    def draw(self, found: re.Match) -> str:
        """What fills a place in a pattern: a word of a pool, or a number of a range."""
        low, dash, high = found[1].partition("-")
        return str(self.rng.randint(int(low), int(high))) if dash else self.choose(self.grammar.pools[low])

    def alias(self, entity: Entity, sort: str) -> Entity:
        """Another name of the same one: a stage name of a person, an acronym of an organisation."""
        if sort == "alias":
            other = self.person(entity.gender)
            words = other.words if self.chance(0.5) else [entity.words[0], other.words[-1]]
        else:
            initials = "".join(word[0] for word in entity.words if word[0].isupper())
            words = [initials if len(initials) > 1 else entity.words[0][:3].upper()]
        return Entity(sort, entity.type, entity.key, words, words, entity.article, entity.gender)

"""One invented sentence: annotated templates put into one another, so that tags, heads and labels agree with the words.

It starts with a clause that states facts or only brings names together, and grows to its length by further clauses,
most often about the same topic, and by tails such as who reports it.
"""

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

from tacred_utils.sample.material import PLACE_SORTS, Item, Template, load_material, sort_of

PRONOUN_RATE = 0.6  # how often the topic of a further clause stands as a pronoun
SAME_TOPIC_RATE = 0.7  # of further clauses
FEMALE_RATE = 0.4
STEPS = 12  # in which a sentence may grow
USUAL = {"JJ": "amod", "CD": "nummod", "DT": "det", "IN": "case", "CC": "cc", "RB": "advmod", ",": "punct", "$": "dep"}
AN = re.compile(r"(?!uni|one|euro|Eu)[aeiouAEIO]|8|11\b|18\b")  # what stands after "an"


@dataclass(slots=True, eq=False)
class Entity:
    """A person, an organisation or a value. Facts are between keys; another name has the key of whom it names."""

    sort: str
    text: str
    key: str
    female: bool = False
    described: "Piece | None" = None  # its name and what is said of it, to be put where it is named next


@dataclass(slots=True, eq=False)
class Word:
    """A word of the sentence and its annotation."""

    form: str
    tag: str
    ner: str = "O"
    head: "Word | None" = None
    relation: str = ""


@dataclass(slots=True, eq=False)
class Mention:
    """Where an entity stands; its span is known once the words are in order."""

    entity: Entity
    type: str
    words: list[Word]
    name: bool  # not a pronoun
    start: int = -1
    end: int = -1


Piece = tuple[list[Word], Word]  # words in order, and their root


class Sentence:
    """A sentence, its mentions, and what it states."""

    def __init__(self, rng: random.Random, held_out: bool, opening: str, wanted: str, length: float):
        """Written when made; its first clause states the fact `wanted`, or doubts it, or is neutral, or a lure."""
        self.rng, self.held_out, self.room = rng, held_out, length
        self.material = load_material()
        self.mentions: list[Mention] = []
        self.facts: dict[tuple[str, str], str] = {}
        self.used: set = set()  # templates, and (relation, key): nothing is said twice
        self.topic: Entity | None = None
        piece = self.clause(opening, wanted)
        for _ in range(STEPS):
            if self.room > 4:
                piece = self.extended(piece)
        self.words = [*piece[0], Word(".", ".", head=piece[1], relation="punct")]

    def clause(self, opening: str, wanted: str, topic: Entity | None = None) -> Piece | None:
        """A clause, if one fits; the fact may also be stated by a description of the topic of a neutral one."""
        around = self.material.around
        facts = opening in ("fact", "doubt")
        options = self.material.stating[wanted] if facts else around.get(opening, self.material.lures)
        template = self.fitting(options, topic)
        if not template:
            return None
        self.topic = topic or self.entity(sort_of(template.host), self.rng.random() < FEMALE_RATE)
        piece = self.tell(template, {template.host: self.topic}, true=opening != "doubt")
        if template.names:
            self.topic.described = piece
            clause = self.fitting(around["neutral"], self.topic)
            piece = self.tell(clause, {clause.host: self.topic})
        return self.tell(self.fitting(around["doubt"]), {}, piece) if opening == "doubt" else piece

    def extended(self, piece: Piece) -> Piece:
        """With a tail or a further clause, if one fits."""
        if self.rng.random() < 0.5:
            tail = self.fitting(self.material.around["tail"])
            return self.tell(tail, {}, piece) if tail else piece
        join = self.fitting(self.material.around["join"])
        [wanted] = self.rng.choices(*self.material.frequent)
        topic = self.topic if self.rng.random() < SAME_TOPIC_RATE else None
        further = join and self.clause(self.rng.choice(("neutral", "fact")), wanted, topic)
        return self.tell(join, {}, piece, further) if further else piece

    def fitting(self, options: list[Template], topic: Entity | None = None) -> Template | None:
        """One that the split may have, that the sentence lacks and that says something new of its topic."""
        fitting = [
            template
            for template in options
            if template not in self.used and template.held_out <= self.held_out
            if not topic or self.material.takes(template.host, topic.sort) and self.new(template, topic)
        ]
        return self.rng.choice(fitting) if fitting else None

    def new(self, template: Template, topic: Entity) -> bool:
        """Whether none of its relations has been stated of the topic."""
        return all(
            (relation, topic.key) not in self.used for relations, *_ in template.states for relation in relations
        )

    def tell(self, template: Template, given: Mapping[str, Entity], *clauses: Piece, true: bool = True) -> Piece:
        """The words of a template, with names in its slots and `clauses` for its @; what it states is noted."""
        roles = self.cast(template, given)
        self.used.add(template)
        self.room -= len(template.items)
        meant = self.rng.random()
        for relations, *slots in template.states if true else ():
            pair = tuple(roles[slot].key for slot in slots)
            self.facts[pair] = relations[int(meant * len(relations))]
            self.used.update((relation, key) for relation in relations for key in pair)
        pieces = [self.piece(item, roles, clauses) for item in template.items]
        roots = [root for _, root in pieces]
        for item, root in zip(template.items, roots, strict=True):
            root.head, root.relation = roots[item.head - 1] if item.head else None, item.relation
        return [word for words, _ in pieces for word in words], next(root for root in roots if root.head is None)

    def piece(self, item: Item, roles: Mapping[str, Entity], clauses: tuple[Piece, ...]) -> Piece:
        """What stands in the sentence for an item of a template."""
        if item.form[0] == "@":
            return clauses[item.form == "@2"]
        if not item.slot:
            word = Word(item.form, item.tag)
            return [word], word
        entity = roles.get(item.slot)
        return self.name(entity, item) if entity else phrase(self.draw(item.slot))

    def name(self, entity: Entity, item: Item) -> Piece:
        """A pronoun or a name, whose article is no part of the mention; a noun such as wife, by gender, is none."""
        sort = self.material.sorts[entity.sort]
        forms = item.forms
        if entity.described and not forms:
            piece, entity.described = entity.described, None
            return piece
        known = any(mention.entity is entity for mention in self.mentions)
        if item.tag == "PRP" and known and not forms and self.rng.random() < PRONOUN_RATE:
            forms = ("he", "she") if entity.sort == "per" else ("it",)
        if forms:
            word = Word(forms[entity.female], item.tag)
            if word.tag in ("PRP", "PRP$"):
                self.mentions.append(Mention(entity, sort["type"], [word], name=False))
            return [word], word
        determiner, _, text = entity.text.rpartition("/DT ")
        words, root = phrase(text, sort["ner"])
        self.mentions.append(Mention(entity, sort["type"], words, name=True))
        return [Word(determiner, "DT", "O", root, "det"), *words] if determiner and item.tag != "NN" else words, root

    def cast(self, template: Template, given: Mapping[str, Entity]) -> dict[str, Entity]:
        """An entity for every slot. A city, its state and its country belong together; two people differ in gender."""
        roles, places = dict(given), {}
        for slot in template.slots:
            sort = sort_of(slot)
            number = slot.removeprefix(sort)
            if slot in roles:
                continue
            if sort in PLACE_SORTS:
                parts = [part for part in PLACE_SORTS if part + number in template.slots]
                drawn = iter(lambda: self.rng.choice(self.material.places), None)
                fit = next(place for place in drawn if all(place[part] for part in parts))
                text = places.setdefault(number, fit)[sort]
                roles[slot] = Entity(sort, text, text)
            else:
                female = "per" in roles and not roles["per"].female
                roles[slot] = self.entity(sort, female, roles.get(template.host))
        return roles

    def entity(self, sort: str, female: bool, named: Entity | None = None) -> Entity:
        """A person, or what is drawn from the words of its sort; an alias and an acronym are of the one `named`."""
        sort = self.draw(sort) if sort == "org" else sort
        if sort == "acronym":
            return Entity(sort, "".join(word[0] for word in named.text.split() if word[0].isupper()), named.key)
        person = sort in ("per", "alias")
        text = self.draw(("man", "woman")[female] if person else sort)
        return Entity(sort, text, named.key if sort == "alias" else text, person and female)

    def draw(self, name: str) -> str:
        """One of the choices of that name; {coin} in it is drawn likewise, {3-9} is a number."""

        def drawn(found: re.Match) -> str:
            low, dash, high = found[1].partition("-")
            return str(self.rng.randint(int(low), int(high))) if dash else self.draw(low)

        return re.sub(r"\{([^}]+)\}", drawn, self.rng.choice(self.material.choices[name]))

    def columns(self) -> dict[str, list]:
        """The words in order and their annotation, as fields of `Example`; mentions get their places."""
        token = [word.form for word in self.words]
        token = ["an" if form == "a" and AN.match(after) else form for form, after in pairwise(token)] + token[-1:]
        first = token[0] == "``"  # 1 behind a quotation mark
        token[first] = token[first][0].upper() + token[first][1:]
        place = {id(word): k for k, word in enumerate(self.words, start=1)}
        for mention in self.mentions:
            mention.start, mention.end = place[id(mention.words[0])] - 1, place[id(mention.words[-1])] - 1
        return {
            "token": token,
            "stanford_pos": [word.tag for word in self.words],
            "stanford_ner": [word.ner for word in self.words],
            "stanford_head": [place[id(word.head)] if word.head else 0 for word in self.words],
            "stanford_deprel": [word.relation for word in self.words],
        }


def phrase(text: str, ner: str = "O") -> Piece:
    """The words of a name or of a choice; the head is the last noun, or the word before a preposition."""
    words = []
    for part in text.split():
        form, _, tag = part.partition("/")
        usual = "CD" if form[0].isdigit() else "NNP" if form[0].isupper() else "NN"
        words.append(Word(form, tag or usual, ner))
    tags = [word.tag for word in words]
    nouns = [word for word in words if word.tag[0] == "N"] or words
    root = words[tags.index("IN") - 1] if "IN" in tags else nouns[-1]
    for word in words:
        word.head, word.relation = words[-1] if word.tag == "IN" else root, USUAL.get(word.tag, "compound")
    if "IN" in tags:
        words[-1].relation = "nmod"
    return words, root

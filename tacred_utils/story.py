"""One invented sentence: a story about one topic that grows with its dependency tree.

It starts with a clause that states facts (grammar/relations.toml) or one that only brings names together
(grammar/clauses.toml), and grows to its length by additions to names, further clauses and reports. Tags,
heads and dependency labels agree with the words by construction, since the templates are trees. What it
states is kept as facts between its people, organisations and values.
"""

import random
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise

from tacred_utils.grammar import Place, Template, load, sort_of
from tacred_utils.trees import Item, Node, phrase, words_in_order

LURE_RATE = 0.5  # share of the untrue first clauses that are lures; the others are denied or questioned
GIVEN_RATE = 0.25  # how often the topic stands as a pronoun only, known from an earlier sentence
REPORT_RATE = 0.5  # share of sentences that somebody reports
PRONOUN_RATE = 0.6  # of later mentions that cannot be misread
PLACE_SORTS = ("city", "state", "country", "nationality")
SUBJECT_TYPES = ("PERSON", "ORGANIZATION")
FAMILY = frozenset(("per:spouse", "per:siblings", "per:parents", "per:children", "per:other_family"))
OPPOSITE = {"male": "female", "female": "male", "": ""}
PRONOUNS = {  # by gender and by case
    "male": ("he", "him", "his", "himself"),
    "female": ("she", "her", "her", "herself"),
    "": ("it", "it", "its", "itself"),
}
PRONOUN_CASES = {"he": 0, "him": 1, "his": 2, "himself": 3}
PRONOUN_PREPOSITIONS = frozenset(("to", "with", "for", "by", "from", "against", "about", "on"))
FREE_PLACES = frozenset(
    ("nsubj", "nsubjpass", "dobj", "nmod")
)  # where a pronoun may stand, or a name with additions


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


@dataclass(slots=True, eq=False)
class Mention:
    """Where an entity stands in a sentence; `start` and `end` are set once the words are in order."""

    entity: Entity
    name: bool  # not a pronoun
    node: Node
    start: int = -1
    end: int = -1


Pair = tuple[Mention, Mention]  # subject, object


class Story:
    """A sentence under construction: its tree, its mentions, and what it states."""

    def __init__(self, rng: random.Random, held_out: bool):
        self.rng, self.held_out, self.grammar = rng, held_out, load()
        self.size = 0
        self.mentions: list[Mention] = []
        self.facts: dict[tuple[str, str], str] = {}
        self.used: set = (
            set()
        )  # templates, and (what was said, in which role, of whom): nothing is said twice
        self.given: Entity | None = None  # a topic that stands as a pronoun only
        self.root: Node
        self.last: Node  # the clause that stands last
        self.topic: Entity
        self.event = False  # whether that clause tells an event

    def chance(self, rate: float) -> bool:
        return self.rng.random() < rate

    def choose(self, options):
        return options[int(self.rng.random() * len(options))]

    # ---- the cast

    def cast(self, template: Template, host: Entity | None) -> dict[str, Entity]:
        """An entity for every slot of a template; a city, its state and its country belong together."""
        roles = {template.host: host} if host else {}
        places: dict[str, Place] = {}
        slots = template.slots
        for slot in slots:
            sort = sort_of(slot)
            if slot in roles or sort in ("alias", "acronym"):
                continue
            if sort in PLACE_SORTS:
                number = slot[len(sort) :]
                together = [part for part in PLACE_SORTS if part + number in slots]
                places[number] = places.get(number) or self.place(together)
                name = places[number][PLACE_SORTS.index(sort)]
                roles[slot] = Entity(sort, self.grammar.sorts[sort]["type"], name, name.split(), [])
            elif sort == "per":
                gender, last = (
                    self.other_gender(template, slot, roles),
                    self.family_name(template, slot, roles),
                )
                roles[slot] = self.person(gender, last)
            else:
                roles[slot] = self.thing(sort)
        for _, subj, obj in template.holds:
            if sort_of(obj) in ("alias", "acronym"):
                roles[obj] = self.alias(roles[subj], sort_of(obj))
        return roles

    def other_gender(self, template: Template, slot: str, roles: Mapping[str, Entity]) -> str:
        """A gender against misreading: spouses differ, and nobody has that of a topic without a name."""
        for options, *pair in template.holds:
            if "per:spouse" in options and slot in pair:
                partner = roles.get(pair[1 - pair.index(slot)])
                return OPPOSITE[partner.gender] if partner else ""
        return OPPOSITE[self.given.gender] if self.given else ""

    def family_name(self, template: Template, slot: str, roles: Mapping[str, Entity]) -> str:
        """The last name of a relative, often."""
        for options, one, other in template.holds:
            if other == slot and one in roles and FAMILY.intersection(options) and self.chance(0.5):
                return roles[one].words[-1]
        return ""

    def person(self, gender: str = "", last: str = "") -> Entity:
        gender = gender or ("female" if self.chance(0.4) else "male")
        names = self.choose(self.grammar.names)
        first, last = self.choose(names[gender]), last or self.choose(names["last"])
        middle = [self.choose("ABCDEFGHJKLMNPRSTW") + "."] if self.chance(0.08) else []
        return Entity("per", "PERSON", f"{first} {last}", [first, *middle, last], [last], gender=gender)

    def place(self, sorts: list[str]) -> Place:
        """A place of which all these are known: its city, its state, its country or its nationality."""
        place = self.choose(self.grammar.places)
        while not all(place[PLACE_SORTS.index(sort)] for sort in sorts):
            place = self.choose(self.grammar.places)
        small_town = place[1] and self.chance(0.5)
        return (self.choose(self.grammar.pools["town"]), *place[1:]) if small_town else place

    def thing(self, sort: str) -> Entity:
        """An organisation or a value, drawn from the patterns of its sort."""
        if sort == "org":
            sort = self.rng.choices(
                list(self.grammar.organisations), list(self.grammar.organisations.values())
            )[0]
        words = self.draw(self.choose(self.grammar.sorts[sort]["patterns"])).split()
        article = words.pop(0) if words[0] in ("the", "a", "an") else ""
        short = words[: words.index("|")] if "|" in words else words
        words = [word.lower() if sort == "url" else word for word in words if word != "|"]
        return Entity(sort, self.grammar.sorts[sort]["type"], " ".join(words), words, short, article)

    def draw(self, pattern: str) -> str:
        """Fill a pattern's pools and number ranges."""

        def fill(found: re.Match) -> str:
            low, dash, high = found[1].partition("-")
            return (
                str(self.rng.randint(int(low), int(high))) if dash else self.choose(self.grammar.pools[low])
            )

        return re.sub(r"\{([^}]+)\}", fill, pattern)

    def alias(self, entity: Entity, sort: str) -> Entity:
        """Another name of the same one: a stage name of a person, an acronym of an organisation."""
        if sort == "alias":
            other = self.person(entity.gender)
            words = other.words if self.chance(0.5) else [entity.words[0], other.words[-1]]
        else:
            initials = "".join(word[0] for word in entity.words if word[0].isupper())
            words = [initials if len(initials) > 1 else entity.words[0][:3].upper()]
        return Entity(sort, entity.type, entity.key, words, words, entity.article, entity.gender)

    # ---- from templates to trees

    def fits(self, template: Template, host: Entity | None = None) -> bool:
        """Whether the split may have it, the story lacks it, and it agrees with what is known of its host."""
        if template.held_out and not self.held_out or template.tree in self.used:
            return False
        if host is None or not template.host:
            return True
        if template.life and host.life and template.life != host.life:
            return False
        said = [(topic, role, host.key) for topic, role, slot in template.topics if slot == template.host]
        return self.used.isdisjoint(said) and self.grammar.takes(template.host, host.sort)

    def tell(
        self,
        template: Template,
        host: Entity | None = None,
        true: bool = True,
        wanted: str = "",
        **holes: Node,
    ) -> Node:
        """Cast a template, note what it states (if ambiguous, `wanted` where it can) and grow its tree."""
        roles = self.cast(template, host)
        self.used.add(template.tree)
        self.used.update((topic, role, roles[slot].key) for topic, role, slot in template.topics)
        if template.life:
            roles[template.host].life = template.life
        if template.true and true:
            self.state(template, roles, wanted)
        return self.grow(template.tree, roles, holes)

    def state(self, template: Template, roles: Mapping[str, Entity], wanted: str) -> None:
        implies = self.grammar.implies
        for options, subj, obj in template.holds:
            meant = [option for option in options if wanted and wanted in (option, implies.get(option))]
            relation, pair = meant[0] if meant else self.choose(options), (roles[subj].key, roles[obj].key)
            if relation != "-":
                self.facts[pair] = relation
                if relation in implies:
                    self.facts[pair[::-1]] = implies[relation]

    def grow(self, item: Item, roles: Mapping[str, Entity], holes: Mapping[str, Node]) -> Node:
        """The tree of an item, in the order of its words; a hole is filled with the tree given for it."""
        self.size += 1
        before = [
            self.grow(child, roles, holes) for child in item.before if not child.optional or self.chance(0.5)
        ]
        if item.kind == "word":
            node = Node(item.text, item.tag, item.relation)
        elif item.kind == "hole":
            node = holes["first" if item.text == "@" else "second"]
            node.relation = node.relation if item.relation == "ROOT" else item.relation
        elif item.kind == "list":
            node = self.grow(self.choose(self.grammar.lists[item.text]), {}, {})
            node.relation = (
                "amod" if node.tag.startswith("JJ") and item.relation == "compound" else item.relation
            )
        elif item.kind == "gender":
            node = Node(item.forms[roles[item.text].gender == "female"], item.tag, item.relation)
        elif item.kind == "pronoun":
            node = self.pronoun(roles[item.text], PRONOUN_CASES[item.forms[0]], item.relation)
        else:
            node = self.refer(roles[item.text], item)
        node.before[:0] = before
        node.after += [
            self.grow(child, roles, holes) for child in item.after if not child.optional or self.chance(0.5)
        ]
        return node

    def refer(self, entity: Entity, item: Item) -> Node:
        """Name an entity: in full, later in short or, where it cannot be misread, with a pronoun."""
        alone = not item.after and all(child.text in PRONOUN_PREPOSITIONS for child in item.before)
        known = entity is self.given or entity.named and self.chance(PRONOUN_RATE) and not self.rivals(entity)
        if known and alone and (item.relation in FREE_PLACES or item.relation == "nmod:poss"):
            case = 2 if item.relation == "nmod:poss" else not item.relation.startswith("nsubj")
            return self.pronoun(entity, case, item.relation)
        sort = self.grammar.sorts[entity.sort]
        if entity.named and entity.short == entity.words and "noun" in sort and alone:
            return self.noun(sort["noun"], item.relation)
        words = entity.short if entity.named and entity.short else entity.words
        node = phrase(
            words, [self.tag(word, sort) for word in words], item.relation, sort["ner"], len(self.mentions)
        )
        self.mentions.append(Mention(entity, True, node))
        self.size += len(words) - 1
        entity.named = True
        determined = any(
            child.tag in ("DT", "PRP$") or child.relation == "nmod:poss" for child in item.before
        )
        if entity.article and not determined and item.relation not in ("compound", "amod"):
            node.before.insert(0, Node(entity.article, "DT", "det"))
        if item.relation == "nmod:poss":
            node.after.append(Node("'" if words[-1].endswith("s") else "'s", "POS", "case"))
        return node

    def noun(self, word: str, relation: str) -> Node:
        """`the company`: a later reference that is no mention."""
        node = Node(word, "NN", relation)
        node.before.append(Node("the", "DT", "det"))
        node.after += [Node("'s", "POS", "case")] if relation == "nmod:poss" else []
        return node

    def tag(self, word: str, sort: Mapping[str, str]) -> str:
        if word[0].isupper() or word[0] == "&":
            return sort.get("pos", "NNP" if word != "&" else "CC")
        return sort["pos"] if "pos" in sort else self.grammar.notation.tag(word)

    def rivals(self, entity: Entity) -> bool:
        """Whether a pronoun could be read as somebody else of the story."""
        others = (mention.entity for mention in self.mentions if mention.entity.key != entity.key)
        return any(other.type == entity.type and other.gender == entity.gender for other in others)

    def pronoun(self, entity: Entity, case: int, relation: str) -> Node:
        node = Node(
            PRONOUNS[entity.gender][case],
            "PRP$" if case == 2 else "PRP",
            relation,
            mention=len(self.mentions),
        )
        self.mentions.append(Mention(entity, False, node))
        return node

    # ---- from a clause to a sentence

    def begin(self, wanted: str, true: bool) -> None:
        """The first clause: with words for `wanted` (which it states if `true`), or any if that is empty."""
        if not wanted:
            return self.scene(self.person() if self.chance(0.55) else self.thing("org"))
        options = [t for t in self.grammar.by_relation[wanted] if self.fits(t) and (true or not t.graft)]
        lure = not options or not true and self.chance(LURE_RATE)
        template = self.choose(self.grammar.clauses["lure"] if lure else options)
        host = self.person() if sort_of(template.host) == "per" else self.thing(sort_of(template.host))
        if template.graft:
            self.scene(host)
            return self.hang(
                template, next(mention for mention in self.mentions if mention.entity is host), true, wanted
            )
        self.given = host if self.chance(GIVEN_RATE) else None
        self.root = self.last = self.tell(template, host, true, wanted)
        self.topic = host
        if not true and template.true:
            self.root = self.last = self.tell(self.choose(self.grammar.clauses["doubt"]), first=self.root)

    def scene(self, entity: Entity) -> None:
        """A first clause without a fact, with this entity in it, most often as its topic."""
        kind = "person" if entity.type == "PERSON" else "organisation"
        slots: list[str] = []
        while not slots:  # some clauses take companies only
            template = self.choose(self.grammar.clauses[kind])
            slots = [slot for slot in template.slots if self.grammar.takes(slot, entity.sort)]
        slot = slots[0] if self.chance(0.6) else self.choose(slots)
        life = template.life if slot == template.host else ""
        self.root = self.last = self.tell(replace(template, host=slot, life=life), entity)
        self.event = True
        self.topic = next(mention.entity for mention in self.mentions if mention.entity.type in SUBJECT_TYPES)

    def extend(self) -> None:
        """Add to a name, to the sentence, or a further clause about the topic."""
        step = self.rng.random()
        if step < 0.45:
            names = [mention for mention in self.mentions if self.bare(mention)]
            mention = self.choose(names) if names else None
            template = self.fact(mention.entity, graft=True) if mention else None
            if template:
                self.hang(template, mention)
        elif step < 0.65:
            self.tail()
        else:
            self.join()

    def tail(self) -> None:
        """One addition to the last clause; one in front only while the sentence is simple and undated."""
        template = self.choose(self.grammar.clauses["event_tail" if self.event else "tail"])
        dated = any(mention.entity.type == "DATE" for mention in self.mentions)
        if self.last not in self.used and not (template.tree.before and (dated or not self.simple())):
            self.tell(template, first=self.last)
            self.used.add(self.last)

    def simple(self) -> bool:
        """Whether the sentence is still one clause that tells an event, with nothing before it."""
        return self.root is self.last and self.event and "front" not in self.used

    def bare(self, mention: Mention) -> bool:
        """Whether a mention is a name that stands free and has no additions yet."""
        node = mention.node
        own = node.mention
        around = [
            child
            for child in node.before + node.after
            if child.mention != own and child.tag not in ("IN", "TO", "DT")
        ]
        return mention.name and node.relation in FREE_PLACES and not around

    def fact(self, entity: Entity, graft: bool) -> Template | None:
        """A template that states something of this entity; relations come up as often as TACRED has them."""
        relations, weights = self.grammar.frequent
        for _ in range(12):
            template = self.choose(
                self.grammar.by_relation[self.rng.choices(relations, cum_weights=weights)[0]]
            )
            if template.graft == graft and self.fits(template, entity):
                return template
        return None

    def hang(self, template: Template, mention: Mention, true: bool = True, wanted: str = "") -> None:
        """Graft an addition on a name; what stands before it takes the place of its article."""
        if template.tree.before:
            mention.node.before = [node for node in mention.node.before if node.tag != "DT"]
        case = [node for node in mention.node.before if node.tag in ("IN", "TO")]
        mention.node.before = [node for node in mention.node.before if node not in case]
        self.tell(template, mention.entity, true, wanted, first=mention.node)
        mention.node.before[:0] = case

    def join(self) -> None:
        """A further clause about the topic, with or without a fact."""
        template = self.fact(self.topic, graft=False) if self.chance(0.5) else None
        if template is None:
            kind = "person" if self.topic.sort == "per" else "organisation"
            template = self.choose(self.grammar.clauses[kind])
        events = self.event and template.event and self.chance(0.7)
        joint = self.choose(self.grammar.clauses["event_join" if events else "join"])
        front = bool(joint.tree.before)
        if self.fits(template, self.topic) and self.fits(joint) and not (front and not self.simple()):
            given = self.given
            self.given = self.topic if front else given  # before its name, a topic is a pronoun
            clause = self.tell(template, self.topic)
            self.given = given
            self.tell(joint, first=self.last, second=clause)
            if front:
                self.used.add("front")
            else:
                self.last, self.event = clause, template.event

    def finish(self, words: float) -> None:
        """Extend the sentence to about so many words, have it reported and put the full stop."""
        for _ in range(40):
            if self.size >= words - 3:
                break
            self.extend()
        sourced = any(template.tree in self.used for template in self.grammar.clauses["tail"])
        if words > 12 and not sourced and self.chance(REPORT_RATE):
            self.root = self.tell(self.choose(self.grammar.clauses["report"]), first=self.root)
        self.root.after.append(Node(".", ".", "punct"))


@dataclass(slots=True)
class Sentence:
    """A finished story: its columns as TACRED has them, its mentions and its facts."""

    token: list[str]
    tag: list[str]
    ner: list[str]
    head: list[int]
    deprel: list[str]
    mentions: list[Mention]
    facts: dict[tuple[str, str], str]

    def pairs(self) -> Iterator[Pair]:
        """Every person or organisation with every other thing that is named."""
        subjects = [mention for mention in self.mentions if mention.entity.type in SUBJECT_TYPES]
        objects = [mention for mention in self.mentions if mention.name]
        return ((subj, obj) for subj in subjects for obj in objects if subj is not obj)


def write_down(story: Story) -> Sentence:
    """Put the words of a story in order: superfluous commas go, the first letter is raised, a becomes an."""
    nodes = _without_superfluous_commas(words_in_order(story.root))
    place = {id(node): k for k, (node, _) in enumerate(nodes, start=1)}
    token = [node.form for node, _ in nodes]
    for k, (word, following) in enumerate(pairwise(token)):
        if word == "a" and _vowel(following):
            token[k] = "an"
    first = next(k for k, (node, _) in enumerate(nodes) if node.tag != "``")
    token[first] = token[first][0].upper() + token[first][1:]
    for k, (node, _) in enumerate(nodes):
        if node.mention >= 0:
            mention = story.mentions[node.mention]
            mention.start, mention.end = (k if mention.start < 0 else mention.start), k
    return Sentence(
        token=token,
        tag=[node.tag for node, _ in nodes],
        ner=[node.ner for node, _ in nodes],
        head=[place[id(head)] if head else 0 for _, head in nodes],
        deprel=[node.relation for node, _ in nodes],
        mentions=story.mentions,
        facts=story.facts,
    )


def _vowel(word: str) -> bool:
    return bool(re.match(r"[aeiouAEIO]|8|11\b|18\b", word)) and not re.match(
        "uni|one|euro|U[a-z]?n?i|Eu", word
    )


Placed = tuple[Node, Node | None]  # a word and its head


def _without_superfluous_commas(nodes: Iterable[Placed]) -> list[Placed]:
    """Drop a comma at the start, beside another mark, or before one that closes more; commas head nothing."""
    kept: list[Placed] = []
    for pair in nodes:
        form = pair[0].form
        if kept and kept[-1][0].form == "," and form in (",", ".", ";", "--", "-RRB-"):
            kept.pop()
        if form == "," and (not kept or kept[-1][0].form in ("-LRB-", "``", ";")):
            continue
        kept.append(pair)
    return kept

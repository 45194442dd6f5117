"""One invented sentence about one topic, which grows with its dependency tree.

It starts with a clause that states facts (grammar/relations.toml) or only brings names together (grammar/clauses.toml),
and grows to its length by additions to names, further clauses and reports. Tags, heads and dependency labels agree with
the words by construction, since the templates are trees.
"""

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from tacred_utils.sample.entities import Casting, Entity
from tacred_utils.sample.grammar import EVENTS, Node, Template, load_grammar, sort_of

LURE_RATE = 0.5  # share of the untrue first clauses that are lures; the others are denied or questioned
GIVEN_RATE = 0.25  # how often the topic stands as a pronoun only, known from an earlier sentence
REPORT_RATE = 0.5  # share of sentences that somebody reports
PRONOUN_RATE = 0.6  # of later mentions that cannot be misread
SUBJECT_TYPES = ("PERSON", "ORGANIZATION")
CASES = ("he", "him", "his", "himself")
PRONOUNS = {"male": CASES, "female": ("she", "her", "her", "herself"), "": ("it", "it", "its", "itself")}
PRONOUN_PREPOSITIONS = frozenset(("to", "with", "for", "by", "from", "against", "about", "on"))
FREE_PLACES = frozenset(("nsubj", "nsubjpass", "dobj", "nmod"))  # for a pronoun, or a name with additions
AN = re.compile(r"(?!uni|one|euro|Eu)[aeiouAEIO]|8|11\b|18\b")  # what stands after "an"


@dataclass(slots=True, eq=False)
class Mention:
    """Where an entity stands in a sentence; `start` and `end` are set once the words are in order."""

    entity: Entity
    name: bool  # not a pronoun
    node: Node
    start: int = -1
    end: int = -1

    def free(self) -> bool:
        """Whether it is a name with no additions yet, where there is room for one."""
        around = [child for child in self.node.before + self.node.after if child.mention != self.node.mention]
        bare = all(child.tag in ("IN", "TO", "DT") for child in around)
        return self.name and bare and self.node.relation in FREE_PLACES


class Sentence:
    """A sentence under construction: its tree, its mentions, and what it states."""

    def __init__(self, rng: random.Random, held_out: bool):
        self.rng, self.held_out, self.grammar = rng, held_out, load_grammar()
        self.casting = Casting(rng, self.grammar)
        self.chance, self.choose = self.casting.chance, self.casting.choose
        self.size = 0
        self.mentions: list[Mention] = []
        self.facts: dict[tuple[str, str], str] = {}
        self.used: set = set()  # templates, and (what was said, in which role, of whom): nothing is said twice
        self.given: Entity | None = None  # a topic that stands as a pronoun only
        self.root: Node
        self.last: Node  # the clause that stands last
        self.topic: Entity
        self.event = False  # whether that clause tells an event

    def clause(self, kind: str) -> Template:
        return self.choose(self.grammar.clauses[kind])

    # ---- from templates to trees

    def fits(self, template: Template, host: Entity | None = None) -> bool:
        """Whether the split may have it, the sentence lacks it, and it agrees with what is known of its host."""
        if template.held_out and not self.held_out or template in self.used:
            return False
        if host is None:
            return True
        said = [(topic, role, host.key) for topic, role, slot in template.topics if slot == template.host]
        contrary = template.life and host.life and template.life != host.life
        return not contrary and self.used.isdisjoint(said) and self.grammar.takes(template.host, host.sort)

    def tell(
        self, template: Template, given: Mapping[str, Entity], *holes: Node, true: bool = True, wanted: str = ""
    ) -> Node:
        """Cast a template, note what it states (if ambiguous, `wanted` where it can) and grow its tree."""
        roles = self.casting.fill(template, given, self.given.gender if self.given else "")
        implies = self.grammar.implies
        self.used.add(template)
        self.used.update((topic, role, roles[slot].key) for topic, role, slot in template.topics)
        if template.life and template.host in given:
            roles[template.host].life = template.life
        for relations, subj, obj in template.holds if true and template.kind != "lure" else ():
            meant = [relation for relation in relations if wanted in (relation, implies.get(relation))]
            relation, one, other = meant[0] if meant else self.choose(relations), roles[subj].key, roles[obj].key
            if relation != "-":
                self.facts[one, other] = relation
            if relation in implies:
                self.facts[other, one] = implies[relation]
        return self.grow(template.tree, roles, holes)

    def grow(self, item: Node, roles: Mapping[str, Entity], holes: Sequence[Node]) -> Node:
        """The tree of an item, in the order of its words; a hole is filled with the tree given for it."""
        self.size += 1

        def dependents(items: list[Node]) -> list[Node]:
            return [self.grow(child, roles, holes) for child in items if not child.optional or self.chance(0.5)]

        before = dependents(item.before)
        if item.kind == "word":
            node = Node(item.form, item.tag, item.relation)
        elif item.kind == "hole":
            node = holes[item.form == "@2"]
            node.relation = node.relation if item.relation == "ROOT" else item.relation
        elif item.kind == "list":
            node = self.grow(self.choose(self.grammar.lists[item.form]), {}, ())
            adjective = node.tag.startswith("JJ") and item.relation == "compound"
            node.relation = "amod" if adjective else item.relation
        elif item.kind == "gender":
            node = Node(item.form.split("|")[roles[item.slot].gender == "female"], item.tag, item.relation)
        elif item.kind == "pronoun":
            node = self.pronoun(roles[item.slot], item.form, item.relation)
        else:
            node = self.refer(roles[item.slot], item)
        node.before[:0] = before
        node.after += dependents(item.after)
        return node

    def refer(self, entity: Entity, item: Node) -> Node:
        """Name an entity: in full, later in short or, where it cannot be misread, with a pronoun."""
        possessive = item.relation == "nmod:poss"
        alone = not item.after and all(child.form in PRONOUN_PREPOSITIONS for child in item.before)
        others = {(m.entity.type, m.entity.gender) for m in self.mentions if m.entity.key != entity.key}
        clear = (entity.type, entity.gender) not in others  # a pronoun cannot be read as somebody else
        known = entity is self.given or entity.named and self.chance(PRONOUN_RATE) and clear
        if known and alone and (possessive or item.relation in FREE_PLACES):
            case = "his" if possessive else "he" if item.relation.startswith("nsubj") else "him"
            return self.pronoun(entity, case, item.relation)
        sort = self.grammar.sorts[entity.sort]
        if entity.named and entity.short == entity.words and "noun" in sort and alone:
            node, article = Node(sort["noun"], "NN", item.relation), "the"  # `the company` is no mention
        else:
            node = self.name(entity, sort, item.relation)
            determined = any(child.tag in ("DT", "PRP$") or child.relation == "nmod:poss" for child in item.before)
            article = "" if determined or item.relation in ("compound", "amod") else entity.article
        if article:
            node.before.insert(0, Node(article, "DT", "det"))
        if possessive:
            *_, (last, _) = node.walk()
            node.after.append(Node("'" if last.form.endswith("s") else "'s", "POS", "case"))
        return node

    def name(self, entity: Entity, sort: Mapping[str, str], relation: str) -> Node:
        """The tree of a name or a value; its head is the last word, the one before a preposition, or a month."""
        words = entity.short if entity.named and entity.short else entity.words
        tags = [sort.get("pos") or ("NNP" if word[0].isupper() else self.grammar.tag(word)) for word in words]
        usual = [self.grammar.relations.get(tag, "compound") for tag in tags]
        about = {"ner": sort["ner"], "mention": len(self.mentions)}
        nodes = [Node(*columns, **about) for columns in zip(words, tags, usual, strict=True)]
        at = len(nodes) - 1
        if "IN" in tags:
            at, last = tags.index("IN") - 1, nodes[-1]
            last.relation, last.before, nodes[at].after = "nmod", nodes[at + 1 : -1], [last]
        elif sort["type"] == "DATE" and "NNP" in tags:
            at = tags.index("NNP")
            nodes[at].after = nodes[at + 1 :]
        nodes[at].relation, nodes[at].before = relation, nodes[:at]
        self.mentions.append(Mention(entity, True, nodes[at]))
        self.size += len(words) - 1
        entity.named = True
        return nodes[at]

    def pronoun(self, entity: Entity, case: str, relation: str) -> Node:
        form, tag = PRONOUNS[entity.gender][CASES.index(case)], "PRP$" if case == "his" else "PRP"
        node = Node(form, tag, relation, mention=len(self.mentions))
        self.mentions.append(Mention(entity, False, node))
        return node

    # ---- from a clause to a sentence

    def begin(self, wanted: str, true: bool) -> None:
        """The first clause: with words for `wanted` (which it states if `true`), or any if that is empty."""
        if not wanted:
            return self.scene(self.casting.thing("per" if self.chance(0.55) else "org"))
        options = [t for t in self.grammar.by_relation[wanted] if self.fits(t) and (true or t.kind != "graft")]
        lure = not options or not true and self.chance(LURE_RATE)
        template = self.choose(self.grammar.clauses["lure"] if lure else options)
        host = self.casting.thing(sort_of(template.host))
        if template.kind == "graft":
            self.scene(host)
            return self.hang(template, next(m for m in self.mentions if m.entity is host), wanted)
        self.topic, self.given = host, host if self.chance(GIVEN_RATE) else None
        self.root = self.last = self.tell(template, {template.host: host}, true=true, wanted=wanted)
        if not true and not lure:
            self.root = self.last = self.tell(self.clause("doubt"), {}, self.root)

    def scene(self, entity: Entity) -> None:
        """A first clause without a fact, with this entity in it, most often as its topic."""
        slots: list[str] = []
        while not slots:  # some clauses take companies only
            template = self.clause("person" if entity.sort == "per" else "organisation")
            slots = [slot for slot in template.slots if self.grammar.takes(slot, entity.sort)]
        slot = slots[0] if self.chance(0.6) else self.choose(slots)
        self.root = self.last = self.tell(template, {slot: entity})
        self.event = True
        self.topic = next(mention.entity for mention in self.mentions if mention.entity.type in SUBJECT_TYPES)

    def extend(self) -> None:
        """Add to a free name, to the last clause, or a further clause about the topic."""
        step = self.rng.random()
        if step >= 0.65:
            self.join()
        elif step >= 0.45:
            template = self.clause("event_tail" if self.event else "tail")
            dated = any(mention.entity.type == "DATE" for mention in self.mentions)
            if self.last not in self.used and (not template.tree.before or self.simple() and not dated):
                self.tell(template, {}, self.last)
                self.used.add(self.last)
        elif free := [mention for mention in self.mentions if mention.free()]:
            mention = self.choose(free)
            if template := self.fact(mention.entity, graft=True):
                self.hang(template, mention)

    def simple(self) -> bool:
        """Whether the sentence is still one clause that tells an event: then something may stand in front."""
        return self.root is self.last and self.event and "front" not in self.used

    def fact(self, entity: Entity, graft: bool) -> Template | None:
        """A template that states something of this entity; relations come up as often as TACRED has them."""
        relations, weights = self.grammar.frequent
        for _ in range(12):
            relation = self.rng.choices(relations, cum_weights=weights)[0]
            template = self.choose(self.grammar.by_relation[relation])
            if (template.kind == "graft") == graft and self.fits(template, entity):
                return template
        return None

    def hang(self, template: Template, mention: Mention, wanted: str = "") -> None:
        """Graft an addition on a name; what stands before it takes the place of its article."""
        node = mention.node
        case = [child for child in node.before if child.tag in ("IN", "TO")]
        dropped = ("IN", "TO", "DT") if template.tree.before else ("IN", "TO")
        node.before = [child for child in node.before if child.tag not in dropped]
        self.tell(template, {template.host: mention.entity}, node, wanted=wanted)
        node.before[:0] = case

    def join(self) -> None:
        """A further clause about the topic, with or without a fact."""
        template = self.fact(self.topic, graft=False) if self.chance(0.5) else None
        if template is None:
            template = self.clause("person" if self.topic.sort == "per" else "organisation")
        joint = self.clause("event_join" if self.event and template.kind in EVENTS and self.chance(0.7) else "join")
        front = bool(joint.tree.before)
        if self.fits(template, self.topic) and self.fits(joint) and (not front or self.simple()):
            given, self.given = self.given, self.topic if front else self.given  # in front, a topic is a pronoun
            clause = self.tell(template, {template.host: self.topic})
            self.given = given
            self.tell(joint, {}, self.last, clause)
            if front:
                self.used.add("front")
            else:
                self.last, self.event = clause, template.kind in EVENTS

    def finish(self, words: float) -> None:
        """Extend the sentence to about so many words, have it reported and put the full stop."""
        for _ in range(40):
            if self.size < words - 3:
                self.extend()
        sourced = not self.used.isdisjoint(self.grammar.clauses["tail"])
        if words > 12 and not sourced and self.chance(REPORT_RATE):
            self.root = self.tell(self.clause("report"), {}, self.root)
        self.root.after.append(Node(".", ".", "punct"))

    # ---- from the tree to rows

    def columns(self) -> dict[str, list]:
        """The words in order and their annotation, as fields of `Example`; mentions get their places."""
        nodes: list[tuple[Node, Node | None]] = []
        for node, head in self.root.walk():
            if nodes and nodes[-1][0].form == "," and node.form in (",", ".", ";", "--", "-RRB-"):
                nodes.pop()
            if node.form != "," or nodes and nodes[-1][0].form not in ("-LRB-", "``", ";"):
                nodes.append((node, head))
        token = [node.form for node, _ in nodes]
        token = ["an" if word == "a" and AN.match(after) else word for word, after in pairwise(token)] + token[-1:]
        first = token[0] == "``"  # 1 behind a quotation mark
        token[first] = token[first][0].upper() + token[first][1:]
        place = {id(node): k for k, (node, _) in enumerate(nodes, start=1)}
        for k, (node, _) in enumerate(nodes):
            if node.mention >= 0:
                mention = self.mentions[node.mention]
                mention.start, mention.end = (k if mention.start < 0 else mention.start), k
        return {
            "token": token,
            "stanford_pos": [node.tag for node, _ in nodes],
            "stanford_ner": [node.ner for node, _ in nodes],
            "stanford_head": [place[id(head)] if head else 0 for _, head in nodes],
            "stanford_deprel": [node.relation for node, _ in nodes],
        }

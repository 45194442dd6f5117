"""The grammar of the synthetic corpus: templates, word lists, places and counts, from the files beside.

Templates are dependency trees in a compact notation:

    (nsubj {per}) was born (nmod in {city}) ?(nmod:tmod {weekday})

A bracket is a subtree with its relation to the head of the bracket around it; `?` makes it optional. The head of a
bracket is its item marked `*`, else its last content word. `{slot}` is a mention, `{his:slot}` a pronoun for one,
`<slot:son|daughter>` a word by gender, `[list]` a phrase from a word list, `@` and `@2` are subtrees that are grafted
in later. All else is a word, as `word/TAG/relation` where another tag or relation than the usual one is meant.
"""

import re
import tomllib
import unicodedata
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from itertools import accumulate, product
from pathlib import Path

EVENTS = ("person", "organisation")  # the kinds of templates that tell an event
CONTENT = frozenset(("amod", "nummod", "compound", "dep", ""))  # usual relations of words that may head a bracket
NAME_KINDS = {"male": "first_names_male", "female": "first_names_female", "last": "last_names"}  # ours: Faker's

Place = dict[str, str]  # its city, state, country and nationality, "" where it is not known
Holds = list[tuple[list[str], str, str]]  # relations of which one is true, slot of the subject, of the object


@dataclass(slots=True, eq=False)
class Node:
    """A word in a tree; in a template also what stands for words: a slot, pronoun, gender, list or hole."""

    form: str  # word; he, him, his or himself for a pronoun; son|daughter for a gender; name of a list; @ or @2
    tag: str = ""
    relation: str = ""
    kind: str = "word"
    slot: str = ""  # of a slot, a pronoun or a gender
    optional: bool = False
    ner: str = "O"
    mention: int = -1  # of a sentence
    before: list["Node"] = field(default_factory=list)  # dependents, in order
    after: list["Node"] = field(default_factory=list)

    def walk(self, head: "Node | None" = None) -> Iterator[tuple["Node", "Node | None"]]:
        """(node, its head) in the order of the sentence."""
        for child in self.before:
            yield from child.walk(self)
        yield self, head
        for child in self.after:
            yield from child.walk(self)


@dataclass(frozen=True, slots=True, eq=False)
class Template:
    """A tree and what it states: `holds`, unless it is a lure, which only has the words for it."""

    kind: str  # a key of clauses.toml, or clause, graft or lure of relations.toml
    tree: Node
    slots: list[str]  # in the order of the sentence, once each
    host: str  # the slot of its topic; of a graft, the name it hangs on, which is not in the tree
    holds: Holds
    topics: list[tuple[str, int, str]]  # what it speaks of, in which role, of which slot
    life: str  # "dead" or "alive": what it presupposes of its host
    held_out: bool  # for dev and test only


def sort_of(slot: str) -> str:
    """`per2` → `per`: slots of the same sort are told apart by a number."""
    return slot.rstrip("0123456789")


class Grammar:
    """Everything in the files, ready for use."""

    def __init__(self):
        words, counts, lexicon, places = map(_toml, ("words", "counts", "lexicon", "places"))
        self.tags, self.relations = (
            {word: key for key, line in lexicon[table].items() for word in line.split()}
            for table in ("tags", "relations")
        )
        self.sorts: dict[str, dict] = words["sorts"]  # what fills a slot: type, ner, pos, noun, patterns
        self.organisations: dict[str, int] = words["anyorg"]  # the sorts that {org} takes, with their weights
        self.counts: dict[str, tuple[int, int]] = counts["relations"]  # rows of a relation in all splits, in test
        self.frequent = list(self.counts), list(accumulate(rows for rows, _ in self.counts.values()))  # to draw from
        self.positives: dict[str, int] = counts["positives"]  # rows with a relation in train and dev
        self.implies: dict[str, str] = counts["implies"]
        self.topics: dict[str, str] = counts["topics"]
        self.negatives: dict[str, dict[str, int]] = counts["negatives"]  # weights of no_relation type pairs
        regions = [("", country, *rest) for country, rest in places["countries"].items()]
        regions += [(state, "", "", cities) for state, cities in places["regions"].items()]
        self.places: list[Place] = [
            {"city": city, "state": state, "country": country, "nationality": nation}
            for state, country, nation, cities in regions for city in cities.split(", ")
        ]  # fmt: skip
        self.names = sum(([_person_names(locale)] * share for locale, share in words["languages"].items()), [])
        self.pools: dict[str, list[str]] = words["pools"] | {"surname": self.names[0]["last"]}
        for name, lines in words["compounds"].items():
            self.pools[name] = ["".join(parts) for parts in product(*(line.split(" ") for line in lines))]
        self.lists = {name: [self.read(text) for text in texts] for name, texts in words["lists"].items()}
        self.clauses: dict[str, list[Template]] = defaultdict(list)  # templates by kind
        for kind, texts in _toml("clauses").items():
            self.clauses[kind] = [self._template(kind, text, []) for text in texts]
        self.by_relation: dict[str, list[Template]] = defaultdict(list)  # clauses and grafts that can state it
        for entry in _toml("relations")["fact"]:
            self._add_fact(entry)

    def takes(self, slot: str, sort: str) -> bool:
        """Whether a slot accepts a name of this sort: {org} takes any organisation."""
        return sort_of(slot) == sort or sort_of(slot) == "org" and sort in self.organisations

    def tag(self, word: str) -> str:
        """The tag of a word of the lexicon or of a number."""
        found = self.tags.get(word) or self.tags.get(word.lower()) or word[0].isdigit() and "CD"
        if not found:
            raise ValueError(f"{word!r} is not in the lexicon")
        return found

    def usual_relation(self, node: Node) -> str:
        """The usual relation of a word to its head, "" for a verb."""
        return self.relations.get(node.form.lower()) or self.relations.get(node.tag, "")

    def _add_fact(self, entry: dict) -> None:
        holds = [(relations.split("|"), subj, obj) for relations, subj, obj in map(str.split, entry["holds"])]
        stated = {relation for relations, *_ in holds for relation in relations} - {"-"}
        stated |= {self.implies[relation] for relation in stated & self.implies.keys()}
        for kind in ("clause", "graft", "lure"):
            for text in entry.get(kind, ()):
                template = self._template(kind, text, holds, entry.get("life", ""))
                self.clauses[kind].append(template)
                for relation in stated if kind != "lure" else ():
                    self.by_relation[relation].append(template)

    def _template(self, kind: str, text: str, holds: Holds, life: str = "") -> Template:
        tree = self.read(text.removeprefix("~"))
        nodes = [node for node, _ in tree.walk()]
        slots = list(dict.fromkeys(node.slot for node in nodes if node.kind == "slot"))
        missing = sorted({slot for _, *pair in holds for slot in pair}.difference(slots))  # of a graft, its host
        named = [slot for slot in slots if sort_of(slot) in ("per", "org", *self.organisations)]
        host = (missing + named + [""])[0]
        present = any(node.tag in ("VBZ", "VBP") or node.slot in ("weekday", "recent") for node in nodes)
        if kind == "person" or sort_of(host) == "per" and present:  # today or this week: not of somebody dead
            life = life or "alive"
        topics = [
            (self.topics.get(relation, relation.split("_of_")[-1]), role, slot)
            for relations, *pair in holds for relation in relations for role, slot in enumerate(pair)
        ]  # fmt: skip
        return Template(kind, tree, slots, host, holds, topics, life, text.startswith("~"))

    # ---- the notation

    def read(self, text: str) -> Node:
        """The template's tree, with ROOT at its top."""
        return self._bracket(iter(re.findall(r"\?\(|\(|\)|[^\s()]+", f"{text} )")), "ROOT")

    def _bracket(self, tokens: Iterator[str], relation: str, optional: bool = False) -> Node:
        nodes: list[Node] = []
        marked = []
        while (token := next(tokens)) != ")":
            if token in ("(", "?("):
                nodes.append(self._bracket(tokens, next(tokens), token == "?("))
            else:
                nodes.append(self._leaf(token.removeprefix("*")))
                marked += nodes[-1:] if token[0] == "*" else []
        words = [node for node in nodes if not node.relation and self.usual_relation(node) != "punct"]
        head = (marked or [node for node in words if self.usual_relation(node) in CONTENT] or words)[-1]
        self._hang(nodes, head, relation, optional)
        return head

    def _leaf(self, token: str) -> Node:
        inner, (form, _, slot) = token[1:-1], token[1:-1].rpartition(":")
        if token[0] == "@":
            return Node(token, kind="hole")
        if token[0] == "[":
            return Node(inner, "NN", kind="list")
        if token[0] == "<":
            slot, form = inner.split(":")
            return Node(form, "NN", kind="gender", slot=slot)
        if token[0] == "{" and form:
            return Node(form, "PRP$" if form == "his" else "PRP", kind="pronoun", slot=slot)
        if token[0] == "{":
            return Node("", self.sorts.get(sort_of(slot), {}).get("pos", "NNP"), kind="slot", slot=slot)
        word, tag, relation = (token + "//").split("/")[:3]
        return Node(word, tag or self.tag(word), relation)

    def _hang(self, nodes: list[Node], head: Node, relation: str, optional: bool) -> None:
        """Make a subtree of a bracket: settle the tags of its verbs and the relations left open."""
        at = nodes.index(head)
        head.before, head.after = nodes[:at], nodes[at + 1 :]
        verbs = {self.usual_relation(node) for node in head.before if node.tag.startswith("VB")}
        if head.tag == "VBD" and (relation == "acl" or verbs & {"cop", "aux"}):
            head.tag = "VBN"
        if head.tag == "VB" and not {node.tag for node in head.before} & {"TO", "MD"}:
            head.tag = "VBP"
        for node in nodes:
            usual = self.usual_relation(node)
            if node.relation == "nsubj" and head.tag == "VBN" and "cop" in verbs:
                node.relation = "nsubjpass"
            elif node is head or node.relation:
                continue
            elif usual in CONTENT and node in head.after:
                raise ValueError(f"{node.form or node.slot!r} follows its head without a relation")
            elif usual == "cop":
                usual = {"VBN": "auxpass", "VBG": "aux"}.get(head.tag, usual)
            elif node.tag in ("IN", "TO"):
                clause = head.tag.startswith("VB") or head.kind == "hole"
                clause |= head.tag == "JJ" and node.form in ("that", "whether", "when", "as")
                usual = "mark" if clause else "case"
            node.relation = node.relation or usual
        head.relation, head.optional = relation, optional


@cache
def load_grammar() -> Grammar:
    """The grammar, read once."""
    return Grammar()


def _toml(name: str) -> dict:
    return tomllib.loads((Path(__file__).parent / f"{name}.toml").read_text(encoding="utf-8"))


def _person_names(locale: str) -> dict[str, list[str]]:
    """Faker's male and female first names and last names of a language, without accents."""
    provider = import_module(f"faker.providers.person.{locale}").Provider
    found = {}
    for kind, attribute in NAME_KINDS.items():
        plain = unicodedata.normalize("NFKD", "\n".join(getattr(provider, attribute))).encode("ascii", "ignore")
        found[kind] = list(dict.fromkeys(re.findall("^[A-Z][a-z]{2,11}$", plain.decode(), re.MULTILINE)))
    return found

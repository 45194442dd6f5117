"""Dependency trees in a compact notation: how the templates of the synthetic corpus are written and read.

    (nsubj {per}) was born (nmod in {city}) ?(nmod:tmod {weekday})

A bracket is a subtree with its relation to the head of the bracket around it; `?` makes it optional. The head
of a bracket is its item marked `*`, else its last content word. `{slot}` is a mention, `{his:slot}` a pronoun
for one, `<slot:son|daughter>` a word by gender, `[list]` a phrase from a word list, `@` a subtree that is
grafted in later. All else is a word, as `word/TAG/relation` where not the lexicon's tag or not the usual
relation of such a word is meant.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

BE = frozenset(["is", "was", "are", "were", "be", "been", "being"])
HAVE = frozenset(["has", "have", "had", "having"])
PUNCTUATION = {mark: mark for mark in ("-LRB-", "-RRB-", "$", "``", "''", ",", ".")}
PUNCTUATION |= {";": ":", "-": ":", "--": ":"}
# Tags that do not head a bracket while anything else can.
FUNCTION_TAGS = {
    "DT",
    "IN",
    "TO",
    "CC",
    "MD",
    "RP",
    "RB",
    "PRP",
    "PRP$",
    "POS",
    "WP",
    "WP$",
    "WDT",
    "WRB",
    "EX",
}
FUNCTION_TAGS |= set(PUNCTUATION.values()) - {"$"}
USUAL_TAGS = {  # relation: the tags of words that usually have it
    "det": "DT", "nmod:poss": "PRP$ WP$", "amod": "JJ JJR JJS VBG VBN VBD", "nummod": "CD",
    "compound": "NN NNS NNP", "aux": "MD", "cc": "CC", "compound:prt": "RP", "case": "POS", "expl": "EX",
    "advmod": "RB WRB", "dep": "$", "nsubj": "PRP WP WDT",
}  # fmt: skip
DEFAULT_RELATIONS = {tag: relation for relation, tags in USUAL_TAGS.items() for tag in tags.split()}


class Node:
    """A word in a tree under construction: its dependents stand in order before and after it."""

    __slots__ = ("form", "tag", "ner", "relation", "before", "after", "mention")

    def __init__(self, form: str, tag: str, relation: str, ner: str = "O", mention: int = -1):
        self.form, self.tag, self.relation, self.ner, self.mention = form, tag, relation, ner, mention
        self.before: list[Node] = []
        self.after: list[Node] = []


@dataclass(frozen=True, slots=True, eq=False)
class Item:
    """A node of a template. `kind`: word, slot, pronoun, gender, list or hole; `text`: word or slot."""

    kind: str
    text: str
    tag: str = ""
    relation: str = ""
    optional: bool = False
    before: tuple["Item", ...] = ()
    after: tuple["Item", ...] = ()
    forms: tuple[str, ...] = ()

    def walk(self) -> Iterator["Item"]:
        """All items in the order of the sentence."""
        for item in self.before:
            yield from item.walk()
        yield self
        for item in self.after:
            yield from item.walk()

    @property
    def slots(self) -> list[str]:
        """Names of the slots that are mentioned, in order and once each."""
        return list(dict.fromkeys(item.text for item in self.walk() if item.kind == "slot"))


@dataclass
class Notation:
    """Reads templates, given the tag of each word in the lexicon, and those of the slots."""

    tags: Mapping[str, str]
    slot_tags: Mapping[str, str] = field(default_factory=dict)

    def read(self, text: str) -> Item:
        """The template's tree, with ROOT at its top. Raises `ValueError` that quotes a faulty template."""
        tokens = re.findall(r"\?\(|\(|\)|[^\s()]+", text)
        try:
            item, rest = self._bracket(tokens, 0, "ROOT")
        except (IndexError, ValueError) as error:
            raise ValueError(f"template {text!r}: {error}") from error
        if rest != len(tokens):
            raise ValueError(f"template {text!r}: unbalanced brackets")
        return item

    def _bracket(self, tokens: list[str], at: int, relation: str, optional: bool = False) -> tuple[Item, int]:
        items, starred = [], None
        while at < len(tokens) and tokens[at] != ")":
            token = tokens[at]
            if token in ("(", "?("):
                item, at = self._bracket(tokens, at + 2, tokens[at + 1], token == "?(")
                if at >= len(tokens):
                    raise ValueError("unbalanced brackets")
            else:
                starred = len(items) if token.startswith("*") else starred
                item = self._leaf(token.removeprefix("*"))
            items.append(item)
            at += 1
        head = starred if starred is not None else _head_position(items)
        return _assemble(items, head, relation, optional), at

    def _leaf(self, token: str) -> Item:
        if token == "@" or token == "@2":
            return Item("hole", token)
        if token[0] == "[":
            return Item("list", token[1:-1], "NN")
        if token[0] == "<":
            slot, _, forms = token[1:-1].partition(":")
            return Item("gender", slot, "NN", forms=tuple(forms.split("|")))
        if token[0] == "{":
            form, _, slot = token[1:-1].rpartition(":")
            if form:
                return Item("pronoun", slot, "PRP$" if form == "his" else "PRP", forms=(form,))
            return Item("slot", slot, self.slot_tags.get(slot.rstrip("0123456789"), "NNP"))
        word, _, marks = token.partition("/")
        tag, _, relation = marks.partition("/")
        return Item("word", word, tag or self.tag(word), relation)

    def tag(self, word: str) -> str:
        """The tag of a word of the lexicon, a number or a punctuation mark."""
        found = PUNCTUATION.get(word) or self.tags.get(word) or self.tags.get(word.lower())
        if found is None and word[0].isdigit():
            return "CD"
        if found is None:
            raise ValueError(f"{word!r} is not in the lexicon")
        return found


def _head_position(items: list[Item]) -> int:
    """The last content word outside inner brackets; without one, the last word that is no punctuation."""
    words = [k for k, item in enumerate(items) if not item.relation]
    content = [k for k in words if items[k].tag not in FUNCTION_TAGS and items[k].text not in BE | HAVE]
    marks = [
        k for k, item in enumerate(items) if item.text in BE | HAVE or item.tag not in PUNCTUATION.values()
    ]
    return content[-1] if content else [k for k in marks if k in words][-1]


def _assemble(items: list[Item], at: int, relation: str, optional: bool) -> Item:
    """Hang the items of a bracket on its head: settle the tags of verbs and the relations left open."""
    head = items[at]
    words = [item.text.lower() for item in items[:at]]
    tags = {item.tag for item in items[:at]}
    if head.tag == "VBD" and (BE | HAVE).intersection(words) or head.tag == "VBD" and relation == "acl":
        head = replace(head, tag="VBN")
    if head.tag == "VB" and not tags & {"TO", "MD"} and head.kind == "word":
        head = replace(head, tag="VBP")
    passive = head.tag == "VBN" and bool(BE.intersection(words))
    settled = []
    for k, item in enumerate(items):
        if passive and item.relation == "nsubj":
            item = replace(item, relation="nsubjpass")
        if k != at and not item.relation:
            item = replace(item, relation=_relation_of(item, head, k < at))
        settled.append(item)
    return replace(
        head, relation=relation, optional=optional, before=tuple(settled[:at]), after=tuple(settled[at + 1 :])
    )


def _relation_of(item: Item, head: Item, before: bool) -> str:
    """The usual relation of a word to its head."""
    verbal = head.tag.startswith("VB") or head.kind == "hole" and head.text != "@"
    word = item.text.lower()
    if item.tag in PUNCTUATION.values() and item.tag != "$":
        return "punct"
    if not before and item.tag not in FUNCTION_TAGS:
        raise ValueError(f"{item.text!r} follows its head without a relation")
    if item.kind == "word" and word in BE and before:
        return {"VBN": "auxpass", "VBG": "aux"}.get(head.tag, "cop")
    if item.kind == "word" and word in HAVE and before:
        return "aux"
    if word in ("not", "never", "no"):
        return "neg"
    if item.tag in ("IN", "TO"):
        return (
            "mark"
            if verbal
            or head.kind == "hole"
            or head.tag == "JJ"
            and item.text in ("that", "whether", "when", "as")
            else "case"
        )
    return DEFAULT_RELATIONS[item.tag]


def phrase(words: list[str], tags: list[str], relation: str, ner: str, mention: int) -> Node:
    """The tree of a name or a value; its head is the last word, the one before a preposition, or a month."""
    nodes = [
        Node(word, tag, DEFAULT_RELATIONS.get(tag, "compound"), ner, mention)
        for word, tag in zip(words, tags, strict=True)
    ]
    preposition = tags.index("IN") if "IN" in tags else 0
    if preposition:
        at, last = preposition - 1, nodes[-1]
        nodes[preposition].relation, last.relation, last.before = "case", "nmod", nodes[preposition:-1]
        nodes[at].after = [last]
    elif ner == "DATE" and "NNP" in tags and tags[-1] == "CD":
        at = tags.index("NNP")
        nodes[at].after = nodes[at + 1 :]
        for node in nodes[at].after:
            node.relation = "punct" if node.tag == "," else "nummod"
    else:
        at = len(nodes) - 1
    nodes[at].relation, nodes[at].before = relation, nodes[:at]
    return nodes[at]


def words_in_order(node: Node, head: Node | None = None) -> Iterator[tuple[Node, Node | None]]:
    """(node, its head) in the order of the sentence."""
    for child in node.before:
        yield from words_in_order(child, node)
    yield node, head
    for child in node.after:
        yield from words_in_order(child, node)

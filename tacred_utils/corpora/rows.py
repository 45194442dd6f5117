"""The rows of a corpus without their text: what published runs are read by where the corpus itself is not at hand."""

import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from tacred_utils.corpora.example import Corpus, Example
from tacred_utils.ground.errors import UserError
from tacred_utils.ground.files import UNDECODABLE, read_bytes, write_bytes
from tacred_utils.ground.labels import SPLITS

ROWS = "rows.json.gz"  # its name, in the folder of a corpus' runs
NO_TEXT = "its text is not at hand: what needs sentences is left out"
FACTS = ("name", "gated", "annotator", "subset", "notes", "left_out", "columns", "digests")  # of the corpus
FIELDS = (  # of a row; `sentence` numbers the distinct sentences of the corpus, `words` is its length
    "id", "relation", "sentence", "words", "subj_start", "subj_end", "obj_start", "obj_end", "subj_type", "obj_type",
    "document", "evidence",
)  # fmt: skip


@dataclass(frozen=True)
class RowsOnly(Corpus):
    """A Corpus of Examples whose words are all the number of their sentence; what it says of itself is the whole's."""

    columns: frozenset[str] = frozenset()
    digests: dict[str, str] = field(default_factory=dict)
    has_text = False


def write_rows(corpus: Corpus, path: Path) -> None:
    """Write the rows without words and columns; the same corpus gives the same bytes."""
    facts = {name: getattr(corpus, name) for name in FACTS} | {"columns": sorted(corpus.columns), "fields": FIELDS}
    numbers: dict[tuple[str, ...], int] = {}
    rows = {split: [*_textless(corpus.split(split), numbers)] for split in SPLITS}
    write_bytes(path, gzip.compress(msgspec.json.encode(facts | {"rows": rows}), mtime=0))


def _textless(examples: list[Example], numbers: dict[tuple[str, ...], int]) -> Iterator[list]:
    for example in examples:
        sentence = {"sentence": numbers.setdefault(tuple(example.token), len(numbers)), "words": len(example.token)}
        yield [sentence[name] if name in sentence else getattr(example, name) for name in FIELDS]


def read_rows(path: Path) -> RowsOnly:
    """The corpus that `write_rows` wrote, without its text. Raises `UserError` if there is none or it is damaged."""
    try:
        table = msgspec.json.decode(gzip.decompress(read_bytes(path)))
        splits = {split: [_textless_example(*row) for row in table["rows"][split]] for split in SPLITS}
        facts = {name: table[name] for name in FACTS}
    except (*UNDECODABLE, EOFError, OSError, zlib.error, KeyError, TypeError):
        raise UserError(
            f"{path}: is damaged; fetch it again, or get the corpus: python -m tacred_utils data get NAME."
        ) from None
    facts["columns"] = frozenset(facts["columns"])
    return RowsOnly(**facts, **splits).noting(NO_TEXT)


def _textless_example(identity: str, relation: str, sentence: int, words: int, *rest: object) -> Example:
    *places_and_types, document, evidence = rest
    token = [str(sentence)] * words
    return Example(identity, relation, token, *places_and_types, document=document, evidence=evidence)

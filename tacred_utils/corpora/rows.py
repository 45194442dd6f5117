"""The rows of a corpus without their text: what published runs are read by where the corpus itself is not at hand."""

import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from tacred_utils.corpora.example import Corpus, Example
from tacred_utils.ground.errors import UserError
from tacred_utils.ground.files import UNDECODABLE, read_bytes, write_bytes
from tacred_utils.ground.labels import SPLITS

ROWS = "rows.json.gz"  # its name, in the folder of a corpus' runs


class _Row(msgspec.Struct, array_like=True):
    """One Example; `sentence` numbers the distinct sentences of the corpus."""

    id: str
    relation: str
    sentence: int
    words: int
    subj_start: int
    subj_end: int
    obj_start: int
    obj_end: int
    subj_type: str
    obj_type: str
    document: str | None
    evidence: bool | None


class _Table(msgspec.Struct):
    """The file: what is known of the corpus, then its rows."""

    name: str
    gated: bool
    annotator: str
    subset: str
    notes: list[str]
    left_out: dict[str, list[str]]
    columns: list[str]
    digests: dict[str, str]
    fields: list[str]  # of each row, in order
    rows: dict[str, list[_Row]]


@dataclass(frozen=True)
class RowsOnly(Corpus):
    """A Corpus whose Examples have as many words as there were, each the number of its sentence, and no column.

    Its labels, types, spans, documents, columns and digests are those of the corpus that it was made of.
    """

    table: _Table | None = None
    has_text = False

    @property
    def columns(self) -> frozenset[str]:
        return frozenset(self.table.columns)

    @property
    def digests(self) -> dict[str, str]:
        return self.table.digests


def write_rows(corpus: Corpus, path: Path) -> None:
    """Write the rows without words and columns; the same corpus gives the same bytes."""
    numbers: dict[tuple[str, ...], int] = {}
    rows = {split: [*_rows(corpus.split(split), numbers)] for split in SPLITS}
    table = _Table(
        corpus.name, corpus.gated, corpus.annotator, corpus.subset, corpus.notes, dict(corpus.left_out),
        sorted(corpus.columns), corpus.digests, [*_Row.__struct_fields__], rows,
    )  # fmt: skip
    write_bytes(path, gzip.compress(msgspec.json.encode(table), mtime=0))


def _rows(examples: list[Example], numbers: dict[tuple[str, ...], int]) -> Iterator[_Row]:
    for row in examples:
        sentence = numbers.setdefault(tuple(row.token), len(numbers))
        spans, types = (*row.subject, *row.object), (row.subj_type, row.obj_type)
        yield _Row(row.id, row.relation, sentence, len(row.token), *spans, *types, row.document, row.evidence)


def read_rows(path: Path) -> RowsOnly:
    """The corpus that `write_rows` wrote, without its text. Raises `UserError` if there is none or it is damaged."""
    try:
        table = msgspec.json.decode(gzip.decompress(read_bytes(path)), type=_Table)
        splits = [[_example(row) for row in table.rows[split]] for split in SPLITS]
        whole = all(splits) and set(table.digests) == set(SPLITS)
    except (*UNDECODABLE, EOFError, OSError, zlib.error, KeyError):
        whole = False
    if not whole:
        raise UserError(f"{path}: is damaged; fetch it again, or get the corpus: python -m tacred_utils data get NAME.")
    facts = {name: getattr(table, name) for name in ("gated", "annotator", "subset", "left_out")}
    note = "its text is not at hand: what needs sentences is left out"
    return RowsOnly(table.name, *splits, notes=[*table.notes, note], table=table, **facts)


def _example(row: _Row) -> Example:
    token, spans = [str(row.sentence)] * row.words, (row.subj_start, row.subj_end, row.obj_start, row.obj_end)
    types = row.subj_type, row.obj_type
    return Example(row.id, row.relation, token, *spans, *types, document=row.document, evidence=row.evidence)

"""One row of relation extraction, a corpus of three splits of them, its card, and its rows without their text."""

import gzip
import statistics
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import msgspec

from tacred_utils.ground.errors import UserError
from tacred_utils.ground.files import UNDECODABLE, digest, read_bytes, write_bytes
from tacred_utils.ground.labels import NO_RELATION, SPLITS, TASKS, order_labels, task_classes, task_label
from tacred_utils.ground.paths import DATA

COLUMNS = ("stanford_pos", "stanford_ner", "stanford_head", "stanford_deprel")
SYNTHETIC_PREFIX = "synthetic-"  # ids of generated records start so: the stamp survives copying a folder
UNTYPED = "ENTITY"  # the constant type of a corpus without entity types
# What models read, and so what a corpus' digest is made of: a field for other ends changes no run's identity.
READ = (
    "id", "relation", "token", "subj_start", "subj_end", "obj_start", "obj_end", "subj_type", "obj_type", *COLUMNS,
)  # fmt: skip
ROWS = "rows.json.gz"  # its name, in the folder of a corpus' runs
NO_TEXT = "its text is not at hand: what needs sentences is left out"
FACTS = ("name", "gated", "annotator", "subset", "notes", "left_out", "columns", "digests")  # of the corpus
FIELDS = (  # of a row; `sentence` numbers the distinct sentences of the corpus, `words` is its length
    "id", "relation", "sentence", "words", "subj_start", "subj_end", "obj_start", "obj_end", "subj_type", "obj_type",
    "document", "evidence",
)  # fmt: skip
LONG = 512  # words; no pre-trained encoder of the study reads more in one piece


class Example(msgspec.Struct, frozen=True, gc=False):
    """One sentence with one ordered pair of entities; spans are inclusive, heads are 1-based with 0 for the root."""

    id: str
    relation: str
    token: list[str]
    subj_start: int
    subj_end: int
    obj_start: int
    obj_end: int
    subj_type: str
    obj_type: str
    stanford_pos: list[str] | None = None
    stanford_ner: list[str] | None = None
    stanford_head: list[int] | None = None
    stanford_deprel: list[str] | None = None
    document: str | None = None  # which text the sentence is from, where the corpus tells: what is drawn in a bootstrap
    evidence: bool | None = None  # of a relation: whether annotators found it stated in this very sentence

    @property
    def subject(self) -> tuple[int, int]:
        """Its first and last word."""
        return self.subj_start, self.subj_end

    @property
    def object(self) -> tuple[int, int]:
        """Its first and last word."""
        return self.obj_start, self.obj_end

    @property
    def mentions(self) -> tuple[list[str], list[str]]:
        """The words of subject and object."""
        return tuple(self.token[start : end + 1] for start, end in (self.subject, self.object))


@dataclass(frozen=True)
class Corpus:
    """Three splits of Examples and what is known of them; results are filed under `name`."""

    has_text: ClassVar[bool] = True  # False where only the rows are known (RowsOnly)

    name: str
    train: list[Example]
    dev: list[Example]
    test: list[Example]
    gated: bool = False  # a licensed text: no sentence of it may reach a committed file
    annotator: str = ""  # what predicted the columns that the files lack, empty if nothing did
    subset: str = ""  # a sentence that states the subset, empty for the whole corpus
    notes: list[str] = field(default_factory=list)  # what reading or relabelling had to report
    left_out: Mapping[str, list[str]] = field(default_factory=dict)  # split → gold labels of the rows without spans
    data: Path = field(default=DATA, compare=False)  # as --data-dir gives it: pre-trained models lie there too

    def split(self, name: str) -> list[Example]:
        """The Examples of "train", "dev" or "test", in file order."""
        return {"train": self.train, "dev": self.dev, "test": self.test}[name]

    @cached_property
    def labels(self) -> list[str]:
        """All relations of all splits, `no_relation` first."""
        return order_labels(example.relation for split in SPLITS for example in self.split(split))

    @cached_property
    def synthetic(self) -> bool:
        return self.train[0].id.startswith(SYNTHETIC_PREFIX)

    @cached_property
    def columns(self) -> frozenset[str]:
        """The inputs beyond words: the Stanford columns present, and "types" unless one constant type is all."""
        present = {column for column in COLUMNS if getattr(self.train[0], column) is not None}
        types = {kind for example in self.train for kind in (example.subj_type, example.obj_type)}
        return frozenset(present | ({"types"} if len(types) > 1 else set()))

    @cached_property
    def tasks(self) -> tuple[str, ...]:
        """The tasks this corpus allows: nothing to detect without the negative label, and one class is no choice."""
        allowed = TASKS if NO_RELATION in self.labels else ("relation_only",)
        return tuple(task for task in allowed if len(self.trained(task)) > 1)

    def trained(self, task: str) -> set[str]:
        """The classes of a task that training has rows of."""
        found = {task_label(task, example.relation) for example in self.train}
        return found & {*task_classes(task, self.labels)}

    def in_training(self, split: str) -> list[bool]:
        """For each row of a split, in order, whether its sentence stands in training too, word for word."""
        trained = {tuple(example.token) for example in self.train}
        return [tuple(example.token) in trained for example in self.split(split)]

    @cached_property
    def digests(self) -> dict[str, str]:
        """SHA-256 of each split as the models see it, after relabelling and sub-setting."""
        found = {}
        for split in SPLITS:
            rows = [{name: getattr(row, name) for name in READ} for row in self.split(split)]
            found[split] = digest(msgspec.json.encode(rows))
        return found

    def changed(self, change: Callable[[Example], Example]) -> "Corpus":
        """The same corpus with every row changed."""
        return replace(self, **{split: [*map(change, self.split(split))] for split in SPLITS})

    def noting(self, *sentences: str) -> "Corpus":
        """The same corpus with further notes."""
        return replace(self, notes=[*self.notes, *sentences])


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
        splits = {
            split: [
                Example(identity, relation, [str(sentence)] * words, *places, document=document, evidence=evidence)
                for identity, relation, sentence, words, *places, document, evidence in table["rows"][split]
            ]
            for split in SPLITS
        }
        facts = {name: table[name] for name in FACTS}
    except (*UNDECODABLE, EOFError, OSError, zlib.error, KeyError, TypeError, ValueError):
        again = "fetch it again, or get the corpus: python -m tacred_utils data get NAME"
        raise UserError(f"{path}: is damaged; {again}.") from None
    facts["columns"] = frozenset(facts["columns"])
    return RowsOnly(**facts, **splits).noting(NO_TEXT)


def card(corpus: Corpus) -> str:
    """Sizes, labels, imbalance, lengths, entity types, shared sentences, notes and checksums, as plain text."""
    rows = [row for split in SPLITS for row in corpus.split(split)]
    counts, pairs = Counter(row.relation for row in rows), Counter((row.subj_type, row.obj_type) for row in rows)
    negatives, positives, width = counts[NO_RELATION], len(rows) - counts[NO_RELATION], max(map(len, counts))
    imbalance = f"; no_relation to relations {negatives / positives:.2f} : 1" if positives else ""
    texts = {split: {tuple(row.token) for row in corpus.split(split)} for split in SPLITS}
    lines = [
        f"corpus {corpus.name}" + (" (SYNTHETIC: it demonstrates, it decides nothing)" if corpus.synthetic else ""),
        f"  licensed text: {'yes, no sentence may be published' if corpus.gated else 'no'}",
        "",
        "split        rows  no_relation  sentences  words: median  mean   max",
        *(_split_line(split, corpus.split(split), len(texts[split])) for split in SPLITS),
        "",
        f"labels: {len(corpus.labels)}"
        + (imbalance if negatives else ", without no_relation: only relation_only can be trained"),
        *(f"  {label:<{width}}  {count:>7,}" for label, count in counts.most_common()),
        "",
        f"entity-type pairs (subject, object): {len(pairs)}",
        *(f"  {' - '.join(pair)}  {count:,}" for pair, count in pairs.most_common(10)),
        "",
        f"columns that training lacks: {', '.join(name for name in COLUMNS if name not in corpus.columns) or 'none'}",
        *(
            f"sentences that {one} shares with {other}: {len(texts[one] & texts[other]):,}"
            for one, other in (("dev", "train"), ("test", "train"), ("test", "dev"))
        ),
        *(_documents(split, corpus.split(split)) for split in SPLITS if rows[0].document is not None),
        *(f"note: {note}" for note in [*corpus.notes, *_oddities(rows)]),
        "",
        *(f"sha256 {split}: {digest}" for split, digest in corpus.digests.items()),
    ]
    return "\n".join(lines)


def _split_line(split: str, rows: list[Example], sentences: int) -> str:
    words = [len(row.token) for row in rows]
    negative = sum(row.relation == NO_RELATION for row in rows) / len(rows)
    return (
        f"{split:<6} {len(rows):>10,} {negative:>11.1%} {sentences:>11,} {statistics.median(words):>13.0f} "
        f"{statistics.mean(words):>6.1f} {max(words):>5,}"
    )


def _documents(split: str, rows: list[Example]) -> str:
    documents, related = len({row.document for row in rows}), sum(row.relation != NO_RELATION for row in rows)
    stated = sum(row.evidence is True for row in rows)
    return f"{split}: {documents:,} documents; {stated:,} of {related:,} relations have evidence in their sentence"


def _oddities(rows: list[Example]) -> list[str]:
    """What is allowed yet worth knowing."""
    overlap = sum(row.subj_start <= row.obj_end and row.obj_start <= row.subj_end for row in rows)
    long, blank = (
        sum(map(odd, rows))
        for odd in (lambda row: len(row.token) > LONG, lambda row: not all(map(str.strip, row.token)))
    )
    found = {"records whose subject and object overlap": overlap, f"sentences over {LONG} words": long}
    return [f"{count:,} {what}" for what, count in (found | {"records with blank words": blank}).items() if count]

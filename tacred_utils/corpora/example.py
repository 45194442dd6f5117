"""One row of relation extraction, and a corpus of three splits of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import msgspec

from tacred_utils.ground.files import digest
from tacred_utils.ground.labels import NO_RELATION, SPLITS, TASKS, order_labels, task_classes, task_label
from tacred_utils.ground.paths import DATA

COLUMNS = ("stanford_pos", "stanford_ner", "stanford_head", "stanford_deprel")
SYNTHETIC_PREFIX = "synthetic-"  # ids of generated records start so: the stamp survives copying a folder
UNTYPED = "ENTITY"  # the constant type of a corpus without entity types
# What models read, and so what a corpus' digest is made of: a field for other ends changes no run's identity.
READ = (
    "id", "relation", "token", "subj_start", "subj_end", "obj_start", "obj_end", "subj_type", "obj_type", *COLUMNS,
)  # fmt: skip


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

    has_text: ClassVar[bool] = True  # False where only the rows are known (rows.py)

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

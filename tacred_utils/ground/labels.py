"""Relations, tasks and entity types: the vocabulary that every other module shares."""

import re
from collections.abc import Iterable
from functools import cache

NO_RELATION = "no_relation"
RELATION = "relation"  # the positive class of the detection task

TASKS = ("joint", "detection", "relation_only")

# Rows of TACRED's splits (LDC2018T24; Zhang et al. 2017, Table 2): how a TACRED folder is recognised.
TACRED_SPLIT_SIZES = {"train": 68_124, "dev": 22_631, "test": 15_509}
SPLITS = tuple(TACRED_SPLIT_SIZES)
SCORED = ("dev", "test")  # the splits that a run answers
LABEL_SETS = ("tacred", "tacrev", "retacred")  # whose annotation of TACRED's text


def order_labels(labels: Iterable[str]) -> list[str]:
    """Distinct labels in the study's order: `no_relation` first, then by name."""
    return sorted(set(labels), key=lambda label: (label != NO_RELATION, label))


@cache  # a corpus repeats a few dozen
def is_name(text: str) -> bool:
    """Whether a relation or type is fit to be shown and compared: not empty, nothing invisible, no space around it."""
    return bool(text) and text.isprintable() and text == text.strip()


def task_classes(task: str, labels: Iterable[str]) -> list[str]:
    """The classes a model of this task chooses from, in order, given a corpus' labels."""
    if task == "detection":
        return [NO_RELATION, RELATION]
    ordered = order_labels(labels)
    return [label for label in ordered if label != NO_RELATION] if task == "relation_only" else ordered


def task_label(task: str, relation: str) -> str:
    """The class that a gold relation belongs to under a task (detection folds 41 relations into one)."""
    if task == "detection" and relation != NO_RELATION:
        return RELATION
    return relation


def undirected(label: str) -> str:
    """`per:spouse(e1,e2)` → `per:spouse`; a label without a direction is returned as it is."""
    return label.removesuffix("(e1,e2)").removesuffix("(e2,e1)")


def as_negative(label: str, negative: str) -> str:
    """`no_relation` for the label that a corpus uses in its place, with a direction or without."""
    return NO_RELATION if undirected(label) == undirected(negative) else label


def unnumbered(label: str) -> str:
    """A label without quotation marks around it and without a number in front."""
    return re.sub(r"^\d+\s+", "", label.strip("\"'"))


def likely_negative(labels: Iterable[str]) -> str | None:
    """A label such as others use in place of `no_relation`: NA, Other, None, no_relation(e1,e2), "0 no_relation"."""
    used = re.compile("na|none|other|norelation|norel|no|null|negative|unrelated|nil|nota|0|o")
    letters = {label: re.sub("[^a-z0-9]", "", undirected(unnumbered(label)).lower()) for label in labels}
    return next((label for label in order_labels(letters) if used.fullmatch(letters[label])), None)


def is_directed(label: str) -> bool:
    """Whether the label carries its direction, as SemEval-2010 Task 8 and KBP37 write it."""
    return label.endswith(("(e1,e2)", "(e2,e1)"))

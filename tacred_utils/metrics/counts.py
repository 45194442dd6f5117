"""Every score of the study, from gold and predicted labels.

All scores are functions of `ConfusionCounts`, so that a bootstrap over rows is a multinomial draw over the distinct
(gold, predicted) cells: 1,000 draws over TACRED's test split take a fraction of a second.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import sparse

from tacred_utils.corpora.example import Example
from tacred_utils.ground.errors import UserError
from tacred_utils.ground.labels import NO_RELATION, RELATION, is_directed, order_labels, task_label, undirected

SCORES = (
    "micro_p", "micro_r", "micro_f1", "macro_p", "macro_r", "macro_f1", "macro_f1_relations",
    "weighted_p", "weighted_r", "weighted_f1", "accuracy", "detection_p", "detection_r", "detection_f1",
    "classification_accuracy", "directional_macro_f1",
)  # fmt: skip


@dataclass(frozen=True)
class ConfusionCounts:
    """The counts that every score is a function of. Leading axes, if any, are bootstrap draws."""

    labels: list[str]  # L classes
    correct: np.ndarray  # (..., L) rows of each class that are answered rightly
    gold: np.ndarray  # (..., L)
    predicted: np.ndarray  # (..., L)
    both: np.ndarray  # (...) rows with a relation, right or wrong, in gold and in the prediction
    observed: np.ndarray  # (L,) whether the sample that was drawn from has rows of the class, gold or predicted

    @property
    def precision(self) -> np.ndarray:
        return _ratio(self.correct, self.predicted)  # (..., L)

    @property
    def recall(self) -> np.ndarray:
        return _ratio(self.correct, self.gold)  # (..., L)

    @property
    def f1(self) -> np.ndarray:
        return _ratio(2 * self.correct, self.gold + self.predicted)  # (..., L)

    @property
    def relation(self) -> np.ndarray:
        return np.array([label != NO_RELATION for label in self.labels])  # (L,)

    def scores(self) -> dict[str, np.ndarray]:
        """All scores by name, each of the shape of the leading axes; a ratio without a denominator is 0.

        micro: the official TACRED metric (Zhang et al. 2017), `no_relation` excluded by name. The official script
        prints precision 1 when no relation is predicted at all; here it is 0, and F1 is 0 either way. macro, weighted:
        over all labels, as scikit-learn defines them (mean of the classes' F1). classification_accuracy: share of
        rightly named rows among the gold relations that were detected. A class that a bootstrap draw lost is left out
        of that draw's macro averages: as an F1 of 0 it would pull intervals below their estimate.
        """
        relation = self.relation
        absent = self.observed & (self.gold + self.predicted == 0)  # (..., L) only in draws
        named, true, answered = (counts[..., relation].sum(-1) for counts in (self.correct, self.gold, self.predicted))
        share = _ratio(self.gold, self.gold.sum(-1, keepdims=True))  # (..., L) weights of the weighted average
        by_class = {"p": self.precision, "r": self.recall, "f1": self.f1}
        result = {
            **_precision_recall_f1("micro", named, true, answered),
            **{f"macro_{name}": mean_where(values, ~absent) for name, values in by_class.items()},
            "macro_f1_relations": mean_where(self.f1, ~absent & relation),
            **{f"weighted_{name}": (values * share).sum(-1) for name, values in by_class.items()},
            "accuracy": _ratio(self.correct.sum(-1), self.gold.sum(-1)),
            **_precision_recall_f1("detection", self.both, true, answered),
            "classification_accuracy": _ratio(named, self.both),
        }
        if any(map(is_directed, self.labels)):
            result["directional_macro_f1"] = self._directional()
        return result

    def macro_f1_over(self, classes: np.ndarray) -> np.ndarray:
        """Mean F1 of the classes (L,) that are True and have rows, gold or predicted; 0 where there is none."""
        return mean_where(self.f1, (self.gold + self.predicted > 0) & classes)

    def _directional(self) -> np.ndarray:
        """SemEval-2010 Task 8's score (Hendrickx et al. 2010): macro F1 over relations; a wrong direction is wrong."""
        names = [undirected(label) for label in self.labels]
        relations = [name for name in order_labels(names) if name != NO_RELATION]
        member = np.array([[float(name == relation) for relation in relations] for name in names])  # (L, R)
        rows = (self.gold + self.predicted) @ member  # (..., R)
        absent = (self.observed @ member > 0) & (rows == 0)
        return mean_where(_ratio(2 * self.correct @ member, rows), ~absent)


def encoded(columns: Sequence[Sequence[str]], labels: Sequence[str] | None) -> tuple[list[str], list[np.ndarray]]:
    """The classes, by default all that occur in the columns, and each column as places among them, (rows,).

    Raises `UserError` for no rows, columns of unequal length and a label that is no class.
    """
    labels = order_labels(set().union(*columns)) if labels is None else list(labels)
    codes = [pd.Index(labels).get_indexer(list(column)) for column in columns]
    for column, code in zip(columns, codes, strict=True):
        if len(code) == 0:
            raise UserError("There are no rows to score; give at least one gold and one predicted label.")
        if (code < 0).any():
            unknown = list(column)[int(np.argmax(code < 0))]
            raise UserError(f"Label {unknown!r} is not among the {len(labels)} classes scored; use one label set.")
    if len(lengths := sorted({len(code) for code in codes})) > 1:
        numbers = f"{lengths[0]:,} and {lengths[-1]:,}"
        raise UserError(f"Gold and predicted labels differ in number ({numbers}); give one of each a row.")
    return labels, codes


def confusion_counts(gold: Sequence[str], pred: Sequence[str], labels: Sequence[str] | None = None) -> ConfusionCounts:
    """Gold and predicted labels (rows,) counted; `labels` and errors as in `encoded`."""
    labels, codes = encoded([gold, pred], labels)
    return count_cells(*codes, np.ones(len(codes[0])), labels)


def count_cells(gold: np.ndarray, pred: np.ndarray, weights: np.ndarray, labels: list[str]) -> ConfusionCounts:
    """Counts of K cells (gold and predicted class, as places in `labels`), each seen `weights` times: (..., K)."""
    relation = np.array([label != NO_RELATION for label in labels])
    size = len(labels)
    return ConfusionCounts(
        labels,
        correct=_sum_by(gold, weights * (gold == pred), size),
        gold=_sum_by(gold, weights, size),
        predicted=_sum_by(pred, weights, size),
        both=weights @ (relation[gold] & relation[pred]).astype(float),
        observed=np.isin(np.arange(size), np.concatenate([gold, pred])),
    )


def all_scores(gold: Sequence[str], pred: Sequence[str], labels: Sequence[str] | None = None) -> dict[str, float]:
    """Every score of these rows, name to fraction in 0..1 (`ConfusionCounts.scores`; errors as in `encoded`)."""
    return {name: float(value) for name, value in confusion_counts(gold, pred, labels).scores().items()}


def task_scores(task: str, gold: list[str], predicted: list[str], classes: list[str]) -> dict[str, float]:
    """The scores of a task on the rows that it is scored on; none where there is no such row."""
    rows, true = as_scored(task, gold)
    return all_scores(true, np.asarray(predicted, object)[rows], classes) if len(true) else {}


def as_scored(task: str, gold: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """(rows,) bool, the rows that a task is scored on, and their gold labels as the task has them.

    relation_only is scored on gold relations, the others on all rows; detection folds the relations into one.
    """
    gold = np.asarray(gold, object)
    rows = (gold != NO_RELATION) | (task != "relation_only")
    return rows, np.array([task_label(task, label) for label in gold[rows]], object)


def class_scores(gold: Sequence[str], pred: Sequence[str], labels: Sequence[str] | None = None) -> pd.DataFrame:
    """One row a label: label, precision, recall, f1, support (gold rows), predicted (rows answered so)."""
    counts = confusion_counts(gold, pred, labels)
    return pd.DataFrame({
        "label": counts.labels, "precision": counts.precision, "recall": counts.recall, "f1": counts.f1,
        "support": counts.gold.astype(int), "predicted": counts.predicted.astype(int),
    })  # fmt: skip


def always_no_relation(gold: Sequence[str]) -> list[str]:
    """The trivial system that never finds a relation."""
    return [NO_RELATION] * len(gold)


def majority_by_type_pair(train: Sequence[Example], rows: Sequence[Example]) -> list[str]:
    """The trivial system that answers the most frequent training label of the row's pair of entity types.

    A pair unseen in training gets the most frequent label of all; ties go to the first by name.
    """
    pairs = pd.Series([(row.subj_type, row.obj_type) for row in train])
    relations = pd.Series([row.relation for row in train])
    majority = relations.groupby(pairs).agg(lambda group: group.mode().iloc[0]).to_dict()
    overall = relations.mode().iloc[0]
    return [majority.get((row.subj_type, row.obj_type), overall) for row in rows]


def one_answer_ceiling(gold: Sequence[str], sentences: Sequence[str]) -> float:
    """The highest micro F1 of a system that gives all rows of a sentence one answer, whichever pair is meant.

    With R gold relations, a relation that c of a sentence's n rows have adds c right and n given answers to
    F1 = 2 Σc / (Σn + R), so that sentences are worth answering in the order of c / n, up to some place.
    """
    frame = pd.DataFrame({"sentence": list(sentences), "gold": list(gold)})
    related = frame[frame.gold != NO_RELATION]
    right = related.value_counts().groupby("sentence").max()
    size = frame.groupby("sentence").size()[right.index]
    order = (right / size).sort_values(ascending=False, kind="stable").index
    reached = _ratio(2 * right[order].cumsum(), size[order].cumsum() + len(related))
    return float(reached.max(initial=0))


def is_detection(pred: Sequence[str]) -> bool:
    """Whether predictions answer detection: only `no_relation` and `relation`, and some `relation`."""
    return RELATION in (answers := set(pred)) and answers <= {NO_RELATION, RELATION}


def balanced_rows(gold: Sequence[str], seed: int) -> np.ndarray:
    """The paper's 1 : 1 test protocol (A.1): sorted row numbers, as many relations as `no_relation`.

    The larger side is under-sampled at random without replacement. Scores on such rows flatter precision.
    """
    negative = np.asarray(gold) == NO_RELATION
    sides = [np.flatnonzero(negative), np.flatnonzero(~negative)]
    size, rng = min(map(len, sides)), np.random.default_rng(seed)
    return np.sort(np.concatenate([rng.choice(side, size, replace=False) for side in sides]))


def class_shares(target: np.ndarray, classes: int) -> np.ndarray:
    """(classes,) share of the rows that each class has; of a class without rows, that of half a row."""
    return np.maximum(np.bincount(target, minlength=classes), 0.5) / len(target)


def mean_where(values: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """Mean over the last axis of those values that count; 0 where none does."""
    return _ratio((values * counted).sum(-1), np.asarray(counted.sum(-1)))


def _sum_by(index: np.ndarray, weights: np.ndarray, size: int) -> np.ndarray:
    """Sum the last axis of `weights` (..., K) by `index` (K,) into (..., size)."""
    ones = np.ones(len(index))
    return weights @ sparse.csr_array((ones, (np.arange(len(index)), index)), shape=(len(index), size))


def _precision_recall_f1(name: str, correct: np.ndarray, gold: np.ndarray, predicted: np.ndarray) -> dict:
    ratios = {"p": (correct, predicted), "r": (correct, gold), "f1": (2 * correct, gold + predicted)}
    return {f"{name}_{ratio}": _ratio(*parts) for ratio, parts in ratios.items()}


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part / whole, and 0 where whole is 0."""
    part, whole = np.broadcast_arrays(np.asarray(part, dtype=float), whole)
    return np.divide(part, whole, out=np.zeros(part.shape), where=whole > 0)

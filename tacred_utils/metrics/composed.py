"""Detect, then classify: two models put together into one that answers every row of a split."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from sklearn.metrics import precision_recall_curve

from tacred_utils.ground.errors import UserError
from tacred_utils.ground.labels import NO_RELATION, RELATION


class Composed(NamedTuple):
    """A system that names a relation where its probability of one exceeds a threshold that was chosen on dev."""

    threshold: float
    answers: dict[str, list[str]]  # split → an answer for every row


def compose(p: Mapping[str, np.ndarray], names: Mapping[str, Sequence[str]], dev_gold: Sequence[str]) -> Composed:
    """Probabilities of a relation (rows,) and the names of relations, both by split, put together.

    Every row that is detected is named, whatever its gold label: a false positive costs precision, as it would in use.
    Raises `UserError` when the two do not answer the same rows, and as `best_threshold` does.
    """
    for split in p:
        if len(p[split]) != len(names[split]):
            raise UserError(
                f"detection answers {len(p[split])} rows of {split} and classification {len(names[split])}; "
                "compose two runs on one corpus."
            )
    threshold = best_threshold([label != NO_RELATION for label in dev_gold], p["dev"])
    return Composed(threshold, {split: gate(p[split], names[split], threshold) for split in p})


def gate(p_relation: np.ndarray, names: Sequence[str], threshold: float) -> list[str]:
    """The named relation of every row whose probability (rows,) exceeds the threshold, `no_relation` elsewhere."""
    return [name if p > threshold else NO_RELATION for p, name in zip(p_relation, names, strict=True)]


def p_relation(answers: pd.DataFrame) -> np.ndarray:
    """(rows,) probability of `relation`, from the predictions of a detection run (label_pred and its p)."""
    p = answers["p"].to_numpy(float)
    return np.where(answers["label_pred"] == RELATION, p, 1 - p)


def both_answers(log_probs: np.ndarray, classes: Sequence[str]) -> tuple[np.ndarray, list[str]]:
    """A joint model's (rows,) probability of any relation and best relation by row, of log-probabilities (rows, K).

    These are read to float16's precision, in which they are published: a published run answers as the original does.
    """
    log_probs = log_probs.astype(np.float16).astype(np.float64)
    relations = [place for place, name in enumerate(classes) if name != NO_RELATION]
    best = log_probs[:, relations].argmax(axis=1)  # (rows,)
    p = 1 - np.exp(log_probs[:, list(classes).index(NO_RELATION)])
    return p, [classes[relations[index]] for index in best]


def best_threshold(is_relation: Sequence[bool], p_relation: np.ndarray) -> float:
    """The threshold with the best F1 of `relation`; choose it on dev, never on the split it is reported on.

    It lies half-way between two probabilities that occur. Raises `UserError` when no row is a relation.
    """
    if not np.any(is_relation):
        raise UserError("no row of this split is a relation; a threshold cannot be chosen on it.")
    precision, recall, thresholds = precision_recall_curve(is_relation, p_relation)
    total = precision + recall
    f1 = np.divide(2 * precision * recall, total, out=np.zeros_like(total), where=total > 0)[:-1]
    best = int(f1.argmax())
    below = thresholds[best - 1] if best else 0.0
    middle = (below + thresholds[best]) / 2
    return float(min(middle, np.nextafter(thresholds[best], -1)))  # below it, even where it is 0

"""Detect, then classify: two models put together into one that answers every row of a split."""

from collections.abc import Sequence

import numpy as np
from sklearn.metrics import precision_recall_curve

from tacred_utils.errors import UserError
from tacred_utils.labels import NO_RELATION


def compose(
    detection: np.ndarray, classification: np.ndarray, classes: Sequence[str], threshold: float = 0.5
) -> list[str]:
    """The relation of every row that the first model detects, `no_relation` for the others.

    `detection` is (rows, 2), log-probabilities of `no_relation` and of `relation`; `classification` is (rows,
    R), those of the R relations named in `classes`. A row counts as detected when the probability of
    `relation` exceeds the threshold, whatever its gold label: a false positive is classified too and costs
    precision, as it would in use. Raises `UserError` when the two models do not answer the same rows.
    """
    if len(detection) != len(classification):
        raise UserError(
            f"detection answers {len(detection)} rows and classification {len(classification)}; "
            "compose two runs on one corpus."
        )
    detected = np.exp(detection[:, 1].astype(np.float64)) > threshold  # (rows,)
    best = classification.argmax(axis=1)  # (rows,)
    return [classes[index] if found else NO_RELATION for found, index in zip(detected, best, strict=True)]


def best_threshold(is_relation: Sequence[bool], p_relation: np.ndarray) -> float:
    """The threshold with the best F1 of `relation`; choose it on dev, never on the split it is reported on.

    It lies half-way between two probabilities that occur, so that `p > threshold` is the same as `p >= the
    upper one`. Raises `UserError` when no row is a relation.
    """
    if not np.any(is_relation):
        raise UserError("no row of this split is a relation; a threshold cannot be chosen on it.")
    precision, recall, thresholds = precision_recall_curve(is_relation, p_relation)
    total = precision + recall
    f1 = np.divide(2 * precision * recall, total, out=np.zeros_like(total), where=total > 0)[:-1]
    best = int(f1.argmax())
    below = thresholds[best - 1] if best else 0.0
    return float((below + thresholds[best]) / 2)

"""Detection and classification composed: a truth table, false positives that cost, and the threshold."""

import numpy as np
import pytest

from tacred_utils.decouple import best_threshold, compose
from tacred_utils.errors import UserError
from tacred_utils.labels import NO_RELATION
from tacred_utils.metrics import scores

CLASSES = ["org:founded", "per:spouse"]


def log_probs(rows: list[list[float]]) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.log(np.array(rows, np.float32))


def detections(p_relation: list[float]) -> np.ndarray:
    return log_probs([[1 - p, p] for p in p_relation])


def test_truth_table() -> None:
    classification = log_probs([[0.9, 0.1], [0.2, 0.8]] * 2)
    composed = compose(detections([0.1, 0.1, 0.9, 0.9]), classification, CLASSES)
    assert composed == [NO_RELATION, NO_RELATION, "org:founded", "per:spouse"]


def test_false_positives_are_classified_and_cost_precision() -> None:
    gold = ["per:spouse", "per:spouse", NO_RELATION, NO_RELATION]
    classification = log_probs([[0.1, 0.9]] * 4)
    clean = compose(detections([0.9, 0.9, 0.2, 0.2]), classification, CLASSES)
    planted = compose(detections([0.9, 0.9, 0.8, 0.8]), classification, CLASSES)
    assert planted == ["per:spouse"] * 4
    assert scores(gold, clean)["micro_p"] == 1.0
    assert scores(gold, planted)["micro_p"] == 0.5
    assert scores(gold, planted)["micro_r"] == 1.0


def test_a_missed_relation_stays_missed_whatever_the_classifier_says() -> None:
    assert compose(detections([0.49]), log_probs([[0.0, 1.0]]), CLASSES) == [NO_RELATION]


def test_threshold_moves_the_decision_and_half_is_no_relation() -> None:
    detection, classification = log_probs([[0.5, 0.5], [0.4, 0.6]]), log_probs([[1.0, 0.0]] * 2)
    assert compose(detection, classification, CLASSES) == [NO_RELATION, "org:founded"]
    assert compose(detection, classification, CLASSES, threshold=0.7) == [NO_RELATION] * 2
    assert compose(detection, classification, CLASSES, threshold=0.3) == ["org:founded"] * 2


def test_best_threshold_by_hand() -> None:
    # F1 from the top: 1/1,1/3 → .5; 2/2,2/3 → .8; 2/3,2/3 → .667; 3/4,3/3 → .857 (best); 3/5 → .75
    gold = [True, True, False, True, False]
    chosen = best_threshold(gold, np.array([0.9, 0.8, 0.7, 0.4, 0.2]))
    assert chosen == pytest.approx(0.3)


def test_best_threshold_agrees_with_trying_all() -> None:
    generator = np.random.default_rng(0)
    gold = generator.random(300) < 0.2
    p = np.round(np.clip(0.3 * gold + 0.7 * generator.random(300), 0, 1), 2)  # rounded: with ties

    def f1(threshold: float) -> float:
        detected = p > threshold
        return 2 * (detected & gold).sum() / (detected.sum() + gold.sum())

    assert f1(best_threshold(gold, p)) == pytest.approx(
        max(f1(threshold) for threshold in np.linspace(-0.001, 0.999, 1001))
    )


def test_mistakes_are_one_sentence() -> None:
    with pytest.raises(UserError, match="same|one corpus"):
        compose(detections([0.5]), log_probs([[1.0, 0.0]] * 2), CLASSES)
    with pytest.raises(UserError, match="no row"):
        best_threshold([False, False], np.array([0.1, 0.2]))

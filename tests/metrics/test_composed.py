"""Detection and classification composed: a truth table, false positives that cost, and the threshold."""

import numpy as np
import pandas as pd
import pytest

from tacred_utils.ground.errors import UserError
from tacred_utils.ground.labels import NO_RELATION
from tacred_utils.metrics.composed import best_threshold, both_answers, compose, gate, p_relation
from tacred_utils.metrics.counts import all_scores

CLASSES = ["org:founded", "per:spouse"]


def log_probs(rows: list[list[float]]) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.log(np.array(rows, np.float32))


def detections(p_relation: list[float]) -> np.ndarray:
    return log_probs([[1 - p, p] for p in p_relation])


def answers(detection: np.ndarray, classification: np.ndarray, threshold: float = 0.5) -> list[str]:
    """From log-probabilities (rows, 2) and (rows, 2), at a threshold that is given."""
    named = [CLASSES[index] for index in classification.argmax(axis=1)]
    return gate(np.exp(detection[:, 1].astype(float)), named, threshold)


def test_truth_table() -> None:
    classification = log_probs([[0.9, 0.1], [0.2, 0.8]] * 2)
    composed = answers(detections([0.1, 0.1, 0.9, 0.9]), classification)
    assert composed == [NO_RELATION, NO_RELATION, "org:founded", "per:spouse"]


def test_false_positives_are_classified_and_cost_precision() -> None:
    gold = ["per:spouse", "per:spouse", NO_RELATION, NO_RELATION]
    classification = log_probs([[0.1, 0.9]] * 4)
    clean = answers(detections([0.9, 0.9, 0.2, 0.2]), classification)
    planted = answers(detections([0.9, 0.9, 0.8, 0.8]), classification)
    assert planted == ["per:spouse"] * 4
    assert all_scores(gold, clean)["micro_p"] == 1.0
    assert all_scores(gold, planted)["micro_p"] == 0.5
    assert all_scores(gold, planted)["micro_r"] == 1.0


def test_every_case_of_the_composition_costs_what_the_truth_table_says() -> None:
    """Hit, hit with the wrong name, miss, false alarm, rightly left: counted by hand."""
    gold = ["per:spouse", "per:spouse", "per:spouse", NO_RELATION, NO_RELATION]
    detected = np.array([0.9, 0.9, 0.1, 0.9, 0.1])
    named = ["per:spouse", "org:founded", "per:spouse", "org:founded", "per:spouse"]
    given = gate(detected, named, 0.5)
    assert given == ["per:spouse", "org:founded", NO_RELATION, "org:founded", NO_RELATION]
    found = all_scores(gold, given)
    assert (found["micro_p"], found["micro_r"]) == (pytest.approx(1 / 3), pytest.approx(1 / 3))
    assert (found["detection_p"], found["detection_r"]) == (pytest.approx(2 / 3), pytest.approx(2 / 3))
    assert found["classification_accuracy"] == 0.5
    without = all_scores(gold[:3], given[:3])  # what dropping the false alarm would pretend
    assert without["micro_p"] == 0.5 and without["detection_p"] == 1.0


def test_more_planted_false_positives_cost_more_precision_and_no_recall() -> None:
    gold = ["per:spouse"] * 10 + [NO_RELATION] * 30
    results = []
    for planted in range(0, 31, 10):
        p = np.array([0.9] * 10 + [0.9] * planted + [0.1] * (30 - planted))
        results.append(all_scores(gold, gate(p, ["per:spouse"] * 40, 0.5)))
    assert [result["micro_p"] for result in results] == pytest.approx([1, 10 / 20, 10 / 30, 10 / 40])
    assert {result["micro_r"] for result in results} == {1.0}


def test_the_probability_of_a_relation_is_read_from_predictions() -> None:
    frame = pd.DataFrame({"label_pred": ["relation", NO_RELATION], "p": [0.7, 0.9]})
    assert p_relation(frame) == pytest.approx([0.7, 0.1])


def test_a_joint_model_answers_both_questions_wherever_no_relation_stands() -> None:
    matrix = log_probs([[0.2, 0.5, 0.3], [0.6, 0.3, 0.1]])
    p, names = both_answers(matrix, ["org:founded", NO_RELATION, "per:spouse"])
    assert p == pytest.approx([0.5, 0.7], abs=1e-3) and names == ["per:spouse", "org:founded"]


def test_a_published_matrix_gives_the_same_answers_to_the_last_digit() -> None:
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(500, 6)).astype(np.float32)
    matrix = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    classes = [NO_RELATION, *"abcde"]
    p, names = both_answers(matrix, classes)
    again, same = both_answers(matrix.astype(np.float16).astype(np.float32), classes)
    assert p.tolist() == again.tolist() and names == same
    assert np.mean(np.array(names) == np.array(classes)[1:][matrix[:, 1:].argmax(axis=1)]) > 0.99


def test_the_threshold_is_chosen_on_dev_and_used_on_test() -> None:
    dev_gold = ["per:spouse", NO_RELATION, NO_RELATION]
    p = {"dev": np.array([0.4, 0.3, 0.1]), "test": np.array([0.36, 0.34])}
    relations = {"dev": ["per:spouse"] * 3, "test": ["per:spouse"] * 2}
    system = compose(p, relations, dev_gold)
    assert system.threshold == pytest.approx(0.35)
    assert system.answers == {"dev": dev_gold, "test": ["per:spouse", NO_RELATION]}


def test_a_missed_relation_stays_missed_whatever_the_classifier_says() -> None:
    assert answers(detections([0.49]), log_probs([[0.0, 1.0]])) == [NO_RELATION]


def test_threshold_moves_the_decision_and_half_is_no_relation() -> None:
    detection, classification = log_probs([[0.5, 0.5], [0.4, 0.6]]), log_probs([[1.0, 0.0]] * 2)
    assert answers(detection, classification) == [NO_RELATION, "org:founded"]
    assert answers(detection, classification, threshold=0.7) == [NO_RELATION] * 2
    assert answers(detection, classification, threshold=0.3) == ["org:founded"] * 2


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
    with pytest.raises(UserError, match="one corpus"):
        compose({"dev": np.array([0.5])}, {"dev": ["per:spouse"] * 2}, ["per:spouse"])
    with pytest.raises(UserError, match="no row"):
        best_threshold([False, False], np.array([0.1, 0.2]))

"""Decoding, mixing and calibration of log-probabilities, against scikit-learn and by hand."""

import numpy as np
import pandas as pd
import pytest
from msgspec.structs import replace
from scipy.special import log_softmax
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, log_loss

from tacred_utils.corpora.example import Example
from tacred_utils.ground.errors import UserError
from tacred_utils.ground.labels import NO_RELATION
from tacred_utils.metrics import postprocessing
from tacred_utils.metrics.counts import all_scores
from tacred_utils.metrics.postprocessing import best_threshold, both_answers, compose, gate, p_relation

CLASSES = [NO_RELATION, "per:age", "per:title"]
RNG = np.random.default_rng(0)
GOLD = RNG.choice(CLASSES, 400, p=[0.6, 0.3, 0.1])
TARGET = np.array([CLASSES.index(label) for label in GOLD])
LOGITS = log_softmax(2.0 * np.eye(3)[TARGET] + RNG.normal(0, 1.5, (400, 3)), axis=1)  # (N, K)
NAMED = ["org:founded", "per:spouse"]


def row(relation: str, subject: str, objekt: str) -> Example:
    return Example("id", relation, ["a", "b"], 0, 0, 1, 1, subject, objekt)


def shifted(log_probs: np.ndarray, shift: float) -> np.ndarray:
    return log_softmax(log_probs + shift * np.array([1, 0, 0]), axis=1)


def test_a_mean_of_models_and_the_shares_of_classes():
    prior = postprocessing.log_shares([row(label, "A", "B") for label in GOLD], [*CLASSES, "org:new"])
    assert np.exp(prior[:3]).sum() == pytest.approx(1) and np.exp(prior[3]) == pytest.approx(0.5 / 400)
    other = shifted(LOGITS, -0.7)
    mean = postprocessing.mixed(LOGITS, other, 0.25)
    assert np.allclose(np.exp(mean), 0.25 * np.exp(LOGITS) + 0.75 * np.exp(other))
    assert np.allclose(postprocessing.mixed(LOGITS, other, 0.0), other)
    assert np.allclose(postprocessing.mixed(LOGITS, other, 1.0), LOGITS)


def test_only_relations_that_training_has_with_the_types_are_answered():
    train = [
        row("per:age", "P", "N"),
        row(NO_RELATION, "P", "T"),
        row("per:title", "P", "T"),
        row(NO_RELATION, "P", "P"),
    ]
    rows = [row("", "P", "N"), row("", "P", "T"), row("", "P", "P"), row("", "O", "N")]
    fits = postprocessing.fitting(train, rows, CLASSES)
    assert fits.tolist() == [[True, True, False], [True, False, True], [True, False, False], [True, True, True]]
    log_probs = dict.fromkeys(("dev", "test"), np.log(np.tile([0.2, 0.3, 0.5], (4, 1))))
    score = postprocessing.scorer(["per:age", "per:title", NO_RELATION, "per:title"], CLASSES)
    found = postprocessing.decodings(log_probs, CLASSES, score, np.zeros(3), dict.fromkeys(log_probs, fits), log_probs)
    for way in ("fitting types", "with the SVM, fitting types"):
        answers = postprocessing.most_probable(found[way][1]["test"], CLASSES)
        assert answers == ["per:age", "per:title", NO_RELATION, "per:title"]


def test_what_is_chosen_is_best_on_dev_and_nothing_is_changed_for_nothing():
    assert postprocessing.best([-1.0, 0.5, 0.0, 1.0], lambda option: 1.0) == 0.0
    score = postprocessing.scorer(GOLD, CLASSES)
    matrices = {"dev": shifted(LOGITS, 3.0), "test": LOGITS}
    found = postprocessing.decodings(
        matrices, CLASSES, score, np.log([0.6, 0.3, 0.1]), other={"dev": LOGITS, "test": LOGITS}
    )
    assert set(found) == {"as it answers", "threshold", "adjusted after training", "with the SVM"}
    assert found["threshold"][0] < 0 and found["with the SVM"][0] < 1
    shift, tau = (found[way][0] for way in ("threshold", "adjusted after training"))
    odds = matrices["test"][:, 0] - matrices["test"][:, 1]
    moved, taken = (found[way][1]["test"] for way in ("threshold", "adjusted after training"))
    assert np.allclose(moved[:, 0] - moved[:, 1], odds + shift)
    assert tau > 0 and np.allclose(taken[:, 0] - taken[:, 1], odds - tau * np.log(0.6 / 0.3))
    for option, changed in found.values():
        assert score(changed["dev"]) >= score(matrices["dev"])
        assert (option is None) == all(np.array_equal(changed[split], matrices[split]) for split in matrices)


def test_temperature_is_where_the_log_loss_is_least_and_changes_no_answer():
    hot = 3 * LOGITS
    found = postprocessing.temperature(hot, GOLD, CLASSES)
    losses = {
        t: log_loss(TARGET, np.exp(postprocessing.cooled(hot, t)), labels=[0, 1, 2])
        for t in (found, found * 1.05, found / 1.05)
    }
    assert found > 1.5 and min(losses, key=losses.get) == found
    assert postprocessing.most_probable(postprocessing.cooled(hot, found), CLASSES) == postprocessing.most_probable(
        hot, CLASSES
    )


def test_calibration_is_scikit_learns():
    p, right = postprocessing.confidence(LOGITS), LOGITS.argmax(1) == TARGET
    table = postprocessing.reliability_bins(p, right)
    share, confidence = calibration_curve(right, p, n_bins=10)
    assert np.allclose(table.right, share) and np.allclose(table.confidence, confidence) and table.rows.sum() == 400
    assert ((table.low <= table.right) & (table.right <= table.high)).all()
    by_hand = sum(
        abs(p[own].mean() - right[own].mean()) * own.sum()
        for low in range(10)
        if (own := (p * 10).astype(int) == low).any()
    )
    assert postprocessing.calibration_error(p, right) == pytest.approx(by_hand / 400)
    assert postprocessing.calibration_error(np.array([1.0, 1.0]), np.array([True, True])) == 0
    brier = brier_score_loss(TARGET, np.exp(LOGITS), labels=[0, 1, 2], scale_by_half=False)
    assert postprocessing.brier(LOGITS, GOLD, CLASSES) == pytest.approx(brier)


def test_a_cut_keeps_its_precision_and_equal_confidences_together():
    p, right = np.array([0.9, 0.8, 0.7, 0.7, 0.5]), np.array([1, 1, 1, 0, 1], bool)
    assert postprocessing.cut_at(p, right, 0.75) == 0.5  # 4 of 5
    assert postprocessing.cut_at(p, right, 0.9) == 0.8  # of the two at 0.7 one is wrong
    assert np.isnan(postprocessing.cut_at(p, ~right, 0.9))


def log_probs(rows: list[list[float]]) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.log(np.array(rows, np.float32))


def detections(p_relation: list[float]) -> np.ndarray:
    return log_probs([[1 - p, p] for p in p_relation])


def answers(detection: np.ndarray, classification: np.ndarray, threshold: float = 0.5) -> list[str]:
    """From log-probabilities (rows, 2) and (rows, 2), at a threshold that is given."""
    named = [NAMED[index] for index in classification.argmax(axis=1)]
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


def sentence(identity: str, token: str, subject: tuple[int, int], objekt: tuple[int, int], label: str = "x") -> Example:
    return Example(identity, label, token.split(), *subject, *objekt, "PERSON", "CITY", stanford_head=[0] * 9)


ROWS = [
    sentence("a", "Ann Lee lives in Oslo now .", (0, 1), (4, 4)),
    sentence("b", "Bo Ray left New York .", (0, 1), (3, 4)),
    sentence("c", "In Rome died Cy Fox .", (3, 4), (1, 1)),
    sentence("d", "Rome of Rome .", (0, 2), (2, 2)),  # overlap
]


def test_names_are_exchanged_for_others_of_type_and_length_and_nothing_else_moves():
    given = postprocessing.names(ROWS)
    assert given["PERSON", 2] == [("Ann", "Lee"), ("Bo", "Ray"), ("Cy", "Fox")] and given["CITY", 2] == [
        ("New", "York")
    ]
    changed, done = postprocessing.renamed(ROWS, given, 3)
    assert done.tolist() == [True, False, True, False]  # of New York there is no other; the last overlaps
    assert changed[1] is ROWS[1] and changed[3] is ROWS[3]
    for old, new in zip(ROWS, changed, strict=True):
        assert replace(new, token=old.token) == old and len(new.token) == len(old.token)
    assert changed[0].token[4] == "Rome" and changed[0].token[:2] in (["Bo", "Ray"], ["Cy", "Fox"])
    assert changed[0].token[2:4] == ["lives", "in"]
    assert postprocessing.renamed(ROWS, given, 3)[0] == changed and ROWS[0].token[0] == "Ann"


def test_unseen_names_are_not_those_of_training_in_any_writing():
    shout = replace(ROWS[0], token=["ANN", "LEE", *ROWS[0].token[2:]])
    unseen = postprocessing.names(ROWS, without=[shout])
    assert ("Ann", "Lee") not in unseen["PERSON", 2] and ("CITY", 1) in unseen and ("Oslo",) not in unseen["CITY", 1]


def test_systems_agree_on_one_answer_other_than_the_label():
    answers = pd.DataFrame({"s": ["a", "b", "c"], "t": ["a", "b", "a"], "u": ["a", "c", "c"]}, index=["i", "j", "k"])
    found = postprocessing.agreed_against(answers, ["a", "a", "a"])
    assert (
        found.systems.tolist() == [0, 2, 2]
        and found.answer.tolist()[1:] == ["b", "c"]
        and pd.isna(found.answer.iloc[0])
    )

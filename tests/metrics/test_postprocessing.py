"""Decoding, mixing and calibration of log-probabilities, against scikit-learn and by hand."""

import numpy as np
import pytest
from scipy.special import log_softmax
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, log_loss

from tacred_utils.corpora.example import Example
from tacred_utils.ground.labels import NO_RELATION
from tacred_utils.metrics import postprocessing

CLASSES = [NO_RELATION, "per:age", "per:title"]
RNG = np.random.default_rng(0)
GOLD = RNG.choice(CLASSES, 400, p=[0.6, 0.3, 0.1])
TARGET = np.array([CLASSES.index(label) for label in GOLD])
LOGITS = log_softmax(2.0 * np.eye(3)[TARGET] + RNG.normal(0, 1.5, (400, 3)), axis=1)  # (N, K)


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

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


def test_each_way_to_decode_does_what_it_says():
    shifted = postprocessing.shifted(LOGITS, CLASSES, -0.7)
    odds = LOGITS[:, 0] - LOGITS[:, 1]
    assert np.allclose(shifted[:, 0] - shifted[:, 1], odds - 0.7) and np.allclose(np.exp(shifted).sum(1), 1)
    prior = postprocessing.log_shares([row(label, "A", "B") for label in GOLD], [*CLASSES, "org:new"])
    assert np.exp(prior[:3]).sum() == pytest.approx(1) and np.exp(prior[3]) == pytest.approx(0.5 / 400)
    adjusted = postprocessing.adjusted(LOGITS, prior[:3], 1.0)
    assert np.allclose(adjusted, log_softmax(np.log(np.exp(LOGITS) / np.exp(prior[:3])), axis=1))
    mean = postprocessing.mixed(LOGITS, shifted, 0.25)
    assert np.allclose(np.exp(mean), 0.25 * np.exp(LOGITS) + 0.75 * np.exp(shifted))
    assert np.allclose(postprocessing.mixed(LOGITS, shifted, 0.0), shifted)
    assert np.allclose(postprocessing.mixed(LOGITS, shifted, 1.0), LOGITS)


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
    log_probs = np.log(np.tile([0.2, 0.3, 0.5], (4, 1)))
    narrow = postprocessing.restricted(log_probs, fits)
    assert postprocessing.most_probable(narrow, CLASSES) == ["per:age", "per:title", NO_RELATION, "per:title"]
    assert np.exp(narrow).sum(1) == pytest.approx(1) and np.exp(narrow[0, 1]) == pytest.approx(0.6)


def test_what_is_chosen_is_best_on_dev_and_nothing_is_changed_for_nothing():
    assert postprocessing.best([-1.0, 0.5, 0.0, 1.0], lambda option: 1.0) == 0.0
    score = postprocessing.scorer(GOLD, CLASSES)
    matrices = {"dev": postprocessing.shifted(LOGITS, CLASSES, 3.0), "test": LOGITS}
    found = postprocessing.decodings(
        matrices, CLASSES, score, np.log([0.6, 0.3, 0.1]), other={"dev": LOGITS, "test": LOGITS}
    )
    assert set(found) == {"as it answers", "threshold", "adjusted after training", "with the SVM"}
    assert found["threshold"][0] < 0 and found["with the SVM"][0] < 1
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

"""Intervals against other ways to get them, paired differences, clusters, seeds, and Holm's correction."""

import numpy as np
import pytest
from scipy.stats import ttest_ind

from tacred_utils.corpora.example import Example
from tacred_utils.metrics import counts, estimates
from tacred_utils.metrics.estimates import Clusters, Estimate

NONE, A, B = "no_relation", "per:age", "per:title"


def of_one(gold, pred, score="micro_f1", **options) -> Estimate:
    return estimates.score_estimates(gold, [[pred]], score, **options)[0]


def difference(gold, one, other, score="micro_f1", clusters=None) -> Estimate:
    """The second run minus the first, on the same draws."""
    first, second = estimates.score_estimates(gold, [[one], [other]], score, clusters=clusters)
    return second - first


def test_bootstrap_is_the_basic_one_over_rows():
    rng = np.random.default_rng(0)
    gold = rng.choice([NONE, A, B], 600)
    pred = np.where(rng.random(600) < 0.7, gold, NONE)
    found = of_one(gold, pred, "accuracy", draws=4000)
    p = found.value
    assert p == counts.all_scores(gold, pred)["accuracy"] and (found.n, found.unit) == (600, "rows")
    half = 1.96 * np.sqrt(p * (1 - p) / 600)  # the binomial's normal approximation
    assert found.high - found.low == pytest.approx(2 * half, rel=0.05)
    rows = [rng.integers(600, size=600) for _ in range(1000)]
    drawn = [counts.all_scores(gold[row], pred[row])["micro_f1"] for row in rows]
    micro = of_one(gold, pred, draws=4000)
    high, low = 2 * micro.value - np.quantile(drawn, [0.025, 0.975])
    assert (micro.low, micro.high) == pytest.approx((low, high), abs=0.01)
    assert micro.row == of_one(gold, pred, draws=4000).row


def test_where_draws_lean_the_interval_leans_the_other_way():
    """Draws of a spread over classes lie above it; the percentile interval would miss the value that it is for."""
    leaning = np.random.default_rng(0).normal(0.3, 0.02, 4000)
    found = Estimate.from_draws(0.27, leaning, 100, "rows")
    assert found.low < 0.24 < found.value and found.high < np.quantile(leaning, 0.975)
    assert (found.low + found.high) / 2 == pytest.approx(0.27 - 0.03, abs=0.002)


def test_a_paired_difference_sees_a_real_difference_and_no_other():
    rng = np.random.default_rng(2)
    gold = rng.choice([NONE, A, B], 500)
    worse, better = (np.where(rng.random(500) < share, gold, NONE) for share in (0.5, 0.8))
    found = difference(gold, worse, better, "micro_f1")
    assert found.low > 0.1 and found.p_value() == pytest.approx(2 / 1001)
    assert found.low < found.value < found.high and found.p_value(found.value) > 0.8
    swapped = difference(gold, better, worse, "micro_f1")
    assert swapped.value == -found.value and swapped.p_value() == found.p_value()
    same = difference(gold, better, better, "macro_f1")
    assert same.row == {"value": 0, "low": 0, "high": 0, "p_value": 1, "n": 500, "unit": "rows"}


def test_pairing_narrows_the_interval():
    """Rows that both systems share must cancel: an unpaired test would be far wider."""
    rng = np.random.default_rng(4)
    gold = rng.choice([NONE, A], 2000)
    first = np.where(rng.random(2000) < 0.7, gold, NONE)
    second = np.where(np.arange(2000) < 20, gold, first)
    found = difference(gold, first, second, "accuracy")
    alone = of_one(gold, first, "accuracy")
    assert found.high - found.low < (alone.high - alone.low) / 5
    assert found.parts == (alone.value + found.value, pytest.approx(alone.value))


def test_resample_keeps_the_number_of_rows_and_gives_class_scores():
    drawn = estimates.resample([A, A, B, NONE], [[A, B, B, NONE], [A, A, A, A]], draws=7)
    assert all(np.all(counts.gold.sum(-1) == 4) and counts.f1.shape == (7, 3) for counts in drawn)
    assert np.array_equal(drawn[0].gold, drawn[1].gold)  # the same rows for both systems


def test_intervals_hold_their_estimate_though_draws_lose_classes():
    """Sixty classes of two rows each: a draw loses many, and counting them as F1 0 would push the interval away."""
    gold = [f"r{i // 2}" for i in range(120)]
    pred = [label if index % 3 else "r0" for index, label in enumerate(gold)]
    for score in ("micro_f1", "macro_f1", "macro_f1_relations"):
        found = of_one(gold, pred, score)
        assert found.low <= found.value <= found.high and of_one(gold, gold, score).low == pytest.approx(1)


def test_rows_of_one_cluster_are_drawn_together():
    """Copies of a row are no further evidence: with clusters the interval is that of the rows without copies."""
    rng = np.random.default_rng(3)
    gold = rng.choice([NONE, A, B], 150)
    one, two = (np.where(rng.random(150) < share, gold, NONE) for share in (0.6, 0.75))
    copied = [np.repeat(column, 8).tolist() for column in (gold, one, two)]
    plain = difference(gold, one, two, clusters=Clusters.of(range(150)))
    again = difference(*copied, clusters=Clusters.of(np.repeat(np.arange(150), 8)))
    assert again.row == pytest.approx(plain.row) and (again.n, again.unit) == (150, "sentences")
    rows = difference(gold, one, two)
    assert plain.high - plain.low == pytest.approx(rows.high - rows.low, rel=0.15)
    narrow = difference(*copied)
    assert narrow.high - narrow.low < 0.5 * (plain.high - plain.low)


def test_the_document_is_the_unit_where_every_row_names_one_else_the_sentence():
    rows = [Example(str(n), A, words.split(), 0, 0, 1, 1, "P", "P") for n, words in enumerate(["a b", "c d", "a b"])]
    assert (found := estimates.clusters_of(rows)).unit == "sentences" and found.codes.tolist() == [0, 1, 0]
    named = [Example(str(n), A, ["a", "b"], 0, 0, 1, 1, "P", "P", document=f"d{n // 2}") for n in range(4)]
    assert (found := estimates.clusters_of(named)).unit == "documents" and found.codes.tolist() == [0, 0, 1, 1]
    assert estimates.clusters_of([*named, *rows]).unit == "sentences"
    part = found[np.array([False, False, True, True])]
    assert part.size == 1 and part.codes.tolist() == [0, 0]


def test_three_seeds_are_held_apart_by_students_t():
    """Seeds alone: where every test row says the same, the interval must be Welch's, not that of three resampled."""
    rng = np.random.default_rng(5)
    one, other = rng.normal(0.60, 0.010, 3), rng.normal(0.58, 0.012, 3)
    still = [
        Estimate.from_draws(values.mean(), np.full(20_000, values.mean()), 9, "rows", ((values.var(ddof=1) / 3, 2),))
        for values in (one, other)
    ]
    found, welch = still[0] - still[1], ttest_ind(one, other, equal_var=False)
    expected = welch.confidence_interval()
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=0.03)
    assert found.p_value() == pytest.approx(welch.pvalue, rel=0.1)


def test_an_estimate_over_seeds_covers_rows_and_seeds():
    rng = np.random.default_rng(1)
    gold = rng.choice([NONE, A, B], 400)
    good, bad = (np.where(rng.random(400) < share, gold, NONE) for share in (0.9, 0.6))
    both, alone = (estimates.score_estimates(gold, [system], "micro_f1")[0] for system in ([good, bad], [good]))
    assert both.value == pytest.approx(np.mean([counts.all_scores(gold, each)["micro_f1"] for each in (good, bad)]))
    assert both.high - both.low > 2 * (alone.high - alone.low)


def test_over_seeds_gives_mean_and_range():
    table = estimates.over_seeds([{"micro_f1": 0.4}, {"micro_f1": 0.6}, {"micro_f1": 0.56}])
    assert table.loc["micro_f1"].tolist() == [pytest.approx(0.52), 0.4, 0.6, 3]


def test_what_is_known_by_its_interval_alone_has_a_p_value_too():
    assert Estimate(0.1, 0.1 - 1.96 * 0.05, 0.1 + 1.96 * 0.05).p_value(0.0) == pytest.approx(0.0455, abs=1e-3)
    assert [Estimate(0.1, 0.05, 0.15, unit="rounding").p_value(edge) for edge in (0.0, 0.12)] == [0, 1]
    assert [Estimate(3, 3, 3).p_value(edge) for edge in (2, 3)] == [0, 1]


def test_holm_corrects_for_the_number_of_tests():
    assert estimates.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert estimates.holm([0.6, 0.9]).tolist() == [1, 1] and estimates.holm([]).tolist() == []

"""Groups of rows and their scores: hand-made cases, empty groups, absent classes, and what standardising does."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from tacred_utils.corpora.example import Example
from tacred_utils.ground.labels import NO_RELATION
from tacred_utils.metrics import counts, groups
from tacred_utils.metrics.estimates import Clusters
from tacred_utils.metrics.groups import Bins

LABELS = [NO_RELATION, "a", "b", "c"]


def example(words: int, subj: tuple[int, int], obj: tuple[int, int]) -> Example:
    return Example("x", "a", ["w"] * words, *subj, *obj, "PERSON", "CITY")


def random_rows(rows: int = 400, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gold labels, answers that are right in 7 of 10 rows, and a length for each row."""
    rng = np.random.default_rng(seed)
    gold = rng.choice(LABELS, rows, p=[0.7, 0.15, 0.1, 0.05])
    pred = np.where(rng.random(rows) < 0.7, gold, rng.choice(LABELS, rows))
    return gold, pred, rng.integers(3, 60, rows)


def scores_of(gold, pred, bins: Bins, labels: list[str], draws: int, **options) -> dict[str, np.ndarray]:
    return groups.drawn_scores(gold, {"system": pred}, bins, labels, draws, **options)["system"]


def test_what_is_measured_of_a_sentence():
    assert groups.sentence_length(example(9, (0, 0), (1, 1))) == 9
    spans = [((0, 1), (5, 6)), ((5, 6), (0, 1)), ((0, 3), (2, 5)), ((0, 3), (4, 5))]
    assert [groups.entity_distance(example(9, *pair)) for pair in spans] == [3, 3, 0, 0]
    assert groups.type_pair(example(9, (0, 0), (1, 1))) == "PERSON → CITY"


def test_groups_are_of_equal_size_and_never_tear_equal_values():
    bins = groups.by_size(range(1, 101), 5)
    assert bins.sizes.tolist() == [20] * 5 and bins.names[0] == "1: 1–20" and bins.names[-1] == "5: 81–100"
    tied = groups.by_size([3] * 50 + [4] * 10 + [9] * 40, 5)
    assert len(tied) == 5 and tied.sizes.sum() == 100
    assert {len(set(tied.codes[start:end])) for start, end in ((0, 50), (50, 60), (60, 100))} == {1}
    assert any("empty" in name for name in tied.names) and len(set(tied.names)) == 5
    assert groups.by_size([7, 7, 7]).sizes.tolist() == [3, 0, 0, 0, 0]


def test_contents_say_rows_positives_and_classes_of_empty_groups_too():
    frame = groups.bin_contents([NO_RELATION, "a", "b", "b"], Bins(["one", "two", "three"], np.array([0, 0, 2, 2])))
    assert frame.rows.tolist() == [2, 0, 2] and frame.positives.tolist() == [1, 0, 2]
    assert frame.classes.tolist() == [2, 0, 1]


def test_scores_of_a_group_are_those_of_its_rows_alone():
    gold, pred, length = random_rows()
    bins = groups.by_size(length)
    drawn = scores_of(gold, pred, bins, LABELS, draws=50)
    for place in range(5):
        rows = bins.codes == place
        expected = counts.all_scores(gold[rows], pred[rows], LABELS)
        assert drawn["micro_f1"][0, place] == pytest.approx(expected["micro_f1"])
        macro = f1_score(gold[rows], pred[rows], average="macro", zero_division=0)
        assert drawn["macro_f1"][0, place] == pytest.approx(macro)
    assert drawn["micro_f1"].shape == (51, 5)
    frame = groups.group_summary(drawn["micro_f1"], bins)
    assert (frame.low <= frame.value).all() and (frame.value <= frame.high).all() and (frame.low < frame.high).all()


def test_classes_that_a_group_lacks_are_left_out_of_its_macro_average():
    bins = Bins(["one", "two"], np.array([0, 0, 0, 1, 1]))
    gold, pred = ["a", "a", "b", "a", "a"], ["a", "a", "b", "a", "a"]  # no row is wrong; "two" lacks b, both lack c
    assert scores_of(gold, pred, bins, ["a", "b", "c"], draws=20)["macro_f1"][0].tolist() == [1, 1]


def test_a_class_answered_in_vain_counts_where_gold_or_answered_ones_do():
    drawn = scores_of(["a", "a"], ["a", "b"], Bins(["one"], np.array([0, 0])), ["a", "b"], draws=5)
    assert drawn["macro_f1"][0, 0] == pytest.approx(1 / 3)


def test_empty_groups_have_no_score_and_stop_nothing():
    gold, pred, _ = random_rows(60)
    bins = Bins(["one", "none", "two"], np.repeat([0, 2], 30))
    drawn = scores_of(gold, pred, bins, LABELS, draws=20)
    assert np.isnan(drawn["macro_f1"][:, 1]).all() and np.isfinite(drawn["macro_f1"][:, [0, 2]]).all()
    last = groups.last_against_others(drawn["macro_f1"], bins)
    assert last.value == pytest.approx(drawn["macro_f1"][0, 2] - drawn["macro_f1"][0, 0])
    assert np.isfinite(groups.same_mix(bins, gold)).all()
    assert 0 < groups.spread_by_chance(gold, pred, bins, LABELS, 50)["p_value"] <= 1
    single = scores_of(gold, pred, Bins(["all", "none"], np.zeros(60, int)), LABELS, draws=5)
    assert np.isnan(groups.last_against_others(single["macro_f1"], Bins(["all", "none"], np.zeros(60, int))).value)


def test_a_planted_fall_in_the_last_group_is_found():
    gold, pred, length = random_rows(2000)
    bins = groups.by_size(length)
    worse = np.where(bins.codes == 4, np.random.default_rng(1).choice(LABELS, len(gold)), pred)
    assert groups.spread_by_chance(gold, worse, bins, LABELS, 200)["p_value"] == pytest.approx(1 / 201)
    assert groups.last_against_others(scores_of(gold, worse, bins, LABELS, 200)["macro_f1"], bins).high < 0


def test_where_length_does_nothing_the_permutation_test_seldom_says_otherwise():
    found = []
    for seed in range(40):
        gold, pred, length = random_rows(400, seed)
        found.append(groups.spread_by_chance(gold, pred, groups.by_size(length), LABELS, 100)["p_value"])
    assert np.mean(np.array(found) <= 0.05) < 0.2 and 0.3 < np.mean(found) < 0.7  # uniform p values: 0.05 and 0.5


def test_a_fall_that_comes_from_the_label_mix_goes_when_the_mix_is_held_equal():
    rng = np.random.default_rng(2)
    right = {NO_RELATION: 0.95, "a": 0.4}  # of either class in every group: length itself does nothing
    gold = np.concatenate([rng.choice([NO_RELATION, "a"], 1500, p=mix) for mix in ((0.5, 0.5), (0.95, 0.05))])
    other = {NO_RELATION: "a", "a": NO_RELATION}
    pred = np.array([label if rng.random() < right[label] else other[label] for label in gold])
    bins, labels = Bins(["short", "long"], np.repeat([0, 1], 1500)), [NO_RELATION, "a"]
    raw = groups.last_against_others(scores_of(gold, pred, bins, labels, 300)["micro_f1"], bins)
    weights = groups.same_mix(bins, gold)
    held = groups.last_against_others(scores_of(gold, pred, bins, labels, 300, weights=weights)["micro_f1"], bins)
    assert raw.high < 0 and held.low < 0 < held.high


def test_standardised_groups_have_the_mix_of_all_rows_and_drop_what_some_group_lacks():
    gold = np.array(["a", "a", "b", "a", "b", "b", "b", "c"])
    bins = Bins(["one", "two", "empty"], np.array([0, 0, 0, 1, 1, 1, 1, 1]))
    weights = groups.same_mix(bins, gold)
    mixes = [{name: weights[(bins.codes == place) & (gold == name)].sum() for name in "abc"} for place in (0, 1)]
    shares = [{name: value / sum(mix.values()) for name, value in mix.items()} for mix in mixes]
    assert shares[0] == pytest.approx(shares[1]) and shares[0]["c"] == 0
    assert shares[0]["a"] == pytest.approx(3 / 7)


def test_a_group_without_weight_has_no_score_and_is_not_mistaken_for_another():
    gold, pred, length = random_rows(100)
    bins = groups.by_size(length)
    drawn = scores_of(gold, pred, bins, LABELS, 20, weights=(bins.codes < 4).astype(float))["macro_f1"]
    assert np.isnan(drawn[:, 4]).all() and np.isfinite(drawn[:, :4]).all()
    assert np.isnan(groups.last_against_others(drawn, bins).value)
    first = scores_of(gold, pred, bins, LABELS, 20, weights=(bins.codes > 0).astype(float))["macro_f1"]
    assert groups.last_against_others(first, bins).value == pytest.approx(first[0, 4] - first[0, 1:4].mean())
    assert np.isnan(scores_of(gold, pred, bins, LABELS, 5, weights=np.zeros(100))["macro_f1"]).all()


def test_weights_that_are_one_change_nothing():
    gold, pred, length = random_rows(100)
    bins = groups.by_size(length)
    plain, weighted = (scores_of(gold, pred, bins, LABELS, 30, weights=weights) for weights in (None, np.ones(100)))
    assert all(np.allclose(plain[name], weighted[name], equal_nan=True) for name in plain)


def test_rows_of_one_sentence_are_drawn_and_shuffled_together():
    """Ten copies of every row say no more than the row: intervals and p values must stay what they are."""
    gold, pred, length = random_rows(200)
    bins, sentence = groups.by_size(length), np.arange(200)
    many = Bins(bins.names, np.repeat(bins.codes, 10))
    copies = [np.repeat(column, 10) for column in (gold, pred, sentence)]
    plain = scores_of(gold, pred, bins, LABELS, 300)["accuracy"]
    cheating = scores_of(*copies[:2], many, LABELS, 300)["accuracy"]
    honest = scores_of(*copies[:2], many, LABELS, 300, clusters=Clusters.of(copies[2]))["accuracy"]
    assert honest.std(axis=0) == pytest.approx(plain.std(axis=0), rel=0.01)
    assert (cheating.std(axis=0) < 0.5 * plain.std(axis=0)).all()
    test = groups.spread_by_chance(gold, pred, bins, LABELS, 200)
    assert groups.spread_by_chance(*copies[:2], many, LABELS, 200, clusters=Clusters.of(copies[2])) == pytest.approx(
        test
    )
    assert groups.spread_by_chance(*copies[:2], many, LABELS, 200)["chance"] < 0.6 * test["chance"]


def test_a_cluster_in_two_groups_cannot_be_shuffled():
    with pytest.raises(ValueError, match="several groups"):
        groups.spread_by_chance(
            ["a", "a"], ["a", "a"], Bins(["x", "y"], np.array([0, 1])), ["a"], 5, clusters=Clusters.of(["s", "s"])
        )


def test_frequency_groups_hold_every_relation_of_the_split_once():
    gold, pred, _ = random_rows(500)
    train = ["a"] * 90 + ["b"] * 30 + ["c"] * 2 + [NO_RELATION] * 50
    frame = groups.f1_by_frequency(gold, pred, train, [*LABELS, "unseen"], parts=3, draws=20)
    assert frame.bin.tolist() == ["1: 2–2", "2: 30–30", "3: 90–90"] and frame.classes.tolist() == [1, 1, 1]
    by_class = counts.class_scores(gold, pred, LABELS).set_index("label")
    assert frame.value.tolist() == pytest.approx(by_class.f1[["c", "b", "a"]].tolist())
    few = groups.f1_by_frequency(gold, pred, train, LABELS, parts=5, draws=20)
    assert len(few) == 5 and few.value.isna().sum() == 2
    assert groups.f1_by_frequency([NO_RELATION], [NO_RELATION], train, LABELS).empty

"""Scores against hand-worked cases, scikit-learn and the figures published for TACRED's test split."""

import time
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import precision_recall_fscore_support

from tacred_utils.corpora.example import Example
from tacred_utils.corpora.formats import read_patch
from tacred_utils.ground.errors import UserError
from tacred_utils.metrics import counts
from tacred_utils.runs.predictions import read_predictions, score_file

NONE, A, B = "no_relation", "per:age", "per:title"

# micro P, R, F1 · macro F1 (42) · weighted F1 · detection F1 · classification accuracy, in per cent
PUBLISHED = {
    "knowbert_wordnet_wiki_tacred_test.txt": (71.4, 71.6, 71.5, 58.4, 88.4, 75.5, 94.7),
    "spanbert_tacred_test.txt": (70.8, 70.9, 70.8, 57.0, 88.2, 74.6, 95.0),
    "tre_tacred_test.txt": (70.1, 65.0, 67.4, 51.8, 86.8, 71.1, 94.9),
    "self_att_bert_cased_test.jsonl": (69.2, 64.7, 66.9, 50.4, 86.7, 71.7, 93.2),
    "gcn_bert_uncased_test.jsonl": (68.7, 64.0, 66.3, 47.4, 86.3, 71.2, 93.1),
    "bilstm_bert_cased_test.jsonl": (68.3, 64.0, 66.1, 46.5, 86.3, 71.5, 92.4),
    "cnn_wo_discr_masked_test.jsonl": (67.2, 53.5, 59.5, 38.5, 83.5, 63.0, 94.5),
    "lstm_wo_discr_masked_test.jsonl": (63.4, 51.7, 57.0, 35.9, 83.7, 66.3, 86.0),
    "bert_joint_test.jsonl": (47.6, 54.2, 50.7, 41.3, 80.6, 63.2, 80.1),
}
PRINTED = (
    "micro_p", "micro_r", "micro_f1", "macro_f1", "weighted_f1", "detection_f1", "classification_accuracy",
)  # fmt: skip
TACREV_MICRO_F1 = {
    "knowbert_wordnet_wiki_tacred_test.txt": 79.3,
    "spanbert_tacred_test.txt": 78.0,
    "tre_tacred_test.txt": 75.3,
    "bert_joint_test.jsonl": 56.1,
}


@pytest.fixture
def tacred(data_dir):
    """name → frame of id, label_true, label_pred on TACRED's test split."""
    results = data_dir / "tacrev" / "test_results"
    gold = results / "bilstm_bert_cased_test.jsonl"
    if not gold.is_file():
        pytest.skip("TACREV's published predictions are absent")

    def read(name: str):
        folder = data_dir / "authors" if name == "bert_joint_test.jsonl" else results
        return read_predictions(folder / name, gold if name.endswith(".txt") else None)

    return read


def test_every_score_of_a_hand_worked_case():
    #       right  wrong  missed  found  right
    gold = [A, A, B, NONE, NONE]
    pred = [A, B, NONE, B, NONE]
    expected = {
        "micro_p": 1 / 3, "micro_r": 1 / 3, "micro_f1": 1 / 3,
        "macro_p": (1 + 0 + 1 / 2) / 3, "macro_r": (1 / 2 + 0 + 1 / 2) / 3,
        "macro_f1": (2 / 3 + 0 + 1 / 2) / 3,
        "macro_f1_relations": 1 / 3,
        "weighted_p": (2 * 1 + 1 * 0 + 2 / 2) / 5, "weighted_r": 2 / 5,
        "weighted_f1": (2 * 2 / 3 + 2 / 2) / 5,
        "accuracy": 2 / 5, "detection_p": 2 / 3, "detection_r": 2 / 3, "detection_f1": 2 / 3,
        "classification_accuracy": 1 / 2,
    }  # fmt: skip
    assert counts.scores(gold, pred) == pytest.approx(expected)
    assert list(expected) == list(counts.SCORES[:-1])


def test_no_relation_predicted_scores_zero_without_warnings(recwarn):
    found = counts.scores([A, B, NONE, NONE], counts.always_no_relation("four"))
    zero = [name for name in found if name.startswith(("micro", "detection", "classification"))]
    assert all(found[name] == 0 for name in zero) and len(zero) == 7
    assert found["macro_f1"] == pytest.approx((2 * 2 / (4 + 2)) / 3) and found["accuracy"] == 0.5
    assert not recwarn.list


def test_only_no_relation_in_gold_and_prediction():
    found = counts.scores([NONE] * 3, [NONE] * 3)
    assert found["accuracy"] == found["macro_f1"] == found["weighted_f1"] == 1
    assert found["micro_f1"] == found["macro_f1_relations"] == found["detection_f1"] == 0


def test_corpus_without_no_relation_counts_every_class():
    found = counts.scores([A, A, B], [A, B, B])
    assert found["micro_f1"] == found["accuracy"] == found["classification_accuracy"] == pytest.approx(2 / 3)
    assert found["macro_f1"] == found["macro_f1_relations"] == pytest.approx(2 / 3)
    assert found["detection_f1"] == 1


def test_a_label_of_the_fixed_list_that_never_occurs_counts_as_zero_in_macro():
    two, three = (counts.scores([A, NONE], [A, NONE], labels)["macro_f1"] for labels in ([NONE, A], [NONE, A, B]))
    assert (two, three) == (1, pytest.approx(2 / 3))


@pytest.mark.parametrize(
    ("gold", "pred", "labels", "words"),
    [
        ([A], [B], [A, NONE], "per:title"),
        ([], [], None, "no rows"),
        ([A, B], [A], None, "2"),
        ([A], [None], [A], "None"),
    ],
)
def test_what_cannot_be_scored_is_refused(gold, pred, labels, words):
    with pytest.raises(UserError, match=words):
        counts.scores(gold, pred, labels)


def test_directional_macro_f1_follows_semeval():
    #       right      wrong direction        right      false alarm
    gold = ["x(e1,e2)", "x(e1,e2)", "y(e2,e1)", NONE, NONE]
    pred = ["x(e1,e2)", "x(e2,e1)", "y(e2,e1)", "y(e1,e2)", NONE]
    # x: 1 right of 2 gold and 2 answers → 1/2; y: 1 right of 1 gold and 2 answers → 2/3
    assert counts.scores(gold, pred)["directional_macro_f1"] == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert "directional_macro_f1" not in counts.scores([A, NONE], [A, NONE])


def test_agrees_with_scikit_learn_on_random_rows():
    rng = np.random.default_rng(3)
    labels = [NONE, *(f"r{number}" for number in range(12))]
    gold, pred = rng.choice(labels, 400), rng.choice(labels[:-2], 400)
    found = counts.scores(gold, pred, labels)
    for average, kept in (("micro", labels[1:]), ("macro", labels), ("weighted", labels)):
        expected = precision_recall_fscore_support(gold, pred, labels=kept, average=average, zero_division=0)[:3]
        assert [found[f"{average}_{part}"] for part in ("p", "r", "f1")] == pytest.approx(expected)
    table = counts.per_class(gold, pred, labels)
    expected = precision_recall_fscore_support(gold, pred, labels=labels, zero_division=0)
    assert np.allclose(table[["precision", "recall", "f1", "support"]].to_numpy().T, expected)
    assert table.predicted.sum() == 400 and table.label.tolist() == labels


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_figures_on_tacred_to_every_printed_digit(tacred, name):
    frame = tacred(name)
    found = counts.scores(frame.label_true, frame.label_pred)
    assert tuple(round(100 * found[score], 1) for score in PRINTED) == PUBLISHED[name]


@pytest.mark.parametrize("name", TACREV_MICRO_F1)
def test_published_figures_under_tacrev_labels(tacred, data_dir, name):
    frame = tacred(name)
    ids = tacred("bilstm_bert_cased_test.jsonl").id
    patch = read_patch(data_dir / "tacrev" / "patch" / "test_patch.json", ids)
    gold = [patch.get(row, label) for row, label in zip(ids, frame.label_true, strict=True)]
    assert round(100 * counts.scores(gold, frame.label_pred)["micro_f1"], 1) == TACREV_MICRO_F1[name]


def test_always_no_relation_on_tacred(tacred):
    gold = tacred("bilstm_bert_cased_test.jsonl").label_true
    found = counts.scores(gold, counts.always_no_relation(gold))
    assert [round(100 * found[name], 1) for name in ("micro_f1", "macro_f1", "weighted_f1")] == [0, 2.1, 69.1]


def test_bootstrap_matches_resampled_rows_and_known_spread():
    rng = np.random.default_rng(0)
    gold = rng.choice([NONE, A, B], 600)
    pred = np.where(rng.random(600) < 0.7, gold, NONE)
    table = counts.bootstrap(gold, pred, ["accuracy", "micro_f1"], draws=4000)
    p = table.value["accuracy"]
    assert p == counts.scores(gold, pred)["accuracy"]
    half = 1.96 * np.sqrt(p * (1 - p) / 600)  # the binomial's normal approximation
    assert table.high["accuracy"] - table.low["accuracy"] == pytest.approx(2 * half, rel=0.05)
    rows = [rng.integers(600, size=600) for _ in range(1000)]
    drawn = [counts.scores(gold[row], pred[row])["micro_f1"] for row in rows]
    assert np.quantile(drawn, [0.025, 0.975]) == pytest.approx(
        [table.low["micro_f1"], table.high["micro_f1"]], abs=0.01
    )


def test_bootstrap_is_fast_and_repeatable_at_tacreds_size():
    rng = np.random.default_rng(1)
    labels = [NONE, *(f"r{number}" for number in range(41))]
    gold = rng.choice(labels, 15_509, p=[0.8, *[0.2 / 41] * 41])
    pred = np.where(rng.random(15_509) < 0.8, gold, NONE)
    start = time.perf_counter()
    first = counts.bootstrap(gold, pred, draws=1000, seed=5)
    assert time.perf_counter() - start < 3  # a tenth of a second on an idle core; loops over rows take minutes
    assert first.equals(counts.bootstrap(gold, pred, draws=1000, seed=5))
    assert not first.equals(counts.bootstrap(gold, pred, draws=1000, seed=6))


def test_paired_bootstrap_sees_a_real_difference_and_no_other():
    rng = np.random.default_rng(2)
    gold = rng.choice([NONE, A, B], 500)
    worse, better = (np.where(rng.random(500) < share, gold, NONE) for share in (0.5, 0.8))
    found = counts.paired_bootstrap(gold, worse, better, "micro_f1")
    assert found["low"] > 0.1 and found["p_value"] == pytest.approx(2 / 1001)
    assert found["low"] < found["difference"] < found["high"]
    swapped = counts.paired_bootstrap(gold, better, worse, "micro_f1")
    assert swapped["difference"] == -found["difference"] and swapped["p_value"] == found["p_value"]
    assert counts.paired_bootstrap(gold, better, better, "macro_f1") == {
        "difference": 0, "low": 0, "high": 0, "p_value": 1,
    }  # fmt: skip


def test_pairing_narrows_the_interval():
    """Rows that both systems share must cancel: an unpaired test would be far wider."""
    rng = np.random.default_rng(4)
    gold = rng.choice([NONE, A], 2000)
    first = np.where(rng.random(2000) < 0.7, gold, NONE)
    second = np.where(np.arange(2000) < 20, gold, first)
    found = counts.paired_bootstrap(gold, first, second, "accuracy")
    alone = counts.bootstrap(gold, first, ["accuracy"]).loc["accuracy"]
    assert found["high"] - found["low"] < (alone.high - alone.low) / 5


def test_resample_keeps_the_number_of_rows_and_gives_class_scores():
    drawn = counts.resample([A, A, B, NONE], [[A, B, B, NONE], [A, A, A, A]], draws=7)
    assert all(np.all(counts.gold.sum(-1) == 4) and counts.f1.shape == (7, 3) for counts in drawn)
    assert np.array_equal(drawn[0].gold, drawn[1].gold)  # the same rows for both systems


def test_over_seeds():
    table = counts.over_seeds([{"micro_f1": 0.4}, {"micro_f1": 0.6}])
    assert table.loc["micro_f1"].tolist() == pytest.approx([0.5, np.sqrt(0.02), 2])
    assert np.isnan(counts.over_seeds([{"micro_f1": 0.4}]).sd["micro_f1"])


def _example(relation: str, subj_type: str, obj_type: str) -> Example:
    return Example("x", relation, ["a", "b"], 0, 0, 1, 1, subj_type, obj_type)


def test_majority_by_type_pair():
    train = [
        *[_example(NONE, "PERSON", "CITY")] * 2, _example(A, "PERSON", "CITY"),
        *[_example(B, "PERSON", "TITLE")] * 3,
        _example(A, "PERSON", "DATE"), _example(NONE, "PERSON", "DATE"),
    ]  # fmt: skip
    rows = [_example(A, "PERSON", kind) for kind in ("CITY", "TITLE", "DATE", "RELIGION")]
    assert counts.majority_by_type_pair(train, rows) == [NONE, B, NONE, NONE]


def test_balanced_rows_are_half_relations_and_seeded():
    gold = np.array([NONE] * 50 + [A] * 7 + [B] * 3)
    rows = counts.balanced_rows(gold, seed=1)
    assert len(rows) == len(set(rows)) == 20 and (gold[rows] == NONE).sum() == 10
    assert np.array_equal(rows, np.sort(rows)) and np.array_equal(rows, counts.balanced_rows(gold, seed=1))
    assert not np.array_equal(rows, counts.balanced_rows(gold, seed=2))


def test_detection_folding():
    assert counts.fold_detection([A, NONE, "relation"]) == ["relation", NONE, "relation"]
    assert counts.is_detection([NONE, "relation"]) and not counts.is_detection([NONE, A])
    assert not counts.is_detection([NONE, NONE])


def _write(path: Path, rows: list[tuple[str, str]]) -> Path:
    lines = [f'{{"id": "{n}", "label_true": "{true}", "label_pred": "{pred}"}}' for n, (true, pred) in enumerate(rows)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    return path


def test_score_file_folds_gold_labels_for_detection(tmp_path):
    path = _write(tmp_path / "test.jsonl", [(A, "relation"), (B, NONE), (NONE, "relation"), (NONE, NONE)])
    found = score_file(path)
    assert found["micro_f1"] == found["detection_f1"] == found["accuracy"] == 0.5


def test_score_file_takes_classes_and_task_from_the_run_beside_it(tmp_path):
    rows = [(A, A), (NONE, B), (B, A)]
    path = _write(tmp_path / "run" / "predictions" / "test.jsonl", rows)
    assert score_file(path)["accuracy"] == pytest.approx(1 / 3)
    run = tmp_path / "run" / "run.json"
    run.write_text(f'{{"task": "relation_only", "classes": ["{A}", "{B}", "per:charges"], "seed": 1}}')
    found = score_file(path)
    assert found["accuracy"] == 0.5 and found["macro_f1"] == pytest.approx(2 / 3 / 3)
    run.write_text('{"task": "joint"}')
    with pytest.raises(UserError, match="run.json"):
        score_file(path)


def test_intervals_hold_their_estimate_though_draws_lose_classes():
    """Sixty classes of two rows each: a draw loses many, and counting them as F1 0 would push the interval below."""
    gold = [f"r{i // 2}" for i in range(120)]
    pred = [label if index % 3 else "r0" for index, label in enumerate(gold)]
    table = counts.bootstrap(gold, pred, ["micro_f1", "macro_f1", "macro_f1_relations"])
    assert ((table.low <= table.value) & (table.value <= table.high)).all()
    assert np.allclose(counts.bootstrap(gold, gold).low, 1)


def test_rows_of_one_unit_are_drawn_together():
    """Copies of a row are no further evidence: with units the interval is that of the rows without copies."""
    rng = np.random.default_rng(3)
    gold = rng.choice(["no_relation", "a", "b"], 150)
    one, two = (np.where(rng.random(150) < share, gold, "no_relation") for share in (0.6, 0.75))
    copied = [np.repeat(column, 8).tolist() for column in (gold, one, two)]
    plain = counts.paired_bootstrap(gold, one, two, units=range(150))
    again = counts.paired_bootstrap(*copied, units=np.repeat(np.arange(150), 8).tolist())
    rows = counts.paired_bootstrap(gold, one, two)
    assert again == pytest.approx(plain)
    assert plain["high"] - plain["low"] == pytest.approx(rows["high"] - rows["low"], rel=0.15)
    narrow = counts.paired_bootstrap(*copied)
    assert narrow["high"] - narrow["low"] < 0.5 * (plain["high"] - plain["low"])

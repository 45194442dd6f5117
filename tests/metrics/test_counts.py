"""Scores against hand-worked cases, scikit-learn and the figures published for TACRED's test split."""

from itertools import product

import numpy as np
import pytest
from sklearn.metrics import precision_recall_fscore_support

from tacred_utils.corpora.example import Example
from tacred_utils.corpora.registry import read_patch
from tacred_utils.ground.errors import UserError
from tacred_utils.metrics import counts
from tacred_utils.runs.predictions import read_predictions

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
    assert counts.all_scores(gold, pred) == pytest.approx(expected)
    assert list(expected) == list(counts.SCORES[:-1])


def test_no_relation_predicted_scores_zero_without_warnings(recwarn):
    found = counts.all_scores([A, B, NONE, NONE], counts.always_no_relation("four"))
    zero = [name for name in found if name.startswith(("micro", "detection", "classification"))]
    assert all(found[name] == 0 for name in zero) and len(zero) == 7
    assert found["macro_f1"] == pytest.approx((2 * 2 / (4 + 2)) / 3) and found["accuracy"] == 0.5
    assert not recwarn.list


def test_only_no_relation_in_gold_and_prediction():
    found = counts.all_scores([NONE] * 3, [NONE] * 3)
    assert found["accuracy"] == found["macro_f1"] == found["weighted_f1"] == 1
    assert found["micro_f1"] == found["macro_f1_relations"] == found["detection_f1"] == 0


def test_corpus_without_no_relation_counts_every_class():
    found = counts.all_scores([A, A, B], [A, B, B])
    assert found["micro_f1"] == found["accuracy"] == found["classification_accuracy"] == pytest.approx(2 / 3)
    assert found["macro_f1"] == found["macro_f1_relations"] == pytest.approx(2 / 3)
    assert found["detection_f1"] == 1


def test_a_label_of_the_fixed_list_that_never_occurs_counts_as_zero_in_macro():
    two, three = (counts.all_scores([A, NONE], [A, NONE], labels)["macro_f1"] for labels in ([NONE, A], [NONE, A, B]))
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
        counts.all_scores(gold, pred, labels)


def test_directional_macro_f1_follows_semeval():
    #       right      wrong direction        right      false alarm
    gold = ["x(e1,e2)", "x(e1,e2)", "y(e2,e1)", NONE, NONE]
    pred = ["x(e1,e2)", "x(e2,e1)", "y(e2,e1)", "y(e1,e2)", NONE]
    # x: 1 right of 2 gold and 2 answers → 1/2; y: 1 right of 1 gold and 2 answers → 2/3
    assert counts.all_scores(gold, pred)["directional_macro_f1"] == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert "directional_macro_f1" not in counts.all_scores([A, NONE], [A, NONE])


def test_agrees_with_scikit_learn_on_random_rows():
    rng = np.random.default_rng(3)
    labels = [NONE, *(f"r{number}" for number in range(12))]
    gold, pred = rng.choice(labels, 400), rng.choice(labels[:-2], 400)
    found = counts.all_scores(gold, pred, labels)
    for average, kept in (("micro", labels[1:]), ("macro", labels), ("weighted", labels)):
        expected = precision_recall_fscore_support(gold, pred, labels=kept, average=average, zero_division=0)[:3]
        assert [found[f"{average}_{part}"] for part in ("p", "r", "f1")] == pytest.approx(expected)
    table = counts.class_scores(gold, pred, labels)
    expected = precision_recall_fscore_support(gold, pred, labels=labels, zero_division=0)
    assert np.allclose(table[["precision", "recall", "f1", "support"]].to_numpy().T, expected)
    assert table.predicted.sum() == 400 and table.label.tolist() == labels


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_figures_on_tacred_to_every_printed_digit(tacred, name):
    frame = tacred(name)
    found = counts.all_scores(frame.label_true, frame.label_pred)
    assert tuple(round(100 * found[score], 1) for score in PRINTED) == PUBLISHED[name]


@pytest.mark.parametrize("name", TACREV_MICRO_F1)
def test_published_figures_under_tacrev_labels(tacred, data_dir, name):
    frame = tacred(name)
    ids = tacred("bilstm_bert_cased_test.jsonl").id
    patch = read_patch(data_dir / "tacrev" / "patch" / "test_patch.json", ids)
    gold = [patch.get(row, label) for row, label in zip(ids, frame.label_true, strict=True)]
    assert round(100 * counts.all_scores(gold, frame.label_pred)["micro_f1"], 1) == TACREV_MICRO_F1[name]


def test_always_no_relation_on_tacred(tacred):
    gold = tacred("bilstm_bert_cased_test.jsonl").label_true
    found = counts.all_scores(gold, counts.always_no_relation(gold))
    assert [round(100 * found[name], 1) for name in ("micro_f1", "macro_f1", "weighted_f1")] == [0, 2.1, 69.1]


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


def test_answers_to_detection_are_told_apart():
    assert counts.is_detection([NONE, "relation"]) and not counts.is_detection([NONE, A])
    assert not counts.is_detection([NONE, NONE])


def test_no_single_answer_a_sentence_beats_the_ceiling():
    gold = [A, A, NONE, B, NONE, NONE, NONE, A, B, NONE]
    sentences = ["s", "s", "s", "t", "t", "t", "t", "u", "u", "v"]
    names = sorted(set(sentences))
    reached = [
        counts.all_scores(gold, [dict(zip(names, answer, strict=True))[name] for name in sentences])["micro_f1"]
        for answer in product([NONE, A, B], repeat=len(names))
    ]
    assert counts.one_answer_ceiling(gold, sentences) == pytest.approx(max(reached))
    assert counts.one_answer_ceiling([NONE], ["s"]) == 0 and counts.one_answer_ceiling([A, B], ["s", "t"]) == 1

"""The paper's tables against themselves, and the published predictions."""

import json

import pytest

from tacred_utils.ground.errors import UserError
from tacred_utils.ground.labels import TACRED_SPLIT_SIZES
from tacred_utils.metrics import counts
from tacred_utils.paper import published


@pytest.fixture
def tacred_files(data_dir):
    if sentence := published.missing_files(data_dir):
        pytest.skip(sentence)
    return data_dir


def test_every_table_is_complete():
    rows = published.class_tables().groupby("table").agg(classes=("label", "nunique"), support=("support", "sum"))
    expected = {6: (2, 6650), 7: (41, 3325), 8: (42, 15_509), 9: (41, 3325), 10: (42, 15_509), 11: (41, 3325)}
    assert {
        int(table.split()[1]): tuple(row) for table, row in zip(rows.index, rows.to_numpy(), strict=True)
    } == expected
    assert published.relation_counts().sum() == sum(TACRED_SPLIT_SIZES.values()) == 106_264
    assert {f"Table {number}" for number in range(2, 12)} | {"A.2", "A.3"} <= set(published.overall().table)


def test_class_rows_agree_with_each_other_and_with_their_averages():
    """Supports agree over tables, so Tables 10 and 11's class order is right; averages follow from rows."""
    table = published.class_tables().query("table != 'Table 6' and label != 'no_relation'")
    assert (table.groupby("label").support.nunique() == 1).all()
    overall = published.overall()
    for name, rows in published.class_tables().groupby("table"):
        printed = overall[overall.table == name].set_index("score").value
        for score, column in (("p", "precision"), ("r", "recall"), ("f1", "f1")):
            assert printed[f"macro_{score}"] == pytest.approx(rows[column].mean(), abs=0.0101)
            weighted = (rows[column] * rows.support).sum() / rows.support.sum()
            assert printed[f"weighted_{score}"] == pytest.approx(weighted, abs=0.0101)


def test_both_values_stand_where_the_paper_disagrees_with_itself():
    rows = published.overall().query("family == 'bert' and rows == 'test'").set_index(["table", "score"]).value
    assert (rows["Table 2", "macro_r"], rows["Table 10", "macro_r"]) == (0.45, 0.44)
    assert (rows["Table 3", "macro_f1"], rows["Table 11", "macro_f1"]) == (0.57, 0.56)
    assert published.paper_scores("bert", "joint")["macro_r"] == 0.45
    assert published.paper_scores("bert", "joint", "A.3")["weighted_f1"] == 0.8061
    assert published.paper_scores("gpt2", "detection") == {}


def test_figure_2_as_printed():
    counts = published.parameter_counts().set_index("place").parameters
    assert counts["3-6"] == 85_854_464 and counts["2-9"] == 2_360_864 and counts["1-4"] == 768 * 256 + 256


def test_every_published_figure_has_a_source():
    frame = published.literature("tacred")
    assert frame.source.notna().all() and frame.value.between(0.5, 1).all()
    assert set(published.literature("tacred", ["tacrev"]).labels) == {"tacrev"}
    assert set(published.literature("kbp37").score) == {"directional_macro_f1"}


def test_tables_are_handed_out_as_copies():
    frame = published.class_tables()
    frame["f1"] = 0
    assert published.class_tables().f1.max() == 1


def test_table_10_is_scored_from_the_authors_predictions(tacred_files):
    """Their published predictions give back their published table, to every printed digit."""
    frame = published.system_predictions(tacred_files)
    assert len(frame) == TACRED_SPLIT_SIZES["test"] and frame.notna().all(axis=None)
    ours = counts.class_scores(frame.gold, frame[published.PAPER_BERT]).set_index("label")
    printed = published.class_rows("Table 10")
    assert (ours.support[printed.index] == printed.support).all()
    for column in ("precision", "recall", "f1"):
        assert (ours[column][printed.index] - printed[column]).abs().max() <= 0.005 + 1e-9


def test_predictions_from_the_authors_notebook_are_those_of_the_file(tacred_files, tmp_path):
    frame = published.system_predictions(tacred_files)
    classes = published.class_rows("Table 10").index.tolist()
    lists = [[classes.index(label) for label in frame[name]] for name in ("gold", published.PAPER_BERT)]
    text = [f"ALL LABELS:  {lists[0]}\n", f"ALL PREDS:  {lists[1]}\n"]
    for name in ("tacrev", "retacred"):
        (tmp_path / name).symlink_to(tacred_files / name)
    (tmp_path / "authors").mkdir()
    notebook = tmp_path / "authors" / "BERT.ipynb"
    notebook.write_text(json.dumps({"cells": [{"cell_type": "code", "outputs": [{"text": text}]}, {"source": []}]}))
    assert published.system_predictions(tmp_path).equals(frame)
    notebook.write_text(json.dumps({"cells": []}))
    with pytest.raises(UserError, match="BERT.ipynb"):
        published.system_predictions(tmp_path)


def test_absent_files_are_said_in_one_sentence(tmp_path):
    sentence = published.missing_files(tmp_path)
    assert (
        "data get tacrev" in sentence
        and "data get authors" in sentence
        and "data get retacred" in sentence
        and "--data-dir" in sentence
    )
    with pytest.raises(UserError):
        published.system_predictions(tmp_path)

"""The paper's tables against themselves, and the published predictions."""

import json

import pytest
import torch
from torch import nn
from transformers import BertConfig, BertModel

from tacred_utils.ground.errors import UserError
from tacred_utils.ground.labels import TACRED_SPLIT_SIZES
from tacred_utils.metrics import counts
from tacred_utils.models.settings import FAMILIES
from tacred_utils.models.transformer import added_layer
from tacred_utils.paper import published
from tacred_utils.paper.published import COLUMNS, all_checks, recipe
from tacred_utils.runs.profile import load_profile, profile_names


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


# The paper's recipes beside ours: every row is a setting that there is, and whatever differs has its reason.

REASON = COLUMNS["reason"]


@pytest.mark.parametrize("profile", profile_names())
@pytest.mark.parametrize("family", FAMILIES)
def test_whatever_differs_has_its_reason(family: str, profile: str) -> None:
    rules = load_profile(profile)
    for corpus in (rules.corpus, *rules.further_corpora):
        table = recipe(family, rules.for_corpus(corpus))
        stated = table["paper"].where(table["paper"] != "", table["authors' code"])
        assert list(table.columns) == list(COLUMNS.values()) and table.setting.is_unique and (table.ours != "").all()
        assert (table[REASON] != "").eq(table.ours != stated).all(), table[
            (table[REASON] == "") & (table.ours != stated)
        ]


def test_values_of_ours_are_the_profiles() -> None:
    def ours(profile: str, setting: str) -> str:
        return recipe("bert", load_profile(profile)).set_index("setting").ours[setting]

    assert (ours("open", "model"), ours("paper", "model")) == ("minilm", "bert-base-uncased")
    assert (ours("open", "learning rate"), ours("paper", "learning rate")) == ("0.0002", "5e-05")


def test_profile_paper_differs_in_mended_defects_alone() -> None:
    table = recipe("bert", load_profile("paper"))
    assert set(table[table[REASON] != ""].setting) == {
        "places of the entities", "it attends along", "longest sentence, word pieces", "weights that are kept",
    }  # fmt: skip
    assert table[REASON].str.contains(r"D\d").sum() == 4


# The paper held against itself: its tables against hand-worked numbers, and what its figures add up to.


@pytest.fixture(scope="module")
def found():
    return all_checks()


def value_of(found, place, check):
    [row] = found[(found.place == place) & found.check.str.startswith(check)].itertuples()
    return row.printed, row.recomputed, row.agrees


@pytest.mark.parametrize(
    "place, check, printed_value, recomputed, agrees",
    [
        ("section 1, Table 12", "instances", 106_264, 106_264, "yes"),
        ("section 1, Table 12", "labels", 42, 42, "yes"),
        ("section 1, Table 12", "share", 0.80, 84_491 / 106_264, "yes"),
        ("Tables 1 and 12", "rows of per:title", 3_864, 3_862, "no"),
        ("section 3.1, split sizes", "no_relation", 4.2, 55_112 / 13_012, "yes"),
        ("Figure 2", "3-6", 85_854_464, 85_054_464, "no"),
        ("Figure 2", "2-9", 2_360_864, 3_072 * 768 + 768, "no"),
        ("Figure 2", "2-4", 2_362_368, 4 * (768 * 768 + 768), "yes"),
        ("Figure 2", "1-4", 196_864, 768 * 256 + 256, "yes"),
        ("Figure 2, published code", "1-4", 196_864, 1_536 * 256 + 256, "no"),
        ("section 4, Table 2", "GPT-2's macro_f1", 0.18, 2 * 12_184 / (12_184 + 15_509) / 42, "no"),
        ("section 4, Table 2", "GPT-2's weighted_r", 0.79, 12_184 / 15_509, "yes"),
        ("section 4, Table 6", "F1 of relation", 0.9, 0.44, "no"),
        ("Tables 4 and 6", "values", 0, 6, "no"),
        ("Table 2 and Table 10", "bert joint, macro_r", 0.45, 0.44, "no"),
        ("Table 2 and Table 10", "bert joint, weighted_p", 0.82, 0.81, "no"),
        ("Table 3 and Table 11", "bert relation_only, macro_f1", 0.57, 0.56, "no"),
        ("A.2 and Table 8", "bilstm joint, macro_f1", 0.36, 0.3637, "yes"),
        ("A.3 and Table 10", "bert joint, weighted_f1", 0.81, 0.8061, "yes"),
        ("Table 6", "macro_f1", 0.58, (0.71 + 0.44) / 2, "yes"),
        ("Table 6", "accuracy", 0.62, (0.94 + 0.30) / 2, "yes"),
        ("Table 7", "rows whose F1", 41, 41, "yes"),
    ],
)
def test_checks_against_hand_worked_numbers(found, place, check, printed_value, recomputed, agrees):
    assert value_of(found, place, check) == (pytest.approx(printed_value), pytest.approx(recomputed), agrees)


def test_class_tables_agree_with_their_averages_and_two_counts_of_figure_2_do_not(found):
    classes = found[found.place.str.fullmatch(r"Table \d+")]
    assert len(classes) == 6 * 8 and (classes.agrees == "yes").all()
    figure = found[(found.place == "Figure 2") & ~found.check.str.startswith("counts")]
    assert len(figure) == 13 and (figure.agrees == "no").sum() == 2


def test_a_misprint_in_a_class_row_or_an_average_would_be_found():
    rows = published.class_tables().query("table == 'Table 8'").copy()
    assert published.rows_that_fit(rows) == len(rows)
    rows.loc[rows.index[1], "f1"] += 0.03
    assert published.rows_that_fit(rows) == len(rows) - 1
    rows.loc[rows.label == "no_relation", "recall"] = 0.80
    assert abs(published.averages(rows)["accuracy"] - 0.79) > 2 * published.HALF


def test_parameters_counted_by_hand_are_those_of_the_model_itself():
    assert published.figure_2_counts() == parameter_summary(published.LABELS)


def test_what_the_tables_imply():
    share, low, high = published.answered_no_relation("Table 10")
    assert share == pytest.approx(0.87 * 12_184 / 0.91 / 15_509) and low < 0.756 < high  # its predictions: 75.6 %
    micro, low, high = published.micro_f1_of("Table 10")
    assert micro == pytest.approx(0.507, abs=0.001) and low < micro < high  # its predictions: 0.507
    assert published.micro_f1_of("Table 8")[0] == pytest.approx(0.54, abs=0.005)
    assert published.labels_in_a_batch() == pytest.approx(8.2, abs=0.05) and published.repeated_in_table_4() == 6
    f1, rows = published.f1_and_rows("Table 8", "Table 10")
    assert len(f1) == len(rows) == 41 and rows.sum() == 106_264 - 84_491 - 3_325


def parameter_summary(classes: int = 42, joined: int = 1) -> dict[str, int]:
    """Parameters of the paper's BERT by the places of its Figure 2, counted from bert-base's configuration alone.

    Nothing is downloaded and no memory is taken. `joined` is how many pooled vectors the head gets: the figure's
    head takes 1, the paper's text and code join 2.
    """
    with torch.device("meta"):
        bert, layer = BertModel(BertConfig()), added_layer(768, 12, 0.2)
        hidden, logits = nn.Linear(joined * 768, 256), nn.Linear(256, classes)
    embeddings, attention = bert.embeddings, layer.self_attn
    parts = {
        "3-1": embeddings.word_embeddings, "3-2": embeddings.token_type_embeddings,
        "3-3": embeddings.position_embeddings, "3-4": embeddings.LayerNorm, "3-6": bert.encoder, "3-7": bert.pooler,
        "2-4": attention, "2-6": layer.norm1, "2-7": layer.linear1, "2-9": layer.linear2, "2-11": layer.norm2,
        "1-4": hidden, "1-6": logits,
    }  # fmt: skip
    return {place: sum(parameter.numel() for parameter in part.parameters()) for place, part in parts.items()}


def test_figure_2_is_counted_from_the_configuration_alone() -> None:
    """Two of its numbers are misprints; the head's is that of one pooled vector (C13)."""
    printed = published.parameter_counts().dropna(subset="parameters").set_index("place").parameters
    counted = parameter_summary()
    assert counted.keys() == set(printed.index)
    wrong = {place: (int(printed[place]), count) for place, count in counted.items() if printed[place] != count}
    assert wrong == {"3-6": (85_854_464, 85_054_464), "2-9": (2_360_864, 2_360_064)}
    assert parameter_summary(joined=2)["1-4"] == 2 * 768 * 256 + 256

"""The paper held against itself: its tables against hand-worked numbers, and what its figures add up to."""

import pytest
import torch
from torch import nn
from transformers import BertConfig, BertModel

from tacred_utils.models.transformer import added_layer
from tacred_utils.paper import checks, published
from tacred_utils.paper.checks import all_checks


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
    assert checks.rows_that_fit(rows) == len(rows)
    rows.loc[rows.index[1], "f1"] += 0.03
    assert checks.rows_that_fit(rows) == len(rows) - 1
    rows.loc[rows.label == "no_relation", "recall"] = 0.80
    assert abs(checks.averages(rows)["accuracy"] - 0.79) > 2 * checks.HALF


def test_parameters_counted_by_hand_are_those_of_the_model_itself():
    assert checks.figure_2_counts() == parameter_summary(checks.LABELS)


def test_what_the_tables_imply():
    share, low, high = checks.answered_no_relation("Table 10")
    assert share == pytest.approx(0.87 * 12_184 / 0.91 / 15_509) and low < 0.756 < high  # its predictions: 75.6 %
    micro, low, high = checks.micro_f1_of("Table 10")
    assert micro == pytest.approx(0.507, abs=0.001) and low < micro < high  # its predictions: 0.507
    assert checks.micro_f1_of("Table 8")[0] == pytest.approx(0.54, abs=0.005)
    gains = checks.gains()
    assert gains["bilstm", "macro"] == pytest.approx(0.61 - 0.36) and gains["bert", "weighted"] == pytest.approx(-0.12)
    assert checks.labels_in_a_batch() == pytest.approx(8.2, abs=0.05) and checks.repeated_in_table_4() == 6
    f1, rows = checks.f1_and_rows("Table 8", "Table 10")
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

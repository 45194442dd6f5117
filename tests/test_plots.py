"""Figures: fonts, bytes, and that each says what its data say."""

import re

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from tacred_utils import plots

LABELS = ["no_relation", "per:title", "org:top_members/employees", "per:cause_of_$death$"]


def figures() -> dict[str, Figure]:
    counts = pd.DataFrame({"train": [80, 9, 5, 1], "dev": [20, 2, 1, 1], "test": [20, 3, 0, 1]}, index=LABELS)
    lengths = pd.DataFrame({"split": ["train"] * 3 + ["test"] * 2, "tokens": [5, 20, 36, 8, 96]})
    names = ["trivial", "SVM", "SVM low", "SVM high"]
    scores = pd.DataFrame(
        [[0.8, 0.9, 0.85, 0.95], [0.0, 0.5, 0.4, 0.6]], index=["accuracy", "F1"], columns=names
    )
    classes = pd.DataFrame({"label": LABELS, "f1": [0.9, 0.5, 0.2, 0.0], "support": [20, 3, 0, 1]})
    classes = classes.assign(low=classes["f1"] - 0.1, high=classes["f1"] + 0.1)
    curve = pd.DataFrame(
        {"system": "SVM", "recall": [0, 0.5, 1], "precision": [1, 0.8, 0.2], "chosen": [0, 1, 0]}
    )
    bins = pd.DataFrame(
        {"system": "SVM", "confidence": [0.2, 0.9], "accuracy": [0.1, 0.8], "low": 0.0, "high": 1.0}
    )
    weights = pd.DataFrame(
        {"group": ["a", "a", "b"], "feature": ["$", "of", "née"], "weight": [1.0, -2.0, 0.5]}
    )
    other = pd.Series([0.5] * 4, index=LABELS, name="published BERT")
    return {
        "class_frequencies": plots.class_frequencies(counts, "Classes"),
        "sentence_lengths": plots.sentence_lengths(lengths, "Lengths"),
        "score_dots": plots.score_dots(scores, ["trivial", "svm"], "Scores"),
        "f1_by_support": plots.f1_by_support(classes, "svm", "F1", against=other),
        "precision_recall": plots.precision_recall(curve, {"SVM": "svm"}, "Curve"),
        "reliability": plots.reliability(bins, {"SVM": "svm"}, "Reliability"),
        "confusion": plots.confusion(pd.DataFrame(np.diag([3, 2, 1, 0]), LABELS, LABELS), "Confusion"),
        "top_features": plots.top_features(weights, "svm", "Features"),
    }


def test_files_are_equal_for_equal_figures_and_embed_truetype(tmp_path):
    first = {name: plots.save_figure(figure, tmp_path / "1", name) for name, figure in figures().items()}
    second = {name: plots.save_figure(figure, tmp_path / "2", name) for name, figure in figures().items()}
    for name, files in first.items():
        assert [path.name for path in files] == [f"{name}.pdf", f"{name}.png"]
        for one, other in zip(files, second[name], strict=True):
            assert one.read_bytes() == other.read_bytes(), one.name
        pdf = files[0].read_bytes()
        assert b"/FontFile2" in pdf and b"/Type3" not in pdf and b"CreationDate" not in pdf
    assert len(list(tmp_path.rglob("*"))) == 2 + 4 * len(first)  # no temporary file is left


@pytest.mark.parametrize("name", figures())
def test_figures_fit_a_column_or_the_page(name, tmp_path):
    figure = figures()[name]
    assert figure.get_size_inches()[0] in (plots.COLUMN, plots.PAGE)
    sizes = [
        text.get_fontsize()
        for text in figure.findobj(lambda artist: hasattr(artist, "get_fontsize"))
        if text.get_text()
    ]
    assert max(sizes) == 8


def test_class_frequencies_orders_by_size_and_draws_no_mark_for_zero():
    axes = figures()["class_frequencies"].axes[0]
    assert [bar.get_width() for bar in axes.patches] == [3, 6, 14, 120]
    marks = {line.get_label(): len(line.get_xdata()) for line in axes.lines}
    assert marks == {"train": 4, "dev": 4, "test": 3}


def test_confusion_rows_add_up_and_an_empty_class_is_blank():
    mesh = figures()["confusion"].axes[0].collections[0].get_array()
    shares = np.ma.filled(mesh.reshape(4, 4), np.nan)
    assert np.nansum(shares[:3], axis=1).tolist() == [1, 1, 1] and np.isnan(shares[3]).all()


def test_a_class_without_test_rows_has_no_f1():
    axes = figures()["f1_by_support"].axes[0]
    assert all(len(line.get_xdata()) == 3 for line in axes.lines)
    assert "interval" in axes.get_ylabel()


def test_dollar_signs_of_a_corpus_are_no_formula():
    figure = figures()["top_features"]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["of", r"\$"]
    labels = [label.get_text() for label in figures()["class_frequencies"].axes[0].get_yticklabels()]
    assert r"per:cause_of_\$death\$" in labels


def test_families_have_distinct_colours():
    assert set(plots.COLOURS) == {"svm", "bilstm", "bert", "gpt2", "published", "trivial"}
    assert len(set(plots.COLOURS.values())) == 6
    assert all(re.fullmatch("#[0-9A-F]{6}", colour) for colour in plots.COLOURS.values())

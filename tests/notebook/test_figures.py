"""Figures: fonts, bytes, and that what is drawn is what the frames say."""

import os
import re
import subprocess
import sys
from functools import cache

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from tacred_utils.ground.paths import ROOT
from tacred_utils.notebook import charts, figures

LABELS = ["no_relation", "per:title", "org:top_members/employees", "per:cause_of_$death$"]
FAMILIES = {"ours": "bert", "SVM": "svm", "always no_relation": "trivial"}
SYSTEMS = ["ours", "theirs", "always no_relation"]


def classes(count: list[int], f1: list[float]) -> pd.DataFrame:
    frame = pd.DataFrame({"label": LABELS, "train": count, "f1": f1})
    return frame.assign(low=frame.f1 - 0.1, high=frame.f1 + 0.1)


@cache
def drawn() -> dict[str, Figure]:
    counts = pd.DataFrame({"train": [80, 9, 5, 1], "dev": [20, 2, 1, 1], "test": [20, 3, 0, 1]}, index=LABELS)
    lengths = pd.DataFrame({"split": ["train"] * 3 + ["test"] * 2, "tokens": [5, 20, 36, 8, 96]})
    rows = [(system, score, 0.5, 0.4, 0.6) for score in ("micro", "macro") for system in SYSTEMS]
    scores = pd.DataFrame(rows, columns=["system", "score", "value", "low", "high"])
    points = pd.DataFrame({"system": [f"system {n}" for n in range(6)], "classification_accuracy": 0.9})
    points["detection_f1"] = 0.7 + 0.002 * np.arange(6)
    for name in ("detection_f1", "classification_accuracy"):
        points[f"{name}_low"], points[f"{name}_high"] = points[name] - 0.02, points[name] + 0.02
    ranges = pd.DataFrame({"label": LABELS, "rows": 9, "lowest": 0.1, "median": 0.2, "highest": 0.4, "ours": 0.3})
    curve = pd.DataFrame({"system": "SVM", "recall": [0, 0.5, 1], "precision": [1, 0.8, 0.2]})
    bins = pd.DataFrame({"system": "SVM", "confidence": [0.2, 0.9], "right": [0.1, 0.8], "low": 0.0, "high": 1.0})
    square = pd.DataFrame([[np.nan, 0.5], [0.3, np.nan]], index=["a", "b"], columns=["a", "b"])
    parts = pd.DataFrame({"kept": [0.75, 0.5], "changed": [0.25, 0.5]}, index=["one", "two"])
    found = classes([20, 3, 0, 1], [0.9, 0.5, 0.2, 0])
    history = pd.DataFrame({"epoch": [1, 2, 3], "train_loss": [2, 1, 0.5], "dev_loss": [2, 1.5, 1.8]})
    history = history.assign(train_macro_f1=[0.1, 0.4, 0.8], dev_macro_f1=[0.1, 0.3, 0.2])
    groups = pd.DataFrame({"bin": ["1: 3–9", "2: 10–40"] * 2, "system": ["ours"] * 2 + ["SVM"] * 2})
    groups = groups.assign(value=[0.5, np.nan, 0.4, 0.3], low=[0.4, np.nan, 0.3, 0.2], high=[0.6, np.nan, 0.5, 0.4])
    return {
        "by_bin": charts.by_bin({"joint": groups, "relations": groups}, FAMILIES, "words", "macro F1"),
        "class_frequencies": charts.class_frequencies(counts),
        "sentence_lengths": charts.sentence_lengths(lengths),
        "stacked": charts.stacked(parts, "share"),
        "intervals": charts.intervals(scores, FAMILIES, sharex=True),
        "against_others": charts.against_others(ranges, "ours", FAMILIES, "F1"),
        "f1_by_rows": charts.f1_by_rows(found, "svm"),
        "detection_classification": charts.detection_classification(points, FAMILIES),
        "curves": charts.curves(curve.assign(dot=[False, True, False]), "recall", "precision", FAMILIES, "chosen"),
        "reliability": charts.reliability(bins, FAMILIES),
        "learning_curves": charts.learning_curves({"joint": history, "relations": history}, "bilstm"),
        "heatmap": charts.heatmap(square, "kappa"),
    }  # fmt: skip


def names(labels: list[Text]) -> list[str]:
    return [label.get_text() for label in labels]


def test_files_are_equal_for_equal_figures_and_embed_truetype(tmp_path):
    first = {name: figures.save_figure(figure, tmp_path / "1", name) for name, figure in drawn().items()}
    drawn.cache_clear()
    second = {name: figures.save_figure(figure, tmp_path / "2", name) for name, figure in drawn().items()}
    for name, files in first.items():
        assert [path.name for path in files] == [f"{name}.pdf", f"{name}.png"]
        for one, other in zip(files, second[name], strict=True):
            assert one.read_bytes() == other.read_bytes(), one.name
        pdf = files[0].read_bytes()
        assert b"/FontFile2" in pdf and b"/Type3" not in pdf and b"CreationDate" not in pdf
    assert len(list(tmp_path.rglob("*"))) == 2 + 4 * len(first)  # no temporary file is left


def test_figures_fit_a_column_or_the_page_in_8_pt():
    for name, figure in drawn().items():
        assert figure.get_size_inches()[0] in (figures.COLUMN, figures.PAGE), name
        texts = figure.findobj(lambda artist: hasattr(artist, "get_fontsize"))
        assert max(text.get_fontsize() for text in texts if text.get_text()) == 8, name


def test_class_frequencies_orders_by_size_and_draws_no_mark_for_zero_and_no_bar_on_a_log_axis():
    axis = drawn()["class_frequencies"].axes[0]
    assert not axis.patches and axis.get_xscale() == "log" and axis.yaxis_inverted()
    assert names(axis.get_yticklabels())[0] == "no_relation"
    marks = {line.get_label(): len(line.get_xdata()) for line in axis.lines}
    assert marks == {"train": 4, "dev": 4, "test": 3}


def test_intervals_have_a_panel_a_score_and_a_row_a_system():
    figure = drawn()["intervals"]
    assert [axis.get_title(loc="left") for axis in figure.axes] == ["micro", "macro"]
    assert names(figure.axes[0].get_yticklabels()) == SYSTEMS and "95 % interval" in figure.get_supxlabel()
    colours = [tuple(colour[:3]) for colour in figure.axes[0].collections[0].get_colors()]
    assert len(set(colours)) == 3  # a family, published, trivial


def test_a_class_without_rows_has_no_f1_and_intervals_are_named():
    axis = drawn()["f1_by_rows"].axes[0]
    assert len(axis.collections[0].get_offsets()) == 3 and "interval" in axis.get_ylabel()


def test_f1_by_rows_names_the_classes_whose_ranks_differ_most():
    frame = classes([10, 100, 1000, 5000], [0.2, 0.4, 0.6, 0.1])
    axis = charts.f1_by_rows(frame, "bert", named=1).axes[0]
    assert names(axis.texts) == [r"per:cause_of_\$death\$"] and "-0.20" in axis.get_title(loc="left")


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        ([40, 50, 60, 90], ["50", "70", "100", "200", "300"]), ([1] * 4, ["1", "2", "3"]),
        ([1, 9, 50, 70], ["1", "10", "100"]),
    ],
)  # fmt: skip
def test_ticks_of_counts_are_plain_numbers(count, shown):
    figure = charts.f1_by_rows(classes(count, [0.1, 0.2, 0.3, 0.4]), "bert")
    figure.draw_without_rendering()
    axis = figure.axes[0].xaxis
    places = [*axis.get_majorticklocs(), *axis.get_minorticklocs()]
    texts = names(axis.get_majorticklabels() + axis.get_minorticklabels())
    low, high = axis.get_view_interval()
    ticks = sorted(zip(places, texts, strict=True))
    assert [text for place, text in ticks if low <= place <= high and text] == shown


def test_names_never_cover_points_or_each_other():
    figure = drawn()["detection_classification"]
    figure.draw_without_rendering()
    axis = figure.axes[0]
    texts = [text for text in axis.texts if text.get_text().startswith("system")]
    boxes = [Text.get_window_extent(text, figure.canvas.get_renderer()).padded(-1) for text in texts]
    assert len(boxes) == 6
    assert not any(a.overlaps(b) for n, a in enumerate(boxes) for b in boxes[:n])
    points = axis.transData.transform(axis.collections[0].get_offsets())
    assert not any(box.contains(*point) for box in boxes for point in points)


def test_stacked_parts_start_where_the_last_ended():
    bars = drawn()["stacked"].axes[0].containers
    assert [bar.get_x() for bar in bars[1]] == [0.75, 0.5]


def test_curves_have_a_dot_at_the_chosen_point_and_the_legend_says_what_it_is():
    [axis] = drawn()["curves"].axes
    assert axis.lines[1].get_xydata().tolist() == [[0.5, 0.8]] and not axis.texts
    assert names(drawn()["curves"].legends[0].texts) == ["SVM", "chosen"]


def test_systems_of_one_family_look_different_in_a_legend():
    looks = figures.looks(["one", "two", "three"], dict.fromkeys(["one", "two", "three"], "bert"))
    assert len({look["color"] for look in looks.values()}) == 1
    assert len({(look["linestyle"], look["marker"], look["markerfacecolor"]) for look in looks.values()}) == 3


def test_reliability_has_a_panel_a_system_with_the_diagonal():
    [axis] = drawn()["reliability"].axes
    assert [line.get_xydata().tolist() for line in axis.lines] == [[[0, 0], [1, 1]], [[0.2, 0.1], [0.9, 0.8]]]


def test_learning_curves_show_both_splits_and_mark_the_best_epoch():
    loss, _, f1, _ = drawn()["learning_curves"].axes
    assert [line.get_ydata().tolist() for line in loss.lines] == [[2, 1, 0.5], [2, 1.5, 1.8]]
    assert [line.get_ydata().tolist() for line in f1.lines] == [[0.1, 0.4, 0.8], [0.1, 0.3, 0.2], [0.3]]
    assert f1.lines[2].get_xdata().tolist() == [2]


def test_missing_cells_of_a_heatmap_are_empty():
    assert names(drawn()["heatmap"].axes[0].texts) == ["0.50", "0.30"]


def test_the_highlighted_system_shows_its_data():
    points = drawn()["against_others"].axes[0].lines[1]
    assert set(points.get_xdata()) == {0.3} and points.get_color() == figures.COLOURS["bert"]


def test_groups_stand_in_order_with_a_point_a_system_and_a_gap_where_there_is_no_value():
    above, below = drawn()["by_bin"].axes
    assert names(above.get_xticklabels()) == ["1: 3–9", "2: 10–40"] == names(below.get_xticklabels())
    values = {line.get_label(): line.get_ydata().tolist() for line in above.get_lines()}
    assert values["SVM"] == [0.4, 0.3] and values["ours"][0] == 0.5 and np.isnan(values["ours"][1])
    places = [line.get_xdata()[0] for line in above.get_lines()]
    assert places[0] < 0 < places[1], "systems stand beside each other"


def test_panels_of_one_system_each_are_named_by_their_titles_and_narrow_ones_turn_the_names_of_groups():
    panels = {name: pd.DataFrame({"bin": ["a joint", "d joint"], "system": name, "value": 0.5, "low": 0.4, "high": 0.6})
              for name in SYSTEMS}  # fmt: skip
    figure = charts.by_bin(panels, FAMILIES, columns=4)
    assert not figure.legends and [axis.get_title(loc="left") for axis in figure.axes] == SYSTEMS
    assert figure.axes[0].get_xticklabels()[0].get_rotation() == 35 and drawn()["by_bin"].legends


def test_a_difference_shows_where_it_is_none_and_a_score_does_not():
    frame = pd.DataFrame({"system": ["SVM"], "score": ["gain"], "value": [0.1], "low": [-0.1], "high": [0.2]})
    [axis] = charts.intervals(frame, FAMILIES).axes
    assert [line.get_xdata() for line in axis.get_lines()] == [[0, 0]]
    assert not drawn()["intervals"].axes[0].get_lines()


def test_dollar_signs_of_a_corpus_are_no_formula():
    for name, rows in (("class_frequencies", ""), ("against_others", " (9)")):
        assert rf"per:cause_of_\$death\${rows}" in names(drawn()[name].axes[0].get_yticklabels())


def test_families_have_distinct_colours():
    assert set(figures.COLOURS) == {"svm", "bilstm", "bert", "gpt2", "published", "trivial"}
    assert len(set(figures.COLOURS.values())) == 6
    assert all(re.fullmatch("#[0-9A-F]{6}", colour) for colour in figures.COLOURS.values())


def test_a_users_own_style_changes_nothing(tmp_path):
    """Not even one that draws white on black and wants LaTeX."""
    (tmp_path / "matplotlibrc").write_text(
        "text.usetex: True\naxes.facecolor: black\nfont.family: cursive\nsavefig.bbox: tight"
    )
    code = (
        "import sys; from pathlib import Path; import pandas as pd; from tacred_utils.notebook import charts, figures\n"
        "frame = pd.DataFrame({'train': [9, 1], 'dev': [1, 1], 'test': [2, 1]}, index=['a', 'b'])\n"
        "figures.save_figure(charts.class_frequencies(frame), Path(sys.argv[1]), 'x')"
    )
    for name in ("plain", "styled"):
        environment = os.environ | ({"MATPLOTLIBRC": str(tmp_path / "matplotlibrc")} if name == "styled" else {})
        subprocess.run([sys.executable, "-c", code, str(tmp_path / name)], cwd=ROOT, env=environment, check=True)
    assert (tmp_path / "plain" / "x.png").read_bytes() == (tmp_path / "styled" / "x.png").read_bytes()

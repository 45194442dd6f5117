"""Figures that set systems side by side: what is drawn is what the frames say."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text

from tacred_utils import plots_systems as plots
from tacred_utils.plots import COLOURS

SYSTEMS = ["ours", "theirs", plots.TRIVIAL]


def test_intervals_have_a_panel_a_score_and_a_row_a_system():
    rows = [(system, score, 0.5, 0.4, 0.6) for score in ("micro", "macro") for system in SYSTEMS]
    frame = pd.DataFrame(rows, columns=["system", "score", "value", "low", "high"])
    figure = plots.intervals(frame, "ours", sharex=True)
    assert [axis.get_title(loc="left") for axis in figure.axes] == ["micro", "macro"]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == SYSTEMS[::-1]
    drawn = [tuple(colour[:3]) for colour in figure.axes[0].collections[0].get_colors()]
    assert len(set(drawn)) == 3  # highlight, other, trivial


def test_names_never_cover_points_or_each_other():
    crowd = pd.DataFrame(
        {"system": [f"system {n}" for n in range(6)], "detection_f1": 0.7 + 0.002 * np.arange(6)}
    )
    figure = plots.detection_classification(crowd.assign(classification_accuracy=0.9), "system 0")
    figure.draw_without_rendering()
    texts = [text for text in figure.axes[0].texts if text.get_text().startswith("system")]
    boxes = [Text.get_window_extent(text).padded(-1) for text in texts]  # without the line to the point
    assert len(boxes) == 6
    assert not any(a.overlaps(b) for n, a in enumerate(boxes) for b in boxes[:n])


def test_score_by_count_names_only_the_classes_below_the_trend():
    frame = pd.DataFrame({"label": list("abcd"), "count": [10, 100, 1000, 5000], "f1": [0.2, 0.4, 0.6, 0.1]})
    axis = plots.score_by_count({"ours": frame}, "ours", "rows", named=1).axes[0]
    assert [text.get_text() for text in axis.texts] == ["d"] and "-0.20" in axis.get_title(loc="left")


def test_stacked_parts_start_where_the_last_ended():
    frame = pd.DataFrame({"kept": [0.75, 0.5], "changed": [0.25, 0.5]}, index=["one", "two"])
    bars = plots.stacked(frame, "share").axes[0].containers
    assert [bar.get_x() for bar in bars[1]] == [0.5, 0.75]  # rows from the bottom: two, one


@pytest.mark.parametrize("value", [0.0, 0.3])
def test_the_remaining_figures_draw(value):
    frame = pd.DataFrame(
        {"label": ["a"], "lowest": [0.1], "median": [0.2], "highest": [0.4], "ours": [value]}
    )
    points = plots.against_others(frame, "ours").axes[0].lines[1]
    assert points.get_xdata().tolist() == [value] and points.get_color() == COLOURS["bert"]
    rows = pd.Series([5, 900], index=[0, 1])
    assert len(plots.difficulty(rows, pd.DataFrame({"x": [value, 0], "y": [0, 0]})).axes[1].lines) == 2
    square = pd.DataFrame([[np.nan, value], [value, np.nan]], index=["a", "b"], columns=["a", "b"])
    assert len(plots.heatmap(square, "kappa").axes[0].texts) == 2

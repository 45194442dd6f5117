"""Figures that set systems side by side; like those of `plots`, they take data frames and return a Figure.

Frames name systems in a column `system`. The system `highlight` is drawn in BERT's colour, `TRIVIAL` in grey,
every other one in the colour of published systems.
"""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import spearmanr

from tacred_utils.plots import COLOURS, COLUMN, NEUTRAL, PAGE, PALE, use_style

TRIVIAL = "always no_relation"
CHANGES = [PALE, COLOURS["gpt2"], COLOURS["svm"], COLOURS["bilstm"], COLOURS["published"]]


def intervals(frame: pd.DataFrame, highlight: str, xlabel: str = "", sharex: bool = False) -> Figure:
    """Scores with intervals, a panel a score: columns system, score, value, low, high."""
    panels, systems = list(frame.score.unique()), list(frame.system.unique())[::-1]
    figure, axes = _panels(1, len(panels), PAGE, 0.55 + 0.19 * len(systems), sharey=True, sharex=sharex)
    for axis, score in zip(axes, panels, strict=True):
        part = frame[frame.score == score].set_index("system").loc[systems]
        colours = [_colour(name, highlight) for name in systems]
        axis.hlines(range(len(systems)), part.low, part.high, color=colours, linewidth=3, alpha=0.5)
        axis.scatter(
            part.value, range(len(systems)), marker="|", color=colours, s=45, linewidths=1.3, zorder=3
        )
        axis.set(title=score, xlabel=xlabel, yticks=range(len(systems)), yticklabels=systems)
        axis.tick_params(axis="y", length=0)
        axis.grid(axis="x")
    return figure


def detection_classification(frame: pd.DataFrame, highlight: str) -> Figure:
    """Classification accuracy against detection F1: columns system and both scores; curves of equal micro F1.

    Micro F1 is the product of the two, since both stages count the same rightly named rows.
    """
    figure, (axis,) = _panels(1, 1, COLUMN * 1.4, COLUMN)
    low, high = frame.detection_f1.min() - 0.03, frame.detection_f1.max() + 0.05
    bottom = frame.classification_accuracy.min() - 0.03
    axis.set(
        xlim=(low, high), ylim=(bottom, 1), xlabel="detection F1", ylabel="share rightly named, if detected"
    )
    detection = np.linspace(low, high, 400)
    for level in np.arange(0.05, 1, 0.05):
        curve = level / detection
        shown = np.flatnonzero((curve > bottom) & (curve < 1))
        if len(shown) > 40:  # room for its name
            axis.plot(detection[shown], curve[shown], color="#BBBBBB", linewidth=0.6, zorder=0)
            at = shown[12]
            box = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}
            axis.text(detection[at], curve[at], f"{level:.2f}", color=NEUTRAL, fontsize=6, bbox=box)
    colours = [_colour(name, highlight) for name in frame.system]
    axis.scatter(frame.detection_f1, frame.classification_accuracy, color=colours, s=18, zorder=3)
    _annotate(axis, frame.detection_f1, frame.classification_accuracy, frame.system)
    return figure


def stacked(frame: pd.DataFrame, xlabel: str) -> Figure:
    """Horizontal bars of parts: a bar for each row (its index), a part for each column."""
    figure, (axis,) = _panels(1, 1, PAGE, 0.75 + 0.24 * len(frame))
    frame.iloc[::-1].plot.barh(stacked=True, ax=axis, color=CHANGES, width=0.72, legend=False)
    axis.set(xlabel=xlabel, ylabel="", xlim=(0, frame.sum(axis=1).max()))
    axis.tick_params(axis="y", length=0)
    figure.legend(loc="outside upper right", ncols=len(frame.columns))
    return figure


def score_by_count(panels: Mapping[str, pd.DataFrame], highlight: str, xlabel: str, named: int = 5) -> Figure:
    """Class F1 against the class's count (log scale), a panel an entry: columns label, count, f1.

    The `named` classes whose rank by F1 is furthest below their rank by count are named; titles give
    Spearman's rho.
    """
    figure, axes = _panels(1, len(panels), PAGE, 2.4, sharey=True, sharex=True)
    for axis, (title, frame) in zip(axes, panels.items(), strict=True):
        rho = spearmanr(frame["count"], frame.f1).statistic
        axis.scatter(
            frame["count"], frame.f1, color=_colour(title, highlight), s=14, alpha=0.75, linewidths=0
        )
        axis.set(xscale="log", xlabel=xlabel, title=f"{title}: Spearman's rho {rho:.2f}", ylim=(-0.03, 1))
        axis.set_xlim(frame["count"].min() / 1.3, frame["count"].max() * 3)  # room for names
        axis.xaxis.set_major_formatter("{x:,.0f}")
        below = (frame.f1.rank() - frame["count"].rank()).nsmallest(named).index
        _annotate(axis, frame["count"], frame.f1, frame.label.where(frame.index.isin(below), ""))
    axes[0].set_ylabel("F1 of the relation")
    return figure


def against_others(frame: pd.DataFrame, highlight: str) -> Figure:
    """One system against the others' range, by class: columns label, lowest, median, highest, `highlight`."""
    figure, (axis,) = _panels(1, 1, PAGE * 0.75, 0.6 + 0.14 * len(frame))
    rows, colour = np.arange(len(frame))[::-1], COLOURS["published"]
    axis.hlines(rows, frame.lowest, frame.highest, color=colour, linewidth=2.5, alpha=0.35)
    axis.plot(
        frame["median"],
        rows,
        "|",
        color=colour,
        markersize=7,
        markeredgewidth=1.6,
        label="other systems: range and median",
    )
    axis.plot(frame[highlight], rows, "o", color=COLOURS["bert"], markersize=3.5, label=highlight)
    axis.set(
        yticks=rows,
        yticklabels=frame.label,
        xlabel="F1 of the relation",
        xlim=(-0.02, 1),
        ylim=(-0.8, len(frame) - 0.2),
    )
    axis.tick_params(axis="y", length=0, labelsize=6)
    axis.grid(axis="x")
    figure.legend(loc="outside upper right", ncols=2)
    return figure


def difficulty(rows: pd.Series, shares: pd.DataFrame) -> Figure:
    """Above: rows by the number of systems that are right (index); below: a line a column of `shares`."""
    figure, (above, below) = _panels(2, 1, COLUMN, 3, sharex=True)
    above.bar(rows.index, rows, color=NEUTRAL)
    above.set(yscale="log", ylabel="rows (log scale)", ylim=(100, None))
    above.yaxis.set_major_formatter("{x:,.0f}")
    for name, style in zip(shares.columns, ("o-", "s--", "^:"), strict=False):
        below.plot(
            shares.index, shares[name], style, color="black" if style == "o-" else "#56B4E9", label=name
        )
    below.set(
        xlabel="systems that agree with TACRED's label",
        ylabel="share relabelled",
        ylim=(-0.02, 1),
        xticks=rows.index,
    )
    below.legend()
    return figure


def heatmap(frame: pd.DataFrame, label: str) -> Figure:
    """A square of numbers with their values: rows and columns as in the frame, missing cells empty."""
    figure, (axis,) = _panels(1, 1, PAGE * 0.75, PAGE * 0.5)
    sns.heatmap(
        frame,
        ax=axis,
        annot=True,
        fmt=".2f",
        cmap="cividis",
        annot_kws={"size": 6},
        cbar_kws={"label": label},
    )
    axis.tick_params(length=0)
    axis.tick_params(axis="x", rotation=35)
    plt.setp(axis.get_xticklabels(), ha="right", rotation_mode="anchor")
    axis.set(xlabel="", ylabel="")
    return figure


def _panels(
    rows: int, columns: int, width: float, height: float, **shared: bool
) -> tuple[Figure, list[Axes]]:
    """A figure in the study's style, not shown by itself, and its panels in one list."""
    use_style()
    figure, axes = plt.subplots(rows, columns, figsize=(width, height), squeeze=False, **shared)
    plt.close(figure)
    return figure, list(axes.flat)


def _colour(system: str, highlight: str) -> str:
    return COLOURS["bert" if system == highlight else "trivial" if system == TRIVIAL else "published"]


def _annotate(axis: Axes, x: pd.Series, y: pd.Series, names: pd.Series, size: float = 6) -> None:
    """Write each name beside its point, right or left of it or shifted: none covers another or a point.

    Points with an empty name are only kept free.
    """
    axis.figure.draw_without_rendering()  # places the axes
    points = axis.transData.transform(np.column_stack([x, y])) * 72 / axis.figure.dpi  # in points of type
    taken = [(px - 2, py - 2, px + 2, py + 2) for px, py in points]
    shifts = sorted(range(-40, 42, 2), key=abs)
    places = [(side, up) for up in shifts for side in ("left", "right")]  # the side of the text at the point
    for (px, py), position, name in zip(points, zip(x, y, strict=True), names, strict=True):
        if not name:
            continue
        width, height = 0.6 * size * len(name), 1.25 * size
        for side, up in places:
            left, low = px + 5 if side == "left" else px - 5 - width, py - height / 2 + up
            box = (left, low, left + width, low + height)
            if not any(_overlap(box, other) for other in taken):
                break
        taken.append(box)
        ends = (0 if side == "left" else 1, 0.5)  # where the line leaves the text
        line = {"arrowstyle": "-", "color": NEUTRAL, "linewidth": 0.4, "shrinkA": 0, "relpos": ends}
        axis.annotate(
            name, position, (5 if side == "left" else -5, up), textcoords="offset points", fontsize=size,
            ha=side, va="center", arrowprops=line if abs(up) > 4 else None,
        )  # fmt: skip


def _overlap(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]

"""The study's figures: each function takes data frames, knows nothing of models, and returns a Figure."""

from collections.abc import Mapping
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import spearmanr

from tacred_utils.paths import PACKAGE, atomic_path

COLUMN, PAGE = 3.35, 6.9  # inches: the column and the text width of a two-column page

# One colour per model family, from Okabe and Ito's palette, the same in every figure.
COLOURS = {
    "svm": "#E69F00", "bilstm": "#009E73", "bert": "#0072B2", "gpt2": "#D55E00", "published": "#CC79A7",
    "trivial": "#7F7F7F",
}  # fmt: skip
NEUTRAL = "#4D4D4D"  # data about the corpus, not about a system


def use_style() -> None:
    """Set Matplotlib to the study's style for the rest of the process."""
    plt.style.use(PACKAGE / "study.mplstyle")


def save_figure(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write name.pdf (embedded TrueType) and name.png (300 dpi); equal figures give equal bytes. Returns both paths."""
    use_style()  # fonttype and resolution are read when saving
    files = [Path(folder) / f"{name}.{suffix}" for suffix in ("pdf", "png")]
    for file, metadata in zip(files, ({"CreationDate": None}, {"Software": None}), strict=True):
        with atomic_path(file) as temporary:
            figure.savefig(temporary, format=file.suffix[1:], metadata=metadata)
    return files


# Figures that compare systems. Frames name systems in a column `system`; `highlight` is drawn in the BERT colour,
# TRIVIAL in grey, every other system in the colour of published ones.

TRIVIAL = "always no_relation"


def intervals(frame: pd.DataFrame, highlight: str | None = None) -> Figure:
    """Scores with intervals, a panel a score: columns system, score, value, low, high; systems from top to bottom."""
    panels = list(frame.score.unique())
    systems = list(frame.system.unique())[::-1]
    size = (PAGE, 0.5 + 0.19 * len(systems))
    figure, axes = plt.subplots(1, len(panels), figsize=size, sharey=True, squeeze=False)
    for axis, score in zip(axes[0], panels, strict=True):
        part = frame[frame.score == score].set_index("system")
        for position, name in enumerate(systems):
            if name in part.index:
                row = part.loc[name]
                axis.plot([row.low, row.high], [position] * 2, color=_colour(name, highlight), linewidth=2)
                axis.plot(row.value, position, "o", color=_colour(name, highlight), markersize=3.5)
        axis.set(title=score, yticks=range(len(systems)), yticklabels=systems)
        axis.grid(axis="x")
    return figure


def detection_classification(frame: pd.DataFrame, highlight: str | None = None) -> Figure:
    """Detection F1 against classification accuracy: columns system and both scores; curves of equal micro F1.

    Micro F1 is the product of the two, since both stages count the same correctly named rows.
    """
    figure, axis = plt.subplots(figsize=(COLUMN * 1.35, COLUMN))
    low, high = frame.detection_f1.min() - 0.03, frame.detection_f1.max() + 0.03
    bottom = min(frame.classification_accuracy.min() - 0.03, 0.9)
    detection = np.linspace(low, high, 100)
    for level in np.arange(0.3, 1, 0.05):
        curve = level / detection
        shown = (curve > bottom) & (curve < 1)
        axis.plot(detection[shown], curve[shown], color="#BBBBBB", linewidth=0.6, zorder=0)
        if shown.any() and shown.argmax() != len(shown) - 1:
            at = int(shown.argmax())
            axis.annotate(f"{level:.2f}", (detection[at], curve[at]), color=NEUTRAL, fontsize=6)
    for row in frame.itertuples():
        axis.plot(row.detection_f1, row.classification_accuracy, "o", color=_colour(row.system, highlight))
    axis.set(xlim=(low, high), ylim=(bottom, 1), xlabel="Detection F1", ylabel="Classification accuracy, if detected")
    _annotate(axis, frame, "detection_f1", "classification_accuracy")
    return figure


def stacked(frame: pd.DataFrame, xlabel: str) -> Figure:
    """Horizontal bars of parts: a bar for each row (its index), a part for each column, from left to right."""
    colours = ["#DDDDDD", COLOURS["gpt2"], COLOURS["svm"], COLOURS["bilstm"], COLOURS["published"]]
    figure, axis = plt.subplots(figsize=(PAGE, 0.75 + 0.24 * len(frame)))
    frame.iloc[::-1].plot.barh(stacked=True, ax=axis, color=colours, width=0.72)
    axis.set(xlabel=xlabel, ylabel="")
    axis.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=len(frame.columns))
    return figure


def score_by_count(panels: Mapping[str, pd.DataFrame], xlabel: str, names: int = 5) -> Figure:
    """Class F1 against the class's count (log scale), a panel an entry: columns label, count, f1.

    Titles give Spearman's rank correlation; the `names` classes furthest below the trend of ranks are named.
    """
    figure, axes = plt.subplots(1, len(panels), figsize=(PAGE, 2.5), sharey=True, squeeze=False)
    for axis, (title, frame) in zip(axes[0], panels.items(), strict=True):
        rho = spearmanr(frame["count"], frame.f1).statistic
        axis.plot(frame["count"], frame.f1, "o", color=NEUTRAL, alpha=0.6)
        below = (frame.f1.rank() - frame["count"].rank()).nsmallest(names).index
        axis.set(xscale="log", xlabel=xlabel, title=f"{title}: Spearman {rho:.2f}", ylim=(-0.03, 1.03))
        axis.set_xlim(right=frame["count"].max() * 6)  # room for names
        _annotate(axis, frame.loc[below], "count", "f1", "label")
    axes[0, 0].set_ylabel("F1 of the class")
    return figure


def against_others(frame: pd.DataFrame, highlight: str) -> Figure:
    """One system against the range of others, by class: columns label, lowest, median, highest, and `highlight`."""
    figure, axis = plt.subplots(figsize=(PAGE * 0.8, 0.6 + 0.145 * len(frame)))
    position = np.arange(len(frame))[::-1]
    axis.hlines(position, frame.lowest, frame.highest, color=COLOURS["published"], linewidth=2.5, alpha=0.35)
    axis.plot(frame["median"], position, "|", color=COLOURS["published"], markersize=7, markeredgewidth=1.6, label="other systems: range, median")
    axis.plot(frame[highlight], position, "o", color=COLOURS["bert"], label=highlight)
    axis.set(yticks=position, yticklabels=frame.label, xlabel="F1 of the class", ylim=(-0.8, len(frame) - 0.2))
    axis.grid(axis="x")
    axis.legend(loc="lower center", bbox_to_anchor=(0.4, 1), ncols=2)
    return figure


def difficulty(rows: pd.Series, shares: pd.DataFrame) -> Figure:
    """Above: rows by the number of systems that are right (index); below: a line for each column of shares."""
    figure, (above, below) = plt.subplots(2, 1, figsize=(COLUMN, 3), sharex=True)
    above.bar(rows.index, rows, color=NEUTRAL)
    above.set(yscale="log", ylabel="Rows")
    for name, marker in zip(shares.columns, "os^", strict=False):
        below.plot(shares.index, shares[name], marker=marker, label=name)
    below.set(xlabel="Number of systems that agree with TACRED's label", ylabel="Share relabelled", ylim=(0, 1), xticks=rows.index)
    below.legend()
    return figure


def heatmap(frame: pd.DataFrame, label: str) -> Figure:
    """A square of numbers with their values: rows and columns as in the frame, missing cells empty."""
    figure, axis = plt.subplots(figsize=(PAGE * 0.75, PAGE * 0.5))
    sns.heatmap(frame, ax=axis, annot=True, fmt=".2f", cmap="cividis", annot_kws={"size": 6}, cbar_kws={"label": label})
    axis.tick_params(axis="x", rotation=35)
    plt.setp(axis.get_xticklabels(), ha="right", rotation_mode="anchor")
    axis.set(xlabel="", ylabel="")
    return figure


def _colour(system: str, highlight: str | None) -> str:
    return COLOURS["bert" if system == highlight else "trivial" if system == TRIVIAL else "published"]


def _annotate(axis: Axes, frame: pd.DataFrame, x: str, y: str, name: str = "system") -> None:
    """Write names right of their points, moved apart vertically where they would overlap."""
    axis.figure.canvas.draw()
    taken: list[float] = []
    for row in frame.sort_values(y).itertuples():
        point = axis.transData.transform((getattr(row, x), getattr(row, y)))
        height = max([point[1], *(level + 11 for level in taken[-1:])])
        taken.append(height)
        shift = (height - point[1]) * 72 / axis.figure.dpi
        axis.annotate(getattr(row, name), (getattr(row, x), getattr(row, y)), (4, shift - 2), textcoords="offset points", fontsize=6)

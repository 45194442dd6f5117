"""The study's charts: each function takes data frames, knows nothing of models, and returns a Figure.

Frames name systems in a column `system`; `families` maps a system to its family, which gives its colour. A system that
is not in it was published by others. Text from a corpus is drawn as it stands.
"""

from collections.abc import Mapping
from textwrap import fill

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tacred_utils.notebook.figures import (
    COLOURS,
    COLUMN,
    LINES,
    NEUTRAL,
    PAGE,
    PALE,
    ROW,
    SKY,
    Families,
    canvas,
    colour_of,
    count_ticks,
    interval_rows,
    looks,
    name_points,
    name_rows,
    plain,
)  # fmt: skip

INTERVAL = "score (bars: 95 % interval)"
SPLIT_MARKS = {"train": "|", "dev": "x", "test": "o"}  # told apart without colour, which belongs to families

# Facts about a corpus


def class_frequencies(counts: pd.DataFrame) -> Figure:
    """Rows per label on a log scale, a mark for each split. `counts` is indexed by label, with a column for each split."""
    counts = counts.loc[counts.sum(axis=1).sort_values(kind="stable", ascending=False).index]
    width = COLUMN if counts.index.str.len().max() < 30 else PAGE  # long names leave a column no room
    figure, (axis,) = canvas(1, width, 0.9 + ROW * len(counts))
    rows = name_rows(axis, counts.index)
    axis.hlines(rows, counts.where(counts > 0).min(axis=1), counts.max(axis=1), color=PALE, linewidth=2, zorder=0)
    for split in counts:
        shown = counts[split] > 0  # a log scale has no zero
        axis.plot(counts[split][shown], rows[shown], SPLIT_MARKS[split], color=NEUTRAL, ms=3, ls="", label=split)
    axis.set(xscale="log", xlabel="rows (log scale)")
    count_ticks(axis.xaxis)
    figure.legend(loc="outside lower left", ncols=3)
    return figure


def sentence_lengths(lengths: pd.DataFrame) -> Figure:
    """Distribution of sentence length per split. `lengths` has a row per sentence: split, tokens."""
    figure, (axis,) = canvas(1, COLUMN, 2.6)
    edges = np.arange(0, lengths["tokens"].max() + 5, 4)
    splits = lengths.groupby("split", sort=False)["tokens"]
    for (split, part), (line, colour, _) in zip(splits, LINES, strict=False):
        name = f"{split}: mean {part.mean():.1f}, longest {part.max()}"
        shares = 100 * np.histogram(part, edges)[0] / len(part)
        axis.stairs(shares, edges, color=colour, linestyle=line, linewidth=1, label=name)
    axis.set(xlabel="sentence length (tokens)", ylabel="% of the split's rows", xlim=(0, None))
    figure.legend(loc="outside lower left")
    return figure


def stacked(frame: pd.DataFrame, xlabel: str) -> Figure:
    """Horizontal bars of parts: a bar for each row (its index), a part for each column."""
    figure, (axis,) = canvas(1, PAGE, 0.75 + 0.24 * len(frame))
    colours = [PALE, SKY, NEUTRAL, "#F0E442", "white"][: len(frame.columns)]
    frame.rename(columns=plain).plot.barh(stacked=True, ax=axis, width=0.72, color=colours, ec=NEUTRAL, legend=False)
    name_rows(axis, frame.index)
    axis.set(xlabel=xlabel, ylabel="", xlim=(0, frame.sum(axis=1).max()))
    figure.legend(loc="outside lower left", ncols=len(frame.columns))
    return figure


# Systems side by side


def intervals(frame: pd.DataFrame, families: Families, xlabel: str = INTERVAL, sharex: bool = False) -> Figure:
    """Scores with intervals, a panel a score and a row a system: columns system, score, value, low, high."""
    scores, systems = frame["score"].unique(), frame["system"].unique()
    colours, height = [colour_of(name, families) for name in systems], 0.75 + 0.19 * len(systems)
    figure, axes = canvas(len(scores), PAGE, height, columns=len(scores), sharey=True, sharex=sharex)
    for axis, score in zip(axes, scores, strict=True):
        part = frame[frame["score"] == score].set_index("system").reindex(systems)
        interval_rows(axis, systems, part.value, part.low, part.high, colours)
        if part.low.min() < 0:  # a difference: where it is none
            axis.axvline(0, color=NEUTRAL, linewidth=0.6)
        axis.xaxis.set_major_locator(MaxNLocator(max(3, 10 // len(scores))))  # more numbers would run into each other
        axis.set_title(plain(score))
    figure.supxlabel(xlabel, size=8)
    return figure


def by_bin(
    panels: Mapping[str, pd.DataFrame], families: Families, xlabel: str = "", ylabel: str = "", columns: int = 1
) -> Figure:
    """A score by groups of rows, a line a system with intervals, panels of one scale in rows of `columns`.

    A panel's frame has columns bin (in order), system, value, low, high; a group without a value leaves a gap.
    Systems stand a little beside the place of their group, so that intervals do not cover each other.
    """
    every = pd.concat(panels)
    drawn = looks(every["system"].unique(), families)  # the same in all panels, as the legend is
    if apart := [*drawn] == [*panels]:  # a panel a system: titles name them
        drawn = {name: looks([name], families)[name] for name in panels}
    columns = min(columns, len(panels))
    figure, axes = canvas(len(panels), PAGE, 1.1 + 1.75 * -(-len(panels) // columns), columns=columns, sharey=True)
    for axis, (name, frame) in zip(axes, panels.items(), strict=True):
        bins, systems = frame["bin"].unique(), frame["system"].unique()
        reach = min(0.3, 0.06 * (len(systems) - 1))
        for system, shift in zip(systems, np.linspace(-reach, reach, len(systems)), strict=True):
            part = frame[frame["system"] == system].set_index("bin").reindex(bins)
            look, places = drawn[system], np.arange(len(bins)) + shift
            axis.vlines(places, part["low"], part["high"], color=look["color"], alpha=0.45, linewidth=1.5)
            axis.plot(places, part["value"], **look, ms=3.5, lw=0.8, label=plain(system))
        narrow = {"rotation": 35, "ha": "right", "rotation_mode": "anchor"} if columns > 2 else {}
        axis.set_xticks(range(len(bins)), [plain(group) for group in bins], **narrow)
        axis.set(xlim=(-0.5, len(bins) - 0.5), title=fill(plain(name), 100 // columns) if len(panels) > 1 else "")
        axis.grid(axis="y")
    for axis in axes[::columns]:
        axis.set_ylabel(ylabel)
    axes[::columns][-1].set_xlabel(xlabel, loc="left")
    handles = {label: handle for axis in axes for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    if every["value"].max() <= 1:  # a score, not a loss
        axes[0].set_ylim(top=min(axes[0].get_ylim()[1], 1.02))
    if not apart:
        figure.legend(handles.values(), handles.keys(), loc="outside lower left", ncols=min(3, len(handles)))
    return figure


def against_others(frame: pd.DataFrame, system: str, families: Families, xlabel: str) -> Figure:
    """One system (a column) against the others' range, by class: columns label, rows, lowest, median, highest."""
    figure, (axis,) = canvas(1, PAGE, 0.8 + ROW * len(frame))
    colour, names = COLOURS["published"], [f"{row.label} ({row.rows:,})" for row in frame.itertuples()]
    rows = interval_rows(axis, names, frame["median"], frame.lowest, frame.highest, colour, "median of the others")
    axis.plot([], [], color=colour, linewidth=3, alpha=0.45, label="from the lowest to the highest of the others")
    axis.plot(frame[system], rows, "o", color=colour_of(system, families), ms=3.5, label=plain(system))
    axis.set(xlabel=xlabel, xlim=(-0.02, 1))
    figure.legend(loc="outside lower left", ncols=3)
    return figure


def evidence(frame: pd.DataFrame, claims: pd.DataFrame, marks: Mapping[str, str]) -> Figure:
    """Claims as rows, and in each its tests: how far estimate and interval lie within what the claim needs.

    `frame` has claim, verdict, value, low, high, the last three 0 at the edge of the needed range and positive within;
    `claims` has claim, name and verdict (written at the right), in the order of the rows; `marks` maps the verdicts of
    tests to Matplotlib's marks, in the order of the legend. What lies beyond the axis is drawn at its edge, as an arrow.
    """
    edge, shades = 4, dict(zip(marks, (SKY, NEUTRAL, "black"), strict=True))
    figure, (axis,) = canvas(1, PAGE, 1.1 + 0.27 * len(claims))
    places = dict(zip(claims.claim, name_rows(axis, claims.claim + " " + claims.name), strict=True))
    beside = frame.groupby("claim").claim
    rows = frame.claim.map(places) + 0.76 * (beside.cumcount() + 0.5) / beside.transform("size") - 0.38
    shown = frame[["value", "low", "high"]].clip(-edge, edge).assign(row=rows, verdict=frame.verdict)
    for kind, mark in marks.items():
        tests, colour = shown[shown.verdict == kind], shades[kind]
        axis.hlines(tests.row, tests.low, tests.high, color=colour, linewidth=0.8)
        face = "none" if mark == "o" else colour
        axis.plot(tests.value, tests.row, mark, color=colour, mfc=face, mew=0.8, ms=4, label=plain(kind))
    for side, arrow in ((-1, "<"), (1, ">")):
        far = rows[side * frame.value > edge]
        axis.plot(np.full(len(far), side * edge * 1.04), far, arrow, color=NEUTRAL, ms=2.5, clip_on=False)
    for place, answer in zip(places.values(), claims.verdict, strict=True):
        axis.text(edge * 1.12, place, answer.partition(" by ")[0], va="center", fontsize=7, color=NEUTRAL)
        axis.axhline(place + 0.5, color="#DDDDDD", linewidth=0.4, zorder=0)
    axis.axvline(0, color=NEUTRAL, linewidth=0.8, zorder=1)
    axis.set(xlim=(-edge * 1.08, edge * 1.08))
    axis.set_xlabel("how far the estimate lies inside what the claim needs, in half-widths of its interval\n"
                    "(right of 0: as claimed; bars: 95 % interval over test texts and seeds, or rounding)")  # fmt: skip
    figure.legend(loc="outside lower left", ncols=len(marks))
    return figure


def f1_by_rows(frame: pd.DataFrame, family: str, named: int = 5) -> Figure:
    """F1 of each class (label, train, f1, low, high) against its training rows, on a log scale.

    The title gives Spearman's rho; the `named` classes that lower it most, by the distance of the two ranks, are named.
    """
    figure, (axis,) = canvas(1, COLUMN, 2.6)
    frame = frame[frame["train"] > 0]
    f1, rows = frame["f1"].rank(), frame["train"].rank()
    axis.scatter(frame["train"], frame["f1"], color=COLOURS[family], s=14, alpha=0.75, linewidths=0)
    axis.vlines(frame["train"], frame["low"], frame["high"], color=COLOURS[family], alpha=0.35, linewidth=0.8)
    rho = f"Spearman's rho {f1.corr(rows):.2f}" if f1.nunique() > 1 < rows.nunique() else ""
    axis.set(xscale="log", xlabel="training rows (log scale)", ylabel="F1 (bars: 95 % interval)", title=rho)
    axis.set(ylim=(-0.03, 1.03), xlim=(frame["train"].min() / 1.3, frame["train"].max() * 4))  # room for names
    count_ticks(axis.xaxis)
    farthest = (f1 - rows).abs().nlargest(named).index
    name_points(axis, frame["train"], frame["f1"], frame["label"].where(frame.index.isin(farthest), ""))
    return figure


def detection_classification(frame: pd.DataFrame, families: Families) -> Figure:
    """Classification accuracy against detection F1, with curves of equal micro F1, which is the product of the two.

    Columns system, and of both scores their value, low and high (`detection_f1`, `detection_f1_low`, …).
    """
    figure, (axis,) = canvas(1, PAGE, 3.6)
    x, y = "detection_f1", "classification_accuracy"
    low, high, bottom = frame[f"{x}_low"].min() - 0.01, frame[f"{x}_high"].max() + 0.01, frame[f"{y}_low"].min() - 0.02
    axis.set(xlim=(low, high), ylim=(bottom, 1), xlabel="detection F1", ylabel="share rightly named, if detected")
    detection = np.linspace(low, high, 400)
    for level in np.arange(0.05, 1, 0.05):
        shown = detection[(level / detection > bottom) & (level / detection < 1)]
        if len(shown) > 40:  # room for its name
            axis.plot(shown, level / shown, color="#BBBBBB", linewidth=0.6, zorder=0)
            box = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}
            name = {"color": NEUTRAL, "fontsize": 6, "bbox": box, "ha": "right", "zorder": 1}
            axis.text(shown[-8], level / shown[-8], f"micro F1 {level:.2f}", **name)
    colours = [colour_of(name, families) for name in frame.system]
    axis.hlines(frame[y], frame[f"{x}_low"], frame[f"{x}_high"], color=colours, alpha=0.4, linewidth=1)
    axis.vlines(frame[x], frame[f"{y}_low"], frame[f"{y}_high"], color=colours, alpha=0.4, linewidth=1)
    axis.scatter(frame[x], frame[y], color=colours, s=18, zorder=3)
    name_points(axis, frame[x], frame[y], frame.system)
    return figure


def curves(frame: pd.DataFrame, x: str, y: str, families: Families, dots: str = "") -> Figure:
    """A line a system through its rows in their order, both axes from 0 to 1: precision against recall, say.

    Rows whose optional column `dot` is True get a dot, of which `dots` says in the legend what it is.
    """
    figure, (axis,) = canvas(1, COLUMN, 2.9)
    axis.set(xlim=(0, 1), ylim=(0, 1.02), xlabel=x, ylabel=y)
    drawn = looks(frame["system"].unique(), families)
    for system, part in frame.groupby("system", sort=False):
        axis.plot(part[x], part[y], **drawn[system] | {"marker": ""}, label=plain(system))
        if "dot" in part:
            axis.plot(part[x][part["dot"]], part[y][part["dot"]], "o", color=drawn[system]["color"], ms=4.5)
    if dots:
        axis.plot([], [], "o", color=NEUTRAL, ms=4.5, label=dots)
    figure.legend(loc="outside lower left", ncols=2 if max(map(len, drawn)) < 26 else 1)
    return figure


def reliability(frame: pd.DataFrame, families: Families) -> Figure:
    """Share of answers that are right against confidence, a panel a system: columns confidence, right, low, high.

    Dotted: where a calibrated system would lie. Above it a system is not sure enough, below too sure.
    """
    systems = frame["system"].unique()
    columns = min(4, len(systems))
    height = 0.4 + 1.8 * -(-len(systems) // columns)
    figure, axes = canvas(len(systems), PAGE, height, columns=columns, sharex=True, sharey=True)
    for axis, (system, part) in zip(axes, frame.groupby("system", sort=False), strict=True):
        colour = colour_of(system, families)
        axis.plot([0, 1], [0, 1], color=NEUTRAL, linewidth=0.6, linestyle=":")
        axis.vlines(part["confidence"], part["low"], part["high"], color=colour, alpha=0.45, linewidth=2)
        axis.plot(part["confidence"], part["right"], "o-", color=colour, ms=3, linewidth=0.8)
        axis.set_title(fill(plain(system), 90 // columns), fontsize=7)
        axis.set(xlim=(0, 1.02), ylim=(0, 1.02), xlabel="confidence")
    axes[0].set_ylabel("share right (bars: 95 %)")
    return figure


def heatmap(frame: pd.DataFrame, label: str) -> Figure:
    """Numbers by rows and columns as in the frame, missing cells empty; up to 12 rows they are written in.

    The names of its index and columns stand at the axes. `label` says what the numbers are.
    """
    small = len(frame) <= 12
    names = (0.035 if small else 0.05) * max(len(plain(name)) for name in frame)  # inches that they take below, turned
    rows = max(len(frame), 0.3 * len(frame.index.name or ""))  # its name stands along them
    figure, (axis,) = canvas(1, PAGE, 0.7 + names + (0.22 if small else ROW) * rows)
    drawn = frame.rename(index=plain, columns=plain)
    written = {"annot": small, "fmt": ".2f", "annot_kws": {"size": 6}}
    sns.heatmap(
        drawn, ax=axis, cmap="cividis", cbar_kws={"label": label}, xticklabels=True, yticklabels=True, **written
    )
    axis.tick_params(length=0, labelsize=7 if small else 5)
    axis.tick_params(axis="y", labelrotation=0)
    upright = {"rotation": 35, "ha": "right", "rotation_mode": "anchor"} if small else {"rotation": 90}
    axis.set_xticks(axis.get_xticks(), [text.get_text() for text in axis.get_xticklabels()], **upright)
    return figure


def learning_curves(histories: Mapping[str, pd.DataFrame], family: str) -> Figure:
    """Loss and macro F1 by epoch, train (dashed) against dev (solid), a column of panels for each run by name.

    Each history has epoch, train_loss, dev_loss, train_macro_f1, dev_macro_f1; the best dev F1 is marked.
    """
    columns = len(histories)
    figure, axes = canvas(2 * columns, PAGE, 3.2, columns=columns, sharex="col", sharey="row")
    for loss, f1, (name, history) in zip(axes, axes[columns:], histories.items(), strict=False):
        for axis, score in ((loss, "loss"), (f1, "macro_f1")):
            axis.plot(history["epoch"], history[f"train_{score}"], "--", color=NEUTRAL, label="train")
            axis.plot(history["epoch"], history[f"dev_{score}"], "-", color=COLOURS[family], label="dev")
        best = history.loc[history["dev_macro_f1"].idxmax()]
        f1.plot(best["epoch"], best["dev_macro_f1"], "o", color=COLOURS[family], label="best epoch")
        loss.set_title(plain(name))
        f1.set(xlabel="epoch", ylim=(0, 1.02))
        f1.xaxis.set_major_locator(MaxNLocator(4, integer=True, min_n_ticks=1))
    axes[0].set(ylabel="weighted loss", ylim=(0, None))  # for the row, once everything is drawn
    axes[columns].set_ylabel("macro F1")
    figure.legend(*axes[-1].get_legend_handles_labels(), loc="outside upper right", ncols=3)
    return figure

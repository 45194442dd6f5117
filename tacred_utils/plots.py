"""The study's figures: each function takes data frames, knows nothing of models, and returns a Figure."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from tacred_utils.paths import PACKAGE, atomic_path

COLUMN, PAGE = 3.35, 6.9  # inches: the column and the text width of a two-column page
ROW = 0.14  # inches: one line of 7 pt type in a bar chart

# One colour per model family, from Okabe and Ito's palette, the same in every figure.
COLOURS = {
    "svm": "#E69F00", "bilstm": "#009E73", "bert": "#0072B2", "gpt2": "#D55E00", "published": "#CC79A7",
    "trivial": "#7F7F7F",
}  # fmt: skip
NEUTRAL = "#4D4D4D"  # facts about a corpus, not about a system
PALE = "#D9D9D9"
SPLIT_MARKS = {"train": "|", "dev": "x", "test": "o"}  # told apart without colour, which belongs to families


def use_style() -> None:
    """Set Matplotlib to the study's style for the rest of the process."""
    plt.style.use(PACKAGE / "study.mplstyle")


def save_figure(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write name.pdf (TrueType fonts) and name.png (300 dpi), equal bytes for equal figures; return both."""
    use_style()  # fonttype and resolution are read when saving
    files = [Path(folder) / f"{name}.{suffix}" for suffix in ("pdf", "png")]
    for file, metadata in zip(files, ({"CreationDate": None}, {"Software": None}), strict=True):
        with atomic_path(file) as temporary:
            figure.savefig(temporary, format=file.suffix[1:], metadata=metadata)
    return files


def class_frequencies(counts: pd.DataFrame, title: str = "") -> Figure:
    """Rows per label on a log scale: bars for the whole corpus, a mark for each split.

    `counts` is indexed by label, with a column of counts for each split (train, dev, test).
    """
    counts = counts.loc[counts.sum(axis=1).sort_values(kind="stable").index]  # rarest at the bottom
    figure, axes = _new(COLUMN, 0.7 + ROW * len(counts))
    places = np.arange(len(counts))
    axes.barh(places, counts.sum(axis=1), color=PALE, height=0.8, label="all splits")
    for split in counts:
        shown = counts[split] > 0  # a log scale has no zero
        axes.plot(
            counts[split][shown], places[shown], SPLIT_MARKS[split], color=NEUTRAL, markersize=3, label=split
        )
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(_THOUSANDS)
    _name_rows(axes, counts.index)
    axes.set(xlabel="rows (log scale)", ylim=(-0.7, len(counts) - 0.3))
    axes.legend(loc="lower right")  # the rarest classes leave room there
    return _titled(figure, title)


def sentence_lengths(lengths: pd.DataFrame, title: str = "", bins: Sequence[float] | None = None) -> Figure:
    """Distribution of sentence length per split. `lengths` has a row per sentence: split, tokens."""
    figure, axes = _new(COLUMN, 2.1)
    edges = np.arange(0, lengths["tokens"].max() + 5, 4) if bins is None else np.asarray(bins)
    for index, (split, part) in enumerate(lengths.groupby("split", sort=False)["tokens"]):
        colour, line = (NEUTRAL, "#56B4E9", "#000000")[index % 3], ("-", "-", ":")[index % 3]
        rows, _ = np.histogram(part, edges)
        axes.stairs(100 * rows / len(part), edges, color=colour, linestyle=line, linewidth=1)
        text = f"{split}: mean {part.mean():.1f}, longest {part.max()}"
        axes.text(
            1,
            1 - 0.09 * index,
            text,
            transform=axes.transAxes,
            ha="right",
            va="top",
            fontsize=7,
            color=colour,
        )
    axes.set(xlabel="sentence length (tokens)", ylabel="share of the split's rows (%)", xlim=(0, None))
    return _titled(figure, title)


def score_dots(
    scores: pd.DataFrame, families: Sequence[str], title: str = "", xlabel: str = "score"
) -> Figure:
    """Each row of `scores` (a metric) as a line of dots, one for each column (a system) in its colour.

    A column pair named "<system> low" and "<system> high" draws that system's interval.
    """
    systems = [column for column in scores if not str(column).endswith((" low", " high"))]
    figure, axes = _new(COLUMN, 0.75 + 0.14 * len(systems) + 0.24 * len(scores))
    offsets = np.linspace(0.25, -0.25, len(systems)) if len(systems) > 1 else [0.0]
    marks = "osD^v<>P*X"
    for index, (system, family, offset) in enumerate(zip(systems, families, offsets, strict=True)):
        rows = np.arange(len(scores))[::-1] + offset
        if f"{system} low" in scores:
            axes.hlines(
                rows, scores[f"{system} low"], scores[f"{system} high"], color=COLOURS[family], linewidth=0.8
            )
        axes.plot(
            scores[system],
            rows,
            marks[index % len(marks)],
            color=COLOURS[family],
            label=_text(system),
            clip_on=False,
        )
    for row in range(len(scores) - 1):
        axes.axhline(row + 0.5, color=PALE, linewidth=0.4)
    _name_rows(axes, scores.index[::-1])
    axes.set(xlabel=xlabel, xlim=(0, 1), ylim=(-0.5, len(scores) - 0.5))
    figure.legend(loc="outside lower left")
    return _titled(figure, title)


def f1_by_support(
    classes: pd.DataFrame, family: str, title: str = "", named: int = 8, against: pd.Series | None = None
) -> Figure:
    """F1 of each class against its rows in the test split, with 95 % intervals where given.

    `classes`: label, f1, support and, optionally, low and high. The `named` classes farthest from the common
    trend are labelled. `against` (F1 by label, of another system) is drawn as small grey dots.
    """
    classes = classes[classes["support"] > 0]
    figure, axes = _new(COLUMN, 2.6)
    if "low" in classes:
        axes.vlines(
            classes["support"],
            classes["low"],
            classes["high"],
            color=COLOURS[family],
            alpha=0.35,
            linewidth=0.8,
        )
    if against is not None:
        other = classes["label"].map(against)
        axes.plot(
            classes["support"],
            other,
            ".",
            color=COLOURS["trivial"],
            markersize=3,
            label=_text(str(against.name)),
        )
        figure.legend(loc="outside lower right")
    axes.plot(classes["support"], classes["f1"], "o", color=COLOURS[family], markersize=3)
    logs = np.log10(classes["support"].to_numpy(float))
    fit = (
        np.polyval(np.polyfit(logs, classes["f1"], 1), logs)
        if classes["support"].nunique() > 1
        else classes["f1"].mean()
    )
    taken: list[tuple[float, float]] = []
    for row in (classes["f1"] - fit).abs().sort_values(ascending=False, kind="stable").index:
        label, support, score = classes.loc[row, ["label", "support", "f1"]]
        at = np.log10(support)
        if len(taken) < named and not any(abs(at - x) < 2 and abs(score - y) < 0.06 for x, y in taken):
            taken.append((at, score))
            side, shift = ("left", 3) if at < logs.mean() else ("right", -3)
            axes.annotate(
                _text(label), (support, score), (shift, 2), textcoords="offset points", fontsize=5.5, ha=side
            )
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(_THOUSANDS)
    axes.set(
        xlabel="test rows of the class (log scale)",
        ylabel="F1 (bars: 95 % interval)" if "low" in classes else "F1",
        ylim=(-0.02, 1.02),
    )
    return _titled(figure, title)


def precision_recall(curves: pd.DataFrame, families: dict[str, str], title: str = "") -> Figure:
    """Precision against recall as the threshold moves. `curves`: system, recall, precision, by threshold.

    `families` gives each system's family. A row with `chosen` true (an optional column) is marked.
    """
    figure, axes = _new(COLUMN, 2.5)
    styles = _line_styles(families)
    for system, curve in curves.groupby("system", sort=False):
        axes.plot(
            curve["recall"],
            curve["precision"],
            color=COLOURS[families[system]],
            linestyle=styles[system],
            label=_text(system),
        )
        if "chosen" in curve:
            at = curve[curve["chosen"].astype(bool)]
            axes.plot(at["recall"], at["precision"], "o", color=COLOURS[families[system]])
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
    axes.legend(loc="lower left")
    return _titled(figure, title)


def prevalence(curve: pd.DataFrame, marked: dict[str, tuple[float, float]], title: str = "") -> Figure:
    """Precision of a detector with fixed rates as the share of relations changes. `curve`: share, precision.

    `marked` names points (share, precision) on it.
    """
    figure, axes = _new(COLUMN, 2.2)
    axes.plot(curve["share"], curve["precision"], color=COLOURS["svm"])
    for name, (share, precision) in marked.items():
        axes.plot(share, precision, "o", color=NEUTRAL)
        axes.annotate(f"{_text(name)}: {precision:.2f}", (share, precision), xytext=(4, -10), textcoords="offset points")
    axes.xaxis.set_major_formatter("{x:.0%}")
    axes.set(xlabel="share of rows with a relation", ylabel="precision", ylim=(0, 1), xlim=(0, None))
    return _titled(figure, title)


def reliability(bins: pd.DataFrame, families: dict[str, str], title: str = "") -> Figure:
    """Reliability diagram: accuracy against stated probability; a calibrated system lies on the diagonal.

    `bins`: system, confidence, accuracy and, optionally, low and high (95 % interval of the accuracy).
    """
    figure, axes = _new(COLUMN, 2.5)
    axes.plot([0, 1], [0, 1], color=NEUTRAL, linewidth=0.6, linestyle=":", label="calibrated")
    styles = _line_styles(families)
    for system, part in bins.groupby("system", sort=False):
        colour = COLOURS[families[system]]
        if "low" in part:
            axes.vlines(
                part["confidence"],
                part["low"],
                part["high"],
                color=colour,
                alpha=0.4,
                label=f"{_text(system)}, 95 % interval",
            )
        axes.plot(
            part["confidence"],
            part["accuracy"],
            "o",
            color=colour,
            linestyle=styles[system],
            label=_text(system),
        )
    axes.set(xlabel="stated probability", ylabel="share that is right", xlim=(0, 1), ylim=(0, 1.02))
    axes.legend(loc="upper left")
    return _titled(figure, title)


def confusion(counts: pd.DataFrame, title: str = "", annotate: bool | None = None) -> Figure:
    """Share of each gold class (rows) that was given each prediction (columns); an empty class is left blank.

    `counts`: gold labels as index, predictions as columns. Up to 12 classes are annotated by default.
    """
    shares = counts.div(counts.sum(axis=1).replace(0, np.nan), axis=0)
    small = max(shares.shape) <= 12
    width = COLUMN if small else PAGE
    figure, axes = _new(width, width * 0.85)
    sns.heatmap(
        shares, ax=axes, cmap="Blues", vmin=0, vmax=1, square=True, linewidths=0.2, linecolor=PALE,
        annot=small if annotate is None else annotate,
        fmt=".2f", annot_kws={"size": 5.5}, cbar_kws={"shrink": 0.6}, xticklabels=True, yticklabels=True,
    )  # fmt: skip
    for axis, names in ((axes.xaxis, counts.columns), (axes.yaxis, counts.index)):
        axis.set_ticklabels([_text(name) for name in names], fontsize=6 if small else 5)
        axis.set_tick_params(length=0)
    axes.tick_params(axis="x", rotation=90)
    axes.tick_params(axis="y", rotation=0)
    axes.set(xlabel="predicted", ylabel="gold (rows add up to 1)")
    return _titled(figure, title)


def top_features(weights: pd.DataFrame, family: str, title: str = "", xlabel: str = "weight") -> Figure:
    """Bars of the features that weigh most. `weights`: feature, weight; a `group` gets its own panel."""
    groups = list(weights.groupby("group", sort=False)) if "group" in weights else [("", weights)]
    columns = min(len(groups), 2)
    lines = -(-len(groups) // columns)
    height = 0.45 + lines * (0.3 + ROW * max(len(part) for _, part in groups))
    figure, panels = plt.subplots(
        lines, columns, figsize=(PAGE if columns == 2 else COLUMN, height), squeeze=False
    )
    plt.close(figure)
    for axes, (name, part) in zip(panels.flat, groups, strict=False):
        part = part.sort_values("weight", kind="stable")
        axes.barh(np.arange(len(part)), part["weight"], color=COLOURS[family], height=0.75)
        axes.axvline(0, color=NEUTRAL, linewidth=0.5)
        _name_rows(axes, part["feature"])
        axes.set_title(_text(name))
        axes.set_xlabel(xlabel)
    for axes in list(panels.flat)[len(groups) :]:
        axes.set_visible(False)
    return _titled(figure, title)


def learning_curves(histories: dict[str, pd.DataFrame], family: str, title: str = "") -> Figure:
    """Loss and macro F1 by epoch, train (dashed) against dev (solid), a column of panels for each run by name.

    Each history has epoch, train_loss, dev_loss, train_macro_f1, dev_macro_f1; the best dev F1 is marked.
    """
    figure, panels = plt.subplots(2, len(histories), figsize=(PAGE, 3.2), squeeze=False, sharex="col", sharey="row")
    plt.close(figure)
    for column, (name, history) in enumerate(histories.items()):
        for axes, score in zip(panels[:, column], ("loss", "macro_f1"), strict=True):
            axes.plot(history["epoch"], history[f"train_{score}"], "--", color=NEUTRAL, label="train")
            axes.plot(history["epoch"], history[f"dev_{score}"], "-", color=COLOURS[family], label="dev")
        best = history.loc[history["dev_macro_f1"].idxmax()]
        panels[1, column].plot(best["epoch"], best["dev_macro_f1"], "o", color=COLOURS[family], label="best epoch")
        panels[0, column].set_title(_text(name))
        panels[1, column].set(xlabel="epoch", ylim=(0, 1.02))
    panels[0, 0].set(ylabel="weighted loss", ylim=(0, None))
    panels[1, 0].set_ylabel("macro F1")
    panels[1, -1].legend(loc="lower right")
    return _titled(figure, title)


def differences(rows: pd.DataFrame, family: str, title: str = "", xlabel: str = "difference") -> Figure:
    """Differences with 95 % intervals from a reference at 0, a line each: columns name, difference, low, high.

    A column `panel` puts its values beside each other, over the same lines.
    """
    groups = list(rows.groupby("panel", sort=False)) if "panel" in rows else [("", rows)]
    names = list(dict.fromkeys(rows["name"]))
    figure, panels = plt.subplots(
        1, len(groups), figsize=(PAGE if len(groups) > 1 else COLUMN, 0.7 + 0.2 * len(names)), squeeze=False, sharey=True
    )
    plt.close(figure)
    for axes, (panel, part) in zip(panels.flat, groups, strict=True):
        places = [len(names) - 1 - names.index(name) for name in part["name"]]
        axes.axvline(0, color=NEUTRAL, linewidth=0.6)
        axes.hlines(places, part["low"], part["high"], color=COLOURS[family], linewidth=1)
        axes.plot(part["difference"], places, "o", color=COLOURS[family], markersize=3)
        axes.set(xlabel=xlabel, title=_text(panel), ylim=(-0.6, len(names) - 0.4))
    _name_rows(panels[0, 0], names[::-1])
    return _titled(figure, title)


_THOUSANDS = FuncFormatter(lambda value, _: f"{value / 1000:g}k" if value >= 10_000 else f"{value:,.0f}")


def _new(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure in the study's style that is not shown by itself: notebooks show the file that was saved."""
    use_style()
    figure, axes = plt.subplots(figsize=(width, height))
    plt.close(figure)
    return figure, axes


def _titled(figure: Figure, title: str) -> Figure:
    if title:
        figure.suptitle(_text(title), x=0.01, ha="left", wrap=True)
    return figure


def _text(text: object) -> str:
    """Text as it stands: a dollar sign from a corpus does not begin a formula."""
    return str(text).replace("$", r"\$")


def _name_rows(axes: Axes, names: Sequence[object]) -> None:
    axes.set_yticks(np.arange(len(names)), [_text(name) for name in names])
    axes.tick_params(axis="y", length=0)


def _line_styles(families: dict[str, str]) -> dict[str, str]:
    """A line style per system, so that two systems of one family, in one colour, can be told apart."""
    used: dict[str, int] = {}
    styles = {}
    for system, family in families.items():
        styles[system] = ("-", "--", "-.", ":")[used.get(family, 0) % 4]
        used[family] = used.get(family, 0) + 1
    return styles

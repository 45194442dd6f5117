"""The study's figures: each function takes data frames, knows nothing of models, and returns a Figure.

Frames name systems in a column `system`; `families` maps a system to its family, which gives its colour. A
system that is not in it was published by others. Text from a corpus is drawn as it stands.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib.style
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator

from tacred_utils.ground.files import atomic_path
from tacred_utils.ground.paths import PACKAGE

COLUMN, PAGE = 3.35, 6.9  # inches: the column and the text width of a two-column page
ROW = 0.14  # inches: one line of 7 pt type
SIGNS_A_LINE = 122  # of 6.5 pt monospaced type on the width of a page
INTERVAL = "score (bars: 95 % interval over test rows)"

# One colour per model family, from Okabe and Ito's palette, the same in every figure.
COLOURS = {
    "svm": "#E69F00", "bilstm": "#009E73", "bert": "#0072B2", "gpt2": "#D55E00", "published": "#CC79A7",
    "trivial": "#7F7F7F",
}  # fmt: skip
NEUTRAL, PALE, SKY = "#4D4D4D", "#D9D9D9", "#56B4E9"  # facts about a corpus, not about a system
SPLIT_MARKS = {"train": "|", "dev": "x", "test": "o"}  # told apart without colour, which belongs to families
LINES = [("-", NEUTRAL, "o"), ("-", SKY, "s"), (":", "black", "^")]  # style, colour, mark: of no family

Families = Mapping[str, str]


def use_style() -> None:
    """Set Matplotlib to the study's style for the rest of the process."""
    matplotlib.style.use(PACKAGE / "notebook" / "study.mplstyle")


def save_figure(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write name.pdf (TrueType fonts) and name.png (300 dpi), equal bytes for equal figures; return both."""
    use_style()  # fonttype and resolution are read when saving
    files = [Path(folder) / f"{name}.{suffix}" for suffix in ("pdf", "png")]
    for file, metadata in zip(files, ({"CreationDate": None}, {"Software": None}), strict=True):
        with atomic_path(file) as temporary:
            figure.savefig(temporary, format=file.suffix[1:], metadata=metadata)
    return files


# Facts about a corpus


def class_frequencies(counts: pd.DataFrame, title: str = "") -> Figure:
    """Rows per label on a log scale: bars for the whole corpus, a mark for each split.

    `counts` is indexed by label, with a column of counts for each split (train, dev, test).
    """
    counts = counts.loc[counts.sum(axis=1).sort_values(kind="stable", ascending=False).index]
    figure, (axis,) = _panels(1, COLUMN, 0.9 + ROW * len(counts), title)
    rows = _name_rows(axis, counts.index)
    axis.barh(rows, counts.sum(axis=1), color=PALE, height=0.8, label="all splits")
    for split in counts:
        shown = counts[split] > 0  # a log scale has no zero
        axis.plot(counts[split][shown], rows[shown], SPLIT_MARKS[split], color=NEUTRAL, ms=3, label=split)
    axis.set(xscale="log", xlabel="rows (log scale)")
    _count_ticks(axis.xaxis)
    figure.legend(loc="outside lower left", ncols=4)
    return figure


def sentence_lengths(lengths: pd.DataFrame, title: str = "") -> Figure:
    """Distribution of sentence length per split. `lengths` has a row per sentence: split, tokens."""
    figure, (axis,) = _panels(1, COLUMN, 2.6, title)
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
    figure, (axis,) = _panels(1, PAGE, 0.75 + 0.24 * len(frame))
    rows, left = _name_rows(axis, frame.index), 0.0
    for part, colour in zip(frame, [PALE, SKY, NEUTRAL, "#F0E442", "white"], strict=False):
        axis.barh(rows, frame[part], 0.72, left, color=colour, edgecolor=NEUTRAL, label=_text(part))
        left = left + frame[part]
    axis.set(xlabel=xlabel, xlim=(0, frame.sum(axis=1).max()))
    figure.legend(loc="outside lower left", ncols=len(frame.columns))
    return figure


def difficulty(rows: pd.Series, shares: pd.DataFrame) -> Figure:
    """Above: rows by the number of systems that are right (index); below: a line a column of `shares`."""
    figure, (above, below) = _panels(2, COLUMN, 3, sharex=True)
    above.bar(rows.index, rows, color=NEUTRAL)
    above.set(yscale="log", ylabel="rows (log scale)")
    above.set_ylim(10 ** np.floor(np.log10(rows.min()) - 0.1))  # a power of ten below the lowest bar
    _count_ticks(above.yaxis)
    for name, (line, colour, mark) in zip(shares, LINES, strict=False):
        below.plot(shares.index, shares[name], mark, linestyle=line, color=colour, label=_text(name))
    below.set(xlabel="systems that agree with TACRED's label", ylabel="share relabelled", ylim=(-0.02, 1))
    below.set_xticks(rows.index)
    below.legend()
    return figure


# Systems side by side


def intervals(
    frame: pd.DataFrame, families: Families, title: str = "", xlabel: str = INTERVAL, sharex: bool = False
) -> Figure:
    """Scores with intervals, a panel a score and a row a system: columns system, score, value, low, high."""
    scores, systems = frame["score"].unique(), frame["system"].unique()
    height = 0.75 + 0.19 * len(systems)
    figure, axes = _panels(len(scores), PAGE, height, title, columns=len(scores), sharey=True, sharex=sharex)
    for axis, score in zip(axes, scores, strict=True):
        part = frame[frame["score"] == score].set_index("system").reindex(systems)
        colours = [_colour(name, families) for name in systems]
        _interval_rows(axis, systems, part.value, part.low, part.high, colours)
        if part.low.min() < 0:  # a difference: where it is none
            axis.axvline(0, color=NEUTRAL, linewidth=0.6)
        axis.set_title(_text(score))
    figure.supxlabel(xlabel, size=8)
    return figure


def by_bin(
    panels: Mapping[str, pd.DataFrame], families: Families, title: str = "", xlabel: str = "", ylabel: str = "",
    apart: float = 0.3,
) -> Figure:  # fmt: skip
    """A score by groups of rows, a line a system with intervals, panels below each other.

    A panel's frame has columns bin (in order), system, value, low, high; a group without a value leaves a gap.
    Systems stand up to `apart` beside the place of their group, so that intervals do not cover each other.
    """
    height = 1.1 + 1.75 * len(panels)
    styles = _line_styles(pd.concat(panels)["system"].unique(), families)  # one for all panels, as the legend is
    figure, axes = _panels(len(panels), PAGE, height, title, columns=1)
    for axis, (name, frame) in zip(axes, panels.items(), strict=True):
        bins, systems = frame["bin"].unique(), frame["system"].unique()
        reach = min(apart, 0.06 * (len(systems) - 1))
        shifts = np.linspace(-reach, reach, len(systems))
        for system, shift in zip(systems, shifts, strict=True):
            part = frame[frame["system"] == system].set_index("bin").reindex(bins)
            colour, places = _colour(system, families), np.arange(len(bins)) + shift
            axis.plot(places, part["value"], "o", ls=styles[system], color=colour, ms=3, lw=0.8, label=_text(system))
            axis.vlines(places, part["low"], part["high"], color=colour, alpha=0.45, linewidth=1.5)
        axis.set_xticks(range(len(bins)), [_text(group) for group in bins])
        if frame["value"].max() <= 1:  # a score, not a loss
            axis.set_ylim(top=min(axis.get_ylim()[1], 1.02))
        axis.set(xlim=(-0.5, len(bins) - 0.5), ylabel=ylabel, title=_text(name) if len(panels) > 1 else "")
        axis.grid(axis="y")
    axes[-1].set_xlabel(xlabel)
    handles = {label: handle for axis in axes for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside lower left", ncols=min(3, len(handles)))
    return figure


def gains(panels: Mapping[str, pd.DataFrame], families: Families, title: str = "") -> Figure:
    """From the joint score to the composed one, step by step, a panel a score and five bars a system.

    A panel's frame has columns system, joint, restricted, oracle, composed: the scores (a), (d), (b), (c) of notebook
    06. A bar reaches from the score before a step to the one after it; without `restricted` its steps are not drawn.
    """
    systems = next(iter(panels.values()))["system"]
    figure, axes = _panels(len(panels), PAGE, 1.25 + 0.52 * len(systems), title, columns=len(panels), sharey=True)
    steps = [
        ("oracle gain (a → b)", "joint", "oracle", "white"),
        ("of it: fewer rows and classes (a → d)", "joint", "restricted", PALE),
        ("of it: trained on relations alone (d → b)", "restricted", "oracle", SKY),
        ("what detection loses (b → c)", "oracle", "composed", NEUTRAL),
    ]
    for axis, (name, frame) in zip(axes, panels.items(), strict=True):
        rows = _name_rows(axis, systems)
        for lane, (step, before, after, colour) in enumerate(steps):
            width, place = frame[after] - frame[before], rows + 0.15 * (lane - 2)
            axis.barh(place, width, 0.14, frame[before], color=colour, edgecolor=NEUTRAL, linewidth=0.4, label=step)
        colours = [_colour(system, families) for system in systems]
        axis.barh(rows + 0.3, frame["composed"] - frame["joint"], 0.14, frame["joint"], color=colours)
        axis.vlines(frame["joint"], rows - 0.4, rows + 0.4, color="black", linewidth=1, label="joint score (a)")
        low, high = np.nanmin(frame.drop(columns="system")), np.nanmax(frame.drop(columns="system"))
        margin = 0.04 * (high - low) or 0.01
        axis.set(xlabel=_text(name), xlim=(low - margin, high + margin))
        axis.grid(axis="x")
    handles, names = axes[0].get_legend_handles_labels()
    left = Patch(color=colours[0])
    names = [*names, "what is left (a → c), in the family's colour"]
    figure.legend([*handles, left], names, loc="outside lower left", ncols=2)
    return figure


def against_others(frame: pd.DataFrame, system: str, families: Families) -> Figure:
    """One system (a column) against the others' range, by class: columns label, lowest, median, highest."""
    figure, (axis,) = _panels(1, PAGE, 0.8 + ROW * len(frame))
    span, colour = (frame["median"], frame.lowest, frame.highest), COLOURS["published"]
    rows = _interval_rows(axis, frame.label, *span, colour, "others: range, median")
    axis.plot(frame[system], rows, "o", color=_colour(system, families), ms=3.5, label=_text(system))
    axis.set(xlabel="F1 of the relation", xlim=(-0.02, 1))
    figure.legend(loc="outside lower left", ncols=2)
    return figure


def evidence(frame: pd.DataFrame, claims: pd.DataFrame, marks: Mapping[str, str], title: str = "") -> Figure:
    """Claims as rows, and in each its tests: how far estimate and interval lie within what the claim needs.

    `frame` has claim, verdict, value, low, high, the last three 0 at the edge of the needed range and positive within;
    `claims` has claim, name and verdict (written at the right), in the order of the rows; `marks` maps the verdicts of
    tests to Matplotlib's marks, in the order of the legend.
    """
    edge = 0.6  # what lies beyond is drawn there as an arrow
    figure, (axis,) = _panels(1, PAGE, 1.1 + 0.27 * len(claims), title)
    places = dict(zip(claims.claim, _name_rows(axis, claims.claim + " " + claims.name), strict=True))
    part = frame.assign(row=frame.claim.map(places).astype(float))
    beside = part.groupby("claim").claim
    part["row"] += 0.76 * (beside.cumcount() + 0.5) / beside.transform("size") - 0.38
    shades = dict(zip(marks, (SKY, NEUTRAL, "black", "black"), strict=False))
    for kind, tests in part.groupby("verdict"):
        ends = (tests[end].clip(-edge, edge) for end in ("low", "high"))
        axis.hlines(tests.row, *ends, color=shades[kind], linewidth=0.8)
    for kind, mark in marks.items():
        tests, filled = part[part.verdict == kind], "none" if mark == "o" else shades[kind]
        axis.scatter(
            tests.value.clip(-edge, edge), tests.row, s=16, marker=mark, facecolors=filled, edgecolors=shades[kind],
            linewidths=0.8, zorder=3, label=_text(kind),
        )  # fmt: skip
    for side, far in ((-1, part.value < -edge), (1, part.value > edge)):
        arrow = "<" if side < 0 else ">"
        axis.plot(np.full(far.sum(), side * edge * 1.04), part.row[far], arrow, color=NEUTRAL, ms=2.5, clip_on=False)
    for place, answer in zip(places.values(), claims.verdict, strict=True):
        axis.text(edge * 1.12, place, answer.partition(" by ")[0], va="center", fontsize=7, color=NEUTRAL)
        axis.axhline(place + 0.5, color="#DDDDDD", linewidth=0.4, zorder=0)
    axis.axvline(0, color=NEUTRAL, linewidth=0.8, zorder=1)
    axis.set(xlim=(-edge * 1.08, edge * 1.08))
    axis.set_xlabel("estimate, from the edge of what the claim needs; right of 0: as claimed\n"
                    "(bars: 95 % interval over test rows and seeds, or rounding of printed figures)")  # fmt: skip
    figure.legend(loc="outside lower left", ncols=len(marks))
    return figure


def f1_by_count(
    panels: Mapping[str, pd.DataFrame], families: Families, xlabel: str, title: str = "", named: int = 5
) -> Figure:
    """F1 of each class against a count of its rows (log scale), a panel a system.

    A panel's frame has columns label, count, f1 and, optionally, low and high (95 % interval). Its title
    gives Spearman's rho; the `named` classes with the greatest distance between the two ranks, which lower
    rho most, are named.
    """
    number, width = len(panels), COLUMN if len(panels) == 1 else PAGE
    figure, axes = _panels(number, width, 2.6, title, columns=number, sharey=True, sharex=True)
    counts = pd.concat(panels)["count"]
    for axis, (system, frame) in zip(axes, panels.items(), strict=True):
        frame, colour = frame[frame["count"] > 0], _colour(system, families)
        f1, count = frame["f1"].rank(), frame["count"].rank()
        axis.scatter(frame["count"], frame["f1"], color=colour, s=14, alpha=0.75, linewidths=0)
        if "low" in frame:
            axis.vlines(frame["count"], frame["low"], frame["high"], color=colour, alpha=0.35, linewidth=0.8)
        gap = ": " if number == 1 else "\n"  # side by side, long titles would run into each other
        rho = f"{gap}Spearman's rho {f1.corr(count):.2f}" if f1.nunique() > 1 < count.nunique() else ""
        axis.set(xscale="log", xlabel=xlabel, title=_text(system) + rho, ylim=(-0.03, 1.03))
        axis.set_xlim(counts[counts > 0].min() / 1.3, counts.max() * 4)  # room for names
        _count_ticks(axis.xaxis)
        farthest = (f1 - count).abs().nlargest(named).index
        _name_points(axis, frame["count"], frame["f1"], frame["label"].where(frame.index.isin(farthest), ""))
    axes[0].set_ylabel("F1 (bars: 95 % interval)" if "low" in frame else "F1 of the relation")
    return figure


def detection_classification(frame: pd.DataFrame, families: Families) -> Figure:
    """Classification accuracy against detection F1: columns system and both scores; curves of equal micro F1.

    Micro F1 is the product of the two, since both stages count the same rightly named rows.
    """
    figure, (axis,) = _panels(1, PAGE, 3.4)
    low, high = frame.detection_f1.min() - 0.03, frame.detection_f1.max() + 0.05
    bottom = frame.classification_accuracy.min() - 0.03
    axis.set(xlim=(low, high), xlabel="detection F1")
    axis.set(ylim=(bottom, 1), ylabel="share rightly named, if detected")
    detection = np.linspace(low, high, 400)
    for level in np.arange(0.05, 1, 0.05):
        curve = level / detection
        shown = np.flatnonzero((curve > bottom) & (curve < 1))
        if len(shown) > 40:  # room for its name
            axis.plot(detection[shown], curve[shown], color="#BBBBBB", linewidth=0.6, zorder=0)
            box = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}
            at = shown[12]
            axis.text(detection[at], curve[at], f"{level:.2f}", color=NEUTRAL, fontsize=6, bbox=box)
    colours = [_colour(name, families) for name in frame.system]
    axis.scatter(frame.detection_f1, frame.classification_accuracy, color=colours, s=18, zorder=3)
    _name_points(axis, frame.detection_f1, frame.classification_accuracy, frame.system)
    return figure


def plane(
    frame: pd.DataFrame, reference: str, families: Families, title: str = "", xlabel: str = "", ylabel: str = ""
) -> Figure:
    """A point a system with its intervals in both directions: columns system, x, x_low, x_high, y, y_low, y_high.

    Dotted lines go through the system named `reference`; points whose `hollow` is True are hollow.
    """
    figure, (axis,) = _panels(1, PAGE, 4.6, title)
    axis.set(xlabel=xlabel, ylabel=ylabel)
    colours = np.array([_colour(name, families) for name in frame["system"]])
    axis.hlines(frame["y"], frame["x_low"], frame["x_high"], color=colours, alpha=0.25, linewidth=0.8)
    axis.vlines(frame["x"], frame["y_low"], frame["y_high"], color=colours, alpha=0.25, linewidth=0.8)
    for hollow, fill in ((True, "white"), (False, None)):
        part = (frame["hollow"] == hollow).to_numpy()
        faces = [fill or colour for colour in colours[part]]
        axis.scatter(frame["x"][part], frame["y"][part], c=faces, edgecolors=colours[part], s=20, zorder=3)
    own = frame[frame["system"] == reference].iloc[0]
    axis.axvline(own["x"], color=NEUTRAL, linewidth=0.6, linestyle=":")
    axis.axhline(own["y"], color=NEUTRAL, linewidth=0.6, linestyle=":")
    _name_points(axis, frame["x"], frame["y"], frame["system"])
    return figure


def curves(
    frame: pd.DataFrame, x: str, y: str, families: Families, title: str = "", xlabel: str = "",
    ylabel: str = "", marker: str = "", diagonal: bool = False,
) -> Figure:  # fmt: skip
    """A line a system through its rows in their order, both axes from 0 to 1: precision against recall, say.

    Optional columns: low and high draw intervals, and a row with a text in `mark` is a dot with that name.
    The `diagonal` is where a reliability diagram has a calibrated system.
    """
    figure, (axis,) = _panels(1, COLUMN, 2.6, title)
    axis.set(xlim=(0, 1), ylim=(0, 1.02), xlabel=xlabel or x, ylabel=ylabel or y)
    styles = _line_styles(frame["system"].unique(), families)
    for system, part in frame.groupby("system", sort=False):
        colour = _colour(system, families)
        axis.plot(part[x], part[y], marker=marker, color=colour, linestyle=styles[system], label=_text(system))
        if "low" in part:
            axis.vlines(part[x], part["low"], part["high"], color=colour, alpha=0.4)
    if diagonal:
        axis.plot([0, 1], [0, 1], color=NEUTRAL, linewidth=0.6, linestyle=":", label="calibrated")
    if len(axis.lines) > 1:
        figure.legend(loc="outside lower left", ncols=2)
    if "mark" in frame:
        dots = frame[frame["mark"] != ""]
        colours = [_colour(name, families) for name in dots["system"]]
        axis.scatter(dots[x], dots[y], color=colours, s=18, zorder=3)
        _name_points(axis, frame[x], frame[y], frame["mark"])
    return figure


def heatmap(frame: pd.DataFrame, label: str, title: str = "") -> Figure:
    """Numbers by rows and columns as in the frame, missing cells empty; up to 12 rows they are written in.

    The names of its index and columns stand at the axes. `label` says what the numbers are.
    """
    small = len(frame) <= 12
    names = (0.035 if small else 0.05) * max(len(_text(name)) for name in frame)  # inches that they take below, turned
    rows = max(len(frame), 0.3 * len(frame.index.name or ""))  # its name stands along them
    figure, (axis,) = _panels(1, PAGE, 0.7 + names + (0.22 if small else ROW) * rows, title)
    sns.heatmap(
        frame, ax=axis, cmap="cividis", annot=small, fmt=".2f", annot_kws={"size": 6},
        cbar_kws={"label": label}, xticklabels=[_text(name) for name in frame],
        yticklabels=[_text(name) for name in frame.index],
    )  # fmt: skip
    axis.tick_params(length=0, labelsize=7 if small else 5)
    axis.tick_params(axis="y", labelrotation=0)
    upright = {"rotation": 35, "ha": "right", "rotation_mode": "anchor"} if small else {"rotation": 90}
    axis.set_xticks(axis.get_xticks(), [text.get_text() for text in axis.get_xticklabels()], **upright)
    return figure


def top_features(weights: pd.DataFrame, family: str, title: str = "") -> Figure:
    """Bars of the features that weigh most, a panel a `group`. `weights`: group, feature, weight."""
    groups = weights.groupby("group", sort=False)
    number, (columns, width) = groups.ngroups, (1, COLUMN) if groups.ngroups == 1 else (2, PAGE)
    height = 0.45 + -(-number // columns) * (0.3 + ROW * groups.size().max())
    figure, axes = _panels(number, width, height, title, columns=columns)
    for axis, (name, part) in zip(axes, groups, strict=True):
        part = part.sort_values("weight", kind="stable", ascending=False)
        axis.barh(_name_rows(axis, part["feature"]), part["weight"], color=COLOURS[family], height=0.75)
        axis.axvline(0, color=NEUTRAL, linewidth=0.5)
        axis.set(xlabel="weight")
        axis.set_title(_text(name), loc="right")  # grows to the left, over the room that the names take
    return figure


def shares_by_epoch(
    histories: Mapping[str, pd.DataFrame], families: Families, gold: float, title: str = "", reference: str = ""
) -> Figure:
    """Share of dev rows answered `no_relation` by epoch, a panel a run; dotted: the share that is gold.

    Each history has epoch and dev_no_relation. The run named `reference` has no panel: it is grey in all of them,
    unless it is the only one.
    """
    panels = {name: history for name, history in histories.items() if name != reference} or dict(histories)
    columns = min(4, len(panels))
    rows = -(-len(panels) // columns)
    figure, axes = _panels(len(panels), PAGE, 0.8 + 1.15 * rows, title, columns=columns, sharex=True, sharey=True)
    lowest = min(gold, *(history["dev_no_relation"].min() for history in histories.values()))
    for axis, (name, history) in zip(axes, panels.items(), strict=True):
        axis.axhline(gold, color="black", linewidth=0.8, linestyle=":", label="gold")
        if reference in histories:
            axis.plot(*histories[reference][["epoch", "dev_no_relation"]].T.values, color="#9E9E9E", label=reference)
        axis.plot(history["epoch"], history["dev_no_relation"], "o-", ms=3, color=_colour(name, families))
        axis.set_title(_text(name), fontsize=7)
        axis.set(xlim=(0.5, None), ylim=(max(0.0, lowest - 0.05), 1.04))
        axis.xaxis.set_major_locator(MaxNLocator(4, integer=True, min_n_ticks=1))
        axis.tick_params(labelbottom=True)  # where the row below has no panel, too
    for axis in axes[::columns]:
        axis.set_ylabel("no_relation")
    figure.supxlabel("epoch", size=8)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower left", ncols=2)
    return figure


def learning_curves(histories: Mapping[str, pd.DataFrame], family: str, title: str = "") -> Figure:
    """Loss and macro F1 by epoch, train (dashed) against dev (solid), a column of panels for each run by name.

    Each history has epoch, train_loss, dev_loss, train_macro_f1, dev_macro_f1; the best dev F1 is marked.
    """
    columns = len(histories)
    figure, axes = _panels(2 * columns, PAGE, 3.2, title, columns=columns, sharex="col", sharey="row")
    for loss, f1, (name, history) in zip(axes, axes[columns:], histories.items(), strict=False):
        for axis, score in ((loss, "loss"), (f1, "macro_f1")):
            axis.plot(history["epoch"], history[f"train_{score}"], "--", color=NEUTRAL, label="train")
            axis.plot(history["epoch"], history[f"dev_{score}"], "-", color=COLOURS[family], label="dev")
        best = history.loc[history["dev_macro_f1"].idxmax()]
        f1.plot(best["epoch"], best["dev_macro_f1"], "o", color=COLOURS[family], label="best epoch")
        loss.set_title(_text(name))
        f1.set(xlabel="epoch", ylim=(0, 1.02))
        f1.xaxis.set_major_locator(MaxNLocator(4, integer=True, min_n_ticks=1))
    axes[0].set(ylabel="weighted loss", ylim=(0, None))  # for the row, once everything is drawn
    axes[columns].set_ylabel("macro F1")
    figure.legend(*axes[-1].get_legend_handles_labels(), loc="outside upper right", ncols=3)
    return figure


def shaded_text(texts: Mapping[str, pd.DataFrame], label: str, title: str = "") -> Figure:
    """Texts in which a score shades each piece: purple above 0, orange below, in each text up to its largest size.

    `texts` maps a heading to a frame with columns piece and score; `label` says what the scores are.
    """
    lines = {name: _broken(frame["piece"].map(str), SIGNS_A_LINE) for name, frame in texts.items()}
    number = sum(line.max(initial=0) + 2.5 for _, line in lines.values())  # a line for the heading, and some room
    figure, (axis,) = _panels(1, PAGE, 0.35 + 0.17 * number, title)
    axis.set(xlim=(0, SIGNS_A_LINE), ylim=(number - 0.7, -0.7))
    axis.axis("off")
    top, shades = 0.0, matplotlib.colormaps["PuOr"]
    for name, frame in texts.items():
        columns, rows = lines[name]
        axis.text(0, top, _text(name), weight="bold", va="center", fontsize=7)
        largest = frame["score"].abs().max() or 1.0
        for piece, score, column, row in zip(frame["piece"], frame["score"], columns, rows, strict=True):
            box = (column - 0.3, top + row + 0.55), len(piece) + 0.6, 0.9
            axis.add_patch(Rectangle(*box, color=shades(0.5 + 0.35 * score / largest), linewidth=0))
            axis.text(column, top + row + 1, _text(piece), family="monospace", va="center", fontsize=6.5)
        top += rows.max(initial=0) + 2.5
    axis.set_title(_text(label), fontsize=7, loc="left")
    return figure


# What the figures share


def _panels(
    number: int, width: float, height: float, title: str = "", columns: int = 1, **shared: bool
) -> tuple[Figure, list[Axes]]:
    """A figure in the study's style with its panels, row by row; pyplot, which would show it, is not told."""
    use_style()
    figure = FigureCanvasAgg(Figure(figsize=(width, height))).figure
    axes = list(figure.subplots(-(-number // columns), columns, squeeze=False, **shared).flat)
    for axis in axes[number:]:
        axis.remove()
    if title:
        figure.suptitle(_text(title), x=0.01, ha="left", wrap=True)
    return figure, axes[:number]


def _text(text: object) -> str:
    """Text as it stands: a dollar sign from a corpus does not begin a formula."""
    return str(text).replace("$", r"\$")


def _colour(system: str, families: Families) -> str:
    return COLOURS[families.get(system, "published")]


def _line_styles(systems: Sequence[str], families: Families) -> dict[str, str]:
    """A line style for each system that tells it from others of its colour."""
    styles, drawn = {}, []
    for system in systems:
        styles[system] = ("-", "--", "-.", ":")[drawn.count(_colour(system, families)) % 4]
        drawn.append(_colour(system, families))
    return styles


def _broken(words: Sequence[str], width: int) -> tuple[np.ndarray, np.ndarray]:
    """Column and line at which each word begins, one sign apart, in lines of `width` signs."""
    columns, lines, column, line = [], [], 0, 0
    for word in words:
        if column and column + len(word) > width:
            column, line = 0, line + 1
        columns.append(column)
        lines.append(line)
        column += len(word) + 1
    return np.array(columns, dtype=int), np.array(lines, dtype=int)


def _count_ticks(axis: Axis) -> None:
    """Plain numbers on a log axis: at powers of ten; between, if the data span less than a decade."""
    low, high = axis.get_data_interval()

    def number(value: float, _: int) -> str:
        return "" if value < 1 else f"{value / 1000:g}k" if value >= 10_000 else f"{value:,.0f}"

    def between(value: float, _: int) -> str:
        return number(value, 0) if high < 10 * low and f"{value:e}"[0] in "2357" else ""  # more would collide

    axis.set_major_formatter(FuncFormatter(number))
    axis.set_minor_formatter(FuncFormatter(between))


def _name_rows(axis: Axes, names: Sequence[object]) -> np.ndarray:
    """Name the rows of a horizontal chart, the first one on top; returns their places."""
    rows = np.arange(len(names))
    axis.set_yticks(rows, [_text(name) for name in names])
    axis.tick_params(axis="y", length=0)
    axis.set_ylim(len(names) - 0.3, -0.7)
    return rows


def _interval_rows(
    axis: Axes, names: Sequence[str], value: pd.Series, low: pd.Series, high: pd.Series,
    colour: str | list[str], label: str | None = None,
) -> np.ndarray:  # fmt: skip
    """A row a name: a pale bar from low to high with a stroke at the value; returns the rows' places."""
    rows = _name_rows(axis, names)
    axis.hlines(rows, low, high, color=colour, linewidth=3, alpha=0.45)
    axis.scatter(value, rows, marker="|", color=colour, s=45, linewidths=1.3, zorder=3, label=label)
    axis.grid(axis="x")
    return rows


def _name_points(axis: Axes, x: pd.Series, y: pd.Series, names: pd.Series) -> None:
    """Write each name beside its point, right or left of it or shifted: none covers another or a point.

    Points with an empty name are only kept free, a name without room is left out. Call it last: names are placed
    for the figure as it is then.
    """
    axis.figure.draw_without_rendering()  # places the axes
    size = 6  # of the type, in points
    scale = 72 / axis.figure.dpi  # from pixels to points of type
    points = axis.transData.transform(np.column_stack([x, y])) * scale
    taken = np.column_stack([points - 2, points + 2])  # boxes: left, low, right, high
    frame = axis.bbox.extents * scale
    places = [(side, up) for up in sorted(range(-90, 92, 2), key=abs) for side in ("left", "right")]
    for (right, middle), position, name in zip(points, zip(x, y, strict=True), names, strict=True):
        if not name:
            continue
        width, height = 0.6 * size * len(name), 1.25 * size
        for side, up in places:  # the side of the text at the point
            left, low = right + 5 if side == "left" else right - 5 - width, middle - height / 2 + up
            box = np.array([left, low, left + width, low + height])
            inside = (frame[:2] <= box[:2]).all() and (box[2:] <= frame[2:]).all()
            if inside and not ((box[:2] < taken[:, 2:]) & (taken[:, :2] < box[2:])).all(axis=1).any():
                break
        else:
            continue  # no room: better no name than one that covers another
        taken = np.vstack([taken, box])
        ends = (0 if side == "left" else 1, 0.5)  # where the line leaves the text
        line = {"arrowstyle": "-", "color": NEUTRAL, "linewidth": 0.4, "shrinkA": 0, "relpos": ends}
        axis.annotate(
            _text(name), position, (5 if side == "left" else -5, up), textcoords="offset points",
            fontsize=size, ha=side, va="center", arrowprops=line if abs(up) > 4 else None,
        )  # fmt: skip

"""The look of the study's figures: style, colours, saving, and the parts that charts are made of (charts.py)."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib.style
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from tacred_utils.ground.files import atomic_path
from tacred_utils.ground.paths import PACKAGE

COLUMN, PAGE = 3.35, 6.9  # inches: the column and the text width of a two-column page
ROW = 0.14  # inches: one line of 7 pt type

# One colour per model family, from Okabe and Ito's palette, the same in every figure.
COLOURS = {
    "svm": "#E69F00", "bilstm": "#009E73", "bert": "#0072B2", "gpt2": "#D55E00", "published": "#CC79A7",
    "trivial": "#7F7F7F",
}  # fmt: skip
NEUTRAL, PALE, SKY = "#4D4D4D", "#D9D9D9", "#56B4E9"  # facts about a corpus, not about a system
LINES = [("-", NEUTRAL, "o"), ("-", SKY, "s"), (":", "black", "^")]  # style, colour, mark: of no family
# Line, mark and whether it is filled, of the first, second, … system of one family: told apart in a legend too.
LOOKS = (("-", "o", True), (":", "s", False), ("--", "^", True), ("-.", "D", False))

Families = Mapping[str, str]


def use_style() -> None:
    """Set Matplotlib to the study's style for the rest of the process, whatever the user's matplotlibrc says."""
    matplotlib.rcdefaults()
    matplotlib.style.use(PACKAGE / "notebook" / "study.mplstyle")


def save_figure(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write name.pdf (TrueType fonts) and name.png (300 dpi), equal bytes for equal figures; return both."""
    use_style()  # fonttype and resolution are read when saving
    files = [Path(folder) / f"{name}.{suffix}" for suffix in ("pdf", "png")]
    for file, metadata in zip(files, ({"CreationDate": None}, {"Software": None}), strict=True):
        with atomic_path(file) as temporary:
            figure.savefig(temporary, format=file.suffix[1:], metadata=metadata)
    return files


# What the charts share


def canvas(number: int, width: float, height: float, columns: int = 1, **shared: bool) -> tuple[Figure, list[Axes]]:
    """A figure in the study's style with its panels, row by row, and room for a title; pyplot is not told, it would show it."""
    use_style()
    figure = FigureCanvasAgg(Figure(figsize=(width, height))).figure
    axes = list(figure.subplots(-(-number // columns), columns, squeeze=False, **shared).flat)
    for axis in axes[number:]:
        axis.remove()
    return titled(figure, " "), axes[:number]


def titled(figure: Figure, title: str) -> Figure:
    """The figure under this title, in place of its own."""
    figure.suptitle(plain(title), x=0.01, ha="left", wrap=True)
    return figure


def plain(text: object) -> str:
    """Text as it stands: a dollar sign from a corpus does not begin a formula."""
    return str(text).replace("$", r"\$")


def colour_of(system: str, families: Families) -> str:
    return COLOURS[families.get(system, "published")]


def looks(systems: Sequence[str], families: Families) -> dict[str, dict[str, object]]:
    """For each system its colour, and a line and mark that tell it from others of that colour, as `Axes.plot` takes them."""
    found, drawn = {}, []
    for system in systems:
        colour = colour_of(system, families)
        line, mark, filled = LOOKS[drawn.count(colour) % len(LOOKS)]
        drawn.append(colour)
        face = colour if filled else "white"
        found[system] = {"color": colour, "linestyle": line, "marker": mark, "markerfacecolor": face}
    return found


def count_ticks(axis: Axis) -> None:
    """Plain numbers on a log axis: at powers of ten; between, if the data span less than a decade."""
    low, high = axis.get_data_interval()
    axis.set_major_locator(LogLocator(subs=(1, 2, 3, 5, 7) if high < 10 * low else (1,)))
    axis.set_major_formatter(
        lambda value, _: "" if value < 1 else f"{value / 1000:g}k" if value >= 10_000 else f"{value:,.0f}"
    )
    axis.set_minor_formatter(NullFormatter())


def name_rows(axis: Axes, names: Sequence[object]) -> np.ndarray:
    """Name the rows of a horizontal chart, the first one on top; returns their places."""
    rows = np.arange(len(names))
    axis.set_yticks(rows, [plain(name) for name in names])
    axis.tick_params(axis="y", length=0)
    axis.set_ylim(len(names) - 0.3, -0.7)
    return rows


def interval_rows(
    axis: Axes, names: Sequence[str], value: pd.Series, low: pd.Series, high: pd.Series,
    colour: str | list[str], label: str | None = None,
) -> np.ndarray:  # fmt: skip
    """A row a name: a pale bar from low to high with a stroke at the value; returns the rows' places."""
    rows = name_rows(axis, names)
    axis.hlines(rows, low, high, color=colour, linewidth=3, alpha=0.45)
    axis.scatter(value, rows, marker="|", color=colour, s=45, linewidths=1.3, zorder=3, label=label)
    axis.grid(axis="x")
    return rows


def name_points(axis: Axes, x: pd.Series, y: pd.Series, names: pd.Series) -> None:
    """Write each name beside its point, right or left of it or shifted: none covers another or a point.

    Points with an empty name are only kept free, a name without room is left out. Call it last: names are placed
    for the figure as it is then.
    """
    axis.figure.draw_without_rendering()  # places the axes
    size, scale = 6, 72 / axis.figure.dpi  # of the type, in points; from pixels to points
    points = axis.transData.transform(np.column_stack([x, y])) * scale
    taken = np.column_stack([points - 2, points + 2])  # boxes: left, low, right, high
    frame = axis.bbox.extents * scale
    places = [(side, up) for up in sorted(range(-90, 92, 2), key=abs) for side in ("left", "right")]  # of the text
    for (right, middle), position, name in zip(points, zip(x, y, strict=True), names, strict=True):
        width, height = 0.6 * size * len(name), 1.25 * size
        for side, up in places if name else ():
            left, low = right + 5 if side == "left" else right - 5 - width, middle - height / 2 + up
            box = np.array([left, low, left + width, low + height])
            inside = (frame[:2] <= box[:2]).all() and (box[2:] <= frame[2:]).all()
            if inside and not ((box[:2] < taken[:, 2:]) & (taken[:, :2] < box[2:])).all(axis=1).any():
                taken = np.vstack([taken, box])
                ends = (0 if side == "left" else 1, 0.5)  # where the line leaves the text
                line = {"arrowstyle": "-", "color": NEUTRAL, "linewidth": 0.4, "shrinkA": 0, "relpos": ends}
                axis.annotate(
                    plain(name), position, (5 if side == "left" else -5, up), textcoords="offset points",
                    fontsize=size, ha=side, va="center", arrowprops=line if abs(up) > 4 else None,
                )  # fmt: skip
                break

"""Tables as CSV, Markdown, LaTeX and HTML, with one way of writing numbers and with escaped text."""

import html
import numbers
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from IPython.display import HTML

from tacred_utils.paths import atomic_path, write_text

_CONTROL = re.compile(
    "[\x00-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2028\u2029\u2060-\u2069\ufeff\ud800-\udfff]"
)
_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{",
    "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}",
    ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"\textquotedbl{}", "→": r"$\rightarrow$", "−": "$-$",
    "×": r"$\times$", "±": r"$\pm$", "≤": r"$\leq$", "≥": r"$\geq$", "≈": r"$\approx$", "Δ": r"$\Delta$",
    "²": "$^2$", "·": r"$\cdot$", "–": "--", "—": "---", "…": r"\ldots{}", "’": "'", "‘": "`", "“": "``",
    "”": "''", "\N{NO-BREAK SPACE}": "~",
}  # fmt: skip


def save_table(
    frame: pd.DataFrame, folder: Path, name: str, caption: str, label: str | None = None, decimals: int = 3
) -> list[Path]:
    """Write `frame` as name.csv (six decimals), name.md and name.tex (`decimals`); return the three paths.

    The LaTeX table needs the booktabs package and T1 fonts, and has `label` (default `tab:<name>`). A named
    index counts as a column.
    """
    folder = Path(folder)
    files = [folder / f"{name}.{suffix}" for suffix in ("csv", "md", "tex")]
    frame = _flat(frame)
    with atomic_path(files[0]) as temporary:
        frame.to_csv(temporary, index=False, float_format="%.6f", lineterminator="\n")
    write_text(files[1], f"{_markdown_text(caption)}\n\n{markdown(frame, decimals)}")
    write_text(files[2], latex(frame, caption, label or f"tab:{name}", decimals))
    return files


def show(frame: pd.DataFrame, caption: str = "", decimals: int = 3) -> HTML:
    """The table for a notebook; its text is escaped, so that no markup from a corpus is rendered."""
    header, rows, right = _cells(_flat(frame), decimals)
    style = [f' style="text-align: {"right" if numeric else "left"}"' for numeric in right]

    def line(tag: str, cells: Sequence[str]) -> str:
        parts = (f"<{tag}{how}>{html.escape(cell)}</{tag}>" for cell, how in zip(cells, style, strict=True))
        return f"<tr>{''.join(parts)}</tr>"

    title = f"<caption>{html.escape(_plain(caption))}</caption>" if caption else ""
    body = "\n".join(line("td", row) for row in rows)
    return HTML(f"<table>{title}<thead>{line('th', header)}</thead>\n<tbody>{body}</tbody></table>")


def side_by_side(
    frames: Mapping[str, pd.DataFrame], on: str | list[str], scores: Sequence[str]
) -> pd.DataFrame:
    """Put the same scores from several sources next to each other, rows matched by the columns `on`.

    `frames` maps a source ("paper", "published", "ours") to its frame; columns come out as "score
    (source)", a score's sources beside each other. A row that a source lacks is blank there. Raises pandas'
    MergeError if `on` is not unique.
    """
    keys = [on] if isinstance(on, str) else list(on)
    together = None
    for source, frame in frames.items():
        present = [score for score in scores if score in frame]
        part = frame[keys + present].rename(columns={score: f"{score} ({source})" for score in present})
        together = (
            part
            if together is None
            else together.merge(part, on=keys, how="outer", validate="one_to_one", sort=False)
        )
    order = [f"{score} ({source})" for score in scores for source in frames]
    rows = pd.concat(
        [frame[keys] for frame in frames.values()]
    ).drop_duplicates()  # in the order of first mention
    return rows.merge(together, on=keys, validate="one_to_one")[
        keys + [column for column in order if column in together]
    ]


def format_number(value: object, decimals: int = 3) -> str:
    """Whole numbers with a comma at thousands, others with `decimals` places; nothing for a missing value."""
    if value is None or value is pd.NA or value is pd.NaT or value != value:
        return ""
    if isinstance(value, bool) or not isinstance(value, numbers.Number):
        return _plain(str(value))
    if isinstance(value, numbers.Integral):
        return f"{value:,}"
    text = f"{value:,.{decimals}f}"
    return text.lstrip("-") if float(text.replace(",", "")) == 0 else text  # never "-0.000"


def markdown(frame: pd.DataFrame, decimals: int = 3) -> str:
    """The table in GitHub's Markdown."""
    header, rows, right = _cells(_flat(frame), decimals)
    rule = ["---:" if numeric else "---" for numeric in right]
    lines = [
        [_markdown_text(cell) for cell in header],
        rule,
        *([_markdown_text(cell) for cell in row] for row in rows),
    ]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


def latex(frame: pd.DataFrame, caption: str, label: str, decimals: int = 3) -> str:
    """The table in LaTeX with booktabs rules; it compiles as it is, whatever text is in it."""
    header, rows, right = _cells(_flat(frame), decimals)
    lines = [" & ".join(latex_text(cell) for cell in cells) + r" \\" for cells in (header, *rows)]
    columns = "".join("r" if numeric else "l" for numeric in right)
    return "\n".join(
        [
            r"\begin{table}[t]", r"  \centering", rf"  \caption{{{latex_text(caption)}}}",
            rf"  \label{{{label}}}", rf"  \begin{{tabular}}{{{columns}}}", r"    \toprule",
            f"    {lines[0]}", r"    \midrule", *(f"    {line}" for line in lines[1:]), r"    \bottomrule",
            r"  \end{tabular}", r"\end{table}", "",
        ]
    )  # fmt: skip


def latex_text(text: str) -> str:
    """Text that LaTeX prints as it stands; a character beyond Latin-1 and the list above becomes [U+XXXX]."""
    return "".join(
        _LATEX.get(
            letter, letter if " " <= letter <= "~" or "¡" <= letter <= "ÿ" else f"[U+{ord(letter):04X}]"
        )
        for letter in _plain(text)
    )


def _markdown_text(text: str) -> str:
    escaped = re.sub(r"([\\|*`\[\]])", r"\\\1", html.escape(_plain(text), quote=False))
    return re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\_", escaped)  # an inner underscore is not markup


def _plain(text: str) -> str:
    """Text on one line, without characters that are invisible or steer the display."""
    return _CONTROL.sub(" ", text)


def _flat(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.reset_index() if any(name is not None for name in frame.index.names) else frame


def _cells(frame: pd.DataFrame, decimals: int) -> tuple[list[str], list[list[str]], list[bool]]:
    """Header, rows of formatted cells, and which columns are numbers (set flush right)."""
    header = [_plain(str(column)) for column in frame.columns]
    columns = [
        [format_number(value, decimals) for value in frame.iloc[:, i].tolist()] for i in range(len(header))
    ]
    right = [pd.api.types.is_numeric_dtype(frame.iloc[:, i]) for i in range(len(header))]
    return header, [list(row) for row in zip(*columns, strict=True)], right

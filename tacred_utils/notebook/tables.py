"""Tables as CSV, Markdown, LaTeX and HTML, with one way of writing numbers and with escaped text."""

import html
import json
import numbers
import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from IPython.display import HTML

from tacred_utils.ground.files import write_text
from tacred_utils.ground.paths import PACKAGE

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")
_LATEX = json.loads((PACKAGE / "notebook" / "latex.json").read_text(encoding="utf-8"))  # how it writes a sign
WRAPPED = 30  # characters on a line of a LaTeX column that is wrapped (14 em)
LINE, PAGE = 70, 40  # characters and table rows that a LaTeX page of common size holds, at its own type size
FITTED = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}"  # as wide as it is, or as the line


def save_table(frame: pd.DataFrame, folder: Path, name: str, caption: str, decimals: int = 3) -> list[Path]:
    """Write `frame` as name.csv (six decimals), name.md and name.tex (`decimals`); return the three paths.

    The LaTeX table (see `latex`) needs T1 fonts; its label is `tab:<corpus>/<name>`, by the folder that `folder` lies in.
    A named index counts as a column.
    """
    files = [Path(folder) / f"{name}.{suffix}" for suffix in ("csv", "md", "tex")]
    write_text(files[0], _flat(frame).to_csv(index=False, float_format="%.6f", lineterminator="\n"))
    write_text(files[1], f"{_markdown_text(caption)}\n\n{markdown(frame, decimals)}")
    write_text(files[2], latex(frame, caption, f"tab:{Path(folder).parent.name}/{name}", decimals))
    return files


def show(frame: pd.DataFrame, caption: str = "", decimals: int = 3) -> HTML:
    """The table for a notebook; its text is escaped, so that no markup from a corpus is rendered."""
    header, rows, right = _cells(frame, decimals)
    styles = [f'style="text-align: {"right" if number else "left"}"' for number in right]

    def line(tag: str, cells: Sequence[str]) -> str:
        parts = [f"<{tag} {style}>{html.escape(cell)}</{tag}>" for style, cell in zip(styles, cells, strict=True)]
        return f"<tr>{''.join(parts)}</tr>"

    title = f"<caption>{html.escape(_one_line(caption))}</caption>" if caption else ""
    body = "\n".join(line("td", row) for row in rows)
    return HTML(f"<table>{title}<thead>{line('th', header)}</thead>\n<tbody>{body}</tbody></table>")


def format_number(value: object, decimals: int = 3) -> str:
    """Whole numbers with a comma at thousands, others with `decimals` places; nothing for a missing value."""
    if value is None or value is pd.NA or value is pd.NaT or value != value:
        return ""
    if isinstance(value, bool) or not isinstance(value, numbers.Number):
        return _one_line(str(value))
    if isinstance(value, numbers.Integral):
        return f"{value:,}"
    text = f"{value:,.{decimals}f}"
    return text.lstrip("-") if float(text.replace(",", "")) == 0 else text  # never "-0.000"


def markdown(frame: pd.DataFrame, decimals: int = 3) -> str:
    """The table in GitHub's Markdown."""
    header, rows, right = _cells(frame, decimals)
    lines = [[_markdown_text(cell) for cell in cells] for cells in (header, *rows)]
    lines.insert(1, ["---:" if numeric else "---" for numeric in right])
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def latex(frame: pd.DataFrame, caption: str, label: str, decimals: int = 3) -> str:
    """The table in LaTeX, which compiles as it is and fits its page, whatever text is in it.

    Long cells are wrapped; a table that is wider than the line is scaled down, one that is longer than a page goes on
    over several. Needs booktabs, array, graphicx and longtable.
    """
    header, rows, right = _cells(frame, decimals)
    head, *body = ("    " + " & ".join(map(latex_text, cells)) + r" \\" for cells in (header, *rows))
    columns = "".join(map(_latex_column, right, list(zip(header, *rows, strict=True))))
    title = rf"\caption{{{latex_text(caption)}}}"
    width = sum(min(max(map(len, cells)), WRAPPED) + 2 for cells in zip(header, *rows, strict=True))
    height = sum(max(len(cell) // WRAPPED for cell in row) + 1 for row in rows)
    shrunk = min(1, LINE / width)  # to fit the line
    if height * shrunk > PAGE:
        lines = [
            r"\begingroup\scriptsize" if shrunk > 0.7 else r"\begingroup\tiny", r"\setlength{\tabcolsep}{2pt}",
            rf"\begin{{longtable}}{{{columns}}}", rf"    {title}\label{{{label}}} \\", r"    \toprule", head,
            r"    \midrule", r"    \endfirsthead", r"    \toprule", head, r"    \midrule", r"    \endhead",
            r"    \bottomrule", r"    \endfoot", *body, r"\end{longtable}", r"\endgroup",
        ]  # fmt: skip
    else:
        lines = [
            r"\begin{table}[t]", r"  \centering", f"  {title}", rf"  \label{{{label}}}", rf"  {FITTED}{{%",
            rf"  \begin{{tabular}}{{{columns}}}", r"    \toprule", head, r"    \midrule", *body, r"    \bottomrule",
            r"  \end{tabular}}", r"\end{table}",
        ]  # fmt: skip
    return "".join(f"{line}\n" for line in lines)


def _latex_column(right: bool, cells: Sequence[str]) -> str:
    """Numbers stand flush right, text flush left, in a narrow column if there is much of it."""
    wide = any(len(cell) > WRAPPED and " " in cell for cell in cells)
    return "r" if right else r">{\raggedright\arraybackslash}p{14em}" if wide else "l"


def latex_text(text: str) -> str:
    """Text that LaTeX prints as it stands; a character beyond Latin-1 and latex.json becomes [U+XXXX]."""
    return "".join(_LATEX.get(sign, sign if sign <= "ÿ" else f"[U+{ord(sign):04X}]") for sign in _one_line(text))


def _markdown_text(text: str) -> str:
    escaped = re.sub(r"([\\|*`\[\]])", r"\\\1", html.escape(_one_line(text), quote=False))
    return re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\_", escaped)  # an inner underscore is not markup


def _one_line(text: str) -> str:
    """Text on one line, without characters that are invisible or steer the display."""
    return _CONTROL.sub(" ", text)


def _flat(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.reset_index() if any(name is not None for name in frame.index.names) else frame


def _cells(frame: pd.DataFrame, decimals: int) -> tuple[list[str], list[tuple[str, ...]], list[bool]]:
    """Header, rows of formatted cells, and which columns are numbers (set flush right)."""
    frame = _flat(frame)
    texts = [[format_number(value, decimals) for value in column.tolist()] for _, column in frame.items()]
    right = [pd.api.types.is_numeric_dtype(kind) for kind in frame.dtypes]
    return [_one_line(str(name)) for name in frame], list(zip(*texts, strict=True)), right

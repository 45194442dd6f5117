"""Tables: numbers, escaping, and LaTeX that compiles."""

import re
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest

from tacred_utils.ground.paths import FIGURES
from tacred_utils.notebook.tables import (
    format_number,
    latex,
    latex_text,
    markdown,
    save_table,
    show,
)

NASTY = r"""<script>alert("x")</script> 50 % & $x_1$ #~^\{} | `a` *b* [c](d) née → ± שלום"""
FRAME = pd.DataFrame({"relation": ["no_relation", NASTY], "rows": [12_184, 3], "F1": [0.91349, np.nan]})


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.12345, "0.123"), (1.0, "1.000"), (-0.0001, "0.000"), (-0.5, "-0.500"), (float("nan"), ""),
        (None, ""), (pd.NA, ""), (pd.NaT, ""),
        (68_124, "68,124"), (np.int64(7), "7"), (np.float32(0.5), "0.500"),
        (True, "True"), (12345.6, "12,345.600"), ("a\nb\u202ec", "a b c"), ("0.5", "0.5"),
        (float("inf"), "inf"),
    ],
)  # fmt: skip
def test_one_way_of_writing_numbers(value, text):
    assert format_number(value) == text


def test_save_table_writes_three_forms_of_the_same_rows(tmp_path):
    files = save_table(FRAME, tmp_path / "tables", "02_x", "Scores & more")
    assert [path.name for path in files] == ["02_x.csv", "02_x.md", "02_x.tex"]
    back = pd.read_csv(files[0])
    assert back["relation"].tolist() == FRAME["relation"].tolist() and back["F1"][0] == 0.91349
    lines = files[1].read_text().splitlines()
    assert lines[:4] == ["Scores &amp; more", "", "| relation | rows | F1 |", "| --- | ---: | ---: |"]
    assert lines[4] == "| no_relation | 12,184 | 0.913 |"
    tex = files[2].read_text()
    assert r"\caption{Scores \& more}" in tex and rf"\label{{tab:{tmp_path.name}/02_x}}" in tex
    assert r"no\_relation & 12,184 & 0.913 \\" in tex
    assert r"\begin{tabular}{>{\raggedright\arraybackslash}p{14em}rr}" in tex
    assert r"\begin{tabular}{l}" in latex(FRAME.head(1)[["relation"]], "", "")


def test_html_holds_no_markup_of_the_corpus():
    page = show(FRAME.rename(columns={"F1": "<b>F1</b>"}), "a <i>caption</i>").data
    assert "<script" not in page and "<b>" not in page and "<i>" not in page
    assert "&lt;script&gt;alert(&quot;x&quot;)" in page


def test_markdown_rows_keep_their_cells():
    line = markdown(FRAME).splitlines()[3]
    assert line.replace(r"\|", "").count("|") == 4
    assert "<script>" not in line and r"\[c\](d)" in line


def test_latex_text_escapes_all_that_latex_reads():
    assert latex_text(r"a_b & 5% $x$ #{}~^\ <>") == (
        r"a\_b \& 5\% \$x\$ \#\{\}"
        r"\textasciitilde{}\textasciicircum{}\textbackslash{} \textless{}\textgreater{}"
    )
    assert latex_text("née → 1 ש") == r"née $\rightarrow$ 1 [U+05E9]"


def compiled(folder, *parts: str) -> str:
    """The log of a document of these parts, a page each, compiled twice: longtable finds its widths so."""
    if shutil.which("pdflatex") is None:
        pytest.skip("no LaTeX is installed")
    packages = r"\usepackage{array,booktabs,graphicx,longtable}\usepackage[T1]{fontenc}\usepackage[utf8]{inputenc}"
    body = "\n".join(rf"{part}\clearpage" for part in parts)
    (folder / "all.tex").write_text(rf"\documentclass{{article}}{packages}\begin{{document}}{body}\end{{document}}")
    for _ in range(2):
        command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
        result = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace")
        assert result.returncode == 0, result.stdout[-2000:]
    return result.stdout


def test_latex_compiles_and_fits_its_page(tmp_path):
    wide = pd.DataFrame([["a sentence of many words, " * 9, *range(1_000_000, 1_000_014)]] * 9).rename(
        columns="column {}".format
    )
    long = pd.DataFrame(
        {"relation": ["org:number_of_employees/members"] * 150, "F1": [0.5] * 150, "note": ["so " * 20] * 150}
    )
    for name, frame in {"nasty": FRAME, "wide": wide, "long": long, "empty": FRAME.iloc[:0]}.items():
        save_table(frame, tmp_path, name, NASTY if name == "nasty" else "Scores")
    compiled(tmp_path, r"\input{nasty.tex}", r"\input{empty.tex}")
    log = compiled(tmp_path, r"\input{wide.tex}", r"\input{long.tex}")
    assert "Float too large" not in log
    assert max([float(points) for points in re.findall(r"Overfull \\hbox \(([\d.]+)pt", log)], default=0) < 5


@pytest.mark.long
def test_all_tables_and_figures_stand_in_one_document(tmp_path):
    tables, figures = sorted(FIGURES.glob("*/tables/*.tex")), sorted(FIGURES.glob("*/*.pdf"))
    assert tables and figures
    pictures = (rf"\includegraphics[width=\linewidth]{{{path}}}" for path in figures)
    assert "Missing character" not in compiled(tmp_path, *(rf"\input{{{path}}}" for path in tables), *pictures)


def test_a_named_index_is_a_column_and_an_empty_table_is_one():
    scores = pd.DataFrame({"value": [0.5]}, index=pd.Index(["micro_f1"], name="score"))
    assert markdown(scores).splitlines()[0] == "| score | value |"
    assert markdown(FRAME.iloc[:0]).count("\n") == 2

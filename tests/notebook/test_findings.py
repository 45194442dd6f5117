"""The study's voice: numbers as prose writes them, what became of a sentence, and the answer at the top of a page."""

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook

from tacred_utils.metrics.estimates import Estimate
from tacred_utils.notebook.findings import finding

GAIN = Estimate.from_draws(0.03, np.linspace(0.01, 0.05, 1001), 100, "rows")
MISSING = Estimate(np.nan, np.nan, np.nan)


@pytest.mark.parametrize(
    "text, value, expected",
    [
        ("{v}", 12345, "12,345"),
        ("{v}", np.int64(3), "3"),
        ("{v}", -0.5, "−0.500"),
        ("{v:+}", 0.5, "+0.500"),
        ("{v:.0%}", 0.79, "79%"),
        ("{v}", "org:founded-by", "org:founded-by"),
        ("{v}", GAIN, "0.030 [0.011, 0.049]"),
        ("{v:+.2f}", GAIN, "+0.03 [+0.01, +0.05]"),
        ("{v}", ["a", "b", "c"], "a, b and c"),
        ("{v:.2f}", [0.123, 0.456], "0.12 and 0.46"),
        ("{v}", [], "none"),
    ],
)
def test_numbers_are_written_as_prose_writes_them(text, value, expected):
    assert finding(text, True, v=value).text == expected


def test_a_sentence_is_the_same_whatever_became_of_it():
    holds, fails = (finding("Worth {d}.", test, d=GAIN) for test in (GAIN.low > 0, GAIN.high < 0))
    assert holds.text == fails.text and (holds.holds, fails.holds) == (True, False)
    assert holds.markdown == "✓ Worth 0.030 [0.011, 0.049]." and "Not here" in fails.markdown
    assert "<b>" not in finding("{name}", True, name="<b>").markdown


def test_a_missing_number_makes_no_finding_of_either_kind():
    found = finding("Worth {d} on {n} rows.", MISSING.low > 0, d=MISSING, n=3)
    assert found.holds is None and found.text == "Worth … on 3 rows." and "run is missing" in found.markdown


def test_the_answer_stands_on_top_once_and_findings_stay_in_the_notebook():
    cells = [
        "from tacred_utils.notebook.study import Study\nstudy = Study('01', 'smoke')\nstudy",
        "study.finding('First {n}.', n=1, holds=True, lead=True)\nstudy.finding('Body.', holds=False)",
        "study.finding('First {n}.', n=2, holds=True, lead=True)",
    ]
    book = new_notebook(cells=[new_code_cell(cell, id=f"c{n}") for n, cell in enumerate(cells)])
    NotebookClient(book, timeout=120).execute()
    nbformat.validate(book)
    top = book.cells[0].outputs[0]["data"]["text/markdown"]
    assert top == "> ✓ First 2.", "a cell that runs again replaces its sentence"
    kept = [output.metadata["finding"] for cell in book.cells[1:] for output in cell.outputs]
    assert [(each["text"], each["holds"], each["lead"]) for each in kept] == [
        ("First 1.", True, True), ("Body.", False, False), ("First 2.", True, True),
    ]  # fmt: skip

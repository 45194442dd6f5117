"""The notebooks as sources and as a whole: form, the smoke study from end to end, and what is committed of them."""

import ast
import json
import os
import re
import subprocess
import sys

import pytest
from conftest import Copy

from tacred_utils.ground.paths import NOTEBOOKS, PACKAGE, ROOT

SOURCES = sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))
EXECUTED = sorted((NOTEBOOKS / "executed").glob("*.ipynb"))
PARAMETERS = ["profile", "corpus", "data_dir", "labels", "seeds", "results"]
OURS = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in sorted(PACKAGE.rglob("*.py"))]
STRICT = ",".join(f"error:::{name.removesuffix('.__init__')}" for name in ["__main__", *OURS])  # for PYTHONWARNINGS


def cells(path, kind=None):
    found = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in found if kind in (None, cell["cell_type"])]


def text(cell):
    return "".join(cell["source"])


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_a_source_has_no_outputs_and_one_cell_of_typed_commented_parameters(path):
    code = cells(path, "code")
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in code)
    [parameters] = [text(cell) for cell in code if "parameters" in cell["metadata"].get("tags", [])]
    statements = ast.parse(parameters).body
    assert all(isinstance(statement, ast.AnnAssign) for statement in statements)
    assert [statement.target.id for statement in statements][: len(PARAMETERS)] == PARAMETERS
    for statement in statements:
        ast.literal_eval(statement.value)  # literals only: papermill replaces them
    assert all("  # " in line for line in parameters.splitlines())


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_a_source_reads_as_an_essay(path):
    code, prose = cells(path, "code"), cells(path, "markdown")
    assert text(prose[0]).startswith("# ") and "?" in text(prose[0]).splitlines()[0]
    assert len(prose) >= 0.7 * len(code)
    assert max(len(text(cell).splitlines()) for cell in code) <= 30
    everything = "\n".join(text(cell) for cell in prose)
    for section in ("## Against the references", "## What could be wrong", "## Written, and what comes next"):
        assert section in everything
    for cell in code:
        for node in ast.walk(ast.parse(text(cell))):
            assert not isinstance(node, ast.ClassDef)
            assert not isinstance(node, ast.FunctionDef) or node.end_lineno - node.lineno < 8


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_links_between_notebooks_lead_somewhere_or_say_that_they_are_to_come(path):
    for name in re.findall(r"\]\(([^)]+\.ipynb)\)", "\n".join(text(cell) for cell in cells(path, "markdown"))):
        assert (NOTEBOOKS / name).exists(), f"{path.name} links to {name}"


def test_every_notebook_is_committed_as_executed():
    assert [path.name for path in EXECUTED] == [path.name for path in SOURCES]


@pytest.mark.parametrize("path", EXECUTED, ids=lambda path: path.stem)
def test_what_is_committed_ran_to_its_end_and_names_no_machine(path):
    content = path.read_text(encoding="utf-8")
    code = [cell for cell in cells(path, "code") if text(cell).strip()]
    assert all(cell["execution_count"] is not None for cell in code)
    assert not any(output["output_type"] == "error" for cell in code for output in cell["outputs"])
    assert not re.search(r"/(root|home|Users|tmp|work)/", content) and "widget-view" not in content
    source = NOTEBOOKS / path.name
    ours = [text(cell) for cell in code if "injected-parameters" not in cell["metadata"].get("tags", [])]
    assert ours == [text(cell) for cell in cells(source, "code")], "the source has changed since: run it again"


def smoke(results, *options):
    command = [
        sys.executable,
        "-m",
        "tacred_utils",
        "run",
        "--profile",
        "smoke",
        "--results",
        str(results),
        *options,
    ]
    environment = os.environ | {"PYTHONWARNINGS": STRICT}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=3600)


def test_a_warning_of_ours_is_an_error_and_a_library_may_warn(study: Copy):
    code = (
        "import warnings\ndef stops(module):\n    try:\n"
        "        warnings.warn_explicit('x', UserWarning, 'x.py', 1, module)\n"
        "    except UserWarning:\n        return True\n"
    )
    study.notebook("01_warns.ipynb", code, "assert all(map(stops, ['tacred_utils.sample.grammar', 'tacred_utils.models.svm']))",
                   "assert not stops('pandas')", "warnings.warn('in a cell')")  # fmt: skip
    result = study.run(PYTHONWARNINGS=STRICT)
    assert result.returncode == 1 and "cell 6" in result.stderr and "UserWarning: in a cell" in result.stderr


def test_the_smoke_study_runs_through_without_a_warning_of_ours_and_a_repeat_does_nothing(tmp_path):
    before = subprocess.run(["git", "status", "--short"], cwd=ROOT, capture_output=True, text=True).stdout
    first = smoke(tmp_path)
    assert first.returncode == 0, first.stdout + first.stderr
    assert len(list(tmp_path.rglob("executed/sample/*.ipynb"))) == len(SOURCES)
    tables = [*tmp_path.rglob("figures/sample/tables/*.md")]
    assert tables and all("SYNTHETIC" in table.read_text(encoding="utf-8").splitlines()[0] for table in tables)
    again = smoke(tmp_path)
    assert again.returncode == 0 and again.stdout.count("up to date") == len(SOURCES), again.stdout
    assert subprocess.run(["git", "status", "--short"], cwd=ROOT, capture_output=True, text=True).stdout == before


@pytest.mark.long
def test_the_smoke_study_twice_gives_the_same_bytes(tmp_path):
    for name in ("one", "two"):
        assert smoke(tmp_path / name).returncode == 0
    kinds = ("predictions/*", "metrics.json", "history.csv", "tables/*", "figures/**/*.png", "figures/**/*.pdf")
    for kind in kinds:
        one, two = ({p.relative_to(tmp_path / n): p for p in (tmp_path / n).rglob(kind)} for n in ("one", "two"))
        assert one.keys() == two.keys() and one
        for name, path in one.items():
            if "cost" not in path.name:  # seconds differ
                assert path.read_bytes() == two[name].read_bytes(), name

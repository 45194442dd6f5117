"""The notebooks as sources and as a whole: form, the smoke study from end to end, and what is committed of them."""

import ast
import json
import os
import re
import subprocess
import sys

import nbformat
import pytest
from conftest import Copy
from nbclient import NotebookClient

from tacred_utils.cli.execute import with_values
from tacred_utils.corpora.example import read_rows
from tacred_utils.ground.paths import NOTEBOOKS, PACKAGE, PUBLISHED_RUNS, ROOT
from tacred_utils.notebook.manifest import STUDY
from tacred_utils.runs.experiments import missing_runs, planned
from tacred_utils.runs.profile import load_profile

SOURCES = sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))
EXECUTED = sorted((NOTEBOOKS / "executed").glob("*.ipynb"))
READING = ("01", "06", "07", "09", "10")  # train nothing
PARAMETERS = ["profile", "corpus", "data_dir", "labels", "seeds", "results", "negative"]
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
def test_a_source_is_short_and_its_sentences_have_no_branches(path):
    code = [text(cell) for cell in cells(path, "code")]
    assert len(code) <= 25 and sum(len(cell.splitlines()) for cell in code) <= 170
    for cell in code:
        for node in ast.walk(ast.parse(cell)):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") in ("finding", "say"):
                assert not [part for part in ast.walk(node.args[0]) if isinstance(part, ast.IfExp)], ast.unparse(node)


def findings(path, where, **given):
    """The findings of a notebook executed with these parameters; its products lie below `where`."""
    book = nbformat.read(path, as_version=4)
    [parameters] = [cell for cell in book.cells if "parameters" in cell.metadata.get("tags", [])]
    parameters.source += "".join(f"\n{name} = {value!r}" for name, value in given.items())
    aside = (
        "from pathlib import Path\nfrom tacred_utils.notebook import manifest\nplaces = manifest.places\n"
        f"manifest.places = lambda results, corpus, read=False: places(Path({str(where)!r}), corpus, read)"
    )
    book.cells.insert(0, nbformat.v4.new_code_cell(aside, id="aside"))
    NotebookClient(book, timeout=3600, resources={"metadata": {"path": str(ROOT)}}).execute()
    return told(book)


def told(book):
    outputs = [output for cell in book.cells for output in cell.get("outputs", [])]
    return [output.metadata["finding"] for output in outputs if "finding" in output.get("metadata", {})]


def runs_to_come() -> int:
    """How many of the study's runs on its corpus are not published."""
    profile = load_profile("open")
    corpus = read_rows(PUBLISHED_RUNS / STUDY / "rows.json.gz")
    return len(missing_runs(planned(profile, corpus), corpus, PUBLISHED_RUNS))


def check(found):
    """No finding fails; one that cannot be told waits for a run that is still to be trained; some are the answer."""
    assert [each["text"] for each in found if each["holds"] is False] == []
    assert runs_to_come() or all(each["holds"] for each in found)
    assert 1 <= sum(each["lead"] for each in found) <= 3


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_every_finding_of_the_pages_holds(path):
    check(told(nbformat.read(NOTEBOOKS / "executed" / path.name, as_version=4)))


@pytest.mark.long
@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_every_finding_holds_on_the_published_runs(path, tmp_path):
    check(findings(path, tmp_path, profile="open", corpus=STUDY, results=str(PUBLISHED_RUNS)))


@pytest.mark.parametrize("path", [path for path in SOURCES if path.stem[:2] in READING], ids=lambda path: path.stem)
def test_a_notebook_without_runs_comes_to_its_end(path, tmp_path):
    found = findings(path, tmp_path, profile="smoke", results=str(tmp_path / "none"))
    assert all([each["holds"] is not None or "…" in each["text"] for each in found])


@pytest.mark.long
@pytest.mark.parametrize(
    "train", [["per:born"], ["per:born", "no_relation", "no_relation"]], ids=["one row", "one class"]
)
def test_the_first_models_come_to_their_end_where_training_lacks_what_test_asks_for(tmp_path, train):
    for split, relations in {"train": train, "dev": ["per:lives"], "test": ["per:lives"]}.items():
        rows = [
            {
                "id": f"{split}{number}", "relation": relation, "token": ["Ivy", relation, "Riga", str(number)],
                "subj_start": 0, "subj_end": 0, "obj_start": 2, "obj_end": 2, "subj_type": "PERSON", "obj_type": "CITY",
            }
            for number, relation in enumerate(relations)
        ]  # fmt: skip
        (tmp_path / f"{split}.json").write_text(json.dumps(rows), encoding="utf-8")
    [svm] = [path for path in SOURCES if path.stem == "02_svm"]
    assert findings(svm, tmp_path / "made", profile="smoke", corpus=str(tmp_path), results=str(tmp_path / "results"))


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
    source, values = cells(NOTEBOOKS / path.name, "code"), {}
    [given] = [text(cell) for cell in code if "parameters" in cell["metadata"].get("tags", [])]
    for statement in ast.parse(given).body:
        values[statement.target.id] = ast.literal_eval(statement.value)
    expected = [
        with_values(text(cell), values) if "parameters" in cell["metadata"].get("tags", []) else text(cell)
        for cell in source
    ]
    assert [text(cell) for cell in code] == expected, "the source has changed since: run it again"


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
    study.notebook("01_warns.ipynb", code, "assert all(map(stops, ['tacred_utils.sample.material', 'tacred_utils.models.svm']))",
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

"""Where tests find the open data, and small helpers that many of them share."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from tacred_utils.ground.paths import DATA, PACKAGE, ROOT

PARAMETERS = "\n".join(f"{name} = None" for name in ("profile", "corpus", "data_dir", "labels", "seeds", "results"))


def _has_data(folder: Path) -> bool:
    return (folder / "kbp37").is_dir() and (folder / "conll04").is_dir()


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of open data: $TACRED_STUDY_DATA, data/ or a shared folder beside the checkout; else the test skips."""
    candidates = [DATA, ROOT.parent / "shared" / "data"]
    if "TACRED_STUDY_DATA" in os.environ:
        candidates.insert(0, Path(os.environ["TACRED_STUDY_DATA"]))
    for folder in candidates:
        if _has_data(folder):
            return folder
    pytest.skip("the open data is not here: python -m tacred_utils data get kbp37 (conll04, tacrev, …)")


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """SVMs of all tasks on `sample` under smoke: the folder of results and published runs, and the corpus."""
    from tacred_utils.notebook.study import Study  # most tests do without
    from tacred_utils.runs.experiments import publish

    root = tmp_path_factory.mktemp("runs")
    study = Study("10", "smoke", results=str(root / "results"))
    tasks = ("joint", "detection", "relation_only")
    publish([study.run("svm", task) for task in tasks], root / "published")
    return root, study.corpus


def as_if(folder, corpus, **facts):
    """Give out the runs of sample below `folder` as those of another corpus."""
    for info in sorted(folder.glob("sample/*/run.json")):
        content = json.loads(info.read_text())
        content["corpus"] |= facts | {"name": corpus}
        info.write_text(json.dumps(content))
    (folder / "sample").rename(folder / corpus)


@pytest.fixture
def runs(trained, tmp_path):
    """A copy of those published runs, for the test to change."""
    shutil.copytree(trained[0] / "published", tmp_path / "runs")
    return tmp_path / "runs"


class Copy:
    """A copy of the package in its own folder, with notebooks made by the test."""

    def __init__(self, root: Path):
        self.root = root
        shutil.copytree(PACKAGE, root / "tacred_utils", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "requirements.txt", root)
        (root / "notebooks").mkdir()
        (root / "tacred_utils" / "cli" / "reads.toml").write_text("")  # the test's notebooks are not the study's
        self.smoke = root / "results" / "smoke"

    def notebook(self, name: str, *code: str, parameters: str = PARAMETERS) -> None:
        tagged = new_code_cell(parameters, metadata={"tags": ["parameters"]}, id="parameters")
        cells = [new_markdown_cell("# A question?", id="title"), tagged]
        cells += [new_code_cell(source, id=f"cell-{index}") for index, source in enumerate(code)]
        nbformat.write(new_notebook(cells=cells), self.root / "notebooks" / name)

    def command(self, *options: str, **variables: str) -> dict:
        environment = os.environ | {"PYTHONPATH": str(self.root), "MPLBACKEND": "Agg"} | variables
        arguments = [sys.executable, "-P", "-m", "tacred_utils", "run", "--profile=smoke", *options]
        return {"args": arguments, "cwd": self.root, "env": environment, "text": True}

    def run(self, *options: str, **variables: str) -> subprocess.CompletedProcess:
        return subprocess.run(**self.command(*options, **variables), capture_output=True, timeout=120)


@pytest.fixture
def study(tmp_path: Path) -> Copy:
    return Copy(tmp_path / "a study")

"""Summary tables: every task, its scores, the trivial systems and the paper beside them."""

import json
import re
import shutil

import pytest

from tacred_utils.corpora.example import ROWS, read_rows
from tacred_utils.ground.files import PUBLISHED_RUNS
from tacred_utils.ground.labels import TASKS
from tacred_utils.notebook.study import Study
from tacred_utils.paper import summaries
from tacred_utils.runs.catalog import load_catalogs
from tacred_utils.runs.publish import publish


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
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
    shutil.copytree(trained[0] / "published", tmp_path / "runs")
    return tmp_path / "runs"


def test_a_summary_has_every_task_its_scores_and_the_trivial_systems(runs, trained):
    catalog = load_catalogs([(runs, None)], [trained[1]])["sample"]
    table = summaries.system_table(catalog, ["micro_f1", "macro_f1", "directional_macro_f1"])
    named = ["SVM, our features", "always no_relation", "majority per type pair"]
    assert table.groupby("task", sort=False).system.apply(list).to_dict() == dict.fromkeys(TASKS, named)
    joint = next(run for run in catalog.frame.run if run.info["task"] == "joint")
    assert table.micro_f1[0] == f"{joint.metrics['test']['micro_f1']:.3f}" and "directional_macro_f1" not in table
    assert table.micro_f1[table.system == "always no_relation"].tolist() == ["0.000"] * 3


def test_deviations_are_of_seeds(runs):
    [folder] = runs.glob("sample/svm-joint-*")
    copy = folder.with_name("svm-joint-s42-copy")
    shutil.copytree(folder, copy)
    content = json.loads((copy / "run.json").read_text()) | {"seed": 42}
    (copy / "run.json").write_text(json.dumps(content))
    catalogs = load_catalogs([(runs, None)])
    first = summaries.system_table(catalogs["sample"], ["micro_f1"]).iloc[0]
    assert first.seeds == 2 and re.fullmatch(r"0\.(\d{3}) \(0\.\1–0\.\1\)", first.micro_f1)


def test_stricter_counts_of_published_runs():
    """KBP37's reader leaves out 26 test rows; 21 sentences of CoNLL04's test split stand in its training split."""
    catalogs = {name: load_catalogs([(PUBLISHED_RUNS, name)], [read_rows(PUBLISHED_RUNS / name / ROWS)])[name]
                for name in ("kbp37", "conll04")}  # fmt: skip
    best = summaries.stricter(catalogs["kbp37"], "directional_macro_f1").iloc[0]
    assert (best.directional_macro_f1, best["unread wrong"]) == pytest.approx((0.6374, 0.6355), abs=5e-5)
    table = summaries.stricter(catalogs["conll04"], "micro_f1").query("micro_f1 > 0.3")
    assert (table["unread wrong"] == table.micro_f1).all()  # its reader leaves out no row
    assert (table.micro_f1 - table["new sentences"]).between(0.002, 0.014).all()

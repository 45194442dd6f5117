"""What a notebook holds: titles carry the stamp, products go where they belong, and a notebook can end early."""

import json
import shlex
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from tacred_utils.ground.errors import UserError
from tacred_utils.ground.paths import ROOT
from tacred_utils.notebook import charts, study
from tacred_utils.notebook.study import Study
from tacred_utils.runs import experiments
from tacred_utils.runs.experiments import publish


@pytest.fixture
def smoke(tmp_path):
    return Study("02", "smoke", results=str(tmp_path))


def test_titles_say_synthetic(smoke):
    assert smoke.title("Scores") == "Scores (sample, SYNTHETIC)"
    assert "SYNTHETIC" in smoke._repr_markdown_() and "profile **smoke**" in smoke._repr_markdown_()


def test_titles_state_the_subset(data_dir, tmp_path):
    real = Study("02", "smoke", "conll04", str(data_dir), results=str(tmp_path))
    assert "stratified subset of" in real.title("Scores") and "SYNTHETIC" not in real.title("Scores")


def test_products_of_smoke_lie_below_its_results_and_in_the_manifest(smoke, tmp_path, capsys):
    run = smoke.run("svm", "detection")
    smoke.figure("curve", lambda frame: Figure(), [1])
    assert run.folder.is_relative_to(tmp_path)
    folder = tmp_path / "figures" / "sample"
    entry = json.loads((folder / "manifest.json").read_text())["02_curve.png"]
    settings = {"profile": "smoke", "corpus": "sample", "labels": "tacred", "seeds": smoke.seeds}
    made = {"notebook": "02", "runs": [f"sample/{run.folder.name}"], "commit": study.git_commit(), **settings}
    assert entry == made
    smoke.figure("printed", lambda frame: Figure(), [1], published=True)
    smoke.gathers([run])
    smoke.figure("gathered", lambda frame: Figure(), [1], published=True)
    published = json.loads((tmp_path / "figures" / "published" / "manifest.json").read_text())
    assert published["02_printed.png"]["runs"] == [] and published["02_gathered.png"] == made
    assert "02_curve: pdf, png" in capsys.readouterr().out


def test_a_cell_says_what_it_trains_until_it_is_trained(smoke, monkeypatch):
    shown = []

    class Handle:
        def update(self, output):
            shown.append(output.data)

    monkeypatch.setattr(study, "get_ipython", lambda: True)
    monkeypatch.setattr(study, "display", lambda output, display_id: shown.append(output.data) or Handle())
    smoke.run("svm", "detection", seed=7)
    assert shown == ["Training svm-detection-s7 …", ""]
    smoke.run("svm", "detection", seed=7)
    assert len(shown) == 2, "what is trained is not trained again"


def test_a_published_copy_is_a_run_and_what_is_not_there_is_not_trained_to_be_read(smoke, tmp_path):
    run = smoke.run("svm", "detection", seed=7)
    publish([run], tmp_path / "published")
    reader = Study("06", "smoke", results=str(tmp_path / "published"))
    assert reader.system("svm joint") is None and not reader._used and not list(tmp_path.rglob("svm-joint*"))
    [found] = reader.system("svm detection").runs
    assert found.folder == tmp_path / "published" / "sample" / run.folder.name
    assert reader._used == {f"sample/{run.folder.name}"}


def test_systems_are_those_that_are_here_over_their_seeds_without_ablations(smoke, tmp_path, capsys):
    for seed in (5, 7):
        smoke.run("svm", "joint", "paper", seed=seed)
    smoke.run("svm", "joint", seed=5, c=3.0)
    reader = Study("06", "smoke", results=str(tmp_path), seeds=[5, 7])
    name = "SVM, paper's features, joint (not in the paper)"
    assert list(reader.answering()) == [name] and len(reader.answering()[name].answers) == 2
    assert reader.families[name] == "svm" and not reader.answering("detection")
    assert reader.system("svm joint c=3.0").runs[0].info["seed"] == 5
    capsys.readouterr()
    gain = reader.estimate("micro_f1", "svm joint paper", "bert joint")
    assert np.isnan([gain.value, gain.low, gain.high]).all() and not gain.low > 0
    reader.estimate("macro_f1", "svm joint paper", "bert joint")
    assert reader.estimate("micro_f1", "svm joint paper", "svm joint c=3.0").n == reader.clusters.size


def test_a_notebook_trains_what_is_declared_for_it_and_reads_what_is_published(smoke, tmp_path, monkeypatch):
    said = []
    declared = [each for each in experiments.load_experiments() if each.family == "svm"]
    monkeypatch.setattr(experiments, "load_experiments", lambda: declared)
    monkeypatch.setattr(study, "load_experiments", lambda: declared)
    monkeypatch.setattr(Study, "say", lambda _, text: said.append(text))
    smoke.train()
    smoke.train()
    assert said[0].startswith("Runs: 0 re-used") and said[1].endswith(", 0 trained.")
    assert "SVM, our features" in smoke.answering(), "what was just trained is read"
    monkeypatch.setattr(study, "PUBLISHED_RUNS", tmp_path)
    Study("02", "smoke", results=str(tmp_path), seeds=[99]).train()
    assert said[-1].endswith(", 0 trained.")


def test_published_runs_are_read_by_the_rows_beside_them_where_the_text_is_not_at_hand(tmp_path, data_dir):
    published = ROOT / "data" / "runs"
    rows, text = (Study("06", "open", "conll04", str(where), results=str(published)) for where in (tmp_path, data_dir))
    assert not rows.corpus.has_text and rows.corpus.digests == text.corpus.digests
    assert rows.sentence(rows.corpus.test[0]) == "(not at hand)"
    pair = ("bert joint typed_marker_punct", "bert joint")
    assert rows.estimate("micro_f1", *pair).value == text.estimate("micro_f1", *pair).value


def test_an_empty_frame_is_passed_over_with_a_sentence(smoke, monkeypatch):
    said = []
    monkeypatch.setattr(Study, "say", lambda _, text: said.append(text))
    smoke.table("none", pd.DataFrame({"system": []}), "Nothing")
    smoke.figure("none", charts.intervals, pd.DataFrame(), {}, title="Nothing at all")
    assert ["left out" in text for text in said] == [True, True]


def test_what_is_lacking_is_told_with_a_command_that_the_shell_takes(tmp_path, capsys):
    from tacred_utils.__main__ import main

    reader = Study("06", "smoke", results=str(tmp_path / "no runs"), seeds=[3])
    assert "plan --profile smoke --corpus sample --results" in reader.lacking and "--seeds 3" in reader.lacking
    command = shlex.split(reader.lacking.split("`")[1])
    assert main(command[3:]) == 0
    assert "train --family svm" in capsys.readouterr().out


@pytest.mark.parametrize(
    "options, expected", [({"profile": "fast"}, "--profile fast"), ({"labels": "mine"}, "--labels mine")]
)
def test_a_wrong_parameter_is_one_sentence(tmp_path, options, expected):
    with pytest.raises(UserError, match=expected):
        _ = Study("02", **({"profile": "smoke"} | options), results=str(tmp_path)).corpus


def test_a_single_seed_is_a_list_of_one_and_text_is_none():
    assert Study("02", "smoke", seeds=13).seeds == [13]
    with pytest.raises(UserError, match="seed .13."):
        Study("02", "smoke", seeds="13")


def test_paths_of_parameters_are_meant_from_the_root_and_from_home(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    reader = Study("02", "smoke", data_dir="~/data", results="../data/{x}")
    assert str(reader.data) == "/home/me/data" and reader.results == study.ROOT.parent / "data" / "{x}"


def test_nothing_is_trained_among_published_runs(smoke, monkeypatch):
    monkeypatch.setattr(study, "PUBLISHED_RUNS", smoke.results)
    with pytest.raises(UserError, match="Runs that it reads are missing"):
        smoke.run("svm", "joint", seed=99)


@pytest.mark.parametrize(("annotator", "said"), [("spaCy 3", "Weights; tags predicted by spaCy 3"), ("", "Weights")])
def test_a_title_of_what_rests_on_tags_says_what_predicted_them(annotator, said):
    assert Study.with_tags(SimpleNamespace(corpus=SimpleNamespace(annotator=annotator)), "Weights") == said


def test_a_parameter_of_another_kind_is_refused_by_name():
    with pytest.raises(UserError, match="corpus = 3: is no text"):
        Study("02", "smoke", corpus=3)

"""What a notebook holds: titles carry the stamp, products go where they belong, and a notebook can end early."""

import json
import shlex
from dataclasses import replace

import pytest
from IPython.core.interactiveshell import InteractiveShell
from matplotlib.figure import Figure

from tacred_utils.cli import readme
from tacred_utils.ground.errors import UserError
from tacred_utils.notebook import study
from tacred_utils.notebook.study import Study
from tacred_utils.runs.store import publish


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
    smoke.save_figure(Figure(), "curve")
    assert run.folder.is_relative_to(tmp_path)
    folder = tmp_path / "figures" / "sample"
    entry = json.loads((folder / "manifest.json").read_text())["02_curve.png"]
    settings = {"profile": "smoke", "corpus": "sample", "labels": "tacred", "seeds": smoke.seeds}
    made = {"notebook": "02", "runs": [f"sample/{run.folder.name}"], "commit": study.git_commit(), **settings}
    assert entry == made
    smoke.save_figure(Figure(), "printed", published=True)
    smoke.gathers([run])
    smoke.save_figure(Figure(), "gathered", published=True)
    published = json.loads((tmp_path / "figures" / "published" / "manifest.json").read_text())
    assert published["02_printed.png"]["runs"] == [] and published["02_gathered.png"] == made
    assert "02_curve: pdf, png" in capsys.readouterr().out


def test_a_stopped_notebook_passes_over_its_cells_until_a_study_is_made(smoke, monkeypatch, capsys):
    shell = InteractiveShell.instance()
    monkeypatch.setattr(study, "get_ipython", lambda: shell)
    shell.user_ns["seen"] = []
    smoke.stop("There is nothing here.")
    assert shell.run_cell("seen.append(1)").success and shell.user_ns["seen"] == []
    shell.user_ns["Study"] = lambda: study._run_cells_again()
    shell.run_cell("Study()")
    shell.run_cell("seen.append(2)")
    assert shell.user_ns["seen"] == [2]


def test_find_reads_what_is_done_and_trains_nothing(smoke, tmp_path):
    assert smoke.find("svm", "detection") is None and not list(tmp_path.rglob("run.json"))
    run = smoke.run("svm", "detection", seed=7)
    reader = Study("06", "smoke", results=str(tmp_path))
    assert reader.find("svm", "detection", seed=8) is None and reader.find("svm", "detection", seed=7, c=3.0) is None
    assert not reader._runs
    assert reader.find("svm", "detection", seed=7).folder == run.folder
    assert reader._runs == {f"sample/{run.folder.name}"}


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


def test_find_takes_a_published_copy(smoke, tmp_path):
    run = smoke.run("svm", "detection")
    publish([run], tmp_path / "published")
    found = Study("06", "smoke", results=str(tmp_path / "published")).find("svm", "detection")
    assert found.folder == tmp_path / "published" / "sample" / run.folder.name


def test_systems_are_those_declared_without_ablations_and_hold_what_is_done(smoke, tmp_path):
    runs = [smoke.run("svm", "joint", seed=seed) for seed in (5, 7)] + [smoke.run("svm", "detection", seed=7)]
    smoke.run("svm", "joint", "paper", seed=5)
    systems = {system.name: system for system in Study("06", "smoke", results=str(tmp_path), seeds=[5, 7]).systems()}
    assert {"SVM", "SVM paper", "BiLSTM", "BiLSTM pa_lstm"} <= set(systems)
    assert not [name for name in systems if "pos_dim" in name]
    svm = systems["SVM"]
    assert [run.folder for run in svm.runs.values()] == [run.folder for run in runs]
    assert svm.first("joint").folder == runs[0].folder and svm.first("relation_only") is None
    assert svm.paired("joint") == [5, 7] and svm.paired("joint", "detection") == [7]
    assert svm.declared == ("joint", "detection", "relation_only") and not systems["BiLSTM"].runs


def test_systems_of_a_further_corpus_are_joint_only(data_dir, tmp_path):
    reader = Study("06", "open", "kbp37", str(data_dir), results=str(tmp_path))
    systems = reader.systems()
    assert systems and {system.declared for system in systems} == {("joint",)} and not any(s.runs for s in systems)


def test_what_is_lacking_is_told_with_a_command_that_the_shell_takes(tmp_path, capsys):
    from tacred_utils.__main__ import main

    reader = Study("06", "smoke", results=str(tmp_path / "no runs"), seeds=[3])
    assert "plan --profile smoke --corpus sample --results" in reader.lacking and "--seeds 3" in reader.lacking
    command = shlex.split(reader.lacking.split("`")[1])
    assert main(command[3:]) == 0
    assert "train --family svm" in capsys.readouterr().out


def test_a_part_is_passed_over_up_to_the_next_and_not_beyond_the_end(smoke, monkeypatch):
    shell = InteractiveShell.instance()
    monkeypatch.setattr(study, "get_ipython", lambda: shell)
    shell.user_ns |= {"seen": [], "study": smoke}
    smoke.skip("Not on this corpus.")
    for cell in ("seen.append(1)", "study.resume()", "seen.append(2)"):
        assert shell.run_cell(cell).success
    assert shell.user_ns["seen"] == [2]
    smoke.stop("There is nothing here.")
    smoke.skip("Nor here.")
    for cell in ("study.resume()", "seen.append(3)"):
        shell.run_cell(cell)
    assert shell.user_ns["seen"] == [2], "what follows the end is no next part"
    study._run_cells_again()


def test_both_ends_show_errors_and_doubts_but_nothing_of_a_licensed_text(smoke):
    run = smoke.run("svm", "joint")
    ends = smoke.both_ends(run, rows=2)
    wrong, doubt = (ends[ends.end == name] for name in ("confident and wrong", "doubtful and right"))
    assert (wrong.label_true != wrong.label_pred).all() and (doubt.label_true == doubt.label_pred).all()
    answers = run.predictions("test")
    assert wrong.p.max() == answers[answers.label_true != answers.label_pred].p.max()
    assert all(["[S" in text and "O " in text and len(text.split()) <= 40 for text in ends.sentence])
    smoke.corpus = replace(smoke.corpus, gated=True)
    assert set(smoke.both_ends(run).sentence) == {"(licensed)"}


@pytest.mark.parametrize(
    "options, expected", [({"profile": "fast"}, "--profile fast"), ({"labels": "mine"}, "--labels mine")]
)
def test_a_wrong_parameter_is_one_sentence(tmp_path, options, expected):
    with pytest.raises(UserError, match=expected):
        _ = Study("02", **({"profile": "smoke"} | options), results=str(tmp_path)).corpus


def test_the_readme_holds_what_the_published_runs_say(tmp_path):
    copy = tmp_path / "README.md"
    copy.write_text(f"before\n{readme.START}\nold\n{readme.END}\nafter\n")
    readme.refresh(copy)
    assert copy.read_text() == f"before\n{readme.START}\n{readme.results()}{readme.END}\nafter\n"
    committed = (readme.ROOT / "README.md").read_text(encoding="utf-8")
    assert readme.results() in committed, "python -m tacred_utils runs publish renews it"
    (tmp_path / "none.md").write_text("no markers")
    with pytest.raises(UserError, match="pair of markers"):
        readme.refresh(tmp_path / "none.md")

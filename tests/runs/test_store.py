"""Runs: identity, cache, lock, files, publication, and the plan. A stand-in model keeps these fast."""

import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import types
from functools import partial

import msgspec
import numpy as np
import pytest
from filelock import FileLock
from safetensors.numpy import load_file

from tacred_utils.__main__ import main
from tacred_utils.corpora.example import Example
from tacred_utils.corpora.reader import assemble
from tacred_utils.ground.errors import UserError
from tacred_utils.ground.labels import NO_RELATION, SPLITS, task_classes
from tacred_utils.ground.paths import PUBLISHED_RUNS, ROOT
from tacred_utils.models.settings import FitResult
from tacred_utils.runs import experiments, store
from tacred_utils.runs import train as training
from tacred_utils.runs.experiments import publish
from tacred_utils.runs.profile import load_profile, parse_overrides
from tacred_utils.runs.store import Run, Spec, find_runs, is_done
from tacred_utils.runs.train import train


def make_corpus(labels=(NO_RELATION, "per:title", "per:age"), rows=6):
    splits = {
        split: [
            Example(f"{split}-{i}", labels[i % len(labels)], ["a", "b"], 0, 0, 1, 1, "PERSON", "TITLE")
            for i in range(rows)
        ]
        for split in SPLITS
    }
    return assemble("toy", splits, "toy")


@pytest.fixture
def model(monkeypatch):
    """A model that answers the first class always, counts its trainings and can be told to fail."""
    module = types.ModuleType("stand_in")
    module.trained, module.error = [], None

    def fit(corpus, task, settings, seed, folder):
        module.trained.append((task, seed))
        folder.mkdir(parents=True, exist_ok=True)  # checkpoints; gone when the run is done
        (folder / "checkpoint.json").write_text("{}")
        if module.error:
            raise module.error
        classes = task_classes(task, corpus.labels)
        probabilities = np.full(len(classes), 0.4 / max(1, len(classes) - 1))
        probabilities[0] = 0.6
        log_probs = {split: np.log(np.tile(probabilities, (len(corpus.split(split)), 1))) for split in ("dev", "test")}

        def save(folder):
            folder.mkdir(parents=True)
            (folder / "weights.json").write_text("{}")

        return FitResult(log_probs, [{"epoch": 1, "loss": 0.5}], {"device": "cpu", "dtype": "float64"}, save)

    module.fit, module.load = fit, lambda folder: "model"
    for module_of_runs in (store, training):
        monkeypatch.setattr(module_of_runs, "family", lambda name: module)
    return module


def spec(task="joint", seed=13, **overrides):
    return Spec("svm", task, seed, load_profile("sample").settings("svm", None, overrides))


def test_a_run_writes_what_the_contract_names(model, tmp_path):
    corpus = make_corpus()
    run = train(spec(), corpus, tmp_path, "sample")
    assert run.folder.parent == tmp_path / "toy" and run.folder.name.startswith("svm-joint-s13-")
    found = sorted(str(path.relative_to(run.folder)) for path in run.folder.rglob("*") if path.is_file())
    assert found == [
        "history.csv", "metrics.json", "model/weights.json", "predictions/dev.jsonl", "predictions/dev.safetensors",
        "predictions/test.jsonl", "predictions/test.safetensors", "run.json",
    ]  # fmt: skip
    rows = [json.loads(line) for line in (run.folder / "predictions" / "test.jsonl").read_text().splitlines()]
    assert rows[1] == {"id": "test-1", "label_true": "per:title", "label_pred": NO_RELATION, "p": 0.6}
    matrix = load_file(run.folder / "predictions" / "test.safetensors")["log_probs"]
    assert matrix.shape == (6, 3) and matrix.dtype == np.float32
    info = json.loads((run.folder / "run.json").read_text())
    assert info["status"] == "done" and info["classes"] == [NO_RELATION, "per:age", "per:title"]
    assert info["corpus"]["sha256"] == corpus.digests and info["settings"]["kernel"] == "linear"
    assert {"versions", "git", "device", "dtype", "wall_seconds", "peak_memory_mb", "seed", "profile"} <= info.keys()


@pytest.mark.parametrize(
    "task, answers", [("detection", {NO_RELATION, "relation"}), ("relation_only", {"per:age", "per:title"})]
)
def test_every_task_answers_every_row_and_keeps_the_gold_label(model, tmp_path, task, answers):
    run = train(spec(task), make_corpus(), tmp_path, "sample")
    frame = run.predictions("test")
    assert len(frame) == 6 and set(frame.label_pred) <= answers
    assert frame.label_true.tolist() == [NO_RELATION, "per:title", "per:age"] * 2


def test_task_scores_are_of_the_rows_that_the_task_is_about(model, tmp_path):
    relation_only = train(spec("relation_only"), make_corpus(), tmp_path, "sample").metrics["test"]
    assert relation_only["accuracy"] == 0.5  # of the four gold relations, the two per:age
    detection = train(spec("detection"), make_corpus(), tmp_path, "sample").metrics["test"]
    assert detection["accuracy"] == pytest.approx(2 / 6) and detection["micro_f1"] == 0


def test_a_done_run_is_reused_and_force_trains_again(model, tmp_path):
    for _ in range(2):
        train(spec(), make_corpus(), tmp_path, "sample")
    assert len(model.trained) == 1
    train(spec(), make_corpus(), tmp_path, "sample", since=time.time())
    assert len(model.trained) == 2


def test_identity_covers_settings_seed_task_data_and_version(monkeypatch):
    corpus = make_corpus()
    identities = {
        spec().identity(corpus),
        spec(seed=42).identity(corpus),
        spec("detection").identity(corpus),
        spec(c=0.25).identity(corpus),
    }
    identities.add(spec().identity(make_corpus(rows=7)))
    monkeypatch.setitem(store.VERSIONS, "svm", 99)
    identities.add(spec().identity(corpus))
    assert len(identities) == 6


DAMAGES = {"predictions/test.jsonl": ['{"id"'], "predictions/test.safetensors": ["x" * 40]}  # fmt: skip


@pytest.mark.parametrize("content", [None, "[]", '{"test": {"micro_f1": 5}}', "[" * 9_999])
def test_scores_come_from_predictions_whatever_metrics_json_says(model, tmp_path, capsys, content):
    run = train(spec(), make_corpus(), tmp_path / "results", "sample")
    path, written = run.folder / "metrics.json", json.loads((run.folder / "metrics.json").read_text())
    assert run.metrics == written
    path.unlink() if content is None else path.write_text(content)
    assert is_done(run.folder) and Run(run.folder).metrics == written
    [copy] = publish([run], tmp_path / "to")
    assert json.loads((copy / "metrics.json").read_text()) == written
    assert main(["runs", "list", "--results", str(tmp_path / "results")]) == 0
    assert f"micro_f1 {written['test']['micro_f1']:.3f}" in capsys.readouterr().out
    lines = (run.folder / "predictions" / "test.jsonl").read_text().splitlines()
    right = [
        line.replace(NO_RELATION, "per:age") if json.loads(line)["label_true"] == "per:age" else line for line in lines
    ]
    (run.folder / "predictions" / "test.jsonl").write_text(
        "\n".join(line.replace('"label_true":"per:title"', '"label_true":"no_relation"') for line in right)
    )
    assert Run(run.folder).metrics["test"]["accuracy"] == 1.0, "predictions written anew are scored anew"


def test_force_is_once_a_command_and_a_model_that_was_kept_is_kept_again(model, tmp_path):
    run = train(spec(), make_corpus(), tmp_path, "sample")
    start = time.time()
    for keep_model in (False, False, True):  # three notebooks that show it
        train(spec(), make_corpus(), tmp_path, "sample", keep_model=keep_model, since=start)
        assert (run.folder / "model" / "weights.json").exists()
    assert len(model.trained) == 2
    train(spec(seed=42), make_corpus(), tmp_path, "sample", keep_model=False, since=start)
    assert len(model.trained) == 3 and not list(tmp_path.glob("toy/*-s42-*/model"))


def test_nothing_of_an_older_training_is_resumed_by_force(model, tmp_path):
    model.error = ValueError("stopped")
    with pytest.raises(ValueError, match="stopped"):
        train(spec(), make_corpus(), tmp_path, "sample")
    [folder] = tmp_path.glob("toy/svm-*")
    (folder / "checkpoints" / "checkpoint.json").rename(folder / "checkpoints" / "old.json")
    os.utime(folder / "run.json", (1, 1))
    with pytest.raises(ValueError, match="stopped"):
        train(spec(), make_corpus(), tmp_path, "sample", since=time.time())
    assert [path.name for path in (folder / "checkpoints").iterdir()] == ["checkpoint.json"]


def test_whether_dev_still_rose_is_read_from_the_history(model, tmp_path):
    run = train(spec(), make_corpus(), tmp_path, "sample")
    assert not run.dev_still_rose, "an SVM has no epochs"
    info = run.info | {"settings": {"select": "micro_f1"}}
    (run.folder / "run.json").write_text(json.dumps(info))
    for scores, rose in (([0.1, 0.2, 0.3], True), ([0.1, 0.3, 0.3], False), ([0.3, 0.2], False), ([0.1], True)):
        lines = ["epoch,dev_macro_f1,dev_micro_f1", *(f"{n},{-n},{score}" for n, score in enumerate(scores, start=1))]
        (run.folder / "history.csv").write_text("\n".join(lines))
        assert Run(run.folder).dev_still_rose == rose


def test_run_json_names_the_machine_and_what_the_run_cost(model, tmp_path):
    run = train(spec(), make_corpus(), tmp_path, "sample")
    machine, versions = run.info["machine"], run.info["versions"]
    assert machine["processor"] and machine["architecture"] and machine["cores"] == os.cpu_count()
    assert run.info["threads"] >= 1 and {"numpy", "torch", "transformers", "tokenizers"} <= versions.keys()
    assert run.info["peak_memory_mb"] > 10 and min(run.info["cpu_seconds"], run.info["wall_seconds"]) >= 0


def test_a_damaged_file_of_a_run_is_named_and_nothing_of_it_is_published(model, tmp_path, capsys):
    run = train(spec(), make_corpus(), tmp_path / "results", "sample")
    publishing = ["runs", "publish", "--to", str(tmp_path / "to")]
    for name, contents in DAMAGES.items():
        path, whole = run.folder / name, (run.folder / name).read_bytes()
        for content in contents:
            path.write_text(content)
            assert main([*publishing, "--results", str(tmp_path / "results")]) == 2
            assert f"error: {path}" in capsys.readouterr().err
        path.write_bytes(whole)
    assert not (tmp_path / "to").exists()
    assert main([*publishing, "--results", str(tmp_path / "results")]) == 0 and find_runs(tmp_path / "to")


def test_a_run_whose_description_has_another_form_is_no_run(model, tmp_path):
    path = train(spec(), make_corpus(), tmp_path, "sample").folder / "run.json"
    whole = json.loads(path.read_text())
    damages = {"corpus": None, "profile": [], "variant": {}, "classes": None, "settings": None, "family": [], "task": "odd",
               "seed": "x", "version": {}, "status": "odd"}  # fmt: skip
    for name, value in damages.items():
        path.write_text(json.dumps(whole | {name: value}))
        assert not is_done(path.parent) and find_runs(tmp_path) == [], name
    train(spec(), make_corpus(), tmp_path, "sample")
    assert len(model.trained) == 2 and find_runs(tmp_path)


def test_a_failed_run_is_not_done_and_is_trained_again(model, tmp_path):
    model.error = ValueError("loss is NaN")
    with pytest.raises(ValueError, match="NaN"):
        train(spec(), make_corpus(), tmp_path, "sample")
    [folder] = [path for path in (tmp_path / "toy").iterdir() if path.name != ".locks"]
    assert not is_done(folder) and Run(folder).info["error"] == "ValueError: loss is NaN"
    assert (folder / "checkpoints").is_dir()
    model.error = None
    assert is_done(train(spec(), make_corpus(), tmp_path, "sample").folder)


def test_answers_that_are_no_numbers_are_no_run(model, tmp_path, monkeypatch):
    monkeypatch.setattr(model, "fit", _without_numbers(model.fit))
    with pytest.raises(UserError, match="answers on test are no numbers; lower learning_rate"):
        train(spec(), make_corpus(), tmp_path, "sample")
    assert find_runs(tmp_path) == []


def _without_numbers(fit):
    def wrapped(*arguments):
        outcome = fit(*arguments)
        outcome.log_probs["test"][3] = np.nan
        return outcome

    return wrapped


@pytest.mark.parametrize("damage", ["run.json", "history.csv", "predictions/test.jsonl"])
def test_half_a_run_does_not_count(model, tmp_path, damage):
    run = train(spec(), make_corpus(), tmp_path, "sample")
    (run.folder / damage).unlink()
    assert not is_done(run.folder) and find_runs(tmp_path) == []
    train(spec(), make_corpus(), tmp_path, "sample")
    assert len(model.trained) == 2


def files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("before", [True, False])
def test_a_run_killed_at_any_rename_comes_to_the_same_files(model, tmp_path, before):
    """kill -9 just before or just after each file gets its name; the next training leaves what an unbroken one does."""
    unbroken = files(train(spec(), make_corpus(), tmp_path / "unbroken", "sample").folder)
    replaced, kills = os.replace, 0
    while _dies_at(kills, replaced, before, tmp_path / "killed") == signal.SIGKILL:
        kills += 1
        run = train(spec(), make_corpus(), tmp_path / "killed", "sample")
        found = files(run.folder)
        assert found.keys() == unbroken.keys()  # no checkpoint, no half-written file
        assert all(found[name] == content for name, content in unbroken.items() if name != "run.json")
        shutil.rmtree(tmp_path / "killed")
    assert kills == len(unbroken)  # run.json is renamed twice, the stand-in's weights are not


def _dies_at(number, replaced, before, results):
    """Train in a process of its own that is killed at a rename, counted from 0; returns the signal, else 0."""
    if child := os.fork():
        return os.WTERMSIG(os.waitpid(child, 0)[1])
    renames = itertools.count()

    def replace(*names):
        fatal = next(renames) == number
        if not (fatal and before):
            replaced(*names)
        if fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    try:
        os.replace = replace
        train(spec(), make_corpus(), results, "sample")
        os._exit(0)
    finally:
        os._exit(1)


def test_a_second_trainer_is_kept_out(model, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "PATIENCE", 0.1)
    corpus = make_corpus()
    folder = spec().folder(corpus, tmp_path)
    (folder.parent / ".locks").mkdir(parents=True)
    with FileLock(folder.parent / ".locks" / f"{folder.name}.lock"), pytest.raises(UserError, match="another process"):
        train(spec(), corpus, tmp_path, "sample")
    assert model.trained == []


def test_a_trainer_waits_for_one_that_is_about_to_end(model, tmp_path):
    folder = spec().folder(make_corpus(), tmp_path)
    (folder.parent / ".locks").mkdir(parents=True)
    (dying := FileLock(folder.parent / ".locks" / f"{folder.name}.lock", thread_local=False)).acquire()
    threading.Timer(0.5, dying.release).start()  # as a kernel whose runner was killed
    assert is_done(train(spec(), make_corpus(), tmp_path, "sample").folder)


def test_tasks_that_a_corpus_cannot_have(model, tmp_path):
    positives = make_corpus(("per:title", "per:age"))
    with pytest.raises(UserError, match="only relation_only"):
        train(spec("joint"), positives, tmp_path, "sample")
    train(spec("relation_only"), positives, tmp_path, "sample")
    with pytest.raises(UserError, match="it needs two"):
        train(spec("relation_only"), make_corpus((NO_RELATION, "per:age")), tmp_path, "sample")
    with pytest.raises(UserError, match="--task both"):
        train(spec("both"), positives, tmp_path, "sample")


def test_a_results_folder_that_cannot_be_made_is_one_sentence(model, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="choose another --results"):
        train(spec(), make_corpus(), tmp_path / "file", "sample")


def test_published_runs_read_like_the_originals_and_are_the_same_bytes(model, tmp_path):
    run = train(spec(), make_corpus(), tmp_path / "results", "sample")
    [copy] = publish([run], tmp_path / "runs")
    first = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    assert sorted(path.name for path in first) == [
        "dev.jsonl.gz",
        "history.csv",
        "metrics.json",
        "run.json",
        "test.jsonl.gz",
    ]
    assert Run(copy).predictions("test").equals(run.predictions("test")) and is_done(copy)
    publish([run], tmp_path / "runs")
    assert {path: path.read_bytes() for path in first} == first
    with pytest.raises(UserError, match="few published runs keep it"):
        Run(copy).log_probs("test")
    assert run.has_log_probs and not Run(copy).has_log_probs


def test_published_log_probabilities_are_the_originals_to_half_a_per_mille(model, tmp_path):
    run = train(spec(), make_corpus(), tmp_path / "results", "sample")
    [copy] = publish([run], tmp_path / "runs", lambda run: True)
    files = sorted(path.name for path in (copy / "predictions").iterdir())
    assert files == ["dev.jsonl.gz", "dev.safetensors.gz", "test.jsonl.gz", "test.safetensors.gz"]
    assert Run(copy).has_log_probs and Run(copy).log_probs("test").dtype == np.float32
    assert np.allclose(Run(copy).log_probs("test"), run.log_probs("test"), rtol=5e-4, atol=0)
    first = (copy / "predictions" / "test.safetensors.gz").read_bytes()
    publish([run], tmp_path / "runs", lambda run: True)
    assert (copy / "predictions" / "test.safetensors.gz").read_bytes() == first
    (copy / "predictions" / "test.safetensors.gz").write_bytes(first[:40])
    with pytest.raises(UserError, match="is damaged"):
        Run(copy).log_probs("test")


def test_matrices_are_published_of_joint_headline_rows_for_one_seed(model, tmp_path):
    profile, corpus = load_profile("open"), make_corpus()
    specs = [one for one in experiments.planned(profile, corpus) if one.family == "svm"]
    done = [train(one, corpus, tmp_path, "open") for one in specs]
    chosen = [run.folder.name.rsplit("-", 1)[0] for run in done if experiments.publishes_log_probs(run)]
    assert chosen == ["svm-joint-s13", "svm-paper-joint-s13"]
    other = Spec("svm", "joint", 13, profile.settings("svm", None, {"c": 7.0}))
    assert not experiments.publishes_log_probs(train(other, corpus, tmp_path, "open"))


def test_the_plan_lists_what_is_missing_and_its_commands_train_it(model, tmp_path):
    profile, corpus = load_profile("sample"), make_corpus()
    planned = experiments.planned(profile, corpus)
    assert [run.title for run in planned[:2]] == ["svm-joint-s13", "svm-detection-s13"]
    train(planned[0], corpus, tmp_path, "sample")
    missing = experiments.missing_runs(planned, corpus, tmp_path)
    assert missing == planned[1:]
    for run in planned:  # a command line says all that the experiment sets
        words = experiments.arguments(run, profile, {})
        said = [word for flag, word in zip(words, words[1:], strict=False) if flag == "--set"]
        assert profile.settings(run.family, run.variant, parse_overrides(said)) == run.settings
    line = experiments.command(missing[0], profile, {"corpus": "a b", "results": None})
    assert line == "python -m tacred_utils train --family svm --task detection --seed 13 --corpus 'a b'"
    [run] = find_runs(tmp_path)
    assert experiments.experiment_of(run, "sample", run.corpus) == experiments.load_experiments()[0]


def test_shared_modules_do_not_import_torch():
    code = "import sys, tacred_utils.notebook.study, tacred_utils.runs.catalog, tacred_utils.models.svm; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_settings_at_their_default_are_no_part_of_an_identity():
    settings = load_profile("open").settings("bert", "typed_marker_punct")
    stated = Spec("bert", "joint", 13, settings).stated_settings
    assert not {"layers", "tags", "upsample", "whole_texts", "piece_dropout", "type_dim"} & stated.keys()
    fewer = Spec("bert", "joint", 13, msgspec.structs.replace(settings, tags=True, layers=2)).stated_settings
    assert fewer == stated | {"tags": True, "layers": 2}


def test_files_that_settings_name_are_part_of_a_runs_identity(tmp_path):
    glove, model = tmp_path / "vectors.txt", tmp_path / "model"
    model.mkdir()
    for family, files, change in (
        ("bilstm", [glove], {"words": "glove", "glove": str(glove)}),
        ("bert", [model / "config.json", model / "model.safetensors"], {"model": str(model)}),
    ):
        settings = load_profile("smoke").settings(family, None, change)
        identity = partial(Spec(family, "joint", 13, settings).identity, make_corpus())
        seen = [identity()]
        for file in files:
            file.write_bytes(b"one")
            seen.append(identity())
            file.write_bytes(b"another")
            os.utime(file, ns=(1, 1))
            seen.append(identity())
        assert len(set(seen)) == len(seen)
        os.utime(files[0], ns=(2, 2))
        assert identity() == seen[-1]  # what it holds counts, not when it was written
    (model / "README.md").write_text("anything")
    assert identity() == seen[-1]


def test_a_commit_is_recorded_in_a_checkout_of_its_own_only(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "ROOT", tmp_path / "unpacked")
    (tmp_path / "unpacked").mkdir()
    git = ["git", "-C", str(tmp_path), "-c", "user.name=x", "-c", "user.email=x@x"]
    assert store.git_commit.__wrapped__() is None
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "another project"], check=True)
    assert store.git_commit.__wrapped__() is None
    monkeypatch.setattr(store, "ROOT", tmp_path)
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))  # as a hook of another repository has it
    assert re.fullmatch("[0-9a-f]{40}", store.git_commit.__wrapped__())


def test_every_published_run_counts():
    published = [path.parent for path in PUBLISHED_RUNS.glob("*/*/run.json")]
    runs = find_runs(PUBLISHED_RUNS)
    assert published and sorted(run.folder for run in runs) == sorted(published)
    assert all(run.settings for run in runs), "a setting that went is in RETIRED, if no run changed it"

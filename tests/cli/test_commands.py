"""The command line as a user meets it: real processes for the contract, in-process calls for the many mistakes."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from tacred_utils.__main__ import main
from tacred_utils.cli.commands import parse
from tacred_utils.ground.labels import NO_RELATION, SPLITS
from tacred_utils.ground.paths import ROOT


def run(*arguments):
    command = [sys.executable, "-m", "tacred_utils", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A small corpus in the contract's format, words only, learnable from the word between the entities."""
    folder = tmp_path_factory.mktemp("corpora") / "mini"
    folder.mkdir()
    words = {NO_RELATION: "met", "per:title": "is", "per:age": "turned"}
    for split in SPLITS:
        records = [
            {"id": f"{split}-{i}", "relation": label, "token": ["Ann", word, f"x{i % 4}"], "subj_start": 0, "subj_end": 0,
             "obj_start": 2, "obj_end": 2, "subj_type": "ENTITY", "obj_type": "ENTITY"}
            for i, (label, word) in enumerate(list(words.items()) * 10)
        ]  # fmt: skip
        (folder / f"{split}.json").write_bytes(msgspec.json.encode(records))
    return folder


def test_train_on_any_folder_prints_folder_and_scores_and_scores_agree(folder, tmp_path):
    first = run("train", "--family", "svm", "--task", "joint", "--corpus", folder, "--results", tmp_path)
    assert first.returncode == 0, first.stderr
    where = first.stdout.splitlines()[0]
    assert f"{tmp_path}/mini/svm-joint-s13-" in where and "micro_f1" in first.stdout
    again = run("train", "--family", "svm", "--task", "joint", "--corpus", folder, "--results", tmp_path)
    assert again.stdout == first.stdout
    scored = json.loads(run("score", f"{where}/predictions/test.jsonl", "--json").stdout)
    assert scored == pytest.approx(json.loads(Path(where, "metrics.json").read_text())["test"])
    assert scored["micro_f1"] == 1.0  # one word decides
    listed = run("runs", "list", "--results", tmp_path)
    assert "mini/svm-joint" in listed.stdout
    plan = run("plan", "--corpus", folder, "--results", tmp_path).stdout.splitlines()
    assert plan and all(line.startswith("python -m tacred_utils train ") and str(tmp_path) in line for line in plan)
    done = [
        line for line in plan if "--family svm --task joint" in line and not {"--variant", "--set"} & {*line.split()}
    ]
    assert not done


def test_labels_one_a_line(tmp_path, capsys):
    (tmp_path / "gold.txt").write_text("a\nb\nno_relation\n")
    (tmp_path / "pred.txt").write_text("a\na\nno_relation\n")
    assert main(["score", str(tmp_path / "pred.txt"), "--gold", str(tmp_path / "gold.txt"), "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)
    assert scores["micro_f1"] == pytest.approx(0.5) and scores["accuracy"] == pytest.approx(2 / 3)


def test_data_check_prints_the_card(folder, capsys):
    assert main(["data", "check", str(folder)]) == 0
    assert "corpus mini" in capsys.readouterr().out


def test_make_sample_writes_a_corpus_that_passes_the_check(tmp_path, capsys):
    assert main(["data", "make-sample", "--scale", "0.003", "--out", str(tmp_path / "made")]) == 0
    assert main(["data", "check", str(tmp_path / "made")]) == 0
    assert "SYNTHETIC" in capsys.readouterr().out


MISTAKES = [
    (["train"], "required"),
    (["fly"], "invalid choice"),
    (["train", "--family", "crf", "--task", "joint"], "--family crf"),
    (["train", "--family", "svm", "--task", "both", "--corpus", "{folder}"], "--task both"),
    (["train", "--family", "svm", "--task", "joint", "--variant", "best"], "--variant best"),
    (["train", "--family", "svm", "--task", "joint", "--set", "kernal=rbf"], "did you mean kernel"),
    (
        ["train", "--family", "svm", "--task", "joint", "--set", "c=1.0", "kernal=rbf", "--set", "min_count=1"],
        "did you mean kernel",
    ),
    (["train", "--family", "svm", "--task", "joint", "--profile", "fast"], "--profile fast"),
    (["train", "--family", "svm", "--task", "joint", "--corpus", "/nowhere"], "/nowhere"),
    (["train", "--family", "svm", "--task", "joint", "--seed", "x"], "--seed"),
    (["train", "--family", "svm", "--task", "joint", "--corpus", "{folder}", "--seed", "-3"], "seed -3"),
    (["train", "--family", "svm", "--task", "joint", "--corpus", "{folder}", "--set", 'groups={a=["nope"]}'], "'nope'"),
    (["train", "--family", "svm", "--task", "joint", "--corpus", "{folder}", "--set", "min_count=9999"], "min_count"),
    (["plan", "--seeds", "13,13"], "given twice"),
    (["runs", "list", "--results", "{tmp}/nowhere"], "nowhere"),
    (["data", "check", "{tmp}"], "train.json"),
    (["data", "check", "--labels", "mine", "{folder}"], "invalid choice: 'mine'"),
    (["data", "make-sample", "--scale", "7", "--out", "{tmp}/x"], "--scale 7"),
    (["data", "make-sample", "--out", "{folder}/train.json"], "is a file"),
    (["data", "get", "everything"], "everything"),
    (["score", "{tmp}/none.jsonl"], "none.jsonl"),
    (["plan", "--seeds", "one"], "one"),
    (["train", "--family", "svm", "--task", "joint", "--corpus", ""], "--corpus: is given an empty value"),
    (["runs", "list", "--results="], "--results: is given an empty value"),
    (["score", ""], "score: is given an empty value"),
    (["report", "--seed", "7"], "unrecognized arguments: --seed"),
    (["report", "--out", "{folder}/train.json"], "train.json"),
    (["predict", "--run", "x", "--sentence", "s", "--subject", "a", "--object", "b"], "no folder of a run"),
]


@pytest.mark.parametrize("arguments, expected", MISTAKES)
def test_a_mistake_is_one_sentence_and_exit_status_two(arguments, expected, folder, tmp_path, capsys):
    if arguments[0] == "train":
        arguments = [*arguments, "--results", "{tmp}"]
    filled = [argument.replace("{folder}", str(folder)).replace("{tmp}", str(tmp_path)) for argument in arguments]
    assert main(filled) == 2
    shown = capsys.readouterr()
    assert expected in shown.err and len(shown.err.strip().splitlines()) == 1 and "Traceback" not in shown.err


def test_output_that_cannot_be_written_is_one_sentence_and_a_reader_that_leaves_is_none(tmp_path):
    (tmp_path / "p.jsonl").write_text('{"id": "a", "label_true": "x", "label_pred": "x"}\n')
    command = f"{shlex.quote(sys.executable)} -m tacred_utils score {shlex.quote(str(tmp_path / 'p.jsonl'))} "
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
    for more, status, said in ((">/dev/full", 2, "No space left"), ("| true; exit $PIPESTATUS", 0, ""), (">&-", 0, "")):
        shown = subprocess.run(
            ["bash", "-c", command + more], cwd=ROOT, env=environment, capture_output=True, text=True
        )
        assert shown.returncode == status and said in shown.stderr and shown.stderr.count("\n") == bool(said), shown


def test_help_starts_fast_and_names_every_command():
    shown = run("--help").stdout
    assert all(command in shown for command in ("train", "plan", "score", "predict", "data", "runs", "report"))


def test_a_corpus_with_another_name_for_its_negative_label(tmp_path, capsys):
    rows = [
        {"id": "", "relation": label, "token": ["a", "b"], "subj_start": 0, "subj_end": 0, "obj_start": 1, "obj_end": 1,
         "subj_type": "PERSON", "obj_type": "TITLE"}
        for label in ("Other", "per:title", "Other", "per:age")
    ]  # fmt: skip
    for split in SPLITS:
        content = [row | {"id": f"{split}-{number}"} for number, row in enumerate(rows)]
        (tmp_path / f"{split}.json").write_text(json.dumps(content))
    assert main(["data", "check", str(tmp_path)]) == 0
    assert "Other looks like it: give --negative Other" in capsys.readouterr().out
    given = ["train", "--family", "svm", "--task", "joint", "--corpus", str(tmp_path), "--results", str(tmp_path / "r")]
    assert main(given) == 2 and "give --negative Other." in capsys.readouterr().err
    assert main([*given, "--negative", "Other"]) == 0
    assert "looks like it" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "meant"), [(["--test"], "quick"), (["--test", "all"], "all"), (["--test=all"], "all")]
)
def test_tests_are_the_quick_ones_unless_all_are_asked_for(given, meant):
    assert parse(["run", *given]).test == meant

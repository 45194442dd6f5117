"""Training in two processes: the batches, steps and answers of one, written once."""

import os
import subprocess
import sys

import numpy as np
import pytest

from tacred_utils.ground.errors import UserError
from tacred_utils.ground.paths import ROOT
from tacred_utils.models import processes
from tacred_utils.notebook.study import Study
from tacred_utils.runs.store import find_runs

EXACT = {"dropout": 0.0, "word_dropout": 0.0, "epochs": 2}  # nothing at random but what the seed sets


def test_shares_hold_every_row_once_and_come_together_again(monkeypatch):
    rows = np.array([7, 3, 9, 1, 4])
    for name, value in {"WORLD_SIZE": "2", "LOCAL_RANK": "0", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    shares = []
    for number in ("0", "1"):
        monkeypatch.setenv("RANK", number)
        shares.append(processes.share(rows).tolist())
    assert shares == [[7, 3, 9], [1, 4]]


@pytest.mark.long
def test_two_processes_answer_as_one(tmp_path, monkeypatch):
    """No class of it is drawn twice, no row lost: the log-probabilities of every row agree, in order."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    runs = {}
    for count in (1, 2):
        monkeypatch.setenv("TACRED_STUDY_PROCESSES", str(count))
        study = Study("03", "smoke", results=str(tmp_path / str(count)))
        runs[count] = study.run("bilstm", "joint", "pa_lstm", **EXACT)
    one, two = runs[1], runs[2]
    assert (one.info["processes"], two.info["processes"]) == (1, 2) and one.folder.name == two.folder.name
    assert one.predictions("test").id.tolist() == two.predictions("test").id.tolist()
    np.testing.assert_allclose(two.log_probs("test"), one.log_probs("test"), atol=0.02)
    assert len(two.history) == len(one.history) == 2
    assert {path.name for path in two.folder.iterdir()} == {path.name for path in one.folder.iterdir()}


@pytest.mark.long
@pytest.mark.parametrize("launcher", ["torch.distributed.run", "accelerate.commands.launch"])
def test_train_is_unchanged_under_a_launcher(tmp_path, launcher):
    """Of an own model too, whose pre-training one process does for all; the SVM trains in the first alone."""
    options = {
        "torch.distributed.run": ["--standalone", "--nproc-per-node=2"],
        "accelerate.commands.launch": [
            "--multi_gpu",
            "--num_processes=2",
            "--num_machines=1",
            "--mixed_precision=no",
            "--dynamo_backend=no",
        ],  # so without a GPU too: --cpu wants MPI for more than one process
    }[launcher]
    for family in ("gpt2", "svm"):
        command = [sys.executable, "-m", launcher, *options, "-m", "tacred_utils", "train", f"--family={family}"]
        command += ["--task=joint", "--profile=smoke", "--corpus=sample", f"--results={tmp_path}"]
        subprocess.run(command, check=True, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True)
    found = {run.info["family"]: run.info for run in find_runs(tmp_path)}
    assert found.keys() == {"gpt2", "svm"} and found["gpt2"]["processes"] == 2


def test_what_fails_in_a_process_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match=r"2 processes could not train: .*--family .*; see .*log"):
        processes.launch(["train", "--family", "tree", "--task", "joint"], 2, tmp_path / "a.log")

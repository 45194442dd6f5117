"""Training in two processes: the batches, steps and answers of one, written once."""

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from accelerate.state import AcceleratorState
from msgspec.structs import replace
from planted import corpus

from tacred_utils.ground.errors import UserError
from tacred_utils.ground.paths import ROOT
from tacred_utils.models import processes
from tacred_utils.models.bilstm import fit
from tacred_utils.notebook.study import Study
from tacred_utils.runs.profile import load_profile
from tacred_utils.runs.store import find_runs

EXACT = {"dropout": 0.0, "word_dropout": 0.0, "epochs": 2}  # nothing at random but what the seed sets
TINY = {"word_dim": 12, "hidden": 10, "head_dim": 12, "attention_dim": 8, "epochs": 2, "batch_size": 16}
SETTINGS = replace(load_profile("open").settings("bilstm"), **TINY)
LEFT_OVER = [
    {"RANK": "1"},
    {"WORLD_SIZE": "2", "LOCAL_RANK": "1"},
    {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0"},
    {"RANK": "one", "WORLD_SIZE": "two", "LOCAL_RANK": "0", "MASTER_ADDR": "localhost", "MASTER_PORT": "29500"},
    {"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_LOCAL_RANK": "1"},
]


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


def log_probs(folder) -> bytes:
    AcceleratorState._reset_state(reset_partial_state=True)  # as in a process of its own
    return fit(corpus(40), "joint", SETTINGS, 13, folder).log_probs["test"].tobytes()


def test_a_configuration_of_accelerate_changes_no_answer(tmp_path, monkeypatch) -> None:
    plain = log_probs(tmp_path / "plain")
    given = {
        "ACCELERATE_MIXED_PRECISION": "bf16",
        "ACCELERATE_DYNAMO_BACKEND": "inductor",
        "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "4",
        "ACCELERATE_USE_FSDP": "false",
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert log_probs(tmp_path / "configured") == plain
    assert given.items() <= os.environ.items()  # they are the user's, and back


@pytest.mark.parametrize("name", ["ACCELERATE_USE_DEEPSPEED", "ACCELERATE_USE_FSDP", "ACCELERATE_USE_MEGATRON_LM"])
def test_a_way_to_train_that_is_not_here_is_refused_in_a_sentence(name: str, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv(name, "true")
    with pytest.raises(UserError, match=f"^{name}=true: .*; unset it, or launch with .*torchrun.$"):
        fit(corpus(40), "joint", SETTINGS, 13, tmp_path)


@pytest.mark.parametrize("left", LEFT_OVER, ids=lambda left: ",".join(left))
def test_ranks_without_a_group_count_for_nothing(left: dict[str, str], tmp_path, monkeypatch) -> None:
    for name, value in left.items():
        monkeypatch.setenv(name, value)
    assert (processes.rank(), processes.count()) == (0, 1)
    assert len(log_probs(tmp_path)) == 40 * 3 * 4


def resident() -> int:
    """Bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="needs glibc")
def test_memory_that_was_freed_goes_back_though_what_lies_above_it_stays() -> None:
    arrays = [np.ones(12_000) for _ in range(2_000)]  # of 96 KB: small enough for the heap
    last = arrays.pop()
    del arrays
    held = resident()
    processes.give_back_memory()
    assert held - resident() > 100e6 and last.all()


def test_an_epoch_is_a_line_where_no_terminal_is_and_none_of_a_notebook_s_output(tmp_path) -> None:
    """As a command whose output is a file; then in a kernel, whose own error stream is a file and gets the lines."""
    call = "t.fit(t.corpus(40), 'joint', t.SETTINGS, 13, pathlib.Path(sys.argv[-1]) / 'bilstm-run' / 'checkpoints')"
    code = f"import sys, pathlib; sys.path[:0] = ['tests', 'tests/models']; import test_processes as t; {call}"
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    environment.pop("PYTEST_CURRENT_TEST")  # ipykernel looks whether it is tested itself
    run = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    lines = [line for line in run.stderr.splitlines() if "epoch" in line]
    assert run.returncode == 0 and run.stdout == "" and len(lines) == 2
    assert lines[1].startswith("bilstm-run: epoch 2 of 2, loss ") and ", dev macro_f1 " in lines[1]
    assert " so far, 0:00:00 left" in lines[1]

    kernel = f"""
import sys
from jupyter_client.manager import KernelManager
manager = KernelManager()
manager.start_kernel()
client = manager.blocking_client()
client.start_channels()
client.wait_for_ready()
seen = []
reply = client.execute_interactive({code.replace("sys.argv[-1]", repr(str(tmp_path / "kernel")))!r}, output_hook=seen.append)
print(reply["content"]["status"], [message["msg_type"] for message in seen if "epoch" in str(message["content"].get("text"))])
manager.shutdown_kernel(now=True)
"""
    run = subprocess.run([sys.executable, "-c", kernel], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert run.stdout == "ok []\n", run.stderr
    assert run.stderr.count("bilstm-run: epoch") == 2

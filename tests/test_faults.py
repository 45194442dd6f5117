"""What goes wrong beneath a study: kill -9, Ctrl-C, a full or read-only disk, no memory, a loss that is no number, rivals.

The long tests drive a small study of its own, two notebooks in a copy, through `./run_all.sh`.
"""

import os
import random
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec
import planted
import pytest
import torch
from conftest import Copy
from msgspec.structs import replace

from tacred_utils.cli import runner
from tacred_utils.ground.errors import UserError, exhausted
from tacred_utils.ground.labels import SPLITS
from tacred_utils.ground.paths import ROOT
from tacred_utils.models.pretrained import load_pretrained
from tacred_utils.models.settings import OwnModel
from tacred_utils.runs.profile import load_profile
from tacred_utils.runs.store import Spec, find_runs
from tacred_utils.runs.train import train
from tacred_utils.sample.generator import generate

# What ran out


@pytest.mark.parametrize(
    ("error", "what"),
    [
        (MemoryError(), "memory"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB."), "memory"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), "memory"),
        (OSError(28, "No space left on device"), "disk"),
        (Exception("No space left on device (os error 28)"), "disk"),  # tokenizers
        (RuntimeError("[enforce fail at inline_container.cc:668] . PytorchStreamWriter failed writing file"), "disk"),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), None),
        (PermissionError(13, "Permission denied"), None),
    ],
)
def test_libraries_say_in_many_ways_that_nothing_is_left(error, what):
    assert exhausted(error) == what


def network(**settings: object) -> Spec:
    small = {"word_dim": 12, "hidden": 10, "head_dim": 12, "attention_dim": 8, "epochs": 3, "batch_size": 16}
    return Spec("bilstm", "joint", 13, replace(load_profile("open").settings("bilstm"), **small | settings))


def test_without_memory_the_setting_to_lower_is_named(tmp_path, monkeypatch):
    given = planted.corpus()
    with pytest.raises(UserError, match=r"memory ran out; lower batch_size \(now 16\)"):
        train(network(hidden=10**6, batch_size=16), given, tmp_path, "open")  # torch's own error: 16 TB of weights
    svm = load_profile("sample").settings("svm")
    monkeypatch.setattr("tacred_utils.models.svm.LinearSVC.fit", lambda *_: [0] * 10**15)
    with pytest.raises(UserError, match=r"memory ran out; lower max_rows \(now all rows\)"):
        train(Spec("svm", "joint", 13, svm), given, tmp_path, "open")
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".lock"]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"batch_size": 16}, r"the loss is (nan|inf) in step 2 of \d+ \(epoch 1\)"),
        ({"batch_size": 10**4, "epochs": 1}, r"answers on train are no numbers in step 1 of 1 \(epoch 1\)"),
    ],
)
def test_a_loss_that_is_no_number_stops_and_names_the_step(tmp_path, settings, said):
    given = planted.corpus()
    spec = network(**{"optimizer": "sgd", "learning_rate": 1e38, "max_grad_norm": 0.0, "min_steps": 0} | settings)
    with pytest.raises(UserError, match=said + r"; lower learning_rate \(now 1e\+38\)\.$") as stopped:
        train(spec, given, tmp_path, "open")
    folder = spec.folder(given, tmp_path)
    assert str(stopped.value).startswith(f"{folder}: ") and not folder.exists()


def test_a_pre_training_that_comes_to_no_numbers_is_not_kept(tmp_path):
    own = OwnModel(layers=1, width=16, heads=2, pieces=300, steps=3, batch_size=8, learning_rate=1e20)
    with pytest.raises(UserError, match=r"lower own\.learning_rate"):
        load_pretrained("own_encoder", own, planted.corpus(), tmp_path)
    assert not [path for path in tmp_path.iterdir() if path.is_dir() and path.suffix != ".part"]


# Between notebooks


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (KeyboardInterrupt(), 130, "Stopped by Ctrl-C in 02_two.ipynb."),
        (OSError(28, "No space left on device", "a.json"), 2, "a.json: No space left on device; free space"),
    ],
)
def test_what_stops_between_notebooks_is_told_with_the_command_that_resumes(
    study: Copy, monkeypatch, capsys, error, status, said
):
    class Job(runner.Job):
        def is_current(self) -> bool:
            if len(asked.append(self) or asked) == 2:  # once for the plan, once in its turn
                raise error
            return True

    asked = []
    job = Job(Path("02_two.ipynb"), "sample", study.root, {}, "", runner.Reads())
    assert runner.run_jobs([job], False, ["--profile=smoke"]) == status
    first, last = capsys.readouterr().err.splitlines()
    assert first.startswith(said) and re.fullmatch(r"To resume: .*run_all\.sh'? --profile=smoke --from 02", last)


# A study as a whole

START = "from tacred_utils.notebook.study import Study\nstudy = Study('{}', profile, corpus, data_dir, labels, seeds, results)"
SVM = ("runs = [study.run('svm', 'joint')]",)
NETWORK = (
    "from tacred_utils.models import training\ntraining.SAVE_EVERY, training.SAVE_AFTER = 3, 0",
    "sizes = dict(hidden=8, word_dim=8, batch_size=32, epochs=36, patience=0)",
    "runs = [study.run('bilstm', 'joint', **sizes)]",
)
SHOW = (
    "import pandas\nframe = pandas.DataFrame([run.metrics['test'] for run in runs])[['micro_f1', 'macro_f1']]",
    "study.table('scores', frame, 'Scores')",
    "study.figure('scores', lambda rows: rows.plot().figure, frame)",
)
MADE = (
    "predictions/*",
    "metrics.json",
    "history.csv",
    "model.json",
    "model/*.safetensors",
    "tables/*",
    "*.png",
    "*.pdf",
)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    """A synthetic corpus with a row or a few for every relation."""
    folder = tmp_path_factory.mktemp("corpus") / "tiny"
    folder.mkdir()
    for split, examples in generate(dict.fromkeys(SPLITS, 0.002)).items():
        (folder / f"{split}.json").write_bytes(msgspec.json.encode(examples))
    return folder


def heeding() -> None:
    """Take Ctrl-C in a new process, also where the tests themselves are a background job, which ignores it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Small(Copy):
    """A study of two notebooks: the SVM, and a network that keeps checkpoints."""

    def __init__(self, root: Path, corpus: Path):
        super().__init__(root)
        self.corpus = corpus
        shutil.copy(ROOT / "run_all.sh", root)
        self.notebook("01_svm.ipynb", START.format("01"), *SVM, *SHOW)
        self.notebook("02_network.ipynb", START.format("02"), *NETWORK, *SHOW)

    def call(self, results: Path, *options: str) -> dict:
        """`./run_all.sh` in a process group of its own, as a terminal starts it."""
        given = self.command(VIRTUAL_ENV=sys.prefix, OMP_NUM_THREADS="1")
        script = ["./run_all.sh", "--profile=smoke", f"--corpus={self.corpus}", f"--results={results}", *options]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "start_new_session": True}
        return given | pipes | {"args": script, "preexec_fn": heeding}

    def begin(self, results: Path, *options: str) -> subprocess.Popen:
        return subprocess.Popen(**self.call(results, *options))

    def finish(self, results: Path, *options: str) -> None:
        process = self.begin(results, *options)
        said = process.communicate(timeout=300)
        assert process.returncode == 0, said


@pytest.fixture(scope="module")
def small(tmp_path_factory, corpus: Path) -> Small:
    return Small(tmp_path_factory.mktemp("faults") / "a study", corpus)


@pytest.fixture(scope="module")
def unbroken(small: Small, tmp_path_factory) -> tuple[dict[str, bytes], float]:
    """What the study makes when nothing breaks it, and the seconds that it takes."""
    start, results = time.monotonic(), tmp_path_factory.mktemp("unbroken")
    small.finish(results)
    return products(results), time.monotonic() - start


def products(results: Path) -> dict[str, bytes]:
    """The bytes of all that a study makes, by name; run.json (times) and what has no name yet left out."""
    found = {path for pattern in MADE for path in (results / "smoke").rglob(pattern)}
    shown = [path for path in sorted(found) if not path.name.startswith(".") and "checkpoint" not in str(path)]
    return {str(path.relative_to(results)): path.read_bytes() for path in shown}


def checkpoints(results: Path) -> list[Path]:
    return [*(results / "smoke" / "tiny").glob("*/checkpoints/checkpoint-*")]


def wait(until: Callable[[], object]) -> None:
    while not until():
        time.sleep(0.05)


def kernels(runner_id: int) -> list[int]:
    """The processes that a runner started: kernels lead process groups of their own."""
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(runner_id)], capture_output=True, text=True)
    return [int(number) for number in listed.stdout.split()]


def killed(small: Small, results: Path, seconds: float, training: bool, orphaned: bool) -> bool:
    """Run the study so long, from its first checkpoint on if `training`, then kill it; False if it came to its end.

    `orphaned`: its kernel is not killed and lives on for about a second, beside the next run.
    """
    process = small.begin(results)
    if training:
        wait(lambda: process.poll() is not None or checkpoints(results))
    try:
        said = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        for number in () if orphaned else kernels(process.pid):
            os.kill(number, signal.SIGKILL)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return True
    assert process.returncode == 0, said
    return False


@pytest.mark.long
def test_a_study_killed_at_twenty_moments_comes_to_the_same_bytes(small, unbroken, tmp_path):
    expected, seconds = unbroken
    dice, kills, resumed = random.Random(8), 0, []
    while kills < 20:
        results = tmp_path / f"after {kills}"
        while killed(small, results, dice.uniform(0, 3 if kills % 2 else seconds), kills % 2, kills // 2 % 2):
            kills += 1
            assert all(expected[name] == content for name, content in products(results).items()), "half-written"
        assert products(results) == expected and not checkpoints(results), f"after {kills} kills"
        resumed += [run.info.get("resumed_at_step") for run in find_runs(results / "smoke")]
    assert any(resumed), "no kill fell between a checkpoint and the end of its training"


@pytest.mark.long
def test_ctrl_c_stops_in_seconds_and_the_command_that_it_names_resumes(small, unbroken, tmp_path):
    expected, seconds = unbroken
    command, stopped = small.call(tmp_path), 0
    for moment in (0.05, 0.3, 0.6, 0.6, 0.5):  # starting up, and in cells that train or draw
        process = subprocess.Popen(**command)
        with suppress(subprocess.TimeoutExpired):
            assert process.wait(moment * seconds) == 0
            break  # at its end before: with little left to do, or faster than the unbroken one
        start, stopped = time.monotonic(), stopped + 1
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 130 and time.monotonic() - start < 15, errors
        assert "Stopped by Ctrl-C" in errors and "Traceback" not in errors
        resume = re.search("To resume: (.*)", errors)
        command["args"] = shlex.split(resume[1]) if resume else command["args"]
    assert stopped >= 3
    process = subprocess.Popen(**command)
    assert process.wait(timeout=300) == 0 and products(tmp_path) == expected


LOST = """
import os, signal, time, weakref
from tacred_utils.ground.errors import heed_ctrl_c

{}
class Thing: pass
thing = Thing()
reference = weakref.ref(thing, lambda _: os.kill(os.getpid(), signal.SIGINT))
del thing
time.sleep({})
"""


@pytest.mark.parametrize(("call", "seconds", "status"), [("", 0.2, 0), ("heed_ctrl_c()", 60, -signal.SIGINT)])
def test_a_ctrl_c_that_a_callback_swallows_is_raised_again(call, seconds, status):
    code = LOST.format(call, seconds)
    process = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=40, preexec_fn=heeding
    )
    assert process.returncode == status, process.stderr
    assert ("Exception ignored" in process.stderr) == (not call)


@pytest.mark.long
def test_of_two_runners_at_once_one_is_turned_away_and_nothing_is_damaged(small, unbroken, tmp_path):
    first = small.begin(tmp_path)
    wait(lambda: first.poll() is not None or (tmp_path / "smoke" / ".runner.lock").exists())
    second = small.begin(tmp_path)
    _, errors = second.communicate(timeout=60)
    assert second.returncode == 2 and "another run works here" in errors and len(errors.splitlines()) == 1
    assert first.wait(timeout=300) == 0 and products(tmp_path) == unbroken[0]


def trainer(corpus: Path, results: Path) -> list[str]:
    sizes = ["hidden=8", "word_dim=8", "batch_size=32", "epochs=36", "patience=0"]
    where = ["--corpus", str(corpus), "--results", str(results), "--profile", "smoke"]
    return ["train", "--family", "bilstm", "--task", "joint", "--seed", "13", *where, "--set", *sizes]


@pytest.mark.long
def test_of_two_trainers_at_once_one_waits_or_is_turned_away(small, unbroken, tmp_path):
    command = [sys.executable, "-m", "tacred_utils", *trainer(small.corpus, tmp_path / "smoke")]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    rivals = [subprocess.Popen(command, cwd=ROOT, env=small.call(tmp_path)["env"], **pipes) for _ in range(2)]
    said = [rival.communicate(timeout=300)[1] for rival in rivals]
    codes = sorted(rival.returncode for rival in rivals)
    assert codes == [0, 0] or codes == [0, 2] and any("another process is training this run" in text for text in said)
    found = products(tmp_path)
    assert found and found == {name: unbroken[0][name] for name in unbroken[0] if "/bilstm-" in name}


# A disk of its own: mounted in a name space that ends with the test

MOUNTED = """
set -u
disk=$1 kept=$2; shift 2
mount -t tmpfs -o size=12m tmpfs "$disk" || exit 99
"$@" --only=1 >"$kept/first" 2>&1 || exit 98
"""
FULL = """
for free in 0 40 200 800; do  # KiB
  cat /dev/zero >"$disk/filler" 2>/dev/null
  truncate --size="-${free}K" "$disk/filler"
  "$@" >"$kept/$free" 2>&1; echo $? >>"$kept/$free"
done
cp -r "$disk" "$kept/then"
rm "$disk/filler"
"$@" >"$kept/last" 2>&1; echo $? >>"$kept/last"
cp -r "$disk" "$kept/end"
"""
READ_ONLY = """
mount -o remount,ro "$disk"
"$@" >"$kept/runner" 2>&1; echo $? >>"$kept/runner"
"$PYTHON" -m tacred_utils $TRAIN >"$kept/trainer" 2>&1; echo $? >>"$kept/trainer"
cp -r "$disk" "$kept/then"
"""


def with_a_disk(script: str, small: Small, folder: Path, **variables: str) -> Path:
    """Run a script whose results lie on a small disk of their own; returns the folder of what it kept."""
    (disk := folder / "disk").mkdir()
    (kept := folder / "kept").mkdir()
    own = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--mount"]
    call = small.call(disk)
    command = [*own, "bash", "-c", MOUNTED + script, "bash", str(disk), str(kept), *call["args"]]
    result = subprocess.run(
        command, cwd=small.root, env=call["env"] | variables, capture_output=True, text=True, timeout=580
    )
    if "unshare:" in result.stderr or result.returncode == 99:
        pytest.skip(f"no disk can be mounted here: {result.stderr}")
    assert result.returncode == 0, result.stderr + (kept / "first").read_text()
    return kept


def part(found: dict[str, bytes], *marks: str) -> dict[str, bytes]:
    return {name: content for name, content in found.items() if any(mark in name for mark in marks)}


@pytest.mark.long
def test_a_full_disk_is_one_sentence_and_costs_nothing_that_was_there(small, unbroken, tmp_path):
    kept = with_a_disk(FULL, small, tmp_path)
    for free in (0, 40, 200, 800):
        said = (kept / f"{free}").read_text()
        assert said.splitlines()[-1] == "2" and "Traceback" not in said, said
        assert re.search("(full|No space left on device).*free space", said), said
        if "notebook" in said:
            assert "To resume: " in said
    first = part(unbroken[0], "01_", "svm-")
    assert part(products(kept / "then"), "01_", "svm-") == first
    assert (kept / "last").read_text().endswith("0\n") and products(kept / "end") == unbroken[0]


@pytest.mark.long
def test_read_only_results_are_one_sentence(small, unbroken, tmp_path):
    train = shlex.join(trainer(small.corpus, tmp_path / "disk" / "smoke"))
    kept = with_a_disk(READ_ONLY, small, tmp_path, TRAIN=train, PYTHON=sys.executable)
    for name in ("runner", "trainer"):
        sentence, status = (kept / name).read_text().splitlines()
        assert status == "2" and "ead-only file system" in sentence and "choose" in sentence
    assert products(kept / "then") == part(unbroken[0], "01_", "svm-")

"""The BiLSTM and its training: padding, learning, saving, resuming, restoring; on corpora small enough for seconds."""

import dataclasses
import json
import os
import signal
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from msgspec.structs import replace
from planted import answers, corpus, rows

from tacred_utils.corpora.example import Corpus, Example
from tacred_utils.ground.errors import UserError
from tacred_utils.ground.labels import NO_RELATION, SPLITS, TASKS, task_classes, task_label
from tacred_utils.ground.paths import ROOT
from tacred_utils.inputs.encoding import Encoded, Encoder
from tacred_utils.models import training
from tacred_utils.models.bilstm import BilstmClassifier, PaddedLstm, fit, load
from tacred_utils.models.networks import LengthGrouped, chosen_rows, class_weights, score, undersample
from tacred_utils.runs.profile import load_profile
from tacred_utils.runs.store import Run, Spec, load_model
from tacred_utils.runs.train import train

torch.set_num_threads(1)
PROFILE = load_profile("open")
TINY = {"word_dim": 12, "hidden": 10, "head_dim": 12, "attention_dim": 8, "epochs": 3, "batch_size": 16}
SETTINGS = replace(PROFILE.settings("bilstm"), **TINY)
ATTENTIVE = replace(PROFILE.settings("bilstm", "pa_lstm"), **TINY | {"head_dim": 0})
MARKED = replace(PROFILE.settings("bilstm", "pa_lstm_marks"), **TINY | {"head_dim": 0})
SHARED = replace(PROFILE.settings("bilstm", "spans"), **TINY | {"head_dim": 0})
EVERY = pytest.mark.parametrize(
    "settings", [SETTINGS, ATTENTIVE, MARKED, SHARED], ids=["bilstm", "pa_lstm", "pa_lstm_marks", "spans"]
)


def turned_too(given: Corpus) -> Corpus:
    """Each row followed by the same sentence with subject and object exchanged, and no relation."""

    def both(row: Example) -> list[Example]:
        turned = {
            "subj_start": row.obj_start,
            "subj_end": row.obj_end,
            "obj_start": row.subj_start,
            "obj_end": row.subj_end,
        }
        return [row, replace(row, id=f"{row.id}-turned", relation=NO_RELATION, **turned)]

    return Corpus("turned", *([turned for row in given.split(split) for turned in both(row)] for split in SPLITS))


@pytest.mark.parametrize("bidirectional", [True, False])
def test_a_padded_row_reads_like_the_row_alone(bidirectional: bool) -> None:
    torch.manual_seed(0)
    layer = PaddedLstm(5, 4, bidirectional)
    row = torch.randn(1, 3, 5)
    padded = torch.cat([row, torch.randn(1, 4, 5)], 1)  # whatever stands in the padding
    alone = layer(row, torch.zeros(1, 3, 1))
    beside = layer(padded, torch.tensor([0.0, 0, 0, 1, 1, 1, 1]).reshape(1, 7, 1))[:, :3]
    assert torch.allclose(alone, beside, atol=1e-6)
    plain = torch.nn.LSTM(5, 4, batch_first=True, bidirectional=bidirectional)
    plain.load_state_dict(
        {name: weight[:, :5] if "weight_ih" in name else weight for name, weight in layer.state_dict().items()}
    )
    assert torch.allclose(plain(row)[0], alone, atol=1e-6)


def test_a_pair_reads_its_words_and_the_largest_states_on_the_side_of_its_order() -> None:
    settings = replace(SHARED, dropout=0.0)
    reader = BilstmClassifier(Encoder({}, {}, {}, 60, 0, True, "span", False, True), 2, settings)
    states = torch.tensor([[9.0, 1, 2, 5, 3, 8]])[:, :, None]  # (S, T, 1)
    subject, objekt = torch.tensor([[1, 1], [3, 4], [2, 4]]), torch.tensor([[3, 4], [1, 1], [4, 4]])
    rows = torch.tensor([0, 0, 0])  # in turn; the other way round; one within the other
    found = torch.cat(reader.of_pair(10 * states, states, rows, subject, objekt), 1)
    expected = [[1, 4, 10, 40, 5, 0], [4, 1, 40, 10, 0, 5], [10 / 3, 3, 100 / 3, 30, 5, 0]]
    assert torch.allclose(found, torch.tensor(expected))


def test_pairs_that_share_a_sentence_are_answered_as_if_each_had_its_own(tmp_path) -> None:
    """Every sentence has two pairs, and one pass of the LSTM serves both."""
    outcome = fit(turned_too(corpus()), "joint", SHARED, 13, tmp_path)
    model, test = outcome.save.__self__, turned_too(corpus()).test
    together = model.encoder.encode(test)
    assert len(together) == len(test) and len(together.offsets) - 1 < len(test) / 2 + 1
    apart = dataclasses.replace(model, encoder=dataclasses.replace(model.encoder, shared=False))
    assert apart.encoder.encode(test).texts is None
    assert np.allclose(apart.log_probs(test), model.log_probs(test), atol=1e-5)
    assert np.array_equal(model.log_probs(test), outcome.log_probs["test"])


@EVERY
def test_an_answer_does_not_depend_on_the_batch(settings, tmp_path) -> None:
    given = corpus()
    outcome = fit(given, "joint", settings, 13, tmp_path)
    model = outcome.save.__self__
    alone = np.vstack([model.log_probs([row]) for row in given.test])
    assert np.allclose(alone, outcome.log_probs["test"], atol=1e-5)


@pytest.mark.parametrize("task", TASKS)
def test_every_task_learns_and_answers_every_row(task: str, tmp_path) -> None:
    given = corpus(200)
    outcome = fit(given, task, replace(SETTINGS, epochs=12, learning_rate=0.01), 13, tmp_path)
    assert outcome.log_probs["test"].shape == (40, len(task_classes(task, given.labels)))
    assert np.allclose(np.exp(outcome.log_probs["test"].astype(float)).sum(axis=1), 1, atol=1e-5)
    scored = [
        (task_label(task, row.relation), answer)
        for row, answer in zip(given.test, answers(outcome, task, given), strict=True)
    ]
    scored = [(gold, answer) for gold, answer in scored if task != "relation_only" or gold != NO_RELATION]
    assert np.mean([gold == answer for gold, answer in scored]) > 0.9
    if task == "relation_only":
        assert NO_RELATION not in answers(outcome, task, given)


@EVERY
def test_eight_rows_are_learned_by_heart(settings, tmp_path) -> None:
    eight = rows("train", 40, 5)[:8]
    given = Corpus("eight", eight, eight, eight)
    settings = replace(
        settings,
        epochs=40,
        learning_rate=0.02,
        max_ratio=0.0,
        word_dropout=0.0,
        patience=0,
        optimizer="adamw",
        dropout=0.0,
    )
    assert answers(fit(given, "joint", settings, 13, tmp_path), "joint", given) == [row.relation for row in eight]


@EVERY
def test_a_saved_model_scores_alike(settings, tmp_path) -> None:
    given = corpus()
    outcome = fit(given, "joint", settings, 13, tmp_path / "work")
    outcome.save(tmp_path / "model")
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == ["model.json", "model.safetensors"]
    assert np.array_equal(load(tmp_path / "model").log_probs(given.test), outcome.log_probs["test"])
    (tmp_path / "model" / "model.json").write_text("{}")
    (tmp_path / "run.json").write_text('{"family": "bilstm"}')
    with pytest.raises(UserError, match="no readable BiLSTM"):
        load_model(Run(tmp_path))


def dev_score(outcome, given: Corpus) -> float:
    classes = task_classes("joint", given.labels)
    predicted = [classes[index] for index in outcome.log_probs["dev"].argmax(axis=1)]
    return training.task_scores("joint", [row.relation for row in given.dev], predicted, classes)["macro_f1"]


def test_the_best_epoch_is_restored_and_d4_keeps_the_last(tmp_path) -> None:
    """Learning rates so high that the model is wrecked again; the first one whose last epoch is not its best will do."""
    given, wild = corpus(), replace(SETTINGS, epochs=6, patience=0, schedule="constant")
    for rate in (0.1, 0.3, 0.03, 1.0):
        settings = replace(wild, learning_rate=rate)
        best = fit(given, "joint", settings, 13, tmp_path / f"best {rate}")
        values = [row["dev_macro_f1"] for row in best.history]
        if values[-1] < max(values):
            break
    last = fit(given, "joint", replace(settings, restore="last"), 13, tmp_path / "last")
    assert last.history == best.history and values[-1] < max(values)
    assert dev_score(best, given) == pytest.approx(max(values)) and dev_score(last, given) == pytest.approx(values[-1])
    assert best.details["epoch_restored"] == values.index(max(values)) + 1 and last.details["epoch_restored"] == 6


def test_training_stops_when_dev_stops_and_the_rate_falls(tmp_path) -> None:
    settings = replace(SETTINGS, epochs=30, patience=3, plateau_patience=0, learning_rate=0.03)
    history = pd.DataFrame(fit(corpus(), "joint", settings, 13, tmp_path).history)
    best = history.dev_macro_f1.idxmax()
    assert len(history) == best + 1 + 3 < 30
    worse = (history.dev_loss >= history.dev_loss.cummin().shift(fill_value=np.inf) * (1 - 1e-4)).shift(
        fill_value=False
    )
    assert (history.learning_rate.diff() < 0).tolist() == worse.tolist() and worse.any()
    assert {"train_loss", "train_macro_f1", "dev_loss", "dev_macro_f1", "dev_no_relation"} <= set(history)


@EVERY
def test_same_seed_same_bytes_and_another_seed_others(settings, tmp_path) -> None:
    first, second, other = (
        fit(corpus(), "joint", settings, seed, tmp_path / str(n)) for n, seed in enumerate((13, 13, 42))
    )
    assert first.log_probs["test"].tobytes() == second.log_probs["test"].tobytes() != other.log_probs["test"].tobytes()
    assert first.history == second.history


SCRIPT = """
import os, signal, sys, pathlib
sys.path[:0] = ["tests", "tests/models"]
import test_bilstm as t
from tacred_utils.models import training
training.SAVE_EVERY, training.SAVE_AFTER = 4, 0
steps = int(sys.argv[2])
class Killer(training.TrainerCallback):
    def on_step_end(self, args, state, control, **_):
        if state.global_step == steps:
            os.kill(os.getpid(), signal.SIGKILL)
real = training._Trainer.__init__
def start(self, *args):
    real(self, *args)
    self.add_callback(Killer())
training._Trainer.__init__ = start
t.train(t.Spec("bilstm", "joint", 13, t.RESUMED), t.corpus(150), pathlib.Path(sys.argv[1]), "open")
"""


RESUMED = replace(SETTINGS, epochs=4, patience=2)


@pytest.mark.parametrize("steps", [7, 25])
def test_a_killed_run_resumes_to_the_same_predictions(tmp_path, steps: int) -> None:
    """kill -9 within the first epoch (saved at step 4) and within a later one; 10 steps an epoch. Where there are two
    checkpoints, the newer one is damaged.
    """
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    unbroken = train(Spec("bilstm", "joint", 13, RESUMED), corpus(150), tmp_path / "unbroken", "open")
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "killed")]
    assert subprocess.run([*command, str(steps)], cwd=ROOT, env=environment).returncode == -signal.SIGKILL
    [folder] = (tmp_path / "killed" / "tiny").glob("bilstm-*")
    saved = sorted((folder / "checkpoints").glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    assert saved and not (folder / "metrics.json").exists()
    if len(saved) > 1:
        (saved[-1] / "optimizer.pt").write_bytes((saved[-1] / "optimizer.pt").read_bytes()[:1000])
    assert subprocess.run([*command, "-1"], cwd=ROOT, env=environment).returncode == 0
    for name in (
        "predictions/test.jsonl",
        "predictions/dev.safetensors",
        "history.csv",
        "metrics.json",
        "model/model.safetensors",
    ):
        assert (folder / name).read_bytes() == (unbroken.folder / name).read_bytes(), name
    assert (
        json.loads((folder / "run.json").read_text())["resumed_at_step"] > 0 and not (folder / "checkpoints").exists()
    )


def make_checkpoints(folder, best: int = 10, steps: tuple[int, ...] = (10, 20)) -> None:
    """Sealed checkpoints of ten steps an epoch, with small files under the names that the Trainer gives them."""
    for step in steps:
        checkpoint = folder / f"checkpoint-{step}"
        checkpoint.mkdir(parents=True)
        for name in ("optimizer.pt", "model.safetensors", "rng_state.pth", "scheduler.pt"):
            (checkpoint / name).write_bytes(f"{name} of step {step}".encode() * 100)
        (checkpoint / "trainer_state.json").write_text(json.dumps({"best_global_step": best, "log_history": []}))
        training.seal(checkpoint)


FILES = ("optimizer.pt", "model.safetensors", "rng_state.pth", "scheduler.pt", "trainer_state.json", "checksums.json")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("harm", ["cut", "changed", "gone"])
def test_a_damaged_checkpoint_is_told_of_and_passed_over(name: str, harm: str, tmp_path, capsys) -> None:
    make_checkpoints(tmp_path)
    assert training.last_whole(tmp_path, "best").name == "checkpoint-20" and capsys.readouterr().err == ""
    file = tmp_path / "checkpoint-20" / name
    data = file.read_bytes()
    file.write_bytes({"cut": data[: len(data) // 2], "changed": b"#" + data[1:], "gone": b""}[harm])
    if harm == "gone":
        file.unlink()
    assert training.last_whole(tmp_path, "best").name == "checkpoint-10"
    assert f"{file}: is damaged or missing" in capsys.readouterr().err and not file.parent.exists()


def test_what_is_no_checkpoint_is_passed_over(tmp_path) -> None:
    make_checkpoints(tmp_path)
    (tmp_path / "checkpoint-20" / "checksums.json").write_text("[]")
    (tmp_path / "checkpoint-20.bak").mkdir()
    (tmp_path / "checkpoint-30").write_text("")
    assert training.last_whole(tmp_path, "best").name == "checkpoint-10"


def test_what_is_restored_in_the_end_has_to_be_whole_too(tmp_path, capsys) -> None:
    make_checkpoints(tmp_path, 10, (10, 20, 30))
    best = tmp_path / "checkpoint-10" / "model.safetensors"
    best.write_bytes(b"harmed")
    assert training.last_whole(tmp_path, "last").name == "checkpoint-30"
    assert training.last_whole(tmp_path, "best") is None and str(best) in capsys.readouterr().err


def test_missing_columns_are_dropped_and_recorded(tmp_path) -> None:
    def bare(examples: list[Example]) -> list[Example]:
        return [
            replace(row, subj_type="ENTITY", obj_type="ENTITY", stanford_pos=None, stanford_ner=None)
            for row in examples
        ]

    full = corpus()
    assert fit(full, "joint", SETTINGS, 13, tmp_path / "full").details["columns_read"] == [
        "stanford_ner",
        "stanford_pos",
        "types",
    ]
    plain = Corpus("plain", bare(full.train), bare(full.dev), bare(full.test))
    details = fit(plain, "joint", replace(SETTINGS, mask_entities=True), 13, tmp_path / "plain").details
    assert details["columns_read"] == [] and not details["masked"]
    assert sum("that input is dropped" in note for note in details["notes"]) == 3
    assert "names of entities are read as they are" in details["notes"][-1]


def test_long_sentences_are_counted_by_split(tmp_path) -> None:
    details = fit(corpus(), "joint", replace(SETTINGS, max_tokens=10, epochs=1), 13, tmp_path).details
    expected = {split: sum(len(row.token) > 10 for row in corpus().split(split)) for split in ("train", "dev", "test")}
    assert details["windowed"] == expected and str(expected) in details["notes"][-1]


def test_given_vectors_are_read_projected_and_need_no_file_later(tmp_path, monkeypatch) -> None:
    glove = tmp_path / "glove.txt"
    glove.write_text("".join(f"w{n} {n} 1 {n % 7}\n" for n in range(20)))
    settings = replace(SETTINGS, words="glove", glove=str(glove), tune_words=False)
    outcome = fit(corpus(), "joint", settings, 13, tmp_path / "work")
    outcome.save(tmp_path / "model")
    glove.unlink()
    assert np.array_equal(load(tmp_path / "model").log_probs(corpus().test), outcome.log_probs["test"])
    with pytest.raises(UserError, match="--set glove=FILE"):
        fit(corpus(), "joint", settings, 13, tmp_path / "again")


def test_undersampling_keeps_relations_and_the_ratio() -> None:
    gold = [NO_RELATION] * 100 + ["a"] * 10 + ["b"] * 10
    kept = undersample(gold, np.arange(120), 3.0, 13)
    assert len(kept) == 80 and set(range(100, 120)) <= set(kept.tolist())
    assert np.array_equal(kept, undersample(gold, np.arange(120), 3.0, 13))
    assert len(undersample(gold, np.arange(120), 0.0, 13)) == len(undersample(gold, np.arange(120), 5.0, 13)) == 120


@pytest.mark.parametrize("task", ["joint", "relation_only"])
def test_rare_relations_are_repeated_among_the_rows_that_the_task_has(task: str) -> None:
    """Relations of 1 and 4 rows become 4 each; `relation_only` has fewer rows than the split."""
    gold = [NO_RELATION, "per:spouse"] * 4 + [NO_RELATION, "org:founded_by"]
    known = [
        label
        for label in (NO_RELATION, "org:founded_by", "per:spouse")
        if (task, label) != ("relation_only", NO_RELATION)
    ]
    target = np.array([known.index(label) if label in known else -1 for label in gold])
    chosen = chosen_rows(gold, target, task, replace(SETTINGS, upsample=1.0, max_ratio=0.0), 13)
    counts = pd.Series([gold[row] for row in chosen]).value_counts()
    assert counts["per:spouse"] == counts["org:founded_by"] == 4
    assert counts.get(NO_RELATION, 0) == (5 if task == "joint" else 0)


def test_class_weights_are_inverse_with_mean_one_over_the_rows() -> None:
    target = np.array([0] * 90 + [1] * 10)
    weights = class_weights(target, 3, 1.0)
    assert weights[1] / weights[0] == pytest.approx(9) and weights[2] == 0
    assert weights[target].mean() == pytest.approx(1) and np.allclose(class_weights(target, 2, 0.0), 1)


def test_batches_are_of_like_length_and_hold_every_row_once() -> None:
    lengths = np.random.default_rng(0).integers(5, 95, 3301)
    sampler = LengthGrouped(lengths, 32, 13)
    batches = list(sampler)
    assert sorted(np.concatenate(batches).tolist()) == list(range(3301)) and len(batches) == len(sampler)
    assert {len(batch) for batch in batches} <= {31, 32}
    padded = sum(lengths[batch].max() * len(batch) for batch in batches)
    assert padded / lengths.sum() < 1.05
    assert all(np.array_equal(a, b) for a, b in zip(batches, sampler, strict=True))
    sampler.epoch = 1
    assert not np.array_equal(batches[0], next(iter(sampler)))


def test_scoring_keeps_the_order_of_rows() -> None:
    class Lengths(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.unused = torch.nn.Parameter(torch.zeros(1))

        def forward(self, words, lengths):
            return {"logits": torch.stack([words.sum(1), lengths], 1).float()}

    lengths = np.random.default_rng(0).integers(1, 60, 700)
    flat = np.append(np.repeat(np.arange(700), lengths), 0)
    encoded = Encoded(np.append(0, np.cumsum(lengths)), {"words": flat})
    rows = np.array([5, 3, 699, 0])
    assert score(Lengths(), encoded, rows).tolist() == [
        [float(row * lengths[row]), float(lengths[row])] for row in rows
    ]
    assert len(score(Lengths(), encoded)) == 700


def test_few_rows_are_trained_on_until_there_are_enough_steps(tmp_path) -> None:
    settings = replace(SETTINGS, epochs=2, batch_size=16, min_steps=20, max_ratio=0.0)
    outcome = fit(corpus(90), "joint", settings, 13, tmp_path / "checkpoints")
    assert len(outcome.history) == 4 == outcome.details["epochs"]  # of 6 steps each

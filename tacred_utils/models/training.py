"""Training of every torch model with the Hugging Face Trainer: one loop, one way to stop, to resume and to restore.

What the Trainer of these versions does otherwise, and this module mends: its length-grouped sampler draws another
order after a resume; ReduceLROnPlateau follows the metric that picks the best epoch; early stopping forgets its count. It
writes the files of a checkpoint one after the other, and reads them without a look at whether they are whole: so each
checkpoint is sealed with the checksums of its files, and one whose seal does not hold is deleted.
"""

import json
import math
import os
import shutil
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import numpy as np
import torch
from msgspec.structs import replace
from safetensors.torch import load_file
from torch import nn
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torch.utils.data import DataLoader
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from tacred_utils.corpora.example import Corpus
from tacred_utils.ground.errors import UserError
from tacred_utils.ground.files import digest, write_text
from tacred_utils.ground.labels import NO_RELATION, SCORED, SPLITS, task_classes, task_label
from tacred_utils.inputs.encoding import Encoded
from tacred_utils.metrics.counts import task_scores
from tacred_utils.models import networks, processes
from tacred_utils.models.settings import FitResult, TrainingSettings

SAVE_EVERY = 500  # steps, if SAVE_AFTER has passed since the last time
SAVE_AFTER = 60.0  # seconds: a run that is killed loses a minute or two; a GPU makes 500 steps in a quarter of a minute
CHECK_EVERY = {"cpu": 1, "cuda": 50}  # steps between looks at the loss, which a GPU waits for; SAVE_EVERY's divisors
TRIM_AFTER = 30.0  # seconds: giving memory back takes some tenths of one
PROBE = 500  # training rows whose scores the history shows: enough to see a gap to dev
SEAL = "checksums.json"


@dataclass(frozen=True)
class Rows:
    """Encoded rows with their gold labels: names, and places among the classes seen in training (−1: none)."""

    encoded: Encoded
    gold: list[str]  # (N,) labels of the task
    target: np.ndarray  # (N,)


@dataclass(frozen=True)
class TaskData:
    """The encoded splits of a corpus as one task reads them."""

    task: str
    classes: list[str]  # of the task: columns of the log-probabilities
    seen_classes: list[str]  # the K of them that the training split has: columns of the logits
    splits: dict[str, Rows]


def labelled(corpus: Corpus, task: str, encoded: dict[str, Encoded]) -> TaskData:
    """Each encoded split with its gold labels."""
    labels = {split: [task_label(task, example.relation) for example in corpus.split(split)] for split in SPLITS}
    present, classes = set(labels["train"]), task_classes(task, corpus.labels)
    seen = [label for label in classes if label in present]
    place = {label: number for number, label in enumerate(seen)}
    targets = {split: np.array([place.get(label, -1) for label in labels[split]]) for split in SPLITS}
    splits = {split: Rows(encoded[split], labels[split], targets[split]) for split in SPLITS}
    return TaskData(task, classes, seen, splits)


def fit_network(
    network: networks.TrainedNetwork, data: TaskData, settings: TrainingSettings, seed: int, folder: Path, facts: dict
) -> FitResult:
    """Train a network in place on the training split, watch dev, and leave it with the weights that the recipe restores.

    Checkpoints go to `folder`; where it has some, training goes on from there. `facts` are what else run.json should
    keep, with the `seconds` that were spent before, and `notes`.
    """
    processes.spare_the_collector()
    clock = [time.perf_counter()]
    history, details = _fit(network.classifier, data, settings, seed, folder)
    clock.append(time.perf_counter())
    answers = {split: network.log_probs_of(data.splits[split].encoded) for split in SCORED}
    clock.append(time.perf_counter())
    seconds = dict(zip(("fit", "predict"), np.diff(clock).round(3).tolist(), strict=True))
    windowed = {split: rows.encoded.windowed for split, rows in data.splits.items()}
    cut = f"sentences beyond {network.encoder.limit} tokens are cut to a window around both entities: {windowed}"
    notes = [*facts["notes"], *[cut] * any(windowed.values())]
    details |= {"windowed": windowed} | facts | {"notes": notes, "seconds": facts["seconds"] | seconds}
    return FitResult(answers, history, details, network.save)


def _fit(
    model: nn.Module, data: TaskData, settings: TrainingSettings, seed: int, folder: Path
) -> tuple[list[dict[str, float]], dict[str, object]]:
    """The history, a row an epoch, and what run.json should keep."""
    start = time.perf_counter()
    trainer = _Trainer(model, data, settings, seed, folder)
    found = last = trainer.resumable()
    if found is None or not _finished(_epochs(checkpoint_state(found)["log_history"]), trainer.recipe):
        trainer.train(resume_from_checkpoint=str(found) if found else None)
        last = folder / f"checkpoint-{trainer.state.global_step}"
    seconds = time.perf_counter() - start - trainer.scoring_seconds
    processes.wait()  # for the one that writes
    history = _epochs(checkpoint_state(last)["log_history"])
    model.load_state_dict(load_file(restored(last, settings.restore) / "model.safetensors"))
    values = [row[f"dev_{settings.select}"] for row in history]
    return history, {
        "device": str(trainer.args.device),
        "dtype": str(networks.compute_dtype(settings.precision)).removeprefix("torch."),
        "threads": torch.get_num_threads(),
        "processes": processes.count(),
        "optimizer": settings.optimizer + " fused" * bool(trainer.optimizer.defaults.get("fused")),
        "training_rows": len(trainer.every),
        "fitted_rows": len(trainer.rows),
        "epochs": len(history),
        "epoch_restored": values.index(max(values)) + 1 if settings.restore == "best" else len(values),
        "resumed_at_step": int(found.name.split("-")[1]) if found else None,
        "training_seconds": round(seconds, 3),  # without the scoring of epochs
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
    }


def _arguments(settings: TrainingSettings, seed: int, folder: Path) -> TrainingArguments:
    arguments = TrainingArguments(
        output_dir=str(folder), num_train_epochs=settings.epochs, seed=seed,
        per_device_train_batch_size=settings.batch_size, max_grad_norm=settings.max_grad_norm, eval_strategy="epoch", save_strategy="epoch", save_total_limit=2,
        metric_for_best_model=f"dev_{settings.select}", greater_is_better=True, logging_strategy="no",
        label_names=["labels"], remove_unused_columns=False, disable_tqdm=True, report_to="none", log_level="error",
        dataloader_pin_memory=False, use_cpu=not torch.cuda.is_available(),  # told so, processes join without a GPU
        logging_nan_inf_filter=False,  # `weighted_loss` stops instead
    )  # fmt: skip
    arguments._n_gpu = min(arguments.n_gpu, 1)  # several devices are for torchrun, not for nn.DataParallel
    return arguments


def _check_batches(model: nn.Module, settings: TrainingSettings, batches: networks.LengthGrouped) -> None:
    """Raise `UserError` where the smallest batch leaves a process without a row, or batch norm with a single one."""
    smallest = len(batches.lengths) // len(batches) // processes.count()  # rows of a process in one step
    if not smallest:
        raise UserError(f"{processes.count()} processes cannot share batches of {settings.batch_size}; start fewer.")
    if smallest < 2 and any(isinstance(part, nn.BatchNorm1d) for part in model.modules()):
        what = "leaves a batch of one row, which the head's batch norm cannot take"
        raise UserError(f"--set batch_size={settings.batch_size}: {what}; raise it, or drop it with head_dim=0.")


class _Trainer(Trainer):
    """The Trainer with our batches, our weighted loss, our scores and a scheduler that follows what it should."""

    def __init__(self, model: nn.Module, data: TaskData, settings: TrainingSettings, seed: int, folder: Path) -> None:
        self.data, self.train_rows = data, data.splits["train"]
        self.every = np.flatnonzero(self.train_rows.target >= 0)
        self.rows = networks.chosen_rows(self.train_rows.gold, self.train_rows.target, data.task, settings, seed)
        self.watched = {
            "train": self.every[:: max(1, len(self.every) // PROBE)][:PROBE],
            "dev": np.flatnonzero(data.splits["dev"].target >= 0),
        }
        self.scoring_seconds = 0.0
        encoded = self.train_rows.encoded
        texts = encoded.texts[self.rows] if settings.whole_texts and encoded.texts is not None else None
        self.batches = networks.LengthGrouped(encoded.lengths[self.rows], settings.batch_size, seed, texts)
        _check_batches(model, settings, self.batches)
        epochs = max(settings.epochs, math.ceil(settings.min_steps / len(self.batches)))
        self.recipe = settings = replace(settings, epochs=epochs)
        arguments = _arguments(settings, seed, folder)
        self.loss = networks.loss_of(
            self.train_rows.target[self.rows], len(data.seen_classes), settings, arguments.device
        )
        optimizer = networks.optimizer_of(model, settings)
        super().__init__(
            model, arguments, train_dataset=range(len(self.rows)),
            optimizers=(optimizer, networks.scheduler_of(optimizer, settings, len(self.batches))),
            eval_dataset=self.watched["dev"], compute_loss_func=self.weighted_loss, callbacks=[_Pace(self)],
        )  # fmt: skip
        self.model_accepts_loss_kwargs = False  # ours does the counting
        self.remove_callback(PrinterCallback)
        if processes.rank():
            torch.manual_seed(seed + processes.rank())  # its own dropout; the weights are those of process 0

    def resumable(self) -> Path | None:
        """The checkpoint that training goes on from, the same in all processes."""
        folder = Path(self.args.output_dir)
        found = None if processes.rank() else last_whole(folder, self.recipe.restore)
        step = processes.agreed(int(found.name.split("-")[1]) if found else 0, self.args.device)
        return folder / f"checkpoint-{step}" if step else None

    def get_train_dataloader(self) -> DataLoader:
        loader = DataLoader(self.train_dataset, batch_sampler=self.batches, collate_fn=self.collate)
        return self.accelerator.prepare(loader) if processes.count() == 1 else loader  # else it would deal out batches

    def collate(self, rows: list[int]) -> dict[str, torch.Tensor]:
        chosen = processes.share(self.rows[np.array(rows)])
        columns = self.train_rows.encoded.batch(chosen) | {"labels": self.train_rows.target[chosen]}
        return networks.tensors(columns, self.args.device)

    def weighted_loss(
        self, outputs: dict, labels: torch.Tensor, num_items_in_batch: torch.Tensor | int | None = None
    ) -> torch.Tensor:
        """Σ loss over rows / rows of the whole step. A weighted mean is each process's own, which counts by its rows.

        Raises `UserError` when that is no number (on a GPU up to `CHECK_EVERY` steps later): no step mends the weights.
        """
        total, step, every = self.loss(outputs["logits"].float(), labels), self.state.global_step + 1, CHECK_EVERY
        if step % every[self.args.device.type] == 0 and not torch.isfinite(total):
            raise self.lost(f"the loss is {total.item()}", step)
        rows = len(labels) if num_items_in_batch is None else num_items_in_batch
        return total / self.loss.size(labels) * len(labels) / rows if self.loss.weighted_mean else total / rows

    def lost(self, what: str, step: int) -> UserError:
        """What is no number, in which step (counted from 1), and what to lower."""
        place = f"in step {step} of {self.state.max_steps} (epoch {self.batches.epoch + 1})"
        run, rate = Path(self.args.output_dir).parent, self.recipe.learning_rate
        return UserError(f"{run}: {what} {place}; lower learning_rate (now {rate:g}).")

    def evaluate(self, *_: object, **__: object) -> dict[str, float]:
        """Loss and scores of the probe of training rows and of dev; one row of the history."""
        start, metrics = time.perf_counter(), {"eval_learning_rate": self.optimizer.param_groups[0]["lr"]}
        for split, rows in self.watched.items():
            if len(rows):
                metrics |= {f"eval_{split}_{name}": value for name, value in self.scores(split, rows).items()}
        metrics.setdefault(f"eval_dev_{self.recipe.select}", 0.0)  # where dev has no row of the task
        self.log(metrics)
        self.scoring_seconds += time.perf_counter() - start
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def scores(self, split: str, rows: np.ndarray) -> dict[str, float]:
        data, seen = self.data.splits[split], self.data.seen_classes
        logits = networks.score(self.model, data.encoded, rows)
        if not np.isfinite(logits).all():
            raise self.lost(f"answers on {split} are no numbers", self.state.global_step)
        on_device = networks.tensors({"logits": logits, "target": data.target[rows]}, self.args.device)
        loss = self.loss(**on_device).item() / float(self.loss.size(on_device["target"]))
        predicted = [seen[index] for index in logits.argmax(axis=1)]
        found = task_scores(self.data.task, [data.gold[row] for row in rows], predicted, seen)
        share = predicted.count(NO_RELATION) / len(predicted)
        return {"loss": loss, "macro_f1": found["macro_f1"], "micro_f1": found["micro_f1"], "no_relation": share}

    def _evaluate(self, trial: object, ignore_keys_for_eval: object, skip_scheduler: bool = False) -> dict[str, float]:
        """As the Trainer's, but the learning rate follows dev loss or dev score as the recipe says."""
        metrics = super()._evaluate(trial, ignore_keys_for_eval, skip_scheduler=True)
        if isinstance(self.lr_scheduler, ReduceLROnPlateau):
            watched = "dev_loss" if self.recipe.schedule == "plateau_loss" else f"dev_{self.recipe.select}"
            self.lr_scheduler.step(metrics.get(f"eval_{watched}", 0.0))
        return metrics


class _Pace(TrainerCallback):
    """Tells the sampler its epoch, stops early, saves within an epoch, seals what is saved, and reports each epoch;
    from the state that checkpoints keep and, for what takes time, the clock.
    """

    def __init__(self, trainer: _Trainer) -> None:
        self.trainer = trainer
        self.saved = self.trimmed = time.perf_counter()

    def on_train_begin(self, args, state, control, **_):
        self.begun, self.resumed_at = time.perf_counter(), state.epoch or 0

    def on_epoch_begin(self, args, state, control, **_):
        self.trainer.batches.epoch = int((state.epoch or 0) + 1e-6)

    def on_step_end(self, args, state, control, **_):
        if time.perf_counter() - self.trimmed > TRIM_AFTER:
            processes.give_back_memory()
            self.trimmed = time.perf_counter()
        if state.global_step % SAVE_EVERY or not state.global_step % len(self.trainer.batches):  # saved with its scores
            return
        waited = time.perf_counter() - self.saved > SAVE_AFTER
        control.should_save |= bool(processes.agreed(int(waited), args.device))

    def on_save(self, args, state, control, **_):
        processes.wait()  # each writes its own state of the generators
        if not processes.rank():
            seal(Path(args.output_dir) / f"checkpoint-{state.global_step}")
        self.saved = time.perf_counter()

    def on_evaluate(self, args, state, control, **_):
        history, recipe = _epochs(state.log_history), self.trainer.recipe
        control.should_training_stop |= _finished(history, recipe)
        if not processes.rank():
            took = time.perf_counter() - self.begun
            left = took / (state.epoch - self.resumed_at) * (recipe.epochs - len(history))
            _report(Path(args.output_dir).parent.name, history[-1], recipe, took, left)


def _epochs(log: list[dict[str, float]]) -> list[dict[str, float]]:
    """The rows of history.csv among the Trainer's log: epoch from 1, then what `evaluate` found, by name."""
    return [
        {"epoch": round(row["epoch"])} | {name.removeprefix("eval_"): row[name] for name in sorted(row) if name.startswith("eval_")}
        for row in log if "eval_learning_rate" in row
    ]  # fmt: skip


def _finished(history: list[dict[str, float]], settings: TrainingSettings) -> bool:
    """Whether all epochs are done, or `patience` of them have passed without a better score on dev."""
    values = [row[f"dev_{settings.select}"] for row in history]
    waited = len(values) - 1 - values.index(max(values)) if values else 0
    return len(values) >= settings.epochs or bool(settings.patience) and waited >= settings.patience


def _report(run: str, epoch: dict[str, float], recipe: TrainingSettings, took: float, left: float) -> None:
    """Write a line on an epoch to standard error, unless that is a terminal; `took` and `left` in seconds."""
    score = f"dev {recipe.select} {epoch[f'dev_{recipe.select}']:.4f}" if "dev_loss" in epoch else "no row of dev"
    line = f"{run}: epoch {epoch['epoch']} of {recipe.epochs}, loss {epoch['train_loss']:.4f}, {score}"
    clock = [str(timedelta(seconds=round(seconds))) for seconds in (took, left)]
    with suppress(AttributeError, OSError, ValueError):  # there is no error stream, or it is closed
        place = sys.stderr.fileno()  # in a notebook's kernel what that was started with, not what becomes an output
        if not os.isatty(place):
            most = " at most" if recipe.patience else ""
            os.write(place, f"{line}, {clock[0]} so far, {clock[1]} left{most}\n".encode())


def seal(checkpoint: Path) -> None:
    """Write the checksums of a checkpoint's files beside them."""
    write_text(checkpoint / SEAL, json.dumps({path.name: digest(path) for path in checkpoint.iterdir()}))


def last_whole(folder: Path, restore: str) -> Path | None:
    """The newest checkpoint from which training can go on and end as it should; damaged ones are told of and deleted.

    Where the best epoch is to be restored, it needs the checkpoint of that one too.
    """
    for path in sorted(folder.glob("checkpoint-*[0-9]/"), key=lambda path: -int(path.name.partition("-")[2])):
        damaged = _damaged(path) or _damaged(restored(path, restore))
        if damaged is None:
            return path
        told = f"{damaged}: is damaged or missing; training goes on from an earlier checkpoint, or starts anew."
        print(told, file=sys.stderr, flush=True)
        shutil.rmtree(path)
    return None


def _damaged(checkpoint: Path) -> Path | None:
    """The first file of a checkpoint that is not what was written, the seal among them; None if all are."""
    try:
        sums = json.loads((checkpoint / SEAL).read_text(encoding="utf-8")).items()
    except (OSError, ValueError, AttributeError):  # the last of a list
        return checkpoint / SEAL
    files = [(checkpoint / name, checksum) for name, checksum in sums]
    return next((path for path, checksum in files if not path.is_file() or digest(path) != checksum), None)


def checkpoint_state(checkpoint: Path) -> dict[str, object]:
    """What the Trainer knows there: steps, the history, which step was best."""
    return json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))


def restored(last: Path, restore: str) -> Path:
    """The checkpoint whose weights are kept: that of the best epoch so far, or the last one."""
    best = checkpoint_state(last)["best_global_step"] if restore == "best" else None
    return last if best is None else last.parent / f"checkpoint-{best}"

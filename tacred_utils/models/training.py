"""Training of every torch model with the Hugging Face Trainer: one loop, one way to stop, to resume and to restore.

What the Trainer of these versions does otherwise, and this module mends: its length-grouped sampler draws another
order after a resume; ReduceLROnPlateau follows the metric that picks the best epoch; early stopping forgets its count.
"""

import gc
import json
import logging
import math
import time
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
import transformers
from msgspec.structs import replace
from safetensors.torch import load_file
from torch import nn
from torch.nn.functional import cross_entropy
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau
from torch.utils.data import DataLoader
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from tacred_utils.corpora.example import Corpus
from tacred_utils.ground.errors import UserError
from tacred_utils.ground.labels import NO_RELATION, SCORED, SPLITS, task_classes, task_label
from tacred_utils.inputs.encoding import Encoded
from tacred_utils.metrics.counts import class_shares, task_scores
from tacred_utils.models import processes
from tacred_utils.models.sampling import LengthGrouped, class_weights, undersample, upsample
from tacred_utils.models.scoring import compute_dtype, log_probs, score, tensors
from tacred_utils.models.settings import TrainingSettings

SHIFTS = tuple(step / 4 for step in range(-8, 9))  # of a logit
SAVE_EVERY = 500  # steps, if SAVE_AFTER has passed since the last time
SAVE_AFTER = 60.0  # seconds: a run that is killed loses a minute or two; a GPU makes 500 steps in a quarter of a minute
CHECK_EVERY = {
    "cpu": 1,
    "cuda": 50,
}  # steps between looks at the loss, for which a GPU is waited; SAVE_EVERY's divisors
PROBE = 500  # training rows whose scores the history shows: enough to see a gap to dev


@dataclass(frozen=True)
class Rows:
    """Encoded rows with their gold labels: names, and places among the classes that the model knows (−1: none)."""

    encoded: Encoded
    gold: list[str]  # (N,) labels of the task
    target: np.ndarray  # (N,)


def labelled(corpus: Corpus, task: str, encoded: dict[str, Encoded]) -> tuple[dict[str, Rows], list[str]]:
    """Each encoded split with its gold labels, and the K classes of the task that the training split has, in order."""
    labels = {split: [task_label(task, example.relation) for example in corpus.split(split)] for split in SPLITS}
    present = set(labels["train"])
    known = [label for label in task_classes(task, corpus.labels) if label in present]
    place = {label: number for number, label in enumerate(known)}
    targets = {split: np.array([place.get(label, -1) for label in labels[split]]) for split in SPLITS}
    return {split: Rows(encoded[split], labels[split], targets[split]) for split in SPLITS}, known


def fit_network(
    model: nn.Module, data: dict[str, Rows], task: str, known: list[str], classes: list[str],
    settings: TrainingSettings, seed: int, folder: Path,
) -> tuple[dict[str, np.ndarray], list[dict[str, float]], dict[str, object]]:  # fmt: skip
    """Train `model` in place on data["train"], watch data["dev"], and leave it with the best (or last) epoch's weights.

    `known` are the K classes of its logits. Checkpoints go to `folder`; where it has some, training goes on from there.
    Returns log-probabilities (rows, classes) of dev and test, the history, a row an epoch, and what run.json should keep.
    """
    _spare_the_collector()
    clock = [time.perf_counter()]
    history, details = _fit(model, data, task, known, settings, seed, folder)
    clock.append(time.perf_counter())
    answers = {split: log_probs(score(model, data[split].encoded), known, classes) for split in SCORED}
    clock.append(time.perf_counter())
    windowed = {split: rows.encoded.windowed for split, rows in data.items()}
    seconds = dict(zip(("fit", "predict"), np.diff(clock).round(3).tolist(), strict=True))
    return answers, history, details | {"windowed": windowed, "seconds": seconds}


@cache
def _spare_the_collector() -> None:
    """What was there before the first training stays; the Trainer's full collections cost 0.2 s each to visit it."""
    gc.collect()
    gc.freeze()


def _fit(
    model: nn.Module, data: dict[str, Rows], task: str, known: list[str], settings: TrainingSettings, seed: int, folder: Path
) -> tuple[list[dict[str, float]], dict[str, object]]:  # fmt: skip
    every = np.flatnonzero(data["train"].target >= 0)
    rows = _chosen(data["train"], task, every, settings, seed)
    start = time.perf_counter()
    trainer = _Trainer(model, data, task, known, rows, every, settings, seed, folder)
    found = trainer.resumable()
    if found is None or not _finished(_epochs(_state(found)["log_history"]), trainer.recipe):
        trainer.train(resume_from_checkpoint=str(found) if found else None)
    seconds = time.perf_counter() - start - trainer.scoring_seconds
    processes.wait()  # for the one that writes
    last = _last_checkpoint(folder)
    state = _state(last)
    best = folder / f"checkpoint-{state['best_global_step']}"
    model.load_state_dict(load_file((best if settings.restore == "best" else last) / "model.safetensors"))
    shift = _shift(model, data["dev"], trainer.watched["dev"], task, known, settings) if settings.shift else None
    history = _epochs(state["log_history"])
    values = [row[f"dev_{settings.select}"] for row in history]
    details = {
        "device": str(trainer.args.device), "dtype": str(compute_dtype(settings.precision)).removeprefix("torch."),
        "threads": torch.get_num_threads(), "processes": processes.count(),
        "optimizer": settings.optimizer + " fused" * bool(trainer.optimizer.defaults.get("fused")),
        "training_rows": len(every), "fitted_rows": trainer.batches.size, "epochs": len(history),
        "epoch_restored": values.index(max(values)) + 1 if settings.restore == "best" else len(values),
        "shift": shift,
        "resumed_at_step": int(found.name.split("-")[1]) if found else None,
        "training_seconds": round(seconds, 3),  # without the scoring of epochs
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
    }  # fmt: skip
    return history, details


def cut_notes(windowed: dict[str, int], limit: str) -> list[str]:
    """What run.json should note where sentences were longer than the limit, given with its unit."""
    cut = f"sentences beyond {limit} are cut to a window around both entities: {windowed}"
    return [cut] if any(windowed.values()) else []


def _chosen(train: Rows, task: str, every: np.ndarray, settings: TrainingSettings, seed: int) -> np.ndarray:
    """The rows that the recipe trains on, of all that have a class: fewer `no_relation`, rare relations repeated."""
    whole = task == "relation_only" or settings.redraw
    rows = every if whole else undersample(train.gold, every, settings.max_ratio, seed)
    if settings.upsample:
        sizes = Counter(train.gold[row] for row in rows)
        largest = max(size for label, size in sizes.items() if label != NO_RELATION or len(sizes) == 1)
        rows = upsample(train.target[rows], rows, largest, settings.upsample, seed)
    return rows


def _shift(
    model: nn.Module, dev: Rows, rows: np.ndarray, task: str, known: list[str], settings: TrainingSettings
) -> float:
    """Add to the bias of `no_relation`, in place, the one of `SHIFTS` that scores best on dev; it is returned.

    Cross-entropy aims at right probabilities, the scores at right answers: their best threshold is another one.
    """
    if NO_RELATION not in known or not len(rows):
        return 0.0
    place, logits, gold = known.index(NO_RELATION), score(model, dev.encoded, rows), [dev.gold[row] for row in rows]

    def value(shift: float) -> float:
        answers = (logits + shift * (np.arange(len(known)) == place)).argmax(axis=1)
        return task_scores(task, gold, [known[index] for index in answers], known)[settings.select]

    best = max(sorted(SHIFTS, key=abs), key=value)  # of equals the smallest
    output = model.head[-1] if isinstance(model.head, nn.Sequential) else model.head
    with torch.no_grad():
        output.bias[place] += best
    return best


@dataclass(frozen=True)
class Loss:
    """The loss of a recipe, summed over rows: weighted cross-entropy and two changes of it against imbalance.

    `prior` (K,) is added to the logits in training alone, so that an answer without it is one of equal classes (logit
    adjustment, Menon et al. 2021); `focal` is the exponent of 1 − p, which lowers the loss of what is easy (Lin et al. 2017).
    """

    weights: torch.Tensor  # (K,)
    prior: torch.Tensor  # (K,); zeros change nothing
    focal: float = 0.0  # 0 changes nothing

    def __call__(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """(B, K) logits, (B,) classes → a scalar"""
        logits = logits + self.prior
        if not self.focal:
            return cross_entropy(logits, target, self.weights, reduction="sum")
        p = torch.softmax(logits, 1).gather(1, target[:, None])[:, 0]  # (B,)
        return ((1 - p) ** self.focal * cross_entropy(logits, target, self.weights, reduction="none")).sum()


def _loss(target: np.ndarray, classes: int, settings: TrainingSettings, device: torch.device) -> Loss:
    """The recipe's loss for rows of these classes, of logits on this device."""
    weights = class_weights(target, classes, settings.balance)
    prior = settings.prior * np.log(class_shares(target, classes))
    parts = (torch.tensor(values, dtype=torch.float32, device=device) for values in (weights, prior))
    return Loss(*parts, settings.focal)


def _arguments(settings: TrainingSettings, seed: int, folder: Path) -> TrainingArguments:
    arguments = TrainingArguments(
        output_dir=str(folder), num_train_epochs=settings.epochs, seed=seed,
        per_device_train_batch_size=settings.batch_size, gradient_accumulation_steps=settings.accumulate,
        max_grad_norm=settings.max_grad_norm, eval_strategy="epoch", save_strategy="epoch", save_total_limit=2,
        metric_for_best_model=f"dev_{settings.select}", greater_is_better=True, logging_strategy="no",
        label_names=["labels"], remove_unused_columns=False, disable_tqdm=True, report_to="none", log_level="error",
        dataloader_pin_memory=False, use_cpu=not torch.cuda.is_available(),  # told so, processes join without a GPU
        logging_nan_inf_filter=False,  # `weighted_loss` stops instead
    )  # fmt: skip
    arguments._n_gpu = min(arguments.n_gpu, 1)  # several devices are for torchrun, not for nn.DataParallel
    return arguments


class _Trainer(Trainer):
    """The Trainer with our batches, our weighted loss, our scores and a scheduler that follows what it should."""

    def __init__(
        self, model: nn.Module, data: dict[str, Rows], task: str, known: list[str], rows: np.ndarray, every: np.ndarray,
        settings: TrainingSettings, seed: int, folder: Path,
    ) -> None:  # fmt: skip
        self.data, self.task, self.known, self.rows, self.recipe = data, task, known, rows, settings
        self.recipe_seed = seed
        self.watched = {
            "train": every[:: max(1, len(every) // PROBE)][:PROBE],
            "dev": np.flatnonzero(data["dev"].target >= 0),
        }
        self.scoring_seconds = 0.0
        encoded = data["train"].encoded
        texts = encoded.texts[rows] if settings.whole_texts and encoded.texts is not None else None
        self.batches = LengthGrouped(encoded.lengths[rows], settings.batch_size, seed, self.draw, texts)
        smallest = self.batches.size // len(self.batches) // processes.count()  # rows of a process in one step
        if not smallest:
            raise UserError(
                f"{processes.count()} processes cannot share batches of {settings.batch_size}; start fewer."
            )
        if smallest < 2 and any(isinstance(part, nn.BatchNorm1d) for part in model.modules()):
            raise UserError(
                f"--set batch_size={settings.batch_size}: leaves a batch of one row, which the head's batch norm cannot "
                "take; raise batch_size, or drop that layer with head_dim=0."
            )
        steps = math.ceil(len(self.batches) / settings.accumulate)  # of an epoch
        self.recipe = settings = replace(settings, epochs=max(settings.epochs, math.ceil(settings.min_steps / steps)))
        first = rows[self.draw(0)]
        arguments = _arguments(settings, seed, folder)
        self.loss = _loss(data["train"].target[first], len(known), settings, arguments.device)
        optimizer = _optimizer(model, settings)
        transformers.logging.set_verbosity_error()
        logging.getLogger("accelerate").setLevel(logging.ERROR)
        super().__init__(
            model, arguments, train_dataset=range(len(rows)),
            optimizers=(optimizer, _scheduler(optimizer, settings, len(self.batches))),
            eval_dataset=self.watched["dev"], compute_loss_func=self.weighted_loss, callbacks=[_Pace(self)],
        )  # fmt: skip
        self.model_accepts_loss_kwargs = False  # ours does the counting
        self.remove_callback(PrinterCallback)
        if processes.rank():
            torch.manual_seed(seed + processes.rank())  # its own dropout; the weights are those of process 0

    def resumable(self) -> Path | None:
        """The checkpoint that training goes on from, the same in all processes."""
        found = _last_checkpoint(Path(self.args.output_dir))
        step = processes.agreed(int(found.name.split("-")[1]) if found else 0, self.args.device)
        return Path(self.args.output_dir) / f"checkpoint-{step}" if step else None

    def draw(self, epoch: int) -> np.ndarray:
        """Which of the rows an epoch is trained on: all, or all relations with other `no_relation` rows each time."""
        places = np.arange(len(self.rows))
        if not self.recipe.redraw:
            return places
        gold = [self.data["train"].gold[row] for row in self.rows]
        return undersample(gold, places, self.recipe.max_ratio, [self.recipe_seed, epoch])

    def get_train_dataloader(self) -> DataLoader:
        loader = DataLoader(self.train_dataset, batch_sampler=self.batches, collate_fn=self.collate)
        return self.accelerator.prepare(loader) if processes.count() == 1 else loader  # else it would deal out batches

    def collate(self, rows: list[int]) -> dict[str, torch.Tensor]:
        chosen = processes.share(self.rows[np.array(rows)])
        train = self.data["train"]
        return tensors(train.encoded.batch(chosen) | {"labels": train.target[chosen]}, self.args.device)

    def weighted_loss(
        self, outputs: dict, labels: torch.Tensor, num_items_in_batch: torch.Tensor | int | None = None
    ) -> torch.Tensor:
        """Σ loss over rows / rows of the whole step: accumulated batches give the gradient of one.

        Raises `UserError` when that is no number (on a GPU up to `CHECK_EVERY` steps later): no step mends the weights.
        """
        total, step, every = self.loss(outputs["logits"].float(), labels), self.state.global_step + 1, CHECK_EVERY
        if step % every[self.args.device.type] == 0 and not torch.isfinite(total):
            raise self.lost(f"the loss is {total.item()}", step)
        return total / (len(labels) if num_items_in_batch is None else num_items_in_batch)

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
        data = self.data[split]
        logits = score(self.model, data.encoded, rows)
        if not np.isfinite(logits).all():
            raise self.lost(f"answers on {split} are no numbers", self.state.global_step)
        on_device = tensors({"logits": logits, "target": data.target[rows]}, self.args.device)
        loss = self.loss(**on_device).item() / len(rows)
        predicted = [self.known[index] for index in logits.argmax(axis=1)]
        found = task_scores(self.task, [data.gold[row] for row in rows], predicted, self.known)
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
    """Tells the sampler its epoch, stops early, and saves within an epoch; from the state that checkpoints keep
    and, for the last, the clock."""

    def __init__(self, trainer: _Trainer) -> None:
        self.trainer, self.saved = trainer, time.perf_counter()

    def on_epoch_begin(self, args, state, control, **_):
        self.trainer.batches.epoch = int((state.epoch or 0) + 1e-6)

    def on_step_end(self, args, state, control, **_):
        epoch_end = state.global_step % math.ceil(len(self.trainer.batches) / args.gradient_accumulation_steps) == 0
        if state.global_step % SAVE_EVERY or epoch_end:  # which is saved with its scores
            return
        waited = time.perf_counter() - self.saved > SAVE_AFTER
        control.should_save |= bool(processes.agreed(int(waited), args.device))

    def on_save(self, args, state, control, **_):
        self.saved = time.perf_counter()

    def on_evaluate(self, args, state, control, **_):
        control.should_training_stop |= _finished(_epochs(state.log_history), self.trainer.recipe)


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


def _last_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that was written to its end: the Trainer writes its state last."""
    for path in sorted(Path(folder).glob("checkpoint-*"), key=lambda path: -int(path.name.split("-")[1])):
        try:
            _state(path)
            return path
        except (OSError, ValueError):
            continue
    return None


def _state(checkpoint: Path) -> dict[str, object]:
    return json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))


def _optimizer(model: nn.Module, settings: TrainingSettings) -> torch.optim.Optimizer:
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if settings.optimizer == "sgd":
        return torch.optim.SGD(parameters, settings.learning_rate, weight_decay=settings.weight_decay)
    return torch.optim.AdamW(parameters, settings.learning_rate, weight_decay=settings.weight_decay, fused=True)


def _scheduler(
    optimizer: torch.optim.Optimizer, settings: TrainingSettings, batches: int
) -> LambdaLR | ReduceLROnPlateau:
    """What sets the rate; `batches` are those of an epoch."""
    if settings.schedule.startswith("plateau"):
        mode = "min" if settings.schedule == "plateau_loss" else "max"
        return ReduceLROnPlateau(optimizer, mode, settings.plateau_factor, settings.plateau_patience)
    steps = settings.epochs * math.ceil(batches / settings.accumulate)
    rising = settings.warmup * steps

    def rate(step: int) -> float:
        if step < rising:
            return (step + 1) / (rising + 1)
        if settings.schedule == "step":
            return settings.step_factor ** (step // settings.step_every)
        return max(0.0, (steps - step) / (steps - rising)) if settings.schedule == "linear" else 1.0

    return LambdaLR(optimizer, rate)

"""What a recipe trains on and how: rows and their batches, the loss against imbalance, optimiser and learning rate."""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

from tacred_utils.ground.labels import NO_RELATION
from tacred_utils.metrics.counts import class_shares
from tacred_utils.models.settings import TrainingSettings

POOL = 50  # batches that are sorted by length together: enough to spare nearly all padding, few enough to stay random


def undersample(gold: list[str], rows: np.ndarray, ratio: float, seed: int) -> np.ndarray:
    """Of the given rows, all relations and at most `ratio` times as many `no_relation`, at random; 0 keeps all."""
    negative = np.array([gold[row] == NO_RELATION for row in rows])
    allowed = math.floor(ratio * (~negative).sum())
    if not ratio or negative.sum() <= allowed:
        return rows
    dropped = np.random.default_rng(seed).permutation(rows[negative])[allowed:]
    return np.setdiff1d(rows, dropped)


def upsample(target: np.ndarray, rows: np.ndarray, largest: int, power: float, seed: int) -> np.ndarray:
    """The given rows, those of a class of N < `largest` repeated until there are N^(1-power) · largest^power of them.

    `target` holds the rows' classes. Every row is repeated as often as any other of its class, give or take one.
    """
    generator, drawn = np.random.default_rng(seed), [rows]
    for number in np.unique(target):
        own = generator.permutation(rows[target == number])
        wanted = round(len(own) ** (1 - power) * largest**power)
        drawn.append(np.resize(own, max(0, wanted - len(own))))
    return np.concatenate(drawn)


def chosen_rows(gold: list[str], target: np.ndarray, task: str, settings: TrainingSettings, seed: int) -> np.ndarray:
    """The rows that the recipe trains on, of all that have a class: fewer `no_relation`, rare relations repeated.

    `gold` are the rows' labels, `target` their classes (-1: none).
    """
    every = np.flatnonzero(target >= 0)
    rows = every if task == "relation_only" else undersample(gold, every, settings.max_ratio, seed)
    if settings.upsample:
        sizes = Counter(gold[row] for row in rows)
        largest = max(size for label, size in sizes.items() if label != NO_RELATION or len(sizes) == 1)
        rows = upsample(target[rows], rows, largest, settings.upsample, seed)
    return rows


class LengthGrouped:
    """Batches of rows of like length, in an order drawn from (seed, epoch) alone; sizes differ by 1 at most.

    With `texts`, the text (N,) of each row, a batch is `batch_size` texts with all of their rows.
    """

    def __init__(self, lengths: np.ndarray, batch_size: int, seed: int, texts: np.ndarray | None = None) -> None:
        self.lengths, self.batch_size, self.seed, self.texts = lengths, batch_size, seed, texts
        self.epoch, self.drop_last = 0, False

    def __len__(self) -> int:
        return math.ceil((len(self.lengths) if self.texts is None else len(np.unique(self.texts))) / self.batch_size)

    def __iter__(self) -> Iterator[np.ndarray]:
        generator, texts = np.random.default_rng([self.seed, self.epoch]), self.texts
        firsts = (
            np.arange(len(self.lengths)) if texts is None else np.unique(texts, return_index=True)[1]
        )  # a row a text
        order = generator.permutation(firsts)
        pool = POOL * self.batch_size
        pools = [order[start : start + pool] for start in range(0, len(order), pool)]
        ordered = np.concatenate([rows[np.argsort(self.lengths[rows], kind="stable")] for rows in pools])
        batches = np.array_split(ordered, len(self))
        for index in generator.permutation(len(batches)):
            yield batches[index] if texts is None else np.flatnonzero(np.isin(texts, texts[batches[index]]))


def class_weights(target: np.ndarray, classes: int, balance: float) -> np.ndarray:
    """(classes,) weights N^-balance with mean 1 over the rows, so that the loss keeps its scale; 0 gives ones."""
    sizes = np.bincount(target, minlength=classes)
    weights = np.where(sizes > 0, np.maximum(sizes, 1.0) ** -balance, 0)
    return weights / weights[target].mean()


@dataclass(frozen=True)
class Loss:
    """The loss of a recipe, summed over rows: weighted cross-entropy and two changes of it against imbalance.

    `prior` (K,) is added to the logits in training alone, so that an answer without it is one of equal classes (logit
    adjustment, Menon et al. 2021); `focal` is the exponent of 1 − p, which lowers the loss of what is easy (Lin et al. 2017).
    """

    weights: torch.Tensor  # (K,)
    prior: torch.Tensor  # (K,); zeros change nothing
    focal: float = 0.0  # 0 changes nothing
    weighted_mean: bool = False  # whether a mean divides by weights and not by rows

    def size(self, target: torch.Tensor) -> torch.Tensor | int:
        """What the loss of rows of these classes (B,) is divided by for their mean."""
        return self.weights[target].sum() if self.weighted_mean else len(target)

    def __call__(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """(B, K) logits, (B,) classes → a scalar"""
        logits = logits + self.prior
        if not self.focal:
            return cross_entropy(logits, target, self.weights, reduction="sum")
        p = torch.softmax(logits, 1).gather(1, target[:, None])[:, 0]  # (B,)
        return ((1 - p) ** self.focal * cross_entropy(logits, target, self.weights, reduction="none")).sum()


def loss_of(target: np.ndarray, classes: int, settings: TrainingSettings, device: torch.device) -> Loss:
    """The recipe's loss for rows of these classes, of logits on this device."""
    weights = class_weights(target, classes, settings.balance)
    prior = settings.prior * np.log(class_shares(target, classes))
    parts = (torch.tensor(values, dtype=torch.float32, device=device) for values in (weights, prior))
    return Loss(*parts, settings.focal, settings.weighted_mean)


def optimizer_of(model: nn.Module, settings: TrainingSettings) -> torch.optim.Optimizer:
    """The recipe's optimiser: a pre-trained backbone at the learning rate, what is new at `head_factor` times of it."""
    parts: dict[bool, list[nn.Parameter]] = {True: [], False: []}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            parts[name.startswith("backbone.")].append(parameter)
    rate = settings.learning_rate
    rates = {True: rate, False: rate * getattr(settings, "head_factor", 1.0)}  # a BiLSTM has no backbone
    groups = [{"params": parts[part], "lr": rates[part]} for part in parts if parts[part]]
    if settings.optimizer == "sgd":
        return torch.optim.SGD(groups, rate, weight_decay=settings.weight_decay)
    return torch.optim.AdamW(groups, rate, weight_decay=settings.weight_decay, fused=True)


def scheduler_of(
    optimizer: torch.optim.Optimizer, settings: TrainingSettings, batches: int
) -> LambdaLR | ReduceLROnPlateau:
    """What sets the rate; `batches` are those of an epoch."""
    if settings.schedule.startswith("plateau"):
        mode = "min" if settings.schedule == "plateau_loss" else "max"
        return ReduceLROnPlateau(optimizer, mode, settings.plateau_factor, settings.plateau_patience)
    steps = settings.epochs * batches
    rising = settings.warmup * steps

    def rate(step: int) -> float:
        if step < rising:
            return (step + 1) / (rising + 1)
        if settings.schedule == "step":
            return settings.step_factor ** (step // settings.step_every)
        return max(0.0, (steps - step) / (steps - rising)) if settings.schedule == "linear" else 1.0

    return LambdaLR(optimizer, rate)

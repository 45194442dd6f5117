"""What a recipe minimises, with which optimiser, and how the learning rate falls."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

from tacred_utils.metrics.counts import class_shares
from tacred_utils.models.sampling import class_weights
from tacred_utils.models.settings import TrainingSettings


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
    steps = settings.epochs * math.ceil(batches / settings.accumulate)
    rising = settings.warmup * steps

    def rate(step: int) -> float:
        if step < rising:
            return (step + 1) / (rising + 1)
        if settings.schedule == "step":
            return settings.step_factor ** (step // settings.step_every)
        return max(0.0, (steps - step) / (steps - rising)) if settings.schedule == "linear" else 1.0

    return LambdaLR(optimizer, rate)

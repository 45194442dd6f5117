"""What the networks share: a recipe's rows, batches, loss, optimiser and learning rate; and what a trained network answers:
logits of encoded rows, log-probabilities over the classes of a task, and how it is kept in a folder.

Apart from training, whose Trainer takes seconds to import: who only asks a model need not wait for it.
"""

import json
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn.functional import cross_entropy
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

from tacred_utils.corpora.example import Example
from tacred_utils.ground.files import atomic_path, write_text
from tacred_utils.ground.labels import NO_RELATION
from tacred_utils.inputs.encoding import Encoded, Encoder
from tacred_utils.metrics.counts import class_shares
from tacred_utils.models import processes
from tacred_utils.models.settings import TrainingSettings, read_settings

if TYPE_CHECKING:
    from tacred_utils.inputs.subwords import SubwordEncoder

POOL = 50  # batches that are sorted by length together: enough to spare nearly all padding, few enough to stay random
SCORED_AT_ONCE = {"cpu": 128, "cuda": 1024}  # rows: wide enough for fast products, small enough for a processor's cache


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


def compute_dtype(precision: str) -> torch.dtype:
    """What products are computed in: "auto" is bfloat16 where the GPU, or else this processor, multiplies it natively."""
    if precision == "float32":
        return torch.float32
    if torch.cuda.is_available():
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = any(torch.cpu.get_capabilities().get(name) for name in ("avx512_bf16", "amx_bf16", "sve_bf16", "bf16"))
    return torch.bfloat16 if native else torch.float32


def score(model: nn.Module, encoded: Encoded, rows: np.ndarray | None = None) -> np.ndarray:
    """(rows, K) logits, float32, in the order of the rows (all by default); batches are of like length.

    Processes that train together answer a share each and get the whole.
    """
    rows = np.arange(len(encoded)) if rows is None else rows
    if processes.count() == 1:
        return _score(model, encoded, rows)
    return processes.joined(_score(model, encoded, processes.share(rows)), len(rows), next(model.parameters()).device)


@torch.inference_mode()
def _score(model: nn.Module, encoded: Encoded, rows: np.ndarray) -> np.ndarray:
    device = next(model.parameters()).device
    order = np.argsort(encoded.lengths[rows], kind="stable")
    batches = np.array_split(order, math.ceil(len(order) / SCORED_AT_ONCE[device.type]))
    was_training = model.training
    model.eval()
    parts = [model(**tensors(encoded.batch(rows[batch]), device))["logits"].float().cpu().numpy() for batch in batches]
    model.train(was_training)
    logits = np.concatenate(parts)
    return logits[np.argsort(order)]


@dataclass(frozen=True)
class TrainedNetwork:
    """A classifier with all that is needed to score new Examples; its family says what it `reads`, and how to `save` it."""

    classifier: nn.Module  # with the `settings` that it was made by
    encoder: "Encoder | SubwordEncoder"
    seen_classes: list[str]  # the K classes that training has: columns of its logits
    classes: list[str]  # of the task: columns of the log-probabilities

    def log_probs(self, examples: list[Example]) -> np.ndarray:
        """(rows, classes) log-probabilities, float32; a class that training lacks has -inf."""
        return self.log_probs_of(self.encoder.encode(examples))

    def log_probs_of(self, encoded: Encoded) -> np.ndarray:
        """The same of encoded rows."""
        logits = score(self.classifier, encoded)
        answer = np.full((len(logits), len(self.classes)), -np.inf, np.float32)
        places = [self.classes.index(label) for label in self.seen_classes]
        answer[:, places] = torch.log_softmax(torch.from_numpy(logits), 1).numpy()
        return answer

    def write(self, folder: Path, facts: dict[str, object]) -> None:
        """Write model.safetensors (weights) and model.json: settings, classes, and facts of the family."""
        with atomic_path(Path(folder) / "model.safetensors") as temporary:
            save_file({name: weight.contiguous() for name, weight in self.classifier.state_dict().items()}, temporary)
        settings = msgspec.to_builtins(self.classifier.settings)
        known = {"classes": self.classes, "known": self.seen_classes, "settings": settings}
        write_text(Path(folder) / "model.json", json.dumps(known | facts, ensure_ascii=False))


def read_facts(folder: Path, family: str) -> tuple[dict[str, object], TrainingSettings]:
    """What `TrainedNetwork.write` put into model.json, and the settings in it as what they are."""
    facts = json.loads((Path(folder) / "model.json").read_text(encoding="utf-8"))
    return facts, read_settings(family, facts["settings"])


def tensors(columns: dict[str, np.ndarray], device: torch.device | str = "cpu") -> dict[str, torch.Tensor]:
    """The columns on a device. A GPU goes on with what it does meanwhile: numpy's memory is read before this returns."""
    return {
        name: torch.from_numpy(np.ascontiguousarray(values)).to(device, non_blocking=True)
        for name, values in columns.items()
    }

"""Which rows a network is trained on, with what weight, and in which order."""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from tacred_utils.ground.labels import NO_RELATION
from tacred_utils.models.settings import TrainingSettings

POOL = 50  # batches that are sorted by length together: enough to spare nearly all padding, few enough to stay random


def undersample(gold: list[str], rows: np.ndarray, ratio: float, seed: int | Sequence[int]) -> np.ndarray:
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
    whole = task == "relation_only" or settings.redraw
    rows = every if whole else undersample(gold, every, settings.max_ratio, seed)
    if settings.upsample:
        sizes = Counter(gold[row] for row in rows)
        largest = max(size for label, size in sizes.items() if label != NO_RELATION or len(sizes) == 1)
        rows = upsample(target[rows], rows, largest, settings.upsample, seed)
    return rows


def class_weights(target: np.ndarray, classes: int, balance: float) -> np.ndarray:
    """(classes,) weights N^-balance with mean 1 over the rows, so that the loss keeps its scale; 0 gives ones."""
    sizes = np.bincount(target, minlength=classes)
    weights = np.where(sizes > 0, np.maximum(sizes, 1.0) ** -balance, 0)
    return weights / weights[target].mean()


class LengthGrouped:
    """Batches of rows of like length, in an order drawn from (seed, epoch) alone; sizes differ by 1 at most.

    `draw` gives the rows of an epoch, always equally many; without it every epoch has all of them. With `texts`, the
    text (N,) of each row, a batch is `batch_size` texts with all of their rows that are drawn.
    """

    def __init__(
        self, lengths: np.ndarray, batch_size: int, seed: int, draw: Callable[[int], np.ndarray] | None = None,
        texts: np.ndarray | None = None,
    ) -> None:  # fmt: skip
        self.lengths, self.batch_size, self.seed, self.texts = lengths, batch_size, seed, texts
        self.draw = draw or (lambda epoch: np.arange(len(lengths)))
        first = self.draw(0)
        self.size = len(first)
        self.batches = math.ceil((self.size if texts is None else len(np.unique(texts[first]))) / batch_size)
        self.epoch, self.drop_last = 0, False

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[np.ndarray]:
        generator = np.random.default_rng([self.seed, self.epoch])
        drawn, texts = self.draw(self.epoch), self.texts
        firsts = drawn if texts is None else drawn[np.unique(texts[drawn], return_index=True)[1]]  # a row a text
        order = generator.permutation(firsts)
        pool = POOL * self.batch_size
        pools = [order[start : start + pool] for start in range(0, len(order), pool)]
        ordered = np.concatenate([rows[np.argsort(self.lengths[rows], kind="stable")] for rows in pools])
        batches = np.array_split(ordered, len(self))
        for index in generator.permutation(len(batches)):
            yield batches[index] if texts is None else drawn[np.isin(texts[drawn], texts[batches[index]])]

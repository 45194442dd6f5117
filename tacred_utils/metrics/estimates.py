"""Numbers with their uncertainty: one type for every interval of the study, and the bootstrap that most come from.

**The unit of resampling** is the document where a corpus names it, else the sentence: rows of one text are no
independent witnesses, and are drawn together. Published predictions on TACRED come without text; there it is the row.
**What an interval covers**: other test texts of the same kind, and other seeds where a system was trained with
several; not other corpora, annotators or recipes. Intervals are 95 %, from the basic (reverse) bootstrap (Davison and
Hinkley 1997, section 5.2): macro averages lean on resampled rows, since draws lose rare classes, and the percentile
interval doubles that lean where the basic one takes it out.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.stats import norm, t

from tacred_utils.corpora.example import Example
from tacred_utils.metrics.counts import ConfusionCounts, confusion_counts, count_cells, encoded

SEED = 13  # of all draws
ROWS, SENTENCES, DOCUMENTS = "rows", "sentences", "documents"
Score = str | Callable[[ConfusionCounts], np.ndarray]  # one of counts.SCORES, or a function of the counts


@dataclass(frozen=True)
class Clusters:
    """What is drawn in a bootstrap: rows of one cluster come and go together."""

    unit: str  # what a cluster is, in the plural
    codes: np.ndarray  # (rows,) the cluster of each row, from 0 on

    @classmethod
    def of(cls, names: Sequence[object], unit: str = SENTENCES) -> "Clusters":
        """Rows with equal names are one cluster."""
        return cls(unit, pd.factorize(pd.Series(list(names)))[0])

    def __getitem__(self, rows: np.ndarray) -> "Clusters":
        """The clusters of some rows, given by number or as bool."""
        return Clusters.of(self.codes[rows], self.unit)

    @property
    def size(self) -> int:
        return int(self.codes.max(initial=-1)) + 1

    def times_drawn(self, draws: int, seed: int) -> np.ndarray:
        """(draws, clusters) how often each is drawn when as many are drawn with replacement."""
        chosen = np.random.default_rng(seed).integers(self.size, size=(draws, self.size))
        return np.array([np.bincount(draw, minlength=self.size) for draw in chosen])


def clusters_of(examples: Sequence[Example]) -> Clusters:
    """The study's unit of resampling: documents where all rows name one, else sentences."""
    if all(example.document is not None for example in examples):
        return Clusters.of([example.document for example in examples], DOCUMENTS)
    return Clusters.of([" ".join(example.token) for example in examples], SENTENCES)


def single_rows(number: int) -> Clusters:
    """Every row by itself."""
    return Clusters(ROWS, np.arange(number))


@dataclass(frozen=True)
class Estimate:
    """A number, its 95 % interval, and what that rests on."""

    value: float
    low: float
    high: float
    n: int = 1  # how many units were resampled
    unit: str = ""  # "documents", "sentences", "rows", "relations", "seeds" (then low and high are a range), "rounding"
    draws: np.ndarray | None = None  # (draws,) what the value came to on each draw
    spread: tuple[tuple[float, int], ...] = ()  # over seeds: a mean's squared standard error, its degrees of freedom
    parts: tuple[float, ...] = ()  # of a difference: the two values

    @classmethod
    def from_draws(
        cls, value: float, draws: np.ndarray, n: int = 1, unit: str = "", spread: tuple[tuple[float, int], ...] = (),
        parts: tuple[float, ...] = (),
    ) -> "Estimate":  # fmt: skip
        """From bootstrap draws, and the spread over seeds where there is one: the basic interval."""
        own = cls(float(value), np.nan, np.nan, n, unit, np.asarray(draws, float), spread, parts)
        high, low = np.quantile(own.error_draws, [0.025, 0.975])
        return replace(own, low=float(value - low), high=float(value - high))

    @classmethod
    def of_models(cls, exact: np.ndarray, draws: np.ndarray, n: int, unit: str) -> "Estimate":
        """The mean over models of several seeds: their values (seeds,), and those on each draw (seeds, draws)."""
        seeds = len(exact)
        spread = ((float(exact.var(ddof=1)) / seeds, seeds - 1),) if seeds > 1 else ()
        return cls.from_draws(exact.mean(), draws.mean(axis=0), n, unit, spread)

    @cached_property
    def error_draws(self) -> np.ndarray:
        """(draws,) how far off the value may be: by draw, plus Student's t for the seeds (Welch 1947)."""
        errors = self.draws - self.value
        if not (variance := sum(part for part, _ in self.spread)):
            return errors
        freedom = variance**2 / sum(part**2 / df for part, df in self.spread)
        quantiles = t.ppf((np.arange(len(errors)) + 0.5) / len(errors), freedom)
        return errors + np.sqrt(variance) * np.random.default_rng(SEED).permutation(quantiles)

    def __sub__(self, other: "Estimate") -> "Estimate":
        """The difference; it is paired where both were scored on the same draws."""
        value, draws, n = self.value - other.value, self.draws - other.draws, min(self.n, other.n)
        return Estimate.from_draws(value, draws, n, self.unit, self.spread + other.spread, (self.value, other.value))

    def p_value(self, edge: float = 0.0) -> float:
        """Two-sided: twice the smaller share of draws at or beyond the edge, the value itself counted as one.

        Without draws, from a normal distribution as wide as the interval on the edge's side; an exact or rounded number
        has 0 or 1.
        """
        if self.draws is not None:
            likely = self.value - self.error_draws
            beyond = min((likely <= edge).sum(), (likely >= edge).sum())
            return float(min(2 * (1 + beyond) / (1 + len(likely)), 1.0))
        if self.low == self.high or self.unit == "rounding":
            return float(self.low <= edge <= self.high)
        side = self.value - self.low if edge < self.value else self.high - self.value
        return float(2 * norm.sf(norm.ppf(0.975) * abs(self.value - edge) / side))

    @property
    def row(self) -> dict[str, object]:
        """As a row of a table: value, low, high, p_value (of 0), n, unit."""
        interval = {"value": self.value, "low": self.low, "high": self.high}
        return interval | {"p_value": self.p_value(), "n": self.n, "unit": self.unit}

    def __str__(self) -> str:
        """`−0.030 [−0.036, −0.023]`; of one seed, or exact, the value alone."""
        limits = "" if self.low == self.high else f" [{self.low:.3f}, {self.high:.3f}]"
        return f"{self.value:.3f}{limits}".replace("-", "−")


def resample(
    gold: Sequence[str], predictions: Sequence[Sequence[str]], labels: Sequence[str] | None = None,
    draws: int = 1000, seed: int = SEED, clusters: Clusters | None = None,
) -> list[ConfusionCounts]:  # fmt: skip
    """Bootstrap test rows, or whole clusters of them: counts (draws, L) of each system, all over the same draws."""
    labels, codes = encoded([gold, *predictions], labels)
    cells, cell, counts = np.unique(np.column_stack(codes), axis=0, return_inverse=True, return_counts=True)
    if clusters is None:  # cells is (K, 1 + systems), counts (K,)
        rows, rng = counts.sum(), np.random.default_rng(seed)
        weights = rng.multinomial(rows, counts / rows, size=draws)  # (draws, K)
    else:
        of_cluster = (np.ones(len(cell)), (clusters.codes, cell.ravel()))
        held = sparse.csr_array(of_cluster, shape=(clusters.size, len(cells)))
        weights = clusters.times_drawn(draws, seed) @ held  # (draws, clusters) @ (clusters, K)
    return [count_cells(cells[:, 0], cells[:, n], weights, labels) for n in range(1, cells.shape[1])]


def score_estimates(
    gold: Sequence[str], systems: Sequence[Sequence[Sequence[str]]], score: Score = "micro_f1",
    labels: Sequence[str] | None = None, clusters: Clusters | None = None, draws: int = 1000, seed: int = SEED,
) -> list[Estimate]:  # fmt: skip
    """A score of each system, all on the same draws of test rows or of clusters, so that differences are paired.

    A system is its answers by seed, seeds × (rows,); the score is their mean, and the interval covers both the test
    texts (by bootstrap) and the seeds (by Student's t). Raises `UserError` as `counts.encoded` does.
    """
    answers = [answer for system in systems for answer in system]
    resampled = resample(gold, answers, labels, draws, seed, clusters)
    drawn = [_value_of(counts, score) for counts in resampled]
    exact = [_value_of(confusion_counts(gold, answer, resampled[0].labels), score) for answer in answers]
    n, unit = (len(gold), ROWS) if clusters is None else (clusters.size, clusters.unit)
    found, start = [], 0
    for system in systems:
        own = slice(start, start := start + len(system))
        found.append(Estimate.of_models(np.array(exact[own]), np.array(drawn[own]), n, unit))
    return found


def over_seeds(results: Sequence[Mapping[str, float]]) -> pd.DataFrame:
    """Each score's mean over runs of several seeds, with its range: three are too few for more.

    By name: columns value, low (the smallest), high (the largest), n (seeds).
    """
    frame = pd.DataFrame(list(results))
    return pd.DataFrame({"value": frame.mean(), "low": frame.min(), "high": frame.max()}).assign(n=len(frame))


def holm(p_values: Sequence[float]) -> np.ndarray:
    """p-values corrected for their number (Holm 1979): the smallest times n, the next times n − 1, …, never falling."""
    p_values = np.asarray(p_values, float)
    order = np.argsort(p_values)
    stepped = np.maximum.accumulate(p_values[order] * np.arange(len(order), 0, -1))
    return np.minimum(stepped, 1)[np.argsort(order)]


def _value_of(counts: ConfusionCounts, score: Score) -> np.ndarray:
    """A score of these counts, of the shape of their leading axes."""
    return counts.scores()[score] if isinstance(score, str) else score(counts)

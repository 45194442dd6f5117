"""Scores by groups of rows: sentence length, distance of the entities, their types, and how frequent a class is.

Groups follow from the corpus alone, so that they are the same for all systems. A group may be empty, and a class may be
absent from it: both are said, neither is an error.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from tacred_utils.corpora.example import Example
from tacred_utils.ground.labels import NO_RELATION
from tacred_utils.metrics.counts import SCORES, confusion_counts, count_cells
from tacred_utils.metrics.estimates import Clusters, Estimate, resample, single_rows


@dataclass(frozen=True)
class Bins:
    """Named groups in their order, empty ones included, and the place of every item's group among them."""

    names: list[str]
    codes: np.ndarray  # (items,)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def sizes(self) -> np.ndarray:
        return np.bincount(self.codes, minlength=len(self))  # (bins,)


def sentence_length(example: Example) -> int:
    """Words of the sentence."""
    return len(example.token)


def entity_distance(example: Example) -> int:
    """Words between the two entities; 0 where they touch or overlap."""
    return max(0, max(example.subj_start, example.obj_start) - min(example.subj_end, example.obj_end) - 1)


def type_pair(example: Example) -> str:
    """`PERSON → CITY`: the types of subject and object."""
    return f"{example.subj_type} → {example.obj_type}"


def by_size(values: Sequence[int], parts: int = 5) -> Bins:
    """Groups of about equal size in ascending order, named `1: 4–17` by what they hold.

    Equal values are never torn apart, so that sizes differ where values repeat, and a group may be empty.
    """
    values = np.asarray(values)
    edges = np.quantile(values, np.arange(1, parts) / parts, method="inverted_cdf")  # upper ends of all but the last
    codes = np.searchsorted(edges, values, side="left")
    held = [values[codes == place] for place in range(parts)]
    spans = [f"{part.min()}–{part.max()}" if len(part) else "empty" for part in held]
    return Bins([f"{number}: {span}" for number, span in enumerate(spans, start=1)], codes)


def bin_contents(gold: Sequence[str], bins: Bins) -> pd.DataFrame:
    """What each group holds: columns bin, rows, positives (rows with a relation), classes (distinct gold labels)."""
    gold = pd.Series(np.asarray(gold, dtype=object)).groupby(bins.codes)
    found = gold.agg(rows="size", positives=lambda part: (part != NO_RELATION).sum(), classes="nunique")
    return found.reindex(range(len(bins)), fill_value=0).assign(bin=bins.names)[["bin", "rows", "positives", "classes"]]


def drawn_scores(
    gold: Sequence[str], answers: Mapping[str, Sequence[str]], bins: Bins, labels: Sequence[str], draws: int = 1000,
    weights: np.ndarray | None = None, clusters: Clusters | None = None,
) -> dict[str, dict[str, np.ndarray]]:  # fmt: skip
    """System → score → (1 + draws, bins): every score of every group, first as observed, then bootstrapped.

    Within a group, rows, or the `clusters` that they belong to, are drawn with replacement, the same ones for all
    systems. `weights` let a row count for more or less than one. `macro_f1` is over the classes that occur in the
    group, gold or answered, as scikit-learn has it without a list. A group without rows or weight has NaN.
    """
    codes = {name: _codes(column, labels) for name, column in answers.items()}
    gold_codes, clusters = _codes(gold, labels), clusters or single_rows(len(gold))
    weights = np.ones(len(gold)) if weights is None else weights
    found = {name: {score: np.full((1 + draws, len(bins)), np.nan) for score in SCORES} for name in answers}
    for place in np.flatnonzero(np.bincount(bins.codes, weights, minlength=len(bins))):
        rows = np.flatnonzero(bins.codes == place)
        own = clusters[rows]
        times = np.vstack([np.ones(len(rows)), own.times_drawn(draws, place)[:, own.codes]])  # (1 + draws, rows)
        for name, code in codes.items():
            counts = count_cells(gold_codes[rows], code[rows], times * weights[rows], list(labels))
            scored = counts.scores() | {"macro_f1": counts.macro_f1_over(counts.observed)}
            for score, values in scored.items():
                found[name][score][:, place] = values
    return found


def group_summary(values: np.ndarray, bins: Bins) -> pd.DataFrame:
    """One score by group: columns bin, value, low, high (95 % interval), from (1 + draws, bins)."""
    found = [Estimate.from_draws(column[0], column[1:]) for column in values.T]
    rows = [(name, each.value, each.low, each.high) for name, each in zip(bins.names, found, strict=True)]
    return pd.DataFrame(rows, columns=["bin", "value", "low", "high"])


def last_against_others(values: np.ndarray, bins: Bins) -> Estimate:
    """The last group's score minus the mean of the others', from (1 + draws, bins).

    Groups have no row in common, so that their draws are independent. Empty groups are passed over, and others without
    a score; NaN where the last one that holds rows has none.
    """
    *others, last = np.flatnonzero(bins.sizes)
    known = [place for place in others if not np.isnan(values[0, place])]
    others_mean = values[:, known].mean(axis=1) if known else np.full(len(values), np.nan)
    gap = values[:, last] - others_mean
    return Estimate.from_draws(gap[0], gap[1:])


def same_mix(bins: Bins, strata: Sequence[object]) -> np.ndarray:
    """(rows,) weights that give every group the same mix of strata: that of all rows (direct standardisation).

    A stratum that some group lacks cannot be held equal: its rows weigh 0 in all groups.
    """
    codes, names = pd.factorize(pd.Series(list(strata)))
    table = np.zeros((len(bins), len(names)))
    np.add.at(table, (bins.codes, codes), 1)
    held = table[bins.sizes > 0]
    wanted = np.where((held > 0).all(axis=0), table.sum(axis=0), 0.0) / len(codes)  # (strata,)
    own = table / np.maximum(table.sum(axis=1, keepdims=True), 1)  # (bins, strata) shares
    weights = np.divide(wanted, own, out=np.zeros_like(own), where=own > 0)
    return weights[bins.codes, codes]


def spread_by_chance(
    gold: Sequence[str], pred: Sequence[str], bins: Bins, labels: Sequence[str], draws: int = 500,
    clusters: Clusters | None = None,
) -> dict[str, float]:  # fmt: skip
    """Do groups differ in macro F1 by more than groups of these sizes made at random? A permutation test.

    Where rows of one cluster lie in one group by necessity, as rows of a sentence do when groups are of sentence
    length, `clusters` must say so: whole ones are then shuffled. Returns spread (largest minus smallest macro F1 over
    the classes that occur in the group), chance (its mean over the shuffles) and p_value (share of shuffles, the
    observed one counted, with at least that spread).
    """
    pairs = np.column_stack([_codes(gold, labels), _codes(pred, labels)])
    cells, cell = np.unique(pairs, axis=0, return_inverse=True)
    clusters = clusters or single_rows(len(gold))
    group = np.zeros(clusters.size, dtype=int)  # of each cluster
    group[clusters.codes] = bins.codes
    if (group[clusters.codes] != bins.codes).any():
        raise ValueError("a cluster has rows in several groups: it cannot be shuffled as a whole")
    rng, size = np.random.default_rng(0), len(bins) * len(cells)
    orders = [group, *(rng.permutation(group) for _ in range(draws))]
    counts = [np.bincount(order[clusters.codes] * len(cells) + cell.ravel(), minlength=size) for order in orders]
    counts = np.array(counts).reshape(-1, len(cells))  # ((1 + draws) · bins, cells)
    scores = count_cells(cells[:, 0], cells[:, 1], counts, list(labels))
    macro = scores.macro_f1_over(np.ones(len(labels), dtype=bool)).reshape(1 + draws, len(bins))[:, bins.sizes > 0]
    spread = np.ptp(macro, axis=1)
    p_value = (spread >= spread[0] - 1e-12).mean()
    return {"spread": float(spread[0]), "chance": float(spread[1:].mean()), "p_value": float(p_value)}


def f1_by_frequency(
    gold: Sequence[str], pred: Sequence[str], train_gold: Sequence[str], labels: Sequence[str], parts: int = 5,
    draws: int = 1000, clusters: Clusters | None = None,
) -> pd.DataFrame:  # fmt: skip
    """Mean F1 of the relations, in groups of about equally many classes by their number of training rows.

    Columns bin (named by those numbers), classes, rows (gold test rows of its classes), value, low, high. A class
    without gold rows in the test split has no F1 and is left out; a group that has none left has NaN.
    """
    columns = ["bin", "classes", "rows", "value", "low", "high"]
    in_training, in_test = Counter(train_gold), Counter(gold)
    relations = np.array([label for label in labels if label != NO_RELATION and label in in_test])
    if not len(relations):
        return pd.DataFrame(columns=columns)
    bins = by_size([in_training[label] for label in relations], parts)
    one, many = confusion_counts(gold, pred, labels), resample(gold, [pred], labels, draws, clusters=clusters)[0]
    rows = []
    for place, name in enumerate(bins.names):
        members = relations[bins.codes == place]
        mask = np.isin(labels, members)
        found = Estimate.from_draws(one.macro_f1_over(mask), many.macro_f1_over(mask))
        interval = (found.value, found.low, found.high) if len(members) else (np.nan,) * 3
        rows.append((name, len(members), sum(in_test[label] for label in members), *interval))
    return pd.DataFrame(rows, columns=columns)


def _codes(column: Sequence[str], labels: Sequence[str]) -> np.ndarray:
    return pd.Index(labels).get_indexer(list(column))  # (rows,)

"""Scores by groups of rows: sentence length, distance of the entities, their types, and how frequent a class is.

Pure functions over Examples and predictions. Groups follow from the corpus alone, so that they are the same for all
systems. A group may be empty, and a class may be absent from it: both are said, neither is an error.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from tacred_utils.corpora.example import Example
from tacred_utils.ground.labels import NO_RELATION
from tacred_utils.metrics.counts import SCORES, ConfusionCounts, count, count_cells
from tacred_utils.metrics.estimates import Clusters, Estimate, frame_of, resample, single_rows

MACROS = ("macro_f1", "macro_f1_common", "macro_f1_all")  # see `drawn_scores`


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


def by_name(values: Sequence[str], largest: int) -> Bins:
    """A group for each of the most frequent values, in that order (ties by name), and `other` for the rest."""
    counts = Counter(values)
    names = sorted(counts, key=lambda name: (-counts[name], name))[:largest] + ["other"]
    places = {name: place for place, name in enumerate(names)}
    return Bins(names, np.array([places.get(value, len(names) - 1) for value in values], dtype=int))


def contents(gold: Sequence[str], bins: Bins) -> pd.DataFrame:
    """What each group holds: columns bin, rows, positives (rows with a relation), classes (distinct gold labels)."""
    gold = np.asarray(gold, dtype=object)
    held = [gold[bins.codes == place] for place in range(len(bins))]
    return pd.DataFrame({
        "bin": bins.names, "rows": [len(part) for part in held],
        "positives": [int((part != NO_RELATION).sum()) for part in held],
        "classes": [len(set(part)) for part in held],
    })  # fmt: skip


def drawn_scores(
    gold: Sequence[str], answers: Mapping[str, Sequence[str]], bins: Bins, labels: Sequence[str], draws: int = 1000,
    weights: np.ndarray | None = None, clusters: Clusters | None = None,
) -> dict[str, dict[str, np.ndarray]]:  # fmt: skip
    """System → score → (1 + draws, bins): every score of every group, first as observed, then bootstrapped.

    Within a group, rows, or the `clusters` that they belong to, are drawn with replacement, the same ones for all
    systems. `weights` let a row count for more or less than one.

    Beside the scores of `metrics` there are three macro averages of F1. `macro_f1`: over the classes that occur in the
    group, gold or answered, as scikit-learn does when it is given no list; `macro_f1_common`: over those that are gold
    in every group; `macro_f1_all`: over all labels, where a class that the group lacks counts 0. A group without rows
    or without weight has NaN, and so has an average over no class.
    """
    codes = {name: _codes(column, labels) for name, column in answers.items()}
    gold_codes, clusters = _codes(gold, labels), clusters or single_rows(len(gold))
    weights = np.ones(len(gold)) if weights is None else weights
    present = np.zeros((len(bins), len(labels)), dtype=bool)  # gold in the group
    present[bins.codes, gold_codes] = True
    common = present[bins.sizes > 0].all(axis=0)
    weighty = np.flatnonzero(np.bincount(bins.codes, weights, minlength=len(bins)))
    columns: dict[str, list[dict[str, np.ndarray]]] = {name: [] for name in answers}
    for place in weighty:
        rows = np.flatnonzero(bins.codes == place)
        own = clusters[rows]
        drawn = (
            np.vstack([np.ones(len(rows)), own.drawn(draws, place)[:, own.codes]]) * weights[rows]
        )  # (1 + draws, rows)
        for name, code in codes.items():
            counts = count_cells(gold_codes[rows], code[rows], drawn, list(labels))
            columns[name].append(_group_scores(counts, common))
    return {name: _by_group(scored, weighty, (1 + draws, len(bins))) for name, scored in columns.items()}


def summary(values: np.ndarray, bins: Bins) -> pd.DataFrame:
    """One score by group: columns bin, value, low, high (95 % interval), from (1 + draws, bins)."""
    found = frame_of({name: _estimate(column) for name, column in zip(bins.names, values.T, strict=True)})
    return found[["value", "low", "high"]].rename_axis("bin").reset_index()


def last_against_others(values: np.ndarray, bins: Bins) -> Estimate:
    """The last group's score minus the mean of the others', from (1 + draws, bins).

    Groups have no row in common, so that their draws are independent. Empty groups are passed over, and others without
    a score; NaN where the last one that holds rows has none.
    """
    *others, last = np.flatnonzero(bins.sizes)
    known = [place for place in others if not np.isnan(values[0, place])]
    others_mean = values[:, known].mean(axis=1) if known else np.full(len(values), np.nan)
    return _estimate(values[:, last] - others_mean)


def _estimate(column: np.ndarray) -> Estimate:
    """From (1 + draws,), first as observed."""
    return Estimate.drawn(column[0], column[1:], 1, "")


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
    length, `clusters` must say so: whole ones are then shuffled. Returns spread (largest minus smallest macro F1 over the
    classes that occur in the group), chance (its mean over the shuffles) and p_value (share of shuffles, the observed
    one counted, with at least that spread).
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
    return {
        "spread": float(spread[0]), "chance": float(spread[1:].mean()),
        "p_value": float((spread >= spread[0] - 1e-12).mean()),
    }  # fmt: skip


def by_frequency(
    gold: Sequence[str], pred: Sequence[str], train_gold: Sequence[str], labels: Sequence[str], parts: int = 5,
    draws: int = 1000, clusters: Clusters | None = None,
) -> pd.DataFrame:  # fmt: skip
    """Mean F1 of the relations, in groups of about equally many classes by their number of training rows.

    Columns bin (named by those numbers), classes, rows (gold test rows of its classes), value, low, high. A class
    without gold rows in the test split has no F1 and is left out; a group that has none left has NaN.
    """
    known = set(gold)
    relations = [label for label in labels if label != NO_RELATION and label in known]
    if not relations:
        return pd.DataFrame(columns=["bin", "classes", "rows", "value", "low", "high"])
    in_training, in_test = Counter(train_gold), Counter(gold)
    bins = by_size([in_training[label] for label in relations], parts)
    one, many = count(gold, pred, labels), resample(gold, [pred], labels, draws, clusters=clusters)[0]
    rows = []
    for place, name in enumerate(bins.names):
        members = [label for label, code in zip(relations, bins.codes, strict=True) if code == place]
        mask = np.isin(labels, members)
        found = Estimate.drawn(one.macro_f1_over(mask), many.macro_f1_over(mask), 1, "")
        scores = {"value": found.value, "low": found.low, "high": found.high} if members else {}
        rows.append({"bin": name, "classes": len(members), "rows": sum(in_test[label] for label in members)} | scores)
    return pd.DataFrame(rows, columns=["bin", "classes", "rows", "value", "low", "high"])


def _codes(column: Sequence[str], labels: Sequence[str]) -> np.ndarray:
    return pd.Index(labels).get_indexer(list(column))  # (rows,)


def _by_group(scored: list[dict[str, np.ndarray]], places: np.ndarray, shape: tuple[int, int]) -> dict[str, np.ndarray]:
    """Scores of the groups at these places side by side, of shape (1 + draws, bins); NaN at the others."""
    names = scored[0] if scored else (*SCORES, *MACROS)
    result = {name: np.full(shape, np.nan) for name in names}
    for place, scores in zip(places, scored, strict=True):
        for name, values in scores.items():
            result[name][:, place] = values
    return result


def _group_scores(counts: ConfusionCounts, common: np.ndarray) -> dict[str, np.ndarray]:
    scores = counts.scores()
    return scores | {
        "macro_f1": counts.macro_f1_over(counts.observed),
        "macro_f1_common": counts.macro_f1_over(common) if common.any() else np.full_like(counts.both, np.nan, float),
        "macro_f1_all": scores["macro_f1"],
    }  # fmt: skip

"""Scores by groups of rows: sentence length, distance of the entities, their types, and how frequent a class is.

Pure functions over Examples and predictions. Groups follow from the corpus alone, so that they are the same for all
systems. A group may be empty, and a class may be absent from it: both are said, neither is an error.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from tacred_utils.corpus import Example
from tacred_utils.labels import NO_RELATION
from tacred_utils.metrics import Tally, resample, tally, tally_cells


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
    gold: Sequence[str], pred: Sequence[str], bins: Bins, labels: Sequence[str], draws: int = 1000, seed: int = 0,
    weights: np.ndarray | None = None,
) -> dict[str, np.ndarray]:  # fmt: skip
    """Every score of every group, name → (1 + draws, bins): first as observed, then bootstrapped within the group.

    Beside the scores of `metrics` there are four macro averages of F1. `macro_f1`: over the classes that occur in the
    group, gold or answered, as scikit-learn does when it is given no list; `macro_f1_gold`: over its gold classes;
    `macro_f1_common`: over those that are gold in every group; `macro_f1_all`: over all labels, where a class that
    the group lacks counts 0. An empty group has NaN.
    """
    gold, pred = np.asarray(gold, dtype=object), np.asarray(pred, dtype=object)
    present = _present(gold, bins, labels)
    common = present[bins.sizes > 0].all(axis=0)
    columns = []
    for place in range(len(bins)):
        rows = bins.codes == place
        if not rows.any():
            columns.append({})
            continue
        own = None if weights is None else weights[rows]
        observed = tally(gold[rows], pred[rows], labels, own)
        drawn = resample(gold[rows], [pred[rows]], labels, draws, seed + place, own)[0]
        one, many = (_group_scores(counts, present[place], common) for counts in (observed, drawn))
        columns.append({name: np.append(one[name], many[name]) for name in one})
    names = next(column for column in columns if column)
    blank = np.full(1 + draws, np.nan)
    return {name: np.column_stack([column.get(name, blank) for column in columns]) for name in names}


def summary(values: np.ndarray, bins: Bins) -> pd.DataFrame:
    """One score by group: columns bin, value, low, high (95 % interval), from (1 + draws, bins)."""
    low, high = np.quantile(values[1:], [0.025, 0.975], axis=0)
    return pd.DataFrame({"bin": bins.names, "value": values[0], "low": low, "high": high})


def last_against_others(values: np.ndarray) -> dict[str, float]:
    """The last group's score minus the mean of the others', from (1 + draws, bins): value, low, high.

    Groups have no row in common, so that their draws are independent. Empty groups are passed over.
    """
    held = values[:, ~np.isnan(values[0])]
    if held.shape[1] < 2:
        return dict.fromkeys(("value", "low", "high"), float("nan"))
    differences = held[:, -1] - held[:, :-1].mean(axis=1)
    low, high = np.quantile(differences[1:], [0.025, 0.975])
    return {"value": float(differences[0]), "low": float(low), "high": float(high)}


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
    gold: Sequence[str], pred: Sequence[str], bins: Bins, labels: Sequence[str], draws: int = 500, seed: int = 0
) -> dict[str, float]:
    """Do groups differ in macro F1 by more than groups of these sizes made at random? A permutation test.

    Returns spread (largest minus smallest macro F1 over the classes that occur in the group), chance (its mean over
    the shuffles) and p_value (share of shuffles, the observed one counted, with at least that spread).
    """
    places = pd.Index(labels)
    pairs = np.column_stack([places.get_indexer(list(gold)), places.get_indexer(list(pred))])
    cells, codes = np.unique(pairs, axis=0, return_inverse=True)
    rng, size = np.random.default_rng(seed), len(bins) * len(cells)
    orders = [bins.codes, *(rng.permutation(bins.codes) for _ in range(draws))]
    counts = np.array([np.bincount(order * len(cells) + codes.ravel(), minlength=size) for order in orders])
    counts = counts.reshape(1 + draws, len(bins), len(cells))[:, bins.sizes > 0]
    scores = tally_cells(cells[:, 0], cells[:, 1], counts.reshape(-1, len(cells)), list(labels))
    macro = scores.macro_f1_over(np.ones(len(labels), dtype=bool)).reshape(1 + draws, -1)
    spread = np.ptp(macro, axis=1)
    return {
        "spread": float(spread[0]), "chance": float(spread[1:].mean()),
        "p_value": float((spread >= spread[0] - 1e-12).mean()),
    }  # fmt: skip


def by_frequency(
    gold: Sequence[str], pred: Sequence[str], train_gold: Sequence[str], labels: Sequence[str], parts: int = 5,
    draws: int = 1000, seed: int = 0,
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
    one, many = tally(gold, pred, labels), resample(gold, [pred], labels, draws, seed)[0]
    rows = []
    for place, name in enumerate(bins.names):
        members = [label for label, code in zip(relations, bins.codes, strict=True) if code == place]
        mask = np.isin(labels, members)
        value, drawn = one.macro_f1_over(mask), many.macro_f1_over(mask)
        low, high = np.quantile(drawn, [0.025, 0.975])
        scores = {"value": float(value), "low": low, "high": high} if members else {}
        rows.append({"bin": name, "classes": len(members), "rows": sum(in_test[label] for label in members)} | scores)
    return pd.DataFrame(rows, columns=["bin", "classes", "rows", "value", "low", "high"])


def _present(gold: np.ndarray, bins: Bins, labels: Sequence[str]) -> np.ndarray:
    """(bins, labels): which labels are gold in which group."""
    present = np.zeros((len(bins), len(labels)), dtype=bool)
    present[bins.codes, pd.Index(labels).get_indexer(list(gold))] = True
    return present


def _group_scores(counts: Tally, present: np.ndarray, common: np.ndarray) -> dict[str, np.ndarray]:
    scores = counts.scores()
    return scores | {
        "macro_f1": counts.macro_f1_over(counts.observed), "macro_f1_gold": counts.macro_f1_over(present),
        "macro_f1_common": counts.macro_f1_over(common), "macro_f1_all": scores["macro_f1"],
    }  # fmt: skip

"""What can be done with trained models, without training: decode their probabilities otherwise, mix, calibrate, put two
stages together, and ask about rows under other names.

Log-probabilities are (N, K): N rows of a split, K classes in the order of `classes`. What is chosen is chosen on dev.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from msgspec.structs import replace
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from scipy.stats import binomtest
from sklearn.metrics import precision_recall_curve

from tacred_utils.corpora.example import Example
from tacred_utils.ground.errors import UserError
from tacred_utils.ground.labels import NO_RELATION, RELATION, SCORED
from tacred_utils.metrics.counts import all_scores, class_shares

SHIFTS = np.arange(-3, 3.01, 0.25)  # of the logit of no_relation
TAUS = np.arange(0, 2.01, 0.1)  # how much of the prior is taken out
WEIGHTS = np.arange(0, 1.01, 0.1)  # of the first of two models
COOLEST, HOTTEST = 0.05, 20.0  # temperatures searched
Names = dict[tuple[str, int], list[tuple[str, ...]]]  # (type, number of words) → names, by name


def most_probable(log_probs: np.ndarray, classes: Sequence[str]) -> list[str]:
    """(N,) the most probable class of each row; of equals, the first."""
    return [classes[place] for place in log_probs.argmax(axis=1)]


def best(options: Iterable[float], score: Callable[[float], float]) -> float:
    """The option with the highest score; of equals the smallest in size, so that nothing is changed for nothing."""
    return float(max(sorted(options, key=abs), key=score))


def scorer(gold: Sequence[str], classes: Sequence[str]) -> Callable[[np.ndarray], float]:
    """A function from log-probabilities (N, K) to the macro F1 over relations of their answers."""
    return lambda log_probs: all_scores(gold, most_probable(log_probs, classes), classes)["macro_f1_relations"]


def log_shares(train: Sequence[Example], classes: Sequence[str]) -> np.ndarray:
    """(K,) log of the share of training rows that each class has; of a class without rows, that of half a row."""
    return np.log(class_shares(pd.Index(classes).get_indexer([row.relation for row in train]), len(classes)))


def fitting(train: Sequence[Example], rows: Sequence[Example], classes: Sequence[str]) -> np.ndarray:
    """(N, K) whether a class fits the entity types of a row: training has it with this pair of types.

    `no_relation` fits always; a pair of types that training lacks fits everything.
    """
    seen = {(row.subj_type, row.obj_type, row.relation) for row in train}
    pairs = {triple[:2] for triple in seen}
    kinds = [(row.subj_type, row.obj_type) for row in rows]
    return np.array([
        [label == NO_RELATION or kind not in pairs or (*kind, label) in seen for label in classes] for kind in kinds
    ])  # fmt: skip


def mixed(one: np.ndarray, other: np.ndarray, weight: float) -> np.ndarray:
    """The mean of two models' probabilities, the first with `weight`, the second with the rest. → (N, K)"""
    with np.errstate(divide="ignore"):  # a weight of 0
        return np.logaddexp(np.log(weight) + one, np.log1p(-weight) + other)


def tuned(
    options: Iterable[float], change: Callable[[str, float], np.ndarray], score: Callable[[np.ndarray], float]
) -> tuple[float, dict[str, np.ndarray]]:
    """The option that scores best on dev, and what `change(split, option)` makes of dev and test with it."""
    option = best(options, lambda each: score(change("dev", each)))
    return option, {split: change(split, option) for split in SCORED}


def decodings(
    given: Mapping[str, np.ndarray], classes: Sequence[str], score: Callable[[np.ndarray], float], prior: np.ndarray,
    fits: Mapping[str, np.ndarray] | None = None, other: Mapping[str, np.ndarray] | None = None,
) -> dict[str, tuple[float | None, dict[str, np.ndarray]]]:  # fmt: skip
    """One model's log-probabilities (by split) read in every way: name → the option chosen on dev, matrices by split,
    whose largest value is the answer.

    `score` is what dev chooses by, `prior` (K,) the log shares of the classes; `fits` adds decoding restricted to
    fitting types, `other` the mean with the probabilities of another model.
    """
    negative = np.array(classes) == NO_RELATION
    found = {
        "as it answers": (None, dict(given)),
        # The logit of no_relation moved: another threshold between it and the relations.
        "threshold": tuned(SHIFTS, lambda split, shift: given[split] + shift * negative, score),
        # Logit adjustment after training (Menon et al. 2021).
        "adjusted after training": tuned(TAUS, lambda split, tau: given[split] - tau * prior, score),
    }
    if fits is not None:
        found["fitting types"] = None, {split: np.where(fits[split], given[split], -np.inf) for split in SCORED}
    if other is not None:
        weight, both = tuned(WEIGHTS, lambda split, weight: mixed(given[split], other[split], weight), score)
        found["with the SVM"] = weight, both
        if fits is not None:
            both = {split: np.where(fits[split], both[split], -np.inf) for split in SCORED}
            found["with the SVM, fitting types"] = weight, both
    return found


def temperature(log_probs: np.ndarray, gold: Sequence[str], classes: Sequence[str]) -> float:
    """The temperature with the least log loss on these rows (Guo et al. 2017); choose it on dev."""
    target = pd.Index(classes).get_indexer(list(gold))

    def loss(log_temperature: float) -> float:
        own = cooled(log_probs, np.exp(log_temperature))[np.arange(len(target)), target]
        return -np.maximum(own, -50).mean()  # a class that training lacks has probability 0 at every temperature

    found = minimize_scalar(loss, bounds=(np.log(COOLEST), np.log(HOTTEST)), method="bounded")
    return float(np.exp(found.x))


def cooled(log_probs: np.ndarray, temperature: float) -> np.ndarray:
    """Logits divided by a temperature: above 1 it takes confidence away, and no answer changes. (N, K) → (N, K)"""
    return log_softmax(log_probs / temperature, axis=1)


def confidence(log_probs: np.ndarray) -> np.ndarray:
    """(N,) probability of the answer."""
    return np.exp(log_probs.max(axis=1))


def reliability_bins(p: np.ndarray, right: np.ndarray) -> pd.DataFrame:
    """Confidence against the share that is right, in those of ten equal bins that are not empty.

    Columns rows, confidence, right, and low and high of a 95 % interval (Wilson 1927).
    """
    place = np.minimum((np.asarray(p) * 10).astype(int), 9)
    frame = pd.DataFrame({"confidence": p, "right": np.asarray(right, float)}).groupby(place)
    table = frame.mean().assign(rows=frame.size())
    hits = (table.right * table.rows).round().astype(int)
    limits = [binomtest(k, n).proportion_ci(method="wilson") for k, n in zip(hits, table.rows, strict=True)]
    limits = pd.DataFrame(limits, index=table.index, columns=["low", "high"])
    return table.join(limits).reset_index(drop=True)


def calibration_error(p: np.ndarray, right: np.ndarray) -> float:
    """Expected calibration error: mean distance of confidence and share right, by rows (Naeini et al. 2015)."""
    table = reliability_bins(p, right)
    return float(((table.confidence - table.right).abs() * table.rows).sum() / table.rows.sum())


def brier(log_probs: np.ndarray, gold: Sequence[str], classes: Sequence[str]) -> float:
    """Mean squared distance of the probabilities from the gold class, summed over classes: from 0 to 2 (Brier 1950)."""
    target = pd.Index(classes).get_indexer(list(gold))
    return float(((np.exp(log_probs) - np.eye(len(classes))[target]) ** 2).sum(axis=1).mean())


def cut_at(p: np.ndarray, right: np.ndarray, precision: float) -> float:
    """The lowest confidence from which on answers are right with this precision; NaN where there is none."""
    frame = pd.DataFrame({"p": p, "right": right}).sort_values("p", ascending=False, kind="stable")
    share = frame.right.cumsum() / np.arange(1, len(frame) + 1)
    last = frame.p != frame.p.shift(-1)  # equal confidences stay together
    return float(frame.p[(share >= precision) & last].min())


class Composed(NamedTuple):
    """A system that names a relation where its probability of one exceeds a threshold that was chosen on dev."""

    threshold: float
    answers: dict[str, list[str]]  # split → an answer for every row


def compose(p: Mapping[str, np.ndarray], names: Mapping[str, Sequence[str]], dev_gold: Sequence[str]) -> Composed:
    """Probabilities of a relation (rows,) and the names of relations, both by split, put together.

    Every row that is detected is named, whatever its gold label: a false positive costs precision, as it would in use.
    Raises `UserError` when the two do not answer the same rows, and as `best_threshold` does.
    """
    for split in p:
        if len(p[split]) != len(names[split]):
            raise UserError(
                f"detection answers {len(p[split])} rows of {split} and classification {len(names[split])}; "
                "compose two runs on one corpus."
            )
    threshold = best_threshold([label != NO_RELATION for label in dev_gold], p["dev"])
    return Composed(threshold, {split: gate(p[split], names[split], threshold) for split in p})


def gate(p_relation: np.ndarray, names: Sequence[str], threshold: float) -> list[str]:
    """The named relation of every row whose probability (rows,) exceeds the threshold, `no_relation` elsewhere."""
    return [name if p > threshold else NO_RELATION for p, name in zip(p_relation, names, strict=True)]


def p_relation(answers: pd.DataFrame) -> np.ndarray:
    """(rows,) probability of `relation`, from the predictions of a detection run (label_pred and its p)."""
    p = answers["p"].to_numpy(float)
    return np.where(answers["label_pred"] == RELATION, p, 1 - p)


def both_answers(log_probs: np.ndarray, classes: Sequence[str]) -> tuple[np.ndarray, list[str]]:
    """A joint model's (rows,) probability of any relation and best relation by row, of log-probabilities (rows, K).

    These are read to float16's precision, in which they are published: a published run answers as the original does.
    """
    log_probs = log_probs.astype(np.float16).astype(np.float64)
    relations = [place for place, name in enumerate(classes) if name != NO_RELATION]
    best = log_probs[:, relations].argmax(axis=1)  # (rows,)
    p = 1 - np.exp(log_probs[:, list(classes).index(NO_RELATION)])
    return p, [classes[relations[index]] for index in best]


def best_threshold(is_relation: Sequence[bool], p_relation: np.ndarray) -> float:
    """The threshold with the best F1 of `relation`; choose it on dev, never on the split it is reported on.

    It lies half-way between two probabilities that occur. Raises `UserError` when no row is a relation.
    """
    if not np.any(is_relation):
        raise UserError("no row of this split is a relation; a threshold cannot be chosen on it.")
    precision, recall, thresholds = precision_recall_curve(is_relation, p_relation)
    total = precision + recall
    f1 = np.divide(2 * precision * recall, total, out=np.zeros_like(total), where=total > 0)[:-1]
    best = int(f1.argmax())
    below = thresholds[best - 1] if best else 0.0
    middle = (below + thresholds[best]) / 2
    return float(min(middle, np.nextafter(thresholds[best], -1)))  # below it, even where it is 0


def names(rows: Sequence[Example], without: Sequence[Example] = ()) -> Names:
    """Names in rows by type and number of words, but for those that `without` has, compared in lower case."""
    known = {_lower(name) for row in without for _, name in _mentions(row)}
    found = defaultdict(set)
    for row in rows:
        for kind, name in _mentions(row):
            if _lower(name) not in known:
                found[kind, len(name)].add(name)
    return {key: sorted(group) for key, group in found.items()}


def renamed(rows: Sequence[Example], given: Names, seed: int) -> tuple[list[Example], np.ndarray]:
    """The rows with subject and object under other names of their types, drawn at random, and which (bool) these are.

    A new name has as many words as the old one, so that tags, heads and spans stay what they are. A row stays as it is
    when either entity has no other name to take, or when the two overlap.
    """
    rng = np.random.default_rng(seed)
    changed = [_under_others(row, given, rng) for row in rows]
    return [new or row for new, row in zip(changed, rows, strict=True)], np.array([new is not None for new in changed])


def _under_others(row: Example, given: Names, rng: np.random.Generator) -> Example | None:
    token, spans = list(row.token), [row.subject, row.object]
    if spans[0][0] <= spans[1][1] and spans[1][0] <= spans[0][1]:
        return None
    old = {_lower(name) for _, name in _mentions(row)}
    for (start, end), (kind, name) in zip(spans, _mentions(row), strict=True):
        others = [other for other in given.get((kind, len(name)), []) if _lower(other) not in old]
        if not others:
            return None
        token[start : end + 1] = others[rng.integers(len(others))]
    return replace(row, token=token)


def _mentions(row: Example) -> list[tuple[str, tuple[str, ...]]]:
    """Type and name of subject and object."""
    return [*zip((row.subj_type, row.obj_type), map(tuple, row.mentions), strict=True)]


def _lower(name: Sequence[str]) -> str:
    return " ".join(name).lower()


def agreed_against(answers: pd.DataFrame, gold: Sequence[str]) -> pd.DataFrame:
    """For each row the answer other than its label that most of the systems (columns) give, and how many give it.

    Columns answer and systems; where all agree with the label there is no answer, and 0 systems give it.
    """
    others = answers.where(answers.ne(pd.Series(list(gold), index=answers.index), axis=0))
    counts = others.stack().groupby(level=0).value_counts()
    top = counts.groupby(level=0).head(1).reset_index(level=1)
    top.columns = ["answer", "systems"]
    return top.reindex(answers.index).fillna({"systems": 0}).astype({"systems": int})

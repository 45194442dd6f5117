"""What a claim is weighed with: systems (finished runs, published predictions), and scores with intervals.

Runs are read from run.json, history and predictions; nothing is trained, and sentences are asked for only where a
measure is about them. Two systems measured together are scored on the same draws of rows: their difference is paired.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from tacred_utils.corpora.example import Corpus, Example
from tacred_utils.corpora.registry import corpus_files
from tacred_utils.ground.labels import NO_RELATION, SCORED
from tacred_utils.metrics import counts
from tacred_utils.metrics.counts import ConfusionCounts, mean_where
from tacred_utils.metrics.estimates import SEED, Clusters, Estimate, Score
from tacred_utils.metrics.estimates import estimates as estimated
from tacred_utils.metrics.groups import entity_distance, sentence_length
from tacred_utils.metrics.postprocessing import cut_at
from tacred_utils.runs.catalog import Missing, RunCatalog, SystemAnswers, predictions_of
from tacred_utils.runs.data import load_corpus
from tacred_utils.runs.store import Run


def open_texts(data_dir: Path) -> list[Corpus]:
    """The complete open corpora whose files are below the data folder: measures of sentences need them."""
    return [
        load_corpus(name, data_dir)
        for name in ("conll04", "kbp37") if all(path.exists() for path in corpus_files(name, data_dir))
    ]  # fmt: skip


# Scores with intervals


def estimates(
    systems: Sequence[SystemAnswers], score: Score, rows: np.ndarray | None = None, draws: int = 1000, seed: int = SEED,
    clusters: Clusters | None = None,
) -> list[Estimate]:  # fmt: skip
    """A score of each system, as `metrics.estimates` has it; `rows` (bool) restricts to a part.

    The systems must answer the same rows.
    """
    gold, labels = systems[0].gold, systems[0].labels
    assert all([np.array_equal(system.gold, gold) for system in systems]), "systems must answer the same rows"
    rows = np.ones(len(gold), bool) if rows is None else rows
    answers = [[answer[rows] for answer in system.answers] for system in systems]
    return estimated(gold[rows], answers, score, labels, clusters[rows] if clusters else None, draws, seed)


def measure(
    score: str, systems: Sequence[SystemAnswers], catalog: RunCatalog | None = None, draws: int = 1000
) -> Estimate:
    """One of `MEASURES` or of counts.SCORES, of one system or as the first minus the second; raises `Missing`."""
    if score in MEASURES:
        return MEASURES[score](systems, catalog, draws)
    return _difference(estimates(systems, COUNTED.get(score, score), draws=draws))


def _difference(found: Sequence[Estimate]) -> Estimate:
    return found[0] if len(found) == 1 else found[0] - found[1]


def no_relation_share(counts: ConfusionCounts) -> np.ndarray:
    """Share of rows answered `no_relation`."""
    return counts.predicted[..., counts.labels.index(NO_RELATION)] / counts.gold.sum(-1)


def no_relation_excess(counts: ConfusionCounts) -> np.ndarray:
    """Share of rows answered `no_relation` minus its share in gold: above 0, the system leans on it."""
    return no_relation_share(counts) - counts.gold[..., counts.labels.index(NO_RELATION)] / counts.gold.sum(-1)


def unevenness(counts: ConfusionCounts) -> np.ndarray:
    """Standard deviation of F1 over relations."""
    f1, there = _relation_f1(counts)
    return np.sqrt(mean_where((f1 - mean_where(f1, there)[..., None]) ** 2, there))


def _relation_f1(counts: ConfusionCounts) -> tuple[np.ndarray, np.ndarray]:
    """F1 (..., relations), and whether a relation occurs: one that a draw has lost has no F1."""
    return counts.f1[..., counts.relation], (counts.gold + counts.predicted > 0)[..., counts.relation]


def _frequent_minus_rare(systems: Sequence[SystemAnswers], catalog: RunCatalog | None, draws: int) -> Estimate:
    """Mean F1 of the half of the relations with most rows minus that of the others; a middle one is rare."""
    relations = [label for label in systems[0].labels if label != NO_RELATION]
    order = np.argsort(-_counts(systems[0])[relations].to_numpy(), kind="stable")
    frequent, rare = np.split(order, [len(order) // 2])

    def gap(counts: ConfusionCounts) -> np.ndarray:
        f1, there = _relation_f1(counts)
        common, other = (mean_where(f1[..., half], there[..., half]) for half in (frequent, rare))
        return common - other

    return _difference(estimates(systems, gap, draws=draws))


def _counts(system: SystemAnswers) -> pd.Series:
    test = pd.Series(system.gold).value_counts().reindex(system.labels, fill_value=0)
    return test if system.counts is None else system.counts


def _rank_correlation(systems: Sequence[SystemAnswers], catalog: RunCatalog | None, draws: int) -> Estimate:
    """Spearman's rho between F1 of a relation and its rows, with a bootstrap over relations."""
    system, rng = systems[0], np.random.default_rng(SEED)
    classes = counts.per_class(system.gold, system.answers[0], system.labels).set_index("label")
    f1 = classes.f1.drop(NO_RELATION, errors="ignore")
    pairs = np.stack([f1, _counts(system)[f1.index]])  # (2, relations)
    drawn = _spearman(pairs[:, rng.integers(len(f1), size=(draws, len(f1)))])
    return Estimate.drawn(_spearman(pairs), drawn, len(f1), "relations")


def _spearman(pairs: np.ndarray) -> np.ndarray:
    """Rank correlation of the two rows of (2, ..., relations); 0 where one of them is constant."""
    ranks = rankdata(pairs, axis=-1)
    one, other = ranks - ranks.mean(-1, keepdims=True)
    spread = np.sqrt((one**2).sum(-1) * (other**2).sum(-1))
    return np.divide((one * other).sum(-1), spread, out=np.zeros_like(spread), where=spread > 0)


def _longest_fifth(systems: Sequence[SystemAnswers], catalog: RunCatalog, draws: int) -> Estimate:
    """Macro F1 over relations in the longest fifth minus that in the other rows (drawn apart)."""
    longest = _longest_rows(catalog)
    parts = ((longest, SEED), (~longest, SEED + 1))
    one, other = (estimates(systems[:1], "macro_f1_relations", rows, draws, seed)[0] for rows, seed in parts)
    return one - other


def _distant(systems: Sequence[SystemAnswers], catalog: RunCatalog, draws: int) -> Estimate:
    return _difference(estimates(systems, "macro_f1", _far_apart(catalog), draws))


def _far_apart(catalog: RunCatalog) -> np.ndarray:
    """Test rows (bool) with more words between the entities than half of them have; raises `Missing`."""
    words = np.array([entity_distance(row) for row in _sentences(catalog)])
    return words > np.median(words)


def _longest_rows(catalog: RunCatalog) -> np.ndarray:
    """Test rows (bool) in the longest fifth of sentences by words; raises `Missing`."""
    words = np.array([sentence_length(row) for row in _sentences(catalog)])
    return words > np.quantile(words, 0.8)


def _sentences(catalog: RunCatalog) -> list[Example]:
    if catalog.text is None:
        raise Missing(f"the sentences of {catalog.corpus}")
    return catalog.text.test


def _train_minus_dev(systems: Sequence[SystemAnswers], catalog: RunCatalog, draws: int) -> Estimate:
    """Macro F1 on training rows, at the epoch whose weights are kept, minus that on dev, drawn over dev's rows."""
    runs, trained = systems[0].runs, []
    for run in runs:
        epochs = run.history.set_index("epoch").train_macro_f1
        trained.append(epochs[run.info.get("epoch_restored") or epochs.index[-1]])
    frames = [predictions_of(run, "dev") for run in runs]
    dev = SystemAnswers("", frames[0].label_true.to_numpy(), [f.label_pred.to_numpy() for f in frames], runs[0].classes)
    found = estimates([dev], "macro_f1", draws=draws)[0]
    return Estimate.drawn(np.mean(trained), np.full(draws, np.mean(trained)), found.n, found.unit) - found


def _gain_by_features(systems: Sequence[SystemAnswers], catalog: RunCatalog, draws: int) -> Estimate:
    """What joint → relation-only gains in macro F1, of the first minus of the second (tasks drawn apart)."""
    alone = [catalog.system(system.name.replace("joint", "relation_only")) for system in systems]
    gains = [_difference(estimates(pair, "macro_f1", None, draws, SEED + i)) for i, pair in enumerate((alone, systems))]
    return gains[0] - gains[1]


def _coverage(systems: Sequence[SystemAnswers], catalog: RunCatalog, draws: int) -> Estimate:
    """Share of relations found when only answers above a confidence count: the lowest with 90 % precision on dev."""
    system = systems[0]
    sure = SystemAnswers(system.name, system.gold, [at_precision(run, 0.9) for run in system.runs], system.labels)
    return estimates([sure], "micro_r", draws=draws)[0]


COUNTED = {
    "no_relation_share": no_relation_share, "no_relation_excess": no_relation_excess, "unevenness": unevenness,
}  # fmt: skip
MEASURES = {
    "frequent_minus_rare": _frequent_minus_rare, "rank_correlation": _rank_correlation, "longest_fifth": _longest_fifth,
    "macro_f1_distant": _distant, "train_minus_dev": _train_minus_dev, "gain_by_features": _gain_by_features,
    "coverage": _coverage,
}  # fmt: skip


def at_precision(run: Run, precision: float) -> np.ndarray:
    """Test answers of a joint run, with `no_relation` in place of those below a confidence chosen on dev.

    The confidence is the lowest from which on dev's answered relations are right with this precision; where none
    is, nothing is answered.
    """
    dev, test = (predictions_of(run, split) for split in SCORED)
    answered = dev[dev.label_pred != NO_RELATION]
    cut = cut_at(answered.p, answered.label_pred == answered.label_true, precision)
    return np.where(test.p >= cut, test.label_pred, NO_RELATION)

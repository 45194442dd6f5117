"""What claims are weighed with: scores of finished runs on one corpus, with intervals and with what speaks against them.

Runs are read from run.json, history and predictions; nothing is trained. Two systems measured together are scored on
the same draws of test texts: their difference is paired.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import ceil
from warnings import catch_warnings

import numpy as np
import pandas as pd
from scipy.stats import spearmanrho

from tacred_utils.corpora.example import Corpus
from tacred_utils.ground.labels import NO_RELATION, SCORED, TASKS, task_label
from tacred_utils.metrics import counts, groups
from tacred_utils.metrics.counts import ConfusionCounts, mean_where, task_scores
from tacred_utils.metrics.estimates import (
    SEED,
    Clusters,
    Estimate,
    Score,
    clusters_of,
    over_seeds,
    score_estimates,
    single_rows,
)
from tacred_utils.metrics.groups import Bins, entity_distance, sentence_length
from tacred_utils.metrics.postprocessing import cut_at
from tacred_utils.paper import published
from tacred_utils.runs.catalog import Missing, RunCatalog, SystemAnswers, predictions_of
from tacred_utils.runs.store import Run

FEWEST_ROWS = 100  # gold relations in the rows measured: with fewer, an F1 of 0.5 is known to no better than 0.1
FEWEST_RELATIONS = 10  # that an average, spread or rank is over: with fewer, one relation can turn it
MOSTLY_NONE = 0.5  # share of no_relation from which on a corpus can speak of imbalance and of detection
STOPPED = "a run that was stopped while dev still rose"
PRECISE = 0.9  # what an automatic system is asked for


@dataclass(frozen=True)
class Measured:
    """An estimate and the reasons why no verdict may rest on it; without a reason, one may."""

    estimate: Estimate
    against: tuple[str, ...] = ()


def score_systems(
    systems: Sequence[SystemAnswers], score: Score, rows: np.ndarray | None = None, draws: int = 1000, seed: int = SEED,
    clusters: Clusters | None = None,
) -> list[Estimate]:  # fmt: skip
    """A score of each system, as `metrics.estimates` has it, on the same rows, or on a part of them (`rows`, bool)."""
    gold, labels = systems[0].gold, systems[0].labels
    assert all([np.array_equal(system.gold, gold) for system in systems]), "systems must answer the same rows"
    rows, score = np.ones(len(gold), bool) if rows is None else rows, COUNTED.get(score, score)
    answers = [[np.asarray(answer)[rows] for answer in system.answers] for system in systems]
    return score_estimates(gold[rows], answers, score, labels, clusters[rows] if clusters else None, draws, seed)


@dataclass(frozen=True)
class Measures:
    """The measures that can be taken of the runs on one corpus; all raise `Missing` for what is not there.

    Systems are named as `RunCatalog.system` reads them. `unit` resamples "rows" or "sentences" in place of the
    study's own unit.
    """

    catalog: RunCatalog
    draws: int = 1000
    unit: str = ""

    @cached_property
    def corpus(self) -> Corpus:
        """The rows, with or without their text."""
        if self.catalog.text is None:
            raise Missing(f"the rows of {self.catalog.corpus}")
        return self.catalog.text

    @cached_property
    def clusters(self) -> Clusters:
        """What is resampled of the test split."""
        if self.unit == "rows":
            return single_rows(len(self.corpus.test))
        if self.unit == "sentences":
            return Clusters.of([" ".join(row.token) for row in self.corpus.test])
        return clusters_of(self.corpus.test)

    @cached_property
    def gold(self) -> np.ndarray:
        return np.array([row.relation for row in self.corpus.test], object)

    @cached_property
    def trained(self) -> pd.Series:
        """Training rows by label, the most frequent first."""
        return pd.Series([row.relation for row in self.corpus.train]).value_counts()

    def score(self, score: str, of: str, minus: str = "", imbalance: bool = False) -> Measured:
        """One of counts.SCORES or `COUNTED` of a system, or of it less another; `imbalance`: needs a corpus that has it."""
        systems = self._systems(of, minus)
        over_relations = score.startswith("macro") or score == "unevenness"
        found = self._estimate(systems, score)
        if score in COUNTED:
            found = replace(found, parts=())  # no F1: it has neither floor nor ceiling
        against = self._against(systems, self.gold, over_relations)
        share = (self.gold == NO_RELATION).mean()
        if imbalance and share < MOSTLY_NONE:
            against += (f"only {share:.0%} of its rows are no_relation",)
        return Measured(found, against)

    def like_for_like(self, of: str, minus: str = "") -> Measured:
        """What training on relations alone gains in macro F1 on gold relations, over the joint model confined to them.

        `of` is "family variant settings", without a task; `minus` another, whose gain is taken off.
        """
        names = [name for name in (of, minus) if name]
        systems = [
            self.catalog.system(" ".join([family, task, *rest]))
            for family, *rest in map(str.split, names) for task in ("relation_only", "restricted")
        ]  # fmt: skip
        found = self._estimates(systems, "macro_f1")
        gains = [alone - joint for alone, joint in zip(found[::2], found[1::2], strict=True)]
        against = self._against(systems, self.gold, over_relations=True)
        gain = gains[0] if not minus else gains[0] - gains[1]
        return Measured(replace(gain, parts=tuple(each.value for each in found)), against)

    def by_frequency(self, of: str) -> Measured:
        """F1 of the half of the relations with most training rows, less that of the others."""
        systems = self._systems(of)
        found = self._estimate(systems, frequency_gap(self.trained))
        return Measured(found, self._against(systems, self.gold, over_relations=True))

    def by_support(self, of: str) -> Measured:
        """Rank correlation of a relation's F1 (mean over seeds) with its training rows; relations are resampled."""
        [system] = self._systems(of)
        counted = [counts.confusion_counts(system.gold, answer, system.labels) for answer in system.answers]
        there = counted[0].relation & (counted[0].gold > 0)
        f1, rows = np.mean([each.f1 for each in counted], axis=0), self.trained.reindex(system.labels).fillna(0)
        found = rank_correlation(f1[there], rows[there], self.draws)
        return Measured(found, self._against([system], self.gold, over_relations=True))

    def longest_fifth(self, of: str) -> Measured:
        """Micro F1 in the longest fifth of the test rows by words less that in the others, at one mix of labels."""
        [system] = self._systems(of)
        words = np.array([sentence_length(row) for row in self.corpus.test])
        longest = words > np.quantile(words, 0.8)
        bins = Bins(["others", "longest"], longest.astype(int))
        weights, answers = groups.same_mix(bins, self.gold), dict(enumerate(system.answers))
        drawn = groups.drawn_scores(system.gold, answers, bins, system.labels, self.draws, weights, self.clusters)
        values = np.array([scores["micro_f1"][:, 1] - scores["micro_f1"][:, 0] for scores in drawn.values()])
        found = Estimate.of_models(values[:, 0], values[:, 1:], self.clusters.size, self.clusters.unit)
        return Measured(found, self._against([system], self.gold[longest]))

    def over_distance(self, of: str, minus: str) -> Measured:
        """What the first gains over the second in micro F1 where entities are far apart, less its gain elsewhere."""
        systems = self._systems(of, minus)
        words = np.array([entity_distance(row) for row in self.corpus.test])
        far = words > np.median(words)
        effects = []
        for rows, seed in ((far, SEED), (~far, SEED + 1)):
            one, other = score_systems(systems, "micro_f1", rows, self.draws, seed, self.clusters)
            effects.append(one - other)
        found = replace(effects[0] - effects[1], parts=effects[0].parts + effects[1].parts)
        return Measured(found, self._against(systems, self.gold[far]))

    def after_the_best(self, of: str) -> Measured:
        """Dev F1 in the last quarter of training less that in the best quarter: below 0, going on cost something.

        Means over epochs, since the best of many noisy scores is too good. The interval is over seeds alone.
        """
        [system] = self._systems(of)
        falls = np.array([_after_best(run) for run in system.runs])
        found = Estimate.of_models(falls, np.repeat(falls[:, None], self.draws, axis=1), len(falls), "seeds")
        against = self._against([system], self.gold)
        return Measured(found, against if len(falls) > 1 else (*against, "one seed"))

    def coverage(self, of: str) -> Measured:
        """Share of relations found when only answers above a confidence count: the lowest with 90 % precision on dev."""
        [system] = self._systems(of)
        answers = [at_precision(run, PRECISE) for run in system.runs]
        sure = SystemAnswers(system.name, system.gold, answers, system.labels, system.runs)
        return Measured(self._estimate([sure], "micro_r"), self._against([system], self.gold))

    def _systems(self, *names: str) -> list[SystemAnswers]:
        return [self.catalog.system(name) for name in names if name]

    def _estimates(self, systems: Sequence[SystemAnswers], score: Score) -> list[Estimate]:
        clusters = self.clusters if len(systems[0].gold) == len(self.gold) else self.clusters[self.gold != NO_RELATION]
        return score_systems(systems, score, None, self.draws, clusters=clusters)

    def _estimate(self, systems: Sequence[SystemAnswers], score: Score) -> Estimate:
        """Of one system, or of the first of two less the second."""
        first, *other = self._estimates(systems, score)
        return first - other[0] if other else first

    def _against(
        self, systems: Sequence[SystemAnswers], gold: np.ndarray, over_relations: bool = False
    ) -> tuple[str, ...]:
        """Why nothing may rest on these systems and on rows with this gold; no reason, if something may."""
        found, relations = [self.catalog.stamp] if self.catalog.stamp else [], gold[gold != NO_RELATION]
        if len(relations) < FEWEST_ROWS:
            found.append(f"{len(relations)} rows with a relation, fewer than {FEWEST_ROWS}")
        if over_relations and len(set(relations)) < FEWEST_RELATIONS:
            found.append(f"{len(set(relations))} relations, fewer than {FEWEST_RELATIONS}")
        runs = [run for system in systems for run in system.runs]
        if any(
            str(run.info["settings"].get("model", "")).startswith("own_") for run in runs
        ):  # trained here, for minutes
            found.append("a stand-in for a pre-trained model")
        if any(run.dev_still_rose for run in runs):
            found.append(STOPPED)
        return tuple(found)


def no_relation_share(counted: ConfusionCounts) -> np.ndarray:
    """Share of rows answered `no_relation`."""
    return counted.predicted[..., ~counted.relation].sum(-1) / counted.gold.sum(-1)


def no_relation_excess(counted: ConfusionCounts) -> np.ndarray:
    """Share of rows answered `no_relation` minus its share in gold: above 0, the system leans on it."""
    return no_relation_share(counted) - counted.gold[..., ~counted.relation].sum(-1) / counted.gold.sum(-1)


def unevenness(counted: ConfusionCounts) -> np.ndarray:
    """Standard deviation of F1 over relations."""
    f1, there = _relation_f1(counted)
    return np.sqrt(mean_where((f1 - mean_where(f1, there)[..., None]) ** 2, there))


COUNTED = {
    "no_relation_share": no_relation_share, "no_relation_excess": no_relation_excess, "unevenness": unevenness,
}  # fmt: skip


def frequency_gap(trained: pd.Series) -> Callable[[ConfusionCounts], np.ndarray]:
    """A score: mean F1 of the half of the relations with most training rows minus that of the others.

    `trained` gives rows by label; a relation in the middle is rare, and one that a draw has lost has no F1.
    """
    return lambda counted: np.subtract(*_halves(counted, trained))


def rare_half(trained: pd.Series) -> Callable[[ConfusionCounts], np.ndarray]:
    """A score: mean F1 of the half of the relations with fewest training rows, the other side of `frequency_gap`."""
    return lambda counted: _halves(counted, trained)[1]


def _halves(counted: ConfusionCounts, trained: pd.Series) -> list[np.ndarray]:
    """Mean F1 of the frequent half of the relations and of the rare one, of the shape of the leading axes."""
    f1, there = _relation_f1(counted)
    rows = trained.reindex(counted.labels).fillna(0).to_numpy()[counted.relation]
    halves = np.split(np.argsort(-rows, kind="stable"), [len(rows) // 2])
    return [mean_where(f1[..., half], there[..., half]) for half in halves]


def _relation_f1(counted: ConfusionCounts) -> tuple[np.ndarray, np.ndarray]:
    """F1 (..., relations), and whether a relation occurs: one that a draw has lost has no F1."""
    return counted.f1[..., counted.relation], (counted.gold + counted.predicted > 0)[..., counted.relation]


def rank_correlation(f1: np.ndarray, trained: Sequence[float], draws: int = 1000) -> Estimate:
    """Spearman's rho between the F1 of relations and their training rows, both (relations,); relations are resampled."""
    pairs = np.array([f1, trained], float)  # (2, relations)
    chosen = np.random.default_rng(SEED).integers(pairs.shape[1], size=(draws, pairs.shape[1]))
    with catch_warnings(action="ignore"):  # of a constant side, which correlates with nothing
        found = [np.nan_to_num(spearmanrho(*each, axis=-1).statistic) for each in (pairs, pairs[:, chosen])]
    return Estimate.from_draws(*found, pairs.shape[1], "relations")


def _after_best(run: Run) -> float:
    """Mean dev score of the last quarter of a run's epochs minus that of its best quarter (consecutive epochs)."""
    column = f"dev_{run.info['settings'].get('select')}"
    if column not in run.history:
        raise Missing(f"the history of {run.folder.name} by epoch")
    dev = run.history[column]
    means = dev.rolling(ceil(len(dev) / 4)).mean()
    return float(means.iloc[-1] - means.max())


def at_precision(run: Run, precision: float) -> np.ndarray:
    """Test answers of a joint run, with `no_relation` in place of those below a confidence chosen on dev.

    The confidence is the lowest from which on dev's answered relations are right with this precision; where none
    is, nothing is answered.
    """
    dev, test = (predictions_of(run, split) for split in SCORED)
    answered = dev[dev.label_pred != NO_RELATION]
    cut = cut_at(answered.p, answered.label_pred == answered.label_true, precision)
    return np.where(test.p >= cut, test.label_pred, NO_RELATION)


# Summary tables over runs: every system of the study by task and score, beside trivial, published and the paper's.


def system_table(catalog: RunCatalog, scores: Sequence[str]) -> pd.DataFrame:
    """All headline systems of a corpus by task, mean and range over seeds; trivial and published ones beside them.

    Joint and detection are scored on the whole test split; relation_only on gold relations (oracle detection).
    """
    rows = []
    for (task, name), part in catalog.frame[catalog.frame.system != ""].groupby(["task", "system"]):
        texts = score_texts([run.metrics["test"] for run in part.run], scores)
        rows.append({"task": task, "system": name, "seeds": len(part)} | texts)
    rows += [row for task in TASKS if task in set(catalog.frame.task) for row in _trivial(catalog, task, scores)]
    for row in published.literature(catalog.corpus).itertuples():
        if row.score in scores:
            rows.append({"task": "joint", "system": f"{row.system} ({row.source})", row.score: f"{row.value:.3f}"})
    frame = pd.DataFrame(rows).astype({"seeds": "Int64"})
    columns = ["task", "system", "seeds", *(score for score in scores if score in frame)]
    frame = frame[columns].fillna(dict.fromkeys(scores, ""))
    return frame.sort_values("task", key=lambda names: names.map(TASKS.index), kind="stable").reset_index(drop=True)


def score_texts(results: Sequence[Mapping[str, float]], scores: Iterable[str]) -> dict[str, str]:
    """Scores of a system's seeds as text: the mean, with its range where there are several."""
    shown = over_seeds(results).reindex(scores).dropna(subset="value")
    ranges = [f" ({row.low:.3f}–{row.high:.3f})" if row.n > 1 else "" for row in shown.itertuples()]
    return {score: f"{value:.3f}{text}" for score, value, text in zip(shown.index, shown.value, ranges, strict=True)}


def _trivial(catalog: RunCatalog, task: str, scores: Sequence[str]) -> list[dict[str, object]]:
    """Rows of the trivial systems; the majority per type pair needs the sentences' entity types."""
    gold = predictions_of(catalog.frame.run.iloc[0]).label_true
    answers = {"always no_relation": counts.always_no_relation(gold)}
    if catalog.text:
        train = [row for row in catalog.text.train if task != "relation_only" or row.relation != NO_RELATION]
        answers["majority per type pair"] = counts.majority_by_type_pair(train, catalog.text.test)
    rows = []
    for name, answer in answers.items():
        values = task_scores(task, gold.tolist(), [task_label(task, label) for label in answer], None)
        rows.append({"task": task, "system": name} | score_texts([values], scores))
    return rows


def stricter(catalog: RunCatalog, score: str) -> pd.DataFrame:
    """A score of every joint system, mean over seeds, as it is and by other counts. Needs the corpus' rows.

    Columns system, seeds, score; `unread wrong`, where rows that the reader had to leave out count as gold relations that
    were not found; `new sentences`, on the test rows whose sentence does not stand in training; and where relations have
    evidence, `evidence here`, without those whose evidence is not known to be in the sentence.
    """
    text, rows = catalog.text, []
    kept = {"new sentences": ~np.array(text.in_training("test"))}
    if any(row.evidence for row in text.test):
        kept["evidence here"] = np.array([bool(row.evidence) or row.relation == NO_RELATION for row in text.test])
    unread = pd.Series(text.left_out.get("test", []), dtype=object).value_counts()
    frame = catalog.frame[(catalog.frame.system != "") & (catalog.frame.task == "joint")]
    for name, part in frame.groupby("system"):
        found = []
        for run in part.run:
            answers = predictions_of(run)
            counted = counts.confusion_counts(answers.label_true, answers.label_pred, run.classes)
            missed = unread.reindex(counted.labels).fillna(0).to_numpy()
            ways = {score: counted, "unread wrong": replace(counted, gold=counted.gold + missed)}
            for way, mask in kept.items():
                ways[way] = counts.confusion_counts(answers.label_true[mask], answers.label_pred[mask], run.classes)
            found.append({way: float(each.scores()[score]) for way, each in ways.items()})
        rows.append({"system": name, "seeds": len(part)} | pd.DataFrame(found).mean().to_dict())
    return pd.DataFrame(rows).sort_values(score, ascending=False, ignore_index=True)

"""What a claim is weighed with: systems (finished runs, published predictions), and scores with intervals.

Runs are read from run.json and predictions alone; nothing is trained, and no corpus is needed unless a function asks
for the sentences. Two systems estimated together are scored on the same draws of rows, so that their difference is
paired.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd

from tacred_utils import metrics
from tacred_utils.corpus import Corpus
from tacred_utils.decouple import best_threshold
from tacred_utils.errors import UserError
from tacred_utils.experiments import declared
from tacred_utils.labels import NO_RELATION, RELATION, TASKS, order_labels, task_label
from tacred_utils.metrics import Tally
from tacred_utils.runs import Run, find_runs, task_scores
from tacred_utils.settings import load_profile

Score = str | Callable[[Tally], np.ndarray]  # a name of metrics.SCORES, or a function of the counts
SEED = 13  # of all draws


@dataclass(frozen=True)
class Estimate:
    """A score, and what it comes to on each bootstrap draw of n test rows."""

    value: float
    drawn: np.ndarray  # (draws,)
    n: int

    def __sub__(self, other: "Estimate") -> "Estimate":
        return Estimate(self.value - other.value, self.drawn - other.drawn, min(self.n, other.n))

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % percentile interval."""
        low, high = np.quantile(self.drawn, [0.025, 0.975])
        return float(low), float(high)


@dataclass(frozen=True)
class System:
    """The answers of one system on one corpus' test rows, an array for each seed; none where no run is finished."""

    name: str
    gold: np.ndarray  # (rows,) labels
    answers: list[np.ndarray]  # seeds × (rows,)
    labels: list[str] = field(default_factory=list)  # what is scored over; empty: what occurs
    runs: list[Run] = field(default_factory=list)


def estimates(
    systems: Sequence[System], score: Score, rows: np.ndarray | None = None, draws: int = 1000, seed: int = SEED
) -> list[Estimate]:
    """The score of each system, averaged over its seeds, all on the same draws of test rows.

    A draw takes rows with replacement and, of a system with several seeds, as many seeds with replacement: the
    interval covers both. `rows` (bool, of all rows) restricts to a part. The systems must answer the same rows.
    """
    gold = systems[0].gold
    rows = np.ones(len(gold), bool) if rows is None else rows
    assert all([np.array_equal(system.gold, gold) for system in systems]), "systems must answer the same rows"
    answers = [answer[rows] for system in systems for answer in system.answers]
    labels = systems[0].labels or order_labels({*gold, *(label for answer in answers for label in answer)})
    exact = [_value(metrics.tally(gold[rows], answer, labels), score) for answer in answers]
    drawn = [_value(tally, score) for tally in metrics.resample(gold[rows], answers, labels, draws, seed)]
    found, rng, start = [], np.random.default_rng(seed), 0
    for system in systems:
        size = len(system.answers)
        values = np.array(drawn[start : start + size])  # (seeds, draws)
        chosen = rng.integers(size, size=values.shape)
        mean = np.take_along_axis(values, chosen, axis=0).mean(axis=0)
        found.append(Estimate(float(np.mean(exact[start : start + size])), mean, int(rows.sum())))
        start += size
    return found


def _value(tally: Tally, score: Score) -> np.ndarray:
    return tally.scores()[score] if isinstance(score, str) else score(tally)


def no_relation_share(tally: Tally) -> np.ndarray:
    """Share of rows answered `no_relation`."""
    return tally.predicted[..., tally.labels.index(NO_RELATION)] / tally.gold.sum(-1)


def no_relation_excess(tally: Tally) -> np.ndarray:
    """Share of rows answered `no_relation` minus its share in gold: above 0, the system leans on it."""
    return no_relation_share(tally) - tally.gold[..., tally.labels.index(NO_RELATION)] / tally.gold.sum(-1)


def unevenness(tally: Tally) -> np.ndarray:
    """Standard deviation of F1 over relations; those that a draw has lost are left out."""
    return np.nanstd(_relation_f1(tally), axis=-1)


def frequent_minus_rare(support: Sequence[float]) -> Callable[[Tally], np.ndarray]:
    """The score: mean F1 of the half of relations with most rows minus that of the others.

    `support` gives rows by relation in the order of the labels without `no_relation`; a middle one is rare.
    """
    order = np.argsort(-np.asarray(support), kind="stable")
    frequent, rare = np.split(order, [len(order) // 2])

    def gap(tally: Tally) -> np.ndarray:
        f1 = _relation_f1(tally)
        return np.nanmean(f1[..., frequent], axis=-1) - np.nanmean(f1[..., rare], axis=-1)

    return gap


def _relation_f1(tally: Tally) -> np.ndarray:
    relation = np.array([label != NO_RELATION for label in tally.labels])
    return np.where(tally.gold + tally.predicted > 0, tally.f1, np.nan)[..., relation]


def rank_correlation(f1: pd.Series, count: pd.Series) -> Estimate:
    """Spearman's rho between F1 and rows of a class, drawn over classes (a bootstrap of pairs)."""
    pairs = np.column_stack([f1, count])
    picks = np.random.default_rng(SEED).integers(len(pairs), size=(1000, len(pairs)))
    drawn = [pd.DataFrame(pairs[pick]).rank().corr().iloc[0, 1] for pick in picks]
    return Estimate(float(pd.DataFrame(pairs).rank().corr().iloc[0, 1]), np.nan_to_num(drawn), len(pairs))


# Finished runs


@dataclass(frozen=True)
class Shelf:
    """The finished runs of one corpus: a frame with family, variant ("" for none), task, seed, changed, run.

    `changed` is what differs from the profile's settings, as JSON: "{}" for a headline row. `text` is the corpus
    itself, where its files are there and are those that the runs were trained on.
    """

    corpus: str
    frame: pd.DataFrame
    text: Corpus | None = None

    @property
    def facts(self) -> dict[str, object]:
        return self.frame.run.iloc[0].info["corpus"]

    @property
    def stamp(self) -> str:
        """SYNTHETIC, the subset, or nothing for a complete real corpus."""
        return "SYNTHETIC" if self.facts["synthetic"] else self.facts["subset"]

    def system(self, family: str, task: str = "joint", variant: str = "", **changed: object) -> System:
        """The system of these runs, as the task is scored: relation_only on gold relations, detection folded."""
        runs = self._runs(family, task, variant, changed)
        name = ", ".join(filter(None, [family, variant, task, *(f"{key}={value}" for key, value in changed.items())]))
        if not runs:
            return System(name, np.array([]), [])
        frames = [run.predictions() for run in runs]
        scored = (frames[0].label_true != NO_RELATION) | (task != "relation_only")
        gold = frames[0].label_true[scored].map(lambda label: task_label(task, label)).to_numpy()
        answers = [frame.label_pred[scored].to_numpy() for frame in frames]
        return System(name, gold, answers, runs[0].classes, runs)

    def composed(self, family: str, variant: str = "") -> System:
        """Detection, then classification of every detected row, by seed; the threshold has the best F1 on dev."""
        name = ", ".join(filter(None, [family, variant, "two stages"]))
        parts = [self._runs(family, task, variant, {}) for task in ("detection", "relation_only")]
        pairs = [(one, other) for one in parts[0] for other in parts[1] if one.info["seed"] == other.info["seed"]]
        if not pairs:
            return System(name, np.array([]), [])
        gold = pairs[0][0].predictions().label_true.to_numpy()
        labels = order_labels([NO_RELATION, *pairs[0][1].classes])
        return System(name, gold, [_composed(*pair) for pair in pairs], labels, [run for pair in pairs for run in pair])

    def _runs(self, family: str, task: str, variant: str, changed: dict[str, object]) -> list[Run]:
        frame, text = self.frame, json.dumps(changed, sort_keys=True)
        wanted = (frame.family == family) & (frame.task == task) & (frame.variant == variant) & (frame.changed == text)
        return frame.run[wanted].tolist()


def shelves(folders: Iterable[Path], texts: Iterable[Corpus] = ()) -> dict[str, Shelf]:
    """The finished runs below these folders by corpus; the first folder that has a run gives it.

    Of each corpus only the runs on its largest version count: a subset's scores must not be mixed with the whole's.
    Runs of families and variants that this version of the study does not know are passed over.
    """
    runs: dict[tuple[str, str], Run] = {}
    for folder in folders:
        for run in find_runs(folder) if folder.is_dir() else []:
            runs.setdefault((run.folder.parent.name, run.folder.name), run)
    rows = [
        {"corpus": corpus, "data": json.dumps(run.info["corpus"]["sha256"], sort_keys=True),
         "rows": sum(run.info["corpus"]["rows"].values()), "family": run.info["family"],
         "variant": run.info["variant"] or "", "task": run.info["task"], "seed": run.info["seed"],
         "changed": changed, "run": run}
        for (corpus, _), run in runs.items() if (changed := _changed(run)) is not None
    ]  # fmt: skip
    frame = pd.DataFrame(rows)
    found, texts = {}, {json.dumps(text.digests, sort_keys=True): text for text in texts}
    for corpus, part in frame.groupby("corpus") if rows else []:
        data = part.data[part["rows"].idxmax()]
        kept = part[part.data == data].sort_values(["family", "variant", "task", "changed", "seed"])
        found[corpus] = Shelf(corpus, kept.reset_index(drop=True), texts.get(data))
    return found


def _composed(detector: Run, classifier: Run) -> np.ndarray:
    chances = {split: _p_relation(detector.predictions(split)) for split in ("dev", "test")}
    threshold = best_threshold(detector.predictions("dev").label_true != NO_RELATION, chances["dev"])
    return np.where(chances["test"] > threshold, classifier.predictions().label_pred, NO_RELATION)


def _p_relation(frame: pd.DataFrame) -> np.ndarray:
    return np.where(frame.label_pred == RELATION, frame.p, 1 - frame.p)


def _changed(run: Run) -> str | None:
    try:
        usual = _usual(run.info["profile"], run.info["family"], run.info["variant"])
    except UserError:
        return None
    settings = run.info["settings"]
    return json.dumps({key: value for key, value in settings.items() if usual.get(key) != value}, sort_keys=True)


@lru_cache
def _usual(profile: str, family: str, variant: str | None) -> dict[str, object]:
    return msgspec.to_builtins(load_profile(profile).settings(family, variant))


def at_precision(run: Run, precision: float) -> np.ndarray:
    """Test answers of a joint run, with `no_relation` in place of those below a confidence chosen on dev.

    The confidence is the lowest from which on dev's answered relations are right with this precision; where none
    is, nothing is answered.
    """
    dev, test = (run.predictions(split) for split in ("dev", "test"))
    answered = dev[dev.label_pred != NO_RELATION].sort_values("p", ascending=False, kind="stable")
    right = (answered.label_pred == answered.label_true).cumsum() / np.arange(1, len(answered) + 1)
    last = answered.p != answered.p.shift(-1)  # equal confidences stay together
    cut = answered.p[(right >= precision) & last].min()  # NaN if there is none
    return np.where(test.p >= cut, test.label_pred, NO_RELATION)


# Summary tables


def summary(shelf: Shelf, scores: Sequence[str]) -> pd.DataFrame:
    """All headline systems of a corpus by task, mean ± deviation over seeds, with the trivial systems beside them.

    Joint and detection are scored on the whole test split; relation_only on gold relations (oracle detection).
    """
    headline = {("", "", "{}")} | {
        (e.family, e.variant or "", json.dumps(e.set, sort_keys=True)) for e in declared() if e.every_seed
    }
    keys = ["task", "family", "variant", "changed"]
    rows = []
    for (task, family, variant, changed), part in shelf.frame.groupby(keys):
        if changed == "{}" or (family, variant, changed) in headline:
            more = [f"{key}={value}" for key, value in json.loads(changed).items()]
            name = ", ".join(filter(None, [family, variant, *more]))
            rows.append({"task": task, "system": name, "seeds": len(part)} | _cells(part.run, scores))
    rows += [row for task in TASKS for row in _trivial(shelf, task, scores)]
    frame = pd.DataFrame(rows)
    return frame.sort_values("task", key=lambda names: names.map(TASKS.index), kind="stable").reset_index(drop=True)


def _cells(runs: Iterable[Run], scores: Sequence[str]) -> dict[str, str]:
    table = metrics.over_seeds([run.metrics["test"] for run in runs])
    return {score: _cell(*table.loc[score, ["mean", "sd"]]) for score in scores if score in table.index}


def _cell(mean: float, deviation: float) -> str:
    return f"{mean:.3f}" if np.isnan(deviation) else f"{mean:.3f} ± {deviation:.3f}"


def _trivial(shelf: Shelf, task: str, scores: Sequence[str]) -> list[dict[str, object]]:
    """Rows of the trivial systems; the majority per type pair needs the sentences' entity types."""
    gold = shelf.frame.run.iloc[0].predictions().label_true
    answers = {"always no_relation": pd.Series(NO_RELATION, gold.index)}
    if shelf.text:
        train = [row for row in shelf.text.train if task != "relation_only" or row.relation != NO_RELATION]
        answers["majority per type pair"] = pd.Series(metrics.majority_by_type_pair(train, shelf.text.test))
    rows = []
    for name, answer in answers.items():
        values = task_scores(task, gold.tolist(), [task_label(task, label) for label in answer], None)
        rows.append({"task": task, "system": name} | {s: _cell(values[s], np.nan) for s in scores if s in values})
    return rows

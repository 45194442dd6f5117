"""What a claim is weighed with: systems (finished runs, published predictions), and scores with intervals.

Runs are read from run.json, history and predictions; nothing is trained, and sentences are asked for only where a
measure is about them. Two systems measured together are scored on the same draws of rows: their difference is paired.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
from scipy.stats import rankdata

from tacred_utils.corpora.example import Corpus, Example
from tacred_utils.corpora.registry import corpus_files
from tacred_utils.ground.errors import UserError
from tacred_utils.ground.labels import NO_RELATION, SCORED, order_labels, task_label
from tacred_utils.metrics import counts
from tacred_utils.metrics.composed import both_answers, compose, p_relation
from tacred_utils.metrics.counts import ConfusionCounts, mean_where
from tacred_utils.metrics.estimates import SEED, Clusters, Estimate, Score
from tacred_utils.metrics.estimates import estimates as estimated
from tacred_utils.metrics.groups import entity_distance, sentence_length
from tacred_utils.metrics.postprocessing import cut_at
from tacred_utils.runs.data import load_corpus
from tacred_utils.runs.experiments import declared
from tacred_utils.runs.profile import load_profile, parse_overrides
from tacred_utils.runs.store import Run, find_runs

IDENTITY = ["family", "variant", "task", "changed", "seed"]  # columns that tell runs of one corpus apart
TWO_STAGES, GATED, RESTRICTED = "two_stages", "gated", "restricted"  # tasks that are put together from runs


class Missing(Exception):
    """What a measure needs and does not find, in words."""


@dataclass(frozen=True)
class System:
    """The answers of one system to one corpus' test rows, an array for each seed."""

    name: str
    gold: np.ndarray  # (rows,) labels, as its task has them
    answers: list[np.ndarray]  # seeds × (rows,)
    labels: list[str]  # what is scored over
    runs: list[Run] = field(default_factory=list)
    counts: pd.Series | None = None  # rows by class that it learned from, where they are known


# Finished runs of one corpus


@dataclass(frozen=True)
class Shelf:
    """The finished runs of one corpus: a frame with family, variant ("" for none), task, seed, changed, run, system.

    `changed` is what differs from the profile's settings, as JSON: "{}" for a headline row. `text` is the corpus
    itself, where its files are there and are those that the runs were trained on.
    """

    corpus: str
    frame: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=[*IDENTITY, "run"]))
    text: Corpus | None = None

    @property
    def facts(self) -> dict[str, object]:
        return self.frame.run.iloc[0].info["corpus"]

    @property
    def stamp(self) -> str:
        """SYNTHETIC, the subset, or nothing for a complete real corpus."""
        return "SYNTHETIC" if self.facts["synthetic"] else self.facts["subset"]

    def system(self, spec: str) -> System:
        """The system "family task [variant] [setting=value …]", scored as its task is; raises `Missing`.

        The tasks are the three of the study, and three that are put together: `two_stages`, detection and then
        classification of every detected row; `gated`, the joint model read in the same way (both thresholds are chosen
        on dev); `restricted`, the joint model's best relation for gold relations.
        """
        family, task, *more = spec.split()
        changed = parse_overrides([word for word in more if "=" in word])
        variant = " ".join(word for word in more if "=" not in word)
        if task == TWO_STAGES:
            detectors, namers = (self._runs(family, name, variant, changed) for name in ("detection", "relation_only"))
            pairs = [(one, other) for one in detectors for other in namers if one.info["seed"] == other.info["seed"]]
            runs, answers = [namer for _, namer in pairs], [_two_stages(*pair) for pair in pairs]
        elif task in (GATED, RESTRICTED):
            runs = [run for run in self._runs(family, "joint", variant, changed) if run.has_log_probs]
            answers = [_gated(run) if task == GATED else _restricted(run) for run in runs]
        else:
            runs = self._runs(family, task, variant, changed)
            answers = [predictions_of(run).label_pred.to_numpy() for run in runs]
        if not runs:
            raise Missing(f"what {spec} is put together from: both runs of a seed, or log-probabilities")
        gold = predictions_of(runs[0]).label_true
        relations_only = task in ("relation_only", RESTRICTED)
        scored = (gold != NO_RELATION) | (not relations_only)
        folded = gold[scored].map(lambda label: task_label(task, label)).to_numpy()
        classes = {*runs[0].classes, NO_RELATION} - ({NO_RELATION} if relations_only else set())
        return System(spec, folded, [answer[scored] for answer in answers], order_labels(classes), runs)

    def far_apart(self) -> np.ndarray:
        """Test rows (bool) with more words between the entities than half of them have; raises `Missing`."""
        words = np.array([entity_distance(row) for row in self._sentences()])
        return words > np.median(words)

    def longest_fifth(self) -> np.ndarray:
        """Test rows (bool) in the longest fifth of sentences by words; raises `Missing`."""
        words = np.array([sentence_length(row) for row in self._sentences()])
        return words > np.quantile(words, 0.8)

    def _sentences(self) -> list[Example]:
        if self.text is None:
            raise Missing(f"the sentences of {self.corpus}")
        return self.text.test

    def _runs(self, family: str, task: str, variant: str, changed: dict[str, object]) -> list[Run]:
        frame, text = self.frame, json.dumps(changed, sort_keys=True)
        wanted = (frame.family == family) & (frame.task == task) & (frame.variant == variant) & (frame.changed == text)
        if not wanted.any():
            settings = " ".join(f"{key}={value}" for key, value in changed.items())
            raise Missing("a run of " + " ".join(filter(None, [family, variant, task, settings])))
        return frame.run[wanted].tolist()


def shelves(folders: Iterable[tuple[Path, str | None]], texts: Iterable[Corpus] = ()) -> dict[str, Shelf]:
    """The finished runs below folders by corpus, of one corpus where the folder comes with its name.

    A run that occurs twice counts once: the newest version of its family, then the first folder. Of each corpus only
    the runs on its largest version count: a subset's scores must not be mixed with the whole's. Runs of families and
    variants that this version of the study does not know are passed over.
    """
    rows = [
        {"corpus": run.folder.parent.name, "data": json.dumps(run.info["corpus"]["sha256"], sort_keys=True),
         "rows": sum(run.info["corpus"]["rows"].values()), "version": run.info["version"],
         "family": run.info["family"], "variant": run.info["variant"] or "", "task": run.info["task"],
         "seed": run.info["seed"], "changed": changed, "run": run, "system": _headline(run, changed)}
        for folder, corpus in folders if folder.is_dir()
        for run in find_runs(folder, corpus) if (changed := _changed(run)) is not None
    ]  # fmt: skip
    found, texts = {}, {json.dumps(text.digests, sort_keys=True): text for text in texts}
    for corpus, part in pd.DataFrame(rows).groupby("corpus") if rows else []:
        data = part.data[part["rows"].idxmax()]
        kept = part[part.data == data].sort_values("version", ascending=False, kind="stable").drop_duplicates(IDENTITY)
        found[corpus] = Shelf(corpus, kept.sort_values(IDENTITY).reset_index(drop=True), texts.get(data))
    return found


def _headline(run: Run, changed: str) -> str:
    """The name of the study's system that the run is of; empty for ablations and for runs of one's own."""
    known = {(e.family, e.variant, json.dumps(e.set, sort_keys=True)): e.system for e in declared() if e.headline}
    return known.get((run.info["family"], run.info["variant"], changed), "")


def open_texts(data_dir: Path) -> list[Corpus]:
    """The complete open corpora whose files are below the data folder: measures of sentences need them."""
    return [
        load_corpus(name, data_dir)
        for name in ("conll04", "kbp37") if all(path.exists() for path in corpus_files(name, data_dir))
    ]  # fmt: skip


def _changed(run: Run) -> str | None:
    """What differs from the profile's settings, as JSON; None for a family, variant or setting that is not known."""
    try:
        usual = _usual(run.info["profile"], run.info["corpus"]["name"], run.info["family"], run.info["variant"])
    except UserError:
        return None
    if run.settings is None:
        return None
    settings = msgspec.to_builtins(run.settings)
    return json.dumps({key: value for key, value in settings.items() if usual[key] != value}, sort_keys=True)


@lru_cache
def _usual(profile: str, corpus: str, family: str, variant: str | None) -> dict[str, object]:
    return msgspec.to_builtins(load_profile(profile).for_corpus(corpus).settings(family, variant))


@lru_cache(maxsize=512)
def predictions_of(run: Run, split: str = "test") -> pd.DataFrame:
    """`run.predictions`, read once."""
    return run.predictions(split)


def _two_stages(detector: Run, namer: Run) -> np.ndarray:
    frames = {split: predictions_of(detector, split) for split in SCORED}
    names = {split: predictions_of(namer, split).label_pred for split in SCORED}
    p = {split: p_relation(frame) for split, frame in frames.items()}
    return np.array(compose(p, names, frames["dev"].label_true).answers["test"])


def _gated(run: Run) -> np.ndarray:
    parts = {split: both_answers(run.log_probs(split), run.classes) for split in SCORED}
    p, names = ({split: part[place] for split, part in parts.items()} for place in (0, 1))
    return np.array(compose(p, names, predictions_of(run, "dev").label_true).answers["test"])


def _restricted(run: Run) -> np.ndarray:
    return np.array(both_answers(run.log_probs(), run.classes)[1])


# Scores with intervals


def estimates(
    systems: Sequence[System], score: Score, rows: np.ndarray | None = None, draws: int = 1000, seed: int = SEED,
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


def measure(score: str, systems: Sequence[System], shelf: Shelf | None = None, draws: int = 1000) -> Estimate:
    """One of `MEASURES` or of counts.SCORES, of one system or as the first minus the second; raises `Missing`."""
    if score in MEASURES:
        return MEASURES[score](systems, shelf, draws)
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


def _frequent_minus_rare(systems: Sequence[System], shelf: Shelf | None, draws: int) -> Estimate:
    """Mean F1 of the half of the relations with most rows minus that of the others; a middle one is rare."""
    relations = [label for label in systems[0].labels if label != NO_RELATION]
    order = np.argsort(-_counts(systems[0])[relations].to_numpy(), kind="stable")
    frequent, rare = np.split(order, [len(order) // 2])

    def gap(counts: ConfusionCounts) -> np.ndarray:
        f1, there = _relation_f1(counts)
        common, other = (mean_where(f1[..., half], there[..., half]) for half in (frequent, rare))
        return common - other

    return _difference(estimates(systems, gap, draws=draws))


def _counts(system: System) -> pd.Series:
    test = pd.Series(system.gold).value_counts().reindex(system.labels, fill_value=0)
    return test if system.counts is None else system.counts


def _rank_correlation(systems: Sequence[System], shelf: Shelf | None, draws: int) -> Estimate:
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


def _longest_fifth(systems: Sequence[System], shelf: Shelf, draws: int) -> Estimate:
    """Macro F1 over relations in the longest fifth minus that in the other rows (drawn apart)."""
    longest = shelf.longest_fifth()
    parts = ((longest, SEED), (~longest, SEED + 1))
    one, other = (estimates(systems[:1], "macro_f1_relations", rows, draws, seed)[0] for rows, seed in parts)
    return one - other


def _distant(systems: Sequence[System], shelf: Shelf, draws: int) -> Estimate:
    return _difference(estimates(systems, "macro_f1", shelf.far_apart(), draws))


def _train_minus_dev(systems: Sequence[System], shelf: Shelf, draws: int) -> Estimate:
    """Macro F1 on training rows, at the epoch whose weights are kept, minus that on dev, drawn over dev's rows."""
    runs, trained = systems[0].runs, []
    for run in runs:
        epochs = run.history.set_index("epoch").train_macro_f1
        trained.append(epochs[run.info.get("epoch_restored") or epochs.index[-1]])
    frames = [predictions_of(run, "dev") for run in runs]
    dev = System("", frames[0].label_true.to_numpy(), [f.label_pred.to_numpy() for f in frames], runs[0].classes)
    found = estimates([dev], "macro_f1", draws=draws)[0]
    return Estimate.drawn(np.mean(trained), np.full(draws, np.mean(trained)), found.n, found.unit) - found


def _gain_by_features(systems: Sequence[System], shelf: Shelf, draws: int) -> Estimate:
    """What joint → relation-only gains in macro F1, of the first minus of the second (tasks drawn apart)."""
    alone = [shelf.system(system.name.replace("joint", "relation_only")) for system in systems]
    gains = [_difference(estimates(pair, "macro_f1", None, draws, SEED + i)) for i, pair in enumerate((alone, systems))]
    return gains[0] - gains[1]


def _coverage(systems: Sequence[System], shelf: Shelf, draws: int) -> Estimate:
    """Share of relations found when only answers above a confidence count: the lowest with 90 % precision on dev."""
    system = systems[0]
    sure = System(system.name, system.gold, [at_precision(run, 0.9) for run in system.runs], system.labels)
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

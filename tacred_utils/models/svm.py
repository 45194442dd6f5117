"""Support vector machines on sparse features: the best linear one, and the paper's recipe (A.1).

Scores become probabilities by Platt's sigmoid (Platt 1999) with one slope and one offset for all classes, found on dev,
and division by their sum. On held-out halves of dev its log loss on kbp37 is 1.54 where a softmax with a temperature has
1.62, and unlike a sigmoid for each class it never changes the machine's answer (that cost 1 to 2 points of F1).
"""

import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from imblearn.over_sampling import SMOTE
from scipy.optimize import minimize
from scipy.sparse import csr_matrix, vstack
from scipy.special import log_expit, log_softmax
from sklearn.svm import SVC, LinearSVC

from tacred_utils.corpora.example import Corpus, Example
from tacred_utils.ground.errors import UserError
from tacred_utils.ground.files import atomic_path, write_text
from tacred_utils.ground.labels import NO_RELATION, SCORED, is_directed, task_classes, task_label
from tacred_utils.inputs.features import BLOCKS, Features, Vocabulary, extract, feature_counts, turned, usable
from tacred_utils.models.settings import FitResult, SvmSettings

TOLERANCE = 1e-3  # of the dual solver; 1e-2 moves F1 on kbp37 dev by 0.0005, so tighter is not needed
MAX_ITERATIONS = 300  # passes over the rows; fits on kbp37, conll04 and at TACRED size end below 50
TRUSTED = ["scipy.sparse._csr.csr_matrix"]  # the one type in a saved RBF machine that skops does not know as harmless
CACHE_MB = 1000  # of libsvm's kernel rows: all of 12,000 × 12,000 would be 1,150


@dataclass
class Weighting:
    """From feature counts (rows, F) to what the machine sees: each of G groups has its weight as length."""

    scale: np.ndarray  # (F,) idf, or ones
    group: np.ndarray  # (F,) index of the column's group
    weight: np.ndarray  # (G,)
    counts: bool  # whether repetitions count, or only presence

    def __call__(self, counts: csr_matrix) -> csr_matrix:
        data = (counts.data if self.counts else np.ones_like(counts.data)) * self.scale[counts.indices]
        group = self.group[counts.indices]
        cell = np.repeat(np.arange(counts.shape[0]), np.diff(counts.indptr)) * len(self.weight) + group
        length = np.sqrt(np.bincount(cell, data.astype(np.float64) ** 2))
        data = (data / length[cell] * self.weight[group]).astype(np.float32)
        return csr_matrix((data, counts.indices, counts.indptr), counts.shape)


@dataclass
class SvmModel:
    """A fitted machine with all that scoring new Examples needs: F features, K classes seen in training."""

    classes: list[str]  # of the task: the columns of the log-probabilities
    seen_classes: list[str]  # the K classes that training has
    vocabulary: Vocabulary
    weighting: Weighting
    coef: np.ndarray  # (F, K), or (F, 1) for two classes; empty for the RBF kernel
    intercept: np.ndarray  # (K,) or (1,)
    kernel: SVC | None = None
    slope: float = 1.0  # of the sigmoid, in the scores
    offset: float = 0.0

    @property
    def reads(self) -> tuple[set[str], set[str]]:
        """Columns that an answer needs, and those that it can do without, at the cost of the blocks made from them."""
        columns = [set(BLOCKS[block].needs) for block in self.vocabulary]
        read = set().union(*columns)
        needed = read & {"types"} if any(part <= {"types"} for part in columns) else read
        return needed, read - needed

    def log_probs(self, examples: list[Example]) -> np.ndarray:
        """(rows, classes) log-probabilities, float32; a class that training lacks has -inf."""
        return self.log_probs_of(feature_counts(examples, self.vocabulary))

    def log_probs_of(self, counts: csr_matrix) -> np.ndarray:
        """The same from feature counts (rows, F)."""
        answer = np.full((counts.shape[0], len(self.classes)), -np.inf, np.float32)
        places = [self.classes.index(label) for label in self.seen_classes]
        answer[:, places] = _calibrated(self.scores(counts), self.slope, self.offset)
        return answer

    def scores(self, counts: csr_matrix) -> np.ndarray:
        """(rows, K) decision values; those of two classes are each other's negative."""
        rows = self.weighting(counts)
        values = self.kernel.decision_function(rows) if self.kernel else rows @ self.coef + self.intercept
        values = values.reshape(len(values), -1).astype(np.float64)
        return np.hstack([-values, values]) if values.shape[1] == 1 else values

    def save(self, folder: Path) -> None:
        """Write model.skops (arrays, and the kernel machine) and model.json (classes and vocabulary)."""
        arrays = {"coef": self.coef, "intercept": self.intercept, "kernel": self.kernel}
        arrays |= {"scale": self.weighting.scale, "group": self.weighting.group, "weight": self.weighting.weight}
        import skops.io  # here: it imports torch, which takes seconds

        with atomic_path(Path(folder) / "model.skops") as temporary, temporary.open("wb") as file:
            skops.io.dump(arrays, file)
        facts = {"classes": self.classes, "known": self.seen_classes, "slope": self.slope, "offset": self.offset}
        facts |= {"counts": self.weighting.counts, "vocabulary": self.vocabulary}
        write_text(Path(folder) / "model.json", json.dumps(facts, ensure_ascii=False))


def load(folder: Path) -> SvmModel:
    """Read a saved model; raises what its readers raise when files are missing or damaged."""
    import skops.io  # here, as in save

    facts = json.loads((Path(folder) / "model.json").read_text(encoding="utf-8"))
    arrays = skops.io.load(Path(folder) / "model.skops", trusted=TRUSTED)
    weighting = Weighting(arrays["scale"], arrays["group"], arrays["weight"], facts["counts"])
    machine = arrays["coef"], arrays["intercept"], arrays["kernel"]
    learned = facts["classes"], facts["known"], facts["vocabulary"], weighting
    return SvmModel(*learned, *machine, facts["slope"], facts["offset"])


def top_features(model: SvmModel, label: str, n: int = 20) -> pd.DataFrame:
    """The n features that speak most for a class: columns block, feature, weight (with that of its group).

    Raises `UserError` for a class that training lacks and for a kernel without feature weights.
    """
    if label not in model.seen_classes or model.kernel:
        raise UserError(f"{label}: this model has no feature weights for it; take a linear one and a known class.")
    column = model.seen_classes.index(label)
    weights = model.coef[:, column] if model.coef.shape[1] > 1 else model.coef[:, 0] * (2 * column - 1)
    weights = weights * model.weighting.scale * model.weighting.weight[model.weighting.group]
    best = np.argsort(-weights, kind="stable")[:n]
    names = {index: (block, name) for block, known in model.vocabulary.items() for name, index in known.items()}
    return pd.DataFrame([(*names[i], float(weights[i])) for i in best], columns=["block", "feature", "weight"])


def fit(corpus: Corpus, task: str, settings: SvmSettings, seed: int, folder: Path | None = None) -> FitResult:
    """Train on one task of a corpus, calibrate on dev, answer every row of dev and test; `folder` is not needed.

    Raises `UserError` when training has fewer than two classes or the corpus fills none of the blocks.
    """
    wanted = [block for group in settings.groups.values() for block in group]
    blocks, lacking = usable(wanted, corpus.columns)
    if not blocks:
        raise UserError(f"corpus {corpus.name}: lacks the columns of all blocks ({', '.join(wanted)}); name others.")
    clock = [time.perf_counter()]
    mirror = settings.mirror and all(is_directed(label) or label == NO_RELATION for label in corpus.labels)
    features = extract(corpus, blocks, mirror)
    clock.append(time.perf_counter())
    model, rows, facts = _train(corpus, task, settings, seed, features)
    clock.append(time.perf_counter())
    model.slope, model.offset = _calibrate(
        model, rows["dev"], [task_label(task, example.relation) for example in corpus.dev]
    )
    log_probs = {split: model.log_probs_of(rows[split]) for split in SCORED}
    clock.append(time.perf_counter())
    seconds = dict(zip(("features", "fit", "predict"), np.diff(clock).round(3).tolist(), strict=True))
    details = {
        "device": "cpu", "dtype": "float32", "blocks": blocks, "blocks_without_columns": lacking, "mirrored": mirror,
        **facts, "calibration_slope": model.slope, "calibration_offset": model.offset, "seconds": seconds,
    }  # fmt: skip
    return FitResult(log_probs, [{"step": 1, "iterations": facts["iterations"]}], details, model.save)


def _train(
    corpus: Corpus, task: str, settings: SvmSettings, seed: int, features: Features
) -> tuple[SvmModel, dict[str, csr_matrix], dict[str, object]]:
    """The fitted machine, the counts of dev and test in its columns, and what to record."""
    classes = task_classes(task, corpus.labels)
    counts, labels = _training_rows(corpus, task, classes, features)
    seen = [label for label in classes if label in set(labels)]
    if len(seen) < 2:
        raise UserError(f"corpus {corpus.name}: training has {len(seen)} class for {task}; a classifier needs two.")
    targets = np.array([seen.index(label) for label in labels])
    chosen = _stratified(targets, settings.max_rows, seed)
    counts, targets = counts[chosen], targets[chosen]
    kept = np.flatnonzero(np.bincount(counts.indices, minlength=counts.shape[1]) >= settings.min_count)
    if not len(kept):
        rare = f"no feature occurs in {settings.min_count} training rows"
        raise UserError(f"corpus {corpus.name}: {rare}; lower min_count.")
    counts = counts[:, kept]
    weighting = _weighting(counts, [features.blocks[column] for column in kept], settings)
    rows = weighting(counts)
    facts = {"training_rows": len(labels), "fitted_rows": len(targets), "features": len(kept)}
    if settings.smote and task == "detection":
        # Chawla et al. 2002: points between neighbours fill the smaller class up; one row has none
        if neighbours := min(5, int(np.bincount(targets).min()) - 1):
            rows, targets = SMOTE(k_neighbors=neighbours, random_state=seed).fit_resample(rows, targets)
        facts["rows_after_smote"] = len(targets)
    machine = _machine(rows, targets, settings, seed)
    linear = settings.kernel == "linear"
    vocabulary: Vocabulary = {block: {} for block in dict.fromkeys(features.blocks)}
    for place, column in enumerate(kept):
        vocabulary[features.blocks[column]][features.names[column]] = place
    model = SvmModel(
        classes, seen, vocabulary, weighting,
        machine.coef_.T.astype(np.float32) if linear else np.zeros((0, 0), np.float32),
        machine.intercept_.astype(np.float32) if linear else np.zeros(0, np.float32),
        None if linear else machine,
    )  # fmt: skip
    facts["iterations"] = int(np.max(machine.n_iter_))
    return model, {split: features.rows[split][:, kept] for split in SCORED}, facts


def _training_rows(corpus: Corpus, task: str, classes: list[str], features: Features) -> tuple[csr_matrix, list[str]]:
    """Counts and labels of the rows that a task trains on: relation_only leaves the negatives out."""
    relations = [example.relation for example in corpus.train]
    counts = features.rows["train"]
    if "mirror" in features.rows:
        counts = vstack([counts, features.rows["mirror"]], format="csr")
        relations += [turned(relation) for relation in relations]
    labels = [task_label(task, relation) for relation in relations]
    chosen = [row for row, label in enumerate(labels) if label in set(classes)]
    return counts[chosen], [labels[row] for row in chosen]


def _stratified(targets: np.ndarray, size: int, seed: int) -> np.ndarray:
    """Indices of a random subset with every class in proportion, and at least one row of each."""
    if size in range(1, len(targets)):
        generator = np.random.default_rng(seed)
        rows = [generator.permutation(np.flatnonzero(targets == target)) for target in np.unique(targets)]
        return np.sort(np.concatenate([own[: max(1, round(len(own) * size / len(targets)))] for own in rows]))
    return np.arange(len(targets))


def _weighting(counts: csr_matrix, blocks: list[str], settings: SvmSettings) -> Weighting:
    group_of = {block: group for group, members in settings.groups.items() for block in members}
    groups = np.array([group_of[block] for block in blocks])
    names, group = np.unique(groups, return_inverse=True)
    weight = np.array([settings.weights.get(name, 1.0) for name in names], np.float32)
    scale = np.ones(len(blocks), np.float32)
    if settings.tfidf:
        frequency = np.bincount(counts.indices, minlength=len(blocks))
        scale = (np.log((1 + counts.shape[0]) / (1 + frequency)) + 1).astype(np.float32)  # as TfidfTransformer's
    return Weighting(scale, group, weight, counts=settings.tfidf)


def _machine(rows: csr_matrix, targets: np.ndarray, settings: SvmSettings, seed: int) -> LinearSVC | SVC:
    sizes = np.bincount(targets)
    weights = dict(enumerate((len(targets) / len(sizes) / sizes) ** settings.balance))
    if settings.kernel == "rbf":
        # scikit-learn's gamma="scale", whose variance rounding may push below 0
        spread = rows.multiply(rows).mean() - rows.mean() ** 2
        gamma = 1 / (rows.shape[1] * spread) if spread > 1e-12 else 1.0
        kernel = SVC(C=settings.c, class_weight=weights, gamma=gamma, cache_size=CACHE_MB, random_state=seed)
        return kernel.fit(rows, targets)
    # One thread: liblinear draws from one generator a process, so fits in parallel threads would not repeat.
    return LinearSVC(
        C=settings.c, class_weight=weights, dual=True, tol=TOLERANCE, max_iter=MAX_ITERATIONS, random_state=seed
    ).fit(rows, targets)


def _calibrate(model: SvmModel, counts: csr_matrix, labels: list[str]) -> tuple[float, float]:
    """Slope and offset that give dev the least log loss, over its rows whose class the model knows."""
    chosen = [row for row, label in enumerate(labels) if label in set(model.seen_classes)]
    if not chosen:
        return 1.0, 0.0
    scores = model.scores(counts[chosen])  # (rows, K)
    gold = [model.seen_classes.index(labels[row]) for row in chosen]

    def loss(parameters: np.ndarray) -> float:
        log_slope, offset = parameters
        return -_calibrated(scores, np.exp(log_slope), offset)[np.arange(len(gold)), gold].mean()

    bounds = [(-3, 3), (-5, 5)]  # dev that is told apart without an error would ask for an endless slope
    log_slope, offset = minimize(loss, [1.0, 0.0], method="Nelder-Mead", bounds=bounds).x
    return float(np.exp(log_slope)), float(offset)


def _calibrated(scores: np.ndarray, slope: float, offset: float) -> np.ndarray:
    """Log-probabilities (rows, K) of decision values."""
    return log_softmax(log_expit(slope * scores + offset), axis=1)

"""The one catalogue of finished runs: which there are on which data, and which system of the study each belongs to.

A run is known by its settings and its data's digest, never by a folder's name: corpora of one name never mix.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from tacred_utils.corpora.example import Corpus
from tacred_utils.ground.errors import UserError
from tacred_utils.ground.files import portable
from tacred_utils.ground.labels import NO_RELATION, SCORED, order_labels
from tacred_utils.metrics.counts import as_scored
from tacred_utils.metrics.postprocessing import both_answers, compose, p_relation
from tacred_utils.runs.experiments import changed_settings, experiment_of, settings_under, system_name
from tacred_utils.runs.profile import parse_overrides
from tacred_utils.runs.store import Run, find_runs

IDENTITY = ["family", "variant", "task", "changed", "seed"]  # columns that tell runs on one corpus apart
TWO_STAGES, GATED, RESTRICTED = "two_stages", "gated", "restricted"  # tasks that are put together from runs


class Missing(Exception):
    """What a measure needs and does not find, in words."""


@dataclass(frozen=True)
class SystemAnswers:
    """The answers of one system to one corpus' test rows."""

    name: str
    gold: np.ndarray  # (rows,) labels, as its task has them
    answers: list[np.ndarray]  # seeds × (rows,)
    labels: list[str]  # what is scored over
    runs: list[Run] = field(default_factory=list)


@dataclass(frozen=True)
class RunCatalog:
    """The finished runs on one version of one corpus.

    `frame` has a row a run: family, variant ("" for none), task, seed, changed, run, experiment, system. `changed` is, as
    JSON, what differs from the profile's settings ("{}" for the recipe as it is); `experiment` is None for a run of one's
    own, and `system` is empty for those and for ablations. `text` is the corpus itself where it was given.
    """

    corpus: str
    frame: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=[*IDENTITY, "run", "system"]))
    text: Corpus | None = None

    @property
    def facts(self) -> dict[str, object]:
        """What run.json says of the corpus; a catalogue without runs has none."""
        return self.frame.run.iloc[0].info["corpus"]

    @property
    def stamp(self) -> str:
        """SYNTHETIC, the subset, or nothing for a complete real corpus."""
        return "SYNTHETIC" if self.facts["synthetic"] else self.facts["subset"]

    def runs(self, family: str, task: str, variant: str = "", changed: Mapping[str, object] | None = None) -> list[Run]:
        """The runs of a family's variant with these settings over the profile's; raises `Missing`."""
        frame, changed = self.frame, changed or {}
        rows = list(frame[(frame.family == family) & (frame.task == task) & (frame.variant == variant)].itertuples())
        runs = [row.run for row in rows if _has_settings(row.run, json.dumps(changed, sort_keys=True))]
        if not runs:
            settings = " ".join(f"{key}={value}" for key, value in changed.items())
            raise Missing("a run of " + " ".join(filter(None, [family, variant, task, settings])))
        return runs

    def system(self, spec: str) -> SystemAnswers:
        """The system "family task [variant] [setting=value …]", scored as its task is; raises `Missing`.

        The tasks are the three of the study, and three that are put together: `two_stages`, detection and then
        classification of every detected row; `gated`, the joint model read in the same way (both thresholds are chosen
        on dev); `restricted`, the joint model's best relation for gold relations.
        """
        family, task, *more = spec.split()
        rest = " ".join(w for w in more if "=" not in w), parse_overrides([word for word in more if "=" in word])
        if task == TWO_STAGES:
            detectors, namers = (self.runs(family, name, *rest) for name in ("detection", "relation_only"))
            pairs = [(one, other) for one in detectors for other in namers if one.seed == other.seed]
            runs, answers = [namer for _, namer in pairs], [two_stages(*pair)["test"] for pair in pairs]
        elif task in (GATED, RESTRICTED):
            runs = [run for run in self.runs(family, "joint", *rest) if run.has_log_probs]
            answers = [_gated(run) if task == GATED else both_answers(run.log_probs(), run.classes)[1] for run in runs]
        else:
            runs = self.runs(family, task, *rest)
            answers = [predictions_of(run).label_pred for run in runs]
        if not runs:
            raise Missing(f"what {spec} is put together from: both runs of a seed, or log-probabilities")
        scored_as = "relation_only" if task == RESTRICTED else task
        rows, gold = as_scored(scored_as, predictions_of(runs[0]).label_true)
        classes = {*runs[0].classes, NO_RELATION} - ({NO_RELATION} if scored_as == "relation_only" else set())
        return SystemAnswers(spec, gold, [np.asarray(each)[rows] for each in answers], order_labels(classes), runs)


def load_catalogs(
    folders: Iterable[tuple[Path, str | None]], texts: Iterable[Corpus] = (), profile: str | None = None
) -> dict[str, RunCatalog]:
    """The finished runs below folders by corpus, of one corpus where the folder comes with its name.

    Of a corpus that is given as text only the runs on that very data count; a subset beside the whole stands as
    `conll04-subset`. Of any other corpus the runs on the largest version count. A run that occurs twice counts once: the
    newest version of its family, then the first folder. Runs are matched to experiments under `profile`, or else each
    under its own; those of families and variants that this version of the study does not know are left out.
    """
    given = {_digests(text.digests): text for text in sorted(texts, key=lambda text: bool(text.subset))}
    names = {text.name for text in given.values()}
    rows = [row for run in _runs(folders) if (row := _row(run, profile)) is not None]
    found: dict[str, RunCatalog] = {}
    for corpus, part in pd.DataFrame(rows).groupby("corpus") if rows else []:
        largest = part.data[part["rows"].idxmax()]
        for data in [data for data in given if data in set(part.data)] if corpus in names else [largest]:
            text, kept = given.get(data), part[part.data == data]
            name = f"{corpus}-subset" if corpus in found and text.subset else corpus
            if name in found:  # of two corpora of one name the first
                continue
            kept = kept.sort_values(["version", "profile"], ascending=[False, True], kind="stable")
            kept = kept.drop_duplicates(IDENTITY).sort_values(IDENTITY).reset_index(drop=True)
            found[name] = RunCatalog(name, kept, text)
    return found


def elsewhere(folders: Iterable[Path], corpus: Corpus, profile: str) -> str:
    """Sentences on the runs of folders that a study on this corpus under this profile does not read: those of other data
    under its name, and the most under another profile or, where there are none on this corpus, on another.
    """
    said = ""
    for folder in folders:
        runs = _runs([(folder, None)])
        others = Counter((run.profile, run.corpus) for run in runs)
        others.pop((profile, corpus.name), None)
        named = [run for run in runs if (run.profile, run.corpus) == (profile, corpus.name)]
        if outdated := sum(run.info["corpus"]["sha256"] != corpus.digests for run in named):
            said += f" {outdated} below {folder} are of other data than what is loaded, and not read."
        own = Counter({each: number for each, number in others.items() if each[1] == corpus.name})
        for (other, name), number in (own or others).most_common(1):
            parameters = f'profile = "{other}", corpus = "{name}", results = "{portable(folder)}"'
            said += f" {number} others lie below {portable(folder)}: {parameters} reads them."
    return said


def _runs(folders: Iterable[tuple[Path, str | None]]) -> list[Run]:
    return [run for folder, corpus in folders if folder.is_dir() for run in find_runs(folder, corpus)]


def _row(run: Run, profile: str | None) -> dict[str, object] | None:
    """A run's row of the catalogue; None for a family, variant or setting that is not known."""
    if run.settings is None:
        return None
    try:
        changed = changed_settings(run, profile or run.profile)
        experiment = experiment_of(run, profile or run.profile, run.corpus)
    except UserError:
        return None
    data, system = run.info["corpus"], ""
    if experiment and not experiment.ablation:
        system = system_name(run.family, run.variant, run.settings, experiment.set, run.task)
    return {
        "corpus": run.folder.parent.name, "data": _digests(data["sha256"]), "rows": sum(data["rows"].values()),
        "version": run.info["version"], "profile": run.profile, "family": run.family, "variant": run.variant or "",
        "task": run.task, "seed": run.seed, "changed": json.dumps(changed, sort_keys=True), "run": run,
        "experiment": experiment, "system": system,
    }  # fmt: skip


def _digests(digests: Mapping[str, str]) -> str:
    return json.dumps(digests, sort_keys=True)


def _has_settings(run: Run, changed: str) -> bool:
    """Whether a run has the settings of its profile but for these, given as JSON."""
    try:
        return run.settings == settings_under(run.profile, run.corpus, run.family, run.variant, changed)
    except UserError:
        return False


@lru_cache(maxsize=512)
def predictions_of(run: Run, split: str = "test") -> pd.DataFrame:
    """`run.predictions`, read once."""
    return run.predictions(split)


def two_stages(detector: Run, namer: Run) -> dict[str, list[str]]:
    """Answers of a detection and a relation-only run put together, by split; the threshold is chosen on dev."""
    p = {split: p_relation(predictions_of(detector, split)) for split in SCORED}
    names = {split: predictions_of(namer, split).label_pred for split in SCORED}
    return _composed(p, names, detector)


def _gated(run: Run) -> list[str]:
    parts = {split: both_answers(run.log_probs(split), run.classes) for split in SCORED}
    p, names = ({split: part[place] for split, part in parts.items()} for place in (0, 1))
    return _composed(p, names, run)["test"]


def _composed(p: Mapping[str, np.ndarray], names: Mapping[str, Sequence[str]], detector: Run) -> dict[str, list[str]]:
    gold = predictions_of(detector, "dev").label_true
    if (gold == NO_RELATION).all():
        raise Missing("a row of dev with a relation, by which a threshold is chosen")
    return compose(p, names, gold).answers

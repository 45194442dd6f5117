"""Which runs the study consists of: the declared experiments of all notebooks, for one profile and corpus."""

import shlex
import tomllib
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import msgspec

from tacred_utils.corpora.example import Corpus
from tacred_utils.ground.labels import TASKS
from tacred_utils.ground.paths import PACKAGE
from tacred_utils.runs.profile import Profile
from tacred_utils.runs.store import Run, Spec, is_done

FAMILY_NAMES = {"svm": "SVM", "bilstm": "BiLSTM", "bert": "BERT", "gpt2": "GPT-2"}  # as tables write them


class Experiment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One entry of experiments.toml: a family and variant on some tasks, with settings that differ from the profile's."""

    notebook: str
    family: str
    variant: str | None = None
    tasks: tuple[str, ...] = TASKS  # "ablation" stands for the profile's ablation_task
    set: dict[str, object] = {}
    every_seed: bool = False  # headline rows run once for each seed of the profile, others for the first only
    ablation: bool = False  # taken apart for its own sake: no headline row, not run on further corpora
    further: bool = True  # whether it runs on the further corpora of a profile as well
    real: bool = False  # not on the synthetic corpus, which decides nothing
    matrices: bool = False  # whether log-probabilities are published of all its runs, for answers made from them
    sketch: bool = False  # whether it takes the profile's sketch settings, below its own

    def changed(self, profile: Profile) -> dict[str, object]:
        """What it sets otherwise than the profile's family and variant."""
        return (profile.sketch if self.sketch else {}) | self.set

    def possible_tasks(self, corpus: Corpus, profile: Profile) -> list[str]:
        """The declared tasks that the corpus allows."""
        return [task for task in self.tasks_under(profile) if task in corpus.tasks]

    def tasks_under(self, profile: Profile) -> list[str]:
        """The declared tasks, with the profile's in place of "ablation"."""
        return [profile.ablation_task if task == "ablation" else task for task in self.tasks]

    def tasks_on(self, corpus: Corpus, profile: Profile) -> list[str]:
        """The tasks that the study runs on a corpus: all that are declared and possible, fewer on further corpora."""
        if self.ablation and not profile.ablations or self.real and corpus.synthetic:
            return []
        further = corpus.name in profile.further_corpora
        possible = self.possible_tasks(corpus, profile)
        return [task for task in possible if not further or task == "joint" and self.further and not self.ablation]

    @property
    def headline(self) -> bool:
        """Whether it is a system of the study, and not one that an ablation changed for its own sake."""
        return not self.ablation

    @property
    def system(self) -> str:
        """`BiLSTM pa_lstm, words=minilm`: how tables and figures name it."""
        title = f"{FAMILY_NAMES[self.family]}{f' {self.variant}' if self.variant else ''}"
        return ", ".join([title, *(f"{key}={value}" for key, value in self.set.items() if value is not False)])


@dataclass(frozen=True)
class Planned:
    """One run that the study wants: its spec, and the settings that were set by hand."""

    spec: Spec
    overrides: dict[str, object] = field(default_factory=dict)


@cache
def declared() -> list[Experiment]:
    """The entries of experiments.toml."""
    table = tomllib.loads((PACKAGE / "runs" / "experiments.toml").read_text(encoding="utf-8"))
    return msgspec.convert(table["experiment"], list[Experiment])


def planned(profile: Profile, corpus: Corpus, seeds: list[int] | None = None) -> list[Planned]:
    """Every run of the study on this corpus under this profile, in the notebooks' order."""
    profile, runs = profile.for_corpus(corpus.name), []
    for experiment in declared():
        changed = experiment.changed(profile)
        settings = profile.settings(experiment.family, experiment.variant, changed)
        for seed in (seeds or profile.seeds)[: None if experiment.every_seed else 1]:
            for task in experiment.tasks_on(corpus, profile):
                run = Planned(Spec(experiment.family, task, seed, settings, experiment.variant), changed)
                runs += [] if any(run.spec == other.spec for other in runs) else [run]  # where nothing is sketched
    return runs


def missing(runs: list[Planned], corpus: Corpus, results: Path) -> list[Planned]:
    """Those of the planned runs that are not done below `results`."""
    return [run for run in runs if not is_done(run.spec.folder(corpus, results))]


def command(run: Planned, options: dict[str, object]) -> str:
    """The shell command that trains a planned run; `options` as for `arguments`."""
    return shlex.join(["python", "-m", "tacred_utils", *arguments(run, options)])


def arguments(run: Planned, options: dict[str, object]) -> list[str]:
    """Those of `train` for a planned run; `options` are the plan's own (corpus, data-dir, …), None left out."""
    spec = run.spec
    words = ["train", "--family", spec.family, "--task", spec.task, "--seed", str(spec.seed)]
    words += ["--variant", spec.variant] if spec.variant else []
    for name, value in options.items():
        words += [f"--{name}", *([] if value is True else [str(value)])] if value is not None else []
    for key, value in run.overrides.items():
        words += ["--set", f"{key}={msgspec.json.encode(value).decode()}"]
    return words


def entry(run: Run, profile: Profile) -> Experiment | None:
    """The declared experiment that a finished run belongs to under this profile; None for any other run."""
    profile = profile.for_corpus(run.info["corpus"]["name"])
    for experiment in declared():
        same = (experiment.family, experiment.variant) == (run.info["family"], run.info["variant"])
        if same and run.info["task"] in experiment.tasks_under(profile):
            settings = profile.settings(experiment.family, experiment.variant, experiment.changed(profile))
            if settings == run.settings:
                return experiment
    return None


def of_a_system(run: Run, profile: Profile) -> bool:
    """Whether the run belongs to a system of the study under this profile, and not to an ablation or to nothing."""
    found = entry(run, profile)
    return bool(found and found.headline)


def publishes_log_probs(run: Run, profile: Profile) -> bool:
    """Whether its matrix is published too: of joint systems, whose answers are not the whole story, for one seed.

    A detector's probability and a classifier's answer stand in the predictions themselves. Where an experiment asks for
    them, matrices of all its runs are published.
    """
    found = entry(run, profile)
    first = run.info["seed"] == profile.seeds[0]
    return bool(found and (found.matrices or found.headline and first and run.info["task"] == "joint"))

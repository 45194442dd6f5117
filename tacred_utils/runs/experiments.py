"""Which runs the study consists of: the declared experiments of all notebooks, for one profile and corpus; and what their
systems are called (names.toml): by the model that they are and by the recipe that they are trained with; and publication:
copies of finished runs without their models, small enough to be committed.
"""

import gzip
import json
import shlex
import tomllib
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache, lru_cache
from pathlib import Path

import msgspec
import numpy as np

from tacred_utils.corpora.example import ROWS, Corpus, write_rows
from tacred_utils.ground.errors import UserError
from tacred_utils.ground.files import read_bytes, write_bytes
from tacred_utils.ground.labels import LABEL_SETS, SCORED, TASKS
from tacred_utils.ground.paths import PACKAGE
from tacred_utils.models.settings import BilstmSettings, TransformerSettings
from tacred_utils.runs.predictions import predictions_bytes
from tacred_utils.runs.profile import Profile, load_corpus, load_profile
from tacred_utils.runs.store import Run, Spec, is_done, log_probs_bytes

NAMES = tomllib.loads((PACKAGE / "runs" / "names.toml").read_text(encoding="utf-8"))
SAID = {"model", "layers", "own", "marks", "words", "tune_words", "glove"}  # settings that a name tells in words
BUDGET = {"learning_rate", "head_factor", "batch_size", "epochs"}  # what another model is given with it


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

    def tasks_under(self, profile: Profile) -> list[str]:
        """The declared tasks, with the profile's in place of "ablation"."""
        return [profile.ablation_task if task == "ablation" else task for task in self.tasks]

    def tasks_on(self, corpus: Corpus, profile: Profile) -> list[str]:
        """The tasks that the study runs on a corpus: all that are declared and possible, fewer on further corpora."""
        if self.ablation and not profile.ablations or self.real and corpus.synthetic:
            return []
        if "model" in self.set and profile.settings(self.family, self.variant).model.startswith("own_"):
            return []  # where nothing is pre-trained elsewhere, no weights are asked for
        further = corpus.name in profile.further_corpora
        possible = [task for task in self.tasks_under(profile) if task in corpus.tasks]
        return [task for task in possible if not further or task == "joint" and self.further and not self.ablation]

    def name(self, profile: Profile, task: str | None = None) -> str:
        """`PA-LSTM, MiniLM's vectors`: how tables and figures name it under a profile (see `names.system_name`)."""
        settings = profile.settings(self.family, self.variant, self.set)
        return system_name(self.family, self.variant, settings, self.set, task)


@cache
def load_experiments() -> list[Experiment]:
    """The experiments of experiments.toml."""
    table = tomllib.loads((PACKAGE / "runs" / "experiments.toml").read_text(encoding="utf-8"))
    return msgspec.convert(table["experiment"], list[Experiment])


def planned(profile: Profile, corpus: Corpus, seeds: list[int] | None = None, notebook: str = "") -> list[Spec]:
    """Every run of the study, or of one notebook, on this corpus under this profile, in the notebooks' order."""
    profile, specs = profile.for_corpus(corpus.name), []
    for experiment in load_experiments():
        if notebook not in ("", experiment.notebook):
            continue
        settings = profile.settings(experiment.family, experiment.variant, experiment.set)
        for seed in (seeds or profile.seeds)[: None if experiment.every_seed else 1]:
            for task in experiment.tasks_on(corpus, profile):
                spec = Spec(experiment.family, task, seed, settings, experiment.variant)
                specs += [] if spec in specs else [spec]  # where a profile has what an experiment changes
    return specs


def missing_runs(specs: list[Spec], corpus: Corpus, results: Path) -> list[Spec]:
    """Those of the planned runs that are not done below `results`."""
    return [spec for spec in specs if not is_done(spec.folder(corpus, results))]


def command(spec: Spec, profile: Profile, options: dict[str, object]) -> str:
    """The shell command that trains a run; `options` as for `arguments`."""
    return shlex.join(["python", "-m", "tacred_utils", *arguments(spec, profile, options)])


def arguments(spec: Spec, profile: Profile, options: dict[str, object]) -> list[str]:
    """The arguments of `train` for a run under a profile (as it is for the run's corpus).

    `options` are those that plan and train share (corpus, data-dir, …): None is left out, True has no value.
    """
    words = ["train", "--family", spec.family, "--task", spec.task, "--seed", str(spec.seed)]
    words += ["--variant", spec.variant] if spec.variant else []
    for name, value in options.items():
        words += [f"--{name}", *([] if value is True else [str(value)])] if value is not None else []
    usual = msgspec.to_builtins(profile.settings(spec.family, spec.variant))
    for key, value in msgspec.to_builtins(spec.settings).items():
        words += ["--set", f"{key}={msgspec.json.encode(value).decode()}"] if value != usual[key] else []
    return words


@lru_cache
def _rules(profile: str, corpus: str) -> Profile:
    return load_profile(profile).for_corpus(corpus)


@lru_cache(maxsize=4096)
def settings_under(profile: str, corpus: str, family: str, variant: str | None, changed: str = "{}") -> msgspec.Struct:
    """The settings of a family's variant under a profile on a corpus, with changes given as JSON. Raises `UserError`."""
    return _rules(profile, corpus).settings(family, variant, msgspec.json.decode(changed))


def experiment_of(run: Run | Spec, profile: str, corpus: str) -> Experiment | None:
    """The first experiment under a profile on a corpus that has a run's family, variant, task and settings, or None."""
    for each in load_experiments():
        if (each.family, each.variant) != (run.family, run.variant):
            continue
        settings = settings_under(profile, corpus, run.family, run.variant, msgspec.json.encode(each.set).decode())
        if run.task in each.tasks_under(_rules(profile, corpus)) and settings == run.settings:
            return each
    return None


def changed_settings(run: Run, profile: str) -> dict[str, object]:
    """What a finished run sets otherwise than a profile; raises `UserError` for a family or variant that is not known."""
    usual = msgspec.to_builtins(settings_under(profile, run.corpus, run.family, run.variant))
    return {key: value for key, value in msgspec.to_builtins(run.settings).items() if usual[key] != value}


def name_of(run: Run) -> str:
    """The name of a finished run's system, with all that it sets otherwise; empty where its settings are not known."""
    if run.settings is not None:
        with suppress(UserError):
            changed = changed_settings(run, run.profile)
            return system_name(run.family, run.variant, run.settings, changed, run.task)
    return ""


def is_headline(run: Run) -> bool:
    """Whether a run belongs to a system of the study, and not to an ablation or to nothing."""
    found = experiment_of(run, run.profile, run.corpus)
    return found is not None and not found.ablation


def publishes_log_probs(run: Run) -> bool:
    """Whether its matrix is published too: where its experiment asks for it, and of joint systems for one seed."""
    found = experiment_of(run, run.profile, run.corpus)
    first = run.seed == load_profile(run.profile).seeds[0]
    return found is not None and (found.matrices or not found.ablation and first and run.task == "joint")


def system_name(
    family: str, variant: str | None, settings: msgspec.Struct, changed: Mapping[str, object], task: str | None = None
) -> str:
    """`MiniLM, typed marks`: model and recipe of a system, then what is `changed` in the profile's settings.

    `task` matters where the paper has a recipe for other tasks only. A model that is changed brings its own budget.
    """
    said = SAID | (BUDGET if "model" in changed else set())
    rest = [f"{key}={_text(value)}" for key, value in changed.items() if key not in said]
    return ", ".join(_model_and_recipe(family, variant, settings, task) + rest)


def _text(value: object) -> str:
    return "+".join(value) if isinstance(value, (list, tuple)) else str(value)


def _model_and_recipe(family: str, variant: str | None, settings: msgspec.Struct, task: str | None) -> list[str]:
    marks = NAMES["marks"]
    recipe = (NAMES["recipes"][family] | (marks if family == "bert" else {})).get(variant or "", variant)
    if isinstance(settings, BilstmSettings):
        if settings.words == "random":
            return [recipe]
        return [recipe, NAMES["vectors"][settings.words]] + ["tuned"] * settings.tune_words
    if isinstance(settings, TransformerSettings):
        if settings.model.partition("@")[0] == "bert-base-uncased" and variant is None:
            recipe = "paper's recipe"
        if family == "gpt2" and variant is None and settings.marks in marks:
            recipe = f"paper's head, {marks[settings.marks]}"
        return [_model(settings)] + [f"{settings.layers} layers"] * bool(settings.layers) + [recipe]
    if variant == "paper" and task in (None, "joint"):
        return ["SVM", "paper's features"] + ["joint (not in the paper)"] * (task == "joint")
    return ["SVM", recipe]


def _model(settings: TransformerSettings) -> str:
    """`1.6 M decoder (own, offline stand-in)`, or the name of published weights."""
    if settings.model.startswith("own_"):
        kind = settings.model.removeprefix("own_")
        return f"{settings.own.parameters / 1e6:.2g} M {kind} (own, offline stand-in)"
    name = settings.model.partition("@")[0]
    return NAMES["models"].get(name, Path(name).name)


def publish(runs: list[Run], target: Path, log_probs: Callable[[Run], bool] = lambda run: False) -> list[Path]:
    """Copy run.json, metrics, history and gzipped predictions of runs to `target`/<corpus>/<run>/; returns the folders.

    Where `log_probs` says so their matrices go with them, as float16 (half a per mille) and gzipped.
    """
    published = [target / run.folder.parent.name / run.folder.name for run in runs]
    for run, folder in zip(runs, published, strict=True):
        for name, content in _published_files(run, log_probs(run)).items():
            write_bytes(folder / name, content)
    return published


def publish_rows(run: Run, target: Path, data_dir: Path | None) -> str:
    """Write the rows of a run's corpus without their text beside its published runs; where they lie, or why not."""
    path = target / run.folder.parent.name / ROWS
    name, _, labels = run.corpus.rpartition("-")
    if labels not in LABEL_SETS[1:]:
        name, labels = run.corpus, LABEL_SETS[0]
    try:
        corpus = load_corpus(name, data_dir, labels)
    except UserError as error:
        return f"{path}: is not written: {error}"
    if corpus.digests != run.info["corpus"]["sha256"]:
        return f"{path}: is not written, since the corpus at hand is not the data of these runs."
    write_rows(corpus, path)
    return str(path)


def _published_files(run: Run, log_probs: bool) -> dict[str, bytes]:
    """The files of a run's published copy, run.json last: it makes the copy count; equal data, equal bytes."""
    files = {"metrics.json": json.dumps(run.metrics, indent=1).encode() + b"\n"}
    files["history.csv"] = read_bytes(run.folder / "history.csv")
    for split in SCORED:
        files[f"predictions/{split}.jsonl.gz"] = gzip.compress(predictions_bytes(run.predictions(split)), mtime=0)
        if run.has_log_probs and log_probs:
            matrix = log_probs_bytes(run.log_probs(split).astype(np.float16))
            files[f"predictions/{split}.safetensors.gz"] = gzip.compress(matrix, mtime=0)
    return files | {"run.json": read_bytes(run.folder / "run.json")}

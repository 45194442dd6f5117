"""What an experiment is, its identity, and the folder of a finished run: what is in it and how it is read."""

import gzip
import json
import subprocess
import zlib
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Literal

import msgspec
import numpy as np
import pandas as pd

from tacred_utils.corpora.example import Corpus
from tacred_utils.ground.errors import UserError
from tacred_utils.ground.files import digest, read_bytes
from tacred_utils.ground.labels import SCORED, TASKS
from tacred_utils.ground.paths import ROOT
from tacred_utils.metrics.counts import task_scores
from tacred_utils.models.settings import FAMILIES, VERSIONS, read_settings
from tacred_utils.models.weights import MODELS
from tacred_utils.runs.predictions import read_predictions

MODULES = {
    "svm": "tacred_utils.models.svm",
    "bilstm": "tacred_utils.models.bilstm",
    "bert": "tacred_utils.models.transformer",
    "gpt2": "tacred_utils.models.transformer",
}
STILL_RISES = 0.01  # dev F1 gained in the last quarter of training: more than seeds differ by


@dataclass(frozen=True)
class Spec:
    """One experiment on a corpus: family, task, seed and checked settings; the variant is the name of a preset."""

    family: str
    task: str
    seed: int
    settings: msgspec.Struct
    variant: str | None = None

    @property
    def title(self) -> str:
        """`svm-paper-joint-s13`: the readable part of the folder's name."""
        return f"{self.family}{f'-{self.variant}' if self.variant else ''}-{self.task}-s{self.seed}"

    @property
    def stated_settings(self) -> dict[str, object]:
        """The settings that do not stand at their default, as they go into JSON."""
        fields = msgspec.structs.fields(self.settings)
        changed = {field.name for field in fields if getattr(self.settings, field.name) != field.default}
        return {name: value for name, value in msgspec.to_builtins(self.settings).items() if name in changed}

    @property
    def files(self) -> dict[str, dict[str, str]]:
        """Checksums of the files that the settings name, since others may come to lie at the same place; often none."""
        model = getattr(self.settings, "model", "")
        if model in MODELS:
            return {"files": dict(MODELS[model].sha256)}
        names = [getattr(self.settings, "glove", ""), model]
        files = [file for name in names if name for file in _files(Path(name).expanduser())]
        return {"files": {file.name: _checksum(file, file.stat().st_mtime_ns) for file in files}} if files else {}

    def identity(self, corpus: Corpus) -> str:
        """Ten hexadecimal digits over settings, data and the family's version: equal digits, equal predictions.

        Settings that stand at their default do not count, so that a setting added later leaves older runs what they are.
        """
        facts = {
            "family": self.family,
            "version": VERSIONS[self.family],
            "task": self.task,
            "seed": self.seed,
            "settings": self.stated_settings,
            "data": corpus.digests,
            **self.files,
        }
        return digest(json.dumps(facts, sort_keys=True).encode())[:10]

    def folder(self, corpus: Corpus, results: Path) -> Path:
        return Path(results) / corpus.name / f"{self.title}-{self.identity(corpus)}"


class CorpusInfo(msgspec.Struct):
    """The corpus that a run was trained on."""

    name: str
    synthetic: bool
    gated: bool
    subset: str
    rows: dict[str, int]
    columns: list[str]
    sha256: dict[str, str]
    types: dict[str, list[str]] = {}  # that training had, by role; the oldest published runs do not say
    annotator: str = ""  # older runs have no predicted columns

    @property
    def typed(self) -> bool:
        return "types" in self.columns

    @property
    def named(self) -> bool:
        """Whether brackets and quotes have names, as Stanford's tools give them."""
        return "stanford_pos" in self.columns and not self.annotator


class RunInfo(msgspec.Struct):
    """What the run.json of any finished run holds; what else it holds stays in `Run.info`."""

    status: str
    family: str
    variant: str | None
    task: Literal[TASKS]
    seed: int
    profile: str
    version: int
    settings: dict[str, object]
    classes: list[str]
    corpus: CorpusInfo


def _read_json(path: Path, kind: type) -> object:
    try:
        return msgspec.convert(json.loads(read_bytes(path)), kind)
    except (ValueError, RecursionError) as error:  # msgspec's are ValueErrors too
        raise UserError(f"{path}: is damaged ({error}); delete the folder and train the run again.") from None


def _stated(name: str) -> property:
    return property(lambda run: run.info[name], doc=f"The {name} in run.json.")


@dataclass(frozen=True)
class Run:
    """A run on disk; everything is read when asked for."""

    folder: Path
    family = _stated("family")
    variant = _stated("variant")
    task = _stated("task")
    seed = _stated("seed")
    profile = _stated("profile")
    classes = _stated("classes")

    @cached_property
    def info(self) -> dict[str, object]:
        """run.json. Raises `UserError` when it is missing or damaged."""
        return _read_json(self.folder / "run.json", dict[str, object])

    @property
    def facts(self) -> RunInfo:
        """run.json, checked. Raises `UserError` also where it has another form, or says that the run is not finished."""
        path = self.folder / "run.json"
        facts = _read_json(path, RunInfo)
        if facts.family not in FAMILIES:
            raise UserError(f"{path}: family {facts.family!r} is unknown here; known are {', '.join(FAMILIES)}.")
        if facts.status != "done":
            raise UserError(f"{path}: the run is not finished (status {facts.status!r}); train it to its end.")
        return facts

    @property
    def corpus(self) -> str:
        """The name of its corpus."""
        return self.info["corpus"]["name"]

    @property
    def settings(self) -> msgspec.Struct | None:
        """The settings as their family's type, with defaults for what came later; None where they no longer fit it."""
        try:
            return read_settings(self.family, self.info["settings"])
        except (KeyError, msgspec.ValidationError):
            return None

    @property
    def metrics(self) -> dict[str, dict[str, float]]:
        """Scores by split ("dev", "test") of the rows that the task is scored on, computed from the predictions.

        metrics.json has them for other readers and is never read. Raises `UserError` as `predictions` does.
        """
        return {split: _scores(self, split, self.file(split).stat().st_mtime_ns) for split in SCORED}

    @cached_property
    def history(self) -> pd.DataFrame:
        return pd.read_csv(self.folder / "history.csv")

    @property
    def dev_still_rose(self) -> bool:
        """Whether training was stopped by its budget (`still_rose`). False for an SVM, which has no epochs."""
        dev = self.history.get(f"dev_{self.info['settings'].get('select')}")
        return dev is not None and still_rose(dev)

    def predictions(self, split: str = "test") -> pd.DataFrame:
        """Columns id, label_true (the gold relation), label_pred, p; one row for every row of the split, in order."""
        return read_predictions(self.file(split))

    def log_probs(self, split: str = "test") -> np.ndarray:
        """(rows, classes) log-probabilities, rows in file order, columns in the order of `classes`, float32.

        A published copy has them to float16's precision. Raises `UserError` when the run has none.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load

        path = self.file(split, "safetensors")
        if not path.exists():
            raise UserError(f"{path}: is not there (few published runs keep it); train the run to get probabilities.")
        data = read_bytes(path)
        try:
            data = gzip.decompress(data) if path.suffix == ".gz" else data
            return load(data)["log_probs"].astype(np.float32)
        except (OSError, EOFError, zlib.error, SafetensorError) as error:
            raise UserError(f"{path}: is damaged ({error}); delete the folder and train the run again.") from None

    @property
    def has_log_probs(self) -> bool:
        """Whether `log_probs` has something to read: always, but for a published copy without them."""
        return all(self.file(split, "safetensors").exists() for split in SCORED)

    def file(self, split: str, kind: str = "jsonl") -> Path:
        """Where a split's predictions lie, or its log-probabilities ("safetensors"): as written, or as published."""
        plain = self.folder / "predictions" / f"{split}.{kind}"
        packed = plain.with_name(f"{plain.name}.gz")
        return packed if packed.exists() and not plain.exists() else plain


def still_rose(dev: pd.Series) -> bool:
    """Whether dev scores rose by more than a hundredth in the last quarter of epochs.

    Such a run is not trained to its end, and decides nothing.
    """
    last = -(-len(dev) // 4)
    return len(dev) == last or bool(dev[-last:].max() - dev[:-last].max() > STILL_RISES)


def is_done(folder: Path, since: float = 0) -> bool:
    """Whether the run in this folder is complete (a published one needs no log-probabilities).

    With `since` (seconds of `time.time`) only a run that was finished from then on counts.
    """
    run = Run(folder)
    files = [folder / "run.json", folder / "history.csv", *map(run.file, SCORED)]
    files += [run.file(split, "safetensors") for split in SCORED if run.file(split).suffix != ".gz"]
    if not all(file.exists() for file in files):
        return False
    try:
        return run.facts is not None and (not since or run.info.get("finished", 0) >= since)
    except UserError:
        return False


def find_runs(results: Path, corpus: str | None = None) -> list[Run]:
    """The finished runs below a results folder, of one corpus or of all, by name."""
    if not Path(results).is_dir():
        raise UserError(f"{results}: is no folder, so it holds no runs; train some, or name another with --results.")
    folders = sorted(path.parent for path in Path(results).glob("*/*/run.json"))
    return [Run(path) for path in folders if path.parent.name == (corpus or path.parent.name) and is_done(path)]


@cache
def _scores(run: Run, split: str, written: int) -> dict[str, float]:
    """The scores of a split, computed again only when its predictions were written anew (`written`)."""
    answers = run.predictions(split)
    return task_scores(run.task, answers.label_true.tolist(), answers.label_pred.tolist(), run.classes)


def _files(path: Path) -> list[Path]:
    """A file, or those of a model's folder that it is read from; none for what is no path here."""
    if path.is_dir():
        return sorted(file for file in path.iterdir() if file.suffix in (".json", ".txt", ".safetensors"))
    return [path] if path.is_file() else []


@lru_cache
def _checksum(path: Path, modified: int) -> str:
    """sha256 of a file, read again only when it was written anew (`modified`): GloVe's has five gigabytes."""
    try:
        return digest(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}).") from error


def family(name: str) -> ModuleType:
    """The module of a family, imported when it is first asked for: torch takes seconds.

    Its `fit(corpus, task, settings, seed, folder)` gives a `FitResult`, its `load(folder)` a model that scores Examples.
    """
    return import_module(MODULES[name])


def load_model(run: Run) -> object:
    """The trained model of a run; raises `UserError` when the run kept none, or a damaged one."""
    folder = run.folder / "model"
    if not folder.is_dir():
        raise UserError(f"{folder}: this run kept no model; train it with: python -m tacred_utils train … --force.")
    try:
        return family(run.info["family"]).load(folder)
    except UserError:
        raise
    except Exception as error:  # readers of damaged files raise whatever they like, tokenizers a bare Exception
        kind = {"svm": "SVM", "bilstm": "BiLSTM"}.get(run.info["family"], "transformer")
        raise UserError(f"{folder}: holds no readable {kind} ({error}); train the run again.") from None


def log_probs_bytes(matrix: np.ndarray) -> bytes:
    """A (rows, classes) matrix as the safetensors file that `Run.log_probs` reads."""
    from safetensors.numpy import save

    return save({"log_probs": matrix})


@lru_cache
def git_commit() -> str | None:
    """The commit the code is at, with "+changes" where a file differs from it; None outside a checkout of its own."""
    if not (ROOT / ".git").exists():  # a repository around an unpacked archive says nothing
        return None
    place = [f"--git-dir={ROOT / '.git'}", f"--work-tree={ROOT}"]  # a hook's variables name other ones
    command = ["git", *place, "describe", "--always", "--abbrev=40", "--dirty=+changes", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None

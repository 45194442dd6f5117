"""What an experiment is, its identity, its folder, and the cache that keeps any run from being computed twice."""

import gzip
import hashlib
import io
import json
import os
import platform
import resource
import shutil
import subprocess
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
import pandas as pd

from tacred_utils.corpora.example import Corpus
from tacred_utils.ground.errors import UserError, exhausted
from tacred_utils.ground.files import read_bytes, write_bytes, write_text
from tacred_utils.ground.labels import NO_RELATION, SCORED, SPLITS, TASKS, task_classes, task_label
from tacred_utils.ground.paths import ROOT
from tacred_utils.metrics.counts import task_scores
from tacred_utils.models import processes
from tacred_utils.models.families import family
from tacred_utils.models.result import FitResult
from tacred_utils.models.settings import FAMILIES, VERSIONS, TrainingSettings
from tacred_utils.models.weights import MODELS
from tacred_utils.runs.predictions import read_predictions
from tacred_utils.runs.profile import known_family

RECORDED = ("numpy", "scipy", "scikit-learn", "imbalanced-learn", "torch", "transformers", "accelerate")
CHECKPOINTS = "checkpoints"  # the folder of a run that a killed training resumes from; gone when it is done
PATIENCE = 10  # seconds to wait for another trainer: the kernel of a runner that was killed ends in a few


class _Data(msgspec.Struct):
    """What run.json says of the corpus at least."""

    name: str
    gated: bool
    rows: dict[str, int]
    sha256: dict[str, str]


class _Done(msgspec.Struct):
    """What the run.json of a finished run holds at least; all of it stays in `Run.info`."""

    status: Literal["done"]
    family: str
    variant: str | None
    task: Literal[TASKS]
    seed: int
    profile: str
    version: int
    settings: dict[str, object]
    classes: list[str]
    corpus: _Data


class _Metrics(msgspec.Struct):
    """metrics.json: scores by name for each split of `SCORED`."""

    dev: dict[str, float]
    test: dict[str, float]


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
    def stated(self) -> dict[str, object]:
        """The settings that do not stand at their default, as they go into JSON."""
        fields = msgspec.structs.fields(self.settings)
        changed = {field.name for field in fields if getattr(self.settings, field.name) != field.default}
        return {name: value for name, value in msgspec.to_builtins(self.settings).items() if name in changed}

    @property
    def given(self) -> dict[str, dict[str, str]]:
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
            "settings": self.stated,
            "data": corpus.digests,
            **self.given,
        }
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:10]

    def folder(self, corpus: Corpus, results: Path) -> Path:
        return Path(results) / corpus.name / f"{self.title}-{self.identity(corpus)}"


@dataclass(frozen=True)
class Run:
    """A run on disk; everything is read when asked for."""

    folder: Path

    @cached_property
    def info(self) -> dict[str, object]:
        """run.json. Raises `UserError` when it is missing or damaged."""
        return _read_json(self.folder / "run.json", dict[str, object])

    @property
    def classes(self) -> list[str]:
        return self.info["classes"]

    @property
    def settings(self) -> msgspec.Struct | None:
        """The settings as their family's type, with defaults for what came later; None where they no longer fit it."""
        try:
            return msgspec.convert(self.info["settings"], FAMILIES[self.info["family"]])
        except (KeyError, msgspec.ValidationError):
            return None

    @cached_property
    def metrics(self) -> dict[str, dict[str, float]]:
        """Scores by split ("dev", "test"), of the rows that the task is scored on. Raises `UserError` as `info` does."""
        return msgspec.structs.asdict(_read_json(self.folder / "metrics.json", _Metrics))

    @cached_property
    def history(self) -> pd.DataFrame:
        return pd.read_csv(self.folder / "history.csv")

    def predictions(self, split: str = "test") -> pd.DataFrame:
        """Columns id, label_true (the gold relation), label_pred, p; one row for every row of the split, in order."""
        return read_predictions(_predictions_file(self.folder, split))

    def log_probs(self, split: str = "test") -> np.ndarray:
        """(rows, classes) log-probabilities, rows in file order, columns in the order of `classes`, float32.

        A published copy has them to float16's precision. Raises `UserError` when the run has none.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load

        path = _log_probs_file(self.folder, split)
        if path is None:
            place = self.folder / "predictions" / f"{split}.safetensors"
            raise UserError(f"{place}: is not there (few published runs keep it); train the run to get probabilities.")
        data = read_bytes(path)
        try:
            data = gzip.decompress(data) if path.suffix == ".gz" else data
            return load(data)["log_probs"].astype(np.float32)
        except (OSError, EOFError, zlib.error, SafetensorError) as error:
            raise UserError(f"{path}: is damaged ({error}); delete the folder and train the run again.") from None

    @property
    def has_log_probs(self) -> bool:
        """Whether `log_probs` has something to read: always, but for a published copy without them."""
        return all(_log_probs_file(self.folder, split) for split in SCORED)


def train(
    spec: Spec, corpus: Corpus, results: Path, profile: str, *, keep_model: bool = True, force: bool = False
) -> Run:
    """Train a run, or re-use it when it is done; returns it.

    A lock keeps a second trainer out, and of processes that train together all but the first; files appear by rename,
    and only `status: done` in run.json makes the run count. Raises `UserError` for a task that the corpus does not
    allow, when another process trains this very run, and when memory or disk run out.
    """
    from filelock import FileLock, Timeout

    _check_task(spec, corpus)
    folder = spec.folder(corpus, results)
    if is_done(folder) and not force:
        shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)  # there if it was killed at its very end
        return Run(folder)
    lock = folder.parent / ".locks" / f"{folder.name}.lock"
    try:
        if not processes.rank():
            lock.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(lock, timeout=PATIENCE):
                if force and folder.exists():
                    shutil.rmtree(folder)
                if not is_done(folder):
                    _train(spec, corpus, folder, profile, keep_model)
            processes.wait()
        elif spec.family != "svm":  # helps process 0, which writes
            _fit(spec, corpus, folder)
            processes.wait()
    except Timeout:
        raise UserError(
            f"{folder}: another process is training this run; wait for it, or choose another --results."
        ) from None
    except Exception as error:
        told = _told(error, folder, spec.settings)
        if told is None:
            raise
        raise told from error
    return Run(folder)


def _told(error: Exception, folder: Path, settings: msgspec.Struct) -> UserError | None:
    """What stopped a training, in one sentence, where the user can mend it."""
    ran_out = None if isinstance(error, UserError) else exhausted(error)
    if ran_out == "memory":
        return UserError(f"{folder}: memory ran out; {_thrift(settings)}.")
    if ran_out == "disk":
        return UserError(f"{folder}: the disk is full; free space, or choose another --results.")
    if isinstance(error, OSError):
        place = error.filename or folder
        return UserError(f"{place}: cannot be written ({error.strerror or error}); choose another --results.")
    return None


def _thrift(settings: msgspec.Struct) -> str:
    """Which setting to lower for want of memory."""
    if isinstance(settings, TrainingSettings):
        return (
            f"lower batch_size (now {settings.batch_size}), and raise accumulate (now {settings.accumulate}) as many "
            "times to keep the steps what they are"
        )
    return f"lower max_rows (now {settings.max_rows or 'all rows'})"


def is_done(folder: Path) -> bool:
    """Whether the run in this folder is complete (a published one needs no log-probabilities)."""
    if not all((folder / name).exists() for name in ("run.json", "metrics.json", "history.csv")):
        return False
    try:
        _read_json(folder / "run.json", _Done)
    except UserError:
        return False
    return all(_has_predictions(folder, split) for split in SCORED)


def find_runs(results: Path, corpus: str | None = None) -> list[Run]:
    """The finished runs below a results folder, of one corpus or of all, by name."""
    if not Path(results).is_dir():
        raise UserError(f"{results}: is no folder, so it holds no runs; train some, or name another with --results.")
    return [
        Run(path.parent)
        for path in sorted(Path(results).glob("*/*/run.json"))
        if path.parts[-3] == (corpus or path.parts[-3]) and is_done(path.parent)
    ]


def publish(runs: list[Run], target: Path, log_probs: Callable[[Run], bool] = lambda run: False) -> list[Path]:
    """Copy run.json, metrics, history and gzipped predictions of runs to `target`/<corpus>/<run>/; returns the folders.

    Where `log_probs` says so their matrices go with them, as float16 (half a per mille) and gzipped.
    """
    published = []
    for run in runs:
        folder = target / run.folder.parent.name / run.folder.name
        for name, content in _published_files(run, log_probs(run)).items():
            write_bytes(folder / name, content)
        published.append(folder)
    return published


def _published_files(run: Run, log_probs: bool) -> dict[str, bytes]:
    """The files of a run's published copy, run.json last: it makes the copy count. `UserError` if one is damaged."""
    _read_json(run.folder / "metrics.json", _Metrics)
    files = {name: read_bytes(run.folder / name) for name in ("metrics.json", "history.csv")}
    for split in SCORED:
        files[f"predictions/{split}.jsonl.gz"] = _gzipped(_predictions_bytes(run.predictions(split)))
        if run.has_log_probs and log_probs:
            matrix = _log_probs_bytes(run.log_probs(split).astype(np.float16))
            files[f"predictions/{split}.safetensors.gz"] = _gzipped(matrix)
    return files | {"run.json": read_bytes(run.folder / "run.json")}


def _files(path: Path) -> list[Path]:
    """A file, or those of a model's folder that it is read from; none for what is no path here."""
    if path.is_dir():
        return sorted(file for file in path.iterdir() if file.suffix in (".json", ".txt", ".safetensors"))
    return [path] if path.is_file() else []


@lru_cache
def _checksum(path: Path, modified: int) -> str:
    """sha256 of a file, read again only when it was written anew (`modified`): GloVe's has five gigabytes."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}).") from error


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


def _check_task(spec: Spec, corpus: Corpus) -> None:
    known_family(spec.family)
    if spec.task not in TASKS:
        raise UserError(f"--task {spec.task}: unknown; choose one of {', '.join(TASKS)}.")
    if spec.task not in corpus.tasks:
        raise UserError(
            f"--task {spec.task}: corpus {corpus.name} has no label {NO_RELATION}; only relation_only can be trained on it."
        )
    known = {task_label(spec.task, example.relation) for example in corpus.train} & set(
        task_classes(spec.task, corpus.labels)
    )
    if len(known) < 2:
        raise UserError(
            f"--task {spec.task}: the training split of {corpus.name} has {len(known)} class to choose from; it needs two."
        )


def _train(spec: Spec, corpus: Corpus, folder: Path, profile: str, keep_model: bool) -> None:
    new = not folder.exists()
    _clear(folder)
    info = _describe(spec, corpus, profile)
    _write_json(folder / "run.json", info | {"status": "running"})
    start, work = time.perf_counter(), folder / CHECKPOINTS
    try:
        outcome = _fit(spec, corpus, folder)
    except BaseException as error:
        mistake = isinstance(error, UserError) or exhausted(error)
        if new and mistake and not any(work.glob("checkpoint-*")):  # there is nothing to keep
            shutil.rmtree(folder)
            raise
        _write_json(folder / "run.json", info | {"status": "failed", "error": f"{type(error).__name__}: {error}"})
        raise
    seconds = time.perf_counter() - start
    metrics = {
        split: _write_predictions(spec.task, corpus, split, outcome, info["classes"], folder) for split in SCORED
    }
    _write_json(folder / "metrics.json", metrics)
    pd.DataFrame(outcome.history or [{"step": 0}]).to_csv(buffer := io.StringIO(), index=False, lineterminator="\n")
    write_text(folder / "history.csv", buffer.getvalue())
    if keep_model:
        outcome.save(folder / "model")
    cost = {
        "wall_seconds": round(seconds, 3),
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
    _write_json(folder / "run.json", info | outcome.details | cost | {"status": "done"})
    shutil.rmtree(work, ignore_errors=True)


def _fit(spec: Spec, corpus: Corpus, folder: Path) -> FitResult:
    return family(spec.family).fit(corpus, spec.task, spec.settings, spec.seed, folder / CHECKPOINTS)


def _clear(folder: Path) -> None:
    """Delete what a killed training left, but for its checkpoints."""
    for path in folder.glob("*"):
        if path.is_file():
            path.unlink()
        elif path.name != CHECKPOINTS:
            shutil.rmtree(path)


def _describe(spec: Spec, corpus: Corpus, profile: str) -> dict[str, object]:
    """Everything that is known of a run before it starts."""
    types = {"subject": {row.subj_type for row in corpus.train}, "object": {row.obj_type for row in corpus.train}}
    read = {
        "name": corpus.name, "synthetic": corpus.synthetic, "gated": corpus.gated, "subset": corpus.subset,
        "notes": corpus.notes, "rows": {split: len(corpus.split(split)) for split in SPLITS},
        "columns": sorted(corpus.columns), "annotator": corpus.annotator, "types": {role: sorted(kinds) for role, kinds in types.items()},
        "sha256": corpus.digests,
    }  # fmt: skip
    return {
        "family": spec.family, "variant": spec.variant, "task": spec.task, "seed": spec.seed, "profile": profile,
        "settings": msgspec.to_builtins(spec.settings), "version": VERSIONS[spec.family],
        "classes": task_classes(spec.task, corpus.labels), "corpus": read,
        "versions": {"python": platform.python_version()} | {name: _version(name) for name in RECORDED},
        "machine": {"processor": platform.machine(), "cores": os.cpu_count()}, "git": git_commit(),
    }  # fmt: skip


def _write_predictions(
    task: str, corpus: Corpus, split: str, outcome: FitResult, classes: list[str], folder: Path
) -> dict[str, float]:
    """Write one split's predictions and log-probabilities; returns its scores. `UserError` if one is no number."""
    examples, log_probs = corpus.split(split), np.ascontiguousarray(outcome.log_probs[split], dtype=np.float32)
    assert log_probs.shape == (len(examples), len(classes)), "a model must answer every row with every class"
    if np.isnan(log_probs).any():
        raise UserError(f"{folder}: answers on {split} are no numbers; lower learning_rate, or change other settings.")
    best = log_probs.argmax(axis=1)  # (rows,)
    frame = pd.DataFrame({
        "id": [example.id for example in examples],
        "label_true": [example.relation for example in examples],
        "label_pred": [classes[index] for index in best],
        "p": np.exp(log_probs[np.arange(len(best)), best].astype(np.float64)).round(6),
    })  # fmt: skip
    write_bytes(folder / "predictions" / f"{split}.jsonl", _predictions_bytes(frame))
    write_bytes(folder / "predictions" / f"{split}.safetensors", _log_probs_bytes(log_probs))
    return task_scores(task, frame.label_true.tolist(), frame.label_pred.tolist(), classes)


def _predictions_bytes(frame: pd.DataFrame) -> bytes:
    return msgspec.json.Encoder().encode_lines(frame[["id", "label_true", "label_pred", "p"]].to_dict("records"))


def _log_probs_bytes(matrix: np.ndarray) -> bytes:
    from safetensors.numpy import save

    return save({"log_probs": matrix})


def _gzipped(data: bytes) -> bytes:
    """Compressed without a time stamp, so that equal data gives equal bytes."""
    return gzip.compress(data, mtime=0)


def _has_predictions(folder: Path, split: str) -> bool:
    present = {path.name for path in (folder / "predictions").glob(f"{split}.*")}
    return f"{split}.jsonl.gz" in present or {f"{split}.jsonl", f"{split}.safetensors"} <= present


def _predictions_file(folder: Path, split: str) -> Path:
    plain = folder / "predictions" / f"{split}.jsonl"
    return plain if plain.exists() else plain.with_suffix(".jsonl.gz")


def _log_probs_file(folder: Path, split: str) -> Path | None:
    """The matrix of a split as it was written, or as it was published; None if there is neither."""
    files = (folder / "predictions" / f"{split}.safetensors{suffix}" for suffix in ("", ".gz"))
    return next((file for file in files if file.exists()), None)


def _read_json(path: Path, kind: type) -> object:
    """The content of a JSON file as `kind`. Raises `UserError` when it is missing, damaged, or of another form."""
    try:
        return msgspec.convert(json.loads(read_bytes(path)), kind)
    except (ValueError, RecursionError) as error:  # msgspec's are ValueErrors too
        raise UserError(f"{path}: is damaged ({error}); delete the folder and train the run again.") from None


def _write_json(path: Path, content: object) -> None:
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


@lru_cache
def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


@lru_cache
def git_commit() -> str | None:
    """The commit the code is at, with "+changes" where the package differs from it; None outside a git checkout."""
    try:
        command = ["git", "-C", str(ROOT), "describe", "--always", "--abbrev=40", "--dirty=+changes", "--exclude=*"]
        return subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def matrix(run: Run, split: str) -> np.ndarray:
    """(N, K) log-probabilities of a run, to float16's precision, in which they are published: a published run answers
    as the original does. Raises `UserError` as `Run.log_probs` does.
    """
    return run.log_probs(split).astype(np.float16).astype(np.float64)

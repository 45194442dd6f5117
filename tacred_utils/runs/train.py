"""Training of one run: a lock, a folder whose files appear by rename, and what run.json says of how it came about."""

import json
import os
import platform
import resource
import shutil
import time
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from shlex import quote

import msgspec
import numpy as np
import pandas as pd

from tacred_utils.corpora.example import Corpus
from tacred_utils.ground.errors import UserError, exhausted
from tacred_utils.ground.files import write_bytes, write_text
from tacred_utils.ground.labels import NO_RELATION, SCORED, SPLITS, TASKS, likely_negative, task_classes
from tacred_utils.metrics.counts import task_scores
from tacred_utils.models import processes
from tacred_utils.models.settings import VERSIONS, FitResult, TrainingSettings
from tacred_utils.runs.predictions import predictions_bytes
from tacred_utils.runs.profile import known_family
from tacred_utils.runs.store import Run, Spec, family, git_commit, is_done, log_probs_bytes

RECORDED = ("numpy", "scipy", "scikit-learn", "imbalanced-learn", "torch", "transformers", "tokenizers", "accelerate")
CHECKPOINTS = "checkpoints"  # the folder of a run that a killed training resumes from; gone when it is done
PATIENCE = 10  # seconds to wait for another trainer: the kernel of a runner that was killed ends in a few


def train(spec: Spec, corpus: Corpus, results: Path, profile: str, *, keep_model: bool = True, since: float = 0) -> Run:
    """Train a run, or re-use it when it is done; returns it.

    `since` (seconds of `time.time`) trains again what was finished before: a command that is to train anew gives the
    time of its own start, so that it trains no run twice. A model that an earlier training kept is kept again.

    A lock keeps a second trainer out, and of processes that train together all but the first; files appear by rename,
    and only `status: done` in run.json makes the run count. Raises `UserError` for a task that the corpus does not
    allow, when another process trains this very run, and when memory or disk run out.
    """
    from filelock import FileLock, Timeout

    _check_task(spec, corpus)
    folder = spec.folder(corpus, results)
    if is_done(folder, since):
        shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)  # there if it was killed at its very end
        return Run(folder)
    lock = folder.parent / ".locks" / f"{folder.name}.lock"
    try:
        if not processes.rank():
            lock.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(lock, timeout=PATIENCE):
                if not is_done(folder, since):
                    keep_model |= (folder / "model").is_dir()
                    _forget(folder, since)
                    _train(spec, corpus, folder, profile, keep_model)
            processes.wait()
        elif spec.family != "svm":  # helps process 0, which writes
            family(spec.family).fit(corpus, spec.task, spec.settings, spec.seed, folder / CHECKPOINTS)
            processes.wait()
    except Timeout:
        busy = f"{folder}: another process is training this run; wait for it, or choose another --results."
        raise UserError(busy) from None
    except Exception as error:
        if (told := _told(error, folder, spec.settings)) is None:
            raise
        raise told from error
    return Run(folder)


def _forget(folder: Path, since: float) -> None:
    """Delete what a killed training left: all but its checkpoints, and these too where it is older than `since`."""
    description = folder / "run.json"
    if description.exists() and description.stat().st_mtime < since:
        shutil.rmtree(folder)
    for path in folder.glob("*"):
        if path.is_file():
            path.unlink()
        elif path.name != CHECKPOINTS:
            shutil.rmtree(path)


def _told(error: Exception, folder: Path, settings: msgspec.Struct) -> UserError | None:
    """What stopped a training, in one sentence, where the user can mend it."""
    if isinstance(error, UserError):
        return None
    ran_out = exhausted(error)
    if ran_out == "memory":
        setting = "batch_size" if isinstance(settings, TrainingSettings) else "max_rows"
        return UserError(f"{folder}: memory ran out; lower {setting} (now {getattr(settings, setting) or 'all rows'}).")
    if ran_out == "disk":
        return UserError(f"{folder}: the disk is full; free space, or choose another --results.")
    if isinstance(error, OSError):
        place = error.filename or folder
        return UserError(f"{place}: cannot be written ({error.strerror or error}); choose another --results.")
    return None


def _check_task(spec: Spec, corpus: Corpus) -> None:
    known_family(spec.family)
    if spec.task not in TASKS:
        raise UserError(f"--task {spec.task}: unknown; choose one of {', '.join(TASKS)}.")
    if spec.task in corpus.tasks:
        return
    if spec.task != "relation_only" and NO_RELATION not in corpus.labels:
        likely = likely_negative(corpus.labels)
        remedy = f"; if {likely} is meant, give --negative {quote(likely)}." if likely else "."
        raise UserError(
            f"--task {spec.task}: corpus {corpus.name} has no label {NO_RELATION}; only relation_only can be trained on it"
            + remedy
        )
    trained = ", ".join(sorted(corpus.trained(spec.task)))
    raise UserError(
        f"--task {spec.task}: the training split of {corpus.name} has {trained or 'no relation'} alone to choose from; it "
        "needs two classes."
    )


def _train(spec: Spec, corpus: Corpus, folder: Path, profile: str, keep_model: bool) -> None:
    new = not folder.exists()
    info = _describe(spec, corpus, profile)
    _write_json(folder / "run.json", info | {"status": "running"})
    start, busy, work = time.perf_counter(), time.process_time(), folder / CHECKPOINTS
    with suppress(OSError):  # measure the peak from here on: no run is charged with those before it (Linux only)
        Path("/proc/self/clear_refs").write_text("5")
    try:
        outcome = family(spec.family).fit(corpus, spec.task, spec.settings, spec.seed, work)
    except BaseException as error:
        mistake = isinstance(error, UserError) or exhausted(error)
        if new and mistake and not any(work.glob("checkpoint-*")):  # there is nothing to keep
            shutil.rmtree(folder)
            raise
        _write_json(folder / "run.json", info | {"status": "failed", "error": f"{type(error).__name__}: {error}"})
        raise
    seconds, busy = time.perf_counter() - start, time.process_time() - busy
    metrics = {
        split: _write_predictions(spec.task, corpus, split, outcome, info["classes"], folder) for split in SCORED
    }
    _write_json(folder / "metrics.json", metrics)
    history = pd.DataFrame(outcome.history or [{"step": 0}])
    write_text(folder / "history.csv", history.to_csv(index=False, lineterminator="\n"))
    if keep_model:
        outcome.save(folder / "model")
    cost = {
        "wall_seconds": round(seconds, 3),
        "cpu_seconds": round(busy, 3),  # of all threads: what else the machine does changes it little
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "finished": time.time(),
    }
    _write_json(folder / "run.json", info | outcome.details | cost | {"status": "done"})
    shutil.rmtree(work, ignore_errors=True)


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
        "versions": {"python": platform.python_version()} | {name: version(name) for name in RECORDED},
        "machine": {"processor": _processor(), "architecture": platform.machine(), "cores": os.cpu_count()},
        "threads": int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1), "git": git_commit(),
    }  # fmt: skip


def _processor() -> str:
    """The processor's name, such as `Intel(R) Xeon(R) Platinum 8481C`: its instructions decide the last digits."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


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
    write_bytes(folder / "predictions" / f"{split}.jsonl", predictions_bytes(frame))
    write_bytes(folder / "predictions" / f"{split}.safetensors", log_probs_bytes(log_probs))
    return task_scores(task, frame.label_true.tolist(), frame.label_pred.tolist(), classes)


def _write_json(path: Path, content: object) -> None:
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")

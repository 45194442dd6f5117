"""Publication: copies of finished runs without their models, small enough to be committed."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tacred_utils.corpora.example import ROWS, write_rows
from tacred_utils.ground.errors import UserError
from tacred_utils.ground.files import read_bytes, write_bytes
from tacred_utils.ground.labels import LABEL_SETS, SCORED
from tacred_utils.runs.predictions import predictions_bytes
from tacred_utils.runs.profile import load_corpus
from tacred_utils.runs.store import Run, log_probs_bytes


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
    """The files of a run's published copy, run.json last: it makes the copy count. `UserError` if one is damaged."""
    files = {"metrics.json": json.dumps(run.metrics, indent=1).encode() + b"\n"}
    files["history.csv"] = read_bytes(run.folder / "history.csv")
    for split in SCORED:
        files[f"predictions/{split}.jsonl.gz"] = _gzipped(predictions_bytes(run.predictions(split)))
        if run.has_log_probs and log_probs:
            matrix = log_probs_bytes(run.log_probs(split).astype(np.float16))
            files[f"predictions/{split}.safetensors.gz"] = _gzipped(matrix)
    return files | {"run.json": read_bytes(run.folder / "run.json")}


def _gzipped(data: bytes) -> bytes:
    """Compressed without a time stamp, so that equal data gives equal bytes."""
    return gzip.compress(data, mtime=0)

"""Time and memory of each stage on the synthetic corpus at several scales, each stage in a process of its own.

python benchmarks/scale.py [scales, 0.1,0.3,1.0 without]

A stage that is linear in the rows grows tenfold from 0.1 to 1.0.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from msgspec.structs import replace

from tacred_utils.corpora.example import Corpus
from tacred_utils.ground.labels import SPLITS
from tacred_utils.runs.data import load_corpus
from tacred_utils.runs.profile import load_profile

PROFILE = load_profile("open")
STAGES = ("reading", "SVM", "BiLSTM, one epoch", "PA-LSTM, one epoch", "MiniLM, scoring test")


def bilstm(corpus: Corpus, variant: str | None) -> float:
    """Seconds of one epoch of all rows, with the encoding and without the scoring of dev and test."""
    from tacred_utils.models import bilstm

    settings = replace(PROFILE.settings("bilstm", variant), epochs=1, max_ratio=0.0)
    with tempfile.TemporaryDirectory() as folder:
        facts = bilstm.fit(corpus, "joint", settings, 13, Path(folder)).details
    return facts["seconds"]["encode"] + facts["training_seconds"]


def scoring(corpus: Corpus) -> float:
    """Seconds of an untrained MiniLM with typed marks over the test split, with the encoding."""
    from tacred_utils.models.pretrained import load_pretrained
    from tacred_utils.models.scoring import score
    from tacred_utils.models.transformer import Classifier, make_encoder

    settings = PROFILE.settings("bert", "typed_marker_punct")
    with tempfile.TemporaryDirectory() as folder:
        pretrained = load_pretrained(settings.model, settings.own, corpus, Path(folder))
    encoder, _ = make_encoder(corpus, settings, pretrained)
    classifier = Classifier(pretrained.backbone, len(corpus.labels), settings, encoder)
    start = time.perf_counter()
    score(classifier, encoder.encode(corpus.test))
    return time.perf_counter() - start


def svm(corpus: Corpus) -> float:
    from tacred_utils.models import svm

    start = time.perf_counter()
    svm.fit(corpus, "joint", PROFILE.settings("svm"), 13, Path())
    return time.perf_counter() - start


def stage(name: str, folder: str) -> dict[str, float]:
    """What one stage costs on the corpus in a folder; the reading is not counted but for itself."""
    start = time.perf_counter()
    corpus = load_corpus(folder)
    seconds = time.perf_counter() - start
    if name == "SVM":
        seconds = svm(corpus)
    elif name.startswith("MiniLM"):
        seconds = scoring(corpus)
    elif name != "reading":
        seconds = bilstm(corpus, "pa_lstm" if name.startswith("PA") else None)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"rows": len(corpus.train), "seconds": seconds, "peak_mb": peak}


def main() -> None:
    scales = [float(scale) for scale in (sys.argv[1] if len(sys.argv) > 1 else "0.1,0.3,1.0").split(",")]
    found: dict[tuple[str, float], dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as home:
        for scale in scales:
            folder = str(Path(home) / f"scale-{scale:g}")
            make = [sys.executable, "-m", "tacred_utils", "data", "make-sample", "--scale", str(scale), "--out", folder]
            subprocess.run(make, check=True, stdout=subprocess.DEVNULL)
            for name in STAGES:
                call = [sys.executable, __file__, "--stage", name, folder]
                found[name, scale] = json.loads(subprocess.run(call, check=True, capture_output=True).stdout)
                print(f"{name} at {scale:g}: {found[name, scale]}", file=sys.stderr, flush=True)
    heads = [f"{found[STAGES[0], scale]['rows']:,} rows: s | peak MB" for scale in scales]
    print(f"| stage | {' | '.join(heads)} | times from first to last |\n|---|{'---:|' * (2 * len(scales) + 1)}")
    for name in STAGES:
        row = [f"{found[name, scale]['seconds']:.1f} | {found[name, scale]['peak_mb']:.0f}" for scale in scales]
        times = np.divide(found[name, scales[-1]]["seconds"], found[name, scales[0]]["seconds"])
        print(f"| {name} | {' | '.join(row)} | {times:.1f} |")
    print(f"\nDev and test grow alike: {', '.join(SPLITS)} at scale 1 are TACRED's.")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--stage"]:
        print(json.dumps(stage(*sys.argv[2:])))
    else:
        main()

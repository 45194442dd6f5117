"""How the cost of each stage grows with a corpus, each stage in a process of its own.

python benchmarks/scale.py sample 0.1,0.3,1.0             the synthetic corpus at shares of TACRED's size
python benchmarks/scale.py redocred_small 1,2,6 [folder]  real text so many times, with a last word of its own each time

Seconds are processor time of one thread, which other work on the machine changes little. A stage that is linear in the
rows grows as they do.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
from msgspec.structs import replace

from tacred_utils.corpora.example import Corpus, Example
from tacred_utils.ground.labels import SPLITS
from tacred_utils.runs.profile import load_corpus, load_profile

PROFILE = load_profile("open")
STAGES = ("reading", "SVM", "BiLSTM, one epoch", "MiniLM's spans, scoring test")
TAGS = ("stanford_pos", "stanford_ner", "stanford_head", "stanford_deprel")


def bilstm(corpus: Corpus) -> None:
    """Encode, train an epoch on all rows, and score dev twice and test once."""
    from tacred_utils.models import bilstm

    settings = replace(PROFILE.settings("bilstm"), epochs=1, max_ratio=0.0)
    with tempfile.TemporaryDirectory() as folder:
        bilstm.fit(corpus, "joint", settings, 13, Path(folder))


def scoring(corpus: Corpus) -> None:
    """Encode and score the test split with an untrained MiniLM that reads spans."""
    from tacred_utils.models.networks import score
    from tacred_utils.models.pretrained import load_pretrained
    from tacred_utils.models.transformer import Classifier, make_encoder

    settings = PROFILE.settings("bert", "spans")
    with tempfile.TemporaryDirectory() as folder:
        pretrained = load_pretrained(settings.model, settings.own, corpus, Path(folder))
    encoder, _ = make_encoder(corpus, settings, pretrained)
    score(Classifier(pretrained.backbone, len(corpus.labels), settings, encoder), encoder.encode(corpus.test))


def svm(corpus: Corpus) -> None:
    from tacred_utils.models import svm

    svm.fit(corpus, "joint", PROFILE.settings("svm"), 13, Path())


def stage(name: str, folder: str) -> dict[str, float]:
    """What one stage costs on the corpus in a folder; the reading is not counted but for itself."""
    start = time.process_time()
    corpus = load_corpus(folder)
    if work := dict(zip(STAGES[1:], (svm, bilstm, scoring), strict=True)).get(name):
        start = time.process_time()
        work(corpus)
    seconds, peak = time.process_time() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"rows": len(corpus.train), "seconds": seconds, "peak_mb": peak}


def repeated(rows: list[Example], times: int) -> Iterator[dict[str, object]]:
    """Records of rows so many times; every copy of a sentence ends in a word of its own, so that none is read twice."""
    for copy in range(times):
        for row in rows:
            record = {name: value for name, value in msgspec.to_builtins(row).items() if value is not None}
            record |= {name: [*record[name], record[name][-1]] for name in TAGS if name in record}
            yield record | {"id": f"{row.id}-{copy}", "token": [*row.token, f"copy{copy}"]}


def make(corpus: str, scale: str, data: Path | None, folder: Path) -> None:
    """Write the corpus at a scale into a folder."""
    if corpus == "sample":
        command = [sys.executable, "-m", "tacred_utils", "data", "make-sample", "--scale", scale, "--out", str(folder)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return
    folder.mkdir()
    whole = load_corpus(corpus, data)
    for split in SPLITS:
        (folder / f"{split}.json").write_text(json.dumps(list(repeated(whole.split(split), int(scale)))))


def main(corpus: str = "redocred_small", scales: str = "1,2,6", data: str | None = None) -> None:
    found, names = {}, scales.split(",")
    with tempfile.TemporaryDirectory() as home:
        for scale in names:
            folder = Path(home) / f"{corpus}-{scale}"
            make(corpus, scale, Path(data) if data else None, folder)
            for name in STAGES:
                call = [sys.executable, __file__, "--stage", name, str(folder)]
                done = subprocess.run(call, check=True, capture_output=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
                found[name, scale] = json.loads(done.stdout)
                print(f"{name} at {scale}: {found[name, scale]}", file=sys.stderr, flush=True)
    heads = [f"{found[STAGES[0], scale]['rows']:,} rows: s | peak MB" for scale in names]
    print(f"| {corpus} | {' | '.join(heads)} | times from first to last |\n|---|{'---:|' * (2 * len(names) + 1)}")
    for name in STAGES:
        row = [f"{found[name, scale]['seconds']:.1f} | {found[name, scale]['peak_mb']:.0f}" for scale in names]
        print(
            f"| {name} | {' | '.join(row)} | {found[name, names[-1]]['seconds'] / found[name, names[0]]['seconds']:.1f} |"
        )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--stage"]:
        print(json.dumps(stage(*sys.argv[2:])))
    else:
        main(*sys.argv[1:])

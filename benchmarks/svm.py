"""Time and memory of the SVM at TACRED's size, on the synthetic corpus.

python benchmarks/svm.py [scale] [variant]

Detection, then relation_only, as a study trains them: features are extracted once. Prints a Markdown table.
"""

import resource
import sys
import time

from tacred_utils.corpora.reader import assemble
from tacred_utils.models.svm import fit
from tacred_utils.runs.profile import load_profile
from tacred_utils.sample.generator import generate


def peak_mb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def main(scale: float = 1.0, variant: str | None = None) -> None:
    start = time.perf_counter()
    corpus = assemble("sample", generate(dict.fromkeys(("train", "dev", "test"), scale)), "the synthetic corpus")
    print(f"corpus: {len(corpus.train)} / {len(corpus.dev)} / {len(corpus.test)} rows")
    print(f"made in {time.perf_counter() - start:.1f} s, peak {peak_mb()} MB\n")
    settings = load_profile("sample").settings("svm", variant)
    print("| task | rows | features | extraction s | fit s | calibration and scoring s | in all s | peak MB |")
    print("|---|---|---|---|---|---|---|---|")
    total = 0.0
    for task in ("detection", "relation_only"):
        start = time.perf_counter()
        details = fit(corpus, task, settings, seed=13).details
        seconds = time.perf_counter() - start
        total += seconds
        parts = " | ".join(f"{value:.1f}" for value in details["seconds"].values())
        print(
            f"| {task} | {details['fitted_rows']} | {details['features']} | {parts} | {seconds:.1f} | {peak_mb()} |",
            flush=True,
        )
    print(f"| both | | | | | | {total:.1f} | {peak_mb()} |")


if __name__ == "__main__":
    main(*(kind(value) for kind, value in zip((float, str), sys.argv[1:], strict=False)))

"""One training in one process and in two, and two trainings at once: time, steps, scores and agreement of the answers.

python benchmarks/processes.py [family, bert without]
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

from tacred_utils.ground.paths import ROOT
from tacred_utils.notebook.tables import markdown
from tacred_utils.runs.store import Run, find_runs


def train(family: str, seed: int, results: Path, launcher: list[str], threads: int) -> subprocess.Popen[bytes]:
    """A joint training on the synthetic corpus, started."""
    arguments = ["-m", "tacred_utils", "train", "--family", family, "--task", "joint", "--seed", str(seed)]
    command = [sys.executable, *launcher, *arguments, "--results", str(results)]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)


def seconds(processes: list[subprocess.Popen[bytes]], start: float) -> float:
    if any(process.wait() for process in processes):
        raise SystemExit("a training failed")
    return time.perf_counter() - start


def row(name: str, run: Run, wall: float, reference: Run) -> dict[str, object]:
    """What a run cost and answered, beside the run of one process."""
    answers, others = (each.predictions("test") for each in (run, reference))
    scores = run.metrics["test"]
    return {
        "trainings": name, "wall s": f"{wall:.0f}", "fit s": f"{run.info['training_seconds']:.0f}",
        "rows fitted": run.info["fitted_rows"], "test rows answered": len(answers),
        "answers as in one process": f"{(answers.label_pred == others.label_pred).mean():.1%}",
        "micro F1": f"{scores['micro_f1']:.3f}", "macro F1": f"{scores['macro_f1']:.3f}",
    }  # fmt: skip


def main() -> None:
    family = sys.argv[1] if len(sys.argv) > 1 else "bert"
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    ways = {
        "one, in one process of two threads": ([], 2, [13]),
        "the same, in two processes of one thread": (torchrun, 1, [13]),
        "two at once (seeds 13, 42), each one process of one thread": ([], 1, [13, 42]),
    }
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as home:
        reference = None
        for name, (launcher, threads, seeds) in ways.items():
            results, start = Path(home) / str(len(rows)), time.perf_counter()
            wall = seconds([train(family, seed, results, launcher, threads) for seed in seeds], start)
            for run in sorted(find_runs(results), key=lambda run: run.info["seed"]):
                reference = reference or run
                rows.append(row(f"{name}: seed {run.info['seed']}", run, wall, reference))
    print(markdown(pd.DataFrame(rows)))


if __name__ == "__main__":
    main()

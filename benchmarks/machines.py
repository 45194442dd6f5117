"""What the same settings answer on two machines, or with two numbers of threads: a line of data/evidence/machines.csv.

python benchmarks/machines.py RUN RUN

RUN is a run's folder. Raises where the two are not of the same settings and data.
"""

import sys
from pathlib import Path

from tacred_utils.metrics.counts import task_scores
from tacred_utils.runs.experiments import name_of
from tacred_utils.runs.store import Run


def machine(run: Run) -> str:
    """`AMD EPYC, 2 threads`; an architecture alone where the processor's name was not kept."""
    threads = run.info.get("threads") or 1
    return f"{run.info['machine']['processor']}, {threads} thread{'s' * (threads > 1)}"


def main(first: str, second: str) -> None:
    runs = [Run(Path(each)) for each in (first, second)]
    assert runs[0].folder.name == runs[1].folder.name, "two runs of the same settings are compared"
    answers = [run.predictions("test") for run in runs]
    gold, classes = answers[0].label_true.tolist(), runs[0].info["classes"]
    scores = [task_scores(runs[0].task, gold, each.label_pred.tolist(), classes)["micro_f1"] for each in answers]
    other = int((answers[0].label_pred != answers[1].label_pred).sum())
    line = (name_of(runs[0]), *map(machine, runs), len(gold), other, *(f"{score:.6f}" for score in scores))
    print(*(f'"{part}"' if "," in str(part) else part for part in line), sep=",")


if __name__ == "__main__":
    main(*sys.argv[1:])

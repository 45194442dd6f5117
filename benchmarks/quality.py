"""Quality against time: every joint system of a corpus' published runs, by processor minutes of training.

python benchmarks/quality.py [corpus]

Prints a Markdown table and writes quality.png beside this file. Minutes are processor time of training and of scoring each
epoch, all threads together, which other work on the machine changes little; on two cores about half of it passes on
the clock. Systems of which no run kept its processor time are left out.
"""

import sys
from pathlib import Path

import pandas as pd

from tacred_utils.ground.paths import PUBLISHED_RUNS
from tacred_utils.notebook.figures import COLOURS, COLUMN, canvas
from tacred_utils.notebook.tables import markdown
from tacred_utils.runs.experiments import is_headline, name_of
from tacred_utils.runs.store import find_runs


def systems(corpus: str) -> pd.DataFrame:
    """A row a system: family, name, seeds, mean micro F1 on dev and test, mean minutes, parameters; the fastest first."""
    rows = [
        {"family": run.family, "system": name_of(run), "minutes": run.info.get("cpu_seconds", float("nan")) / 60, "dev": run.metrics["dev"]["micro_f1"],
         "test": run.metrics["test"]["micro_f1"], "memory, MB": run.info["peak_memory_mb"], "seed": run.seed}
        for run in find_runs(PUBLISHED_RUNS, corpus) if run.task == "joint" and is_headline(run)
    ]  # fmt: skip
    found = pd.DataFrame(rows).groupby(["family", "system"], as_index=False)
    found = found.agg({"seed": "count", "minutes": "mean", "memory, MB": "max", "dev": "mean", "test": "mean"})
    return found.rename(columns={"seed": "seeds"}).dropna(subset="minutes").sort_values("minutes", ignore_index=True)


def draw(found: pd.DataFrame, path: Path) -> None:
    figure, [axis] = canvas(1, 2 * COLUMN, COLUMN)
    for row in found.itertuples():
        axis.scatter(row.minutes, row.test, color=COLOURS[row.family], s=14)
        name = row.system.partition(" (")[0] + row.system.rpartition(")")[2]
        axis.annotate(name, (row.minutes, row.test), xytext=(4, 2), textcoords="offset points", fontsize=6)
    axis.set(xscale="log", xlabel="processor minutes of training (log scale)", ylabel="test micro F1")
    axis.margins(x=0.25)
    figure.savefig(path, dpi=200)


def main(corpus: str = "redocred_small") -> None:
    found = systems(corpus)
    draw(found, Path(__file__).with_suffix(".png"))
    shown = found.drop(columns="family").round({"minutes": 1, "dev": 3, "test": 3, "memory, MB": 0})
    print(markdown(shown))


if __name__ == "__main__":
    main(*sys.argv[1:])

"""The results table of the README: made from published runs and from 09's tables, real data first, never typed."""

from collections import defaultdict
from pathlib import Path

import pandas as pd

from tacred_utils.errors import UserError
from tacred_utils.metrics import over_seeds
from tacred_utils.paths import FIGURES, PUBLISHED_RUNS, ROOT, write_text
from tacred_utils.runs import Run, find_runs
from tacred_utils.settings import load_profile
from tacred_utils.tables import markdown

START, END = "<!-- results:start -->", "<!-- results:end -->"
SCORES = {
    "micro_f1": "micro F1", "macro_f1_relations": "macro F1, relations", "macro_f1": "macro F1, all labels",
    "weighted_f1": "weighted F1", "detection_f1": "detection F1",
}  # fmt: skip
ORDER = ("conll04", "kbp37", "sample")  # real text first; any other published corpus stands between


def refresh(readme: Path = ROOT / "README.md") -> None:
    """Write the results between the README's markers; raises `UserError` when the markers are not there."""
    text = readme.read_text(encoding="utf-8")
    if text.count(START) != 1 or text.count(END) != 1:
        raise UserError(f"{readme}: has no pair of markers {START} and {END}; put them where the results belong.")
    before, after = text[: text.index(START)], text[text.index(END) :]
    write_text(readme, f"{before}{START}\n{results()}{after}")


def results() -> str:
    """The tables as Markdown: published systems on TACRED's test split, then our runs by corpus."""
    parts = []
    published = FIGURES / "published" / "tables" / "09_scores.csv"
    if published.exists():
        frame = pd.read_csv(published).rename(columns=SCORES)[
            ["system", *(n for k, n in SCORES.items() if k != "macro_f1_relations")]
        ]
        parts.append(
            f"**TACRED, test split** (recomputed from the systems' published predictions, notebook 09)\n\n{markdown(frame)}"
        )
    runs = find_runs(PUBLISHED_RUNS) if PUBLISHED_RUNS.exists() else []
    for corpus in sorted({run.folder.parent.name for run in runs}, key=_rank):
        parts.append(_corpus(_on_most_data([run for run in runs if run.folder.parent.name == corpus])))
    return "\n".join(parts)


def _rank(corpus: str) -> float:
    return ORDER.index(corpus) if corpus in ORDER else 1.5


def _on_most_data(runs: list[Run]) -> list[Run]:
    """The runs on the largest version of a corpus: a subset's scores must not be averaged with the whole's."""
    largest = max(runs, key=lambda run: sum(run.info["corpus"]["rows"].values())).info["corpus"]["sha256"]
    return [run for run in runs if run.info["corpus"]["sha256"] == largest]


def _as_the_profile_says(run: Run) -> bool:
    """Whether the run is a headline row: its settings are its variant's, none overridden as in an ablation."""
    settings = load_profile(run.info["profile"]).settings(run.info["family"], run.info["variant"])
    return settings == run.settings


def _corpus(runs: list[Run]) -> str:
    """One corpus: its joint systems, mean and standard deviation over seeds."""
    groups: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        if run.info["task"] == "joint" and _as_the_profile_says(run):
            groups[", ".join(filter(None, (run.info["family"], run.info["variant"])))].append(run)
    facts = runs[0].info["corpus"]
    scores = dict(SCORES)
    if any("directional_macro_f1" in run.metrics["test"] for run in runs):
        scores = {"directional_macro_f1": "official macro F1", **scores}
    rows = [
        {"system": name, **_cells([run.metrics["test"] for run in group], scores)}
        for name, group in sorted(groups.items())
    ]
    stamp = "SYNTHETIC" if facts["synthetic"] else facts["subset"] or "complete"
    return f"**{facts['name']}, test split, joint** ({stamp}; {facts['rows']['test']:,} rows)\n\n{markdown(pd.DataFrame(rows))}"


def _cells(metrics: list[dict[str, float]], scores: dict[str, str]) -> dict[str, str]:
    table = over_seeds(metrics)
    return {
        name: f"{table['mean'][key]:.3f}" + (f" ± {table.sd[key]:.3f}" if len(metrics) > 1 else "")
        for key, name in scores.items()
    }

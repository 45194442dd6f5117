"""The results of the README: findings of the executed notebooks, and tables from published runs; never typed."""

from collections import defaultdict
from pathlib import Path

import numpy as np
import pandas as pd

from tacred_utils.cli.execute import read_notebook
from tacred_utils.ground.errors import UserError
from tacred_utils.ground.files import FIGURES, NOTEBOOKS, PUBLISHED_RUNS, ROOT, write_text
from tacred_utils.models.settings import FAMILIES
from tacred_utils.notebook.findings import leads
from tacred_utils.notebook.tables import markdown
from tacred_utils.paper.summaries import score_texts
from tacred_utils.runs.catalog import RunCatalog, load_catalogs
from tacred_utils.runs.store import Run

START, END = "<!-- results:start -->", "<!-- results:end -->"
PUBLISHED_SCORES = {
    "micro_f1": "micro F1", "macro_f1": "macro F1, all labels", "weighted_f1": "weighted F1",
    "detection_f1": "detection F1",
}  # fmt: skip
SCORES = {  # the official score of a corpus with directions comes first, where it has them
    "directional_macro_f1": "official macro F1", "micro_f1": "micro F1", "macro_f1_relations": "macro F1",
}  # fmt: skip
CLAIMS = "10_claims"
ORDER = ("redocred_small", "conll04", "kbp37")  # the main corpus first; any other published corpus comes last


def refresh(readme: Path = ROOT / "README.md") -> None:
    """Write the results between the README's markers; raises `UserError` when the markers are not there."""
    text = readme.read_text(encoding="utf-8")
    if text.count(START) != 1 or text.count(END) != 1:
        raise UserError(f"{readme}: has no pair of markers {START} and {END}; put them where the results belong.")
    before, after = text[: text.index(START)], text[text.index(END) :]
    write_text(readme, f"{before}{START}\n{results()}{after}")


def findings() -> str:
    """All answers at the top of the page of claims, and the first of every other page, if it holds: a line with a link."""
    pages = sorted((NOTEBOOKS / "executed").glob("*.ipynb"), key=lambda path: (path.stem != CLAIMS, path))
    lines = [
        f"- {found.text} ([{path.stem[:2]}](notebooks/executed/{path.name}))"
        for path in pages
        for found in leads(read_notebook(path))[: None if path.stem == CLAIMS else 1]
        if found.holds
    ]
    return "\n".join(lines) + "\n" if lines else ""


def results() -> str:
    """As Markdown: the findings, then a table of published systems on TACRED's test split and one of ours by corpus."""
    parts = [findings()]
    published = FIGURES / "published" / "tables" / "09_scores.csv"
    if published.exists():
        frame = pd.read_csv(published)[["system", *PUBLISHED_SCORES]].sort_values("micro_f1", ascending=False)
        frame = pd.concat([frame.head(3), frame.tail(3)]).rename(columns=PUBLISHED_SCORES)
        parts.append(
            "**TACRED, test split** (the three best and the three last of notebook 09's, recomputed from published"
            f" predictions)\n\n{markdown(frame)}"
        )
    if corpora := load_catalogs([(PUBLISHED_RUNS, None)]):
        parts.append(_ours({name: corpora[name] for name in sorted(corpora, key=[*ORDER, *corpora].index)}))
    return "\n".join(parts)


def _ours(corpora: dict[str, RunCatalog]) -> str:
    """One table: of each family the paper's recipe and the best of ours, by corpus."""
    table: dict[tuple[int, bool, str], dict[str, str]] = defaultdict(dict)
    for corpus, catalog in corpora.items():
        directed = any("directional_macro_f1" in run.metrics["test"] for run in catalog.frame.run)
        scores = [score for score in SCORES if score in (("directional_macro_f1", "micro_f1") if directed else SCORES)]
        for row, runs in _shown_systems(catalog).items():
            texts = score_texts([run.metrics["test"] for run in runs], scores)
            table[row] |= {f"{corpus}: {SCORES[score]}": text for score, text in texts.items()}
    text = markdown(pd.DataFrame([{"system": row[-1]} | table[row] for row in sorted(table)]).fillna(""))
    return (
        f"**Ours, test splits, joint** (macro F1 over relations)\n\n{text}\nOf each family the paper's recipe, and the "
        "system of ours that is best by dev micro F1.\n"
    )


def _shown_systems(catalog: RunCatalog) -> dict[tuple[int, bool, str], list[Run]]:
    """Joint runs of each family's recipe of the paper and of ours with the best dev micro F1, by the family's place,
    whether it is ours, and name.
    """
    shown, frame = {}, catalog.frame[(catalog.frame.system != "") & (catalog.frame.task == "joint")]
    papers = (frame.changed == "{}") & (frame.variant == frame.family.map({"svm": "paper"}).fillna(""))
    for place, family in enumerate(FAMILIES):
        for ours, part in frame[frame.family == family].groupby(~papers):
            systems = {name: runs.tolist() for name, runs in part.groupby("system").run}
            best = max(systems, key=lambda name: np.mean([run.metrics["dev"]["micro_f1"] for run in systems[name]]))
            shown[place, ours, best] = systems[best]
    return shown

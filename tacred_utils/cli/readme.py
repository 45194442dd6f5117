"""The results of the README: findings of the executed notebooks, and tables from published runs; never typed."""

from collections import defaultdict
from pathlib import Path

import nbformat
import pandas as pd

from tacred_utils.ground.errors import UserError
from tacred_utils.ground.files import write_text
from tacred_utils.ground.paths import FIGURES, NOTEBOOKS, PUBLISHED_RUNS, ROOT
from tacred_utils.metrics.estimates import over_seeds
from tacred_utils.models.settings import FAMILIES
from tacred_utils.notebook.findings import leads
from tacred_utils.notebook.tables import markdown
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
ORDER = ("redocred_small", "conll04", "kbp37")  # the main corpus first; any other published corpus comes last


def refresh(readme: Path = ROOT / "README.md") -> None:
    """Write the results between the README's markers; raises `UserError` when the markers are not there."""
    text = readme.read_text(encoding="utf-8")
    if text.count(START) != 1 or text.count(END) != 1:
        raise UserError(f"{readme}: has no pair of markers {START} and {END}; put them where the results belong.")
    before, after = text[: text.index(START)], text[text.index(END) :]
    write_text(readme, f"{before}{START}\n{results()}{after}")


def findings() -> str:
    """The answers at the top of the executed notebooks that hold, a line each, with a link to the page."""
    lines = [
        f"- {found.text} ([{path.stem[:2]}](notebooks/executed/{path.name}))"
        for path in sorted((NOTEBOOKS / "executed").glob("*.ipynb"), key=_claims_first)
        for found in leads(nbformat.read(path, as_version=4))
        if found.holds
    ]
    return "\n".join(lines) + "\n" if lines else ""


def _claims_first(path: Path) -> tuple[bool, str]:
    return not path.stem.startswith("10"), path.stem


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
    corpora = load_catalogs([(PUBLISHED_RUNS, None)])
    corpora = {name: corpora[name] for name in sorted(corpora, key=_rank)}
    return "\n".join([*parts, *([_ours(corpora)] if corpora else [])])


def _rank(corpus: str) -> float:
    return ORDER.index(corpus) if corpus in ORDER else len(ORDER)


def _ours(corpora: dict[str, RunCatalog]) -> str:
    """One table: of each family the paper's recipe and the best of ours, by corpus."""
    table: dict[tuple[int, bool, str], dict[str, str]] = defaultdict(dict)
    for corpus, catalog in corpora.items():
        directed = any("directional_macro_f1" in run.metrics["test"] for run in catalog.frame.run)
        scores = [score for score in SCORES if score in (("directional_macro_f1", "micro_f1") if directed else SCORES)]
        for row, group in _systems(catalog).items():
            means = over_seeds([run.metrics["test"] for run in group])
            table[row] |= {f"{corpus}: {SCORES[key]}": _cell(means, key) for key in scores if key in means.index}
    text = markdown(pd.DataFrame([{"system": row[-1]} | table[row] for row in sorted(table)]).fillna(""))
    return (
        f"**Ours, test splits, joint** (macro F1 over relations)\n\n{text}\nOf each family the paper's recipe, and the "
        "system of ours that is best by dev micro F1.\n"
    )


def _systems(catalog: RunCatalog) -> dict[tuple[int, bool, str], list[Run]]:
    """Joint runs of each family's recipe of the paper and of ours with the best dev micro F1, by the family's place,
    whether it is ours, and name.
    """
    shown, others = defaultdict(list), defaultdict(lambda: defaultdict(list))
    frame = catalog.frame
    for row in frame[(frame.system != "") & (frame.task == "joint")].itertuples():
        place = list(FAMILIES).index(row.family)
        if row.changed == "{}" and row.variant == ("paper" if row.family == "svm" else ""):
            shown[place, False, row.system].append(row.run)
        else:
            others[place][row.system].append(row.run)
    for place, systems in others.items():
        name, best = max(systems.items(), key=lambda item: _dev(item[1]))
        shown[place, True, name] = best
    return shown


def _dev(runs: list[Run]) -> float:
    return over_seeds([run.metrics["dev"] for run in runs]).value["micro_f1"]


def _cell(table: pd.DataFrame, score: str) -> str:
    mean, low, high, seeds = table.loc[score, ["value", "low", "high", "n"]]
    return f"{mean:.3f}" + (f" ({low:.3f}–{high:.3f})" if seeds > 1 else "")

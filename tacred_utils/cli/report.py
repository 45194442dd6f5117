"""The study as a static site that needs no network: executed notebooks, pages of errors, and a search over all of it; and
the results of the README.

Pages, style, scripts and the search's index are files beside each other (templates and scripts: site/). What stems from
a corpus is escaped here or written as text by the scripts, and no sentence of a licensed corpus is shown.
"""

import html
import json
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote

import jinja2
import msgspec
import numpy as np
import pandas as pd

from tacred_utils.cli.execute import read_notebook
from tacred_utils.corpora.example import Corpus
from tacred_utils.corpora.registry import corpora
from tacred_utils.ground.errors import UserError
from tacred_utils.ground.files import write_text
from tacred_utils.ground.labels import TASKS, order_labels
from tacred_utils.ground.paths import FIGURES, NOTEBOOKS, PACKAGE, PUBLISHED_RUNS, ROOT
from tacred_utils.metrics.counts import as_scored
from tacred_utils.metrics.groups import type_pair
from tacred_utils.models.settings import FAMILIES
from tacred_utils.notebook.findings import leads
from tacred_utils.notebook.manifest import STUDY
from tacred_utils.notebook.tables import markdown
from tacred_utils.paper.measures import score_texts
from tacred_utils.runs.catalog import RunCatalog, load_catalogs
from tacred_utils.runs.profile import load_corpus, load_profile
from tacred_utils.runs.store import Run, git_commit

SITE = PACKAGE / "cli" / "site"
ASSETS = ("style.css", "site.js", "errors.js")


@dataclass(frozen=True)
class Page:
    """One page: its address below the site's root, its name in the navigation, its title, and what its template shows."""

    url: str
    short: str
    title: str
    body: str = ""  # of a notebook, as HTML
    sections: list[tuple[str, str, str]] = field(default_factory=list)  # anchor, heading, text
    findings: list[str] = field(default_factory=list)  # a notebook's answer, as HTML
    note: str = ""  # of a page of errors: what is said of its sentences
    errors: dict[str, object] | None = None

    @property
    def contents(self) -> list[tuple[str, str]]:
        """Anchor and heading of every section below the title."""
        return [(anchor, heading) for anchor, heading, _ in self.sections[1:]]


def build(out: Path, executed: Path, results: Iterable[Path], data: Path) -> Path:
    """Write the site of all corpora below `out` and return its first page.

    `executed` holds the notebooks of the study's own corpus and a folder of them for each other one, `results` are folders
    of runs, `data` is where corpora lie. Raises `UserError` where there is neither a notebook nor a run, for a notebook
    that cannot be read, and if `out` is a file.
    """
    if out.exists() and not out.is_dir():  # told before a minute's work
        raise UserError(f"--out {out}: is a file; name a folder.")
    books = {STUDY: executed} | {folder.name: folder for folder in executed.glob("*/")}
    folders = [(folder, None) for folder in results]
    texts = [text for catalog in load_catalogs(folders).values() if (text := text_of(catalog, data))]
    runs = load_catalogs(folders, texts)  # on the data that is at hand, where some is
    chapters = []
    for name in sorted(runs | books, key=lambda name: (name != STUDY, name)):
        pages = [notebook_page(path, name) for path in sorted(books[name].glob("*.ipynb"))] if name in books else []
        if name in runs and (runs[name].frame.system != "").any():
            pages.append(errors_page(runs[name]))
        if pages:
            chapters.append({"name": name, "stamp": runs[name].stamp if name in runs else "", "pages": pages})
    if not chapters:
        raise UserError(
            f"{executed}: holds no executed notebook, so there is nothing to report; run ./run_all.sh first."
        )
    _write_site(out, chapters)
    return out / "index.html"


def text_of(catalog: RunCatalog, data: Path) -> Corpus | None:
    """The corpus of a catalogue's name and profile, if its files are at hand: by name, or as a folder beside the others."""
    profile = load_profile(catalog.frame.profile.iloc[0])
    name = catalog.corpus if catalog.corpus in corpora() else str(data / catalog.corpus)
    try:
        return load_corpus(name, data, scales=msgspec.to_builtins(profile.scales))
    except UserError:
        return None


def errors_page(catalog: RunCatalog) -> Page:
    """The page of errors of one corpus."""
    title = f"Where do the systems err? ({', '.join(filter(None, [catalog.corpus, catalog.stamp]))})"
    note = "The sentences are not at hand (--data-dir names their place): rows are named by ids."
    if catalog.facts["gated"]:
        note = "The text is licensed, so rows are named by their ids."
    elif catalog.text:
        note = ""
    found = errors(catalog, catalog.text)
    return Page(f"{catalog.corpus}/errors.html", "Errors", title, sections=[("", title, note)], note=note, errors=found)


def errors(catalog: RunCatalog, corpus: Corpus | None) -> dict[str, object]:
    """The test rows that some system of the study answers wrongly, with the answers of all, as JSON takes it.

    Labels are given by their place in `labels`, answers in the order of `systems` as (label, probability). A row has its
    types and its length in words if `corpus` is there, and its words and spans unless that is licensed.
    """
    frame = catalog.frame[catalog.frame.system != ""].drop_duplicates(["task", "system"])  # the first seed of each
    frame = frame.sort_values("task", key=lambda tasks: tasks.map(TASKS.index), kind="stable")
    answers = [run.predictions().set_index("id") for run in frame.run]
    gold = answers[0].label_true
    answers = [answer.loc[gold.index] for answer in answers]
    labels = order_labels({*gold, *(label for answer in answers for label in answer.label_pred)})
    place = {label: index for index, label in enumerate(labels)}
    wrong = np.zeros((len(gold), len(answers)), bool)  # of the rows that a task is scored on
    for place_of, (task, answer) in enumerate(zip(frame.task, answers, strict=True)):
        scored, true = as_scored(task, gold)
        wrong[scored, place_of] = answer.label_pred[scored] != true
    columns = [zip(answer.label_pred.map(place), answer.p.round(2), strict=True) for answer in answers]
    texts: dict[str, dict[str, object]] = {}
    for row in corpus.test if corpus else ():  # a licensed corpus gives types and lengths alone
        texts[row.id] = {"types": type_pair(row), "length": len(row.token)}
        if not (catalog.facts["gated"] or corpus.gated):
            texts[row.id] |= {"words": row.token, "subject": row.subject, "object": row.object}
    rows = [
        {"id": name, "gold": place[gold[name]], "answers": given, **texts.get(name, {})}
        for name, given, missed in zip(gold.index, zip(*columns, strict=True), wrong.any(axis=1), strict=True)
        if missed
    ]
    systems = [{"name": row.system, "family": row.family, "task": row.task} for row in frame.itertuples()]
    return {"labels": labels, "systems": systems, "rows": rows, "total": len(gold)}


def notebook_page(path: Path, corpus: str) -> Page:
    """An executed notebook as a page."""
    import nbformat
    from nbconvert.filters import markdown2html

    notebook = read_notebook(path)
    body, _ = _exporter().from_notebook_node(nbformat.reads(json.dumps(notebook), as_version=4))
    body = re.sub(r'(<a href="[^":/]+)\.ipynb(?=["#])', r"\1.html", body)  # links to notebooks lead to their pages
    parts = re.split(r'<h[12] id="(.*?)">(.*?)<a class="anchor-link".*?</h[12]>', body, flags=re.DOTALL)[1:]
    divided = zip(parts[::3], parts[1::3], parts[2::3], strict=True)  # at headings of the first two ranks
    sections = [(html.unescape(anchor), _words(heading), _words(text)) for anchor, heading, text in divided]
    title = sections[0][1] if sections else path.stem
    answer = [markdown2html(found.markdown) for found in leads(notebook)]
    return Page(f"{corpus}/{path.stem}.html", path.stem.replace("_", " "), title, body, sections, answer)


@lru_cache
def _exporter():
    from nbconvert import HTMLExporter  # takes a second

    return HTMLExporter(raw_template=(SITE / "notebook.html").read_text(encoding="utf-8"), anchor_link_text="#")


def _words(markup: str) -> str:
    text = re.sub(r"<[^>]*>", " ", re.sub(r"</?(a|b|code|em|i|span|strong)\b[^>]*>", "", markup))
    return " ".join(html.unescape(text).split())


def _write_site(out: Path, chapters: list[dict[str, object]]) -> None:
    templates = jinja2.Environment(loader=jinja2.FileSystemLoader(SITE), autoescape=True, trim_blocks=True)
    for name in ASSETS:
        write_text(out / name, (SITE / name).read_text(encoding="utf-8"))
    pages = [page for chapter in chapters for page in chapter["pages"]]
    for page, before, after in zip(pages, [None, *pages], [*pages[1:], None], strict=False):
        template = templates.get_template("errors.html" if page.errors else "page.html")
        around = {"root": "../", "corpora": chapters, "before": before, "after": after}
        write_text(out / page.url, template.render(page=page, title=page.title, url=page.url, **around))
        if page.errors:
            _write_script((out / page.url).with_name("errors.data.js"), "ERRORS", page.errors)
    sections = [
        (f"{page.url}#{quote(anchor)}", page.short, heading, text)
        for page in pages for anchor, heading, text in page.sections
    ]  # fmt: skip
    _write_script(out / "search.js", "SECTIONS", sections)
    front = templates.get_template("index.html")
    write_text(out / "index.html", front.render(title="The study", root="", corpora=chapters, commit=git_commit()))


def _write_script(path: Path, name: str, content: object) -> None:
    """A script that holds data: a browser may load it from the file system, where it may not fetch."""
    write_text(path, f"window.{name} = {json.dumps(content, separators=(',', ':'))};\n")


# The results of the README: findings of the executed notebooks, and tables from published runs; never typed.

START, END = "<!-- results:start -->", "<!-- results:end -->"
PUBLISHED_SCORES = {
    "micro_f1": "micro F1", "macro_f1": "macro F1, all labels", "weighted_f1": "weighted F1",
    "detection_f1": "detection F1",
}  # fmt: skip
SCORES = {  # the official score of a corpus with directions comes first, where it has them
    "directional_macro_f1": "official macro F1", "micro_f1": "micro F1", "macro_f1_relations": "macro F1",
}  # fmt: skip
CLAIMS = "10_claims"


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
        which = "the three best and the three last of notebook 09's, recomputed from published predictions"
        parts.append(f"**TACRED, test split** ({which})\n\n{markdown(frame)}")
    if corpora := load_catalogs([(PUBLISHED_RUNS, None)]):
        parts.append(_ours({name: corpora[name] for name in sorted(corpora, key=lambda name: (name != STUDY, name))}))
    return "\n".join(parts)


def _ours(corpora: dict[str, RunCatalog]) -> str:
    """One table: of each family the paper's recipe and of each model the best of ours, by corpus."""
    table: dict[tuple[int, bool, str], dict[str, str]] = defaultdict(dict)
    for corpus, catalog in corpora.items():
        directed = any("directional_macro_f1" in run.metrics["test"] for run in catalog.frame.run)
        scores = list(SCORES)[:2] if directed else SCORES
        for row, runs in _shown_systems(catalog).items():
            texts = score_texts([run.metrics["test"] for run in runs], scores)
            table[row] |= {f"{corpus}: {SCORES[score]}": text for score, text in texts.items()}
    text = markdown(pd.DataFrame([{"system": row[-1]} | table[row] for row in sorted(table)]).fillna(""))
    which = "Of each family the paper's recipe, and of each model the system of ours that is best by dev micro F1."
    return f"**Ours, test splits, joint** (macro F1 over relations)\n\n{text}\n{which}\n"


def _shown_systems(catalog: RunCatalog) -> dict[tuple[int, bool, str], list[Run]]:
    """Joint runs of each family's recipe of the paper and, of each model, of ours with the best dev micro F1: by the
    family's place, whether it is ours, and name.
    """
    shown, frame = {}, catalog.frame[(catalog.frame.system != "") & (catalog.frame.task == "joint")]
    papers = (frame.changed == "{}") & (frame.variant == frame.family.map({"svm": "paper"}).fillna(""))
    for place, family in enumerate(FAMILIES):
        own = frame[frame.family == family]
        models = own.run.map(lambda run: getattr(run.settings, "model", run.family))
        for (ours, _), part in own.groupby([~papers[own.index], models]):
            systems = {name: runs.tolist() for name, runs in part.groupby("system").run}
            best = max(systems, key=lambda name: np.mean([run.metrics["dev"]["micro_f1"] for run in systems[name]]))
            shown[place, ours, best] = systems[best]
    return shown

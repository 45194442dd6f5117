"""The study as a static site that needs no network: executed notebooks, pages of errors, and a search over all of it.

Pages, style, scripts and the search's index are files beside each other (templates and scripts: site/). What stems from
a corpus is escaped here or written as text by the scripts, and no sentence of a licensed corpus is shown.
"""

import base64
import html
import io
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote

import jinja2
import msgspec
import numpy as np
import pandas as pd

from tacred_utils.corpora.example import Corpus
from tacred_utils.corpora.registry import corpora
from tacred_utils.ground.errors import UserError
from tacred_utils.ground.files import write_text
from tacred_utils.ground.labels import TASKS, order_labels
from tacred_utils.ground.paths import PACKAGE
from tacred_utils.metrics.counts import as_scored
from tacred_utils.metrics.groups import type_pair
from tacred_utils.notebook.findings import leads
from tacred_utils.notebook.manifest import STUDY
from tacred_utils.runs.catalog import RunCatalog, load_catalogs
from tacred_utils.runs.data import load_corpus
from tacred_utils.runs.profile import load_profile
from tacred_utils.runs.store import git_commit

SITE = PACKAGE / "cli" / "site"
ASSETS = ("style.css", "site.js", "errors.js")
FORMULA = re.compile(r"<code>.*?</code>|\$\$(.+?)\$\$|(?<!\\)\$(\S|\S[^$\n]*\S)\$", re.DOTALL)  # none inside code


@dataclass(frozen=True)
class Page:
    """One page: its address below the site's root, its name in the navigation, its title, its content as HTML."""

    url: str
    short: str
    title: str
    body: str = ""
    sections: tuple[tuple[str, str, str], ...] = ()  # anchor, heading, text
    findings: tuple[str, ...] = ()  # its answer, a finding each, as HTML

    @property
    def contents(self) -> list[tuple[str, str]]:
        """Anchor and heading of every section below the title."""
        return [(anchor, heading) for anchor, heading, _ in self.sections[1:]]


@dataclass(frozen=True)
class Chapter:
    """What there is of one corpus: its pages in order; the stamp says SYNTHETIC or names the subset."""

    name: str
    stamp: str
    pages: list[Page]
    errors: dict[str, object] | None  # content of the page of errors, which is then the last one
    note: str = ""  # what the page of errors says of its sentences


def build(out: Path, executed: Path, results: Iterable[Path], data: Path) -> Path:
    """Write the site of all corpora below `out` and return its first page.

    `executed` holds the notebooks of the study's own corpus and a folder of them for each other one, `results` are folders
    of runs, `data` is where corpora lie.
    Raises `UserError` where there is neither a notebook nor a run, for a notebook that cannot be read, and if `out` is
    a file.
    """
    if out.exists() and not out.is_dir():  # told before a minute's work
        raise UserError(f"--out {out}: is a file; name a folder.")
    books = {name: sorted(folder.glob("*.ipynb")) for name, folder in [(STUDY, executed), *_folders(executed)]}
    folders = [(folder, None) for folder in results]
    texts = [text for catalog in load_catalogs(folders).values() if (text := _corpus(catalog, data))]
    runs = load_catalogs(folders, texts)  # on the data that is at hand, where some is
    names = sorted(runs | books, key=lambda name: (name != STUDY, name))
    chapters = [_chapter(name, books.get(name, []), runs.get(name)) for name in names]
    chapters = [chapter for chapter in chapters if chapter.pages]
    if not chapters:
        raise UserError(
            f"{executed}: holds no executed notebook, so there is nothing to report; run ./run_all.sh first."
        )
    _write(out, chapters)
    return out / "index.html"


def _folders(executed: Path) -> list[tuple[str, Path]]:
    return [(folder.name, folder) for folder in executed.glob("*/")]


def _chapter(name: str, notebooks: list[Path], catalog: RunCatalog | None) -> Chapter:
    pages, content, note = [_page(path, name) for path in notebooks], None, ""
    if catalog is not None and (catalog.frame.system != "").any():
        content, note = errors(catalog, catalog.text), _note(catalog)
        title = f"Where do the systems err? ({', '.join(filter(None, [name, catalog.stamp]))})"
        pages.append(Page(f"{name}/errors.html", "Errors", title, sections=(("", title, note),)))
    return Chapter(name, catalog.stamp if catalog else "", pages, content, note)


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
    wrong = [_wrong(task, gold, answer.label_pred) for task, answer in zip(frame.task, answers, strict=True)]
    columns = [zip(answer.label_pred.map(place), answer.p.round(2), strict=True) for answer in answers]
    texts = _texts(corpus, catalog.facts["gated"]) if corpus else {}
    rows = [
        {"id": name, "gold": place[gold[name]], "answers": given, **texts.get(name, {})}
        for name, given, missed in zip(gold.index, zip(*columns, strict=True), zip(*wrong, strict=True), strict=True)
        if any(missed)
    ]
    systems = [{"name": row.system, "family": row.family, "task": row.task} for row in frame.itertuples()]
    return {"labels": labels, "systems": systems, "rows": rows, "total": len(gold)}


def _wrong(task: str, gold: pd.Series, answers: pd.Series) -> np.ndarray:
    """(rows,) bool: which rows a run answers wrongly, of those that its task is scored on."""
    rows, true = as_scored(task, gold)
    wrong = np.zeros(len(rows), bool)
    wrong[rows] = answers[rows] != true
    return wrong


def _texts(corpus: Corpus, gated: bool) -> dict[str, dict[str, object]]:
    """What may be shown of each test row: a licensed corpus gives types and lengths alone."""
    texts = {}
    for row in corpus.test:
        texts[row.id] = {"types": type_pair(row), "length": len(row.token)}
        if not (gated or corpus.gated):
            texts[row.id] |= {"words": row.token, "subject": row.subject, "object": row.object}
    return texts


def _corpus(catalog: RunCatalog, data: Path) -> Corpus | None:
    """The corpus of a catalogue's name and profile, if its files are at hand: by name, or as a folder beside the others."""
    profile = load_profile(catalog.frame.profile.iloc[0])
    name = catalog.corpus if catalog.corpus in corpora() else str(data / catalog.corpus)
    try:
        return load_corpus(name, data, scales=msgspec.to_builtins(profile.scales))
    except UserError:
        return None


def _note(catalog: RunCatalog) -> str:
    if catalog.facts["gated"]:
        return "The text is licensed, so rows are named by their ids."
    return (
        "" if catalog.text else "The sentences are not at hand (--data-dir names their place): rows are named by ids."
    )


def _page(path: Path, corpus: str) -> Page:
    import nbformat
    from nbconvert.filters import markdown2html

    try:
        notebook = nbformat.read(path, as_version=4)
        body, _ = _exporter().from_notebook_node(notebook)
        answer = tuple(markdown2html(found.markdown) for found in leads(notebook))
    except (ValueError, KeyError, TypeError, AttributeError, nbformat.ValidationError) as error:
        raise UserError(f"{path}: is no readable notebook ({error}); execute it again.") from error
    body = re.sub(r'(<a href="[^":/]+)\.ipynb(?=["#])', r"\1.html", body)  # links to notebooks lead to their pages
    sections = _sections(body)
    title = sections[0][1] if sections else path.stem
    return Page(f"{corpus}/{path.stem}.html", path.stem.replace("_", " "), title, body, sections, answer)


@lru_cache
def _exporter():
    from nbconvert import HTMLExporter  # takes a second

    exporter = HTMLExporter(raw_template=(SITE / "notebook.html").read_text(encoding="utf-8"), anchor_link_text="#")
    exporter.register_filter("formulas", _formulas)
    return exporter


def _formulas(text: str) -> str:
    """HTML with its TeX formulas drawn by Matplotlib: no page needs MathJax. What Matplotlib cannot draw stays TeX."""
    return FORMULA.sub(lambda found: _drawn(found[1] or found[2], found[0]), text)


def _drawn(tex: str | None, otherwise: str) -> str:
    from matplotlib.font_manager import FontProperties
    from matplotlib.mathtext import math_to_image

    if tex is None:
        return otherwise
    image = io.BytesIO()
    try:
        math_to_image(f"${html.unescape(tex).strip()}$", image, FontProperties(size=12), format="svg")
    except ValueError:
        return otherwise
    data = base64.b64encode(image.getvalue()).decode()
    return f'<img class="formula" alt="{html.escape(html.unescape(tex))}" src="data:image/svg+xml;base64,{data}">'


def _sections(body: str) -> tuple[tuple[str, str, str], ...]:
    """Anchor, heading and text of the parts of a page, divided at its headings of the first two ranks."""
    parts = re.split(r'<h[12] id="(.*?)">(.*?)<a class="anchor-link".*?</h[12]>', body, flags=re.DOTALL)[1:]
    return tuple(
        (html.unescape(anchor), _words(heading), _words(text))
        for anchor, heading, text in zip(parts[::3], parts[1::3], parts[2::3], strict=True)
    )


def _words(markup: str) -> str:
    text = re.sub(r"<[^>]*>", " ", re.sub(r"</?(a|b|code|em|i|span|strong)\b[^>]*>", "", markup))
    return " ".join(html.unescape(text).split())


def _write(out: Path, chapters: list[Chapter]) -> None:
    templates = jinja2.Environment(loader=jinja2.FileSystemLoader(SITE), autoescape=True, trim_blocks=True)
    pages = [page for chapter in chapters for page in chapter.pages]
    for name in ASSETS:
        write_text(out / name, (SITE / name).read_text(encoding="utf-8"))
    for chapter in chapters:
        for page in chapter.pages:
            place = pages.index(page)
            is_errors = not page.body
            text = templates.get_template("errors.html" if is_errors else "page.html").render(
                title=page.title, root="../", url=page.url, corpora=chapters, note=chapter.note, body=page.body,
                before=pages[place - 1] if place else None, after=pages[place + 1] if page is not pages[-1] else None,
            )  # fmt: skip
            write_text(out / page.url, text)
        if chapter.errors:
            _write_script(out / chapter.name / "errors.data.js", "ERRORS", chapter.errors)
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

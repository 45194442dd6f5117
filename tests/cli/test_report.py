"""The static site: what it says of errors, what it never shows, and how it behaves in a real browser."""

import html
import json
import re
from dataclasses import replace
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from browser import browser
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from tacred_utils.__main__ import main
from tacred_utils.cli import report
from tacred_utils.ground.errors import UserError
from tacred_utils.ground.labels import NO_RELATION, SPLITS
from tacred_utils.ground.paths import ROOT
from tacred_utils.notebook import tables
from tacred_utils.notebook.findings import finding
from tacred_utils.notebook.manifest import STUDY
from tacred_utils.runs.catalog import load_catalogs
from tacred_utils.runs.profile import load_corpus

SCRIPT = "<script>window.ran = 1</script>"
LABELS = (NO_RELATION, "per:title", f"org:{SCRIPT}")


def write_corpus(folder: Path) -> None:
    """40 rows a split; words of the test split tell nothing, so that every system errs somewhere."""
    folder.mkdir(parents=True)
    for split in SPLITS:
        rows = []
        for i in range(40):
            label = LABELS[i % 3]
            told = ("met", "is", "owns")[i % 3 if split != "test" else (i // 3) % 3]
            words = ["Ann", "Li", told, SCRIPT, *["so"] * (i % 7), "</script><img src=x onerror=window.ran=2>"]
            rows.append({"id": f"{split}-{i}{SCRIPT}", "relation": label, "token": words, "subj_start": 0, "subj_end": 1,
                         "obj_start": 3, "obj_end": 3, "subj_type": "PERSON", "obj_type": f"TITLE{SCRIPT}"})  # fmt: skip
        (folder / f"{split}.json").write_text(json.dumps(rows))


def write_notebooks(folder: Path) -> None:
    """A notebook as the study's are, with text of the corpus, and one in which markup stands as it is."""
    folder.mkdir(parents=True)
    table = tables.show(pd.DataFrame({SCRIPT: [SCRIPT]}), SCRIPT).data
    outputs = [
        new_output("display_data", {"text/html": table, "text/plain": ""}),
        new_output("display_data", {"text/markdown": f"**{SCRIPT.replace('<', '&lt;')}**", "text/plain": ""}),
        new_output("stream", text=SCRIPT),
        new_output(
            "display_data",
            {"text/markdown": "", "text/plain": ""},
            metadata=finding(f"**Zebras** say {SCRIPT}.", True, lead=True).metadata,
        ),
        new_output(
            "display_data", {"text/markdown": "", "text/plain": ""}, metadata=finding("A detail.", True).metadata
        ),
    ]
    tame = [
        new_markdown_cell("# What is told?\n\nA zebra and [the next](02_wild.ipynb)."),
        new_markdown_cell("## Where zebras live\n\nIn `$code$`."),
        new_code_cell(f"print({SCRIPT!r})", outputs=outputs, execution_count=1),
    ]
    wild = [new_markdown_cell(f"# Wild?\n\n{SCRIPT}<img src='none' onerror='window.ran = 3'>")]
    nbformat.write(new_notebook(cells=tame), folder / "01_tame.ipynb")
    nbformat.write(new_notebook(cells=wild), folder / "02_wild.ipynb")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A folder with a corpus of one's own in data/, its runs in results/, its notebooks, and the site of all of it."""
    folder = tmp_path_factory.mktemp("report")
    write_corpus(folder / "data" / "mine")
    write_notebooks(folder / "executed" / "mine")
    where = ["--corpus", str(folder / "data" / "mine"), "--results", str(folder / "results")]
    for task, more in (("joint", []), ("joint", ["--variant", "paper"]), ("detection", [])):
        assert main(["train", "--family", "svm", "--task", task, *where, *more]) == 0
    report.build(folder / "site", folder / "executed", [folder / "results"], folder / "data")
    return folder


def content(study: Path) -> dict:
    text = (study / "site" / "mine" / "errors.data.js").read_text()
    return json.loads(text.removeprefix("window.ERRORS = ").removesuffix(";\n"))


def test_errors_are_those_of_the_predictions(study):
    made = content(study)
    systems = [(system["task"], system["name"]) for system in made["systems"]]
    assert systems == [
        ("joint", "SVM, our features"), ("joint", "SVM, paper's features, joint (not in the paper)"), ("detection", "SVM, our features"),
    ]  # fmt: skip
    [catalog] = load_catalogs([(study / "results", None)]).values()
    answers = catalog.frame.set_index(["task", "system"]).run
    for place, system in enumerate(made["systems"]):
        told = answers[system["task"], system["name"]].predictions().set_index("id")
        for row in made["rows"]:
            label, p = row["answers"][place]
            assert made["labels"][label] == told.label_pred[row["id"]] and p == pytest.approx(
                told.p[row["id"]], abs=0.01
            )
            assert made["labels"][row["gold"]] == told.label_true[row["id"]]
    joint = answers["joint", "SVM, our features"].predictions()
    assert set(joint.id[joint.label_pred != joint.label_true]) <= {row["id"] for row in made["rows"]}
    assert made["total"] == 40 and made["rows"][0]["words"][:2] == ["Ann", "Li"]
    assert made["rows"][0]["subject"] == [0, 1] and made["rows"][0]["length"] == len(made["rows"][0]["words"])


def test_no_word_of_a_licensed_corpus_and_none_where_the_text_is_another(study):
    [catalog] = load_catalogs([(study / "results", None)]).values()
    corpus = load_corpus(str(study / "data" / "mine"))
    for shown in (report.errors(catalog, replace(corpus, gated=True)), report.errors(catalog, None)):
        assert shown["rows"] and not any({"words", "subject", "object"} & row.keys() for row in shown["rows"])
    assert report.errors(catalog, replace(corpus, gated=True))["rows"][0]["length"] == 6
    catalog.frame.run[0].info["corpus"]["gated"] = True
    assert "words" not in report.errors(catalog, corpus)["rows"][0] and "licensed" in report.errors_page(catalog).note
    (other := study / "other" / "mine").mkdir(parents=True)
    for split in SPLITS:
        (other / f"{split}.json").write_text(
            (study / "data" / "mine" / f"{split}.json").read_text().replace("Li", "Lo")
        )
    assert report.text_of(catalog, study / "data").digests == catalog.facts["sha256"]
    other = report.text_of(catalog, study / "other")
    assert load_catalogs([(study / "results", None)], [other]) == {}, "errors on other data are left out"
    assert report.text_of(catalog, study / "nowhere") is None


def test_pages_need_no_network_and_hold_no_markup_of_the_corpus(study):
    pages = {path.name: path.read_text() for path in (study / "site").rglob("*.html")}
    assert pages.keys() == {"index.html", "01_tame.html", "02_wild.html", "errors.html"}
    for name, page in pages.items():
        assert not re.search(r"https?://|<iframe", page), name
        assert "default-src 'none'" in page and 'href="02_wild.ipynb"' not in page
    assert "<script>" not in pages["01_tame.html"] and html.escape(SCRIPT) in pages["01_tame.html"]
    assert 'href="02_wild.html"' in pages["01_tame.html"]


def test_the_first_page_says_what_was_found_under_each_question(study):
    front = (study / "site" / "index.html").read_text()
    assert "<strong>Zebras</strong> say &lt;script&gt;" in front and "A detail" not in front
    assert front.index("01_tame.html") < front.index("Zebras") < front.rindex("02_wild.html")


def test_notebooks_beside_the_folders_are_the_studys_own(tmp_path):
    write_notebooks(tmp_path / "executed")
    write_notebooks(tmp_path / "executed" / "another")
    report.build(tmp_path / "site", tmp_path / "executed", [], tmp_path)
    assert (tmp_path / "site" / STUDY / "01_tame.html").exists() and (
        tmp_path / "site" / "another" / "01_tame.html"
    ).exists()
    front = (tmp_path / "site" / "index.html").read_text()
    assert front.index(f"<h2>{STUDY}") < front.index("<h2>another")


def test_where_there_is_nothing_to_report_it_is_one_sentence(tmp_path, study):
    with pytest.raises(UserError, match="holds no executed notebook"):
        report.build(tmp_path / "site", tmp_path / "executed", [tmp_path / "results"], tmp_path)
    (tmp_path / "executed" / "mine").mkdir(parents=True)
    (tmp_path / "executed" / "mine" / "01_cut.ipynb").write_text('{"cells": [')
    with pytest.raises(UserError, match="01_cut.ipynb: is no readable notebook"):
        report.build(tmp_path / "site", tmp_path / "executed", [], tmp_path)


def test_the_readme_holds_what_the_published_runs_say(tmp_path):
    copy = tmp_path / "README.md"
    copy.write_text(f"before\n{report.START}\nold\n{report.END}\nafter\n")
    report.refresh(copy)
    assert copy.read_text() == f"before\n{report.START}\n{report.results()}{report.END}\nafter\n"
    committed = (report.ROOT / "README.md").read_text(encoding="utf-8")
    assert report.results() in committed, "python -m tacred_utils runs publish renews it"
    (tmp_path / "none.md").write_text("no markers")
    with pytest.raises(UserError, match="pair of markers"):
        report.refresh(tmp_path / "none.md")


@pytest.mark.long
def test_the_site_in_a_browser(study, tmp_path):
    site, made = (study / "site").as_uri(), content(study)
    fold = {"detection": lambda label: label if label == NO_RELATION else "relation"}
    with browser(tmp_path / "browser") as tab:
        tab.open(f"{site}/index.html")
        tab.type("#search", "Zebra")  # in the text of one section, and in the heading of the other
        assert tab.run("document.querySelectorAll('#found .hit').length") == 2
        assert tab.run("document.querySelector('#found mark').textContent") == "zebra"
        tab.click("#found .hit a")
        tab.wait("location.pathname.endsWith('mine/01_tame.html') && location.hash === '#Where-zebras-live'")
        assert tab.run("document.getElementById('Where-zebras-live') !== null")
        tab.type("#search", "window.ran nowhere")
        assert tab.run("document.querySelector('#found').textContent") == "0 sections"
        tab.type("#search", "")
        assert not tab.run("document.querySelector('details.code').open")
        tab.click("#unfold")
        assert tab.run("document.querySelector('details.code').open")

        tab.open(f"{site}/mine/errors.html")

        def shown() -> list[str]:
            return tab.run(
                "[...document.querySelectorAll('#errors .facts')].map((line) => line.textContent.split(' · ')[0])"
            )

        def expected(task="joint", keeps=lambda row, gold, given: True) -> list[str]:
            places = [n for n, system in enumerate(made["systems"]) if system["task"] == task]
            same, ids = fold.get(task, str), []
            for row in made["rows"]:
                gold, given = same(made["labels"][row["gold"]]), [made["labels"][row["answers"][n][0]] for n in places]
                if any(label != gold for label in given) and keeps(row, gold, given):
                    ids.append(row["id"])
            return ids

        assert shown() == expected() and len(shown()) > 10
        assert tab.run("document.querySelector('#errors mark.subject').textContent") == "Ann Li"
        assert tab.run("document.querySelector('#errors mark.object').textContent") == SCRIPT
        for selector, value, keeps in (
            ("#gold", LABELS[2], lambda row, gold, given: gold == LABELS[2]),
            ("#answered", NO_RELATION, lambda row, gold, given: NO_RELATION in given),
            ("#least", "8", lambda row, gold, given: row["length"] >= 8),
            ("#most", "6", lambda row, gold, given: row["length"] <= 6),
            ("#wrong", "all", lambda row, gold, given: gold not in given),
            ("#containing", "TEST-12<", lambda row, gold, given: row["id"].startswith("test-12<")),
        ):
            tab.type(selector, value)
            assert shown() == expected(keeps=keeps), selector
            tab.type(selector, "some" if selector == "#wrong" else "")
        tab.type("#family", "svm")
        assert shown() == expected()
        tab.type("#task", "detection")
        assert shown() == expected("detection")
        assert tab.run("window.ran") is None and not tab.complaints, tab.complaints

        tab.open(f"{site}/mine/02_wild.html")
        assert tab.run("window.ran") is None, "only scripts of the site itself may run"
        assert all(address.startswith(("file:", "data:")) for address in tab.asked)


@pytest.mark.long
def test_every_page_of_the_committed_notebooks_in_a_browser(tmp_path):
    first = report.build(tmp_path / "site", ROOT / "notebooks" / "executed", [ROOT / "data" / "runs"], tmp_path)
    wider = "document.documentElement.scrollWidth > window.innerWidth"
    with browser(tmp_path / "browser") as tab:
        for page in [first, *sorted(first.parent.glob("*/*.html"))]:
            tab.open(page.as_uri())
            assert not tab.complaints, (page.name, tab.complaints)
            assert not tab.run(wider), f"{page.name} is wider than the window"
            broken = tab.run("[...document.images].filter((image) => !image.complete || !image.naturalWidth).length")
            links = tab.run("[...document.querySelectorAll('a')].map((link) => link.href.split('#')[0])")
            assert not broken, page.name
            for link in {link for link in links if link.startswith("file:")}:
                assert Path(link.removeprefix("file://")).exists(), f"{page.name} links to {link}"
        assert all(address.startswith(("file:", "data:")) for address in tab.asked)

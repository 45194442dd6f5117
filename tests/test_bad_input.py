"""Damaged corpora and files through the real command line: exit status 2, one sentence, nothing left behind.

What is refused and what is read, beyond the format's own rules: a lone surrogate is no character and is refused
anywhere; ids, relations and types with control characters, zero-width signs or marks that turn the direction of
writing are refused, for they are compared and shown; all else that is a character is read, in words whatever it is,
and made harmless where it is shown (tests/test_security.py).
"""

import gzip
import json
import os
import shutil
from pathlib import Path

import pooch
import pytest

from tacred_utils.__main__ import LONGEST, main
from tacred_utils.corpora.example import COLUMNS
from tacred_utils.corpora.reader import read_split
from tacred_utils.corpora.registry import SOURCES
from tacred_utils.ground.errors import UserError
from tacred_utils.ground.labels import NO_RELATION, SPLITS
from tacred_utils.runs import profile

WORDS = {NO_RELATION: "met", "per:title": "is", "per:age": "turned"}


def records(split: str) -> list[dict]:
    """Nine rows with every column; row 1 is the one that tests damage."""
    return [
        {"id": f"{split}-{i}", "relation": label, "token": ["Ann", word, f"x{i}"], "subj_start": 0, "subj_end": 0,
         "obj_start": 2, "obj_end": 2, "subj_type": "PERSON", "obj_type": "TITLE", "stanford_pos": ["NNP", "VBD", "NN"],
         "stanford_ner": ["PERSON", "O", "O"], "stanford_head": ["2", "0", "2"],
         "stanford_deprel": ["nsubj", "ROOT", "dobj"]}
        for i, (label, word) in enumerate(list(WORDS.items()) * 3)
    ]  # fmt: skip


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A sound corpus in TACRED's format."""
    folder = tmp_path / "mine"
    folder.mkdir()
    for split in SPLITS:
        (folder / f"{split}.json").write_text(json.dumps(records(split)), encoding="utf-8")
    return folder


@pytest.fixture
def refused(tmp_path: Path, capsys):
    """Run a command that must be refused; returns its sentence."""

    def call(*arguments: object, named: object = "", place: str = "") -> str:
        before = {path for path in tmp_path.rglob("*") if path.is_file()}
        status = main([str(argument) for argument in arguments])
        shown = capsys.readouterr()
        assert status == 2, shown
        sentence = shown.err.removesuffix("\n")
        assert sentence.startswith("error: ") and sentence.isprintable() and len(sentence) < LONGEST + 99, sentence
        assert sentence.endswith((".", "?")) and ("; " in sentence or ": " in sentence.removeprefix("error: "))
        assert "Traceback" not in sentence and not shown.out
        assert str(named) in sentence and place in sentence, sentence
        left = {path for path in tmp_path.rglob("*") if path.is_file()} - before
        assert not [path for path in left if path.suffix != ".lock"]
        return sentence

    return call


def train(corpus: object, *more: object, family: str = "svm") -> list[object]:
    here = ["--results", Path(corpus).parent / "results"]
    return ["train", "--family", family, "--task", "joint", "--corpus", corpus, *here, *more]


def test_the_corpus_that_is_damaged_below_is_sound(corpus, capsys):
    assert main(["data", "check", str(corpus)]) == 0
    assert "corpus mine" in capsys.readouterr().out


# One record


REQUIRED = (
    "id", "relation", "token", "subj_start", "subj_end", "obj_start", "obj_end", "subj_type", "obj_type",
)  # fmt: skip
SPANS = ("subj_start", "subj_end", "obj_start", "obj_end")
NAMES = ("relation", "subj_type", "obj_type")
ODD = {  # refused in ids, relations and types
    "empty": "", "blank": " ", "line end": "per:title\n", "bell": "per:\x07title", "escape": "\x1b[31mred", "nul": "a\0b",
    "zero width": "per:\u200btitle", "byte-order mark": "\ufeffper:title", "right-to-left override": "\u202eeltit:rep",
    "isolate": "\u2066x\u2069", "line separator": "a\u2028b", "private use": "\ue000", "no character": "\uffff",
}  # fmt: skip
RECORDS = [
    *((f"{name} missing", {name: ...}, f"field {name}") for name in REQUIRED),
    *((f"{name} null", {name: None}, f"field {name}") for name in REQUIRED),
    *((f"{name} a number", {name: 7}, f"field {name}") for name in ("id", "relation", "token", *COLUMNS)),
    *((f"{name} a string", {name: "0"}, f"field {name}") for name in (*SPANS, "token", *COLUMNS)),
    *((f"{name} a fraction", {name: 0.5}, f"field {name}") for name in SPANS),
    *((f"{name} a truth value", {name: True}, f"field {name}") for name in SPANS),
    *((f"{name} an object", {name: {}}, f"field {name}") for name in (*REQUIRED, *COLUMNS)),
    *((f"{name} negative", {name: -1}, "field subj" if name[0] == "s" else "field obj") for name in SPANS),
    *((f"{name} huge", {name: 10**30}, "field subj" if name[0] == "s" else "field obj") for name in SPANS),
    *((f"{name} beyond the end", {name: 3}, "field subj" if name[0] == "s" else "field obj") for name in SPANS),
    ("subject reversed", {"subj_start": 1}, "field subj_start"),
    ("start and end swapped", {"obj_start": 2, "obj_end": 1}, "field obj_start"),
    ("token empty", {"token": []}, "field token"),
    ("token of numbers", {"token": ["Ann", 1, "x"]}, "field token[1]"),
    ("token of lists", {"token": [["Ann"], "is", "x"]}, "field token[0]"),
    *((f"{name} short", {name: ["2"]}, f"field {name}") for name in COLUMNS),
    *((f"{name} empty", {name: []}, f"field {name}") for name in COLUMNS),
    *((f"{name} missing in one record", {name: ...}, f"field {name}") for name in COLUMNS),
    ("head negative", {"stanford_head": ["-1", "0", "2"]}, "field stanford_head"),
    ("head beyond the end", {"stanford_head": ["4", "0", "2"]}, "field stanford_head"),
    ("head huge", {"stanford_head": ["9" * 5_000, "0", "2"]}, "field stanford_head"),
    ("head a word", {"stanford_head": ["two", "0", "2"]}, "field stanford_head[0]"),
    ("columns swapped", {"stanford_head": ["NNP", "VBD", "NN"], "stanford_pos": ["2", "0", "2"]}, "field stanford_head[0]"),
    *((f"{name} {odd}", {name: text}, f"field {name}") for name in ("id", *NAMES) for odd, text in ODD.items()),
    ("a doubled id", {"id": "dev-0"}, "field id"),
]  # fmt: skip


@pytest.mark.parametrize("change, place", [case[1:] for case in RECORDS], ids=[case[0] for case in RECORDS])
def test_a_damaged_record_is_named_by_file_record_and_field(corpus, refused, change, place):
    rows = records("dev")
    rows[1] = {name: value for name, value in (rows[1] | change).items() if value is not ...}
    (corpus / "dev.json").write_text(json.dumps(rows), encoding="utf-8")
    sentence = refused(*train(corpus), named=corpus / "dev.json", place=place)
    assert "record 1" in sentence


def test_a_lone_surrogate_is_refused_anywhere(corpus, refused):
    for name in ("id", "relation", "token", "docid"):
        for lone in ("\ud800", "x\udfff", "\udc00\ud800"):
            rows = records("dev")
            rows[1][name] = [lone, "is", "x"] if name == "token" else lone
            (corpus / "dev.json").write_text(json.dumps(rows), encoding="utf-8")
            refused(*train(corpus), named=corpus / "dev.json")


READ = {
    "right to left": "שלום", "zero width": "a\u200bb", "override": "\u202eabc", "control": "\x00\x1b[31m", "html": "<script>",
    "latex": r"$\input{/etc/passwd}$", "blank": " ", "empty": "", "combining": "\u0301", "emoji": "👩\u200d👩\u200d👧",
    "colon": '":"', "key": '"id":', "no character": "\uffff", "long": "x" * 100_000,
}  # fmt: skip


@pytest.mark.parametrize("word", READ.values(), ids=READ)
def test_any_character_is_a_word(corpus, capsys, word):
    rows = records("dev")
    rows[1]["token"][1] = word
    for ascii_only in (True, False):
        (corpus / "dev.json").write_text(json.dumps(rows, ensure_ascii=ascii_only), encoding="utf-8")
        assert main(["data", "check", str(corpus)]) == 0
    assert "\x1b" not in capsys.readouterr().out


# One file


TEXT = json.dumps(records("dev"))
FILES = {
    "empty": (b"", "empty"),
    "blank": (b" \r\n\t", "empty"),
    "only a byte-order mark": (b"\xef\xbb\xbf", "empty"),
    "no record": (b"[]", "no record"),
    "null": (b"null", "list"),
    "a number": (b"1", "list"),
    "nul bytes": (bytes(64), "list"),
    "one object": (json.dumps(records("dev")[0]).encode(), "[ and ]"),
    "json lines": ("\n".join(map(json.dumps, records("dev"))).encode(), "JSON lines"),
    "records by id": (json.dumps({"a": records("dev")[0]}).encode(), "object"),
    "gzip by mistake": (gzip.compress(TEXT.encode()), "gzip"),
    "a zip archive": (b"PK\x03\x04" + bytes(26), "list"),
    "pickle": (b"\x80\x04]\x94.", "list"),
    "UTF-16": (TEXT.encode("utf-16"), "UTF-16"),
    "UTF-16 without a mark": (TEXT.encode("utf-16-le"), "not valid JSON"),
    "Latin-1": (TEXT.replace("Ann", "Änn").encode("latin-1"), "save the file as UTF-8"),
    "surrogates as bytes": (TEXT.replace("Ann", "\ud800").encode("utf-8", "surrogatepass"), "UTF-8"),
    "a comma too many": (TEXT.encode()[:-1] + b",]", "byte"),
    "a bracket too many": (TEXT.encode() + b"]", "not valid JSON"),
    "single quotes": (TEXT.replace('"', "'").encode(), "not valid JSON"),
    "NaN": (TEXT.replace('"subj_start": 0', '"subj_start": NaN', 1).encode(), "line 1"),
    "infinity": (TEXT.replace('"subj_start": 0', '"subj_start": -Infinity', 1).encode(), "line 1"),
    "a number out of range": (TEXT.replace('"subj_start": 0', '"subj_start": 1e999', 1).encode(), "record 0"),
    "a doubled field": (TEXT.replace('"relation":', '"relation": "x", "relation":', 1).encode(), "field relation: stands twice"),
    "a doubled field, compact": (
        json.dumps(records("dev"), separators=(",", ":")).replace('"id":', '"token":["a"],"id":', 1).encode(), "record 0",
    ),
    "deep lists": (b"[" * 100_000, "valid JSON"),
    "deep lists in a field": (TEXT.replace('"id"', f'"x": {"[" * 99_999}{"]" * 99_999}, "id"', 1).encode(), "valid JSON"),
    "deep objects": (b'[{"a":' * 50_000, "valid JSON"),
    "HTML": (b"<!doctype html><title>404</title>", "list"),
    "a Git LFS pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "list"),
}  # fmt: skip


@pytest.mark.parametrize("content, place", FILES.values(), ids=FILES)
def test_a_damaged_file_is_named(corpus, refused, content, place):
    (corpus / "test.json").write_bytes(content)
    refused(*train(corpus), named=corpus / "test.json", place=place)


def test_truncation_at_any_byte(corpus, refused):
    whole = json.dumps(records("dev")[:2], ensure_ascii=False).replace("Ann", "Änn").encode()
    for size in range(len(whole)):
        (corpus / "dev.json").write_bytes(whole[:size])
        with pytest.raises(UserError, match=r"dev\.json: .*[;:] .*\.$"):
            read_split(corpus / "dev.json")
        if size % 50 == 0:
            refused("data", "check", corpus, named=corpus / "dev.json")


def test_a_file_that_cannot_be_read(corpus, refused, monkeypatch):
    def forbidden(path):
        raise PermissionError(13, "Permission denied", str(path))

    with monkeypatch.context() as patch:  # permissions do not bind root
        patch.setattr(Path, "read_bytes", forbidden)
        refused(*train(corpus), named=corpus / "train.json", place="check its permissions")
        refused("score", corpus / "dev.json", named=corpus / "dev.json", place="check its permissions")
    (corpus / "dev.json").unlink()
    refused(*train(corpus), named=corpus / "dev.json", place="no such file")
    (corpus / "dev.json").mkdir()
    refused(*train(corpus), named=corpus / "dev.json", place="is a folder")
    (corpus / "dev.json").rmdir()
    (corpus / "dev.json").symlink_to(corpus / "dev.json")
    refused(*train(corpus), named=corpus / "dev.json")


# Several files


def test_splits_that_do_not_fit_each_other(corpus, refused):
    shutil.copy(corpus / "dev.json", corpus / "test.json")
    refused(*train(corpus), named=corpus, place="id 'dev-0' stands in dev and in test")
    rows = [{name: value for name, value in row.items() if name != "stanford_ner"} for row in records("test")]
    (corpus / "test.json").write_text(json.dumps(rows))
    refused(*train(corpus), named=corpus, place="stanford_ner is present in train and dev only")


def patch_files(folder: Path, labels: str, content: dict[str, object]) -> None:
    for split, value in content.items():
        name = f"tacrev/patch/{split}_patch.json" if labels == "tacrev" else f"retacred/{split}_id2label.json"
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")


DEV, TEST = [{"id": "dev-1", "relation": "per:age"}], [{"id": "test-1", "relation": "per:age"}]
PATCHES = {
    "of the wrong split": ("tacrev", {"dev": TEST, "test": DEV}, "dev_patch.json", "names no id"),
    "absent": ("tacrev", {"dev": DEV}, "test_patch.json", "is missing"),
    "of another form": ("tacrev", {"dev": [{"id": "dev-1"}], "test": TEST}, "dev_patch.json", "relation"),
    "with a doubled id": ("tacrev", {"dev": DEV * 2, "test": TEST}, "dev_patch.json", "twice"),
    "cut off": ("tacrev", {"dev": json.dumps(DEV)[:-4], "test": TEST}, "dev_patch.json", "truncated"),
    "with an odd label": ("tacrev", {"dev": DEV, "test": [TEST[0] | {"relation": "\u202ex"}]}, "test_patch.json", "id test-1"),
    "with a null": ("tacrev", {"dev": DEV, "test": [TEST[0] | {"relation": None}]}, "test_patch.json", "null"),
    "nested deeply": ("tacrev", {"dev": '[{"id": "dev-1", "x": ' + "[" * 99_999, "test": TEST}, "dev_patch.json", "recursion"),
    "by id, of the wrong split": (
        "retacred", {"train": {"train-1": "a"}, "dev": {"test-1": "a"}, "test": {"test-1": "a"}}, "dev_id2label.json", "no id",
    ),
    "by id, with a doubled id": (
        "retacred", {"train": '{"train-1": "a", "train-1": "b"}', "dev": {}, "test": {}}, "train_id2label.json", "twice",
    ),
    "by id, empty": ("retacred", {"train": {}, "dev": {}, "test": {}}, "train_id2label.json", "no id"),
}  # fmt: skip


@pytest.mark.parametrize("labels, content, named, place", PATCHES.values(), ids=PATCHES)
def test_a_damaged_patch_is_named(corpus, refused, labels, content, named, place):
    patch_files(corpus.parent, labels, content)
    refused(*train(corpus, "--labels", labels, "--data-dir", corpus.parent), named=named, place=place)


@pytest.mark.parametrize("name", ["kbp37", "conll04", "tacred_sample"])
def test_a_published_file_with_another_digest_is_refused(tmp_path, refused, name):
    for file in SOURCES[name].files:
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / file).write_text(TEXT)
    refused("data", "check", "--corpus", name, "--data-dir", tmp_path, named=tmp_path / name, place="fetch it again")


def test_a_download_with_another_digest_is_not_kept(tmp_path, refused, monkeypatch):
    monkeypatch.setattr(
        pooch.HTTPDownloader, "__call__", lambda _, url, path, store: Path(path).write_bytes(b"<html>") and None
    )
    monkeypatch.setattr(pooch.core.time, "sleep", lambda _: None)
    refused("data", "get", "kbp37", "--data-dir", tmp_path, named="train.txt", place="nothing was kept")


# Names and places


PLACES = {
    "a corpus name with a line end": (["data", "check", "--corpus", "a\nb"], r"a\nb"),
    "a corpus name that steers the terminal": (["data", "check", "--corpus", "\x1b[2J"], r"\x1b"),
    "a corpus name turned round": (["data", "check", "--corpus", "\u202ex"], r"\u202e"),
    "a corpus name that is no text": (["data", "check", "--corpus", "\udcff"], r"\udcff"),
    "a very long corpus name": (["data", "check", "--corpus", "x" * 5_000], "name too long"),
    "a corpus of a user who is not there": (["data", "check", "--corpus", "~nobody-of-this-name"], "neither a folder"),
    "a data folder of a user who is not there": (["data", "check", "--corpus", "kbp37", "--data-dir", "~nobody-of-this-name"], "kbp37"),
    "a corpus above the root": (["data", "check", "--corpus", "../" * 50], "train.json"),
    "a corpus that is a file": (["data", "check", "--corpus", "{mine}/dev.json"], "neither a folder"),
    "a registered corpus out of its folder": (["data", "check", "--corpus", "../kbp37", "--data-dir", "{tmp}"], "neither a folder"),
    "a download out of its folder": (["data", "get", "../../kbp37"], "unknown"),
    "a results folder with a long name": (["plan", "--corpus", "{mine}", "--results", "x" * 5_000], "name too long"),
    "a results folder that is a file": (["runs", "list", "--results", "{mine}/dev.json"], "is no folder"),
    "a run in a file": (["train", "--family", "svm", "--task", "joint", "--corpus", "{mine}", "--results", "{mine}/dev.json"], "--results"),
    "a sample in a long name": (["data", "make-sample", "--scale", "0.001", "--out", "x" * 5_000], "name too long"),
    "a sample over other files": (["data", "make-sample", "--out", "{tmp}"], "holds other files"),
    "a scale that is no number": (["data", "make-sample", "--out", "{tmp}/x", "--scale", "nan"], "--scale nan"),
    "a prediction in a long name": (["score", "x" * 5_000], "name too long"),
}  # fmt: skip


@pytest.mark.parametrize("arguments, place", PLACES.values(), ids=PLACES)
def test_a_place_that_cannot_be(corpus, refused, arguments, place):
    values = {"{mine}": str(corpus), "{tmp}": str(corpus.parent)}
    for mark, value in values.items():
        arguments = [argument.replace(mark, value) for argument in arguments]
    assert place.lower() in refused(*arguments).lower()


@pytest.mark.parametrize("name", ["/etc", "../..", "**", "*", "[a", "mi\\ne"])
def test_a_corpus_of_runs_is_a_name_and_not_a_path_or_a_pattern(corpus, capsys, name):
    (corpus / "a-run").mkdir()
    assert main(["runs", "list", "--results", str(corpus.parent), "--corpus", name]) == 0
    assert not capsys.readouterr().out


@pytest.mark.parametrize(
    "name", ["logs", "stamps", "published", "smoke", "sample", "kbp37", "tacred-retacred", ".locks"]
)
def test_a_folder_is_not_filed_under_a_name_that_means_something_else(corpus, capsys, name):
    corpus = corpus.rename(corpus.parent / name)
    assert main(["data", "check", str(corpus)]) == 0
    first = capsys.readouterr().out.splitlines()[0]
    assert first == ("corpus locks" if name == ".locks" else f"corpus {name}-folder")


@pytest.mark.skipif(os.name == "nt", reason="such names cannot be there")
def test_a_folders_name_cannot_lead_out_of_the_results(corpus, capsys):
    odd = corpus.rename(corpus.parent / "..\x1b[31m\n-;rm -rf ~ ✓..")
    assert main(["data", "check", str(odd)]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "corpus 31m---rm--rf"


# Predictions


ROW = '{"id": "%s", "label_true": "per:age", "label_pred": "per:title", "p": 0.5}\n'
GOOD = ROW % "a" + ROW % "b"
PREDICTIONS = {
    "missing": (None, None, "no such file"),
    "empty": ("", None, "empty"),
    "a missing id": (GOOD.replace('"id": "b", ', ""), None, "line 2"),
    "a null id": (GOOD.replace('"b"', "null"), None, "line 2"),
    "a doubled id": (GOOD.replace('"b"', '"a"'), None, "line 2: id a occurs twice"),
    "an id that gold lacks": (GOOD, ROW % "a" + ROW % "c", "row 2: id b"),
    "an id that predictions lack": (GOOD, GOOD + ROW % "c", "id c"),
    "a row too few": ("per:age\n", "per:age\nper:age\n", "1 rows"),
    "no prediction": (GOOD.replace('"label_pred": "per:title", ', "", 1), None, "row 1: field label_pred"),
    "no gold label": (GOOD.replace('"label_true": "per:age", ', "", 1), None, "row 1: field label_true"),
    "a number as label": (GOOD.replace('"per:title"', "7", 1), None, "line 1"),
    "a probability above one": (GOOD.replace("0.5", "7", 1), None, "line 1"),
    "a negative probability": (GOOD.replace("0.5", "-0.1", 1), None, "line 1"),
    "an infinite probability": (GOOD.replace("0.5", "1e999", 1), None, "line 1"),
    "NaN": (GOOD.replace("0.5", "NaN", 1), None, "line 1"),
    "a doubled field": (GOOD.replace('"p"', '"label_pred": "x", "p"', 1), None, "line 1: field label_pred stands twice"),
    "deep nesting": (GOOD.replace('"p"', '"x": %s, "p"' % ("[" * 99_999 + "]" * 99_999), 1), None, "line 1"),
    "a lone surrogate": (GOOD.replace("per:title", "\\ud800", 1), None, "line 1"),
    "a label with a blank": (GOOD.replace("per:age", "no_relation ", 1), None, "row 1: field label_true"),
    "a label that steers": ((ROW % "a") + (ROW % "b").replace("per:title", "\\u001b[31m"), None, "row 2: field label_pred"),
    "a label with a tab": ("per:age\n", "per:age\tx\n", "row 1: field label_true"),
    "an empty line": (GOOD.replace("\n", "\n\n"), None, "line 2"),
    "not UTF-8": (GOOD.encode().replace(b"per:title", b"\xff"), None, "line 1"),
    "damaged gzip": (gzip.compress(GOOD.encode())[:-5], None, "gzip"),
    "a corpus in place of predictions": (TEXT, None, "field label_pred"),
    "binary": (bytes(range(256)), None, "UTF-8"),
}  # fmt: skip


@pytest.mark.parametrize("content, gold, place", PREDICTIONS.values(), ids=PREDICTIONS)
def test_damaged_predictions_are_named(tmp_path, refused, content, gold, place):
    path = tmp_path / (
        "plain.txt" if content == "per:age\n" or isinstance(content, bytes) and content[:1] == b"\0" else "p.jsonl"
    )
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    more = []
    if gold is not None:
        (tmp_path / "gold").write_text(gold)
        more = ["--gold", tmp_path / "gold"]
    refused("score", path, *more, named=tmp_path, place=place)


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"task": 1}', "\ud800", "[" * 99_999, '{"task": "joint", "classes": ["x"]}']
)
def test_predictions_beside_a_damaged_description(tmp_path, refused, content):
    (tmp_path / "predictions").mkdir()
    (tmp_path / "predictions" / "test.jsonl").write_text(GOOD)
    (tmp_path / "run.json").write_bytes(content.encode("utf-8", "surrogatepass"))
    refused("score", tmp_path / "predictions" / "test.jsonl")


# Settings, profiles and word vectors


SLIPS = ["c=-1", "c=0", "c=nan", "c=high", "c=true", "c=[1]", "balance=1.1", "min_count=0", "min_count=1.5", "kernel=poly",
         "kernal=rbf", "groups=[]", "weights={a=-1}", "weights={a=inf}", "c=inf", "max_rows=-1", "max_rows=1" + "0" * 30, "c=" + "[" * 20_000, "=1", "c", "\x1b=1", "kernel=\n"]  # fmt: skip


@pytest.mark.parametrize("slip", SLIPS)
def test_a_slip_in_a_setting_trains_nothing(corpus, refused, slip):
    refused(*train(corpus, "--set", slip))


@pytest.mark.parametrize(
    "family, slip, place",
    [
        ("bilstm", "batch_size=2", "a batch of one row"),
        ("bilstm", "words=glove", "needs a GloVe text file"),
        (
            "bert",
            "own={layers=1,width=15,heads=2,pieces=300,steps=1,learning_rate=0.1,batch_size=8}",
            "multiple of heads 2",
        ),
    ],
)
def test_settings_that_do_not_go_together_train_nothing(corpus, refused, family, slip, place):
    refused(*train(corpus, "--profile", "smoke", "--set", slip, family=family), place=place)
    assert not list(corpus.parent.glob(f"results/mine/{family}*"))


PROFILES = {
    "an unknown key": ("sedes = [1]", "sedes"),
    "an unknown table": ("[svn]\nc = 1.0", "svn"),
    "an unknown setting": ("[svm]\nkernal = 'rbf'", "kernal"),
    "a value out of range": ("[svm]\nc = -1.0", "c:"),
    "a wrong type": ("[bilstm]\nepochs = 'many'", "epochs"),
    "a scale out of range": ("[scales]\ntrain = 2.0", "scales.train"),
    "no seed": ("seeds = []", "seeds"),
    "a negative seed": ("seeds = [-1]", "seeds"),
    "a huge seed": ("seeds = [99999999999]", "seeds"),
    "a bad variant": ("[svm.variants.paper]\nkernel = 'poly'", "kernel"),
    "no TOML": ("seeds = [1", "line"),
    "a doubled key": ("seeds = [1]\nseeds = [2]", "line"),
    "an infinite value": ("[bilstm]\nlearning_rate = inf", "learning_rate"),
    "a setting beyond reason": ("[bilstm]\nepochs = 1" + "0" * 30, "epochs"),
    "a variant on no base": ("[bert.variants.odd]\nbase = 'nosuch'", "nosuch"),
    "variants on each other": ("[bert.variants.marker_punct]\nbase = 'spans'", "circle"),
    "no UTF-8": ("# \udcff", "UTF-8"),
}


@pytest.mark.parametrize("text, place", PROFILES.values(), ids=PROFILES)
def test_a_damaged_profile_trains_nothing(corpus, refused, monkeypatch, text, place):
    folder = shutil.copytree(profile.PROFILES, corpus.parent / "profiles")
    (folder / "odd.toml").write_bytes(f'base = "base"\n{text}\n'.encode(errors="surrogateescape"))
    monkeypatch.setattr(profile, "PROFILES", folder)
    refused(*train(corpus, "--profile", "odd"), named="odd", place=place)


@pytest.mark.parametrize("base, place", [("nosuch", "'nosuch'"), ("odd", "circle"), ("even", "circle")])
def test_a_profile_without_ground_trains_nothing(corpus, refused, monkeypatch, base, place):
    folder = shutil.copytree(profile.PROFILES, corpus.parent / "profiles")
    (folder / "odd.toml").write_text(f'base = "{base}"\n')
    (folder / "even.toml").write_text('base = "odd"\n')
    monkeypatch.setattr(profile, "PROFILES", folder)
    refused(*train(corpus, "--profile", "odd"), named="odd", place=place)


GLOVE = {
    "absent": (None, "No such file"),
    "empty": (b"", "no word"),
    "a short line": (b"ann 1 2 3\nis 1 2\n", "line 2"),
    "a word for a number": (b"ann 1 x 3\n", "line 1"),
    "infinite": (b"ann 1 inf 3\n", "line 1"),
    "beyond the range": (b"ann 1 1e99 3\n", "line 1"),
    "no number": (b"ann\n", "line 1"),
    "a number too many": (b"ann 1 2 3\nis 1 2 3 4\n", "line 2: has 4 numbers, not 3"),
    "gzip": (gzip.compress(b"ann 1 2 3\n"), "UTF-8"),
    "another language": ("дом 1 2 3\n".encode(), "no word"),
}


@pytest.mark.filterwarnings("ignore:overflow encountered")
@pytest.mark.parametrize("content, place", GLOVE.values(), ids=GLOVE)
def test_damaged_word_vectors_leave_no_run(corpus, refused, content, place):
    path = corpus.parent / "glove.txt"
    if content is not None:
        path.write_bytes(content)
    more = ("--profile", "smoke", "--set", "words=glove", "--set", f"glove={path}")
    refused(*train(corpus, *more, family="bilstm"), named=path, place=place)
    assert not list(corpus.parent.glob("results/mine/bilstm*"))

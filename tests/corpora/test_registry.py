"""The corpora by name, folders in TACRED's format, and which text is licensed."""

import hashlib
import json
import shutil
from collections import Counter
from io import BytesIO
from shlex import quote

import msgspec
import pytest
import requests
from pooch import core

from tacred_utils.corpora import registry
from tacred_utils.corpora.example import Corpus, Example
from tacred_utils.corpora.registry import (
    SOURCES,
    Source,
    corpus_files,
    corpus_name,
    read_patch,
    stratified,
    with_negative,
)
from tacred_utils.ground.errors import UserError
from tacred_utils.ground.labels import NO_RELATION, SPLITS, TACRED_SPLIT_SIZES, TASKS
from tacred_utils.runs.predictions import read_labels
from tacred_utils.runs.profile import load_corpus

GOOD, OTHER = hashlib.md5(b"good").hexdigest(), hashlib.md5(b"other").hexdigest()


def test_open_corpora_have_their_published_sizes(data_dir):
    kbp37 = load_corpus("kbp37", data_dir)
    assert [len(kbp37.split(split)) for split in SPLITS] == [15_807, 1_714, 3_379]
    assert len(kbp37.labels) == 37 and not kbp37.columns
    assert {split: len(labels) for split, labels in kbp37.left_out.items()} == {"train": 110, "dev": 10, "test": 26}
    conll04 = load_corpus("conll04", data_dir)
    assert [len(conll04.split(split)) for split in SPLITS] == [12_338, 2_898, 3_822]
    negative = [sum(e.relation == NO_RELATION for e in conll04.split(s)) / len(conll04.split(s)) for s in SPLITS]
    assert [round(share, 3) for share in negative] == [0.897, 0.878, 0.890]
    assert conll04.columns == {"types", "stanford_ner"} and len(conll04.labels) == 6


def test_the_public_format_sample_is_told_apart_from_tacred(data_dir, tmp_path):
    sample = load_corpus("tacred_sample", data_dir)
    assert [len(sample.split(split)) for split in SPLITS] == [20, 20, 20] and sample.gated
    shutil.copytree(data_dir / "tacred_sample", tmp_path / "tacred")
    with pytest.raises(UserError, match="has 20 / 20 / 20 records, TACRED has 68,124"):
        load_corpus("tacred", tmp_path)
    assert corpus_name(str(tmp_path / "tacred")) == "tacred_sample"
    assert load_corpus(str(tmp_path / "tacred")).name == "tacred_sample"


def write_folder(folder, sizes, prefix="", relation=lambda index: "per:title"):
    folder.mkdir(parents=True, exist_ok=True)
    for split in SPLITS:
        records = [
            {"id": f"{prefix}{split}-{index}", "relation": relation(index), "token": ["a", "b"], "subj_start": 0, "subj_end": 0,
             "obj_start": 1, "obj_end": 1, "subj_type": "PERSON", "obj_type": "TITLE"}
            for index in range(sizes[split])
        ]  # fmt: skip
        (folder / f"{split}.json").write_bytes(msgspec.json.encode(records))
    return folder


def test_a_folder_of_tacreds_sizes_is_tacred_unless_its_ids_say_synthetic(tmp_path):
    real = write_folder(tmp_path / "mine", TACRED_SPLIT_SIZES)
    assert corpus_name(str(real)) == "tacred"
    assert load_corpus(str(real)).gated and load_corpus(str(real)).name == "tacred"
    made = write_folder(tmp_path / "made", TACRED_SPLIT_SIZES, prefix="synthetic-")
    assert corpus_name(str(made)) == "made" and load_corpus(str(made)).synthetic


TACRED_ID = "61b3a65fb9b7111c4ca4"
RE_TACRED_SIZES = {"train": 58_465, "dev": 19_584, "test": 13_418}


@pytest.mark.parametrize(
    "sizes, prefix, gated",
    [
        (dict.fromkeys(SPLITS, 9), "", False),
        (dict.fromkeys(SPLITS, 9), f"{TACRED_ID} ", True),  # however few rows: an id tells
        (dict.fromkeys(SPLITS, 9), f"row{TACRED_ID.upper()}-", True),
        (dict.fromkeys(SPLITS, 9), f"x{TACRED_ID}0-", False),  # no id of its form
        (RE_TACRED_SIZES, "", True),  # its ids are gone, its sizes are those of Re-TACRED
        ({"train": 9, "dev": 9, "test": 13_418}, "", True),  # one split is enough to be in doubt
        (RE_TACRED_SIZES, "synthetic-", False),
    ],
)
def test_text_that_may_be_tacreds_is_licensed(tmp_path, sizes, prefix, gated):
    assert load_corpus(str(write_folder(tmp_path / "mine", sizes, prefix))).gated == gated


def test_the_tacred_name_takes_the_archives_layout_and_is_gated_by_sizes(tmp_path):
    write_folder(tmp_path / "tacred" / "data" / "json", TACRED_SPLIT_SIZES)
    assert len(load_corpus("tacred", tmp_path).train) == 68_124
    write_folder(tmp_path / "other" / "tacred", {"train": 9, "dev": 3, "test": 3})
    with pytest.raises(UserError, match="has 9 / 3 / 3 records, TACRED has 68,124"):
        load_corpus("tacred", tmp_path / "other")


def test_tacrev_changes_listed_rows(tmp_path):
    folder = write_folder(tmp_path / "mine", {"train": 5, "dev": 5, "test": 5})
    for split in ("dev", "test"):
        path = tmp_path / "tacrev" / "patch" / f"{split}_patch.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            json.dumps([{"id": f"{split}-2", "relation": NO_RELATION}, {"id": f"{split}-3", "relation": "per:title"}])
        )
    corpus = load_corpus(str(folder), tmp_path, labels="tacrev")
    assert corpus.name == "mine-tacrev" == corpus_name(str(folder), "tacrev")
    assert [example.relation for example in corpus.dev].count(NO_RELATION) == 1
    assert "tacrev changes 1 of 5 labels of test" in corpus.notes


@pytest.mark.parametrize(
    "name, expected", [("a b/..", "is neither"), ("nowhere", "is neither"), ("tacrev", "holds labels")]
)
def test_unknown_names_are_told(name, expected, tmp_path):
    with pytest.raises(UserError, match=expected):
        load_corpus(name, tmp_path)


def test_folder_names_cannot_leave_the_results_folder(tmp_path):
    sizes = {"train": 2, "dev": 2, "test": 2}
    assert corpus_name(str(write_folder(tmp_path / "..hidden ü<b>", sizes))) == "hidden-b"
    assert corpus_name(str(write_folder(tmp_path / "kbp37", sizes))) == "kbp37-folder"
    assert corpus_name(str(write_folder(tmp_path / "x", sizes)) + "/..//x") == "x"


def test_a_wrong_checksum_is_an_error(tmp_path):
    for split in SPLITS:
        (tmp_path / "kbp37").mkdir(exist_ok=True)
        (tmp_path / "kbp37" / f"{split}.txt").write_text('0\t" <e1> A </e1> is <e2> B </e2> . "\nper:title(e1,e2)')
    with pytest.raises(UserError, match="has md5"):
        load_corpus("kbp37", tmp_path)


def test_corpus_files(tmp_path):
    assert corpus_files("sample") == []
    assert [path.name for path in corpus_files("kbp37", tmp_path)] == ["train.txt", "dev.txt", "test.txt"]


def test_both_forms(tmp_path):
    tacrev, retacred = tmp_path / "patch.json", tmp_path / "labels.json"
    tacrev.write_text('[{"id": "a", "relation": "per:age"}]')
    retacred.write_text('{"a": "per:age", "b": "no_relation"}')
    assert read_patch(tacrev, ["a", "b"]) == {"a": "per:age"}
    assert read_patch(retacred) == {"a": "per:age", "b": "no_relation"}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('[{"id": "c", "relation": "x"}]', "1 of 1 ids, such as c, are not in this split"),
        ('[{"id": "a", "relation": "x"}, {"id": "a", "relation": "y"}]', "twice"),
        ('[{"id": "a"}]', "not a label revision"),
        ("[1, 2", "not a label revision"),
        ("", "empty"),
    ],
)
def test_mistakes(tmp_path, content, words):
    path = tmp_path / "patch.json"
    path.write_text(content)
    with pytest.raises(UserError, match=words):
        read_patch(path, ["a", "b"])


def test_published_patches(data_dir):
    patches = data_dir / "tacrev" / "patch"
    if not patches.is_dir():
        pytest.skip("TACREV's patches are absent")
    assert len(read_patch(patches / "dev_patch.json")) == 1590
    gold = read_labels(data_dir / "tacrev" / "test_results" / "bilstm_bert_cased_test.jsonl").set_index("id").label
    patch = read_patch(patches / "test_patch.json", gold.index)
    assert len(patch) == 936 and all(gold[row] != label for row, label in patch.items())
    with pytest.raises(UserError, match="same split"):
        read_patch(patches / "dev_patch.json", gold.index)


def test_published_re_tacred_labels(data_dir):
    if not (data_dir / "retacred").is_dir():
        pytest.skip("Re-TACRED's labels are absent")
    sizes = [len(read_patch(data_dir / "retacred" / f"{split}_id2label.json")) for split in ("train", "dev", "test")]
    assert sizes == [58_465, 19_584, 13_418]


def test_retacred_changes_and_drops(data_dir):
    sample = load_corpus("tacred_sample", data_dir, labels="retacred")
    assert sample.name == "tacred_sample-retacred"
    assert len(sample.train) + len(sample.dev) + len(sample.test) < 60
    assert any("drops" in note for note in sample.notes)
    with pytest.raises(UserError, match="is for TACRED only"):
        load_corpus("conll04", data_dir, labels="retacred")


def rows(split: str, *labels: str) -> list[Example]:
    return [Example(f"{split}-{n}", label, ["a", "b"], 0, 0, 1, 1, "A", "B") for n, label in enumerate(labels)]


def corpus_of(*labels: str) -> Corpus:
    return Corpus("mine", *(rows(split, *labels) for split in SPLITS))


@pytest.mark.parametrize("name", ["NA", "Other", "none", "No_Relation", "no_relation(e1,e2)"])
def test_the_negative_label_under_another_name_is_told_and_taken(name):
    given = corpus_of("per:age", name)
    assert with_negative(given, None).notes == [
        f"no label is called no_relation, and {name} looks like it: give --negative {quote(name)}"
    ]
    named = with_negative(given, name)
    assert named.labels == ["no_relation", "per:age"] and named.tasks == TASKS[:2] and not named.notes
    assert named.digests == corpus_of("per:age", "no_relation").digests != given.digests


def test_no_other_negative_label_is_looked_for_where_there_is_one():
    given = corpus_of("per:age", "no_relation", "Other")
    assert with_negative(given, None) == given
    assert not with_negative(corpus_of("per:age", "per:title"), None).notes
    assert with_negative(corpus_of("n\u00e9ant"), "ne\u0301ant").labels == ["no_relation"]
    with pytest.raises(UserError, match="--negative NA: mine has no such label, only no_relation, Other"):
        with_negative(given, "NA")


def test_a_subset_is_stratified_stated_and_the_same_every_time(data_dir):
    scales = {"train": 0.05, "dev": 0.05, "test": 0.2}
    corpus, again = load_corpus("conll04", data_dir, scales=scales), load_corpus("conll04", data_dir, scales=scales)
    assert corpus.digests == again.digests
    assert abs(len(corpus.train) - 3_406) < 5 and corpus.subset.startswith(
        f"stratified subset of {len(corpus.train):,} / "
    )
    full = Counter(e.relation for e in load_corpus("conll04", data_dir).train)
    part = Counter(e.relation for e in corpus.train)
    assert all(abs(part[label] / len(corpus.train) - full[label] / 12_338) < 0.001 for label in full)
    assert load_corpus("conll04", data_dir, scales=dict.fromkeys(SPLITS, 1.0)).subset == ""


def test_every_label_keeps_a_row():
    kept = stratified(rows("x", *["common"] * 7, "rare", *["common"] * 92), 5)
    numbers = [int(row.id.removeprefix("x-")) for row in kept]
    assert {row.relation for row in kept} == {"rare", "common"} and numbers == sorted(numbers)


def test_rows_whose_sentence_stands_in_training(data_dir):
    conll04 = load_corpus("conll04", data_dir)
    shared = {split: conll04.in_training(split) for split in SPLITS}
    assert all(shared["train"]) and [sum(shared[split]) for split in ("dev", "test")] == [70, 164]
    for split, sentences in (("dev", 13), ("test", 21)):
        rows = zip(conll04.split(split), shared[split], strict=True)
        assert len({tuple(example.token) for example, stands in rows if stands}) == sentences


def test_rows_that_a_reader_left_out_belong_to_the_whole_corpus_only(data_dir):
    assert load_corpus("kbp37", data_dir, scales=dict.fromkeys(SPLITS, 0.01)).left_out == {}


@pytest.fixture
def asked(monkeypatch):
    """The addresses that are asked for. Every answer is `good`, or of another status where the address says so."""
    addresses = []

    def send(_, request, **__):
        addresses.append(request.url)
        if "broken" in request.url:
            raise requests.ConnectionError("no route")
        answer = requests.Response()
        answer.request, answer.url, answer.raw, answer.status_code = request, request.url, BytesIO(b"good"), 200
        if "moved" in request.url:
            answer.status_code, answer.headers["location"] = 302, "http://example.org/elsewhere"
        return answer

    monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", send)
    monkeypatch.setattr(core.time, "sleep", lambda _: None)
    return addresses


def source(monkeypatch, **files: str) -> None:
    """A source called toy with these files."""
    toy = Source("a toy", {f"{name}.txt": md5 for name, md5 in files.items()}, "https://example.org/toy")
    monkeypatch.setitem(SOURCES, "toy", toy)


def test_only_what_has_the_right_checksum_is_kept(tmp_path, monkeypatch, asked):
    source(monkeypatch, train=GOOD, dev=OTHER)
    with pytest.raises(UserError, match=f"dev.txt: has not the md5 {OTHER}.*nothing was kept"):
        registry.fetch_source("toy", tmp_path)
    assert {*asked} == {"https://example.org/toy/train.txt", "https://example.org/toy/dev.txt"}
    assert [path.name for path in (tmp_path / "toy").iterdir()] == ["train.txt"]
    asked.clear()
    with pytest.raises(UserError, match="dev.txt"):
        registry.fetch_source("toy", tmp_path)
    assert {*asked} == {"https://example.org/toy/dev.txt"}  # the good one is not fetched again


def test_a_damaged_file_is_fetched_again(tmp_path, monkeypatch, asked):
    source(monkeypatch, train=GOOD)
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "train.txt").write_bytes(b"half")
    [path] = registry.fetch_source("toy", tmp_path)
    assert path.read_bytes() == b"good" and len(asked) == 1


def test_it_tries_again_and_then_says_what_to_do(tmp_path, monkeypatch, asked):
    source(monkeypatch, broken=GOOD)
    with pytest.raises(UserError, match="cannot be had.*--data-dir"):
        registry.fetch_source("toy", tmp_path)
    assert len(asked) == 3 and not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize("md5", [GOOD, ""])
def test_no_redirect_is_followed(tmp_path, monkeypatch, asked, md5):
    source(monkeypatch, moved=md5)
    with pytest.raises(UserError, match="cannot be had"):
        registry.fetch_source("toy", tmp_path)
    assert asked == ["https://example.org/toy/moved.txt"]
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_all_downloads_are_https_with_a_checksum():
    without = {"train_revised.json"}  # of redocred: its reader knows it by the number of its documents
    for source in SOURCES.values():
        if source.url is not None:
            assert source.url.startswith("https://")
            assert all([len(md5) == 32 for file, md5 in source.files.items() if file not in without])


def test_folders_that_are_called_otherwise_at_the_source(tmp_path, monkeypatch, asked):
    with pytest.raises(UserError, match="has not the md5"):
        registry.fetch_source("tacrev", tmp_path)
    monkeypatch.setattr(core, "hash_matches", lambda *_, **__: True)
    registry.fetch_source("tacrev", tmp_path)
    assert asked[-1].endswith("master/results/test_results/tre_tacred_test.txt")
    assert (tmp_path / "tacrev" / "test_results" / "tre_tacred_test.txt").exists()


def test_licensed_and_unknown_downloads_are_refused(tmp_path):
    with pytest.raises(UserError, match="LDC2018T24"):
        registry.fetch_source("tacred", tmp_path)
    with pytest.raises(UserError, match="unknown"):
        registry.fetch_source("nope", tmp_path)

"""TACREV's and Re-TACRED's labels by id, other names of the negative label, subsets, and rows that stand in training."""

from collections import Counter
from shlex import quote

import pytest

from tacred_utils.corpora.derived import read_patch, stratified, with_negative
from tacred_utils.corpora.example import Corpus, Example
from tacred_utils.ground.errors import UserError
from tacred_utils.ground.labels import SPLITS, TASKS
from tacred_utils.runs.data import load_corpus
from tacred_utils.runs.predictions import read_labels


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

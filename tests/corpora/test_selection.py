"""Subsets of a corpus, and rows whose sentence stands in training."""

from collections import Counter

import msgspec

from tacred_utils.corpora.example import Example
from tacred_utils.corpora.selection import in_training, stratified
from tacred_utils.ground.labels import SPLITS
from tacred_utils.runs.data import load_corpus


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
    rows = [msgspec.convert({"id": str(i), "relation": "rare" if i == 7 else "common", "token": ["a"], "subj_start": 0, "subj_end": 0,
                             "obj_start": 0, "obj_end": 0, "subj_type": "A", "obj_type": "B"}, Example) for i in range(100)]  # fmt: skip
    kept = stratified(rows, 5)
    assert {row.relation for row in kept} == {"rare", "common"} and [int(r.id) for r in kept] == sorted(
        int(r.id) for r in kept
    )


def test_rows_whose_sentence_stands_in_training(data_dir):
    conll04 = load_corpus("conll04", data_dir)
    shared = {split: in_training(conll04, split) for split in SPLITS}
    assert all(shared["train"]) and [sum(shared[split]) for split in ("dev", "test")] == [70, 164]
    for split, sentences in (("dev", 13), ("test", 21)):
        rows = zip(conll04.split(split), shared[split], strict=True)
        assert len({tuple(example.token) for example, stands in rows if stands}) == sentences


def test_rows_that_a_reader_left_out_belong_to_the_whole_corpus_only(data_dir):
    assert load_corpus("kbp37", data_dir, scales=dict.fromkeys(SPLITS, 0.01)).left_out == {}

"""The catalogue of runs: systems put together from predictions, and which runs count."""

import gzip
import json
import re

import numpy as np
import pytest

from tacred_utils.runs.catalog import Missing, load_catalogs


def test_systems_are_put_together_from_predictions(runs):
    catalog = load_catalogs([(runs, None)])["sample"]
    joint, staged = catalog.system("svm joint"), catalog.system("svm two_stages")
    detected = catalog.system("svm detection").answers[0]
    assert len(joint.gold) == len(staged.gold) and joint.labels == staged.labels
    assert set(detected) == {"no_relation", "relation"}
    named = catalog.system("svm relation_only")
    assert "no_relation" not in named.labels and len(named.gold) == (joint.gold != "no_relation").sum()
    for absent in ("bert joint", "svm joint paper", "svm joint c=2.0"):
        with pytest.raises(Missing, match=absent.split()[-1].replace("joint", "bert")):
            catalog.system(absent)
    with pytest.raises(Missing, match="log-probabilities"):
        catalog.system("svm restricted")  # published copies keep none here


def test_the_joint_model_restricted_and_gated_and_rows_by_sentence(trained):
    root, corpus = trained
    catalog = load_catalogs([(root / "results", None)], [corpus])["sample"]
    restricted, named = catalog.system("svm restricted"), catalog.system("svm relation_only")
    assert np.array_equal(restricted.gold, named.gold) and "no_relation" not in set(restricted.answers[0])
    assert len(catalog.system("svm gated").gold) == len(corpus.test)


def test_without_a_relation_on_dev_no_threshold_is_chosen(runs):
    for path in runs.glob("sample/*/predictions/dev.jsonl.gz"):
        text = gzip.decompress(path.read_bytes()).decode()
        path.write_bytes(gzip.compress(re.sub('"label_true":"[^"]+"', '"label_true":"no_relation"', text).encode()))
    with pytest.raises(Missing, match="a row of dev with a relation"):
        load_catalogs([(runs, None)])["sample"].system("svm two_stages")


def test_a_run_that_differs_from_its_profile_is_no_headline_row(runs):
    info = next(runs.glob("sample/svm-joint-*/run.json"))
    content = json.loads(info.read_text())
    content["settings"]["c"] = 2.0
    info.write_text(json.dumps(content))
    catalog = load_catalogs([(runs, None)])["sample"]
    assert catalog.system("svm joint c=2.0").runs and catalog.frame.system[catalog.frame.task == "joint"].tolist() == [
        ""
    ]
    with pytest.raises(Missing):
        catalog.system("svm joint")


def test_the_largest_version_of_a_corpus_counts_and_a_run_counts_once(runs, trained):
    info = next(runs.glob("sample/svm-joint-*/run.json"))
    content = json.loads(info.read_text())
    content["corpus"]["rows"]["train"] -= 1
    content["corpus"]["sha256"] = {"train": "of a smaller part"}
    info.write_text(json.dumps(content))
    assert set(load_catalogs([(runs, None)])["sample"].frame.task) == {"detection", "relation_only"}
    both = load_catalogs([(trained[0] / "results", "sample"), (runs, None)])["sample"].frame
    assert sorted(both.task) == ["detection", "joint", "relation_only"]
    assert load_catalogs([(runs / "nowhere", None), (runs, "kbp37")]) == {}

"""Kept evidence: it is what the published files give, and a run without them leaves it as it is."""

import json

import pytest

from tacred_utils.ground.errors import UserError
from tacred_utils.ground.files import digest
from tacred_utils.paper import evidence, published
from tacred_utils.paper.published import PAPER_BERT


@pytest.fixture
def files(data_dir):
    if sentence := published.missing_files(data_dir):
        pytest.skip(sentence)
    return data_dir


def test_what_is_kept_is_what_the_published_files_give(files):
    assert evidence.changed_tables(files) == []
    assert "recomputed" in evidence.said_of(files) and "same" in evidence.said_of(files)
    sources = json.loads((evidence.FOLDER / "sources.json").read_text())
    here = {file for file in {*published.FILES, published.NOTEBOOK} if (files / file).is_file()}
    assert {file: digest(files / file) for file in here} == {file: sources["sha256"][file] for file in here} and here


def test_a_change_in_what_is_kept_is_found(files, tmp_path):
    for path in evidence.FOLDER.glob("*.csv"):
        (tmp_path / path.name).write_text(path.read_text().replace("0.507", "0.517"))
    assert evidence.changed_tables(files, tmp_path) == ["scores"]


def test_without_the_files_nothing_is_written_and_the_page_says_so(tmp_path):
    with pytest.raises(UserError, match="data get"):
        evidence.write_tables(tmp_path, tmp_path / "evidence")
    assert not (tmp_path / "evidence").exists()
    assert "keeps in data/evidence" in evidence.said_of(tmp_path)


def test_confusion_counts_give_every_score_back():
    for name in published.SYSTEMS:
        counted = evidence.counts_of(name)
        assert counted.gold.sum() == 15_509 and len(counted.labels) == 42
        for score in ("micro_f1", "macro_f1", "detection_f1", "classification_accuracy"):
            assert evidence.estimate(score, name).value == pytest.approx(float(counted.scores()[score]), abs=1e-6)


def test_differences_are_found_either_way_round():
    one = evidence.estimate("micro_f1", PAPER_BERT, "LSTM, masked")
    other = evidence.estimate("micro_f1", "LSTM, masked", PAPER_BERT)
    assert one.value == pytest.approx(-0.063, abs=1e-3) and (one.low, one.high) == (-other.high, -other.low)
    assert one.parts == pytest.approx((0.507, 0.570), abs=1e-3) and one.n == 15_509
    with pytest.raises(KeyError, match="micro_f1 of nobody"):
        evidence.estimate("micro_f1", "nobody")


def test_tables_hold_no_id_and_a_damaged_one_is_told(tmp_path):
    for path in evidence.FOLDER.glob("*.csv"):
        assert "id" not in path.read_text().splitlines()[0].split(",") and path.stat().st_size < 100_000
    with pytest.raises(UserError, match="scores.csv"):
        evidence.kept_table("scores", tmp_path)

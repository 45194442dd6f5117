"""Predicted columns: what spaCy says of given words, where it is kept, and that nothing stale is ever taken."""

import importlib.metadata
import json
from dataclasses import replace

import msgspec
import planted
import pytest

from tacred_utils.__main__ import main
from tacred_utils.corpora import annotate
from tacred_utils.corpora.example import COLUMNS, Corpus
from tacred_utils.ground.errors import UserError
from tacred_utils.ground.labels import SPLITS
from tacred_utils.runs.profile import load_corpus

needs_spacy = pytest.mark.skipif(bool(annotate.lacking()), reason=annotate.lacking())
WORDS = ["Ann", "Lee", "moved", "to", "Rome", "in", "1999", "\xa0", ";", "she", "works", "there", "."]


def bare() -> Corpus:
    """The planted corpus without any column."""
    corpus = planted.corpus()
    plain = {
        split: [msgspec.structs.replace(e, stanford_pos=None, stanford_ner=None) for e in corpus.split(split)]
        for split in SPLITS
    }
    return replace(corpus, **plain)


@pytest.fixture
def counted(monkeypatch):
    """A stand-in for spaCy, and the sentences that it was given."""
    seen = []

    def columns(words):
        seen.append(words)
        size = len(words)
        return ["NN"] * size, ["O"] * size, [0] + [1] * (size - 1), ["ROOT"] + ["dep"] * (size - 1)

    monkeypatch.setattr(annotate, "lacking", lambda: "")
    monkeypatch.setattr(annotate, "annotator", lambda: columns)
    return seen


@needs_spacy
def test_columns_have_a_value_for_each_given_word_and_one_root():
    pos, ner, head, deprel = annotate.annotator()(WORDS)
    assert pos[:7] == ["NNP", "NNP", "VBD", "IN", "NNP", "IN", "CD"]
    assert ner[:7] == ["PERSON", "PERSON", "O", "O", "GPE", "O", "DATE"]
    assert len(pos) == len(ner) == len(head) == len(deprel) == len(WORDS)
    assert head.count(0) == 1 and head[:3] == [2, 3, 11] and head[10] == 0 and deprel[1] == "nsubj"


@needs_spacy
def test_what_is_predicted_does_not_depend_on_what_came_before():
    alone = annotate.annotator()(WORDS)
    after = annotate.annotator()
    for row in planted.rows("train", 20, 1):
        after(row.token)
    assert after(WORDS) == alone


def test_columns_are_filled_in_kept_and_part_of_the_identity(tmp_path, counted):
    corpus = annotate.with_columns(bare(), tmp_path, make=True)
    assert set(COLUMNS) <= corpus.columns and corpus.annotator == annotate.ANNOTATOR
    assert corpus.notes[-1].endswith(f"predicted by {annotate.ANNOTATOR}")
    assert corpus.digests != bare().digests and len(counted) == len({tuple(words) for words in counted})
    number = len(counted)
    again = annotate.with_columns(bare(), tmp_path, make=False)
    assert again.digests == corpus.digests and len(counted) == number and len([*tmp_path.iterdir()]) == 1


def test_columns_that_are_there_stay(tmp_path, counted):
    corpus = annotate.with_columns(planted.corpus(), tmp_path, make=True)
    assert corpus.train[0].stanford_pos == planted.corpus().train[0].stanford_pos
    assert "stanford_head, stanford_deprel: predicted" in corpus.notes[-1]
    assert annotate.with_columns(corpus, tmp_path, make=True) is corpus


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-40], lambda data: data.replace(b"NN", b"VB", 1), lambda data: b""]
)
def test_a_damaged_file_is_made_again(tmp_path, counted, damage):
    corpus = annotate.with_columns(bare(), tmp_path, make=True)
    [path] = tmp_path.iterdir()
    path.write_bytes(damage(path.read_bytes()))
    number = len(counted)
    assert annotate.with_columns(bare(), tmp_path, make=False).columns == bare().columns
    assert annotate.with_columns(bare(), tmp_path, make=True).digests == corpus.digests and len(counted) == 2 * number


def test_columns_of_other_sentences_or_of_another_model_are_not_taken(tmp_path, counted, monkeypatch):
    annotate.with_columns(bare(), tmp_path, make=True)
    number, other = len(counted), bare()
    other.dev[0].token[-1] = "!"
    assert not annotate.with_columns(other, tmp_path, make=False).annotator
    monkeypatch.setattr(annotate, "SHA256", "0" * 64)
    annotate.with_columns(bare(), tmp_path, make=True)
    assert len(counted) == 2 * number


def test_a_folder_that_may_not_be_written_to_stays_as_it_is(tmp_path, counted, monkeypatch):
    (tmp_path / "corpus").mkdir(mode=0o555)
    monkeypatch.setattr(annotate, "DATA", tmp_path / "data")
    annotate.with_columns(bare(), tmp_path / "corpus", make=True)
    assert not [*(tmp_path / "corpus").iterdir()] and len([*(tmp_path / "data" / "columns").iterdir()]) == 1
    assert annotate.with_columns(bare(), tmp_path / "corpus", make=False).annotator
    [path] = (tmp_path / "data" / "columns").iterdir()
    (tmp_path / "given").mkdir()
    path.rename(tmp_path / "given" / path.name)
    (tmp_path / "given").chmod(0o555)
    assert annotate.with_columns(bare(), tmp_path / "given", make=False).annotator  # as somebody has put it there


def test_without_spacy_or_its_model_the_corpus_says_what_is_missing(tmp_path, monkeypatch):
    def absent(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(annotate.importlib.metadata, "version", absent)
    corpus = annotate.with_columns(bare(), tmp_path, make=True)
    assert corpus.columns == bare().columns and "spaCy 3.8.18 is missing: pip install spacy==3.8.18" in corpus.notes[-1]
    monkeypatch.setattr(annotate.importlib.metadata, "version", lambda name: "3.7.0")
    assert "(there is 3.7.0)" in annotate.lacking()
    monkeypatch.setattr(annotate.importlib.metadata, "version", lambda name: annotate.SPACY)
    monkeypatch.setattr(annotate.importlib.util, "find_spec", lambda name: None)
    assert "en_core_web_sm 3.8.0 is missing: pip install --no-deps" in annotate.lacking()
    with pytest.raises(UserError, match="en_core_web_sm 3.8.0 is missing"):
        annotate.annotator()


def test_a_model_with_other_bytes_is_refused(tmp_path, monkeypatch):
    (tmp_path / "config.cfg").write_text("[nlp]")
    monkeypatch.setattr(annotate, "lacking", lambda: "")
    monkeypatch.setattr(annotate, "_model_folder", lambda: tmp_path)
    with pytest.raises(UserError, match="has sha256 .* install it again"):
        annotate.annotator()


def test_a_folder_corpus_uses_what_lies_beside_it_only(tmp_path, counted):
    for split in SPLITS:
        rows = [{k: v for k, v in msgspec.to_builtins(row).items() if v is not None} for row in bare().split(split)]
        (tmp_path / f"{split}.json").write_text(json.dumps(rows))
    plain = load_corpus(str(tmp_path))
    assert not plain.annotator and not counted
    annotate.with_columns(plain, tmp_path, make=True)
    assert load_corpus(str(tmp_path)).annotator == annotate.ANNOTATOR


def test_data_annotate_makes_them_once_and_leaves_published_corpora_alone(tmp_path, counted, capsys, data_dir):
    for split in SPLITS:
        rows = [{k: v for k, v in msgspec.to_builtins(row).items() if v is not None} for row in bare().split(split)]
        (tmp_path / f"{split}.json").write_text(json.dumps(rows))
    for _ in range(2):
        assert main(["data", "annotate", str(tmp_path)]) == 0
        assert f"predicted by {annotate.ANNOTATOR}" in capsys.readouterr().out
    assert len(counted) == len({tuple(words) for words in counted})
    assert main(["data", "annotate", "--corpus", "conll04", "--data-dir", str(data_dir)]) == 2
    assert "stays as it was published" in capsys.readouterr().err
    assert main(["data", "annotate", "--corpus", "tacred_sample", "--data-dir", str(data_dir)]) == 0
    assert "nothing is predicted" in capsys.readouterr().out


def test_the_main_corpus_has_its_columns_without_spacy(data_dir, monkeypatch):
    monkeypatch.setattr(annotate, "lacking", lambda: "spaCy is missing")
    corpus = load_corpus("redocred_small", data_dir)
    assert corpus.annotator == annotate.ANNOTATOR and {*COLUMNS} <= corpus.columns

"""The corpora by name, folders in TACRED's format, and which text is licensed."""

import json
import shutil

import msgspec
import pytest

from tacred_utils.corpora.registry import corpus_files, corpus_name
from tacred_utils.ground.errors import UserError
from tacred_utils.ground.labels import NO_RELATION, SPLITS, TACRED_SPLIT_SIZES
from tacred_utils.runs.data import load_corpus


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

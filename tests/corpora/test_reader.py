"""The reader: what it accepts, and that whatever it refuses is named by file, record, field and remedy."""

import copy
import json

import pytest

from tacred_utils.corpora.example import Example, card
from tacred_utils.corpora.reader import assemble, read_split
from tacred_utils.ground.errors import UserError

RECORD = {
    "id": "a1", "relation": "per:title", "token": ["Ann", "Lee", "is", "a", "judge", "."], "subj_start": 0, "subj_end": 1,
    "obj_start": 4, "obj_end": 4, "subj_type": "PERSON", "obj_type": "TITLE",
    "stanford_pos": ["NNP", "NNP", "VBZ", "DT", "NN", "."], "stanford_ner": ["PERSON", "PERSON", "O", "O", "O", "O"],
    "stanford_head": ["2", "5", "5", "5", "0", "5"], "stanford_deprel": ["compound", "nsubj", "cop", "det", "ROOT", "punct"],
}  # fmt: skip
COLUMNS = ("stanford_pos", "stanford_ner", "stanford_head", "stanford_deprel")


def changed(**fields):
    record = copy.deepcopy(RECORD) | fields
    return {name: value for name, value in record.items() if value is not ...}


@pytest.fixture
def write(tmp_path):
    def write(content):
        path = tmp_path / "train.json"
        path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
        return path

    return write


def test_reads_a_record(write):
    [example] = read_split(write([RECORD]))
    assert example.token == RECORD["token"] and (example.obj_start, example.obj_end) == (4, 4)
    assert example.stanford_head == [2, 5, 5, 5, 0, 5]  # strings in the file, integers here


def test_heads_may_be_integers_and_columns_absent(write):
    [example] = read_split(write([changed(stanford_head=[2, 5, 5, 5, 0, 5])]))
    assert example.stanford_head == [2, 5, 5, 5, 0, 5]
    [example] = read_split(write([changed(**dict.fromkeys(COLUMNS, ...))]))
    assert all(getattr(example, column) is None for column in COLUMNS)


@pytest.mark.parametrize("prefix, ending", [(b"\xef\xbb\xbf", b"\n"), (b"", b"\r\n"), (b" \r\n", b"")])
def test_byte_order_mark_and_line_ends_do_not_matter(write, prefix, ending):
    content = json.dumps([RECORD], indent=1).encode().replace(b"\n", ending or b"\n")
    assert read_split(write(prefix + content + ending)) == read_split(write([RECORD]))


def test_letters_with_accents_are_one_and_spans_stay(write):
    split, joined = "Rene\u0301e", "Ren\u00e9e"
    record = changed(id=split, token=[split, "Lee", "is", "a", "judge", "."], relation=f"per:{split}", subj_type=split)
    [example] = read_split(write([record]))
    assert example.id == example.token[0] == example.subj_type == joined and example.relation == f"per:{joined}"
    assert example.subject == (0, 1) and example.object == (4, 4)


def test_ten_thousand_words_are_a_sentence(write):
    long = changed(token=["word"] * 10_000, obj_start=9_999, obj_end=9_999, **dict.fromkeys(COLUMNS, ...))
    assert len(read_split(write([long]))[0].token) == 10_000


DAMAGED_RECORDS = [
    (changed(relation=...), "field relation"),
    (changed(token=...), "field token"),
    (changed(subj_start=...), "field subj_start"),
    (changed(obj_type=None), "field obj_type"),
    (changed(subj_start="0"), "field subj_start"),
    (changed(token="Ann Lee"), "field token"),
    (changed(token=["Ann", 3]), "field token[1]"),
    (changed(token=[]), "field token"),
    (changed(subj_start=-1), "field subj_start"),
    (changed(subj_end=6), "field subj_end"),
    (changed(subj_start=10**30, subj_end=10**30), "field subj_start"),
    (changed(obj_start=5), "field obj_start"),
    (changed(stanford_pos=["NNP"]), "field stanford_pos"),
    (changed(stanford_head=["2", "5", "5", "5", "0", "7"]), "field stanford_head"),
    (changed(stanford_head=["2", "5", "5", "5", "-1", "5"]), "field stanford_head"),
    (changed(stanford_head=["2", "five", "5", "5", "0", "5"]), "field stanford_head[1]"),
    (changed(stanford_deprel="root"), "field stanford_deprel"),
    (changed(relation=""), "field relation"),
    (changed(relation="per:title\n"), "field relation"),
    (changed(relation="per:\x07title"), "field relation"),
    (changed(subj_type=" PERSON"), "field subj_type"),
    (["not", "a", "record"], "record 1"),
    (None, "record 1"),
]


@pytest.mark.parametrize("damaged, place", DAMAGED_RECORDS)
def test_a_damaged_record_is_named(write, damaged, place):
    with pytest.raises(UserError) as caught:
        read_split(write([RECORD, damaged]))
    message = str(caught.value)
    assert "train.json: record 1" in message and place in message
    if isinstance(damaged, dict):
        assert "id 'a1'" in message
    assert message.endswith(".") and "\n" not in message


DAMAGED_FILES = [
    (b"", "is empty"),
    (b" \n", "is empty"),
    (b"[]", "holds no record"),
    (json.dumps(RECORD).encode(), "object"),
    (b"\n".join([json.dumps(RECORD).encode()] * 2), "JSON lines"),
    (json.dumps([RECORD]).encode()[:-20], "truncated"),
    (json.dumps([RECORD]).encode() + b"]", "not valid JSON"),
    (json.dumps([changed(subj_start=float("nan"))]).encode(), "NaN"),
    (b"\x1f\x8b\x08\x00", "gzip"),
    (json.dumps([RECORD]).encode("utf-16"), "UTF-16"),
    (b"[" * 100_000, "valid JSON"),
    (b'[{"id": "\xff"}]', "train.json"),
    (b"\xef\xbb\xbf", "is empty"),
]


@pytest.mark.parametrize("content, reason", DAMAGED_FILES)
def test_a_damaged_file_is_named(write, content, reason):
    with pytest.raises(UserError) as caught:
        read_split(write(content))
    assert "train.json" in str(caught.value) and reason in str(caught.value)


def test_missing_file_and_folder_in_place_of_a_file(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        read_split(tmp_path / "train.json")
    (tmp_path / "train.json").mkdir()
    with pytest.raises(UserError, match="is a folder"):
        read_split(tmp_path / "train.json")


def test_doubled_ids_and_half_present_columns(write):
    with pytest.raises(UserError, match="record 1.*already the id of record 0"):
        read_split(write([RECORD, RECORD]))
    with pytest.raises(UserError, match=r"record 1 \(id 'b'\), field stanford_ner: is missing"):
        read_split(write([RECORD, changed(id="b", stanford_ner=...)]))


def example(identity, relation="per:title", **fields):
    record = changed(id=identity, relation=relation, stanford_head=[2, 5, 5, 5, 0, 5]) | fields
    return Example(**record)


def test_splits_are_checked_against_each_other():
    with pytest.raises(UserError, match="'x' stands in train and in test"):
        assemble("c", {"train": [example("x")], "dev": [example("y")], "test": [example("x")]}, "folder")
    bare = dict.fromkeys(COLUMNS)
    with pytest.raises(UserError, match="stanford_pos is present in train and dev only"):
        assemble("c", {"train": [example("x")], "dev": [example("y")], "test": [example("z", **bare)]}, "folder")


def test_labels_that_training_lacks_are_allowed_and_reported():
    corpus = assemble(
        "c", {"train": [example("x")], "dev": [example("y")], "test": [example("z", "per:age")]}, "folder"
    )
    assert corpus.notes == ["labels that training lacks: per:age"] and corpus.labels == ["per:age", "per:title"]


def test_one_constant_type_counts_as_none():
    untyped = {"subj_type": "ENTITY", "obj_type": "ENTITY"}
    splits = {split: [example(split, **untyped)] for split in ("train", "dev", "test")}
    assert "types" not in assemble("c", splits, "folder").columns
    assert "types" in assemble("c", {split: [example(split)] for split in splits}, "folder").columns


def test_the_card_states_what_it_must():
    splits = {"train": [example("a"), example("n", "no_relation")], "dev": [example("b")], "test": [example("c")]}
    corpus = assemble("mini", splits, "folder")
    text = card(corpus)
    for one, other in (("dev", "train"), ("test", "train"), ("test", "dev")):
        assert f"sentences that {one} shares with {other}: 1\n" in text
    for expected in ("corpus mini", "per:title", "0.33 : 1", "PERSON - TITLE", corpus.digests["train"], "50.0%"):
        assert expected in text

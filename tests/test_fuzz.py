"""Readers under mutated input, and properties of reader, scorer and composition: what is not read is refused in a sentence."""

import json
import random
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tacred_utils.corpora.example import Example
from tacred_utils.corpora.reader import read_split
from tacred_utils.corpora.registry import read_patch
from tacred_utils.ground import files
from tacred_utils.ground.errors import UserError
from tacred_utils.ground.labels import NO_RELATION
from tacred_utils.metrics.counts import all_scores
from tacred_utils.metrics.postprocessing import best_threshold, both_answers, gate
from tacred_utils.runs import predictions
from tacred_utils.runs.predictions import read_labels, read_predictions

RECORD = {
    "id": "a1", "relation": "per:title", "token": ["Änn", "Lee", "is", "a", ":", "\u202e"], "subj_start": 0, "subj_end": 1,
    "obj_start": 4, "obj_end": 4, "subj_type": "PERSON", "obj_type": "TITLE",
    "stanford_pos": ["NNP", "NNP", "VBZ", "DT", ":", "."], "stanford_ner": ["PERSON", "PERSON", "O", "O", "O", "O"],
    "stanford_head": ["2", "5", "5", "5", "0", "5"], "stanford_deprel": ["compound", "nsubj", "cop", "det", "ROOT", "punct"],
    "docid": {"x": [1, None, "\\"]},
}  # fmt: skip
LINE = '{"id": "%s", "label_true": "per:age", "label_pred": "per:title", "p": 0.5}\n'
SEEDS = [  # a reader and a sound file for it
    *[(read_split, json.dumps([RECORD, RECORD | {"id": "b"}], ensure_ascii=flag).encode()) for flag in (True, False)],
    (read_split, json.dumps([RECORD], separators=(",", ":")).encode()),
    (read_predictions, (LINE % "a" + LINE % "b").encode()),
    (read_labels, b"per:age\nno_relation\n"),
    (read_labels, json.dumps([RECORD]).encode()),
    (read_patch, b'[{"id": "a", "relation": "per:age"}, {"id": "b", "relation": "no_relation"}]'),
    (read_patch, b'{"a": "per:age", "b": "no_relation"}'),
]
SNIPPETS = [
    b"", b'"', b"\\", b"\\ud800", b"\\u202e", b"\\u0000", b"\xff", b"\xc3", b"\x00", b"[", b"]", b"{", b"}", b",", b":", b"null", b"true",
    b"-1", b"1e999", b"9" * 400, b"NaN", b"0.5", b'"a":1,', b'"id":"a",', b"\n", b"\r", b"\t", b"\xef\xbb\xbf", b"\x1f\x8b", b"\xff\xfe",
    b"[" * 3_000, b"[3, 4]", "ש\u200b".encode(), b"\xed\xa0\x80",
]  # fmt: skip


def mutated(data: bytes, dice: random.Random) -> bytes:
    """One to four changes: bytes cut out, doubled, swapped, turned over, or replaced by something awkward."""
    for _ in range(dice.randint(1, 4)):
        start = dice.randrange(len(data) + 1)
        end = min(len(data), start + dice.choice((0, 1, 1, 2, 4, 16, 64, 10_000)))
        part = data[start:end]
        kind = dice.randrange(6)
        if kind == 0:
            part = b""
        elif kind == 1:
            part = part * 2
        elif kind == 2:
            part = bytes(byte ^ (1 << dice.randrange(8)) for byte in part)
        elif kind == 3:
            part = part[::-1]
        else:
            part = dice.choice(SNIPPETS)
        data = data[:start] + part + data[end:]
    return data


def fuzz(inputs: int, seed: int, monkeypatch) -> tuple[int, int]:
    """How many of the mutated inputs were read and refused; anything but a sentence is raised with its input."""
    content = {}
    for module in (files, predictions):
        monkeypatch.setattr(module, "read_bytes", lambda path: content["data"])
    read = refused = 0
    for number in range(inputs):
        dice = random.Random(f"{seed} {number}")
        reader, data = dice.choice(SEEDS)
        content["data"] = mutated(data, dice)
        try:
            reader(Path("file.json"))
            read += 1
        except UserError as error:
            refused += 1
            assert "file.json" in str(error) and str(error).endswith((".", ")", "?")), error
        except Exception as error:
            raise AssertionError(f"{reader.__name__}({content['data'][:3000]!r})") from error
    return read, refused


def test_two_thousand_mutated_inputs(monkeypatch):
    read, refused = fuzz(2_000, 0, monkeypatch)
    assert read > 100 and refused > 1_000  # else the mutations are too tame or too wild to say anything


@pytest.mark.long
def test_a_hundred_thousand_mutated_inputs(monkeypatch):
    assert sum(fuzz(100_000, 1, monkeypatch)) == 100_000


# Properties

WORDS = st.text(max_size=6)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=4,
)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(RECORD)), VALUES)
def test_any_value_in_any_field_is_read_soundly_or_refused(tmp_path_factory, field, value):
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_text(json.dumps([RECORD | {field: value}]))
    try:
        [example] = read_split(path)
    except UserError as error:
        assert "any.json" in str(error)
        return
    assert 0 <= example.subj_start <= example.subj_end < len(example.token)
    assert 0 <= example.obj_start <= example.obj_end < len(example.token)
    assert all(name.isprintable() and name for name in (example.id, example.relation, example.subj_type))
    assert len(example.stanford_head or example.token) == len(example.token)


@st.composite
def examples(draw) -> dict[str, object]:
    """A record that the format allows, whatever its words are."""
    token = draw(st.lists(st.text(st.characters(codec="utf-8"), max_size=5), min_size=1, max_size=8))
    places = st.tuples(*[st.integers(0, len(token) - 1)] * 2).map(sorted)
    (first, last), (start, end) = draw(places), draw(places)
    heads = draw(st.none() | st.lists(st.integers(0, len(token)), min_size=len(token), max_size=len(token)))
    return {
        "id": "a", "relation": "per:title", "token": token, "subj_start": first, "subj_end": last, "obj_start": start,
        "obj_end": end, "subj_type": "PERSON", "obj_type": "TITLE", "stanford_head": heads,
    }  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(examples(), st.booleans(), st.sampled_from([None, 1]))
def test_a_sound_record_is_read_as_it_stands_in_one_normal_form(tmp_path_factory, record, ascii_only, indent):
    path = tmp_path_factory.getbasetemp() / "sound.json"
    path.write_text(json.dumps([record], ensure_ascii=ascii_only, indent=indent), encoding="utf-8", newline="")
    words = [unicodedata.normalize("NFC", word) for word in record["token"]]
    assert read_split(path) == [Example(**record | {"token": words})]


LABELS = (NO_RELATION, "a", "b", "c")
PAIRS = st.lists(st.tuples(st.sampled_from(LABELS), st.sampled_from(LABELS)), min_size=1, max_size=40)


@settings(max_examples=60, deadline=None)
@given(PAIRS, st.randoms(use_true_random=False))
def test_scores_are_shares_and_know_neither_order_nor_names(pairs, dice):
    gold, pred = (list(column) for column in zip(*pairs, strict=True))
    found = all_scores(gold, pred, LABELS)
    assert all(0 <= value <= 1 for value in found.values())
    dice.shuffle(pairs)
    assert all_scores(*map(list, zip(*pairs, strict=True)), LABELS) == pytest.approx(found)
    other = dict(zip(LABELS, (NO_RELATION, "z", "y", "x"), strict=True))
    renamed = all_scores([other[label] for label in gold], [other[label] for label in pred], tuple(other.values()))
    assert renamed == pytest.approx(found)


@settings(max_examples=60, deadline=None)
@given(PAIRS)
def test_micro_scores_count_hits_among_relations(pairs):
    hits = sum(gold == pred != NO_RELATION for gold, pred in pairs)
    found = all_scores(*map(list, zip(*pairs, strict=True)), LABELS)
    for score, column in (("micro_r", 0), ("micro_p", 1)):
        whole = sum(pair[column] != NO_RELATION for pair in pairs)
        assert found[score] == pytest.approx(hits / whole if whole else 0)
    assert found["accuracy"] == pytest.approx(sum(gold == pred for gold, pred in pairs) / len(pairs))
    assert all_scores([g for g, _ in pairs], [g for g, _ in pairs], LABELS)["accuracy"] == 1


PROBABILITIES = st.lists(
    st.tuples(st.floats(0, 1, width=32), st.floats(0, 1, width=32), st.booleans()), min_size=1, max_size=30
)


@settings(max_examples=100, deadline=None)
@given(PROBABILITIES, st.floats(0, 1), st.floats(0, 1))
def test_a_composition_names_what_is_detected_and_a_higher_threshold_names_no_more(rows, one, other):
    p, best = np.array([row[0] for row in rows]), ["a" if row[1] > 0.5 else "b" for row in rows]
    low, high = (gate(p, best, threshold) for threshold in sorted((one, other)))
    assert all(answer in (NO_RELATION, name) for answer, name in zip(low, best, strict=True))
    assert all(below == above or above == NO_RELATION for below, above in zip(low, high, strict=True))
    assert [answer != NO_RELATION for answer in gate(p, best, 0.0)] == (p > 0).tolist()


@settings(max_examples=100, deadline=None)
@given(PROBABILITIES)
def test_no_threshold_beats_the_one_that_is_chosen(rows):
    p, gold = np.array([row[0] for row in rows], float), np.array([row[2] for row in rows])

    def f1(threshold: float) -> float:
        detected = np.array([name != NO_RELATION for name in gate(p, ["a"] * len(p), threshold)])
        return 2 * (detected & gold).sum() / (detected.sum() + gold.sum())

    if not gold.any():
        with pytest.raises(UserError):
            best_threshold(gold, p)
        return
    chosen = f1(best_threshold(gold, p))
    assert all(chosen >= f1(threshold) - 1e-12 for threshold in [*p, *(np.nextafter(p, -1)), 1.0])


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.floats(-20, 20, width=16), min_size=3, max_size=3), min_size=1, max_size=10),
    st.permutations(LABELS[:3]),
)
def test_both_answers_of_a_joint_model_are_its_own(logits, classes):
    matrix = np.array(logits, np.float32)
    matrix -= np.logaddexp.reduce(matrix, axis=1, keepdims=True)
    p, names = both_answers(matrix, classes)
    assert ((p >= -1e-3) & (p <= 1)).all() and NO_RELATION not in names
    place = {name: index for index, name in enumerate(classes)}
    for row, name in zip(matrix, names, strict=True):
        assert row[place[name]] >= max(value for index, value in enumerate(row) if classes[index] != NO_RELATION) - 0.02

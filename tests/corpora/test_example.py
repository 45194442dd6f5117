"""A corpus and its tasks, however little it holds."""

import gzip
from dataclasses import replace

import planted
import pytest

from tacred_utils.corpora.example import ROWS, Corpus, Example, card, read_rows, write_rows
from tacred_utils.ground.errors import UserError
from tacred_utils.ground.labels import NO_RELATION, SPLITS, TASKS
from tacred_utils.metrics.groups import entity_distance, sentence_length, type_pair
from tacred_utils.runs.profile import load_corpus

A, B = "per:age", "per:title"


def corpus(train: list[str], dev: list[str], test: list[str]) -> Corpus:
    splits = {"train": train, "dev": dev, "test": test}.items()
    return Corpus(
        "mine",
        *(
            [Example(f"{split}-{n}", label, ["x", "y"], 0, 0, 1, 1, "P", "T") for n, label in enumerate(labels)]
            for split, labels in splits
        ),
    )


@pytest.mark.parametrize(
    ("train", "dev", "test", "tasks"),
    [
        ([NO_RELATION, A, B], [NO_RELATION, A], [NO_RELATION, A], TASKS),
        ([NO_RELATION, A, B], [NO_RELATION], [NO_RELATION], TASKS),  # no relation to score
        ([NO_RELATION, A], [NO_RELATION, B], [B], ("joint", "detection")),  # one relation is no choice
        ([A, B], [A], [B], ("relation_only",)),  # nothing to detect
        ([A, B], [NO_RELATION, A], [B], ("joint", "relation_only")),  # training has no row to learn detection from
        ([NO_RELATION], [NO_RELATION], [NO_RELATION], ()),
        ([A], [A], [A], ()),
        ([A], [NO_RELATION], [NO_RELATION], ()),
    ],
)
def test_tasks_are_what_training_gives_a_choice_for(train, dev, test, tasks):
    given = corpus(train, dev, test)
    assert given.tasks == tasks
    assert "corpus mine" in card(given)  # a card is written of whatever can be read


def test_rows_keep_all_that_scores_and_groups_need(tmp_path):
    given = replace(planted.corpus().noting("a note"), left_out={"test": ["per:spouse"]})
    write_rows(given, tmp_path / ROWS)
    rows = read_rows(tmp_path / ROWS)
    assert (rows.name, rows.labels, rows.tasks, rows.columns) == (given.name, given.labels, given.tasks, given.columns)
    assert rows.left_out == given.left_out
    assert rows.digests == given.digests and given.has_text and not rows.has_text
    assert rows.notes[0] == "a note" and "text is not at hand" in rows.notes[-1]
    for split in SPLITS:
        for row, example in zip(rows.split(split), given.split(split), strict=True):
            assert (row.id, row.relation, row.document, row.evidence) == (example.id, example.relation, None, None)
            assert [of(row) for of in (entity_distance, sentence_length, type_pair)] == [
                of(example) for of in (entity_distance, sentence_length, type_pair)
            ]


def test_rows_hold_no_word_and_are_the_same_bytes_each_time(tmp_path):
    for name in ("one", "two"):
        write_rows(planted.corpus(), tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    held = gzip.decompress((tmp_path / "one").read_bytes())
    assert not any([word.encode() in held for word in ("married", "met", "Ann", "Bob", "w29")])


def test_rows_of_one_sentence_are_known_by_it_across_splits(tmp_path):
    given = planted.corpus()
    given.test[3].token[:] = given.train[2].token
    given.test[4].token[:] = given.train[2].token
    write_rows(given, tmp_path / ROWS)
    rows = read_rows(tmp_path / ROWS)
    assert rows.test[3].token == rows.test[4].token == rows.train[2].token != rows.train[3].token
    texts = {" ".join(row.token) for row in given.test}
    assert len({" ".join(row.token) for row in rows.test}) == len(texts)


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-20], lambda data: b"", lambda data: gzip.compress(b'{"name": "x"}')]
)
def test_a_damaged_table_is_told(tmp_path, damage):
    write_rows(planted.corpus(), tmp_path / ROWS)
    (tmp_path / ROWS).write_bytes(damage((tmp_path / ROWS).read_bytes()))
    with pytest.raises(UserError, match=f"{ROWS}: is damaged; fetch it again"):
        read_rows(tmp_path / ROWS)


def test_the_rows_of_a_real_corpus_are_small(data_dir, tmp_path):
    given = load_corpus("conll04", data_dir)
    write_rows(given, tmp_path / ROWS)
    assert (tmp_path / ROWS).stat().st_size < 400_000
    assert read_rows(tmp_path / ROWS).digests == given.digests

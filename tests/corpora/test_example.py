"""A corpus and its tasks, however little it holds."""

import pytest

from tacred_utils.corpora.card import card
from tacred_utils.corpora.example import Corpus, Example
from tacred_utils.ground.labels import NO_RELATION, TASKS

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

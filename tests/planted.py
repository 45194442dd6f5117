"""Small corpora in which the relation is told by the words, so that a model that reads can learn it."""

import numpy as np

from tacred_utils.corpora.example import Corpus, Example
from tacred_utils.ground.labels import NO_RELATION, task_classes

VERBS = {"per:spouse": "married", "org:founded_by": "founded", NO_RELATION: "met"}


def rows(split: str, number: int, seed: int) -> list[Example]:
    """Sentences of 5 to 20 words in which the verb between the entities gives the relation away."""
    generator, examples = np.random.default_rng(seed), []
    for index in range(number):
        label = list(VERBS)[generator.choice(3, p=[0.15, 0.15, 0.7])]
        before, after = ([f"w{word}" for word in generator.integers(0, 30, generator.integers(0, 8))] for _ in range(2))
        token = [*before, "Ann", VERBS[label], "Bob", *after, "."]
        at, size = len(before), len(token)
        pos = ["VB" if word in VERBS.values() else "NN" for word in token]
        examples.append(
            Example(
                f"{split}-{index}",
                label,
                token,
                at,
                at,
                at + 2,
                at + 2,
                "PERSON",
                "ORG" if "org" in label else "PERSON",
                pos,
                ["O"] * size,
            )
        )
    return examples


def corpus(number: int = 90) -> Corpus:
    return Corpus("tiny", rows("train", number, 1), rows("dev", 30, 2), rows("test", 40, 3))


def answers(outcome, task: str, given: Corpus) -> list[str]:
    return [task_classes(task, given.labels)[index] for index in outcome.log_probs["test"].argmax(axis=1)]


RUN_INFO = {  # the least that run.json says of a finished run
    "status": "done", "family": "svm", "variant": None, "task": "joint", "seed": 13, "profile": "sample", "version": 1,
    "settings": {}, "classes": list(VERBS),
    "corpus": {
        "name": "tiny", "synthetic": False, "gated": False, "subset": "", "rows": {}, "columns": [], "types": {}, "sha256": {},
    },
}  # fmt: skip

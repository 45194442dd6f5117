"""Golden predictions: when a family's answers change for unchanged settings, its version number must be raised."""

import random

import pytest
import torch

from tacred_utils.corpora.example import Example
from tacred_utils.corpora.reader import assemble
from tacred_utils.ground.labels import NO_RELATION, SPLITS
from tacred_utils.models.settings import VERSIONS
from tacred_utils.runs.profile import load_profile
from tacred_utils.runs.store import Spec
from tacred_utils.runs.train import train

torch.set_num_threads(1)  # sums over several threads may round otherwise
GOLDEN = {
    ("svm", None, 1): [-1.4447, -1.7262, -2.0827],
    ("svm", "paper", 1): [-1.8095, -1.7381, -1.9435],
    ("bilstm", None, 1): [-1.1312, -1.0869, -1.0819],
    ("bilstm", "pa_lstm", 1): [-0.8863, -1.1393, -1.319],
    ("bilstm", "pa_lstm_marks", 1): [-0.8334, -1.1739, -1.3786],
    ("bilstm", "spans", 1): [-0.8539, -1.1661, -1.4435],
}  # mean log-probability of each class over the test rows


def corpus():
    """Sentences of nonsense words in which some words hint at a label and one row in eight is mislabelled."""
    draw = random.Random("golden")
    words = [f"w{number}" for number in range(60)]
    hints = {NO_RELATION: ["met", "saw"], "per:title": ["is", "served"], "per:age": ["turned", "is"]}

    def example(identity):
        label = draw.choice([NO_RELATION, NO_RELATION, "per:title", "per:age"])
        token = draw.choices(words, k=9)
        token[4] = draw.choice(hints[label])
        shown = label if draw.random() < 7 / 8 else draw.choice(list(hints))
        return Example(identity, shown, token, 2, 2, 6, 6, "PERSON", draw.choice(["TITLE", "NUMBER"]))

    return assemble("golden", {split: [example(f"{split}-{i}") for i in range(160)] for split in SPLITS}, "golden")


@pytest.mark.parametrize("family, variant, version", GOLDEN)
def test_answers_are_those_of_this_version(family, variant, version, tmp_path):
    assert version == VERSIONS[family], "the version was raised: renew its golden digest"
    epochs = {"epochs": 2} if family == "bilstm" else {}  # few: processors round differently (0.005), and it adds up
    settings = load_profile("sample").settings(family, variant, epochs)
    run = train(Spec(family, "joint", 13, settings, variant), corpus(), tmp_path, "sample", keep_model=False)
    found = run.log_probs("test").mean(axis=0).tolist()
    assert found == pytest.approx(GOLDEN[family, variant, version], abs=0.01), (
        f"{family}'s answers changed: raise VERSIONS[{family!r}]"
    )

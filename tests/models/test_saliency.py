"""What each piece adds to an answer: exact where a model is linear, as finite differences say where it is not."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from msgspec.structs import replace
from torch import nn

from tacred_utils.corpora.example import Corpus, Example
from tacred_utils.models.pretrained import load_pretrained
from tacred_utils.models.saliency import PLACES, saliency
from tacred_utils.models.transformer import Classifier, TransformerModel, make_encoder
from tacred_utils.runs.profile import load_profile

torch.set_num_threads(1)
PROFILE = load_profile("smoke")
PLAIN = {"precision": "float32", "defects": []}
LABELS = ["no_relation", "per:spouse", "per:title"]


def example(*words: str) -> Example:
    return Example("1", "per:spouse", list(words), 1, 1, 3, 3, "PERSON", "PERSON")


SENTENCE = example("Yesterday", "Ann", "married", "Bob", "in", "Oslo", ".")


class Linear(nn.Module):
    """A backbone whose states are its embeddings."""

    config = SimpleNamespace(hidden_size=6, num_attention_heads=1)

    def __init__(self, pieces: int) -> None:
        super().__init__()
        self.table = nn.Embedding(pieces, 6)

    def get_input_embeddings(self) -> nn.Embedding:
        return self.table

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> SimpleNamespace:
        return SimpleNamespace(last_hidden_state=self.table(input_ids))


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    rows = [SENTENCE, example("Later", "Bob", "left", "Ann", "alone")]
    corpus = Corpus("toy", rows, rows, rows)
    own = PROFILE.settings("bert").own
    return corpus, load_pretrained("own_encoder", own, corpus, tmp_path_factory.mktemp("own"))


def linear_model(pretrained) -> TransformerModel:
    corpus, given = pretrained
    settings = replace(PROFILE.settings("bert"), pooling="mean", extra_layer=False, head_dim=0, **PLAIN)
    encoder, _ = make_encoder(corpus, settings, given)
    torch.manual_seed(0)
    return TransformerModel(Classifier(Linear(len(given.tokenizer)), 3, settings, encoder), encoder, LABELS, LABELS)


def logit(model: TransformerModel, label: str) -> float:
    batch = {
        name: torch.from_numpy(values) for name, values in model.encoder.encode([SENTENCE]).batch(np.array([0])).items()
    }
    with torch.no_grad():
        return float(model.classifier.eval()(**batch)["logits"][0, model.seen_classes.index(label)])


def test_scores_of_a_linear_model_add_up_to_its_logit_less_the_bias(pretrained):
    model = linear_model(pretrained)
    answer, pieces = saliency(model, SENTENCE)
    bias = model.classifier.head[-1].bias[model.seen_classes.index(answer)].item()
    assert pieces.score.sum() == pytest.approx(logit(model, answer) - bias, abs=1e-5)
    assert len(pieces) == model.encoder.encode([SENTENCE]).lengths[0], "padding is no piece"


def test_a_planted_trigger_gets_the_whole_score(pretrained):
    model = linear_model(pretrained)
    encoded = model.encoder.encode([SENTENCE]).flat["input_ids"]
    _, pieces = saliency(model, SENTENCE)
    at = next(n for n, row in pieces.iterrows() if row.place == "between")
    with torch.no_grad():
        model.classifier.backbone.table.weight.zero_()
        model.classifier.backbone.table.weight[encoded[at]] = 1.0
        model.classifier.head[-1].bias.zero_()
        model.classifier.head[-1].weight[1] = 5.0  # per:spouse
    answer, pieces = saliency(model, SENTENCE)
    others = pieces.drop(index=[n for n in pieces.index if encoded[n] == encoded[at]])
    assert answer == "per:spouse" and pieces.score[at] > 0 and (others.score == 0).all()


def test_scores_of_a_real_encoder_are_what_finite_differences_say(pretrained):
    corpus, given = pretrained
    settings = replace(PROFILE.settings("bert"), extra_layer=True, **PLAIN)
    encoder, _ = make_encoder(corpus, settings, given)
    torch.manual_seed(0)
    model = TransformerModel(Classifier(given.backbone, 3, settings, encoder), encoder, LABELS, LABELS)
    answer, pieces = saliency(model, SENTENCE)

    def scaled(at: int, by: float) -> float:
        """The answer's logit when the embedding of one piece is multiplied."""
        factor = torch.ones(1, 1, 1).expand(1, -(-len(pieces) // 4) * 4, 1).clone()
        factor[0, at] = by
        hook = given.backbone.get_input_embeddings().register_forward_hook(lambda *call: call[2] * factor)
        try:
            return logit(model, answer)
        finally:
            hook.remove()

    slopes = [(scaled(at, 1.01) - scaled(at, 0.99)) / 0.02 for at in range(len(pieces))]
    assert pieces.score.tolist() == pytest.approx(slopes, abs=2e-4) and np.abs(slopes).max() > 1e-3


def test_pieces_stand_where_their_words_do(pretrained):
    _, pieces = saliency(linear_model(pretrained), SENTENCE)
    said = {place: "".join(pieces.piece[pieces.place == place]).lower() for place in PLACES}
    assert (said["subject"], said["object"], said["between"]) == ("ann", "bob", "married")
    assert "yesterday" in said["elsewhere"] and "oslo" in said["elsewhere"]

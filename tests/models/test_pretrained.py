"""The study's own small models, as notebook 05 compares and spoils them."""

from tacred_utils.models.pretrained import own_model
from tacred_utils.models.settings import OwnModel

OWN = OwnModel(layers=2, width=32, heads=2, pieces=330, steps=0, learning_rate=1e-3, batch_size=8)


def test_encoder_and_decoder_have_the_same_size_up_to_token_types():
    encoder, decoder = (own_model(name, OWN, 330, 0).base_model for name in ("own_encoder", "own_decoder"))
    sizes = [
        sum(weight.numel() for name, weight in model.named_parameters() if "pooler" not in name)
        for model in (encoder, decoder)
    ]
    assert sizes[0] - sizes[1] == 2 * OWN.width  # BERT knows first from second sentences

"""The study's own small models, as notebook 05 compares and spoils them."""

from test_bilstm import corpus

from tacred_utils.models.pretrained import load_pretrained, own_model
from tacred_utils.settings import OwnModel

OWN = OwnModel(layers=2, width=32, heads=2, pieces=330, steps=0, learning_rate=1e-3, batch_size=8)


def test_words_of_an_own_decoder_are_glued_when_asked(tmp_path):
    given = corpus(40)
    word = given.train[0].token[0]
    kept, glued = (
        load_pretrained("own_decoder", OWN, given, tmp_path, prefix_space=prefix_space).tokenizer
        for prefix_space in (True, False)
    )
    pieces = [
        tokenizer.convert_ids_to_tokens(tokenizer([word], is_split_into_words=True)["input_ids"])
        for tokenizer in (kept, glued)
    ]
    assert pieces[0][1].startswith("Ġ") and not pieces[1][1].startswith("Ġ")


def test_encoder_and_decoder_have_the_same_size_up_to_token_types():
    encoder, decoder = (own_model(name, OWN, 330, 0).base_model for name in ("own_encoder", "own_decoder"))
    sizes = [
        sum(weight.numel() for name, weight in model.named_parameters() if "pooler" not in name)
        for model in (encoder, decoder)
    ]
    assert sizes[0] - sizes[1] == 2 * OWN.width  # BERT knows first from second sentences

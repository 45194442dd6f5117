"""What a transformer's answer rests on, subword by subword: gradient × input (Shrikumar et al. 2016)."""

import numpy as np
import pandas as pd
import torch

from tacred_utils.corpora.example import Example
from tacred_utils.models.transformer import TransformerModel

PLACES = ("subject", "object", "between", "elsewhere")


def saliency(model: TransformerModel, example: Example) -> tuple[str, pd.DataFrame]:
    """The model's answer to one Example, and what each of its T subwords adds to that answer's logit, to first order.

    Columns piece (text), score, and place (one of `PLACES`; marks belong to their entity). The score is the logit's
    gradient at the subword's embedding times that embedding, summed over its H numbers: above 0 it speaks for the
    answer. Of a model that is linear in its embeddings the scores add up to the logit less its bias.
    """
    network, encoded, embedded = model.classifier.eval(), model.encoder.encode([example]), []
    device = next(network.parameters()).device
    batch = {name: torch.from_numpy(values).to(device) for name, values in encoded.batch(np.array([0])).items()}
    hook = network.backbone.get_input_embeddings().register_forward_hook(lambda *call: embedded.append(call[2]))
    try:
        logits = network(**batch)["logits"][0].float()  # (K,)
    finally:
        hook.remove()
    best = int(logits.argmax())
    [gradient] = torch.autograd.grad(logits[best], embedded)  # (1, T, H), padding included
    scores = (gradient * embedded[0]).sum(-1)[0].tolist()[: encoded.lengths[0]]
    ids, spans = encoded.flat["input_ids"][:-1], [encoded.fixed[role][0] for role in ("subject", "object")]
    pieces = [model.encoder.tokenizer.decode([piece]).strip() for piece in ids]
    return model.seen_classes[best], pd.DataFrame(
        {"piece": pieces, "score": scores, "place": _places(len(ids), *spans)}
    )


def _places(size: int, subject: np.ndarray, objekt: np.ndarray) -> list[str]:
    """Where each subword stands; of overlapping entities the object has what both cover."""
    places = np.full(size, "elsewhere", dtype=object)
    places[min(subject[1], objekt[1]) + 1 : max(subject[0], objekt[0])] = "between"
    for name, (start, end) in (("subject", subject), ("object", objekt)):
        places[start : end + 1] = name
    return places.tolist()

"""BERT- and GPT-2-like models with a head that reads the states of the entities, or of one subword (the paper, 3.2).

Entities are told to the model by where the head reads, by marks in the sentence, or by both; see inputs/subwords.py.
"""

import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn
from transformers import AutoConfig, AutoModel, AutoTokenizer, PreTrainedModel, set_seed

from tacred_utils.corpora.example import Corpus
from tacred_utils.ground.errors import UserError
from tacred_utils.ground.files import digest
from tacred_utils.ground.labels import SPLITS
from tacred_utils.inputs.encoding import PAD, vocabulary
from tacred_utils.inputs.subwords import TYPED, SubwordEncoder, new_words
from tacred_utils.models.networks import TrainedNetwork, compute_dtype, read_facts
from tacred_utils.models.pooling import FeatureHeads, pooling
from tacred_utils.models.pretrained import Pretrained, load_pretrained, stripped
from tacred_utils.models.processes import isolated
from tacred_utils.models.settings import FitResult, TransformerSettings

FEED_FORWARD = 4  # times as wide as the states, as in BERT and in the paper's added layer


class Classifier(nn.Module):
    """Subwords of S texts (S, T), their lengths (S,), and of B rows: the text (B,), the entities' first and last piece
    (B, 2) each and types (B, 2) → logits (B, K). Without `text`, row i reads text i. `tags` (S, T) are those of the
    subwords' words.
    """

    def __init__(
        self, backbone: PreTrainedModel, classes: int, settings: TransformerSettings, encoder: SubwordEncoder
    ) -> None:
        super().__init__()
        # cuDNN's attention plans each new shape of a batch, for a second and more; other kernels are as fast without
        torch.backends.cuda.enable_cudnn_sdp(False)
        self.backbone, self.settings, self.dtype = backbone, settings, compute_dtype(settings.precision)
        width, heads = backbone.config.hidden_size, backbone.config.num_attention_heads
        self.extra = added_layer(width, heads, settings.dropout) if settings.extra_layer else None
        self.channels = FeatureHeads(width, settings) if settings.pooling == "heads" else None
        joined = self.channels.width if self.channels else width * pooling(settings)[0]
        if encoder.tags:
            self.tags = nn.Embedding(len(encoder.tags) + 2, width, padding_idx=PAD)
            nn.init.zeros_(self.tags.weight)  # training starts from what the backbone has learned
        if encoder.types:
            self.kinds = nn.Embedding(len(encoder.types) + 2, settings.type_dim)
            joined += 2 * settings.type_dim
        self.hidden_piece = encoder.tokenizer.mask_token_id or encoder.tokenizer.unk_token_id or 0
        hidden = 0 if self.channels else settings.head_dim
        self.head = head(joined, hidden, classes, settings.dropout, settings.hidden_dropout)

    def forward(
        self, input_ids: torch.Tensor, lengths: torch.Tensor, subject: torch.Tensor, object: torch.Tensor,
        text: torch.Tensor | None = None, types: torch.Tensor | None = None, tags: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:  # fmt: skip
        attention_mask = torch.arange(input_ids.shape[1], device=input_ids.device) < lengths[:, None]  # (S, T)
        if self.training and self.settings.piece_dropout:
            lost = torch.rand(input_ids.shape, device=input_ids.device) < self.settings.piece_dropout
            lost[:, 0] = False  # [CLS], which the head may read
            input_ids = input_ids.masked_fill(lost, self.hidden_piece)
        if "left_padding" in self.settings.defects:
            input_ids, attention_mask = left_padded(input_ids, lengths)
        with torch.autocast(input_ids.device.type, self.dtype, enabled=self.dtype != torch.float32):
            read = {"input_ids": input_ids}
            if tags is not None:
                read = {"inputs_embeds": self.backbone.get_input_embeddings()(input_ids) + self.tags(tags)}
            states = self.backbone(**read, attention_mask=attention_mask.long()).last_hidden_state  # (S, T, H)
            if self.extra is not None and "batch_as_time" in self.settings.defects:
                # D1: time and batch exchanged, each place attends to that of the other examples, padding included
                states = self.extra(states.transpose(0, 1)).transpose(0, 1)
            elif self.extra is not None:
                states = self.extra(states, src_key_padding_mask=~attention_mask)
            rows = torch.arange(len(states), device=states.device) if text is None else text
            pool = self.channels or pooling(self.settings)[1]
            read = pool(states, attention_mask, rows, subject, object)
            if types is not None:
                read = torch.cat([read, self.kinds(types).flatten(1)], 1)
            return {"logits": self.head(read)}


def left_padded(input_ids: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """A defect: rows at the right end of their batch, with the mask (B, T) of what is no padding.

    GPT-2 then counts positions from the padding on, unless it is given others. (B, T) → (B, T), (B, T)
    """
    places = torch.arange(input_ids.shape[1], device=input_ids.device)
    missing = (input_ids.shape[1] - lengths)[:, None]  # (B, 1)
    return input_ids.gather(1, (places - missing) % input_ids.shape[1]), places >= missing


def compile_layers(classifier: Classifier) -> None:
    """Have every layer compiled at its first use, in place: they are alike, so that one is compiled and all are fast.

    https://docs.pytorch.org/tutorials/recipes/regional_compilation.html. Raises `UserError` where they are not in a list.
    """
    depth = classifier.backbone.config.num_hidden_layers
    stacks = (part for part in classifier.backbone.modules() if isinstance(part, nn.ModuleList) and len(part) == depth)
    layers = next(stacks, None)
    if layers is None:
        raise UserError(f"--set compile=true: {classifier.settings.model} has no list of {depth} layers; leave it out.")
    for layer in [*layers, *([classifier.extra] if classifier.extra is not None else [])]:
        layer.compile(dynamic=True)  # batches differ in width


def added_layer(width: int, heads: int, dropout: float) -> nn.TransformerEncoderLayer:
    """One more encoder layer, along the sentence (the paper's, with PyTorch's defaults: ReLU, norm after the sum)."""
    return nn.TransformerEncoderLayer(width, heads, FEED_FORWARD * width, dropout, batch_first=True)


def head(width: int, hidden: int, classes: int, dropout: float, twice: bool = True) -> nn.Sequential:
    """Dropout, a hidden layer with ReLU if `hidden` is not 0, dropout again if `twice`, and the layer of logits."""
    if not hidden:
        return nn.Sequential(nn.Dropout(dropout), nn.Linear(width, classes))
    again = [nn.Dropout(dropout)] if twice else []
    return nn.Sequential(nn.Dropout(dropout), nn.Linear(width, hidden), nn.ReLU(), *again, nn.Linear(hidden, classes))


class TransformerModel(TrainedNetwork):
    """A trained Classifier with its SubwordEncoder."""

    @property
    def reads(self) -> tuple[set[str], set[str]]:
        """Columns that an answer needs, and those that it can do without."""
        told = self.encoder.types or self.encoder.typed and self.encoder.marks in TYPED
        return {"types"} if told else set(), {"stanford_ner"} if self.encoder.tags else set()

    def save(self, folder: Path) -> None:
        """Write the weights as model.safetensors; config.json, the tokenizer's files and model.json say how to read them."""
        self.classifier.backbone.config.save_pretrained(folder)
        self.encoder.tokenizer.save_pretrained(folder)
        facts = {name: getattr(self.encoder, name) for name in ("typed", "limit", "types", "tags")}
        self.write(folder, facts | {"sha256": _digests(Path(folder))})


def _digests(folder: Path) -> dict[str, str]:
    """SHA-256 of the files that the weights cannot be read without: configuration and tokenizer."""
    files = [path for path in sorted(folder.iterdir()) if path.stem != "model" and not path.name.startswith(".")]
    return {path.name: digest(path) for path in files}


def load(folder: Path) -> TransformerModel:
    """Read a saved model; raises what its readers raise when files are missing or damaged."""
    facts, settings = read_facts(folder, "bert")
    found = _digests(Path(folder))  # a tokenizer reads on without half of its files
    if any(found.get(name) != known for name, known in facts.get("sha256", {}).items()):
        raise ValueError("config.json or the tokenizer's files are not those that were saved")
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    if tokenizer.pad_token_id is None:
        raise ValueError("its tokenizer has no padding token")
    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    encoder = SubwordEncoder(
        tokenizer, settings.marks, facts["typed"], facts["limit"], tuple(settings.defects), facts.get("types", {}),
        facts.get("tags", {}),
    )  # fmt: skip
    classifier = Classifier(stripped(AutoModel.from_config(config)), len(facts["known"]), settings, encoder)
    classifier.load_state_dict(load_file(Path(folder) / "model.safetensors"))
    return TransformerModel(classifier, encoder, facts["known"], facts["classes"])


@isolated()
def fit(corpus: Corpus, task: str, settings: TransformerSettings, seed: int, folder: Path) -> FitResult:
    """Train on one task of a corpus and answer every row of dev and test; checkpoints lie in `folder` meanwhile.

    Models of the study's own are kept beside the runs of the corpus, where all of them find them.
    """
    from tacred_utils.models.training import fit_network, labelled  # here, as networks.py says

    clock = [time.perf_counter()]
    cache = Path(folder).resolve().parent.parent / ".pretrained"
    pretrained = load_pretrained(settings.model, settings.own, corpus, cache, settings.layers)
    clock.append(time.perf_counter())
    set_seed(seed)  # before anything is drawn: embeddings of new marks, the head
    encoder, notes = make_encoder(corpus, settings, pretrained)
    data = labelled(corpus, task, {split: encoder.encode(corpus.split(split)) for split in SPLITS})
    classifier = Classifier(pretrained.backbone, len(data.seen_classes), settings, encoder)
    if settings.compile:
        compile_layers(classifier)
    clock.append(time.perf_counter())
    facts = {
        "pretrained": pretrained.facts,
        "notes": notes,
        "seconds": dict(zip(("load", "encode"), np.diff(clock).round(3).tolist(), strict=True)),
    }
    model = TransformerModel(classifier, encoder, data.seen_classes, data.classes)
    return fit_network(model, data, settings, seed, folder, facts)


def make_encoder(
    corpus: Corpus, settings: TransformerSettings, pretrained: Pretrained
) -> tuple[SubwordEncoder, list[str]]:
    """The encoder, with new marks entered into the vocabulary and the backbone, and a sentence on what types there lack."""
    typed = "types" in corpus.columns
    notes = []
    if not typed and (settings.marks in TYPED or settings.type_dim):
        notes.append(f"corpus {corpus.name} has no entity types: names are read as they are, no type is told")
    kinds = sorted({kind for row in corpus.train for kind in (row.subj_type, row.obj_type)})
    marks = new_words(settings.marks, kinds, typed)
    pretrained.tokenizer.add_tokens(marks, special_tokens=True)
    pretrained.tokenizer.split_special_tokens = True  # "[PAD]" in a text is text …
    pretrained.tokenizer.init_kwargs["split_special_tokens"] = True  # … for whoever reads the saved one, too
    rows = pretrained.backbone.get_input_embeddings().num_embeddings
    if len(pretrained.tokenizer) > rows:  # else the vocabulary has room for them
        pretrained.backbone.resize_token_embeddings(len(pretrained.tokenizer), mean_resizing=False)
    longest = getattr(pretrained.backbone.config, "max_position_embeddings", settings.max_pieces)
    limit = min(settings.max_pieces, longest, pretrained.tokenizer.model_max_length)
    types = vocabulary(kinds) if typed and settings.type_dim else {}
    tags = {}
    if settings.tags and "stanford_ner" in corpus.columns:
        tags = vocabulary(tag for row in corpus.train for tag in row.stanford_ner)
    elif settings.tags:
        notes.append(f"stanford_ner is not in corpus {corpus.name}: no tags are told")
    return SubwordEncoder(
        pretrained.tokenizer, settings.marks, typed, limit, tuple(settings.defects), types, tags
    ), notes

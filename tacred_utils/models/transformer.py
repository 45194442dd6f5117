"""BERT- and GPT-2-like models with a head that reads the states of the entities, or of one subword (the paper, 3.2).

Entities are told to the model by where the head reads, by marks in the sentence, or by both; see inputs/subwords.py.
"""

import hashlib
import math
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
from tacred_utils.inputs.encoding import PAD, Encoded, vocabulary
from tacred_utils.inputs.subwords import TYPED, SubwordEncoder, new_words
from tacred_utils.models import defects
from tacred_utils.models.isolation import isolated, plan_no_attention
from tacred_utils.models.pooling import FeatureHeads, pooling
from tacred_utils.models.pretrained import Pretrained, bare, load_pretrained
from tacred_utils.models.result import FitResult
from tacred_utils.models.scoring import SCORED_AT_ONCE, TrainedNetwork, compute_dtype, read_facts, tensors
from tacred_utils.models.settings import TransformerSettings

FEED_FORWARD = 4  # times as wide as the states, as in BERT and in the paper's added layer


class Classifier(nn.Module):
    """Subwords of S texts (S, T), their lengths (S,), and of B rows: the text (B,), the entities' first and last piece
    (B, 2) each and types (B, 2) → logits (B, K). Without `text`, row i reads text i. `tags` (S, T) are those of the
    subwords' words, `states` (S, T, H) those of a frozen backbone, where they are known.
    """

    def __init__(
        self, backbone: PreTrainedModel, classes: int, settings: TransformerSettings, encoder: SubwordEncoder
    ) -> None:
        super().__init__()
        plan_no_attention()
        self.backbone, self.settings, self.dtype = backbone, settings, compute_dtype(settings.precision)
        self.backbone.requires_grad_(not settings.frozen)
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
        states: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:  # fmt: skip
        attention_mask = torch.arange(input_ids.shape[1], device=input_ids.device) < lengths[:, None]  # (S, T)
        if self.training and self.settings.piece_dropout and not self.settings.frozen:
            lost = torch.rand(input_ids.shape, device=input_ids.device) < self.settings.piece_dropout
            lost[:, 0] = False  # [CLS], which the head may read
            input_ids = input_ids.masked_fill(lost, self.hidden_piece)
        if "left_padding" in self.settings.defects:
            input_ids, attention_mask = defects.left_padded(input_ids, lengths)
        with torch.autocast(input_ids.device.type, self.dtype, enabled=self.dtype != torch.float32):
            if states is None:
                read = {"input_ids": input_ids}
                if tags is not None:
                    read = {"inputs_embeds": self.backbone.get_input_embeddings()(input_ids) + self.tags(tags)}
                states = self.backbone(**read, attention_mask=attention_mask.long()).last_hidden_state  # (S, T, H)
            if self.extra is not None and "batch_as_time" in self.settings.defects:
                states = defects.batch_as_time(self.extra, states)
            elif self.extra is not None:
                states = self.extra(states, src_key_padding_mask=~attention_mask)
            rows = torch.arange(len(states), device=states.device) if text is None else text
            pool = self.channels or pooling(self.settings)[1]
            read = pool(states, attention_mask, rows, subject, object)
            if types is not None:
                read = torch.cat([read, self.kinds(types).flatten(1)], 1)
            return {"logits": self.head(read)}


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
    facts, settings = read_facts(folder, TransformerSettings)
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
    classifier = Classifier(bare(AutoModel.from_config(config)), len(facts["known"]), settings, encoder)
    classifier.load_state_dict(load_file(Path(folder) / "model.safetensors"))
    return TransformerModel(classifier, encoder, facts["known"], facts["classes"])


@isolated()
def fit(corpus: Corpus, task: str, settings: TransformerSettings, seed: int, folder: Path) -> FitResult:
    """Train on one task of a corpus and answer every row of dev and test; checkpoints lie in `folder` meanwhile.

    Models of the study's own are kept beside the runs of the corpus, where all of them find them.
    """
    from tacred_utils.models.training import cut_notes, fit_network, labelled  # here, as scoring.py says

    clock = [time.perf_counter()]
    cache = Path(folder).resolve().parent.parent / ".pretrained"
    pretrained = load_pretrained(settings.model, settings.own, corpus, cache, settings.layers)
    clock.append(time.perf_counter())
    set_seed(seed)  # before anything is drawn: embeddings of new marks, the head
    encoder, notes = make_encoder(corpus, settings, pretrained)
    data = labelled(corpus, task, {split: encoder.encode(corpus.split(split)) for split in SPLITS})
    classifier = Classifier(pretrained.backbone, len(data.seen_classes), settings, encoder)
    if settings.frozen:
        for rows in data.splits.values():
            rows.encoded.flat["states"] = frozen_states(classifier, rows.encoded)
    if settings.compile:
        compile_layers(classifier)
    clock.append(time.perf_counter())
    answers, history, facts = fit_network(classifier, data, settings, seed, folder)
    before = dict(zip(("load", "encode"), np.diff(clock).round(3).tolist(), strict=True))
    details = facts | {
        "pretrained": pretrained.facts, "marks_read": encoder.marks,
        "notes": notes + cut_notes(facts["windowed"], f"{encoder.limit} pieces"),
        "pieces_a_row": round(float(data.splits["train"].encoded.lengths.mean()), 1),
        "seconds": before | facts["seconds"],
    }  # fmt: skip
    return FitResult(
        answers, history, details, TransformerModel(classifier, encoder, data.seen_classes, data.classes).save
    )


_frozen: dict[str, np.ndarray] = {}  # states by what they come from: runs on the same splits read them once


def frozen_states(classifier: Classifier, encoded: Encoded) -> np.ndarray:
    """(subwords + 1, H) states of the backbone at every place of every text, float32; the last line is the padding's.

    Those of the latest three splits are kept, for the next run with the same backbone.
    """
    parts = [*classifier.backbone.state_dict().values(), encoded.flat["input_ids"], encoded.offsets]
    found = hashlib.sha256(str(classifier.dtype).encode())
    for part in parts:
        found.update(np.ascontiguousarray(part))
    key = found.hexdigest()
    if key not in _frozen:
        _frozen[key] = _read(classifier, encoded)
    for oldest in list(_frozen)[: -len(SPLITS)]:
        del _frozen[oldest]
    return _frozen[key]


@torch.inference_mode()
def _read(classifier: Classifier, encoded: Encoded) -> np.ndarray:
    device = next(classifier.parameters()).device
    pieces = Encoded(encoded.offsets, {"input_ids": encoded.flat["input_ids"]})
    states = np.zeros((len(encoded.flat["input_ids"]), classifier.backbone.config.hidden_size), np.float32)
    classifier.eval()
    order = np.argsort(pieces.lengths, kind="stable")
    for texts in np.array_split(order, math.ceil(len(order) / SCORED_AT_ONCE[device.type])):
        batch = tensors(pieces.batch(texts), device)
        mask = torch.arange(batch["input_ids"].shape[1], device=device) < batch["lengths"][:, None]  # (S, T)
        with torch.autocast(device.type, classifier.dtype, enabled=classifier.dtype != torch.float32):
            found = classifier.backbone(input_ids=batch["input_ids"], attention_mask=mask.long()).last_hidden_state
        places = np.concatenate([np.arange(*encoded.offsets[text : text + 2]) for text in texts])
        states[places] = found[mask].float().cpu().numpy()
    return states


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
    if settings.tags and settings.frozen:
        notes.append("the encoder is frozen: no tags are told")
    elif settings.tags and "stanford_ner" in corpus.columns:
        tags = vocabulary(tag for row in corpus.train for tag in row.stanford_ner)
    elif settings.tags:
        notes.append(f"stanford_ner is not in corpus {corpus.name}: no tags are told")
    return SubwordEncoder(
        pretrained.tokenizer, settings.marks, typed, limit, tuple(settings.defects), types, tags
    ), notes

"""BERT- and GPT-2-like models with a head that reads the states of the entities, or of one piece (the paper, 3.2).

Entities are told to the model by where the head reads, by marks in the sentence, or by both; see pieces.py.
"""

import hashlib
import json
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoConfig, AutoModel, AutoTokenizer, BertConfig, BertModel, PreTrainedModel, set_seed

from tacred_utils.corpora.example import Corpus, Example
from tacred_utils.ground.errors import UserError
from tacred_utils.ground.files import atomic_path, write_text
from tacred_utils.ground.labels import SPLITS, task_classes
from tacred_utils.inputs.encoding import PAD, Encoded, vocabulary
from tacred_utils.inputs.subwords import TYPED, PieceEncoder, new_words
from tacred_utils.models import defects
from tacred_utils.models.pooling import FeatureHeads, between, largest_over, mean_over
from tacred_utils.models.pretrained import bare
from tacred_utils.models.result import Outcome
from tacred_utils.models.scoring import SCORED_AT_ONCE, compute_dtype, log_probs, score, tensors
from tacred_utils.models.settings import TransformerSettings

if TYPE_CHECKING:
    from tacred_utils.models.pretrained import Pretrained

torch.backends.cuda.enable_cudnn_sdp(False)  # plans each new shape of a batch, for a second and more
FEED_FORWARD = 4  # times as wide as the states, as in BERT and in the paper's added layer
JOINED = {"starts": 2, "means": 2, "spans": 4}  # pooled vectors that the head gets; 1 for other ways


class Classifier(nn.Module):
    """Pieces of S texts (S, T), their lengths (S,), and of B rows: the text (B,), the entities' first and last piece
    (B, 2) each and types (B, 2) → logits (B, K). Without `text`, row i reads text i. `tags` (S, T) are those of the
    pieces' words, `states` (S, T, H) those of a frozen backbone, where they are known.
    """

    def __init__(
        self, backbone: PreTrainedModel, classes: int, settings: TransformerSettings, encoder: PieceEncoder
    ) -> None:
        super().__init__()
        self.backbone, self.settings, self.dtype = backbone, settings, compute_dtype(settings.precision)
        self.backbone.requires_grad_(not settings.frozen)
        width, heads = backbone.config.hidden_size, backbone.config.num_attention_heads
        self.extra = added_layer(width, heads, settings.dropout) if settings.extra_layer else None
        self.channels = FeatureHeads(width, settings) if settings.pooling == "heads" else None
        joined = self.channels.width if self.channels else width * JOINED.get(settings.pooling, 1)
        if encoder.tags:
            self.tags = nn.Embedding(len(encoder.tags) + 2, width, padding_idx=PAD)
            nn.init.zeros_(self.tags.weight)  # training starts from what the backbone has learned
        if encoder.types:
            self.kinds = nn.Embedding(len(encoder.types) + 2, settings.type_dim)
            joined += 2 * settings.type_dim
        self.hidden_piece = encoder.tokenizer.mask_token_id or encoder.tokenizer.unk_token_id or 0
        self.head = head(joined, 0 if self.channels else settings.head_dim, classes, settings.dropout)

    def forward(
        self, input_ids: torch.Tensor, lengths: torch.Tensor, subject: torch.Tensor, object: torch.Tensor,
        text: torch.Tensor | None = None, types: torch.Tensor | None = None, tags: torch.Tensor | None = None,
        states: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:  # fmt: skip
        shown = torch.arange(input_ids.shape[1], device=input_ids.device) < lengths[:, None]  # (S, T)
        if self.training and self.settings.piece_dropout and not self.settings.frozen:
            lost = torch.rand(input_ids.shape, device=input_ids.device) < self.settings.piece_dropout
            lost[:, 0] = False  # [CLS], which the head may read
            input_ids = input_ids.masked_fill(lost, self.hidden_piece)
        if "left_padding" in self.settings.defects:
            input_ids, shown = defects.left_padded(input_ids, lengths)
        with torch.autocast(input_ids.device.type, self.dtype, enabled=self.dtype != torch.float32):
            if states is None:
                read = {"input_ids": input_ids}
                if tags is not None:
                    read = {"inputs_embeds": self.backbone.get_input_embeddings()(input_ids) + self.tags(tags)}
                states = self.backbone(**read, attention_mask=shown.long()).last_hidden_state  # (S, T, H)
            if self.extra is not None and "batch_as_time" in self.settings.defects:
                states = defects.batch_as_time(self.extra, states)
            elif self.extra is not None:
                states = self.extra(states, src_key_padding_mask=~shown)
            rows = torch.arange(len(states), device=states.device) if text is None else text
            read = self.pooled(states, shown, rows, subject, object)
            if types is not None:
                read = torch.cat([read, self.kinds(types).flatten(1)], 1)
            return {"logits": self.head(read)}

    def pooled(
        self, states: torch.Tensor, shown: torch.Tensor, rows: torch.Tensor, subject: torch.Tensor, object: torch.Tensor
    ) -> torch.Tensor:
        """What the head reads of the states of `rows`. (S, T, H) → (B, H), or several of it joined"""
        places = torch.arange(states.shape[1], device=states.device)  # (T,)
        if self.channels is not None:
            return self.channels(states, shown, rows, subject, object)
        if self.settings.pooling == "starts":
            return torch.cat([states[rows, subject[:, 0]], states[rows, object[:, 0]]], 1)
        if self.settings.pooling == "first":
            return states[rows, 0]
        if "pool_padding" in self.settings.defects:
            return states[rows, -1]
        if self.settings.pooling == "last":
            return states[rows, (shown * places).argmax(1)[rows]]  # no padding, on whichever side that is
        if self.settings.pooling == "mean":
            return mean_over(states, shown)[rows]
        if self.settings.pooling == "means":
            spans = [(places >= span[:, :1]) & (places <= span[:, 1:]) for span in (subject, object)]  # (B, T) each
            return torch.cat([mean_over(states[rows], span) for span in spans], 1)
        spans = (subject, object, between(subject, object))  # (B, 2) each
        return torch.cat([states[rows, 0], *largest_over(states, rows, spans)], 1)


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


def head(width: int, hidden: int, classes: int, dropout: float) -> nn.Sequential:
    """Dropout, a hidden layer with ReLU if `hidden` is not 0, and the layer of logits."""
    if not hidden:
        return nn.Sequential(nn.Dropout(dropout), nn.Linear(width, classes))
    return nn.Sequential(
        nn.Dropout(dropout), nn.Linear(width, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, classes)
    )


def parameter_summary(classes: int = 42, joined: int = 1) -> dict[str, int]:
    """Parameters of the paper's BERT by the places of its Figure 2, counted from bert-base's configuration alone.

    Nothing is downloaded and no memory is taken. `joined` is how many pooled vectors the head gets: the figure's
    head takes 1, the paper's text and code join 2.
    """
    with torch.device("meta"):
        bert, layer = BertModel(BertConfig()), added_layer(768, 12, 0.2)
        hidden, logits = nn.Linear(joined * 768, 256), nn.Linear(256, classes)
    embeddings, attention = bert.embeddings, layer.self_attn
    parts = {
        "3-1": embeddings.word_embeddings, "3-2": embeddings.token_type_embeddings,
        "3-3": embeddings.position_embeddings, "3-4": embeddings.LayerNorm, "3-6": bert.encoder, "3-7": bert.pooler,
        "2-4": attention, "2-6": layer.norm1, "2-7": layer.linear1, "2-9": layer.linear2, "2-11": layer.norm2,
        "1-4": hidden, "1-6": logits,
    }  # fmt: skip
    return {place: sum(parameter.numel() for parameter in part.parameters()) for place, part in parts.items()}


class TransformerModel:
    """A trained classifier with all that is needed to score new Examples."""

    def __init__(self, classifier: Classifier, encoder: PieceEncoder, known: list[str], classes: list[str]) -> None:
        self.classifier, self.encoder, self.known, self.classes = classifier, encoder, known, classes

    @property
    def reads(self) -> tuple[set[str], set[str]]:
        """Columns that an answer needs, and those that it can do without."""
        told = self.encoder.types or self.encoder.typed and self.encoder.marks in TYPED
        return {"types"} if told else set(), {"stanford_ner"} if self.encoder.tags else set()

    def log_probs(self, examples: list[Example]) -> np.ndarray:
        """(rows, classes) log-probabilities, float32; a class that training lacks has -inf."""
        return log_probs(score(self.classifier, self.encoder.encode(examples)), self.known, self.classes)

    def save(self, folder: Path) -> None:
        """Write the weights as model.safetensors; config.json, the tokenizer's files and model.json say how to read them."""
        with atomic_path(Path(folder) / "model.safetensors") as temporary:
            save_file({name: weight.contiguous() for name, weight in self.classifier.state_dict().items()}, temporary)
        self.classifier.backbone.config.save_pretrained(folder)
        self.encoder.tokenizer.save_pretrained(folder)
        facts = {
            "classes": self.classes, "known": self.known, "settings": msgspec.to_builtins(self.classifier.settings),
            "typed": self.encoder.typed, "limit": self.encoder.limit, "types": self.encoder.types,
            "tags": self.encoder.tags,
            "sha256": _digests(Path(folder)),
        }  # fmt: skip
        write_text(Path(folder) / "model.json", json.dumps(facts, ensure_ascii=False))


def _digests(folder: Path) -> dict[str, str]:
    """SHA-256 of the files that the weights cannot be read without: configuration and tokenizer."""
    files = [path for path in sorted(folder.iterdir()) if path.stem != "model" and not path.name.startswith(".")]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def load(folder: Path) -> TransformerModel:
    """Read a saved model; raises what its readers raise when files are missing or damaged."""
    facts = json.loads((Path(folder) / "model.json").read_text(encoding="utf-8"))
    found = _digests(Path(folder))  # a tokenizer reads on without half of its files
    if any(found.get(name) != digest for name, digest in facts.get("sha256", {}).items()):
        raise ValueError("config.json or the tokenizer's files are not those that were saved")
    settings = msgspec.convert(facts["settings"], TransformerSettings)
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    if tokenizer.pad_token_id is None:
        raise ValueError("its tokenizer has no padding piece")
    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    encoder = PieceEncoder(
        tokenizer, settings.marks, facts["typed"], facts["limit"], tuple(settings.defects), facts.get("types", {}),
        facts.get("tags", {}),
    )  # fmt: skip
    classifier = Classifier(bare(AutoModel.from_config(config)), len(facts["known"]), settings, encoder)
    classifier.load_state_dict(load_file(Path(folder) / "model.safetensors"))
    return TransformerModel(classifier, encoder, facts["known"], facts["classes"])


def fit(corpus: Corpus, task: str, settings: TransformerSettings, seed: int, folder: Path) -> Outcome:
    """Train on one task of a corpus and answer every row of dev and test; checkpoints lie in `folder` meanwhile.

    Models of the study's own are kept beside the runs of the corpus, where all of them find them.
    """
    from tacred_utils.models.pretrained import load_pretrained
    from tacred_utils.models.training import (  # here: the Trainer takes seconds to import
        cut_notes,
        fit_network,
        labelled,
    )

    clock = [time.perf_counter()]
    cache = Path(folder).resolve().parent.parent / ".pretrained"
    pretrained = load_pretrained(settings.model, settings.own, corpus, cache, settings.layers)
    clock.append(time.perf_counter())
    set_seed(seed)  # before anything is drawn: embeddings of new marks, the head
    encoder, notes = make_encoder(corpus, settings, pretrained)
    encoded = {split: encoder.encode(corpus.split(split)) for split in SPLITS}
    data, known = labelled(corpus, task, encoded)
    classifier = Classifier(pretrained.backbone, len(known), settings, encoder)
    if settings.frozen:
        for each in encoded.values():
            each.flat["states"] = frozen_states(classifier, each)
    if settings.compile:
        compile_layers(classifier)
    clock.append(time.perf_counter())
    classes = task_classes(task, corpus.labels)
    answers, history, facts = fit_network(classifier, data, task, known, classes, settings, seed, folder)
    before = dict(zip(("load", "encode"), np.diff(clock).round(3).tolist(), strict=True))
    details = facts | {
        "pretrained": pretrained.facts, "marks_read": encoder.marks,
        "notes": notes + cut_notes(facts["windowed"], f"{encoder.limit} pieces"),
        "pieces_a_row": round(float(encoded["train"].lengths.mean()), 1), "seconds": before | facts["seconds"],
    }  # fmt: skip
    return Outcome(answers, history, details, TransformerModel(classifier, encoder, known, classes).save)


_frozen: dict[str, np.ndarray] = {}  # states by what they come from: runs on the same splits read them once


def frozen_states(classifier: Classifier, encoded: Encoded) -> np.ndarray:
    """(pieces + 1, H) states of the backbone at every piece of every text, float32; the last line is the padding's.

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
        shown = torch.arange(batch["input_ids"].shape[1], device=device) < batch["lengths"][:, None]  # (S, T)
        with torch.autocast(device.type, classifier.dtype, enabled=classifier.dtype != torch.float32):
            found = classifier.backbone(input_ids=batch["input_ids"], attention_mask=shown.long()).last_hidden_state
        places = np.concatenate([np.arange(*encoded.offsets[text : text + 2]) for text in texts])
        states[places] = found[shown].float().cpu().numpy()
    return states


def make_encoder(
    corpus: Corpus, settings: TransformerSettings, pretrained: "Pretrained"
) -> tuple[PieceEncoder, list[str]]:
    """The encoder, with new marks entered into the vocabulary and the backbone, and a sentence on what types there lack."""
    typed = "types" in corpus.columns
    notes = []
    if not typed and (settings.marks in TYPED or settings.type_dim):
        notes.append(f"corpus {corpus.name} has no entity types: names are read as they are, no type is told")
    kinds = sorted({kind for row in corpus.train for kind in (row.subj_type, row.obj_type)})
    marks = new_words(settings.marks, kinds, typed)
    pretrained.tokenizer.add_tokens(marks, special_tokens=True)
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
    return PieceEncoder(pretrained.tokenizer, settings.marks, typed, limit, tuple(settings.defects), types, tags), notes

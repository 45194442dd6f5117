"""What a model family is given and gives back: its settings, checked, and the result of training it.

No model is imported here, so that a run's identity needs no torch.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import numpy as np
from msgspec import Meta

LONGEST = 256  # pieces that an own model can read

# Mistakes that can be switched back on to see what each costs. D1 to D3 are those of the paper's published BERT (what
# they do to a sentence stands in inputs/subwords.py); the others are common in code around GPT-2, whose failure the
# paper reports without its cause.
Defect = Literal[
    "batch_as_time",  # D1: the extra layer attends from example to example, padding included
    "word_positions",  # D2: positions of words are used as positions of word pieces
    "cut_at_64",  # D3: cut at 64 pieces; entities beyond are read at the last one
    "pool_padding",  # the last column is pooled, which is padding for all but the longest sentence of a batch
    "left_padding",  # padded on the left, positions counted from the padding on
]


class SvmSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Support vector machine on sparse features (models/svm.py)."""

    groups: dict[str, list[str]]  # group → its blocks of features.BLOCKS; blocks whose columns are missing drop out
    weights: dict[str, Annotated[float, Meta(gt=0)]]  # length of a group's part of a row; 1 where it is not named
    min_count: Annotated[int, Meta(ge=1)]  # training rows that a feature must occur in
    tfidf: bool  # counts × idf (the paper) instead of presence
    mirror: bool  # where labels carry direction: train on every pair read the other way round as well
    kernel: Literal["linear", "rbf"]
    c: Annotated[float, Meta(gt=0)]  # inverse regularisation
    balance: Annotated[float, Meta(ge=0, le=1)]  # class weight (rows / classes / own rows) ** balance; 1 = "balanced"
    smote: bool  # detection: fill up the smaller class with synthetic rows
    max_rows: Annotated[int, Meta(ge=0)]  # train on a stratified random subset of this size; 0 takes all rows


class TrainingSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the models that are trained by gradient share (training.py)."""

    epochs: Annotated[int, Meta(ge=1)]  # at the most
    min_steps: Annotated[int, Meta(ge=0)] = 0  # where so few rows are trained on that these are fewer: more epochs
    batch_size: Annotated[int, Meta(ge=1)]
    whole_texts: bool = False  # where rows share what is read: a batch is so many sentences with all their rows
    precision: Literal["float32", "auto"] = "float32"  # auto: bfloat16 products where processor or GPU has them
    optimizer: Literal["adamw", "sgd"]
    learning_rate: Annotated[float, Meta(gt=0)]
    weight_decay: Annotated[float, Meta(ge=0)]
    max_grad_norm: Annotated[float, Meta(ge=0)]  # 0 clips nothing
    schedule: Literal["constant", "step", "linear", "plateau_loss", "plateau_score"]  # how the rate falls
    warmup: Annotated[float, Meta(ge=0, lt=1)] = 0.0  # share of all steps in which the rate of step or linear rises
    step_factor: Annotated[float, Meta(gt=0, le=1)] = 0.9  # step: the rate is multiplied by this
    step_every: Annotated[int, Meta(ge=1)] = 500  # … after every so many steps
    plateau_factor: Annotated[float, Meta(gt=0, lt=1)] = 0.5  # plateau: dev loss, or the score below, sets the rate
    plateau_patience: Annotated[int, Meta(ge=0)] = 2  # epochs without improvement that are let pass
    patience: Annotated[int, Meta(ge=0)]  # epochs without a better score before training stops; 0 never stops
    select: Literal["macro_f1", "micro_f1"]  # the dev score that picks the best epoch
    restore: Literal["best", "last"]  # the epoch whose weights are kept
    max_ratio: Annotated[float, Meta(ge=0)]  # under-sample to so many no_relation rows a relation row; 0 keeps all
    upsample: Annotated[float, Meta(ge=0, le=1)] = 0.0  # repeat rows up to N^(1-u) · (largest relation's N)^u a class
    balance: Annotated[float, Meta(ge=0, le=1)]  # loss weight of a class: N^-balance, with mean 1 over the rows
    weighted_mean: bool = False  # divide a batch's loss by the sum of its weights (PyTorch's mean), not by its rows
    focal: Annotated[float, Meta(ge=0)] = 0.0  # a row's loss times (1 - p)^focal, p of its label (Lin et al. 2017)
    prior: Annotated[float, Meta(ge=0)] = 0.0  # training adds prior · log share of a class to its logit (Menon 2021)


class BilstmSettings(TrainingSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bidirectional LSTM, and the position-aware attention model (models/bilstm.py). A dimension of 0 drops an input."""

    words: Literal["random", "glove", "minilm"]  # where word vectors start
    glove: str  # the text file of GloVe vectors, where `words` says so
    tune_words: bool  # whether given vectors are trained further
    word_dim: Annotated[int, Meta(ge=1)]
    lower: bool
    min_count: Annotated[int, Meta(ge=1)]  # training occurrences a word needs to be known
    word_dropout: Annotated[float, Meta(ge=0, lt=1)]  # share of words that training reads as unknown
    max_tokens: Annotated[int, Meta(ge=2)]
    pos_dim: Annotated[int, Meta(ge=0)]
    ner_dim: Annotated[int, Meta(ge=0)]
    type_dim: Annotated[int, Meta(ge=0)]  # of each entity's type, beside the sentence vector
    mark_dim: Annotated[int, Meta(ge=0)] = 0  # at each word: role and type of the entity that it belongs to
    shape_dim: Annotated[int, Meta(ge=0)] = 0  # of the pattern of capitals, digits and signs in each word
    position_dim: Annotated[int, Meta(ge=0)]  # of each of the two distances
    positions: Literal["input", "attention", "both"]  # where distances are read
    distance: Literal["centre", "span"]  # to an entity's centre, or to its nearest word
    max_distance: Annotated[int, Meta(ge=1)]  # distances beyond are one
    mask_entities: bool  # read SUBJ-PERSON instead of the name, where the corpus has types
    hidden: Annotated[int, Meta(ge=1)]  # of each direction
    layers: Annotated[int, Meta(ge=1)]
    bidirectional: bool
    pooling: Literal["last", "attention"]  # last states, or position-aware attention over all
    attention_dim: Annotated[int, Meta(ge=1)]
    entity_states: bool  # join the mean state of each entity's words (distance 0) to the sentence vector
    entity_words: bool = False  # join the mean input of each entity's words, past the LSTM
    between_states: bool = False  # join the largest states from one entity to the other
    ordered: bool = False  # join them at one of two places, by which entity comes first
    head_dim: Annotated[int, Meta(ge=0)]  # hidden layer with batch norm; 0: linear
    dropout: Annotated[float, Meta(ge=0, lt=1)]


class OwnModel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A small transformer that the study pre-trains itself on the training sentences (models/pretrained.py)."""

    layers: Annotated[int, Meta(ge=1)]
    width: Annotated[int, Meta(ge=1)]
    heads: Annotated[int, Meta(ge=1)]
    pieces: Annotated[int, Meta(ge=300)]  # size of its own byte-pair vocabulary; 256 are the bytes
    steps: Annotated[int, Meta(ge=0)]  # batches of training sentences; 0 leaves the weights random
    learning_rate: Annotated[float, Meta(gt=0)]
    batch_size: Annotated[int, Meta(ge=1)]

    @property
    def parameters(self) -> int:
        """Of the decoder with a full vocabulary; the encoder has an embedding of two token types besides."""
        return self.width * (self.pieces + LONGEST + 2 + self.layers * (12 * self.width + 13))

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is no multiple of heads {self.heads}")


class TransformerSettings(TrainingSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A BERT- or GPT-2-like model with a classification head (models/transformer.py)."""

    # minilm, mpnet-base, smollm2, own_encoder, own_decoder, a folder, or a hub's NAME[@REVISION]
    model: Annotated[str, Meta(min_length=1)]
    own: OwnModel  # what own_encoder and own_decoder are
    layers: Annotated[int, Meta(ge=0)] = 0  # of `model` that are kept, from the bottom; 0 keeps all
    marks: Literal["none", "mask", "marker", "marker_punct", "typed_marker_punct"]  # how a sentence shows its entities
    # what is read of the states (models/pooling.py)
    pooling: Literal["starts", "means", "first", "last", "mean", "spans", "spans_last", "heads"]
    type_dim: Annotated[int, Meta(ge=0)] = 0  # of each entity's type, beside the states
    tags: bool = False  # add a vector of its word's named-entity tag to each piece, where the corpus has tags
    piece_dropout: Annotated[float, Meta(ge=0, lt=1)] = 0.0  # share of pieces that training reads as [MASK]
    compile: bool = False  # the layers, by torch.compile: needs a C++ compiler, takes half a minute at the start
    extra_layer: bool  # one more transformer encoder layer on top
    head_dim: Annotated[int, Meta(ge=0)]  # hidden layer with ReLU; 0: linear
    head_factor: Annotated[float, Meta(gt=0)] = 1.0  # the learning rate of what is not in `model`, in multiples of its
    dropout: Annotated[float, Meta(ge=0, lt=1)]  # of the extra layer and of the head
    hidden_dropout: bool = True  # a second dropout after the head's hidden layer; the paper's Figure 2 has none
    max_pieces: Annotated[int, Meta(ge=16)]  # word pieces; beyond, a window keeps both entities
    defects: list[Defect] = []


FAMILIES: dict[str, type[msgspec.Struct]] = {
    "svm": SvmSettings,
    "bilstm": BilstmSettings,
    "bert": TransformerSettings,
    "gpt2": TransformerSettings,
}
VERSIONS = {
    "svm": 1,
    "bilstm": 1,
    "bert": 1,
    "gpt2": 1,
}  # raised when a family's predictions change though its settings do not
# Settings that there are no more, as they stood when they changed nothing: older runs and models say so of themselves.
RETIRED = {
    "accumulate": 1,
    "channels": ["entities", "mean", "max", "between", "attention"],
    "frozen": False,
    "redraw": False,
    "shift": False,
}


def read_settings(family: str, stated: dict[str, object]) -> msgspec.Struct:
    """The settings of a run or a model; raises `msgspec.ValidationError` where this version of its family has no such."""
    known = {name: value for name, value in stated.items() if (name, value) not in RETIRED.items()}
    return msgspec.convert(known, FAMILIES[family])


@dataclass(frozen=True)
class FitResult:
    """What training gives back: for dev and test the (rows, classes) log-probabilities, and how they came about."""

    log_probs: dict[str, np.ndarray]  # split -> (rows in file order, classes in the order of task_classes), float32
    history: list[dict[str, object]]  # one row an epoch (or step) for history.csv
    details: dict[str, object]  # device, dtype and all that run.json should keep
    save: Callable[[Path], None]  # writes the model into a folder, as safetensors or skops and json

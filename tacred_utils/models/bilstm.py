"""Recurrent readers of a sentence with two marked entities: the paper's BiLSTM (3.1), and the position-aware
attention model of Zhang et al. 2017 as the variant `pa_lstm`.

PyTorch's fast LSTM kernels take rectangles, not packed sequences (2 to 3 times the speed on a CPU). So every input has
one more column that is 1 at padding, with a large negative weight on the input gate: a state that begins at the padding
stays zero, and a row's answer does not depend on the rows beside it.
"""

import time
from dataclasses import replace
from itertools import chain
from pathlib import Path

import msgspec
import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn

from tacred_utils.corpora.example import Corpus
from tacred_utils.ground.errors import UserError
from tacred_utils.ground.files import expanded
from tacred_utils.ground.labels import SPLITS, task_classes, task_label
from tacred_utils.inputs.encoding import DISTANCES, MADE, PAD, UNKNOWN, Encoder, glove, minilm, token_column, vocabulary
from tacred_utils.models.networks import TrainedNetwork, read_facts
from tacred_utils.models.pooling import inside, largest_over, mean_over
from tacred_utils.models.processes import isolated
from tacred_utils.models.settings import BilstmSettings, FitResult

SHUT = -1e4  # weight of padding on the input gate: a sigmoid of it is 0 in any precision
COLUMNS = {
    "pos_dim": "stanford_pos", "ner_dim": "stanford_ner", "type_dim": "types",
    "mark_dim": "marks", "shape_dim": "shapes",
}  # setting → the column it reads  # fmt: skip


class PaddedLstm(nn.LSTM):
    """One LSTM layer over right-padded rows, (B, T, D) → (B, T, H or 2H), exact in both directions."""

    def __init__(self, inputs: int, hidden: int, bidirectional: bool) -> None:
        super().__init__(inputs + 1, hidden, batch_first=True, bidirectional=bidirectional)
        for name, weight in self.named_parameters():
            if name.startswith("weight_ih"):  # (4H, D + 1), gates in the order input, forget, cell, output
                nn.init.zeros_(weight.data[:, -1])
                nn.init.constant_(weight.data[:hidden, -1], SHUT)

    def forward(self, inputs: torch.Tensor, padding: torch.Tensor) -> torch.Tensor:
        return super().forward(torch.cat([inputs, padding], 2))[0]


class PositionAttention(nn.Module):
    """u = v · tanh(W h + Q q + P p), a = softmax(u), z = Σ a h (Zhang et al. 2017, section 3)."""

    def __init__(self, states: int, positions: int, width: int) -> None:
        super().__init__()
        self.state, self.query = nn.Linear(states, width, bias=False), nn.Linear(states, width)
        self.position = nn.Linear(positions, width, bias=False)
        self.weight = nn.Linear(width, 1, bias=False)

    def forward(
        self, states: torch.Tensor, query: torch.Tensor, positions: torch.Tensor, padding: torch.Tensor
    ) -> torch.Tensor:
        hidden = self.state(states) + self.query(query)[:, None] + self.position(positions)  # (B, T, A)
        scores = self.weight(torch.tanh(hidden)).masked_fill(padding.bool(), -torch.inf)  # (B, T, 1)
        return (torch.softmax(scores, 1) * states).sum(1)  # (B, H)


class BilstmClassifier(nn.Module):
    """Ids of words, columns and distances of S texts (S, T), their lengths (S,), and of B rows: the text (B,), first and
    last word of both entities (B, 2) each and types (B, 2) → logits (B, K). Without `text`, row i reads text i.
    """

    def __init__(
        self, encoder: Encoder, classes: int, settings: BilstmSettings, vectors: np.ndarray | None = None
    ) -> None:
        super().__init__()
        self.settings = settings
        rows, width = (len(encoder.words) + 2, settings.word_dim) if vectors is None else vectors.shape
        self.word = nn.Embedding(rows, width, padding_idx=PAD)
        self.project = nn.Identity() if width == settings.word_dim else nn.Linear(width, settings.word_dim, bias=False)
        if vectors is not None:
            self.word.weight.data.copy_(torch.from_numpy(vectors))
            self.word.weight.requires_grad_(settings.tune_words)
        widths = {column: getattr(settings, setting) for setting, column in COLUMNS.items()}
        self.columns = nn.ModuleDict({
            name: nn.Embedding(len(known) + 2, widths[name], padding_idx=PAD) for name, known in encoder.columns.items()
        })  # fmt: skip
        inputs = settings.word_dim + sum(widths[name] for name in encoder.columns)
        if settings.position_dim:
            self.position = nn.Embedding(2 * encoder.clip + 2, settings.position_dim, padding_idx=PAD)
            inputs += 2 * settings.position_dim * (settings.positions != "attention")
        states = settings.hidden * (1 + settings.bidirectional)
        sizes = [inputs, *[states] * (settings.layers - 1)]
        self.layers = nn.ModuleList(PaddedLstm(size, settings.hidden, settings.bidirectional) for size in sizes)
        self.dropout = nn.Dropout(settings.dropout)
        if settings.pooling == "attention":
            self.attention = PositionAttention(states, 2 * settings.position_dim, settings.attention_dim)
        elif settings.pooling != "last":
            raise UserError(f"--set pooling={settings.pooling}: is unknown; choose one of last, attention.")
        states *= 1 + 2 * settings.entity_states + settings.between_states * (1 + settings.ordered)
        states += 2 * inputs * settings.entity_words
        if encoder.types:
            self.kinds = nn.Embedding(len(encoder.types) + 2, settings.type_dim)
            states += 2 * settings.type_dim
        self.head = nn.Linear(states, classes)
        if settings.head_dim:
            hidden = [nn.Linear(states, settings.head_dim), nn.BatchNorm1d(settings.head_dim), nn.ReLU()]
            self.head = nn.Sequential(*hidden, self.dropout, nn.Linear(settings.head_dim, classes))

    def forward(
        self, words: torch.Tensor, lengths: torch.Tensor, subject: torch.Tensor, object: torch.Tensor,
        text: torch.Tensor | None = None, types: torch.Tensor | None = None, **columns: torch.Tensor,
    ) -> dict[str, torch.Tensor]:  # fmt: skip
        padding = (words == PAD)[:, :, None].float()  # (S, T, 1)
        if self.training and self.settings.word_dropout:
            hidden = torch.rand(words.shape, device=words.device) < self.settings.word_dropout
            words = words.masked_fill(hidden & (words != PAD), UNKNOWN)
        inputs = [self.project(self.word(words)), *(table(columns[name]) for name, table in self.columns.items())]
        distances = [self.position(columns[name]) for name in DISTANCES] if self.settings.position_dim else []
        inputs += distances if self.settings.positions != "attention" else []
        inputs = states = torch.cat(inputs, 2)  # (S, T, D)
        for layer in self.layers:
            states = layer(self.dropout(states), padding)  # (S, T, H)
        summary = self.last(states, lengths)  # (S, H)
        if self.settings.pooling == "attention":
            summary = self.attention(self.dropout(states), self.dropout(summary), torch.cat(distances, 2), padding)
        rows = torch.arange(len(states), device=states.device) if text is None else text  # (B,)
        read = [summary[rows]]
        read += map(self.dropout, self.of_pair(inputs, states, rows, subject, object))
        if types is not None:
            read.append(self.kinds(types).flatten(1))
        return {"logits": self.head(torch.cat(read, 1))}

    def of_pair(
        self, inputs: torch.Tensor, states: torch.Tensor, rows: torch.Tensor, subject: torch.Tensor, object: torch.Tensor
    ) -> list[torch.Tensor]:  # fmt: skip
        """What is joined to the sentence vector of each pair: (B, H) or (B, D) each, none in the paper's recipe."""
        found, spans = [], [inside(span, states.shape[1]) for span in (subject, object)]  # (B, T) each
        if self.settings.entity_states:
            found += [mean_over(states[rows], span) for span in spans]
        if self.settings.entity_words:
            found += [mean_over(inputs[rows], span) for span in spans]
        if self.settings.between_states:
            hull = torch.stack([torch.minimum(subject, object)[:, 0], torch.maximum(subject, object)[:, 1]], 1)
            largest, subject_first = largest_over(states, rows, [hull])[0], subject[:, :1] <= object[:, :1]
            found += [largest * subject_first, largest * ~subject_first] if self.settings.ordered else [largest]
        return found

    def last(self, states: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Where each direction ends: forward at a row's last word, backward at its first. (B, T, H) → (B, H)"""
        hidden = self.settings.hidden
        forward = states[torch.arange(len(states), device=states.device), lengths - 1, :hidden]
        return torch.cat([forward, states[:, 0, hidden:]], 1)  # nothing to join in one direction


class BilstmModel(TrainedNetwork):
    """A trained BilstmClassifier with its Encoder."""

    @property
    def reads(self) -> tuple[set[str], set[str]]:
        """Columns that an answer needs, and those that it can do without: a missing one is read as zeros."""
        typed = self.encoder.types or self.encoder.masked or "marks" in self.encoder.columns
        return {"types"} if typed else set(), set(self.encoder.columns) - MADE

    def save(self, folder: Path) -> None:
        """Write model.safetensors (weights) and model.json (settings, classes and vocabularies)."""
        self.write(folder, {"encoder": msgspec.to_builtins(self.encoder)})


def load(folder: Path) -> BilstmModel:
    """Read a saved model; raises what its readers raise when files are missing or damaged."""
    facts, settings = read_facts(folder, "bilstm")
    weights = load_file(Path(folder) / "model.safetensors")
    encoder = msgspec.convert(facts["encoder"], Encoder)
    table = weights["word.weight"].numpy() if settings.words != "random" else None
    classifier = BilstmClassifier(encoder, len(facts["known"]), settings, table)
    classifier.load_state_dict(weights)
    return BilstmModel(classifier, encoder, facts["known"], facts["classes"])


@isolated()
def fit(corpus: Corpus, task: str, settings: BilstmSettings, seed: int, folder: Path) -> FitResult:
    """Train on one task of a corpus and answer every row of dev and test; checkpoints lie in `folder` meanwhile.

    Inputs whose columns the corpus lacks are dropped, and the names of entities are masked only where it has types.
    """
    from transformers import set_seed

    from tacred_utils.models.training import fit_network, labelled  # here, as networks.py says

    start = time.perf_counter()
    set_seed(seed)
    encoder, notes = make_encoder(corpus, task, settings)
    data = labelled(corpus, task, {split: encoder.encode(corpus.split(split)) for split in SPLITS})
    classifier = BilstmClassifier(encoder, len(data.seen_classes), settings, word_vectors(encoder, settings))
    facts = {
        "columns_read": sorted({*encoder.columns, *(["types"] if encoder.types else [])}),
        "masked": encoder.masked,
        "notes": notes,
        "seconds": {"encode": round(time.perf_counter() - start, 3)},
    }
    model = BilstmModel(classifier, encoder, data.seen_classes, data.classes)
    return fit_network(model, data, settings, seed, folder, facts)


def make_encoder(corpus: Corpus, task: str, settings: BilstmSettings) -> tuple[Encoder, list[str]]:
    """Vocabularies from the rows that the task trains on, and a sentence for each input that the corpus lacks.

    Given word vectors know more words than training: with them, the words of dev and test have rows too.
    """
    wanted = [column for setting, column in COLUMNS.items() if getattr(settings, setting)]
    present = corpus.columns | MADE
    lacking = [column for column in wanted if column not in present]
    notes = [f"{column} is not in corpus {corpus.name}: that input is dropped" for column in lacking]
    masked = settings.mask_entities and "types" in corpus.columns
    if settings.mask_entities and not masked:
        notes.append(f"corpus {corpus.name} has no entity types: the names of entities are read as they are")
    chosen = set(task_classes(task, corpus.labels))
    rows = [example for example in corpus.train if task_label(task, example.relation) in chosen]
    tables = {
        column: vocabulary(chain.from_iterable(token_column(row, column) for row in rows))
        for column in wanted if column != "types" and column in present
    }  # fmt: skip
    typed = "types" in wanted and "types" in corpus.columns
    types = vocabulary(kind for row in rows for kind in (row.subj_type, row.obj_type)) if typed else {}
    encoder = Encoder(
        {}, tables, types, settings.max_tokens, settings.max_distance * bool(settings.position_dim),
        settings.lower, settings.distance, masked, settings.whole_texts,
    )  # fmt: skip
    seen = rows if settings.words == "random" else [*rows, *corpus.dev, *corpus.test]
    words = vocabulary(
        chain.from_iterable(map(encoder.words_of, seen)), settings.min_count if settings.words == "random" else 1
    )
    return replace(encoder, words=words), notes


def word_vectors(encoder: Encoder, settings: BilstmSettings) -> np.ndarray | None:
    """(words + 2, D) given vectors with unit variance, the mean of all where a word has none; None for random ones."""
    if settings.words == "random":
        return None
    found = glove(expanded(settings.glove), encoder.words) if settings.words == "glove" else minilm(encoder.words)
    known = np.stack(list(found.values()))
    table = np.zeros((len(encoder.words) + 2, known.shape[1]), np.float32)
    table[[encoder.words[word] for word in found]] = (known - known.mean(axis=0)) / known.std()
    return table

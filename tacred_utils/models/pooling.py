"""From the states of a sentence's subwords to what a head reads for one pair of entities.

States are those of S texts (S, T, H), `attention_mask` (S, T) says what is no padding; `rows` (B,) is the text that
each of B pairs reads, `subject` and `object` (B, 2) are first and last places of its entities. A way to pool is a
function of these five, (B, n · H), and a line of `POOLINGS`.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import nn

from tacred_utils.ground.errors import UserError
from tacred_utils.models.settings import TransformerSettings

CLIP = 20  # subwords; distances beyond are one


def inside(span: torch.Tensor, length: int) -> torch.Tensor:
    """Which of so many places lie from the first to the last one of a span. (B, 2) → (B, T)"""
    places = torch.arange(length, device=span.device)
    return (places >= span[:, :1]) & (places <= span[:, 1:])


def mean_over(states: torch.Tensor, span: torch.Tensor) -> torch.Tensor:
    """Mean state of the tokens in a span. (B, T, H), (B, T) → (B, H)"""
    inside = span[:, :, None].to(states.dtype)
    return (states * inside).sum(1) / inside.sum(1)


def largest_over(states: torch.Tensor, rows: torch.Tensor, spans: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Largest of each state from the first to the last place (B, 2) of each span in `rows` (B,) of the states, 0 where
    the last is before the first. (S, T, H) → (B, H) for each span

    Level k holds the largest over 2^k places from each place on, and two of a level cover any span: the spans of many
    rows cost a few passes over the S texts (range maximum by doubling, Bender and Farach-Colton 2000).
    """
    sizes = [(span[:, 1] - span[:, 0] + 1).clamp(min=0) for span in spans]
    levels = [states]
    while 2 ** len(levels) <= max(int(size.max()) for size in sizes):
        last, step = levels[-1], 2 ** (len(levels) - 1)
        levels.append(torch.cat([torch.maximum(last[:, :-step], last[:, step:]), last[:, -step:]], 1))
    table, found = torch.stack(levels), []  # (levels, S, T, H)
    for span, size in zip(spans, sizes, strict=True):
        level = size.clamp(min=1).log2().floor().long()
        first, second = span[:, 0].clamp(max=states.shape[1] - 1), (span[:, 1] - 2**level + 1).clamp(min=0)
        largest = torch.maximum(table[level, rows, first], table[level, rows, second])
        found.append(largest.masked_fill((size == 0)[:, None], 0))
    return found


def between(subject: torch.Tensor, object: torch.Tensor) -> torch.Tensor:
    """First and last place between two spans (B, 2); the last is before the first where nothing is. → (B, 2)"""
    after, before = torch.minimum(subject[:, 1], object[:, 1]) + 1, torch.maximum(subject[:, 0], object[:, 0]) - 1
    return torch.stack([after, before], 1)


def starts(states, attention_mask, rows, subject, object):
    """The first place of subject and of object, where marks stand (Baldini Soares et al. 2019)."""
    return torch.cat([states[rows, subject[:, 0]], states[rows, object[:, 0]]], 1)


def means(states, attention_mask, rows, subject, object):
    """Mean states of subject and of object."""
    return torch.cat([mean_over(states[rows], inside(span, states.shape[1])) for span in (subject, object)], 1)


def first(states, attention_mask, rows, subject, object):
    """[CLS] of BERT."""
    return states[rows, 0]


def last(states, attention_mask, rows, subject, object):
    """The last place that is no padding, on whichever side that is: all that a decoder has seen the sentence from."""
    places = torch.arange(states.shape[1], device=states.device)
    return states[rows, (attention_mask * places).argmax(1)[rows]]


def last_column(states, attention_mask, rows, subject, object):
    """A defect: the last place of the batch, which is padding for all but its longest text."""
    return states[rows, -1]


def mean(states, attention_mask, rows, subject, object):
    """Mean state of the sentence."""
    return mean_over(states, attention_mask)[rows]


def largest(states, attention_mask, rows, subject, object):
    """Largest states of the sentence."""
    return states.masked_fill(~attention_mask[:, :, None], torch.finfo(states.dtype).min).amax(1)[rows]


def spans(states, attention_mask, rows, subject, object):
    """[CLS], and largest states of subject, of object and of what is between them (Eberts and Ulges 2020)."""
    places = (subject, object, between(subject, object))
    return torch.cat([states[rows, 0], *largest_over(states, rows, places)], 1)


def spans_last(states, attention_mask, rows, subject, object):
    """The same for a decoder, whose first place has seen nothing: the last one in place of [CLS]."""
    width = states.shape[2]
    whole = last(states, attention_mask, rows, subject, object)
    return torch.cat([whole, spans(states, attention_mask, rows, subject, object)[:, width:]], 1)


# The settings' `pooling` → how many states it joins, and how. `heads` has weights of its own: FeatureHeads.
POOLINGS: dict[str, tuple[int, Callable[..., torch.Tensor]]] = {
    "starts": (2, starts), "means": (2, means), "first": (1, first), "last": (1, last), "mean": (1, mean),
    "spans": (4, spans), "spans_last": (4, spans_last),
}  # fmt: skip


def pooling(settings: TransformerSettings) -> tuple[int, Callable[..., torch.Tensor]]:
    """The line of `POOLINGS` that the settings name; raises `UserError` where there is none."""
    ways = POOLINGS | ({"last": (1, last_column)} if "pool_padding" in settings.defects else {})
    if settings.pooling not in ways:
        raise UserError(f"--set pooling={settings.pooling}: is unknown; choose one of {', '.join(ways)}, heads.")
    return ways[settings.pooling]


class EntityAttention(nn.Module):
    """Attention of a pair of entities over its sentence: they ask, every subword answers, and nearness to each counts."""

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.query = nn.Linear(2 * width, size)
        self.key, self.value = nn.Linear(width, size, bias=False), nn.Linear(width, size)
        self.near = nn.ModuleList(nn.Embedding(2 * CLIP + 1, 1) for _ in range(2))  # by signed distance to each entity

    def forward(
        self,
        states: torch.Tensor,
        attention_mask: torch.Tensor,
        rows: torch.Tensor,
        entities: torch.Tensor,
        spans: Sequence[torch.Tensor],
    ) -> torch.Tensor:
        """`entities` (B, 2H) the states that ask. → (B, size)"""
        query, places = self.query(entities), torch.arange(states.shape[1], device=states.device)
        scores = (self.key(states)[rows] * query[:, None]).sum(2) / math.sqrt(query.shape[1])  # (B, T)
        for near, span in zip(self.near, spans, strict=True):
            distance = (places - span[:, :1]).clamp(max=0) + (places - span[:, 1:]).clamp(min=0)
            scores = scores + near(distance.clamp(-CLIP, CLIP) + CLIP)[:, :, 0]
        weights = torch.softmax(scores.masked_fill(~attention_mask[rows], -torch.inf), 1)
        return (weights[:, :, None] * self.value(states)[rows]).sum(1)


class FeatureHeads(nn.Module):
    """A head of its own for each of five groups of features (the paper's section 5, claim C12), joined end to end."""

    def __init__(self, width: int, settings: TransformerSettings) -> None:
        super().__init__()
        size = settings.head_dim
        if not size:
            raise UserError("--set pooling=heads: needs a width for each head; give head_dim=128.")
        self.attention = EntityAttention(width, size)
        inputs = {"entities": 2 * width, "mean": width, "max": width, "between": width, "attention": size}
        self.width = size * len(inputs)
        self.heads = nn.ModuleDict()
        for name, states in inputs.items():
            self.heads[name] = nn.Sequential(nn.Dropout(settings.dropout), nn.Linear(states, size), nn.ReLU())

    def forward(self, states: torch.Tensor, *places: torch.Tensor) -> torch.Tensor:
        """(S, T, H) → (B, width)"""
        attention_mask, rows, subject, object = places
        entities = starts(states, *places)  # (B, 2H)
        read = {
            "entities": entities,
            "mean": mean(states, *places),
            "max": largest(states, *places),
            "between": largest_over(states, rows, [between(subject, object)])[0],
            "attention": self.attention(states, attention_mask, rows, entities, (subject, object)),
        }
        return torch.cat([head(read[name]) for name, head in self.heads.items()], 1)

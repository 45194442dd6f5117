"""From the states of a sentence's pieces to what a head reads for one pair of entities.

States are those of S texts (S, T, H); `rows` (B,) says which text each of B pairs reads.
"""

import math
from collections.abc import Sequence

import torch
from torch import nn

from tacred_utils.ground.errors import UserError
from tacred_utils.models.settings import TransformerSettings

CLIP = 20  # pieces; distances beyond are one


def mean_over(states: torch.Tensor, span: torch.Tensor) -> torch.Tensor:
    """Mean state of the pieces in a span. (B, T, H), (B, T) → (B, H)"""
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


class EntityAttention(nn.Module):
    """Attention of a pair of entities over its sentence: they ask, every piece answers, and nearness to each counts."""

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.query = nn.Linear(2 * width, size)
        self.key, self.value = nn.Linear(width, size, bias=False), nn.Linear(width, size)
        self.near = nn.ModuleList(nn.Embedding(2 * CLIP + 1, 1) for _ in range(2))  # by signed distance to each entity

    def forward(
        self, states: torch.Tensor, shown: torch.Tensor, rows: torch.Tensor, entities: torch.Tensor,
        spans: Sequence[torch.Tensor],
    ) -> torch.Tensor:  # fmt: skip
        """`shown` (S, T) is what is no padding, `entities` (B, 2H) the states that ask. → (B, size)"""
        query, places = self.query(entities), torch.arange(states.shape[1], device=states.device)
        scores = (self.key(states)[rows] * query[:, None]).sum(2) / math.sqrt(query.shape[1])  # (B, T)
        for near, span in zip(self.near, spans, strict=True):
            distance = (places - span[:, :1]).clamp(max=0) + (places - span[:, 1:]).clamp(min=0)
            scores = scores + near(distance.clamp(-CLIP, CLIP) + CLIP)[:, :, 0]
        weights = torch.softmax(scores.masked_fill(~shown[rows], -torch.inf), 1)
        return (weights[:, :, None] * self.value(states)[rows]).sum(1)


class FeatureHeads(nn.Module):
    """A head of its own for each group of features (the paper's section 5, claim C12), joined end to end.

    The groups are the settings' `channels`: states of the first pieces of both entities, mean and largest state of the
    sentence, largest state between the entities, and what entity-aware attention finds.
    """

    def __init__(self, width: int, settings: TransformerSettings) -> None:
        super().__init__()
        if not settings.head_dim or not settings.channels:
            raise UserError("--set pooling=heads: needs channels and a width for each of them; give head_dim=128.")
        self.width = settings.head_dim * len(settings.channels)
        if "attention" in settings.channels:
            self.attention = EntityAttention(width, settings.head_dim)
        inputs = {"entities": 2 * width, "attention": settings.head_dim}
        self.heads = nn.ModuleDict({
            name: nn.Sequential(nn.Dropout(settings.dropout), nn.Linear(inputs.get(name, width), settings.head_dim), nn.ReLU())
            for name in settings.channels
        })  # fmt: skip

    def forward(
        self, states: torch.Tensor, shown: torch.Tensor, rows: torch.Tensor, subject: torch.Tensor, object: torch.Tensor
    ) -> torch.Tensor:
        """(S, T, H) → (B, width)"""
        entities = torch.cat([states[rows, subject[:, 0]], states[rows, object[:, 0]]], 1)  # (B, 2H)

        def read(channel: str) -> torch.Tensor:
            if channel == "entities":
                return entities
            if channel == "mean":
                return mean_over(states, shown)[rows]
            if channel == "max":
                return states.masked_fill(~shown[:, :, None], torch.finfo(states.dtype).min).amax(1)[rows]
            if channel == "between":
                return largest_over(states, rows, [between(subject, object)])[0]
            return self.attention(states, shown, rows, entities, (subject, object))

        return torch.cat([head(read(name)) for name, head in self.heads.items()], 1)

"""Mistakes that can be switched back on to see what each costs: `--set 'defects=["word_positions"]'`, never otherwise.

`batch_as_time`, `word_positions` and `cut_at_64` are those of the paper's published BERT (D1 to D3); the others are
common in code around GPT-2, whose failure the paper reports without its cause.
"""

import numpy as np
import torch
from torch import nn

Span = tuple[int, int]


def batch_as_time(layer: nn.TransformerEncoderLayer, states: torch.Tensor) -> torch.Tensor:
    """D1: a layer that expects (time, batch, width) is given (batch, time, width), and no padding is masked.

    Each position attends to the same position of the other examples. (B, T, H) → (B, T, H)
    """
    return layer(states.transpose(0, 1)).transpose(0, 1)


def word_positions(places: list[Span], size: int) -> list[Span]:
    """D2: numbers of words taken for numbers of pieces, as if there were no [CLS] and no word were split."""
    return [(min(start, size - 1), min(end, size - 1)) for start, end in places]


def cut_at_64(row: np.ndarray, spans: list[Span]) -> tuple[np.ndarray, list[Span], bool]:
    """D3: the first 64 pieces; an entity beyond them is read at the last one."""
    row = row[:, :64]
    last = row.shape[1] - 1
    return row, [(min(start, last), min(end, last)) for start, end in spans], last == 63


def left_padded(input_ids: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows moved to the right end of their batch, with the mask (B, T) of what is no padding.

    GPT-2 then counts positions from the padding on, unless it is given others. (B, T) → (B, T), (B, T)
    """
    places = torch.arange(input_ids.shape[1], device=input_ids.device)
    missing = (input_ids.shape[1] - lengths)[:, None]  # (B, 1)
    return input_ids.gather(1, (places - missing) % input_ids.shape[1]), places >= missing

"""Mistakes that can be switched back on to see what each costs: `--set 'defects=["word_positions"]'`, never otherwise.

`batch_as_time`, `word_positions` and `cut_at_64` are those of the paper's published BERT (D1 to D3; what it does to a
sentence stands in inputs/subwords.py); the others are common in code around GPT-2, whose failure the paper reports
without its cause.
"""

import torch
from torch import nn


def batch_as_time(layer: nn.TransformerEncoderLayer, states: torch.Tensor) -> torch.Tensor:
    """D1: a layer that expects (time, batch, width) is given (batch, time, width), and no padding is masked.

    Each position attends to the same position of the other examples. (B, T, H) → (B, T, H)
    """
    return layer(states.transpose(0, 1)).transpose(0, 1)


def left_padded(input_ids: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows moved to the right end of their batch, with the mask (B, T) of what is no padding.

    GPT-2 then counts positions from the padding on, unless it is given others. (B, T) → (B, T), (B, T)
    """
    places = torch.arange(input_ids.shape[1], device=input_ids.device)
    missing = (input_ids.shape[1] - lengths)[:, None]  # (B, 1)
    return input_ids.gather(1, (places - missing) % input_ids.shape[1]), places >= missing


def last_column(states: torch.Tensor, attention_mask: torch.Tensor, rows: torch.Tensor, *entities: torch.Tensor):
    """A pooling: the last place of the batch, which is padding for all but its longest text. (S, T, H) → (B, H)"""
    return states[rows, -1]

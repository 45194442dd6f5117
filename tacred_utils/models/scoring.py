"""What a torch model answers: logits of encoded rows, and log-probabilities over the classes of a task.

Apart from training, whose Trainer takes seconds to import: who only asks a model need not wait for it.
"""

import math

import numpy as np
import torch
from torch import nn

from tacred_utils.inputs.encoding import Encoded
from tacred_utils.models import processes

SCORED_AT_ONCE = {"cpu": 128, "cuda": 1024}  # rows: wide enough for fast products, small enough for a processor's cache


def compute_dtype(precision: str) -> torch.dtype:
    """What products are computed in: "auto" is bfloat16 where the GPU, or else this processor, multiplies it natively."""
    if precision == "float32":
        return torch.float32
    if torch.cuda.is_available():
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = any(torch.cpu.get_capabilities().get(name) for name in ("avx512_bf16", "amx_bf16", "sve_bf16", "bf16"))
    return torch.bfloat16 if native else torch.float32


def score(model: nn.Module, encoded: Encoded, rows: np.ndarray | None = None) -> np.ndarray:
    """(rows, K) logits, float32, in the order of the rows (all by default); batches are of like length.

    Processes that train together answer a share each and get the whole.
    """
    rows = np.arange(len(encoded)) if rows is None else rows
    if processes.count() == 1:
        return _score(model, encoded, rows)
    return processes.joined(_score(model, encoded, processes.share(rows)), len(rows), next(model.parameters()).device)


@torch.inference_mode()
def _score(model: nn.Module, encoded: Encoded, rows: np.ndarray) -> np.ndarray:
    device = next(model.parameters()).device
    order = np.argsort(encoded.lengths[rows], kind="stable")
    batches = np.array_split(order, math.ceil(len(order) / SCORED_AT_ONCE[device.type]))
    was_training = model.training
    model.eval()
    parts = [model(**tensors(encoded.batch(rows[batch]), device))["logits"].float().cpu().numpy() for batch in batches]
    model.train(was_training)
    logits = np.concatenate(parts)
    return logits[np.argsort(order)]


def log_probs(logits: np.ndarray, known: list[str], classes: list[str]) -> np.ndarray:
    """(rows, classes) log-probabilities from the logits of the classes known; a class that training lacks has -inf."""
    answer = np.full((len(logits), len(classes)), -np.inf, np.float32)
    answer[:, [classes.index(label) for label in known]] = torch.log_softmax(torch.from_numpy(logits), 1).numpy()
    return answer


def tensors(columns: dict[str, np.ndarray], device: torch.device | str = "cpu") -> dict[str, torch.Tensor]:
    """The columns on a device. A GPU goes on with what it does meanwhile: numpy's memory is read before this returns."""
    return {
        name: torch.from_numpy(np.ascontiguousarray(values)).to(device, non_blocking=True)
        for name, values in columns.items()
    }

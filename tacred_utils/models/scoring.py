"""What a trained network answers: logits of encoded rows, and log-probabilities over the classes of a task; and how
such a network is kept in a folder.

Apart from training, whose Trainer takes seconds to import: who only asks a model need not wait for it.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from tacred_utils.corpora.example import Example
from tacred_utils.ground.files import atomic_path, write_text
from tacred_utils.inputs.encoding import Encoded, Encoder
from tacred_utils.models import processes
from tacred_utils.models.settings import TrainingSettings, read_settings

if TYPE_CHECKING:
    from tacred_utils.inputs.subwords import SubwordEncoder

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


@dataclass(frozen=True)
class TrainedNetwork:
    """A classifier with all that is needed to score new Examples; its family says what it `reads`, and how to `save` it."""

    classifier: nn.Module  # with the `settings` that it was made by
    encoder: "Encoder | SubwordEncoder"
    seen_classes: list[str]  # the K classes that training has: columns of its logits
    classes: list[str]  # of the task: columns of the log-probabilities

    def log_probs(self, examples: list[Example]) -> np.ndarray:
        """(rows, classes) log-probabilities, float32; a class that training lacks has -inf."""
        return self.log_probs_of(self.encoder.encode(examples))

    def log_probs_of(self, encoded: Encoded) -> np.ndarray:
        """The same of encoded rows."""
        logits = score(self.classifier, encoded)
        answer = np.full((len(logits), len(self.classes)), -np.inf, np.float32)
        places = [self.classes.index(label) for label in self.seen_classes]
        answer[:, places] = torch.log_softmax(torch.from_numpy(logits), 1).numpy()
        return answer

    def write(self, folder: Path, facts: dict[str, object]) -> None:
        """Write model.safetensors (weights) and model.json: settings, classes, and facts of the family."""
        with atomic_path(Path(folder) / "model.safetensors") as temporary:
            save_file({name: weight.contiguous() for name, weight in self.classifier.state_dict().items()}, temporary)
        settings = msgspec.to_builtins(self.classifier.settings)
        known = {"classes": self.classes, "known": self.seen_classes, "settings": settings}
        write_text(Path(folder) / "model.json", json.dumps(known | facts, ensure_ascii=False))


def read_facts(folder: Path, family: str) -> tuple[dict[str, object], TrainingSettings]:
    """What `TrainedNetwork.write` put into model.json, and the settings in it as what they are."""
    facts = json.loads((Path(folder) / "model.json").read_text(encoding="utf-8"))
    return facts, read_settings(family, facts["settings"])


def tensors(columns: dict[str, np.ndarray], device: torch.device | str = "cpu") -> dict[str, torch.Tensor]:
    """The columns on a device. A GPU goes on with what it does meanwhile: numpy's memory is read before this returns."""
    return {
        name: torch.from_numpy(np.ascontiguousarray(values)).to(device, non_blocking=True)
        for name, values in columns.items()
    }

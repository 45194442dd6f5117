"""What training a model gives back, whatever its family."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class FitResult:
    """What training returns: for dev and test the (rows, classes) log-probabilities, and how they came about."""

    log_probs: dict[str, np.ndarray]  # split -> (rows in file order, classes in the order of task_classes), float32
    history: list[dict[str, object]]  # one row an epoch (or step) for history.csv
    details: dict[str, object]  # device, dtype and all that run.json should keep
    save: Callable[[Path], None]  # writes the model into a folder, as safetensors or skops and json

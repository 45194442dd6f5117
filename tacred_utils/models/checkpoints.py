"""Checkpoints of a training: the last one that is whole, and the weights that a recipe restores in the end.

The Trainer writes its files one after the other, and reads them without a look at whether they are whole. So each
checkpoint is sealed with the checksums of all that going on from it takes; one whose seal does not hold is deleted.
"""

import json
import re
import shutil
import sys
import zlib
from pathlib import Path

import torch
from safetensors.torch import load_file

from tacred_utils.ground.files import write_text

SEAL = "checksums.json"
WEIGHTS = "model.safetensors"


def seal(checkpoint: Path, epochs: int, restore: str) -> None:
    """Write the checksums of a checkpoint's files, and of the weights that a mean over `epochs` epochs takes."""
    beside = _later_half(checkpoint.parent, epochs) if restore == "mean" else []
    files = [path for path in [*checkpoint.iterdir(), *beside] if path.name != SEAL]
    sums = {str(path.relative_to(checkpoint.parent)): _checksum(path) for path in files}
    write_text(checkpoint / SEAL, json.dumps(sums))


def _later_half(folder: Path, epochs: int) -> list[Path]:
    return [folder / f"epoch-{number}.safetensors" for number in range(epochs // 2 + 1, epochs + 1)]


def _checksum(path: Path) -> int:
    found = 0
    with path.open("rb") as file:
        while part := file.read(1 << 20):
            found = zlib.crc32(part, found)
    return found


def _number(path: Path) -> int:
    return int(re.findall(r"\d+", path.name)[0])


def last_whole(folder: Path, restore: str) -> Path | None:
    """The newest checkpoint from which training can go on and end as it should; damaged ones are told of and deleted.

    Where the best epoch is to be restored, it needs the checkpoint of that one too.
    """
    for path in sorted(folder.glob("checkpoint-*"), key=_number, reverse=True):
        damaged = _damaged(path)
        if damaged is None and restore == "best" and (best := state(path)["best_global_step"]) is not None:
            damaged = _damaged(folder / f"checkpoint-{best}")
        if damaged is None:
            return path
        print(
            f"{damaged}: is damaged or missing; training goes on from an earlier checkpoint, or starts anew.",
            file=sys.stderr,
            flush=True,
        )
        shutil.rmtree(path)
    return None


def _damaged(checkpoint: Path) -> Path | None:
    """The first file of a checkpoint that is not what was written, the seal among them; None if all are."""
    try:
        sums = json.loads((checkpoint / SEAL).read_text(encoding="utf-8")).items()
    except (OSError, ValueError):
        return checkpoint / SEAL
    files = [(checkpoint.parent / name, checksum) for name, checksum in sums]
    return next((path for path, checksum in files if not path.is_file() or _checksum(path) != checksum), None)


def state(checkpoint: Path) -> dict[str, object]:
    """What the Trainer knows there: steps, the history, which step was best."""
    return json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))


def keep_weights(checkpoint: Path, epoch: int) -> None:
    """Keep an epoch's weights beside its checkpoint, and of earlier ones those that a mean may need, from here or from
    the checkpoint before.
    """
    shutil.copyfile(checkpoint / WEIGHTS, checkpoint.parent / f"epoch-{epoch}.safetensors")
    for path in checkpoint.parent.glob("epoch-*.safetensors"):
        if _number(path) < epoch // 2:
            path.unlink()


def restored(last: Path, epochs: int, restore: str) -> dict[str, torch.Tensor]:
    """The weights of the best epoch, of the last one, or their mean over the later half of `epochs` (Izmailov et al.
    2018, without their second pass for batch norm: its statistics are averaged too).
    """
    if restore == "best":
        return load_file(last.parent / f"checkpoint-{state(last)['best_global_step']}" / WEIGHTS)
    mean = load_file(last / WEIGHTS)
    for count, path in enumerate(_later_half(last.parent, epochs) if restore == "mean" else [], 1):
        for name, weight in load_file(path).items():
            if weight.is_floating_point():
                mean[name] = weight if count == 1 else mean[name] + (weight - mean[name]) / count
    return mean

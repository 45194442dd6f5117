"""Checkpoints of a training: the last one that is whole, and the one whose weights a recipe restores in the end.

The Trainer writes its files one after the other, and reads them without a look at whether they are whole. So each
checkpoint is sealed with the checksums of its files; one whose seal does not hold is deleted.
"""

import json
import shutil
import sys
from pathlib import Path

from tacred_utils.ground.files import digest, write_text

SEAL = "checksums.json"


def seal(checkpoint: Path) -> None:
    """Write the checksums of a checkpoint's files beside them."""
    write_text(checkpoint / SEAL, json.dumps({path.name: digest(path) for path in checkpoint.iterdir()}))


def last_whole(folder: Path, restore: str) -> Path | None:
    """The newest checkpoint from which training can go on and end as it should; damaged ones are told of and deleted.

    Where the best epoch is to be restored, it needs the checkpoint of that one too.
    """
    steps = {path: path.name.partition("-")[2] for path in folder.glob("checkpoint-*/")}
    for path in sorted((path for path in steps if steps[path].isdecimal()), key=lambda path: -int(steps[path])):
        damaged = _damaged(path) or _damaged(restored(path, restore))
        if damaged is None:
            return path
        told = f"{damaged}: is damaged or missing; training goes on from an earlier checkpoint, or starts anew."
        print(told, file=sys.stderr, flush=True)
        shutil.rmtree(path)
    return None


def _damaged(checkpoint: Path) -> Path | None:
    """The first file of a checkpoint that is not what was written, the seal among them; None if all are."""
    try:
        sums = json.loads((checkpoint / SEAL).read_text(encoding="utf-8")).items()
    except (OSError, ValueError, AttributeError):  # the last of a list
        return checkpoint / SEAL
    files = [(checkpoint / name, checksum) for name, checksum in sums]
    return next((path for path, checksum in files if not path.is_file() or digest(path) != checksum), None)


def state(checkpoint: Path) -> dict[str, object]:
    """What the Trainer knows there: steps, the history, which step was best."""
    return json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))


def restored(last: Path, restore: str) -> Path:
    """The checkpoint whose weights are kept: that of the best epoch so far, or the last one."""
    best = state(last)["best_global_step"] if restore == "best" else None
    return last if best is None else last.parent / f"checkpoint-{best}"

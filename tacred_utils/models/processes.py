"""The process of a training: what is kept out of it and changed in it, and several of them that train together.

Where torchrun or `accelerate launch` start several, each takes its share of every batch, so that batches and steps are
those of one process; process 0 alone writes. Accelerate, which the Trainer works with, also reads environment variables:
a user's configuration sets them, a shell keeps them from other work. A run's settings alone say what happens in it.
"""

import ctypes
import gc
import logging
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tacred_utils.ground.errors import UserError
from tacred_utils.ground.paths import ROOT

if TYPE_CHECKING:
    import torch

TOLD = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")  # what a launcher tells each process
GROUPED = re.compile("(LOCAL_)?(RANK|WORLD_SIZE)|(OMPI|PMI|PMIX|MV2)_.*|MPI_LOCAL.*")  # variables that speak of a group
_OTHER_WAYS = re.compile("ACCELERATE_USE_(DEEPSPEED|FSDP|MEGATRON_LM|PARALLELISM_CONFIG|SAGEMAKER|TP)$")  # of training
_CONFIGURED = re.compile("(ACCELERATE|FSDP|DEEPSPEED|MEGATRON_LM|PARALLELISM_CONFIG)_")


def _group() -> tuple[int, int]:
    """Number of this process and of all that train together. Variables that were left over make no group: it is there
    where a launcher has told this process all of `TOLD`.
    """
    rank, size, *others = (os.environ.get(name, "") for name in TOLD)
    whole = all(others) and rank.isdigit() and size.isdigit() and int(rank) < int(size)
    return (int(rank), int(size)) if whole else (0, 1)


def rank() -> int:
    """Number of this process; 0 is the one that writes."""
    return _group()[0]


def count() -> int:
    """How many processes train together."""
    return _group()[1]


def share(rows: np.ndarray) -> np.ndarray:
    """This process's part of rows, which are all spread over the processes, each once."""
    return np.array_split(rows, count())[rank()]


def joined(part: np.ndarray, rows: int, device: "torch.device") -> np.ndarray:
    """(rows, K) from the parts (rows of `share`, K) of all processes, in order and the same in each of them."""
    import torch

    whole = torch.zeros(rows, part.shape[1], device=device)
    whole[torch.from_numpy(share(np.arange(rows)))] = torch.from_numpy(part).to(device)
    torch.distributed.all_reduce(whole)
    return whole.cpu().numpy()


def agreed(number: int, device: "torch.device") -> int:
    """The number that process 0 has, for all."""
    if count() == 1:
        return number
    import torch

    shared = torch.tensor(number, device=device)
    torch.distributed.broadcast(shared, 0)
    return int(shared)


def wait() -> None:
    """Go on when all processes have come here; without effect before training has joined them."""
    import torch

    if torch.distributed.is_initialized():
        torch.distributed.barrier()


def alone(module: str, arguments: list[str], text: str) -> None:
    """Run `python -m module` in a new process that is told of no others, with a text to read from standard input."""
    environment = {name: value for name, value in os.environ.items() if not GROUPED.fullmatch(name)}
    subprocess.run(
        [sys.executable, "-m", module, *arguments], input=text, env=environment, check=True, encoding="utf-8"
    )


def launch(arguments: list[str], processes: int, log: Path) -> None:
    """Run `python -m tacred_utils` with these arguments in so many processes of this machine; what they say goes to `log`.

    Raises `UserError` with the last of it when they fail. Ctrl-C stops all of them.
    """
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    threads = max(1, (os.cpu_count() or 1) // processes)  # torchrun gives each process one
    environment = {**os.environ, "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(threads))}
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", encoding="utf-8") as output:
        running = subprocess.Popen(
            [*command, "-m", "tacred_utils", *arguments], stdout=output, stderr=output, env=environment, cwd=ROOT
        )
        try:
            status = running.wait()
        except BaseException:
            running.terminate()  # torchrun passes it on; killed, it would leave the others behind
            running.wait()
            raise
    if status:
        said = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if "rror" in line]
        raise UserError(f"{processes} processes could not train: {said[0].strip() if said else status}; see {log}.")


@contextmanager
def isolated() -> Iterator[None]:
    """Train without the variables that Accelerate would take settings from, and without those of a group that is none.

    They are back when the block ends. Raises `UserError` for variables that ask for a way to train that is not here.
    """
    for name, value in os.environ.items():
        if _OTHER_WAYS.match(name) and value.lower() in ("1", "true", "yes", "on"):
            raise UserError(
                f"{name}={value}: models are trained whole in each process, not so; unset it, or launch with "
                "`accelerate launch --multi_gpu` or torchrun."
            )
    alone = count() == 1
    hidden = {
        name: value for name, value in os.environ.items()
        if _CONFIGURED.match(name) or alone and GROUPED.fullmatch(name)
    }  # fmt: skip
    for name in hidden:
        del os.environ[name]
    # oneDNN would keep kernels and buffers of the last thousand shapes, and hardly two batches have one: with 32 an epoch
    # of MiniLM's spans takes as long, and its peak is 1.6 GB instead of 2.0. It is read before the first product.
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "32")
    import transformers  # here: who only asks a model need not wait for it

    transformers.logging.set_verbosity_error()  # what they warn of is settled here, and would stand in notebooks
    logging.getLogger("accelerate").setLevel(logging.ERROR)
    try:
        yield
    finally:
        os.environ.update(hidden)


@cache
def spare_the_collector() -> None:
    """What was there before the first training stays; the Trainer's full collections cost 0.2 s each to visit it."""
    gc.collect()
    gc.freeze()


def give_back_memory() -> None:
    """Let glibc return what was freed to the system. Batches differ in shape, so that its heap fills with holes: a
    fine-tuning whose tensors take one gigabyte held three and a half. Without effect elsewhere.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)

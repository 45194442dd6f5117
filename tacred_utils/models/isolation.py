"""What a training keeps out of its process, and what it changes there: all of it here, each with its reason.

The settings of a run say what happens, and they are its identity. Accelerate, which the Trainer works with, also reads
environment variables: a user's configuration sets them through `accelerate launch`, a shell keeps them from other work.
"""

import ctypes
import gc
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch

from tacred_utils.ground.errors import UserError
from tacred_utils.models import processes

_CONFIGURED = re.compile("(ACCELERATE|FSDP|DEEPSPEED|MEGATRON_LM|PARALLELISM_CONFIG)_")
_OTHER_WAYS = re.compile("ACCELERATE_USE_(DEEPSPEED|FSDP|MEGATRON_LM|PARALLELISM_CONFIG|SAGEMAKER|TP)$")  # of training


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
    alone = processes.count() == 1
    hidden = {
        name: value for name, value in os.environ.items()
        if _CONFIGURED.match(name) or alone and processes.GROUPED.fullmatch(name)
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


@cache
def plan_no_attention() -> None:
    """cuDNN's attention plans each new shape of a batch, for a second and more; other kernels are as fast without."""
    torch.backends.cuda.enable_cudnn_sdp(False)


def give_back_memory() -> None:
    """Let glibc return what was freed to the system. Batches differ in shape, so that its heap fills with holes: a
    fine-tuning whose tensors take one gigabyte held three and a half. Without effect elsewhere.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)

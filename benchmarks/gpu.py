"""BERT's training on a GPU at bert-base's size: examples a second, share of the measured bfloat16 rate, peak memory.

python benchmarks/gpu.py TOKENIZER [epochs]

TOKENIZER is a folder with the files of bert-base-uncased's tokenizer (the packaged MiniLM has the same). The weights are
random, the corpus is the synthetic one at TACRED's size, and training is the family's own with the recipe of the paper.
"""

import sys
import tempfile
import time
from dataclasses import replace as replace_data
from pathlib import Path

import numpy as np
import torch
from msgspec.structs import replace
from transformers import AutoTokenizer, BertConfig, BertModel

from tacred_utils import training
from tacred_utils.models import transformer
from tacred_utils.registry import load_corpus
from tacred_utils.settings import load_profile

SIZE, REPEATS = 8192, 10
training.SAVE_EVERY = 10**9  # steps: at the ends of epochs only


def matrix_rate() -> float:
    """Floating-point operations a second of a square bfloat16 product, after three to warm up."""
    left, right = (torch.randn(SIZE, SIZE, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    for step in range(3 + REPEATS):
        if step == 3:
            torch.cuda.synchronize()
            start = time.perf_counter()
        left @ right
    torch.cuda.synchronize()
    return REPEATS * 2 * SIZE**3 / (time.perf_counter() - start)


def operations(lengths: np.ndarray, width: int = 768, layers: int = 13) -> float:
    """Of a row's matrix products on real pieces, forward: bert-base's twelve layers and the one the paper adds."""
    return float((2 * layers * 12 * width**2 * lengths + 4 * layers * width * lengths.astype(float) ** 2).mean())


def main(tokenizer: str, epochs: int = 10) -> None:
    corpus = load_corpus("sample", "data", scales=dict.fromkeys(("train", "dev", "test"), 1.0))
    corpus = replace_data(corpus, dev=corpus.dev[:2000], test=corpus.test[:2000])
    rate = matrix_rate()
    print(f"{torch.cuda.get_device_name()}; torch {torch.__version__}; bfloat16: {rate / 1e12:.0f} TFLOP/s", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        BertModel(BertConfig()).save_pretrained(folder)
        AutoTokenizer.from_pretrained(tokenizer).save_pretrained(folder)
        settings = replace(load_profile("paper").settings("bert"), model=folder)
        print("| batch | epochs | training s | examples/s | share of the rate | test rows/s | peak GB |", flush=True)
        print("|---:|---:|---:|---:|---:|---:|---:|")
        for size, times in ((512, 2), (50, epochs)):
            torch.cuda.reset_peak_memory_stats()
            run = Path(folder) / f"run-{size}" / "checkpoints"
            chosen = replace(settings, batch_size=size, epochs=times)
            details = transformer.fit(corpus, "joint", chosen, 13, run).details
            lengths = np.full(1, details["pieces_a_row"])
            seconds = details["training_seconds"]
            speed = times * details["fitted_rows"] / seconds
            scored = (len(corpus.dev) + len(corpus.test)) / details["seconds"]["predict"]
            peak = torch.cuda.max_memory_allocated() / 2**30
            share = 3 * speed * operations(lengths) / rate
            print(
                f"| {size} | {times} | {seconds:.0f} | {speed:.0f} | {share:.0%} | {scored:.0f} | {peak:.1f} |",
                flush=True,
            )


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))

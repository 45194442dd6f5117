"""Speed of BERT fine-tuning: the recipe as the published code pads it against ours, same rows and same weights.

python benchmarks/transformer.py [kbp37|conll04|sample] [data folder] [rows] [model] [epochs]
python benchmarks/transformer.py models [corpus] [data folder] [passes]

Naive loops: a dict of tensors for each row, default collation, shuffled batches of the same size, unfused AdamW, float32; padded
to 64 pieces (the published code), to 512 (the paper's Figure 2; on few rows), or to the longest of each batch. Ours is
the family's own training, in float32 and in bfloat16 where the machine has it. The share is that of the measured rate of
matrix products in the arithmetic used; only products on real pieces count, padding is waste. On a GPU the recipe is that of the profile `paper`, with and without
`torch.compile`, and in batches of 512 too; `model` may be a folder with a tokenizer alone (see `with_weights`).

`models` sets MiniLM, MPNet-base and SmolLM2 side by side, one recipe (spans, no marks): all pairs of a sentence in one
pass against one pass a row, float32 against bfloat16; an epoch of so many passes each.
"""

import resource
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace as replace_data
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from msgspec.structs import replace
from torch import nn
from torch.profiler import ProfilerActivity, profile
from torch.utils.data import DataLoader
from transformers import AutoTokenizer, BertConfig, BertModel, set_seed

from tacred_utils.corpora.example import Corpus
from tacred_utils.inputs.encoding import Encoded
from tacred_utils.models import transformer
from tacred_utils.models.networks import compute_dtype, tensors
from tacred_utils.models.pretrained import load_pretrained
from tacred_utils.models.settings import TransformerSettings
from tacred_utils.models.training import labelled
from tacred_utils.runs.profile import load_corpus, load_profile

GPU = torch.cuda.is_available()
DEVICE = torch.device("cuda" if GPU else "cpu")
SIZE, REPEATS = 8192 if GPU else 2048, 8
SEED = 13
PARTS = {  # what the profiler's operators belong to
    "matrix products": (
        "aten::mm",
        "aten::addmm",
        "aten::bmm",
        "scaled_dot_product",
        "mkldnn",
        "aten::linear",
    ),
    "random numbers of dropout": ("bernoulli",),
    "optimiser and clipping": ("adam", "zero_grad", "linalg_vector_norm", "foreach"),
    "moving and casting": ("copy_", "fill_", "empty", "cat", "to_copy", "index"),
}


class Speed(NamedTuple):
    """Rows a second in training, its seconds, and rows a second in scoring, where that was measured."""

    trained: float
    seconds: float
    scored: float | None = None


def wait() -> None:
    """Until the device has done what it was given."""
    if GPU:
        torch.cuda.synchronize()


def peak() -> int:
    """MB: of the GPU since it was last reset, or of this process since its start."""
    return (
        torch.cuda.max_memory_allocated() // 2**20
        if GPU
        else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    )


def matrix_rate(dtype: torch.dtype) -> float:
    """Floating-point operations a second of a square matrix product, the best of a few."""
    left, right = (torch.randn(SIZE, SIZE, device=DEVICE).to(dtype) for _ in range(2))
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        left @ right
        wait()
        seconds.append(time.perf_counter() - start)
    return 2 * SIZE**3 / min(seconds)


def operations(model: transformer.Classifier, lengths: np.ndarray) -> float:
    """Of the matrix products, forward, for texts of these lengths: layers' weights and attention; no embedding."""
    config, tables = (
        model.backbone.config,
        {id(part.weight) for part in model.modules() if isinstance(part, nn.Embedding)},
    )
    stacks = [model.backbone, *([model.extra] if model.extra is not None else [])]
    weights = sum(  # a piece
        each.numel() for stack in stacks for each in stack.parameters() if each.ndim == 2 and id(each) not in tables
    )
    layers = config.num_hidden_layers + (model.extra is not None)
    return float((2 * weights * lengths + 4 * layers * config.hidden_size * lengths.astype(float) ** 2).sum())


def prepared(corpus: Corpus, settings: TransformerSettings) -> tuple[transformer.Classifier, dict[str, Encoded]]:
    """The model with the same weights each time, and the splits encoded."""
    loaded = load_pretrained(settings.model, settings.own, corpus, Path(tempfile.gettempdir()))
    set_seed(SEED)
    encoder, _ = transformer.make_encoder(corpus, settings, loaded)
    encoded = {split: encoder.encode(corpus.split(split)) for split in ("train", "dev", "test")}
    classes = labelled(corpus, "joint", encoded).seen_classes
    return transformer.Classifier(loaded.backbone, len(classes), settings, encoder).to(DEVICE), encoded


def items(encoded: Encoded, target: np.ndarray, width: int) -> list[dict[str, torch.Tensor]]:
    """Row by row: tensors padded to `width`."""
    rows = []
    for row in range(len(encoded)):
        batch = encoded.batch(np.array([row]))
        ids = torch.zeros(width, dtype=torch.long)
        ids[: batch["lengths"][0]] = torch.from_numpy(batch["input_ids"][0][: batch["lengths"][0]])
        spans = {name: torch.from_numpy(batch[name][0]) for name in ("subject", "object")}
        rows.append(spans | {"input_ids": ids, "lengths": int(batch["lengths"][0]), "labels": int(target[row])})
    return rows


def to_longest(rows: list[dict]) -> dict[str, torch.Tensor]:
    """Default collation, cut to the longest row of the batch."""
    batch = torch.utils.data.default_collate(rows)
    return batch | {"input_ids": batch["input_ids"][:, : int(batch["lengths"].max())]}


def naive(corpus: Corpus, settings: TransformerSettings, width: int, collate: Callable | None = None) -> Speed:
    """A plain float32 loop over the training rows, once."""
    defects = ["cut_at_64"] if width == 64 else []
    model, encoded = prepared(corpus, replace(settings, precision="float32", defects=defects))
    data = labelled(corpus, "joint", encoded)
    rows = items(encoded["train"], data.splits["train"].target, width)
    optimizer = torch.optim.AdamW(
        model.parameters(), settings.learning_rate, weight_decay=0.01, fused=False, foreach=False
    )
    model.train()
    start = time.perf_counter()
    for batch in DataLoader(rows, settings.batch_size, shuffle=True, collate_fn=collate):
        optimizer.zero_grad()
        batch = {name: values.to(DEVICE) for name, values in batch.items()}
        labels = batch.pop("labels")
        nn.functional.cross_entropy(model(**batch)["logits"], labels).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    wait()
    seconds = time.perf_counter() - start
    return Speed(len(rows) / seconds, seconds)


def ours(corpus: Corpus, settings: TransformerSettings) -> Speed:
    """The family's own training and scoring; the scoring of epochs is taken out."""
    with tempfile.TemporaryDirectory() as folder:
        details = transformer.fit(corpus, "joint", settings, SEED, Path(folder) / "run" / "checkpoints").details
    seconds = details["training_seconds"]
    scored = (len(corpus.dev) + len(corpus.test)) / details["seconds"]["predict"]
    return Speed(details["epochs"] * details["fitted_rows"] / seconds, seconds, scored)


def breakdown(corpus: Corpus, settings: TransformerSettings) -> str:
    """Where a processor's time of a few training steps goes, by the profiler."""
    model, encoded = prepared(corpus, settings)
    optimizer = torch.optim.AdamW(model.parameters(), settings.learning_rate, fused=True)
    order = np.argsort(encoded["train"].lengths)[: 6 * settings.batch_size]

    def step(rows: np.ndarray) -> None:
        batch = tensors(encoded["train"].batch(rows), DEVICE)
        optimizer.zero_grad()
        model(**batch)["logits"].float().logsumexp(1).mean().backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    batches = np.array_split(order, 6)
    for rows in batches:  # kernels are made for every width
        step(rows)
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        for rows in batches:
            step(rows)
    spent = {event.key: event.self_cpu_time_total for event in profiler.key_averages()}
    shares, total = dict.fromkeys(PARTS, 0.0), sum(spent.values())
    for name, micros in spent.items():
        part = next((part for part, keys in PARTS.items() if any(key in name.lower() for key in keys)), None)
        if part:
            shares[part] += micros / total
    shares["the rest (activations, norms, softmax, the graph)"] = 1 - sum(shares.values())
    return "\n".join(f"- {part}: {share:.0%}" for part, share in shares.items())


def with_weights(model: str, folder: Path) -> str:
    """`model` itself, or, where it is a folder with a tokenizer alone, one with random weights of bert-base's sizes too."""
    if not Path(model).is_dir() or (Path(model) / "model.safetensors").exists():
        return model
    BertModel(BertConfig()).save_pretrained(folder)
    AutoTokenizer.from_pretrained(model).save_pretrained(folder)
    return str(folder)


def loops(corpus: Corpus, settings: TransformerSettings) -> list[tuple[str, int, torch.dtype, Callable[[], Speed]]]:
    """What is compared: a title, how many training rows it takes, its arithmetic and what measures it."""
    few, some = (replace_data(corpus, train=corpus.train[:size]) for size in (50, 2000))
    native, exact, rows = compute_dtype("auto"), replace(settings, precision="float32"), len(corpus.train)
    kind, times = str(native)[6:], f"epochs: {settings.epochs}"
    found = [
        ("padded to 64, as the paper's code", len(some.train), torch.float32, lambda: naive(some, settings, 64)),
        ("padded to 512, as its Figure 2, not warm", len(few.train), torch.float32, lambda: naive(few, settings, 512)),
        (
            "padded per batch, in shuffled order", len(some.train), torch.float32,
            lambda: naive(some, settings, 512, to_longest),
        ),
    ]  # fmt: skip
    if GPU:
        for size in (512, settings.batch_size):
            plain = replace(settings, batch_size=size)
            fast = replace(plain, compile=True)
            title = f"ours, {kind}, batches of {size}, {times}"
            found.append((f"{title}, compiled", rows, native, lambda fast=fast: ours(corpus, fast)))
            found.append((title, rows, native, lambda plain=plain: ours(corpus, plain)))
        return found
    found.append((f"ours, float32, {times}", rows, torch.float32, lambda: ours(corpus, exact)))
    if native != torch.float32:
        found.append((f"ours, {kind}, {times}", rows, native, lambda: ours(corpus, settings)))
    return found


def main(name: str = "kbp37", data: str = "data", rows: int = 2000, model: str = "minilm", epochs: int = 1) -> None:
    corpus = load_corpus(name, data, scales=dict.fromkeys(("train", "dev", "test"), 1.0))
    corpus = replace_data(corpus, train=corpus.train[:rows], dev=corpus.dev[:500], test=corpus.test[:500])
    with tempfile.TemporaryDirectory() as folder:
        given = {"model": with_weights(model, Path(folder)), "balance": 0.0, "epochs": epochs, "min_steps": 0}
        settings = replace(load_profile("paper" if GPU else "open").settings("bert"), **given)
        classifier, encoded = prepared(corpus, settings)
        lengths = encoded["train"].lengths
        rates = {dtype: matrix_rate(dtype) for dtype in {torch.float32, compute_dtype("auto")}}
        print(
            f"{name}: {len(lengths):,} training rows of {lengths.mean():.1f} pieces; {model}; batches of "
            f"{settings.batch_size}; torch {torch.__version__}; "
            f"{torch.cuda.get_device_name() if GPU else f'{torch.get_num_threads()} threads'}; "
            + "; ".join(f"{str(dtype)[6:]}: {rate / 1e9:.0f} GFLOP/s" for dtype, rate in rates.items())
        )
        print(
            "\n| | rows | training s | examples/s | times the first | share of the rate | scored/s | share | peak MB |"
        )
        print("|---|---:|---:|---:|---:|---:|---:|---:|---:|")
        first = None
        for title, size, dtype, run in loops(corpus, settings):
            if GPU:
                torch.cuda.reset_peak_memory_stats()
            speed = run()
            first = first or speed.trained
            work = operations(classifier, lengths[:size]) / size / rates[dtype]  # seconds a row at that rate, forward
            cells = [f"{size:,}", f"{speed.seconds:.1f}", f"{speed.trained:.1f}", f"{speed.trained / first:.2f}"]
            cells.append(f"{3 * speed.trained * work:.0%}")
            cells += [f"{speed.scored:.0f}", f"{speed.scored * work:.0%}"] if speed.scored else ["", ""]
            print(f"| {title} | {' | '.join(cells)} | {peak()} |", flush=True)
        if not GPU:
            print(
                f"\nWhere the time of training goes (precision {settings.precision}):\n\n{breakdown(corpus, settings)}"
            )


def models(name: str = "redocred_small", data: str = "data", passes: int = 320) -> None:
    """Examples a second in training and the share of the matrix-product rate, by model, ways to share, and precision."""
    corpus = load_corpus(name, data)
    firsts = np.unique([" ".join(row.token) for row in corpus.train], return_index=True)[1]
    firsts = np.sort(firsts)[:passes]  # a row of each of so many sentences
    rows = {True: corpus.train[: firsts[-1] + 1], False: [corpus.train[row] for row in firsts]}
    rates = {dtype: matrix_rate(dtype) for dtype in (torch.float32, compute_dtype("auto"))}
    told = "; ".join(f"{str(dtype)[6:]}: {rate / 1e9:.0f} GFLOP/s" for dtype, rate in rates.items())
    print(f"{name}: {len(firsts)} passes an epoch, {len(rows[True]) / len(firsts):.1f} pairs a sentence; {told}\n")
    print("| model | pass for | precision | pieces a pass | examples/s | passes/s | share of the rate |")
    print("|---|---|---|---:|---:|---:|---:|")
    for model, shared, precision in product(("minilm", "mpnet-base", "smollm2"), (True, False), ("float32", "auto")):
        part = replace_data(corpus, train=rows[shared], dev=corpus.dev[:64], test=corpus.test[:64])
        given = {"model": model, "precision": precision, "whole_texts": shared, "batch_size": 16, "tags": False}
        given |= {"epochs": 1, "min_steps": 0}
        settings = load_profile("open").settings("bert", "spans", given)
        classifier, encoded = prepared(part, settings)
        texts = np.diff(encoded["train"].offsets) if shared else encoded["train"].lengths  # (passes,)
        work = operations(classifier, texts) / rates[compute_dtype(precision)]  # seconds at that rate, forward
        del classifier
        speed = ours(part, settings)
        cells = [f"{texts.mean():.0f}", f"{speed.trained:.0f}", f"{len(texts) / speed.seconds:.1f}"]
        cells.append(f"{3 * work / speed.seconds:.0%}")
        reader = "a sentence" if shared else "a row"
        print(f"| {model} | {reader} | {str(compute_dtype(precision))[6:]} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["models"]:
        models(*(kind(value) for kind, value in zip((str, str, int), sys.argv[2:], strict=False)))
        sys.exit()
    main(*(kind(value) for kind, value in zip((str, str, int, str, int), sys.argv[1:], strict=False)))

"""Speed of the BiLSTM against the same recipe written as the published code writes it, on the same rows.

python benchmarks/bilstm.py [kbp37|sample] [data folder] [epochs] [scale]

Naive: a dict of tensors for each row, padded to 60 tokens, default collation, shuffled batches of 32, packed
sequences, unfused AdamW. Ours: flat arrays, batches of like length without packing. The share is that of this machine's
measured rate of float32 matrix products which the LSTM's own products take up (forward, and twice that backward).
"""

import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from msgspec.structs import replace
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence
from torch.utils.data import DataLoader

from tacred_utils.metrics.counts import all_scores
from tacred_utils.models import bilstm
from tacred_utils.models.networks import class_weights, undersample
from tacred_utils.models.settings import BilstmSettings, FitResult
from tacred_utils.runs.profile import load_corpus, load_profile

SIZE, REPEATS = 2048, 5


def matrix_rate() -> float:
    """Floating-point operations a second of a float32 matrix product, the best of a few."""
    left, right = torch.randn(SIZE, SIZE), torch.randn(SIZE, SIZE)
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        left @ right
        seconds.append(time.perf_counter() - start)
    return 2 * SIZE**3 / min(seconds)


def operations(settings: BilstmSettings, inputs: int, tokens: int) -> int:
    """Of the LSTM's matrix products, forward, over so many tokens."""
    sizes = [inputs, *[2 * settings.hidden] * (settings.layers - 1)]
    return sum(2 * 2 * 4 * settings.hidden * (size + settings.hidden) for size in sizes) * tokens


class Packed(nn.Module):
    """One bidirectional layer over packed rows, in the place of PaddedLstm."""

    def __init__(self, inputs: int, hidden: int, bidirectional: bool) -> None:
        super().__init__()
        self.lstm = nn.LSTM(inputs, hidden, batch_first=True, bidirectional=bidirectional)

    def forward(self, inputs: torch.Tensor, padding: torch.Tensor) -> torch.Tensor:
        lengths = (padding == 0).sum(1).flatten()
        packed = pack_padded_sequence(inputs, lengths, batch_first=True, enforce_sorted=False)
        return nn.utils.rnn.pad_packed_sequence(self.lstm(packed)[0], batch_first=True, total_length=inputs.shape[1])[0]


def items(encoded, target: np.ndarray) -> list[dict[str, torch.Tensor]]:
    """Row by row: tensors padded to 60."""
    rows = []
    for row in range(len(encoded)):
        batch = encoded.batch(np.array([row]))
        item = {name: torch.tensor(values[0]) for name, values in batch.items()}
        for name in encoded.flat:
            item[name] = torch.cat([item[name], torch.zeros(60 - len(item[name]), dtype=torch.long)])
        rows.append(item | {"labels": torch.tensor(target[row])})
    return rows


def naive(corpus, settings: BilstmSettings, seed: int) -> tuple[float, float, float]:
    """Examples a second in training and scoring, and dev micro F1 of the last epoch."""
    torch.manual_seed(seed)
    encoder, _ = bilstm.make_encoder(corpus, "joint", settings)
    known = sorted({row.relation for row in corpus.train})
    gold = {split: [row.relation for row in corpus.split(split)] for split in ("train", "dev")}
    kept = undersample(gold["train"], np.arange(len(corpus.train)), settings.max_ratio, seed)
    target = np.array([known.index(label) for label in gold["train"]])[kept]
    train = items(encoder.encode([corpus.train[row] for row in kept]), target)
    dev = items(encoder.encode(corpus.dev), np.zeros(len(corpus.dev), int))
    padded, bilstm.PaddedLstm = bilstm.PaddedLstm, Packed
    model = bilstm.BilstmClassifier(encoder, len(known), settings)
    bilstm.PaddedLstm = padded
    optimizer = torch.optim.AdamW(model.parameters(), settings.learning_rate, weight_decay=settings.weight_decay)
    weights = torch.tensor(class_weights(target, len(known), settings.balance), dtype=torch.float32)
    spent = 0.0
    for _ in range(settings.epochs):
        start = time.perf_counter()
        for batch in DataLoader(train, settings.batch_size, shuffle=True, drop_last=True):
            optimizer.zero_grad()
            logits = model(**{name: values for name, values in batch.items() if name != "labels"})["logits"]
            nn.functional.cross_entropy(logits, batch["labels"], weights).backward()
            nn.utils.clip_grad_norm_(model.parameters(), settings.max_grad_norm)
            optimizer.step()
        spent += time.perf_counter() - start
    model.eval()
    start, answers = time.perf_counter(), []
    with torch.no_grad():
        for batch in DataLoader(dev, settings.batch_size):
            answers += (
                model(**{name: values for name, values in batch.items() if name != "labels"})["logits"]
                .argmax(1)
                .tolist()
            )
    seconds = time.perf_counter() - start
    f1 = all_scores(gold["dev"], [known[answer] for answer in answers])["micro_f1"]
    return settings.epochs * len(train) / spent, len(dev) / seconds, f1


def ours(corpus, settings: BilstmSettings, seed: int) -> tuple[float, float, float, FitResult]:
    """The same of the family; the time of scoring within training is taken out."""
    with tempfile.TemporaryDirectory() as folder:
        outcome = bilstm.fit(corpus, "joint", settings, seed, Path(folder))
    seconds = outcome.details["seconds"]
    scored = (len(corpus.dev) + len(corpus.test)) / seconds["predict"]
    rows = settings.epochs * outcome.details["fitted_rows"]
    return rows / outcome.details["training_seconds"], scored, outcome.history[-1]["dev_micro_f1"], outcome


def main(name: str = "kbp37", data: str = "data", epochs: int = 3, scale: float = 1.0) -> None:
    corpus = load_corpus(name, data, scales=dict.fromkeys(("train", "dev", "test"), scale))
    settings = replace(load_profile("open").settings("bilstm"), epochs=epochs, restore="last", patience=0)
    rate = matrix_rate()
    tokens = np.mean([min(len(row.token), settings.max_tokens) for row in corpus.train])
    columns = settings.pos_dim * ("stanford_pos" in corpus.columns) + settings.ner_dim * (
        "stanford_ner" in corpus.columns
    )
    work = operations(settings, settings.word_dim + 2 * settings.position_dim + columns, 1) * tokens
    print(
        f"{name}: {len(corpus.train)} training rows of {tokens:.1f} tokens; {torch.get_num_threads()} threads; {rate / 1e9:.0f} GFLOP/s in matrix products"
    )
    print(f"limit: {rate / work / 3:.0f} examples a second in training, {rate / work:.0f} in scoring\n")
    print("| | training, examples/s | share of limit | scoring, examples/s | share of limit | dev micro F1 | peak MB |")
    print("|---|---|---|---|---|---|---|")
    found = {}
    for who, function in (("ours", ours), ("naive", naive)):
        found[who] = function(corpus, settings, 13)
        train, scored, f1 = found[who][:3]
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        print(
            f"| {who} | {train:.0f} | {3 * train * work / rate:.0%} | {scored:.0f} | {scored * work / rate:.0%} | {f1:.3f} | {peak} |",
            flush=True,
        )
    print(
        f"\nfaster: {found['ours'][0] / found['naive'][0]:.1f} times in training, {found['ours'][1] / found['naive'][1]:.1f} times in scoring"
    )
    rows = found["ours"][3].details["fitted_rows"]
    print(f"an epoch of {rows} rows: {rows / found['ours'][0]:.0f} s (ours), {rows / found['naive'][0]:.0f} s (naive)")


if __name__ == "__main__":
    main(*(kind(value) for kind, value in zip((str, str, int, float), sys.argv[1:], strict=False)))

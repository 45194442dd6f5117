"""Which rows of a corpus: a smaller corpus of the same mix, and the rows whose sentence stands in training too."""

import random
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace

from tacred_utils.corpora.example import Corpus, Example
from tacred_utils.ground.labels import SPLITS, TACRED_SPLIT_SIZES


def subset(corpus: Corpus, scales: Mapping[str, float]) -> Corpus:
    """Cut every split to `scales` of TACRED's size, keeping file order, the label mix and at least one row a label."""
    parts = {}
    for split in SPLITS:
        examples, rows = corpus.split(split), round(scales[split] * TACRED_SPLIT_SIZES[split])
        parts[split] = stratified(examples, rows) if scales[split] < 1 and rows < len(examples) else examples
    if all(len(parts[split]) == len(corpus.split(split)) for split in SPLITS):
        return corpus
    sizes = " / ".join(f"{len(part):,}" for part in parts.values())
    whole = " / ".join(f"{len(corpus.split(split)):,}" for split in SPLITS)
    stated = f"stratified subset of {sizes} rows"
    return replace(corpus, subset=stated, left_out={}, **parts).noting(f"the whole corpus has {whole} rows")


def stratified(examples: list[Example], rows: int) -> list[Example]:
    """About `rows` Examples in file order, each label in proportion but at least once; the same ones every time."""
    by_label: dict[str, list[int]] = defaultdict(list)
    for index, example in enumerate(examples):
        by_label[example.relation].append(index)
    chosen: list[int] = []
    for label in sorted(by_label):
        members = by_label[label]
        chosen += random.Random(f"stratified {label}").sample(
            members, max(1, round(rows * len(members) / len(examples)))
        )
    return [examples[index] for index in sorted(chosen)]


def in_training(corpus: Corpus, split: str) -> list[bool]:
    """For each row of a split, in order, whether its sentence stands in training too, word for word."""
    trained = {tuple(example.token) for example in corpus.train}
    return [tuple(example.token) in trained for example in corpus.split(split)]

"""Evidence on the claims from what the paper and its authors' notebook print, and nothing else.

Differences of printed scores carry the rounding of both; what is an estimate over test rows says so by its origin.
"""

import math
from collections.abc import Iterator
from itertools import product

import numpy as np

from tacred_utils.ground.labels import NO_RELATION, TACRED_SPLIT_SIZES
from tacred_utils.metrics.estimates import SEED, Estimate
from tacred_utils.paper import consistency, published
from tacred_utils.paper.claims import ABOVE_0, BELOW_0, PRINTED, TACRED, Evidence, Range, measured_as
from tacred_utils.paper.consistency import HALF, TESTED


def from_the_paper() -> Iterator[Evidence]:
    """Evidence that needs nothing but what the paper and its authors' notebook print; intervals are of rounding."""
    for check in consistency.checks().query("claim != ''").itertuples():
        edge = max(check.tolerance, 1e-6)
        needs = (check.printed - edge, check.printed + edge)
        yield _printed(check.claim, check.check, float(check.recomputed), 0.0, needs, check.place)
    yield from _printed_differences()
    yield from _printed_losses()
    yield from _printed_classes()


def _printed(claim: str, measured: str, value: float, half: float, needs: Range, source: str) -> Evidence:
    """A figure computed from printed ones, which rounding leaves uncertain by `half`."""
    return Evidence(claim, measured, PRINTED, value, value - half, value + half, needs, source)


def _printed_differences() -> Iterator[Evidence]:
    """Gains of Table 3 over Table 2, and how far GPT-2 is below the others in each."""
    tables, names = {"joint": "Table 2", "relation_only": "Table 3"}, ("macro", "weighted")
    score = {
        (family, task, name): published.paper_scores(family, task, place)[f"{name}_f1"]
        for family, (task, place), name in product(("bilstm", "bert", "gpt2"), tables.items(), names)
    }
    gains = {(f, name): value - score[f, "joint", name] for (f, task, name), value in score.items() if task != "joint"}
    for (family, name), gain in gains.items():
        yield _printed("C5", f"{family}: gain in {name} F1", gain, 2 * HALF, (0.15, math.inf), "Tables 2 and 3")
    for other in ("bert", "gpt2"):
        ahead = gains["bilstm", "macro"] - gains[other, "macro"]
        yield _printed("C6", f"bilstm − {other}: gain in macro F1", ahead, 4 * HALF, ABOVE_0, "Tables 2 and 3")
    for family, (task, place), name in product(("bilstm", "bert"), tables.items(), names):
        ahead = score[family, task, name] - score["gpt2", task, name]
        yield _printed("C8", f"{family} − gpt2, {task}: {name} F1", ahead, 2 * HALF, (0.2, math.inf), place)


def _printed_losses() -> Iterator[Evidence]:
    """C10: dev loss beside training loss, where up to twice counts as no over-fitting, and whether dev F1 falls."""
    for task, part in published.overall().query("table == 'A.2'").groupby("task"):
        loss = part.set_index("score").value
        ratio = loss.dev_loss / loss.train_loss
        yield _printed("C10", f"bilstm {task}: dev loss over training loss", ratio, 0.0, (0.0, 2.0), "A.2")
    history, place = published.bert_history().query("task == 'joint'"), "authors' notebook"
    ratio = history.dev_loss.iloc[-1] / history.train_loss.iloc[-1]
    yield _printed("C10", "bert joint: dev loss over training loss, last epoch", ratio, 0.0, (0.0, 2.0), place)
    fall = history.weighted_f1.iloc[-1] - history.weighted_f1.max()
    yield _printed("C10", "bert joint: weighted F1 on dev, last epoch − best", fall, 1e-4, (-0.01, math.inf), place)


def _printed_classes() -> Iterator[Evidence]:
    """C3 from Table 10, C9 from the authors' thirds, C11 from Tables 8 to 11, C16 from Table 12."""
    classes = published.per_class()
    one = classes.query("table == 'Table 10' and label == @NO_RELATION").iloc[0]
    rows = [(one.recall + shift) * TESTED / (one.precision - shift) for shift in (0, -HALF, HALF)]
    value, low, high = ((answered - TESTED) / TACRED_SPLIT_SIZES["test"] for answered in rows)
    what = "bert joint: share answered no_relation − its share in gold"
    yield Evidence("C3", what, PRINTED, value, low, high, ABOVE_0, "Table 10")
    place = "authors' notebook"
    thirds = published.overall().query("table == @place and score == 'weighted_r'").set_index("rows").value
    middle, longest = (thirds.filter(like=name).iloc[0] for name in ("middle", "longest"))
    size = TACRED_SPLIT_SIZES["test"] // 3
    half = 1.96 * math.sqrt((longest * (1 - longest) + middle * (1 - middle)) / size)  # of two shares of rows
    fall, what = longest - middle, "bert joint: accuracy, longest third − middle third"
    yield Evidence("C9", what, TACRED, fall, fall - half, fall + half, BELOW_0, place, n=2 * size)
    for place, part in classes[classes.label != NO_RELATION].groupby("table"):
        if part.family.iloc[0] != "svm":
            what = f"{part.family.iloc[0]} {part.task.iloc[0]}: highest − lowest F1 of a relation"
            yield _printed("C11", what, part.f1.max() - part.f1.min(), 2 * HALF, (0.5, math.inf), place)
    share = published.table_12() / published.table_12().sum()
    batches = np.random.default_rng(SEED).multinomial(50, share, size=2000) > 0
    held = Estimate.drawn((1 - (1 - share) ** 50).mean(), batches.mean(axis=1), len(share), "batches")
    what = "share of the 42 labels that a batch of 50 holds"
    yield measured_as("C16", what, TACRED, held, (0.5, math.inf), "Table 12")

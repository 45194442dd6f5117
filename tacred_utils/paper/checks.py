"""The paper held against itself: what it prints twice, and what its own figures add up to.

Everything is recomputed from `published`. A check agrees when printed and recomputed value differ by no more than its
tolerance, the largest difference that rounding can make; so a check that fails cannot be blamed on rounding.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd

from tacred_utils.ground.labels import NO_RELATION, RELATION, TACRED_SPLIT_SIZES
from tacred_utils.paper import published

HALF = 0.005 + 1e-9  # half a unit of the second decimal, in which the paper prints scores
WIDTH = 768  # of bert-base-uncased's states (Devlin et al. 2019)
HEAD, LABELS = 256, 42  # the paper, 3.2 and Figure 2
CHANCE = 2  # of the six values of a table, so many may be another task's by chance
TRAIN_NEGATIVES, TEST_NEGATIVES = 55_112, 12_184  # rows of no_relation (Zhang et al. 2017; Table 8 has the second)
TRAIN_ROWS, TEST_ROWS = TACRED_SPLIT_SIZES["train"], TACRED_SPLIT_SIZES["test"]


class Check(NamedTuple):
    """One printed value against its recomputation."""

    place: str
    check: str
    printed: float
    recomputed: float
    tolerance: float
    claim: str = ""  # that rests on it


def all_checks() -> pd.DataFrame:
    """Every check: columns place, check, printed, recomputed, tolerance, claim, agrees (yes or no)."""
    groups = (_counts, _figure_2, _largest_class, _svm, _same_scores, _class_rows)
    rows = [check for group in groups for check in group()]
    agrees = ["yes" if abs(row.printed - row.recomputed) <= row.tolerance else "no" for row in rows]
    return pd.DataFrame(rows, columns=Check._fields, dtype=object).assign(agrees=agrees)  # counts stay whole numbers


def figure_2_counts() -> dict[str, int]:
    """Figure 2's parameter counts by its places, weights plus biases, from bert-base-uncased's configuration alone."""
    vocabulary, positions, layers, inner = 30_522, 512, 12, 3_072

    def linear(inputs: int, outputs: int) -> int:
        return inputs * outputs + outputs

    attention, norm = 4 * linear(WIDTH, WIDTH), 2 * WIDTH
    wide, narrow = linear(WIDTH, inner), linear(inner, WIDTH)
    return {
        "3-1": vocabulary * WIDTH, "3-2": 2 * WIDTH, "3-3": positions * WIDTH, "3-4": norm,
        "3-6": layers * (attention + wide + narrow + 2 * norm), "3-7": linear(WIDTH, WIDTH),
        "2-4": attention, "2-6": norm, "2-7": wide, "2-9": narrow, "2-11": norm,
        "1-4": linear(WIDTH, HEAD), "1-6": linear(HEAD, LABELS),
    }  # fmt: skip


def largest_class_only() -> dict[str, float]:
    """What a system scores on TACRED's test split that answers `no_relation` throughout, over 42 labels."""
    share = TEST_NEGATIVES / TEST_ROWS  # its precision; its recall is 1
    f1 = 2 * share / (1 + share)
    means = {"macro_p": share / LABELS, "macro_r": 1 / LABELS, "macro_f1": f1 / LABELS}
    return means | {"weighted_p": share**2, "weighted_r": share, "weighted_f1": share * f1}


def answered_no_relation(table: str) -> tuple[float, float, float]:
    """Share of rows that the system of a table answers with `no_relation`, with its least and its largest by rounding.

    A class with precision P, recall R and n rows is answered Rn / P times.
    """
    row = published.class_rows(table).loc[NO_RELATION]
    shares = [(row.recall + shift) / (row.precision - shift) for shift in (0, -HALF, HALF)]
    return tuple(share * TEST_NEGATIVES / TEST_ROWS for share in shares)


def micro_f1_of(table: str) -> tuple[float, float, float]:
    """Micro F1 over relations from a table's precision, recall and support by class, with its range by rounding.

    A class named rightly Rn times is answered Rn / P times; one with a printed P of 0 is taken as never answered.
    """
    rows = published.class_rows(table).drop(NO_RELATION)
    found, total = [], rows.support.sum()
    for shift in (0, -HALF, HALF):
        correct = (rows.recall + shift).clip(0, 1) * rows.support
        answered = (correct / (rows.precision + shift).clip(HALF, 1))[rows.precision > 0].sum()
        found.append(2 * correct.sum() / (answered + total))
    return tuple(found)


def f1_and_rows(*tables: str) -> tuple[np.ndarray, np.ndarray]:
    """Mean F1 of each relation over class tables, and its rows in train and dev, (relations,) both."""
    rows = published.class_tables().query("table in @tables and label != @NO_RELATION").groupby("label")
    f1, support = rows.f1.mean(), rows.support.first()
    return f1.to_numpy(), (published.relation_counts()[f1.index] - support).to_numpy()


def gains() -> dict[tuple[str, str], float]:
    """(family, macro or weighted) → F1 of Table 3 minus that of Table 2, as the paper's text subtracts them."""
    found = {}
    for family in ("bilstm", "bert", "gpt2"):
        before = published.paper_scores(family, "joint", "Table 2")
        after = published.paper_scores(family, "relation_only", "Table 3")
        found |= {(family, name): after[f"{name}_f1"] - before[f"{name}_f1"] for name in ("macro", "weighted")}
    return found


def labels_in_a_batch() -> float:
    """Expected number of the 42 labels that a batch of 50 holds, at TACRED's training prevalence.

    The paper counts relations over all splits only (Table 12): their shares are taken from there, that of `no_relation`
    from the training split.
    """
    relations = published.relation_counts().drop(NO_RELATION)
    negative = TRAIN_NEGATIVES / TRAIN_ROWS
    share = np.append((1 - negative) * relations / relations.sum(), negative)
    return float((1 - (1 - share) ** 50).sum())


def repeated_in_table_4() -> int:
    """How many of Table 4's values (the SVM on all data) are those of Table 6 (the binary task)."""
    overall = published.overall().set_index(["table", "score"]).value
    return int((overall["Table 4"] == overall["Table 6"][overall["Table 4"].index]).sum())


def averages(rows: pd.DataFrame) -> dict[str, float]:
    """Macro and weighted averages of class rows (precision, recall, f1, support); accuracy is weighted recall."""
    found = {}
    for short, name in {"p": "precision", "r": "recall", "f1": "f1"}.items():
        found[f"macro_{short}"] = rows[name].mean()
        found[f"weighted_{short}"] = np.average(rows[name], weights=rows.support)
    return found | {"accuracy": found["weighted_r"]}


def rows_that_fit(rows: pd.DataFrame) -> int:
    """How many class rows have an F1 that precision and recall, each within its rounding, allow."""

    def f1(shift: float) -> pd.Series:
        precision, recall = ((rows[name] + shift).clip(0, 1) for name in ("precision", "recall"))
        return (2 * precision * recall / (precision + recall)).fillna(0)

    return int(rows.f1.between(f1(-HALF) - HALF, f1(HALF) + HALF).sum())


def _counts() -> Iterator[Check]:
    full, top = published.relation_counts(), published.relation_counts("Table 1")
    yield Check("section 1, Table 12", "instances in all", sum(TACRED_SPLIT_SIZES.values()), full.sum(), 0, "C1")
    yield Check("section 1, Table 12", "labels, no_relation among them", LABELS, len(full), 0, "C1")
    share = full[NO_RELATION] / full.sum()
    yield Check("section 1, Table 12", "share of no_relation", 0.80, share, HALF, "C1")
    ratio = TRAIN_NEGATIVES / (TRAIN_ROWS - TRAIN_NEGATIVES)
    for label, count in top.items():
        yield Check("Tables 1 and 12", f"rows of {label}", count, full[label], 0)
    yield Check("section 3.1, split sizes", "no_relation for a relation, training", 4.2, ratio, 0.05, "C2")
    supports = published.class_tables().query("label not in [@NO_RELATION, @RELATION]")
    one = int((supports.groupby("label").support.nunique() == 1).sum())
    yield Check("Tables 7 to 11", "relations with one support in all tables", LABELS - 1, one, 0)


def _figure_2() -> Iterator[Check]:
    printed = published.parameter_counts().dropna(subset="parameters").set_index("place")
    counts = figure_2_counts()
    for place, row in printed.iterrows():
        yield Check("Figure 2", f"{place} {row.layer}", int(row.parameters), counts[place], 0)
    right = sum(int(printed.parameters[place]) == count for place, count in counts.items())
    yield Check("Figure 2", "counts that the configuration gives", len(counts), right, 0, "C13")
    two = 2 * WIDTH * HEAD + HEAD  # the published code joins the states of both entities
    yield Check("Figure 2, published code", "1-4 Linear, on two entity states", printed.parameters["1-4"], two, 0)


def _largest_class() -> Iterator[Check]:
    printed = published.paper_scores("gpt2", "joint", "Table 2")
    for score, value in largest_class_only().items():
        what = f"GPT-2's {score}, were no_relation its only answer"
        yield Check("section 4, Table 2", what, printed[score], value, HALF)


def _svm() -> Iterator[Check]:
    found = published.class_rows("Table 6").f1[RELATION]
    yield Check("section 4, Table 6", "F1 of relation, about 0.9", 0.9, found, 0.05)
    what = "values of Table 4 (all data) that are Table 6's (binary)"
    yield Check("Tables 4 and 6", what, 0, repeated_in_table_4(), CHANCE)


def _same_scores() -> Iterator[Check]:
    """Scores that the paper prints twice: Tables 2, 3 and 5 of the text, and A.2 and A.3, against its class tables."""
    overall = published.overall().query("rows == 'test'")
    detailed = {table: part.set_index("score").value for table, part in overall.groupby("table")}
    places = {
        ("svm", "relation_only"): "Table 7", ("bilstm", "joint"): "Table 8", ("bilstm", "relation_only"): "Table 9",
        ("bert", "joint"): "Table 10", ("bert", "relation_only"): "Table 11",
    }  # fmt: skip
    for row in overall[overall.table.isin(["Table 2", "Table 3", "Table 5", "A.2", "A.3"])].itertuples():
        if table := places.get((row.family, row.task)):
            what, other = f"{row.family} {row.task}, {row.score}", detailed[table][row.score]
            exact = row.table.startswith("A")  # the appendix prints four decimals
            pair = (other, row.value, HALF) if exact else (row.value, other, 1e-9)
            yield Check(f"{row.table} and {table}", what, *pair)


def _class_rows() -> Iterator[Check]:
    """Printed averages against those of the printed rows: each side is rounded, so 0.01 is the most between them."""
    overall = published.overall()
    for table, rows in published.class_tables().groupby("table"):
        printed = overall[overall.table == table].set_index("score").value
        for score, value in averages(rows).items():
            yield Check(table, f"{score} of its rows", printed[score], value, 2 * HALF)
        yield Check(table, "rows whose F1 fits P and R", len(rows), rows_that_fit(rows), 0)

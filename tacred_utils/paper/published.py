"""What is published: every table of the paper and its recipes, whether its print agrees with itself, other systems' figures,
and predictions on TACRED's test split.

The numbers lie in `data/*.csv`, as printed and each with its place or source. Where the paper's tables and its appendix
disagree, both values stand there, under the tables that print them.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import pandas as pd

from tacred_utils.ground.errors import UserError
from tacred_utils.ground.files import read_bytes
from tacred_utils.ground.labels import NO_RELATION, RELATION, TACRED_SPLIT_SIZES
from tacred_utils.ground.paths import PACKAGE
from tacred_utils.runs.predictions import read_predictions
from tacred_utils.runs.profile import Profile, parse_overrides

PAPER_BERT = "BERT of the paper"
# Display name → file below the data folder, best first. TACREV marks systems that see names "unmasked"; those
# named "masked" here read entity types in place of the names.
SYSTEMS = {
    "KnowBERT-W+W": "tacrev/test_results/knowbert_wordnet_wiki_tacred_test.txt",
    "SpanBERT": "tacrev/test_results/spanbert_tacred_test.txt",
    "TRE (GPT)": "tacrev/test_results/tre_tacred_test.txt",
    "Self-attention + BERT, masked": "tacrev/test_results/self_att_bert_cased_test.jsonl",
    "GCN + BERT, masked": "tacrev/test_results/gcn_bert_uncased_test.jsonl",
    "BiLSTM + BERT, masked": "tacrev/test_results/bilstm_bert_cased_test.jsonl",
    "CNN, masked": "tacrev/test_results/cnn_wo_discr_masked_test.jsonl",
    "LSTM, masked": "tacrev/test_results/lstm_wo_discr_masked_test.jsonl",
    PAPER_BERT: "authors/bert_joint_test.jsonl",
}
_GOLD = SYSTEMS["BiLSTM + BERT, masked"]  # carries ids and gold labels; the .txt files follow its order
NOTEBOOK = "authors/BERT.ipynb"  # where the paper's authors print what bert_joint_test.jsonl holds
PATCHES = {"TACREV": "tacrev/patch/test_patch.json", "Re-TACRED": "retacred/test_id2label.json"}  # of the test split
FILES = (*SYSTEMS.values(), *PATCHES.values())


def overall() -> pd.DataFrame:
    """Tables 2 to 11's averages, A.2, A.3 and the length thirds that the authors' notebook prints.

    Columns table, family, task, rows, score, value, n. `rows` says on what: `test 1:1` is the split under-sampled to as
    many relations as `no_relation`; A.2's "Train Results" are filed as printed, though they are dev scores.
    """
    return _printed("paper_overall")


def class_tables() -> pd.DataFrame:
    """Tables 6 to 11 by class: columns table, family, task, label, precision, recall, f1, support.

    Tables 10 and 11 print class numbers; their names are those whose supports on TACRED's test split agree.
    """
    return _printed("paper_per_class")


def class_rows(table: str) -> pd.DataFrame:
    """The rows of one of `class_tables`, by label."""
    return class_tables().query("table == @table").set_index("label")


def relation_counts(table: str = "Table 12") -> pd.Series:
    """Rows of TACRED by label, all three splits together, as Table 12 or Table 1 prints them."""
    return _printed("paper_counts").query("table == @table").set_index("label")["count"]


def parameter_counts() -> pd.DataFrame:
    """Figure 2: columns place (depth and index), layer, output_shape, parameters, misprints included."""
    return _printed("paper_parameters").astype({"parameters": "Int64"})


def bert_history() -> pd.DataFrame:
    """The authors' BERT by epoch, from their notebook: losses (per batch, and as printed) and dev scores."""
    return _printed("authors_bert_history")


def paper_scores(family: str, task: str, table: str | None = None) -> dict[str, float]:
    """Scores that the paper prints for a family and task on the test split, in one table or else first in the main text.

    Empty if the paper has nothing.
    """
    rows = overall().query("family == @family and task == @task and rows == 'test'")
    rows = rows if table is None else rows[rows.table == table]
    return rows.drop_duplicates("score").set_index("score").value.to_dict()


def literature(corpus: str, labels: Sequence[str] | None = None) -> pd.DataFrame:
    """Other systems' published figures on a corpus: columns labels, system, score, value, source."""
    rows = _printed("literature").query("corpus == @corpus").drop(columns="corpus")
    return (rows if labels is None else rows[rows.labels.isin(labels)]).reset_index(drop=True)


def _printed(name: str, **options: object) -> pd.DataFrame:
    return pd.read_csv(PACKAGE / "paper" / "data" / f"{name}.csv", **options)


def missing_files(data_dir: Path) -> str:
    """One sentence that says which published files to get, and how; empty if all are there."""
    here = {file for file in FILES if (data_dir / file).is_file()}
    if (data_dir / NOTEBOOK).is_file():
        here.add(SYSTEMS[PAPER_BERT])
    if not (absent := [file for file in FILES if file not in here]):
        return ""
    names = sorted({file.partition("/")[0] for file in absent})
    commands = ", ".join(f"`python -m tacred_utils data get {name}`" for name in names)
    place = data_dir / absent[0]
    return f"{place} is not there: run {commands}, or name the folder that holds it with --data-dir."


def system_predictions(data_dir: Path) -> pd.DataFrame:
    """Published predictions on TACRED's test split: columns id, gold, then one for each of `SYSTEMS`, by row.

    Raises `UserError` where a file is missing, or its gold labels or number of rows are not those of the others.
    """
    if sentence := missing_files(data_dir):
        raise UserError(sentence)
    gold = read_predictions(data_dir / _GOLD)
    columns = {name: _answers(data_dir, file, gold) for name, file in SYSTEMS.items()}
    return pd.DataFrame({"id": gold.id, "gold": gold.label_true, **columns})


def _answers(data_dir: Path, file: str, gold: pd.DataFrame) -> list[str]:
    path = data_dir / file
    if not path.is_file():
        return _from_notebook(data_dir / NOTEBOOK, gold)
    if path.suffix == ".txt":
        return read_predictions(path, data_dir / _GOLD).label_pred.tolist()
    frame = read_predictions(path).set_index("id").reindex(gold.id)
    if frame.label_true.tolist() != gold.label_true.tolist():
        raise UserError(f"{path}: ids or gold labels are not those of {data_dir / _GOLD}; fetch both again.")
    return frame.label_pred.tolist()


def _from_notebook(path: Path, gold: pd.DataFrame) -> list[str]:
    """The predictions that the authors' notebook prints as class numbers after the gold labels, by row."""
    outputs = msgspec.json.decode(read_bytes(path))["cells"]
    text = "\n".join("".join(out.get("text", "")) for cell in outputs for out in cell.get("outputs", []))
    classes = class_rows("Table 10").index
    lists = [[classes[int(n)] for n in found.split(",")] for found in re.findall(r"\[(\d+(?:, \d+)*)\]", text)]
    lists = [labels for labels in lists if len(labels) == len(gold)]
    if len(lists) != 2 or lists[0] != gold.label_true.tolist():
        raise UserError(f"{path}: does not print TACRED's {len(gold):,} gold labels and predictions; fetch it again.")
    return lists[1]


# The paper's recipes beside the authors' code and ours, setting by setting, with the reason wherever ours differs.

PAPERS_VARIANT = {"svm": "paper"}  # of the others it is the family without a variant
COLUMNS = {"what": "setting", "paper": "paper", "code": "authors' code", "ours": "ours", "reason": "why ours differs"}


def recipe(family: str, profile: Profile) -> pd.DataFrame:
    """A family's recipe: columns of `COLUMNS`; the reason is empty where ours is the paper's, or its code's where the
    paper says nothing. `profile` is that of the corpus (`Profile.for_corpus`).
    """
    settings = msgspec.to_builtins(profile.settings(family, PAPERS_VARIANT.get(family)))
    rows = _printed("recipes", dtype=str, keep_default_na=False).query("family == @family").to_dict("records")
    for row in rows:
        if row["setting"]:
            told = [source for source in ("paper", "code") if row[source]]
            values = {source: parse_overrides([f"value={row[source]}"])["value"] for source in told}
            values["ours"] = settings[row["setting"]]
            if told and values[told[0]] == values["ours"]:
                row["reason"] = ""
            row |= {source: _shown(value) for source, value in values.items()}
    return pd.DataFrame(rows)[[*COLUMNS]].rename(columns=COLUMNS)


def _shown(value: object) -> str:
    """A setting's value as a reader sees it: `yes`, `5e-05`, `words, pos`."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple, dict)):
        return ", ".join(value) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


# The paper held against itself: what it prints twice, and what its own figures add up to.

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
    row = class_rows(table).loc[NO_RELATION]
    shares = [(row.recall + shift) / (row.precision - shift) for shift in (0, -HALF, HALF)]
    return tuple(share * TEST_NEGATIVES / TEST_ROWS for share in shares)


def micro_f1_of(table: str) -> tuple[float, float, float]:
    """Micro F1 over relations from a table's precision, recall and support by class, with its range by rounding.

    A class named rightly Rn times is answered Rn / P times; one with a printed P of 0 is taken as never answered.
    """
    rows = class_rows(table).drop(NO_RELATION)
    found, total = [], rows.support.sum()
    for shift in (0, -HALF, HALF):
        correct = (rows.recall + shift).clip(0, 1) * rows.support
        answered = (correct / (rows.precision + shift).clip(HALF, 1))[rows.precision > 0].sum()
        found.append(2 * correct.sum() / (answered + total))
    return tuple(found)


def f1_and_rows(*tables: str) -> tuple[np.ndarray, np.ndarray]:
    """Mean F1 of each relation over class tables, and its rows in train and dev, (relations,) both."""
    rows = class_tables().query("table in @tables and label != @NO_RELATION").groupby("label")
    f1, support = rows.f1.mean(), rows.support.first()
    return f1.to_numpy(), (relation_counts()[f1.index] - support).to_numpy()


def labels_in_a_batch() -> float:
    """Expected number of the 42 labels that a batch of 50 holds, at TACRED's training prevalence.

    The paper counts relations over all splits only (Table 12): their shares are taken from there, that of `no_relation`
    from the training split.
    """
    relations = relation_counts().drop(NO_RELATION)
    negative = TRAIN_NEGATIVES / TRAIN_ROWS
    share = np.append((1 - negative) * relations / relations.sum(), negative)
    return float((1 - (1 - share) ** 50).sum())


def repeated_in_table_4() -> int:
    """How many of Table 4's values (the SVM on all data) are those of Table 6 (the binary task)."""
    printed = overall().set_index(["table", "score"]).value
    return int((printed["Table 4"] == printed["Table 6"][printed["Table 4"].index]).sum())


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
    full, top = relation_counts(), relation_counts("Table 1")
    yield Check("section 1, Table 12", "instances in all", sum(TACRED_SPLIT_SIZES.values()), full.sum(), 0, "C1")
    yield Check("section 1, Table 12", "labels, no_relation among them", LABELS, len(full), 0, "C1")
    share = full[NO_RELATION] / full.sum()
    yield Check("section 1, Table 12", "share of no_relation", 0.80, share, HALF, "C1")
    ratio = TRAIN_NEGATIVES / (TRAIN_ROWS - TRAIN_NEGATIVES)
    for label, count in top.items():
        yield Check("Tables 1 and 12", f"rows of {label}", count, full[label], 0)
    yield Check("section 3.1, split sizes", "no_relation for a relation, training", 4.2, ratio, 0.05, "C2")
    supports = class_tables().query("label not in [@NO_RELATION, @RELATION]")
    one = int((supports.groupby("label").support.nunique() == 1).sum())
    yield Check("Tables 7 to 11", "relations with one support in all tables", LABELS - 1, one, 0)


def _figure_2() -> Iterator[Check]:
    printed = parameter_counts().dropna(subset="parameters").set_index("place")
    counts = figure_2_counts()
    for place, row in printed.iterrows():
        yield Check("Figure 2", f"{place} {row.layer}", int(row.parameters), counts[place], 0)
    right = sum(int(printed.parameters[place]) == count for place, count in counts.items())
    yield Check("Figure 2", "counts that the configuration gives", len(counts), right, 0, "C13")
    two = 2 * WIDTH * HEAD + HEAD  # the published code joins the states of both entities
    yield Check("Figure 2, published code", "1-4 Linear, on two entity states", printed.parameters["1-4"], two, 0)


def _largest_class() -> Iterator[Check]:
    printed = paper_scores("gpt2", "joint", "Table 2")
    for score, value in largest_class_only().items():
        what = f"GPT-2's {score}, were no_relation its only answer"
        yield Check("section 4, Table 2", what, printed[score], value, HALF)


def _svm() -> Iterator[Check]:
    found = class_rows("Table 6").f1[RELATION]
    yield Check("section 4, Table 6", "F1 of relation, about 0.9", 0.9, found, 0.05)
    what = "values of Table 4 (all data) that are Table 6's (binary)"
    yield Check("Tables 4 and 6", what, 0, repeated_in_table_4(), CHANCE)


def _same_scores() -> Iterator[Check]:
    """Scores that the paper prints twice: Tables 2, 3 and 5 of the text, and A.2 and A.3, against its class tables."""
    rows = overall().query("rows == 'test'")
    detailed = {table: part.set_index("score").value for table, part in rows.groupby("table")}
    places = {
        ("svm", "relation_only"): "Table 7", ("bilstm", "joint"): "Table 8", ("bilstm", "relation_only"): "Table 9",
        ("bert", "joint"): "Table 10", ("bert", "relation_only"): "Table 11",
    }  # fmt: skip
    for row in rows[rows.table.isin(["Table 2", "Table 3", "Table 5", "A.2", "A.3"])].itertuples():
        if table := places.get((row.family, row.task)):
            what, other = f"{row.family} {row.task}, {row.score}", detailed[table][row.score]
            exact = row.table.startswith("A")  # the appendix prints four decimals
            pair = (other, row.value, HALF) if exact else (row.value, other, 1e-9)
            yield Check(f"{row.table} and {table}", what, *pair)


def _class_rows() -> Iterator[Check]:
    """Printed averages against those of the printed rows: each side is rounded, so 0.01 is the most between them."""
    averaged = overall()
    for table, rows in class_tables().groupby("table"):
        printed = averaged[averaged.table == table].set_index("score").value
        for score, value in averages(rows).items():
            yield Check(table, f"{score} of its rows", printed[score], value, 2 * HALF)
        yield Check(table, "rows whose F1 fits P and R", len(rows), rows_that_fit(rows), 0)

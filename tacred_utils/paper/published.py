"""What others have published: every table of the paper, other systems' figures, and predictions on TACRED's test split.

The numbers lie in `data/*.csv`, as printed and each with its place or source. Where the paper's tables and its appendix
disagree, both values stand there, under the tables that print them.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pandas as pd

from tacred_utils.ground.errors import UserError
from tacred_utils.ground.files import PACKAGE, read_bytes
from tacred_utils.runs.predictions import read_predictions

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


def _printed(name: str) -> pd.DataFrame:
    return pd.read_csv(PACKAGE / "paper" / "data" / f"{name}.csv")


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

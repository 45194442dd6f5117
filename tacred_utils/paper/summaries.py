"""Summary tables over runs: every system of the study by task and score, beside trivial, published and the paper's.

Cells are text, mean and range over seeds, so that a table says how many runs a number rests on.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from tacred_utils.ground.labels import NO_RELATION, TASKS, task_label
from tacred_utils.metrics import counts
from tacred_utils.metrics.counts import task_scores
from tacred_utils.metrics.estimates import over_seeds
from tacred_utils.paper import published
from tacred_utils.runs.catalog import RunCatalog, predictions_of


def system_table(catalog: RunCatalog, scores: Sequence[str]) -> pd.DataFrame:
    """All headline systems of a corpus by task, mean and range over seeds; trivial and published ones beside them.

    Joint and detection are scored on the whole test split; relation_only on gold relations (oracle detection).
    """
    rows = []
    for (task, name), part in catalog.frame[catalog.frame.system != ""].groupby(["task", "system"]):
        texts = score_texts([run.metrics["test"] for run in part.run], scores)
        rows.append({"task": task, "system": name, "seeds": len(part)} | texts)
    rows += [row for task in TASKS if task in set(catalog.frame.task) for row in _trivial(catalog, task, scores)]
    for row in published.literature(catalog.corpus).itertuples():
        if row.score in scores:
            rows.append({"task": "joint", "system": f"{row.system} ({row.source})", row.score: f"{row.value:.3f}"})
    frame = pd.DataFrame(rows).astype({"seeds": "Int64"})
    columns = ["task", "system", "seeds", *(score for score in scores if score in frame)]
    frame = frame[columns].fillna(dict.fromkeys(scores, ""))
    return frame.sort_values("task", key=lambda names: names.map(TASKS.index), kind="stable").reset_index(drop=True)


def score_texts(results: Sequence[Mapping[str, float]], scores: Iterable[str]) -> dict[str, str]:
    """Scores of a system's seeds as text: the mean, with its range where there are several."""
    table = over_seeds(results)
    shown = table.loc[[score for score in scores if score in table.index]]
    return {
        row.Index: f"{row.value:.3f}" + (f" ({row.low:.3f}–{row.high:.3f})" if row.n > 1 else "")
        for row in shown.itertuples()
    }


def _trivial(catalog: RunCatalog, task: str, scores: Sequence[str]) -> list[dict[str, object]]:
    """Rows of the trivial systems; the majority per type pair needs the sentences' entity types."""
    gold = predictions_of(catalog.frame.run.iloc[0]).label_true
    answers = {"always no_relation": counts.always_no_relation(gold)}
    if catalog.text:
        train = [row for row in catalog.text.train if task != "relation_only" or row.relation != NO_RELATION]
        answers["majority per type pair"] = counts.majority_by_type_pair(train, catalog.text.test)
    rows = []
    for name, answer in answers.items():
        values = task_scores(task, gold.tolist(), [task_label(task, label) for label in answer], None)
        rows.append({"task": task, "system": name} | score_texts([values], scores))
    return rows


def stricter(catalog: RunCatalog, score: str) -> pd.DataFrame:
    """A score of every joint system, mean over seeds, as it is and by two stricter counts.

    Columns system, seeds, score; `unread wrong`, where rows that the reader had to leave out count as gold relations that
    were not found; `new sentences`, on the test rows whose sentence does not stand in training. Needs the corpus' rows.
    """
    text, rows = catalog.text, []
    new = ~np.array(text.in_training("test"))
    unread = pd.Series(text.left_out.get("test", []), dtype=object).value_counts()
    frame = catalog.frame[(catalog.frame.system != "") & (catalog.frame.task == "joint")]
    for name, part in frame.groupby("system"):
        found = []
        for run in part.run:
            answers = predictions_of(run)
            counted = counts.confusion_counts(answers.label_true, answers.label_pred, run.classes)
            missed = unread.reindex(counted.labels).fillna(0).to_numpy()
            only_new = counts.confusion_counts(answers.label_true[new], answers.label_pred[new], run.classes)
            ways = counted, replace(counted, gold=counted.gold + missed), only_new
            found.append([float(each.scores()[score]) for each in ways])
        row = dict(zip((score, "unread wrong", "new sentences"), np.mean(found, axis=0), strict=True))
        rows.append({"system": name, "seeds": len(part)} | row)
    return pd.DataFrame(rows).sort_values(score, ascending=False, ignore_index=True)

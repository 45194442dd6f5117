"""How far answers can be trusted: the same probabilities read otherwise, coverage, exchanged names, doubted labels.

A function whose systems or files are missing returns empty frames and dictionaries.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from tacred_utils.corpora.registry import read_patch
from tacred_utils.ground.labels import NO_RELATION, SCORED
from tacred_utils.metrics import postprocessing
from tacred_utils.models import svm
from tacred_utils.notebook import reports
from tacred_utils.notebook.study import Study
from tacred_utils.paper import published
from tacred_utils.paper.measures import PRECISE, at_precision
from tacred_utils.runs.catalog import SystemAnswers


def readings(
    study: Study, system: SystemAnswers | None, other: SystemAnswers | None = None
) -> tuple[dict[str, SystemAnswers], pd.DataFrame]:
    """A joint system read in every way of `postprocessing.decodings`, mixed with `other`: by way, and a row a way.

    Free numbers are chosen on dev, by macro F1 over relations, for each seed with log-probabilities. Columns way,
    chosen (mean over seeds) and dev (that score).
    """
    runs = [run for run in (system.runs if system else []) if run.has_log_probs]
    if not runs:
        return {}, pd.DataFrame(columns=["way", "chosen", "dev"])
    classes, corpus = runs[0].classes, study.corpus
    score = postprocessing.scorer([row.relation for row in corpus.dev], classes)
    prior, fits, mixed = postprocessing.log_shares(corpus.train, classes), None, None
    if "types" in corpus.columns:
        fits = {split: postprocessing.fitting(corpus.train, corpus.split(split), classes) for split in SCORED}
    if other and other.runs[0].has_log_probs:
        mixed = {split: other.runs[0].log_probs(split) for split in SCORED}
    each = [
        postprocessing.decodings(
            {split: run.log_probs(split) for split in SCORED}, classes, score, prior, fits, mixed
        )
        for run in runs
    ]  # fmt: skip
    systems, rows = {}, []
    for way in each[0]:
        numbers, matrices = zip(*(found[way] for found in each), strict=True)
        answers = [np.array(postprocessing.most_probable(one["test"], classes), dtype=object) for one in matrices]
        systems[way] = SystemAnswers(way, system.gold, answers, system.labels, runs)
        chosen = np.nan if numbers[0] is None else np.mean(numbers)
        rows.append({"way": way, "chosen": chosen, "dev": np.mean([score(one["dev"]) for one in matrices])})
    return systems, pd.DataFrame(rows)


def coverage(study: Study, systems: reports.Systems, precision: float = PRECISE) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What can be left to systems: answers above the confidence that has this precision on dev (`at_precision`).

    First columns system, score (precision, relations found), value, low, high, seeds; then a line a system, of its
    first seed: relations found, precision, and whether the point is that confidence (dot).
    """
    kept = {
        name: SystemAnswers(name, each.gold, [at_precision(run, precision) for run in each.runs], each.labels, each.runs)
        for name, each in systems.items() if each.runs
    }  # fmt: skip
    lines = []
    for name, each in kept.items():
        frame = each.runs[0].predictions().query("label_pred != @NO_RELATION")
        frame = frame.sort_values("p", ascending=False, kind="stable")
        right = (frame.label_pred == frame.label_true).cumsum().to_numpy()
        found, given = right / max((each.gold != NO_RELATION).sum(), 1), np.arange(1, len(frame) + 1)
        dot = given == (each.answers[0] != NO_RELATION).sum()
        line = pd.DataFrame({"relations found": found, "precision": right / given, "dot": dot, "system": name})
        lines.append(line.iloc[9:])  # of fewer answers a share says nothing
    table = reports.scores(study, kept, {"micro_p": "precision", "micro_r": "relations found"})
    return table, pd.concat([pd.DataFrame(), *lines])


def exchanged_names(study: Study) -> tuple[dict[str, SystemAnswers], np.ndarray]:
    """The linear SVM, fitted once, on test rows as they are and under other names; and (rows,) which could be changed.

    Subject and object get names of their types with as many words, once of training and once such as training lacks.
    """
    corpus, train, test = study.corpus, study.corpus.train, study.corpus.test
    if not corpus.has_text or "types" not in corpus.columns or "joint" not in corpus.tasks:
        return {}, np.zeros(len(test), bool)
    pools = {"names of training": postprocessing.names(train)}
    pools["names that training lacks"] = postprocessing.names([*corpus.dev, *test], without=train)
    made = {name: postprocessing.renamed(test, pool, study.seeds[0]) for name, pool in pools.items()}
    texts = {"as they are": test} | {name: rows for name, (rows, _) in made.items()}
    together = replace(corpus, test=[row for rows in texts.values() for row in rows])
    found = svm.fit(together, "joint", study.profile.settings("svm"), study.seeds[0]).log_probs["test"]
    gold = np.array([row.relation for row in test], dtype=object)
    answers = np.array(postprocessing.most_probable(found, corpus.labels), dtype=object).reshape(len(texts), -1)
    systems = {
        name: SystemAnswers(name, gold, [answer], corpus.labels) for name, answer in zip(texts, answers, strict=True)
    }
    return systems, np.all([changed for _, changed in made.values()], axis=0)


def doubted_labels(data: Path) -> pd.DataFrame:
    """TACRED's test rows on which at least so many published systems agree on one answer other than the label.

    Columns systems, rows, and the shares of these whose label TACREV's annotators changed, and changed to that very
    answer; empty where the published files are not below `data`.
    """
    if published.missing_files(data):
        return pd.DataFrame(columns=["systems", "rows", "changed", "to their answer"])
    answers = published.system_predictions(data).set_index("id")
    others = answers[[name for name in published.SYSTEMS if name != published.PAPER_BERT]]
    agreed = postprocessing.agreed_against(others, answers.gold)
    patch = read_patch(data / published.PATCHES["TACREV"])  # it lists changed rows only
    revised = pd.Series([patch.get(row, label) for row, label in answers.gold.items()], index=answers.index)
    rows = []
    for systems in range(1, others.shape[1] + 1):
        kept = agreed.systems >= systems
        changed, theirs = (revised != answers.gold)[kept].mean(), (agreed.answer == revised)[kept].mean()
        rows.append({"systems": systems, "rows": int(kept.sum()), "changed": changed, "to their answer": theirs})
    return pd.DataFrame(rows)

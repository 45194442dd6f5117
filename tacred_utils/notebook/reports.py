"""Frames that notebooks show, made from a study and its systems.

Systems come by name, as `Study.answering` gives them. A function to which none is given returns empty frames.
"""

from collections.abc import Mapping
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from tacred_utils.corpora.example import Example
from tacred_utils.corpora.registry import read_patch
from tacred_utils.ground.errors import UserError
from tacred_utils.ground.labels import NO_RELATION, SCORED
from tacred_utils.inputs import features
from tacred_utils.inputs.encoding import entity_marks, span_distance
from tacred_utils.metrics import counts, estimates, groups, postprocessing
from tacred_utils.metrics.estimates import Estimate
from tacred_utils.metrics.groups import type_pair
from tacred_utils.metrics.postprocessing import compose, p_relation
from tacred_utils.models import svm
from tacred_utils.notebook.study import Study, same_seeds
from tacred_utils.paper import published
from tacred_utils.paper.measures import PRECISE, at_precision
from tacred_utils.runs.catalog import SystemAnswers, predictions_of

SCORES = {  # as tables and figures name them, in their order
    "micro_f1": "micro F1", "macro_f1": "macro F1", "detection_f1": "detection F1",
    "classification_accuracy": "named rightly",  # of the relations that it detects
}  # fmt: skip
F1 = {name: SCORES[name] for name in ("micro_f1", "macro_f1")}
Systems = Mapping[str, SystemAnswers]


def trivial(study: Study) -> dict[str, SystemAnswers]:
    """The systems that learn nothing, or the types alone: what they score is nobody's achievement."""
    labels, gold = study.corpus.labels, study.gold
    answers = {"majority per type pair": counts.majority_by_type_pair(study.corpus.train, study.corpus.test)}
    if NO_RELATION in labels:
        answers["always no_relation"] = counts.always_no_relation(gold)
    return {name: SystemAnswers(name, gold, [np.array(each, object)], labels) for name, each in answers.items()}


def on_dev(system: SystemAnswers, score: str = "micro_f1") -> float:
    """A score on dev, the mean over seeds: systems are chosen by it, never by a test score."""
    frames = [run.predictions("dev") for run in system.runs]
    each = [counts.all_scores(f.label_true, f.label_pred, system.labels)[score] for f in frames]
    return float(np.mean(each))


def best_of_family(study: Study, systems: Systems) -> dict[str, SystemAnswers]:
    """One system a family, the best on dev."""
    order = sorted(systems, key=lambda name: -on_dev(systems[name]))
    best = {study.families[name]: name for name in reversed(order)}
    return {name: system for name, system in systems.items() if name in best.values()}


def scores(study: Study, systems: Systems, names: Mapping[str, str] = SCORES) -> pd.DataFrame:
    """Columns system, score, value, low, high, seeds; scores named as readers know them."""
    rows = []
    for (score, title), (name, system) in product(names.items(), systems.items()):
        found = study.estimate(score, system)
        low, high = np.clip([found.low, found.high], 0, 1)  # what a score can be
        rows.append((name, title, found.value, low, high, len(system.answers)))
    return pd.DataFrame(rows, columns=["system", "score", "value", "low", "high", "seeds"])


def beside(frame: pd.DataFrame) -> pd.DataFrame:
    """`scores` as a table to read: a row a system, `0.512 [0.480, 0.544]` in a column a score, and its seeds."""
    texts = frame.assign(text=[interval(row.value, row.low, row.high) for row in frame.itertuples()])
    wide = texts.pivot_table("text", "system", "score", "first", sort=False)
    return wide.assign(seeds=frame.groupby("system", sort=False).seeds.first()).reset_index().rename_axis(columns=None)


def interval(value: float, low: float, high: float) -> str:
    """`0.512 [0.480, 0.544]`; nothing where there is no value."""
    return "" if np.isnan(value) else f"{value:.3f} [{low:.3f}, {high:.3f}]"


def differences(
    study: Study, pairs: Mapping[str, tuple[str | SystemAnswers, str | SystemAnswers]], names: Mapping[str, str] = F1
) -> pd.DataFrame:
    """The first of each pair less the second, by a name: columns system, score, value, low, high, seeds, of (the first's own)."""
    rows = []
    for name, specs in pairs.items():
        pair = [study.system(spec) if isinstance(spec, str) else spec for spec in specs]
        if None in pair:
            continue
        first, _ = pair = same_seeds(*pair)
        for score, title in names.items():
            found, own = study.estimate(score, *pair), study.estimate(score, first).value
            rows.append((name, title, found.value, found.low, found.high, len(first.answers), own))
    return pd.DataFrame(rows, columns=["system", "score", "value", "low", "high", "seeds", "of"])


def change_table(frame: pd.DataFrame) -> pd.DataFrame:
    """`differences` as a table to read: a row a pair, with the first one's scores and signed differences."""
    wide = pd.DataFrame()
    for score, part in frame.groupby("score", sort=False):
        part = part.set_index("system")
        wide[score] = part.of
        numbers = zip(part.value, part.low, part.high, strict=True)
        wide[f"difference in {score}"] = ["{:+.3f} [{:+.3f}, {:+.3f}]".format(*each) for each in numbers]
    return wide.assign(seeds=frame.groupby("system", sort=False).seeds.first()).rename_axis("system").reset_index()


def per_class(study: Study, system: SystemAnswers, table: str = "") -> pd.DataFrame:
    """Every label: training and test rows, precision, recall and F1 with its interval, means over seeds.

    `table` names one of the paper's tables, whose F1 then stands in a last column.
    """
    clusters = study.clusters[study.scored_rows(system)]
    found = pd.concat([counts.class_scores(system.gold, answer, system.labels) for answer in system.answers])
    found = found.groupby("label", sort=False)[["precision", "recall", "f1"]].mean().reset_index()
    resampled = estimates.resample(system.gold, system.answers, system.labels, study.draws, clusters=clusters)
    drawn = np.mean([each.f1 for each in resampled], axis=0)  # (draws, labels)
    spans = [Estimate.from_draws(*each, clusters.size, clusters.unit) for each in zip(found.f1, drawn.T, strict=True)]
    found = found.assign(**{end: np.clip([getattr(span, end) for span in spans], 0, 1) for end in ("low", "high")})
    for name, gold in {"train": [row.relation for row in study.corpus.train], "test": system.gold}.items():
        found[name] = pd.Series(gold).value_counts().reindex(found.label, fill_value=0).to_numpy()
    if table:
        found[f"F1, {table}"] = found.label.map(published.class_rows(table).f1)
    return found.sort_values("train", ascending=False, kind="stable", ignore_index=True)


def leaning(study: Study, systems: Systems) -> pd.DataFrame:
    """How much each system leans on `no_relation`: the share of rows that it answers so, and of gold rows, and recalls."""
    rows = []
    for name, system in systems.items():
        share = study.estimate("no_relation_share", system)
        each = [counts.class_scores(system.gold, answer, system.labels) for answer in system.answers]
        recall = pd.concat(each).query("support > 0").groupby("label").recall.mean()
        answered = interval(share.value, share.low, share.high)
        relations = recall.drop(NO_RELATION, errors="ignore").mean()
        rows.append((name, np.mean(system.gold == NO_RELATION), answered, recall.get(NO_RELATION), relations))
    columns = ["system", "gold no_relation", "answered no_relation", "its recall", "macro recall of relations"]
    return pd.DataFrame(rows, columns=columns)


def confusions(system: SystemAnswers, largest: int = 10) -> pd.DataFrame:
    """Shares of the test rows of a relation (index) that are answered so (columns), over seeds.

    The relations are those that are taken for each other most often; the last columns hold what is missed altogether,
    and all other answers.
    """
    rows = pd.DataFrame({"gold": np.tile(system.gold, len(system.answers)), "answer": np.concatenate(system.answers)})
    rows = rows[rows.gold != NO_RELATION]
    wrong = rows[(rows.gold != rows.answer) & (rows.answer != NO_RELATION)]
    most = pd.concat([wrong.gold, wrong.answer]).value_counts().index[:largest]
    shown = sorted(set(most) & set(rows.gold))
    answer = rows.answer.where(rows.answer.isin([*shown, NO_RELATION]), "another")
    table = pd.crosstab(rows.gold, answer, normalize="index")
    return table.reindex(index=shown, columns=[*shown, NO_RELATION, "another"], fill_value=0.0)


def both_ends(study: Study, system: SystemAnswers, rows: int = 4) -> pd.DataFrame:
    """Test rows that the first seed answers wrongly with the highest probability, and relations rightly with the lowest.

    Columns end, relation, answer, p, sentence (both entities marked), types, id.
    """
    answers, examples = system.runs[0].predictions("test"), study.corpus.test
    right = answers.label_pred == answers.label_true
    worst = answers[~right].nlargest(rows, "p").assign(end="sure and wrong")
    doubt = answers[right & (answers.label_true != NO_RELATION)].nsmallest(rows, "p").assign(end="unsure and right")
    frame = pd.concat([worst, doubt]).rename(columns={"label_true": "relation", "label_pred": "answer"})
    frame["types"] = [type_pair(examples[row]) for row in frame.index]
    frame["sentence"] = [study.sentence(examples[row]) for row in frame.index]
    return frame[["end", "relation", "answer", "p", "sentence", "types", "id"]]


def grouped(
    study: Study, systems: Systems, bins: groups.Bins, weights: np.ndarray | None = None
) -> dict[str, dict[str, np.ndarray]]:
    """System → score → (1 + draws, bins): each group's scores as `groups.drawn_scores` has them, means over seeds."""
    if not systems:
        return {}
    first = next(iter(systems.values()))
    each = {(name, n): answer for name, system in systems.items() for n, answer in enumerate(system.answers)}
    clusters = study.clusters[study.scored_rows(first)]
    drawn = groups.drawn_scores(first.gold, each, bins, first.labels, study.draws, weights, clusters)
    of = {name: [drawn[name, n] for n in range(len(system.answers))] for name, system in systems.items()}
    return {
        name: {score: np.mean([seed[score] for seed in seeds], axis=0) for score in seeds[0]}
        for name, seeds in of.items()
    }


def calibration(study: Study, systems: Systems) -> tuple[pd.DataFrame, pd.DataFrame]:
    """How far confidence can be trusted, of the first seed of systems with log-probabilities, before and after scaling.

    First a row a system: temperature (chosen on dev), expected calibration error of answered relations before and after
    it, Brier score. Then the points of a reliability diagram: system, confidence, right, low, high, rows.
    """
    table, points = [], [pd.DataFrame()]
    for name, run in ((name, system.runs[0]) for name, system in systems.items() if system.runs):
        if not run.has_log_probs:
            continue
        dev, test = (run.log_probs(split) for split in SCORED)
        dev_gold, gold = (run.predictions(split).label_true for split in SCORED)
        heat = postprocessing.temperature(dev, dev_gold, run.classes)
        answer = np.array(postprocessing.most_probable(test, run.classes), object)  # which heat does not change
        named = answer != NO_RELATION
        right = answer[named] == gold.to_numpy()[named]
        before, after = (postprocessing.confidence(each)[named] for each in (test, postprocessing.cooled(test, heat)))
        errors = [postprocessing.calibration_error(p, right) if len(p) else np.nan for p in (before, after)]
        brier = postprocessing.brier(test, gold, run.classes)
        table.append({"system": name, "temperature": heat, "ECE": errors[0], "ECE, scaled": errors[1], "Brier": brier})
        points += [postprocessing.reliability_bins(before, right).assign(system=name)] if len(before) else []
    return pd.DataFrame(table), pd.concat(points)


def composed_pairs(study: Study) -> tuple[pd.DataFrame, dict[tuple[str, str], SystemAnswers]]:
    """Every detector before every classifier, first seeds, at the threshold that dev chooses.

    Columns detector, classifier, threshold, dev and test (micro F1); and the composed systems by the two names. Empty
    where dev has no relation, so that no threshold can be chosen.
    """
    gold = {split: [row.relation for row in study.corpus.split(split)] for split in SCORED}
    labels, rows, systems = study.corpus.labels, [], {}
    pairs = product(study.answering("detection").items(), study.answering("relation_only").items())
    for (detector, one), (classifier, other) in pairs if set(gold["dev"]) != {NO_RELATION} else ():
        p = {split: p_relation(predictions_of(one.runs[0], split)) for split in SCORED}
        names = {split: predictions_of(other.runs[0], split).label_pred for split in SCORED}
        two = compose(p, names, gold["dev"])
        f1 = [counts.all_scores(gold[split], two.answers[split], labels)["micro_f1"] for split in SCORED]
        rows.append((detector, classifier, two.threshold, *f1))
        answer = np.array(two.answers["test"], object)
        systems[detector, classifier] = SystemAnswers(f"{detector} before {classifier}", study.gold, [answer], labels)
    return pd.DataFrame(rows, columns=["detector", "classifier", "threshold", *SCORED]), systems


# How far answers can be trusted


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
    classes, corpus, typed = runs[0].classes, study.corpus, "types" in study.corpus.columns
    score = postprocessing.scorer([row.relation for row in corpus.dev], classes)
    prior = postprocessing.log_shares(corpus.train, classes)
    fits = {split: postprocessing.fitting(corpus.train, corpus.split(split), classes) for split in SCORED if typed}
    mixed = other.runs[0] if other and other.runs[0].has_log_probs else None
    known = {run: {split: run.log_probs(split) for split in SCORED} for run in filter(None, [*runs, mixed])}
    each = [postprocessing.decodings(known[run], classes, score, prior, fits or None, known.get(mixed)) for run in runs]
    systems, rows = {}, []
    for way in each[0]:
        numbers, read = zip(*(found[way] for found in each), strict=True)
        answers = [np.array(postprocessing.most_probable(one["test"], classes), dtype=object) for one in read]
        systems[way] = SystemAnswers(way, system.gold, answers, system.labels, runs)
        chosen = np.nan if numbers[0] is None else np.mean(numbers)
        rows.append({"way": way, "chosen": chosen, "dev": np.mean([score(one["dev"]) for one in read])})
    return systems, pd.DataFrame(rows)


def coverage(study: Study, systems: Systems, precision: float = PRECISE) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What can be left to systems: answers above the confidence that has this precision on dev (`at_precision`).

    First columns system, score (precision, relations found), value, low, high, seeds; then a line a system, of its
    first seed: relations found, precision, and whether the point is that confidence (dot).
    """
    kept, lines = {}, [pd.DataFrame()]
    for name, each in systems.items():
        if not each.runs:
            continue
        answers = [at_precision(run, precision) for run in each.runs]
        kept[name] = SystemAnswers(name, each.gold, answers, each.labels, each.runs)
        frame = each.runs[0].predictions().query("label_pred != @NO_RELATION")
        frame = frame.sort_values("p", ascending=False, kind="stable")
        right = (frame.label_pred == frame.label_true).cumsum().to_numpy()
        found, given = right / max((each.gold != NO_RELATION).sum(), 1), np.arange(1, len(frame) + 1)
        line = {"relations found": found, "precision": right / given, "dot": given == (answers[0] != NO_RELATION).sum()}
        lines.append(pd.DataFrame(line).assign(system=name).iloc[9:])  # of fewer answers a share says nothing
    return scores(study, kept, {"micro_p": "precision", "micro_r": "relations found"}), pd.concat(lines)


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
    answers = np.array(postprocessing.most_probable(found, corpus.labels), dtype=object).reshape(len(texts), -1)
    named = zip(texts, answers, strict=True)
    systems = {name: SystemAnswers(name, study.gold, [answer], corpus.labels) for name, answer in named}
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
    revised = answers.gold.to_dict() | read_patch(data / published.PATCHES["TACREV"])  # which lists changed rows only
    revised = pd.Series(revised)[answers.index]
    found = pd.DataFrame({"changed": revised != answers.gold, "to their answer": agreed.answer == revised})
    numbers = range(1, others.shape[1] + 1)
    kept = {number: found[agreed.systems >= number] for number in numbers}
    rows = [{"systems": number, "rows": len(part)} | part.mean().to_dict() for number, part in kept.items()]
    return pd.DataFrame(rows)


# One real sentence, as a model of each family reads it


def one_row(study: Study) -> Example:
    """A test row with a relation in a short sentence, the same one in every notebook.

    What is made of it below is empty where the text is licensed or not at hand.
    """
    rows = [row for row in study.corpus.test if row.relation != NO_RELATION] or study.corpus.test
    return min(rows, key=lambda row: 0 if 10 <= len(row.token) <= 18 else len(row.token))  # the first of these


def as_features(study: Study, row: Example) -> pd.DataFrame:
    """What an SVM reads: the first features of every block that the corpus can fill."""
    if not _readable(study):
        return pd.DataFrame()
    blocks, _ = features.usable([name for name in features.BLOCKS if "paper" not in name], study.corpus.columns)
    made = {name: features.BLOCKS[name].make(features.Pair(row)) for name in blocks}
    rows = [(name, len(part), " | ".join(part[:6])) for name, part in made.items()]
    return pd.DataFrame(rows, columns=["block", "features", "the first"])


def as_tokens(study: Study, row: Example) -> pd.DataFrame:
    """What a BiLSTM reads: a line a word, with its tags and its distances to both entities."""
    if not _readable(study):
        return pd.DataFrame()
    places, frame = np.arange(len(row.token)), pd.DataFrame({"word": row.token, "entity": entity_marks(row)})
    for name, column in (("part of speech", row.stanford_pos), ("named entity", row.stanford_ner)):
        if column:
            frame[name] = column
    frame["from subject"], frame["from object"] = (span_distance(places, *at) for at in (row.subject, row.object))
    return frame


def as_subwords(study: Study, row: Example, family: str, variants: Mapping[str, str | None]) -> pd.DataFrame:
    """What a transformer reads: its subwords under each of its variants, by a name. One sentence where it is not installed."""
    from tacred_utils.models.pretrained import load_pretrained
    from tacred_utils.models.transformer import make_encoder

    rows = []
    for name, variant in variants.items() if _readable(study) else ():
        settings = study.profile.settings(family, variant)
        try:
            given = load_pretrained(settings.model, settings.own, study.corpus, study.results / "pretrained")
        except UserError as error:
            study.say(f"Left out: {error}")
            continue
        encoder, _ = make_encoder(study.corpus, settings, given)
        pieces = encoder.tokenizer.convert_ids_to_tokens(encoder.encode([row]).flat["input_ids"][:-1])
        rows.append({"recipe": name, "subwords": len(pieces), "what is read": " ".join(pieces)})
    return pd.DataFrame(rows)


def layers(study: Study) -> pd.DataFrame:
    """The layers of the BiLSTM as it is built for this corpus, untrained: columns layer, kind, weights, parameters."""
    from tacred_utils.models import bilstm

    if not _readable(study):
        return pd.DataFrame()
    settings, rows = study.profile.settings("bilstm"), []
    encoder, _ = bilstm.make_encoder(study.corpus, "joint", settings)
    vectors = bilstm.word_vectors(encoder, settings)
    network = bilstm.BilstmClassifier(encoder, len(study.corpus.labels), settings, vectors)
    for name, part in network.named_modules():
        if own := list(part.parameters(recurse=False)):
            shapes = " ".join("×".join(map(str, weight.shape)) for weight in own)
            rows.append((name, type(part).__name__, shapes, sum(weight.numel() for weight in own)))
    return pd.DataFrame(rows, columns=["layer", "kind", "weights", "parameters"])


def _readable(study: Study) -> bool:
    return study.corpus.has_text and not study.corpus.gated

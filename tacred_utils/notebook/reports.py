"""What stands in several notebooks: frames and blocks made from a study and its systems.

Systems come by name, as `Study.answering` gives them. A function to which none is given returns an empty frame.
"""

from collections.abc import Mapping
from itertools import product

import numpy as np
import pandas as pd

from tacred_utils.corpora.example import Example
from tacred_utils.ground.errors import UserError
from tacred_utils.ground.labels import NO_RELATION, SCORED
from tacred_utils.inputs import features
from tacred_utils.inputs.encoding import entity_marks, span_distance
from tacred_utils.metrics import counts, estimates, groups, postprocessing
from tacred_utils.metrics.estimates import Estimate
from tacred_utils.metrics.groups import type_pair
from tacred_utils.metrics.postprocessing import compose, p_relation
from tacred_utils.notebook.study import Study, same_seeds
from tacred_utils.paper import published
from tacred_utils.runs.catalog import SystemAnswers, predictions_of

SCORES = {  # as tables and figures name them, in their order
    "micro_f1": "micro F1", "macro_f1": "macro F1", "detection_f1": "detection F1",
    "classification_accuracy": "named rightly",  # of the relations that it detects
}  # fmt: skip
F1 = {name: SCORES[name] for name in ("micro_f1", "macro_f1")}
Systems = Mapping[str, SystemAnswers]


def trivial(study: Study) -> dict[str, SystemAnswers]:
    """The systems that learn nothing, or the types alone: what they score is nobody's achievement."""
    gold, labels = np.array([row.relation for row in study.corpus.test], dtype=object), study.corpus.labels
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
    rows = [
        {"system": name, "score": title} | _ends(study.estimate(score, system)) | {"seeds": len(system.answers)}
        for score, title in names.items()
        for name, system in systems.items()
    ]
    frame = pd.DataFrame(rows, columns=["system", "score", "value", "low", "high", "seeds"])
    return frame.assign(low=frame.low.clip(0, 1), high=frame.high.clip(0, 1))  # what a score can be


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
            own = {"seeds": len(first.answers), "of": study.estimate(score, first).value}
            rows.append({"system": name, "score": title} | _ends(study.estimate(score, *pair)) | own)
    return pd.DataFrame(rows, columns=["system", "score", "value", "low", "high", "seeds", "of"])


def change_table(frame: pd.DataFrame) -> pd.DataFrame:
    """`differences` as a table to read: a row a pair, with the first one's scores and signed differences."""
    numbers = zip(frame.value, frame.low, frame.high, strict=True)
    texts = frame.assign(text=["{:+.3f} [{:+.3f}, {:+.3f}]".format(*each) for each in numbers])
    wide = {
        title: texts[texts.score == score].set_index("system")[column]
        for score in frame.score.unique()
        for title, column in ((score, "of"), (f"difference in {score}", "text"))
    }
    seeds = frame.groupby("system", sort=False).seeds.first()
    return pd.DataFrame(wide).assign(seeds=seeds).rename_axis("system").reset_index()


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
    low, high = ([max(0.0, min(1.0, getattr(span, end))) for span in spans] for end in ("low", "high"))
    rows = {
        name: pd.Series(split).value_counts().reindex(found.label, fill_value=0).to_numpy()
        for name, split in (("train", [row.relation for row in study.corpus.train]), ("test", system.gold))
    }
    found = found.assign(low=low, high=high, **rows)
    if table:
        printed = published.class_rows(table).f1
        found[f"F1, {table}"] = found.label.map(printed)
    return found.sort_values("train", ascending=False, kind="stable", ignore_index=True)


def leaning(study: Study, systems: Systems) -> pd.DataFrame:
    """How much each system leans on `no_relation`: the share of rows that it answers so, and of gold rows, and recalls."""
    rows = []
    for name, system in systems.items():
        share = study.estimate("no_relation_share", system)
        each = [counts.class_scores(system.gold, answer, system.labels) for answer in system.answers]
        recall = pd.concat(each).query("support > 0").groupby("label").recall.mean()
        rows.append({
            "system": name, "gold no_relation": np.mean(system.gold == NO_RELATION),
            "answered no_relation": interval(share.value, share.low, share.high),
            "its recall": recall.get(NO_RELATION), "macro recall of relations": recall.drop(NO_RELATION, errors="ignore").mean(),
        })  # fmt: skip
    return pd.DataFrame(rows)


def confusions(system: SystemAnswers, largest: int = 10) -> pd.DataFrame:
    """Shares of the test rows of a relation (index) that are answered so (columns), over seeds.

    The relations are those that are taken for each other most often; the last columns hold what is missed altogether,
    and all other answers.
    """
    rows = pd.DataFrame(
        {"gold": np.tile(system.gold, len(system.answers)), "answer": np.concatenate(system.answers)}
    ).query("gold != @NO_RELATION")
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
    return {
        name: {
            score: np.mean([drawn[name, n][score] for n in range(len(system.answers))], axis=0)
            for score in drawn[name, 0]
        }
        for name, system in systems.items()
    }


def calibration(study: Study, systems: Systems) -> tuple[pd.DataFrame, pd.DataFrame]:
    """How far confidence can be trusted, of the first seed of systems with log-probabilities, before and after scaling.

    First a row a system: temperature (chosen on dev), expected calibration error of answered relations before and after
    it, Brier score. Then the points of a reliability diagram: system, confidence, right, low, high, rows.
    """
    table, points = [], [pd.DataFrame()]
    for name, run in ((name, system.runs[0]) for name, system in systems.items()):
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
        if len(before):
            points.append(postprocessing.reliability_bins(before, right).assign(system=name))
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
        f1 = {split: counts.all_scores(gold[split], two.answers[split], labels)["micro_f1"] for split in SCORED}
        rows.append({"detector": detector, "classifier": classifier, "threshold": two.threshold} | f1)
        true, answer = (np.array(column, object) for column in (gold["test"], two.answers["test"]))
        name = f"{detector} before {classifier}"
        systems[detector, classifier] = SystemAnswers(name, true, [answer], labels)
    return pd.DataFrame(rows, columns=["detector", "classifier", "threshold", *SCORED]), systems


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
    return pd.DataFrame(
        [{"block": name, "features": len(part), "the first": " | ".join(part[:6])} for name, part in made.items()]
    )


def as_tokens(study: Study, row: Example) -> pd.DataFrame:
    """What a BiLSTM reads: a line a word, with its tags and its distances to both entities."""
    if not _readable(study):
        return pd.DataFrame()
    places = np.arange(len(row.token))
    frame = pd.DataFrame({"word": row.token, "entity": entity_marks(row)})
    for name, column in (("part of speech", row.stanford_pos), ("named entity", row.stanford_ner)):
        if column:
            frame[name] = column
    return frame.assign(**{
        "from subject": span_distance(places, *row.subject), "from object": span_distance(places, *row.object)
    })  # fmt: skip


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

    rows = []
    if _readable(study):
        settings, classes = study.profile.settings("bilstm"), len(study.corpus.labels)
        encoder, _ = bilstm.make_encoder(study.corpus, "joint", settings)
        network = bilstm.BilstmClassifier(encoder, classes, settings, bilstm.word_vectors(encoder, settings))
        for name, part in network.named_modules():
            if own := list(part.parameters(recurse=False)):
                shapes = " ".join("×".join(map(str, weight.shape)) for weight in own)
                rows.append((name, type(part).__name__, shapes, sum(weight.numel() for weight in own)))
    return pd.DataFrame(rows, columns=["layer", "kind", "weights", "parameters"])


def _readable(study: Study) -> bool:
    return study.corpus.has_text and not study.corpus.gated


def _ends(found: Estimate) -> dict[str, float]:
    return {"value": found.value, "low": found.low, "high": found.high}

"""What the study has computed from data that it may not ship, kept as small tables in data/evidence.

Others have published what their systems answered on TACRED's test split, and two groups annotated it again. From these
files (`write_tables` asks for all of them) come scores with intervals, paired differences, confusion counts and what
became of the labels: no id and no sentence. Pages and verdicts read the tables; where the files are at hand,
`changed_tables` says whether they still give the same. The unit of resampling is the row: TACRED's sentences are licensed.
"""

from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import mode
from sklearn.metrics import cohen_kappa_score

from tacred_utils.corpora.registry import read_patch
from tacred_utils.ground.errors import UserError
from tacred_utils.ground.files import write_text
from tacred_utils.ground.labels import NO_RELATION, order_labels
from tacred_utils.ground.paths import DATA
from tacred_utils.metrics import counts
from tacred_utils.metrics.estimates import ROWS, Estimate, resample
from tacred_utils.paper import measures, published
from tacred_utils.paper.published import PAPER_BERT

FOLDER = DATA / "evidence"
TRIVIAL, OTHERS = "always no_relation", "mean of the eight others"
LABELS = ("TACRED", "TACREV", "Re-TACRED, matched", "Re-TACRED, as it stands")
PAIRED = ("micro_p", "micro_r", "micro_f1", "macro_f1", "weighted_f1", "detection_f1", "classification_accuracy")
NEW = "per:identity"  # Re-TACRED's own relation
DIGITS = 6


def kept_table(name: str, folder: Path = FOLDER) -> pd.DataFrame:
    """One of the tables, by its name without .csv. Raises `UserError` if it is missing or damaged."""
    path = folder / f"{name}.csv"
    try:
        return pd.read_csv(path, keep_default_na=False, na_values=["nan"])
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error}); fetch it again from the repository.") from None


def estimate(score: str, system: str, minus: str = "", labels: str = "TACRED") -> Estimate:
    """A score of a published system, or of it minus another, on TACRED's test split; raises `KeyError` if unknown."""
    frame = kept_table("scores").query("labels == @labels and score == @score").set_index(["system", "minus"])
    turned = (system, minus) not in frame.index  # a pair is kept one way round
    if turned and (not minus or (minus, system) not in frame.index):
        raise KeyError(f"{score} of {system}{f' minus {minus}' if minus else ''} under {labels}'s labels")
    row = frame.loc[(minus, system) if turned else (system, minus)]
    value, low, high = (float(row[name]) for name in ("value", "low", "high"))
    parts = tuple(float(frame.value[name, ""]) for name in (system, minus) if minus)
    ends = (-value, -high, -low) if turned else (value, low, high)
    return Estimate(*ends, int(row.n), row.unit, parts=parts)


def counts_of(system: str) -> counts.ConfusionCounts:
    """Every score of a published system by TACRED's labels follows from its counts."""
    cells = kept_table("confusion")
    labels = order_labels([*cells.gold, *cells.answer])
    codes = (pd.Index(labels).get_indexer(cells[side]) for side in ("gold", "answer"))
    return counts.count_cells(*codes, cells[system].to_numpy(float), labels)


def computed_tables(data_dir: Path) -> dict[str, pd.DataFrame]:
    """Every table by name, from the published files below a data folder. Raises `UserError` where one is missing."""
    systems = published.system_predictions(data_dir)
    truth = _label_sets(systems, data_dir)
    renamed = _new_names(truth)
    right = systems[list(published.SYSTEMS)].eq(systems.gold, axis=0)
    alone = right.drop(columns=PAPER_BERT).all(axis=1) & ~right[PAPER_BERT]  # errors of the paper's BERT alone
    pairs = systems[alone].groupby(["gold", PAPER_BERT]).size().sort_values(ascending=False, kind="stable")
    tables = {
        "scores": _all_scores(systems, truth, renamed), "confusion": _confusion(systems),
        "label_changes": _label_changes(truth), "difficulty": _difficulty(right, truth, renamed),
        "agreement": _agreement(systems), "errors_alone": pairs.rename("rows").rename_axis(["gold", "answer"]).reset_index(),
        "facts": _facts(systems, truth, right, alone),
    }  # fmt: skip
    return {name: frame.round(DIGITS) for name, frame in tables.items()}


def write_tables(data_dir: Path, folder: Path = FOLDER) -> None:
    """Write all tables. All files have to be there (else `UserError`), so that none is replaced by one that knows less."""
    for name, frame in computed_tables(data_dir).items():
        write_text(folder / f"{name}.csv", frame.to_csv(index=False, lineterminator="\n"))


def changed_tables(data_dir: Path, folder: Path = FOLDER) -> list[str]:
    """The names of tables that the files below a data folder do not give as they are kept."""
    changed = []
    for name, frame in computed_tables(data_dir).items():
        try:
            pd.testing.assert_frame_equal(frame, kept_table(name, folder), False, rtol=0, atol=10 ** (1 - DIGITS))
        except AssertionError:
            changed.append(name)
    return changed


def said_of(data_dir: Path) -> str:
    """One sentence on where what is shown of TACRED's test split comes from."""
    if absent := published.missing_files(data_dir):
        return f"Of TACRED's test split, what this study has computed and keeps in data/evidence is shown. ({absent})"
    changed = changed_tables(data_dir)
    same = f"but for {', '.join(changed)}, which differ" if changed else "and are the same"
    return f"The tables in data/evidence were recomputed from the published files, {same}."


# The tables


def _label_sets(systems: pd.DataFrame, data_dir: Path) -> pd.DataFrame:
    """TACRED's labels, TACREV's, and Re-TACRED's (missing where it dropped the row)."""
    patches = {name: read_patch(data_dir / file, systems.id) for name, file in published.PATCHES.items()}
    return pd.DataFrame({
        "TACRED": systems.gold,
        "TACREV": systems.id.map(patches["TACREV"]).fillna(systems.gold),
        "Re-TACRED": systems.id.map(patches["Re-TACRED"]),
    })  # fmt: skip


def _new_names(truth: pd.DataFrame) -> dict[str, str]:
    """Relations that are gone from Re-TACRED, each with the label that most of its rows now carry.

    `per:country_of_birth` is kept in Re-TACRED's other splits, but has no test row.
    """
    again = truth["Re-TACRED"]
    gone = set(truth.TACRED) - set(again.dropna()) - {"per:country_of_birth"}
    return {label: again[label == truth.TACRED].mode()[0] for label in gone}


def _all_scores(systems: pd.DataFrame, truth: pd.DataFrame, renamed: dict[str, str]) -> pd.DataFrame:
    """Scores and differences: columns labels, system, minus, score, value, low, high, n, unit."""
    again = truth["Re-TACRED"]
    matched = again.notna() & (again != NEW)  # what no system could answer is left out
    golds = (truth.TACRED, truth.TACREV, again[matched], again[again.notna()])
    rows = []
    for labels, gold in zip(LABELS, golds, strict=True):
        new = renamed if labels == "Re-TACRED, matched" else {}
        answers = {name: systems[name][gold.index].replace(new) for name in published.SYSTEMS}
        answers[TRIVIAL] = pd.Series(counts.always_no_relation(gold), index=gold.index)
        for (one, other, score), found in _scored(gold, answers, whole=labels == "TACRED").items():
            rows.append({"labels": labels, "system": one, "minus": other, "score": score} | found.row)
    return pd.DataFrame(rows).drop(columns="p_value")


def _scored(gold: pd.Series, answers: dict[str, pd.Series], whole: bool) -> dict[tuple[str, str, str], Estimate]:
    """Estimates on one label set by system, minus and score; `whole`: every score, and the differences of all pairs."""
    drawn = dict(zip(answers, resample(gold, list(answers.values())), strict=True))
    exact = {name: counts.confusion_counts(gold, answer, drawn[name].labels) for name, answer in answers.items()}
    scores = [*counts.SCORES[:-1], *measures.COUNTED] if whole else ["micro_f1", "macro_f1", "detection_f1"]
    values = {name: (_values(exact[name]), _values(drawn[name])) for name in answers}
    found: dict[tuple[str, str, str], Estimate] = {}
    for score in scores:
        for name, (value, draws) in values.items():
            found[name, "", score] = Estimate.from_draws(value[score], draws[score], len(gold), ROWS)
        for one, other in combinations(published.SYSTEMS if whole and score in PAIRED else (), 2):
            found[one, other, score] = found[one, "", score] - found[other, "", score]
    if not whole:
        return found
    # How F1 goes with the rows that a class has in train and dev: the paper prints no counts of train alone.
    labels, relation = exact[PAPER_BERT].labels, exact[PAPER_BERT].relation
    trained = published.relation_counts()[labels] - exact[PAPER_BERT].gold
    gap, f1 = measures.frequency_gap(trained), {name: exact[name].f1[relation] for name in published.SYSTEMS}
    f1[OTHERS] = np.mean([each for name, each in f1.items() if name != PAPER_BERT], axis=0)
    for name, each in f1.items():
        if name != OTHERS:
            ends = gap(exact[name]), gap(drawn[name])
            found[name, "", "frequent_minus_rare"] = Estimate.from_draws(*ends, len(gold), ROWS)
        found[name, "", "rank_correlation"] = measures.rank_correlation(each, trained[relation])
    return found


def _values(counted: counts.ConfusionCounts) -> dict[str, np.ndarray]:
    return counted.scores() | {name: function(counted) for name, function in measures.COUNTED.items()}


def _confusion(systems: pd.DataFrame) -> pd.DataFrame:
    """Rows by gold label and answer: columns gold, answer, then one for each system."""
    cells = {name: systems.groupby(["gold", name]).size().rename_axis(["gold", "answer"]) for name in published.SYSTEMS}
    return pd.DataFrame(cells).fillna(0).astype(int).reset_index()


def _label_changes(truth: pd.DataFrame) -> pd.DataFrame:
    """What became of TACRED's relations and of its `no_relation`, in rows, by revision."""
    relation, rows = truth.TACRED != NO_RELATION, []
    for name in published.PATCHES:
        new = truth[name]
        cases = {"dropped": new.isna(), "kept": new == truth.TACRED, "now no_relation": new == NO_RELATION}
        cases["now a relation"] = ~relation  # the first case that holds counts
        fate = pd.Series(np.select(list(cases.values()), list(cases), "other relation"))
        for side, part in (("relations", relation), ("no_relation", ~relation)):
            rows.append({"revision": name, "of": side} | fate[part].value_counts().to_dict())
    order = ["kept", "other relation", "now no_relation", "now a relation", "dropped"]
    frame = pd.DataFrame(rows).set_index(["revision", "of"])[order]
    return frame.fillna(0).astype(int).reset_index()


def _difficulty(right: pd.DataFrame, truth: pd.DataFrame, renamed: dict[str, str]) -> pd.DataFrame:
    """By how many of the nine agree with TACRED's label: rows, and the shares that either revision changed.

    A relation that Re-TACRED only renamed counts as unchanged, and rows of its own relation are left out.
    """
    agree = right.sum(axis=1)
    again = truth["Re-TACRED"]
    kept = again.notna() & (again != NEW)
    changed = {
        "rows": agree.value_counts(),
        "TACREV": (truth.TACREV != truth.TACRED).groupby(agree).mean(),
        "Re-TACRED": (again != truth.TACRED.replace(renamed))[kept].groupby(agree).mean(),
    }
    return pd.DataFrame(changed).rename_axis("agree").reset_index()


def _agreement(systems: pd.DataFrame) -> pd.DataFrame:
    """Cohen's kappa of every two systems, and of each with the gold label."""
    places = {label: place for place, label in enumerate(sorted(set(systems.gold)))}
    answers = systems[[*published.SYSTEMS, "gold"]].apply(lambda column: column.map(places))
    return answers.corr(cohen_kappa_score).rename_axis("system").reset_index()


def _facts(systems: pd.DataFrame, truth: pd.DataFrame, right: pd.DataFrame, alone: pd.Series) -> pd.DataFrame:
    """Single numbers: columns fact, value."""
    gold, others = systems.gold, right.drop(columns=PAPER_BERT)
    names = np.unique(systems[others.columns])  # a majority vote: of equals the first by name
    vote = names[mode(np.searchsorted(names, systems[others.columns].to_numpy(str)), axis=1).mode]
    mended = systems[PAPER_BERT].where(~alone, gold)

    def micro(true: pd.Series, answers: pd.Series) -> float:
        return counts.all_scores(true, answers)["micro_f1"]

    facts = {
        "rows": len(systems),
        "rows that all eight others get right": others.all(axis=1).sum(),
        "of these, errors of the paper's BERT": alone.sum(),
        "of these errors, false alarms": (alone & (gold == NO_RELATION)).sum(),
        "rows that only the paper's BERT gets right": (right[PAPER_BERT] & ~others.any(axis=1)).sum(),
        "micro F1 of the paper's BERT with these errors mended": micro(gold, mended),
        "micro F1 of the majority vote of the eight": micro(gold, vote),
        "micro F1 of TACRED's labels under TACREV's": micro(truth.TACREV, gold),
    }
    return pd.DataFrame(facts.items(), columns=["fact", "value"])

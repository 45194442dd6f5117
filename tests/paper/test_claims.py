"""Verdicts and the rules behind them, the paper's tables against hand-worked numbers, and evidence from runs."""

import json
import math
import re
import shutil

import numpy as np
import pandas as pd
import pytest

from tacred_utils.ground.labels import TASKS
from tacred_utils.metrics import counts
from tacred_utils.notebook import charts
from tacred_utils.notebook.study import Study
from tacred_utils.paper import claims, consistency, measures, printed, published, summaries
from tacred_utils.paper.claims import CONTRADICTED, NOT_SUPPORTED, NOT_TESTABLE, SUPPORTED, UNDECIDED, Evidence
from tacred_utils.runs import experiments
from tacred_utils.runs.catalog import Missing, SystemAnswers, load_catalogs
from tacred_utils.runs.profile import parse_overrides
from tacred_utils.runs.publish import publish

ABOVE, BELOW = (0.2, math.inf), (-math.inf, 0.2)


# The rules


@pytest.mark.parametrize(
    "low, high, needs, own, expected",
    [
        (0.21, 0.30, ABOVE, False, SUPPORTED),
        (0.10, 0.19, ABOVE, False, NOT_SUPPORTED),
        (0.10, 0.19, ABOVE, True, CONTRADICTED),  # the paper's own numbers
        (0.19, 0.21, ABOVE, False, UNDECIDED),
        (0.19, 0.21, ABOVE, True, UNDECIDED),  # rounding leaves it open
        (0.20, 0.30, ABOVE, False, UNDECIDED),  # the edge itself decides nothing
        (0.10, 0.19, BELOW, False, SUPPORTED),
        (0.21, 0.30, BELOW, False, NOT_SUPPORTED),
        (0.44, 0.44, (0.85, 0.95), True, CONTRADICTED),
        (0.90, 0.90, (0.85, 0.95), True, SUPPORTED),
        (0.80, 0.99, (0.85, 0.95), False, UNDECIDED),
        (math.nan, math.nan, ABOVE, False, NOT_TESTABLE),
    ],
)
def test_a_test_is_decided_by_its_interval_and_the_range(low, high, needs, own, expected):
    assert claims.verdict(low, high, needs, own) == expected


@pytest.mark.parametrize(
    "verdicts, expected",
    [
        ([], NOT_TESTABLE),
        ([SUPPORTED, SUPPORTED], SUPPORTED),
        ([SUPPORTED, UNDECIDED], UNDECIDED),
        ([SUPPORTED, UNDECIDED, NOT_SUPPORTED], NOT_SUPPORTED),
        ([SUPPORTED, NOT_SUPPORTED, CONTRADICTED], CONTRADICTED),
        ([NOT_TESTABLE, NOT_TESTABLE], NOT_TESTABLE),
        ([SUPPORTED, NOT_TESTABLE], UNDECIDED),  # a test that was not made does not bear it out
        ([NOT_SUPPORTED, NOT_TESTABLE], NOT_SUPPORTED),
    ],
)
def test_a_claim_takes_the_gravest_verdict_of_its_tests(verdicts, expected):
    assert claims.judge(verdicts) == expected


def test_margins_are_positive_inside_the_range_and_only_tests_have_verdicts():
    rows = [
        Evidence("C8", "a", "conll04", 0.3, 0.25, 0.35, ABOVE, "here"),
        Evidence("C8", "b", "conll04", 0.1, 0.05, 0.15, ABOVE, "here", False),
        Evidence("C8", "c", "conll04", math.nan, math.nan, math.nan, ABOVE, "here"),
    ]
    table = claims.table(rows)
    assert table.verdict.tolist() == [SUPPORTED, "", NOT_TESTABLE]
    assert table.value_margin[:2].tolist() == pytest.approx([0.1, -0.1])
    answer = claims.verdicts(table).set_index("claim").loc["C8"]
    assert (answer.verdict, answer.supporting, answer.open, answer.against) == (UNDECIDED, 1, 0, 0)
    assert claims.verdicts(table[:2]).set_index("claim").verdict["C8"] == SUPPORTED
    assert answer.missing == "c" and claims.view(table).measured.tolist() == ["a", "b"]
    assert claims.quote(table, "C8", "b") == "0.100 [0.050, 0.150]" and "not measured" in claims.quote(table, "C8", "c")


def test_nineteen_claims_and_every_test_is_of_one_and_can_be_computed():
    known, tests = claims.load_claims()
    assert [claim.claim for claim in known] == [f"C{number}" for number in range(1, 20)]
    scores = {*counts.SCORES, *measures.MEASURES, *measures.COUNTED}
    for test in tests:
        assert test.claim in {claim.claim for claim in known} and test.score in scores, test
        assert math.isinf(test.above) != math.isinf(test.below), f"{test.claim}: one edge, not none and not two"
        assert ("{}" in test.of + test.minus) == (test.each != ("",)), test
        names = [test.of.replace("{}", name) for name in test.each]
        assert not test.published or set(names) <= set(published.SYSTEMS), names
    assert {number for claim in known for number in claim.notebooks} <= {f"{n:02}" for n in range(1, 10)}


def test_runs_that_tests_ask_for_are_declared_experiments():
    """A test on a run that the study never trains would be missing for ever."""
    have = set()
    for experiment in experiments.load_experiments():
        tasks = {"joint", "relation_only"} if "ablation" in experiment.tasks else set(experiment.tasks)
        changed = json.dumps(experiment.set, sort_keys=True)
        have |= {(experiment.family, experiment.variant or "", changed, task) for task in tasks}
    for test in claims.load_claims()[1]:
        for name in () if test.published else test.each:
            for spec in filter(None, (test.of, test.minus)):
                family, task, *more = spec.replace("{}", name).split()
                changed = parse_overrides([word for word in more if "=" in word])
                variant = " ".join(word for word in more if "=" not in word)
                parts = {"two_stages": ("detection", "relation_only"), "gated": ("joint",), "restricted": ("joint",)}
                for part in parts.get(task, (task,)):
                    assert (family, variant, json.dumps(changed, sort_keys=True), part) in have, spec


# The paper's own numbers


@pytest.fixture(scope="module")
def checks():
    return consistency.checks()


def value_of(checks, place, check):
    [row] = checks[(checks.place == place) & checks.check.str.startswith(check)].itertuples()
    return row.printed, row.recomputed, row.agrees


@pytest.mark.parametrize(
    "place, check, printed_value, recomputed, agrees",
    [
        ("section 1, Table 12", "instances", 106_264, 106_264, "yes"),
        ("section 1, Table 12", "labels", 42, 42, "yes"),
        ("section 1, Table 12", "share", 0.80, 84_491 / 106_264, "yes"),
        ("Tables 1 and 12", "rows of per:title", 3_864, 3_862, "no"),
        ("section 3.1, split sizes", "no_relation", 4.2, 55_112 / 13_012, "yes"),
        ("Figure 2", "3-6", 85_854_464, 85_054_464, "no"),
        ("Figure 2", "2-9", 2_360_864, 3_072 * 768 + 768, "no"),
        ("Figure 2", "2-4", 2_362_368, 4 * (768 * 768 + 768), "yes"),
        ("Figure 2", "1-4", 196_864, 768 * 256 + 256, "yes"),
        ("Figure 2, published code", "1-4", 196_864, 1_536 * 256 + 256, "no"),
        ("section 4, Table 2", "GPT-2's macro_f1", 0.18, 2 * 12_184 / (12_184 + 15_509) / 42, "no"),
        ("section 4, Table 2", "GPT-2's weighted_r", 0.79, 12_184 / 15_509, "yes"),
        ("section 4, Table 6", "F1 of relation", 0.9, 0.44, "no"),
        ("Tables 4 and 6", "values", 0, 6, "no"),
        ("Table 2 and Table 10", "bert joint, macro_r", 0.45, 0.44, "no"),
        ("Table 2 and Table 10", "bert joint, weighted_p", 0.82, 0.81, "no"),
        ("Table 3 and Table 11", "bert relation_only, macro_f1", 0.57, 0.56, "no"),
        ("A.2 and Table 8", "bilstm joint, macro_f1", 0.36, 0.3637, "yes"),
        ("A.3 and Table 10", "bert joint, weighted_f1", 0.81, 0.8061, "yes"),
        ("Table 6", "macro_f1", 0.58, (0.71 + 0.44) / 2, "yes"),
        ("Table 6", "accuracy", 0.62, (0.94 + 0.30) / 2, "yes"),
        ("Table 7", "rows whose F1", 41, 41, "yes"),
    ],
)
def test_checks_against_hand_worked_numbers(checks, place, check, printed_value, recomputed, agrees):
    assert value_of(checks, place, check) == (pytest.approx(printed_value), pytest.approx(recomputed), agrees)


def test_class_tables_agree_with_their_averages_and_two_counts_of_figure_2_do_not(checks):
    classes = checks[checks.place.str.fullmatch(r"Table \d+")]
    assert len(classes) == 6 * 8 and (classes.agrees == "yes").all()
    figure = checks[(checks.place == "Figure 2") & (checks.claim == "")]
    assert len(figure) == 13 and (figure.agrees == "no").sum() == 2


def test_a_misprint_in_a_class_row_or_an_average_would_be_found():
    rows = published.per_class().query("table == 'Table 8'").copy()
    assert consistency.rows_that_fit(rows) == len(rows)
    rows.loc[rows.index[1], "f1"] += 0.03
    assert consistency.rows_that_fit(rows) == len(rows) - 1
    rows.loc[rows.label == "no_relation", "recall"] = 0.80
    assert abs(consistency.averages(rows)["accuracy"] - 0.79) > 2 * consistency.HALF


def test_what_the_paper_prints_decides_these_claims_without_any_file():
    found = claims.table(printed.from_the_paper())
    answers = claims.verdicts(found).set_index("claim").verdict
    contradicted = {"C3", "C4", "C5", "C7", "C8", "C10", "C13", "C14"}
    assert set(answers.index[answers == CONTRADICTED]) == contradicted
    assert answers["C1"] == answers["C2"] == SUPPORTED and answers["C12"] == NOT_TESTABLE
    by_text = found.set_index("measured").value
    assert by_text["bilstm: gain in macro F1"] == pytest.approx(0.61 - 0.36)
    assert by_text["bert: gain in weighted F1"] == pytest.approx(0.69 - 0.81)
    assert by_text["bilstm joint: dev loss over training loss"] == pytest.approx(4.7232 / 0.0165)
    share = by_text["bert joint: share answered no_relation − its share in gold"]
    assert share == pytest.approx(0.87 * 12_184 / 0.91 / 15_509 - 12_184 / 15_509)


# Published predictions


def test_published_predictions_speak_on_tacred(data_dir):
    if sentence := published.missing_files(data_dir, published.SYSTEMS.values()):
        pytest.skip(sentence)
    found = claims.table(claims.from_predictions(published.system_predictions(data_dir), draws=200))
    row = found[(found.claim == "C3") & found.measured.str.startswith(published.PAPER_BERT)].iloc[0]
    assert row.value == pytest.approx(0.756 - 0.786, abs=0.001) and row.verdict == NOT_SUPPORTED
    lstm = found[(found.claim == "C18") & found.decides]
    assert (lstm.verdict == SUPPORTED).all() and len(lstm) == 5
    rho = found[(found.claim == "C11") & found.measured.str.startswith(published.PAPER_BERT)].value.iloc[0]
    assert rho == pytest.approx(0.23, abs=0.005)


def test_without_published_predictions_their_tests_are_missing():
    found = claims.table(claims.from_predictions(None))
    assert (found.verdict == NOT_TESTABLE).all() and set(found.origin) == {claims.TACRED}
    answers = claims.verdicts(found).set_index("claim")
    assert answers.missing["C18"] == "published predictions on TACRED" and answers.verdict["C18"] == NOT_TESTABLE


# Estimates


LABELS = ["no_relation", "a", "b", "c"]


def system(answers, gold, name="s"):
    return SystemAnswers(name, np.array(gold), [np.array(answer) for answer in answers], LABELS)


@pytest.fixture
def answers():
    rng = np.random.default_rng(1)
    gold = rng.choice(LABELS, 400, p=[0.7, 0.15, 0.1, 0.05])
    good = np.where(rng.random(400) < 0.9, gold, rng.choice(LABELS, 400))
    bad = np.where(rng.random(400) < 0.6, gold, rng.choice(LABELS, 400))
    return gold, good, bad


def test_systems_are_scored_on_the_same_rows(answers):
    gold, good, bad = answers
    one, other = measures.estimates([system([good], gold), system([bad], gold)], "accuracy")
    assert (one - other).parts == (one.value, other.value)
    with pytest.raises(AssertionError, match="same rows"):
        measures.estimates([system([good], gold), system([good], gold[::-1])], "accuracy")


def test_shares_and_gaps_by_hand():
    gold = ["no_relation"] * 6 + ["a"] * 3 + ["b"]
    lazy = system([["no_relation"] * 9 + ["b"]], gold)
    assert measures.measure("no_relation_share", [lazy]).value == pytest.approx(0.9)
    assert measures.measure("no_relation_excess", [lazy]).value == pytest.approx(0.3)
    clear = SystemAnswers("s", lazy.gold, lazy.answers, ["no_relation", "a", "b"])
    assert measures.measure("frequent_minus_rare", [clear]).value == pytest.approx(0 - 1)  # a has most rows and F1 0
    assert measures.measure("unevenness", [clear]).value == pytest.approx(0.5)
    assert measures.measure("rank_correlation", [clear]).value == pytest.approx(-1)


# Runs: a real one is trained once, and its copies are changed as a test needs it


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    study = Study("10", "smoke", results=str(root / "results"))
    tasks = ("joint", "detection", "relation_only")
    publish([study.run("svm", task) for task in tasks], root / "published")
    return root, study.corpus


def as_if(folder, corpus, **facts):
    """Give out the runs of sample below `folder` as those of another corpus."""
    for info in sorted(folder.glob("sample/*/run.json")):
        content = json.loads(info.read_text())
        content["corpus"] |= facts | {"name": corpus}
        info.write_text(json.dumps(content))
    (folder / "sample").rename(folder / corpus)


@pytest.fixture
def runs(trained, tmp_path):
    shutil.copytree(trained[0] / "published", tmp_path / "runs")
    return tmp_path / "runs"


def test_no_verdict_rests_on_sample(runs):
    found = claims.table(claims.from_runs(load_catalogs([(runs, None)]), draws=50))
    rows = found[(found.origin == "sample") & found.value.notna()]
    assert len(rows) > 3 and (rows.verdict == "").all() and not rows.decides.any()
    answers = claims.verdicts(found)
    assert (answers.verdict == NOT_TESTABLE).all() and (answers.supporting + answers.against + answers.open == 0).all()


def test_no_verdict_rests_on_part_of_a_corpus_nor_on_one_that_is_not_listed(runs):
    as_if(runs, "conll04", synthetic=False, subset="a subset")
    part = claims.table(claims.from_runs(load_catalogs([(runs, None)]), draws=50))
    assert not part[part.value.notna()].decides.any()
    (runs / "conll04").rename(runs / "sample")
    as_if(runs, "my_own", synthetic=False, subset="")
    own = claims.table(claims.from_runs(load_catalogs([(runs, None)]), draws=50))
    assert (own.origin == "my_own").any() and not own[own.value.notna()].decides.any()


@pytest.mark.parametrize("corpus, speaks", [("conll04", {"C5", "C7", "C19"}), ("kbp37", {"C19"})])
def test_complete_real_corpora_decide_where_they_can_speak(runs, corpus, speaks):
    as_if(runs, corpus, synthetic=False, subset="")
    found = claims.table(claims.from_runs(load_catalogs([(runs, None)]), draws=50))
    assert set(found[found.decides & found.value.notna()].claim) == speaks


def test_what_is_missing_is_named_and_only_once(runs):
    found = claims.table(claims.from_runs(load_catalogs([(runs, None)]), draws=50))
    missing = found[found.value.isna()]
    assert set(missing.origin) == {claims.MAIN} and (missing.verdict == NOT_TESTABLE).all()
    answers = claims.verdicts(found).set_index("claim")
    assert answers.missing["C12"] == "a run of bert heads joint" and answers.missing["C13"] == ""
    assert "Missing: a run of bert heads joint." in claims.sentences(answers.reset_index(), ["C12"])


def test_systems_are_put_together_from_predictions(runs):
    catalog = load_catalogs([(runs, None)])["sample"]
    joint, staged = catalog.system("svm joint"), catalog.system("svm two_stages")
    detected = catalog.system("svm detection").answers[0]
    assert len(joint.gold) == len(staged.gold) and joint.labels == staged.labels
    assert set(detected) == {"no_relation", "relation"}
    named = catalog.system("svm relation_only")
    assert "no_relation" not in named.labels and len(named.gold) == (joint.gold != "no_relation").sum()
    for absent in ("bert joint", "svm joint paper", "svm joint c=2.0"):
        with pytest.raises(Missing, match=absent.split()[-1].replace("joint", "bert")):
            catalog.system(absent)
    with pytest.raises(Missing, match="log-probabilities"):
        catalog.system("svm restricted")  # published copies keep none here
    with pytest.raises(Missing, match="sentences of sample"):
        measures._longest_rows(catalog)


def test_the_joint_model_restricted_and_gated_and_rows_by_sentence(trained):
    root, corpus = trained
    catalog = load_catalogs([(root / "results", None)], [corpus])["sample"]
    restricted, named = catalog.system("svm restricted"), catalog.system("svm relation_only")
    assert np.array_equal(restricted.gold, named.gold) and "no_relation" not in set(restricted.answers[0])
    assert len(catalog.system("svm gated").gold) == len(corpus.test)
    longest, apart = measures._longest_rows(catalog), measures._far_apart(catalog)
    assert 0 < longest.mean() <= 0.2 and 0.2 < apart.mean() <= 0.5
    found = measures.measure("longest_fifth", [catalog.system("svm joint")], catalog, 50)
    assert found.low <= found.high and np.isfinite(found.value)


def test_a_run_that_differs_from_its_profile_is_no_headline_row(runs):
    info = next(runs.glob("sample/svm-joint-*/run.json"))
    content = json.loads(info.read_text())
    content["settings"]["c"] = 2.0
    info.write_text(json.dumps(content))
    catalog = load_catalogs([(runs, None)])["sample"]
    assert catalog.system("svm joint c=2.0").runs and catalog.frame.system[catalog.frame.task == "joint"].tolist() == [""]
    with pytest.raises(Missing):
        catalog.system("svm joint")


def test_the_largest_version_of_a_corpus_counts_and_a_run_counts_once(runs, trained):
    info = next(runs.glob("sample/svm-joint-*/run.json"))
    content = json.loads(info.read_text())
    content["corpus"]["rows"]["train"] -= 1
    content["corpus"]["sha256"] = {"train": "of a smaller part"}
    info.write_text(json.dumps(content))
    assert set(load_catalogs([(runs, None)])["sample"].frame.task) == {"detection", "relation_only"}
    both = load_catalogs([(trained[0] / "results", "sample"), (runs, None)])["sample"].frame
    assert sorted(both.task) == ["detection", "joint", "relation_only"]
    assert load_catalogs([(runs / "nowhere", None), (runs, "kbp37")]) == {}


def test_coverage_keeps_only_answers_that_dev_says_are_precise_enough():
    class Run:
        def __init__(self, folder, dev, test):
            self.folder, self.frames = folder, {"dev": dev, "test": test}

        def predictions(self, split="test"):
            return pd.DataFrame(self.frames[split], columns=["label_true", "label_pred", "p"])

    dev = [("a", "a", 0.9), ("a", "a", 0.8), ("b", "a", 0.7), ("a", "a", 0.7), ("no_relation", "no_relation", 0.99)]
    test = [("a", "a", 0.85), ("a", "a", 0.75), ("b", "no_relation", 0.9)]
    assert measures.at_precision(Run("one", dev, test), 0.9).tolist() == ["a", "no_relation", "no_relation"]
    assert measures.at_precision(Run("two", dev, test), 0.75).tolist() == ["a", "a", "no_relation"]
    wrong = [("b", "a", 0.9)]
    assert set(measures.at_precision(Run("three", wrong, test), 0.9)) == {"no_relation"}


# Tables and the figure


def test_a_summary_has_every_task_its_scores_and_the_trivial_systems(runs, trained):
    catalog = load_catalogs([(runs, None)], [trained[1]])["sample"]
    table = summaries.system_table(catalog, ["micro_f1", "macro_f1", "directional_macro_f1"])
    named = ["SVM", "always no_relation", "majority per type pair"]
    assert table.groupby("task", sort=False).system.apply(list).to_dict() == dict.fromkeys(TASKS, named)
    joint = next(run for run in catalog.frame.run if run.info["task"] == "joint")
    assert table.micro_f1[0] == f"{joint.metrics['test']['micro_f1']:.3f}" and "directional_macro_f1" not in table
    assert table.micro_f1[table.system == "always no_relation"].tolist() == ["0.000"] * 3


def test_deviations_are_of_seeds_and_the_paper_stands_beside_them(runs):
    [folder] = runs.glob("sample/svm-joint-*")
    copy = folder.with_name("svm-joint-s42-copy")
    shutil.copytree(folder, copy)
    content = json.loads((copy / "run.json").read_text()) | {"seed": 42}
    (copy / "run.json").write_text(json.dumps(content))
    catalogs = load_catalogs([(runs, None)])
    first = summaries.system_table(catalogs["sample"], ["micro_f1"]).iloc[0]
    assert first.seeds == 2 and re.fullmatch(r"0\.(\d{3}) \(0\.\1–0\.\1\)", first.micro_f1)
    beside = summaries.beside_the_paper(catalogs, "macro_f1").set_index(["family", "task"])
    assert beside["the paper, TACRED"]["bert", "joint"] == 0.41 and "sample, SYNTHETIC" in beside


def test_the_figure_has_a_row_for_every_claim_and_a_mark_for_every_verdict():
    found = claims.table(printed.from_the_paper())
    drawn = found[["claim", "verdict"]].assign(value=found.value_margin, low=found.low_margin, high=found.high_margin)
    figure = charts.evidence(drawn, claims.verdicts(found), claims.MARKS)
    [axis] = figure.axes
    assert len(axis.get_yticklabels()) == 19 and axis.get_yticklabels()[0].get_text().startswith("C1 ")
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(claims.MARKS)
    written = [text.get_text() for text in axis.texts]
    assert written.count("contradicted") == 8 and len(written) == 19

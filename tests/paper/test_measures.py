"""Measures on planted runs: what they come to, and what is said against them."""

import json
import re
import shutil
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from tacred_utils.corpora.example import ROWS, Corpus, Example, read_rows
from tacred_utils.ground.labels import TASKS
from tacred_utils.ground.paths import PUBLISHED_RUNS
from tacred_utils.metrics.counts import all_scores
from tacred_utils.paper import measures, published, weighing
from tacred_utils.paper.claims import load_claims
from tacred_utils.paper.measures import Measures
from tacred_utils.runs.catalog import Missing, SystemAnswers, load_catalogs

NONE, LABELS = "no_relation", ["no_relation", *(f"r{number:02}" for number in range(12))]


def rows(number: int, seed: int, document: bool = True) -> list[Example]:
    """Rows of which every other has a relation, in sentences of 4 to 40 words."""
    rng, made = np.random.default_rng(seed), []
    for place in range(number):
        size = int(rng.integers(4, 40))
        label = NONE if place % 2 else LABELS[1 + place // 2 % 12]
        words = [f"w{place}"] * size
        made.append(Example(f"{place}", label, words, 0, 0, size - 1, size - 1, "P", "P",
                            document=f"d{place // 10}" if document else None))  # fmt: skip
    return made


def run(rising=False, model="mpnet-base", dev=(0.3, 0.5, 0.5, 0.5)):
    history = pd.DataFrame({"dev_micro_f1": dev})
    info = {"settings": {"model": model, "select": "micro_f1"}}
    return SimpleNamespace(info=info, dev_still_rose=rising, history=history, folder=SimpleNamespace(name="a-run"))


class Planted:
    """A catalogue with systems that answer rightly in a share of the rows, by name: (share by seed, run)."""

    def __init__(self, systems, number=800, stamp="", corpus="redocred_small", wrong=None):
        self.corpus, self.stamp = corpus, stamp
        self.text = Corpus(corpus, rows(1200, 1), rows(60, 2), rows(number, 3))
        self.gold, self.systems, self.wrong = np.array([row.relation for row in self.text.test], object), systems, wrong

    def system(self, spec):
        if spec not in self.systems:
            raise Missing(f"a run of {spec}")
        shares, each = self.systems[spec]
        answers = []
        for seed, share in enumerate(shares):
            right = np.random.default_rng(seed).random(len(self.gold)) < share
            answers.append(np.where(right & (True if self.wrong is None else ~self.wrong(self.text)), self.gold, NONE))
        return SystemAnswers(spec, self.gold, answers, LABELS, [each] * len(shares))


def test_a_score_of_good_runs_decides():
    on = Measures(Planted({"good": ((0.8, 0.8, 0.8), run()), "weak": ((0.5, 0.5, 0.5), run())}), 200)
    found = on.score("micro_f1", "good", "weak")
    assert found.against == () and found.estimate.low > 0.1 and found.estimate.parts[0] > found.estimate.parts[1]
    assert (found.estimate.n, found.estimate.unit) == (80, "documents")
    assert Measures(on.catalog, 50, "rows").score("micro_f1", "good").estimate.n == 800
    assert Measures(on.catalog, 50, "sentences").score("micro_f1", "good").estimate.unit == "sentences"


@pytest.mark.parametrize(
    ("made", "options", "reason"),
    [
        (run(rising=True), {}, "stopped while dev still rose"),
        (run(model="own_decoder"), {}, "stand-in"),
        (run(), {"number": 100}, "50 rows with a relation, fewer than 100"),
        (run(), {"stamp": "SYNTHETIC"}, "SYNTHETIC"),
    ],
)
def test_what_speaks_against_a_verdict_is_said(made, options, reason):
    on = Measures(Planted({"a": ((0.8,), made)}, **options), 50)
    assert any(reason in each for each in on.score("micro_f1", "a").against)


def test_averages_over_few_relations_decide_nothing():
    catalog = Planted({"a": ((0.8,), run())})
    few = np.where(np.isin(catalog.gold, LABELS[4:]), LABELS[1], catalog.gold)
    catalog.gold = few
    catalog.text = Corpus(
        "redocred_small", catalog.text.train, catalog.text.dev,
        [Example(r.id, label, r.token, 0, 0, 1, 1, "P", "P") for r, label in zip(catalog.text.test, few, strict=True)],
    )  # fmt: skip
    on = Measures(catalog, 50)
    assert on.score("micro_f1", "a").against == ()
    assert "3 relations, fewer than 10" in on.score("macro_f1", "a").against[0]
    assert "3 relations" in on.by_support("a").against[0] and "3 relations" in on.by_frequency("a").against[0]


def test_corpora_with_few_negatives_cannot_speak_of_imbalance():
    catalog = Planted({"a": ((0.8,), run())})
    assert Measures(catalog, 50).score("detection_f1", "a", imbalance=True).against == ()
    catalog.text = Corpus(
        "kbp37", catalog.text.train, catalog.text.dev, catalog.text.test[::2] + catalog.text.test[1:90:2]
    )
    catalog.gold = np.array([row.relation for row in catalog.text.test], object)
    assert "are no_relation" in Measures(catalog, 50).score("detection_f1", "a", imbalance=True).against[0]


def test_a_planted_fall_in_the_longest_fifth_is_found_and_none_where_there_is_none():
    def in_long(text):
        words = np.array([len(row.token) for row in text.test])
        return (words > np.quantile(words, 0.8)) & (np.random.default_rng(9).random(len(words)) < 0.5)

    steady = Measures(Planted({"a": ((0.8, 0.8), run())}, 1600), 200).longest_fifth("a").estimate
    falling = Measures(Planted({"a": ((0.8, 0.8), run())}, 1600, wrong=in_long), 200).longest_fifth("a").estimate
    assert steady.low < 0 < steady.high and falling.high < -0.05
    small = Measures(Planted({"a": ((0.8,), run())}, 400), 50).longest_fifth("a")  # 80 rows, about 40 relations
    assert "fewer than 100" in small.against[0]


def test_dev_that_falls_after_its_best_is_told_from_dev_that_stays():
    def fall(dev):
        return Measures(Planted({"a": ((0.8, 0.8), run(dev=dev))}), 50).after_the_best("a").estimate.value

    assert fall((0.2, 0.5, 0.5, 0.5)) == 0 and fall((0.2, 0.5, 0.4, 0.3)) == pytest.approx(-0.2)
    assert "one seed" in Measures(Planted({"a": ((0.8,), run())}), 50).after_the_best("a").against
    with pytest.raises(Missing, match="history of a-run"):
        Measures(
            Planted({"a": ((0.8,), SimpleNamespace(**run().__dict__ | {"history": pd.DataFrame()}))}), 50
        ).after_the_best("a")


def test_systems_are_scored_on_the_same_rows():
    one, other = (SystemAnswers("s", np.array(gold), [np.array(gold)], ["a", "b"]) for gold in (["a", "b"], ["b", "a"]))
    with pytest.raises(AssertionError, match="same rows"):
        measures.score_systems([one, other], "accuracy")


def test_shares_and_gaps_by_hand():
    gold = np.array([NONE] * 6 + ["a"] * 3 + ["b"])
    lazy = SystemAnswers("s", gold, [np.array([NONE] * 9 + ["b"])], [NONE, "a", "b"])
    trained = pd.Series({NONE: 60, "a": 30, "b": 10})

    def value(score):
        return measures.score_systems([lazy], score, draws=20)[0].value

    assert value(measures.no_relation_share) == pytest.approx(0.9)
    assert value(measures.no_relation_excess) == pytest.approx(0.3)
    assert value(measures.frequency_gap(trained)) == pytest.approx(0 - 1)  # a has most training rows and F1 0
    assert value(measures.rare_half(trained)) == pytest.approx(1)
    assert value(measures.frequency_gap(trained[::-1].replace({10: 50}))) == pytest.approx(1)  # now b has most
    assert value(measures.unevenness) == pytest.approx(0.5)
    assert measures.rank_correlation([0, 1, 0.5], [30, 10, 20]).value == pytest.approx(-1)


@pytest.fixture
def weighed(monkeypatch):
    """The tests of one claim on planted runs."""

    def tests_of(claim, systems, corpus="redocred_small", **options):
        found = weighing.weigh({corpus: Planted(systems, corpus=corpus, **options)}, 100)
        return [test for test in found if test.claim == claim and test.origin == corpus]

    return tests_of


def test_a_decoder_is_compared_with_an_encoder_of_its_size_and_stand_ins_decide_nothing(weighed):
    names = next(test.of[1:] for test in load_claims()["C8"].tests if test.measure)
    real, missing = weighed("C8", {name: ((0.8, 0.8, 0.8), run()) for name in names})
    assert real.decides and real.above == 0.2 and missing.missing and "relation_only" in missing.measured
    stand_ins, _ = weighed("C8", {name: ((0.8, 0.8, 0.8), run(model="own_decoder")) for name in names})
    assert not stand_ins.decides


def test_a_corpus_of_ones_own_decides_nothing(weighed):
    systems = {"svm detection": ((0.8,), run())}
    [own] = weighed("C7", systems, corpus="mine")
    assert "not one of the study's corpora" in own.reasons and not own.decides
    assert any(test.decides for test in weighed("C7", systems))


@pytest.mark.parametrize(("last", "decides"), [(0.7831, True), (0.80, False)])
def test_the_papers_own_curve_is_held_to_the_rule_of_runs(monkeypatch, last, decides):
    """Its dev F1 rose by 0.009 in the last two of eight epochs; by more, it was stopped too early."""
    curve = published.bert_history().copy()
    curve.loc[(curve.task == "joint") & (curve.epoch == 8), "weighted_f1"] = last
    monkeypatch.setattr(published, "bert_history", lambda: curve)
    assert next(weighing.no_over_fitting("C10")).decides == decides


def test_every_claim_is_weighed_without_any_run_and_says_what_is_missing():
    found = weighing.weigh({})
    assert {test.claim for test in found} == set(load_claims())
    missing = [test for test in found if test.missing]
    assert missing and {test.measured for test in missing} == {"runs on redocred_small"}


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


# Summary tables: every task, its scores, the trivial systems and the paper beside them.


def test_a_summary_has_every_task_its_scores_and_the_trivial_systems(runs, trained):
    catalog = load_catalogs([(runs, None)], [trained[1]])["sample"]
    table = measures.system_table(catalog, ["micro_f1", "macro_f1", "directional_macro_f1"])
    named = ["SVM, our features", "always no_relation", "majority per type pair"]
    assert table.groupby("task", sort=False).system.apply(list).to_dict() == dict.fromkeys(TASKS, named)
    joint = next(run for run in catalog.frame.run if run.info["task"] == "joint")
    assert table.micro_f1[0] == f"{joint.metrics['test']['micro_f1']:.3f}" and "directional_macro_f1" not in table
    assert table.micro_f1[table.system == "always no_relation"].tolist() == ["0.000"] * 3


def test_deviations_are_of_seeds(runs):
    [folder] = runs.glob("sample/svm-joint-*")
    copy = folder.with_name("svm-joint-s42-copy")
    shutil.copytree(folder, copy)
    content = json.loads((copy / "run.json").read_text()) | {"seed": 42}
    (copy / "run.json").write_text(json.dumps(content))
    catalogs = load_catalogs([(runs, None)])
    first = measures.system_table(catalogs["sample"], ["micro_f1"]).iloc[0]
    assert first.seeds == 2 and re.fullmatch(r"0\.(\d{3}) \(0\.\1–0\.\1\)", first.micro_f1)


def test_stricter_counts_of_published_runs():
    """KBP37's reader leaves out 26 test rows; 21 sentences of CoNLL04's test split stand in its training split."""
    catalogs = {name: load_catalogs([(PUBLISHED_RUNS, name)], [read_rows(PUBLISHED_RUNS / name / ROWS)])[name]
                for name in ("kbp37", "conll04", "redocred_small")}  # fmt: skip
    best = measures.stricter(catalogs["kbp37"], "directional_macro_f1").iloc[0]
    assert (best.directional_macro_f1, best["unread wrong"]) == pytest.approx((0.6374, 0.6355), abs=5e-5)
    table = measures.stricter(catalogs["conll04"], "micro_f1").query("micro_f1 > 0.3")
    assert (table["unread wrong"] == table.micro_f1).all()  # its reader leaves out no row
    assert (table.micro_f1 - table["new sentences"]).between(0.002, 0.014).all() and "evidence here" not in table
    text = catalogs["redocred_small"].text
    stated = np.array([row.evidence is True for row in text.test])
    kept = stated | np.array([row.relation == "no_relation" for row in text.test])
    assert (stated.sum(), (~kept).sum()) == (691, 728)  # of 1,419 relations
    [run] = catalogs["redocred_small"].runs("svm", "joint")
    answers = run.predictions()[kept]
    mine = all_scores(answers.label_true.tolist(), answers.label_pred.tolist(), run.classes)["micro_f1"]
    table = measures.stricter(catalogs["redocred_small"], "micro_f1").set_index("system")
    assert table["evidence here"]["SVM, our features"] == pytest.approx(mine)

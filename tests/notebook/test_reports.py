"""What stands in several notebooks: tables of scores, changes, classes, confusions, both ends, and how a model reads."""

from dataclasses import replace

import numpy as np
import pytest

from tacred_utils.corpora.example import RowsOnly
from tacred_utils.ground.labels import NO_RELATION
from tacred_utils.metrics.counts import all_scores
from tacred_utils.notebook import reports
from tacred_utils.notebook.study import Study
from tacred_utils.runs.catalog import SystemAnswers

PAPER = "svm joint paper"


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    made = Study("02", "smoke", results=str(tmp_path_factory.mktemp("results")))
    for options in ({}, {"variant": "paper", "seed": 5}, {"variant": "paper", "seed": 7}, {"c": 3.0, "seed": 7}):
        made.run("svm", "joint", **options)
    return made


def test_scores_stand_beside_each_other_with_intervals_and_seeds(study):
    systems = study.answering() | reports.trivial(study)
    table = reports.beside(reports.scores(study, systems))
    assert table.system.tolist() == [*systems] and table.seeds.tolist()[-1] == 1
    assert table["micro F1"].iloc[-1] == "0.000 [0.000, 0.000]" and {*reports.SCORES.values()} < {*table}
    assert reports.scores(study, {}).empty and reports.beside(reports.scores(study, {})).empty


def test_a_corpus_of_relations_alone_has_no_system_that_always_denies_them(study):
    alone = Study("02", "smoke", results=str(study.results))
    rows = [row for row in study.corpus.test if row.relation != NO_RELATION]
    alone.corpus = replace(study.corpus, train=rows, dev=rows, test=rows)
    alone.corpus.__dict__.pop("labels", None)
    table = reports.scores(alone, reports.trivial(alone))
    assert set(table.system) == {"majority per type pair"}


def test_a_change_is_compared_on_the_seeds_that_both_have(study):
    found = reports.differences(study, {"none": (PAPER, PAPER), "missing": ("bert joint", PAPER)})
    assert found.system.tolist() == ["none", "none"] and found.value.tolist() == [0, 0] and set(found.seeds) == {2}
    against = reports.differences(study, {"the paper's": (PAPER, "svm joint c=3.0")}, {"micro_f1": "micro F1"})
    assert against.seeds.tolist() == [1] and against.score.tolist() == ["micro F1"]
    table = reports.change_table(found)
    assert table.system.tolist() == ["none"] and table["difference in micro F1"][0].startswith("+0.000 [")
    assert reports.change_table(reports.differences(study, {})).empty


def test_every_class_has_its_rows_and_an_interval_around_its_score(study):
    table = reports.per_class(study, study.system("svm joint paper"), "Table 10")
    assert len(table) == len(study.corpus.labels) and table.train.is_monotonic_decreasing
    assert ((table.low <= table.f1 + 1e-9) & (table.f1 <= table.high + 1e-9)).all() and "F1, Table 10" in table
    assert table.test.sum() == len(study.corpus.test)


def test_confusions_are_shares_of_the_gold_rows():
    gold = np.array(["a", "a", "b", "b", "c", NO_RELATION], dtype=object)
    answer = np.array(["b", "a", "b", NO_RELATION, "c", "a"], dtype=object)
    table = reports.confusions(SystemAnswers("x", gold, [answer, answer], ["a", "b", "c", NO_RELATION]), largest=2)
    assert table.index.tolist() == ["a", "b"] and table.loc["a", "b"] == 0.5 and table.loc["b", NO_RELATION] == 0.5
    assert (table.sum(axis=1) == 1).all()
    nothing = SystemAnswers("x", gold[5:], [gold[5:]], [NO_RELATION])
    assert reports.confusions(nothing).empty


def test_leaning_is_against_the_share_of_gold_rows(study):
    [row] = reports.leaning(study, {"never": reports.trivial(study)["always no_relation"]}).to_dict("records")
    assert row["answered no_relation"].startswith("1.000") and row["its recall"] == 1
    assert 0.7 < row["gold no_relation"] < 0.9 and row["macro recall of relations"] == 0


def test_both_ends_show_errors_and_doubts_but_nothing_of_a_licensed_text(study):
    ends = reports.both_ends(study, study.system("svm joint"), rows=2)
    wrong, doubt = (ends[ends.end == name] for name in ("sure and wrong", "unsure and right"))
    assert (wrong.relation != wrong.answer).all() and (doubt.relation == doubt.answer).all()
    assert all(["[S: " in text and "[O: " in text and len(text.split()) <= 40 for text in ends.sentence])
    gated = Study("02", "smoke", results=str(study.results))
    gated.corpus = replace(study.corpus, gated=True)
    assert set(reports.both_ends(gated, study.system("svm joint")).sentence) == {"(licensed)"}


def test_calibration_is_of_systems_with_probabilities(study):
    table, points = reports.calibration(study, study.answering())
    assert (
        table.system.tolist() == ["SVM, our features", "SVM, paper's features, joint (not in the paper)"]
        and (table.ECE >= 0).all()
        and set(points) >= {"confidence", "right"}
    )
    assert all([part.empty for part in reports.calibration(study, {})])


def test_one_row_is_read_as_each_family_reads_it(study):
    row = reports.one_row(study)
    assert row.relation != NO_RELATION and len(row.token) <= 18
    assert {"types", "between", "path"} <= set(reports.as_features(study, row).block)
    tokens = reports.as_tokens(study, row)
    assert (
        tokens.word.tolist() == row.token and (tokens["from subject"] == 0).sum() == row.subj_end - row.subj_start + 1
    )
    assert "part of speech" in tokens
    gated = Study("02", "smoke", results=str(study.results))
    gated.corpus = replace(study.corpus, gated=True)
    assert reports.as_features(gated, row).empty and reports.as_tokens(gated, row).empty


def test_layers_are_those_of_the_network_with_all_its_parameters(study):
    from tacred_utils.models import bilstm

    table = reports.layers(study)
    settings = study.profile.settings("bilstm")
    encoder, _ = bilstm.make_encoder(study.corpus, "joint", settings)
    network = bilstm.BilstmClassifier(encoder, len(study.corpus.labels), settings)
    assert table.parameters.sum() == sum(weight.numel() for weight in network.parameters())
    assert "PaddedLstm" in set(table.kind) and table.layer[0] == "word"


def test_each_reading_is_chosen_on_dev_and_none_is_worse_there_than_the_answers_as_they_are(study):
    svm = study.system("svm joint")
    systems, table = reports.readings(study, svm, svm)
    assert table.way.tolist() == [*systems] and table.way[0] == "as it answers"
    assert systems["as it answers"].answers[0].tolist() == svm.answers[0].tolist()
    free = table.set_index("way").loc[["threshold", "adjusted after training", "with the SVM"]]
    assert (free.dev >= table.dev[0] - 1e-9).all() and free.chosen.notna().all()
    assert reports.readings(study, None)[0] == {} and reports.readings(study, None)[1].empty


def test_coverage_leaves_out_what_is_less_sure_and_draws_a_line_to_all_relations(study):
    svm = study.system("svm joint")
    table, lines = reports.coverage(study, {"SVM": svm} | reports.trivial(study), precision=0.5)
    assert table.score.tolist() == ["precision", "relations found"]
    every = all_scores(svm.gold, svm.answers[0], svm.labels)
    assert lines["relations found"].iloc[-1] == pytest.approx(every["micro_r"])
    assert lines.precision.iloc[-1] == pytest.approx(every["micro_p"]) and table.value[1] <= every["micro_r"]
    assert all([part.empty for part in reports.coverage(study, {})])


def test_names_are_exchanged_in_the_rows_that_allow_it_and_answers_move_there_only(study):
    systems, changed = reports.exchanged_names(study)
    assert [*systems] == ["as they are", "names of training", "names that training lacks"] and changed.any()
    assert systems["as they are"].answers[0].tolist() == study.system("svm joint").answers[0].tolist()
    assert all([len(each.answers[0]) == len(changed) for each in systems.values()])
    bare = Study("08", "smoke", results=str(study.results))
    bare.corpus = RowsOnly("rows", study.corpus.train, study.corpus.dev, study.corpus.test)
    assert reports.exchanged_names(bare)[0] == {} and not np.any(reports.exchanged_names(bare)[1])
    bare.corpus = replace(study.corpus, train=study.corpus.train[:1])  # one class, which no machine can be fitted to
    assert reports.exchanged_names(bare)[0] == {}


def test_doubt_is_shared_by_fewer_rows_and_confirmed_more_often(study, data_dir):
    table = reports.doubted_labels(data_dir)
    assert table.rows.is_monotonic_decreasing and table["to their answer"].iloc[-1] > table["to their answer"].iloc[0]
    assert (table.changed >= table["to their answer"]).all()
    assert reports.doubted_labels(data_dir / "nowhere").empty

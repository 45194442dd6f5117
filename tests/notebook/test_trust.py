"""How far answers can be trusted: other readings, coverage, exchanged names, doubted labels."""

from dataclasses import replace

import numpy as np
import pytest

from tacred_utils.corpora.example import RowsOnly
from tacred_utils.metrics.counts import all_scores
from tacred_utils.notebook import reports, trust
from tacred_utils.notebook.study import Study


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    made = Study("08", "smoke", results=str(tmp_path_factory.mktemp("results")))
    made.run("svm", "joint")
    return made


def test_each_reading_is_chosen_on_dev_and_none_is_worse_there_than_the_answers_as_they_are(study):
    svm = study.system("svm joint")
    systems, table = trust.readings(study, svm, svm)
    assert table.way.tolist() == [*systems] and table.way[0] == "as it answers"
    assert systems["as it answers"].answers[0].tolist() == svm.answers[0].tolist()
    free = table.set_index("way").loc[["threshold", "adjusted after training", "with the SVM"]]
    assert (free.dev >= table.dev[0] - 1e-9).all() and free.chosen.notna().all()
    assert trust.readings(study, None)[0] == {} and trust.readings(study, None)[1].empty


def test_coverage_leaves_out_what_is_less_sure_and_draws_a_line_to_all_relations(study):
    svm = study.system("svm joint")
    table, lines = trust.coverage(study, {"SVM": svm} | reports.trivial(study), precision=0.5)
    assert table.score.tolist() == ["precision", "relations found"]
    every = all_scores(svm.gold, svm.answers[0], svm.labels)
    assert lines["relations found"].iloc[-1] == pytest.approx(every["micro_r"])
    assert lines.precision.iloc[-1] == pytest.approx(every["micro_p"]) and table.value[1] <= every["micro_r"]
    assert all([part.empty for part in trust.coverage(study, {})])


def test_names_are_exchanged_in_the_rows_that_allow_it_and_answers_move_there_only(study):
    systems, changed = trust.exchanged_names(study)
    assert [*systems] == ["as they are", "names of training", "names that training lacks"] and changed.any()
    assert systems["as they are"].answers[0].tolist() == study.system("svm joint").answers[0].tolist()
    assert all([len(each.answers[0]) == len(changed) for each in systems.values()])
    bare = Study("08", "smoke", results=str(study.results))
    bare.corpus = RowsOnly("rows", study.corpus.train, study.corpus.dev, study.corpus.test)
    assert trust.exchanged_names(bare)[0] == {} and not np.any(trust.exchanged_names(bare)[1])
    bare.corpus = replace(study.corpus, train=study.corpus.train[:1])  # one class, which no machine can be fitted to
    assert trust.exchanged_names(bare)[0] == {}


def test_doubt_is_shared_by_fewer_rows_and_confirmed_more_often(study, data_dir):
    table = trust.doubted_labels(data_dir)
    assert table.rows.is_monotonic_decreasing and table["to their answer"].iloc[-1] > table["to their answer"].iloc[0]
    assert (table.changed >= table["to their answer"]).all()
    assert trust.doubted_labels(data_dir / "nowhere").empty

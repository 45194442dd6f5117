"""The catalogue of runs: data is known by its digest, a run's system by its settings, and what is not read is told."""

from dataclasses import replace

import numpy as np
import planted
import pytest

from tacred_utils.__main__ import main
from tacred_utils.corpora.example import ROWS, read_rows
from tacred_utils.ground.labels import task_classes
from tacred_utils.models.settings import FitResult
from tacred_utils.runs import experiments
from tacred_utils.runs import train as training
from tacred_utils.runs.catalog import Missing, elsewhere, load_catalogs
from tacred_utils.runs.profile import load_profile
from tacred_utils.runs.store import Run, Spec
from tacred_utils.runs.train import train

CORPUS = planted.corpus()


@pytest.fixture(autouse=True)
def model(monkeypatch):
    """A model that answers the first class always."""

    class StandIn:
        @staticmethod
        def fit(corpus, task, settings, seed, folder):
            classes = task_classes(task, corpus.labels)
            p = np.array([0.6, *[0.4 / (len(classes) - 1)] * (len(classes) - 1)])
            log_probs = {split: np.log(np.tile(p, (len(corpus.split(split)), 1))) for split in ("dev", "test")}
            return FitResult(log_probs, [], {}, lambda folder: folder.mkdir())

    monkeypatch.setattr(training, "family", lambda name: StandIn)


def run(results, corpus=CORPUS, profile="open", task="joint", seed=13, **changed):
    settings = load_profile(profile).for_corpus(corpus.name).settings("svm", None, changed)
    return train(Spec("svm", task, seed, settings), corpus, results, profile)


def halved(corpus=CORPUS, **facts):
    return replace(corpus, test=corpus.test[::2], **facts)


def test_runs_are_chosen_by_the_data_that_is_loaded_not_by_its_name(tmp_path):
    old, new = run(tmp_path), run(tmp_path, halved())
    folders = [(tmp_path, None)]
    for corpus, expected in ((CORPUS, old), (halved(), new)):
        found = load_catalogs(folders, [corpus])
        assert [each.folder for each in found["tiny"].frame.run] == [expected.folder]
        assert found["tiny"].text is corpus
    unseen = replace(CORPUS, dev=CORPUS.dev[1:])
    assert load_catalogs(folders, [unseen]) == {}, "scores of other data are left out"
    assert elsewhere([tmp_path], unseen, "open").startswith(f" 2 below {tmp_path} are of other data")
    assert load_catalogs(folders)["tiny"].frame.run[0].folder == old.folder, "without text the largest"


def test_a_subset_and_the_whole_stand_apart_and_two_corpora_of_one_name_never_mix(tmp_path):
    part, other = halved(subset="a subset"), replace(CORPUS, train=CORPUS.train[:60])
    whole, some, foreign = run(tmp_path), run(tmp_path, part), run(tmp_path, other)
    found = load_catalogs([(tmp_path, None)], [part, CORPUS])
    assert {name: [each.folder for each in one.frame.run] for name, one in found.items()} == {
        "tiny": [whole.folder], "tiny-subset": [some.folder],
    }  # fmt: skip
    assert found["tiny"].stamp == "" and found["tiny-subset"].stamp == "a subset"
    assert load_catalogs([(tmp_path, None)], [part])["tiny"].stamp == "a subset"
    assert [each.folder for each in load_catalogs([(tmp_path, None)], [other, CORPUS])["tiny"].frame.run] == [
        foreign.folder
    ]


def test_one_rule_says_which_experiment_a_run_belongs_to(tmp_path):
    plain, own = run(tmp_path), run(tmp_path, c=7.0)
    assert experiments.experiment_of(plain, "open", "tiny") == experiments.load_experiments()[0]
    assert experiments.experiment_of(own, "open", "tiny") is None and not experiments.is_headline(own)
    frame = load_catalogs([(tmp_path, None)])["tiny"].frame.set_index("changed")
    assert frame.system.to_dict() == {"{}": "SVM, our features", '{"c": 7.0}': ""}
    catalog = load_catalogs([(tmp_path, None)])["tiny"]
    assert catalog.system("svm joint c=7.0").runs == [own] and catalog.system("svm joint").runs == [plain]
    assert catalog.system("svm joint c=0.5").runs == [plain], "what the profile has anyway changes nothing"
    with pytest.raises(Missing, match="svm joint c=2"):
        catalog.system("svm joint c=2")


def test_under_a_profile_runs_of_another_count_where_their_settings_are_the_same(tmp_path):
    run(tmp_path, profile="open")
    assert load_catalogs([(tmp_path, None)], [CORPUS], "sample")["tiny"].frame.system.all()


def test_runs_under_another_profile_are_told_with_what_to_set(tmp_path):
    for seed in (1, 2):
        run(tmp_path / "results", seed=seed)
    run(tmp_path / "results", replace(CORPUS, name="mine"))
    places = [tmp_path / "empty", tmp_path / "results", tmp_path / "none"]
    said = f' 2 others lie below {places[1]}: profile = "open", corpus = "tiny", results = "{places[1]}" reads them.'
    assert elsewhere(places, CORPUS, "sample") == said
    assert elsewhere(places[1:], replace(CORPUS, name="else"), "open").startswith(" 2 others lie below ")
    assert "1 others lie below" in elsewhere(places, replace(CORPUS, name="mine"), "sample"), (
        "fewer, but of this corpus"
    )
    assert "mine" in elsewhere(places, CORPUS, "open") and elsewhere(places[:1], CORPUS, "open") == ""


def test_rows_are_published_beside_runs_on_the_very_data_that_is_at_hand(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(experiments, "load_corpus", lambda name, data_dir, labels: CORPUS)
    run(tmp_path / "results"), run(tmp_path / "results", halved())
    command = ["runs", "publish", "--results", str(tmp_path / "results"), "--to", str(tmp_path / "to")]
    assert main(command) == 0
    rows = read_rows(tmp_path / "to" / "tiny" / ROWS)
    assert rows.digests == CORPUS.digests and not rows.has_text
    [copy] = load_catalogs([(tmp_path / "to", None)], [rows])["tiny"].frame.run
    assert copy.metrics == Run(next(tmp_path.glob(f"results/tiny/{copy.folder.name}"))).metrics
    (tmp_path / "to" / "tiny" / ROWS).unlink()
    monkeypatch.setattr(experiments, "load_corpus", lambda name, data_dir, labels: halved())
    capsys.readouterr()
    assert main(command) == 0 and "is not the data of these runs" in capsys.readouterr().out
    assert not (tmp_path / "to" / "tiny" / ROWS).exists()

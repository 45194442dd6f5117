"""`predict`: every family end to end on tiny runs, the ways to name entities, and every mistake as one sentence."""

import json
import shutil
import subprocess
import sys
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest
import torch
from msgspec.structs import replace
from planted import corpus

from tacred_utils.__main__ import main
from tacred_utils.corpora.example import UNTYPED, Corpus
from tacred_utils.ground.errors import UserError
from tacred_utils.ground.labels import SPLITS
from tacred_utils.ground.paths import ROOT
from tacred_utils.runs import predict as module
from tacred_utils.runs.predict import from_sentence, locate, predict, predict_file, predict_pairs, words
from tacred_utils.runs.profile import load_profile
from tacred_utils.runs.store import Run, Spec
from tacred_utils.runs.train import train

torch.set_num_threads(1)
PROFILE = load_profile("smoke")
CORPUS = corpus()  # typed, with parts of speech and named entities; the verb between Ann and Bob decides
SYSTEMS = {
    "svm": ("svm", None), "paper": ("svm", "paper"), "bilstm": ("bilstm", None), "pa_lstm": ("bilstm", "pa_lstm"),
    "marks": ("bilstm", "pa_lstm_marks"), "bert": ("bert", None), "typed": ("bert", "typed_marker_punct"), "gpt2": ("gpt2", None),
}  # fmt: skip
READ = {  # columns that an answer needs, and those that it can do without
    "svm": ({"types"}, {"stanford_pos", "stanford_ner"}), "paper": ({"types"}, {"stanford_pos"}),
    "bilstm": ({"types"}, {"stanford_pos", "stanford_ner"}), "pa_lstm": ({"types"}, {"stanford_pos", "stanford_ner"}),
    "marks": ({"types"}, {"stanford_pos", "stanford_ner"}),
    "bert": (set(), set()), "typed": ({"types"}, set()), "gpt2": ({"types"}, set()),
}  # fmt: skip
EVERY = pytest.mark.parametrize("name", SYSTEMS)
SENTENCE = "Yesterday Ann married Bob in Oslo, and Ann met Eve."
TYPES = {"subject_type": "PERSON", "object_type": "PERSON"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Trains a system once, when it is first asked for; `trained(name)` is its run."""
    results, runs = tmp_path_factory.mktemp("results"), {}

    def get(name: str, task: str = "joint", given: Corpus = CORPUS) -> Run:
        key = (name, task, given.name)
        if key not in runs:
            family, variant = SYSTEMS[name]
            settings = PROFILE.settings(family, variant)
            runs[key] = train(Spec(family, task, 13, settings, variant), given, results, "smoke")
        return runs[key]

    return get


@pytest.fixture(autouse=True)
def no_spacy(monkeypatch):
    monkeypatch.setattr(module, "lacking", lambda: "spaCy is missing")


@pytest.fixture
def copied(trained, tmp_path):
    """A copy of a run that a test may damage."""
    return lambda name: Run(shutil.copytree(trained(name).folder, tmp_path / "copy" / trained(name).folder.name))


def ask(run, *arguments, sentence=SENTENCE, entities=("--subject", "Eve", "--object", "Bob")):
    types = ["--subject-type", "PERSON", "--object-type", "PERSON"] * ("--subject-type" not in arguments)
    return main(["predict", "--run", str(run.folder), "--sentence", sentence, *entities, *types, *arguments])


def asked_as_record(run, rows, folder):
    """The answers to rows in a file of their own, without their labels."""
    fields = ("relation", "document", "evidence", "stanford_head", "stanford_deprel")
    records = [{key: value for key, value in msgspec.to_builtins(row).items() if key not in fields} for row in rows]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, records)))
    return [*predict_file(run, folder / "rows.jsonl")]


@EVERY
def test_a_test_row_is_answered_as_the_run_answered_it(name, trained, tmp_path):
    run, rows = trained(name), (0, 5, 9)
    assert run.info["corpus"]["types"] == {"subject": ["PERSON"], "object": ["ORG", "PERSON"]}
    answers = asked_as_record(run, [CORPUS.test[row] for row in rows], tmp_path)
    for row, answer in zip(rows, answers, strict=True):
        assert answer.example.token == CORPUS.test[row].token and answer.notes == []
        found = answer.relations.set_index("label").p
        expected = np.exp(run.log_probs("test")[row].astype(float))
        assert np.allclose([found[label] for label in run.classes], expected, atol=2e-3)  # bfloat16, in other batches
        assert answer.relations.p.is_monotonic_decreasing
        told = run.predictions("test").iloc[row]
        assert answer.relations.label[0] == told.label_pred or np.sort(expected)[-2] > told.p - 4e-3


@EVERY
def test_what_a_model_can_do_without_is_noted_and_types_are_asked_for(name, trained, tmp_path):
    needed, wanted = READ[name]
    answer = predict(trained(name).folder, SENTENCE, "Eve", "Bob", **TYPES)
    assert [column in "".join(answer.notes) for column in sorted(wanted)] == [True] * len(wanted)
    assert bool(answer.notes) == bool(wanted) and np.isclose(answer.relations.p.sum(), 1, atol=1e-4)
    given = {column: ["NN"] * len(answer.example.token) for column in ("stanford_pos", "stanford_ner")}
    [with_columns] = asked_as_record(trained(name), [replace(answer.example, **given)], tmp_path)
    assert with_columns.notes == [] and with_columns.relations.equals(answer.relations) != bool(wanted)
    if needed:
        with pytest.raises(UserError, match="--object-type: the model reads entity types; give one of ORG, PERSON"):
            predict(trained(name), SENTENCE, "Eve", "Bob", "PERSON")
    else:
        untold = predict(trained(name), SENTENCE, "Eve", "Bob")
        assert untold.relations.equals(answer.relations) and untold.example.obj_type == UNTYPED


@pytest.mark.parametrize("name", ["svm", "marks", "typed", "gpt2"])
def test_a_corpus_without_types_and_columns_asks_for_nothing(name, trained):
    gone = {"stanford_pos": None, "stanford_ner": None, "subj_type": UNTYPED, "obj_type": UNTYPED}
    plain = Corpus("plain", *([replace(row, **gone) for row in CORPUS.split(s)] for s in SPLITS))
    answer = predict(trained(name, given=plain), SENTENCE, "Eve", "Bob")
    assert answer.notes == [] and answer.example.subj_type == UNTYPED
    with pytest.raises(UserError, match="'CITY': the run has never seen it; known are ENTITY"):
        predict(trained(name, given=plain), SENTENCE, "Eve", "Bob", "CITY")


def test_tasks_answer_with_their_own_classes(trained):
    detection = predict(trained("svm", "detection"), SENTENCE, "Eve", "Bob", **TYPES)
    assert set(detection.relations.label) == {"no_relation", "relation"}
    named = predict(trained("svm", "relation_only"), SENTENCE, "Eve", "Bob", **TYPES)
    assert "no_relation" not in set(named.relations.label) and "takes for granted" in named.notes[0]


def test_json_is_one_object_with_spans_relations_and_notes(trained, capsys):
    assert ask(trained("svm"), "--json", "--top", "2", entities=("--subject-at", "8", "--object", "Bob")) == 0
    shown = json.loads(capsys.readouterr().out)
    assert list(shown) == ["run", "family", "task", "corpus", "tokens", "subject", "object", "relations", "notes"]
    assert (shown["family"], shown["task"], shown["corpus"]) == ("svm", "joint", "tiny")
    assert shown["tokens"] == ["Yesterday", "Ann", "married", "Bob", "in", "Oslo", ",", "and", "Ann", "met", "Eve", "."]
    assert shown["subject"] == {"start": 8, "end": 8, "text": "Ann", "type": "PERSON"}
    assert len(shown["relations"]) == 2 and all(set(row) == {"label", "p"} for row in shown["relations"])
    assert shown["run"] == str(trained("svm").folder) and len(shown["notes"]) == 1


def test_the_table_shows_entities_relations_and_notes_without_control_characters(trained, capsys):
    sentence = "Eve \x1b[31mmet Bob\u202e ."
    assert ask(trained("gpt2"), sentence=sentence, entities=("--subject-at", "0:2", "--object-at", "5:6")) == 0
    shown = capsys.readouterr().out
    assert "\x1b" not in shown and "\u202e" not in shown and "\\x1b" in shown and "\\u202e" in shown
    lines = shown.splitlines()
    assert lines[0].startswith("subject  Eve") and len(lines) == 2 + 3 and "words 5:6" in lines[1]
    assert [float(line.split()[-1]) for line in lines[2:]] == sorted(float(line.split()[-1]) for line in lines[2:])[
        ::-1
    ]


def test_which_of_several_places_is_meant_changes_the_answer(trained, capsys):
    assert ask(trained("svm"), entities=("--subject", "Ann", "--object", "Bob")) == 2
    told = capsys.readouterr().err
    assert "stands in 2 places" in told and "--subject-at 1:1" in told and "1:1, 8:8" in told
    first, second = (predict(trained("svm"), SENTENCE, at, "Bob", **TYPES).relations for at in ((1, 1), (8, 8)))
    assert not first.equals(second)


def test_a_number_is_a_text_and_no_index(trained):
    answer = predict(trained("bert"), "Bob won 3:5 in 2 games", "3:5", "2")
    assert (answer.example.subj_start, answer.example.obj_start) == (2, 4)


def test_synthetic_runs_say_so(trained):
    invented = [[replace(row, id=f"synthetic-{row.id}") for row in CORPUS.split(s)] for s in SPLITS]
    run = trained("svm", given=Corpus("invented", *invented))
    assert predict(run, SENTENCE, "Eve", "Bob", **TYPES).notes[0].startswith("SYNTHETIC")


def test_words_are_split_as_tacreds_are_and_stay_so():
    text = (
        "Dr. O’Hara's U.S.-based firm (Acme Corp.), which didn't sell, made $1,000.50 -- 5% \"more\"; see http://a.b/c."
    )
    split = words(text, named=True)
    assert " ".join(split) == (
        "Dr. O'Hara 's U.S.-based firm -LRB- Acme Corp. -RRB- , which did n't sell , made $ 1,000.50 -- 5 % `` more '' "
        "; see http://a.b/c ."
    )
    assert words(" ".join(split), named=True) == split
    assert words('("a")') == ["(", '"', "a", '"', ")"]


def test_most_sentences_of_the_open_and_synthetic_corpora_come_back_as_they_were(data_dir):
    from tacred_utils.runs.profile import load_corpus

    for name, share in {"tacred_sample": 0.9, "sample": 0.97, "conll04": 0.85, "kbp37": 0.8}.items():
        given = load_corpus(name, data_dir, "tacred", dict.fromkeys(SPLITS, 0.02) if name == "sample" else None)
        same = [words(" ".join(row.token), "stanford_pos" in given.columns) == row.token for row in given.test]
        assert np.mean(same) >= share, name


def test_a_mention_in_quotes_or_brackets_is_found_by_its_words():
    text = 'He said "yes" to "Deep Sea" (the film).'

    token = words(text, named=True)
    assert locate('"Deep Sea"', token, "--subject", named=True) == (6, 9)
    assert locate("(the film)", token, "--subject", named=True) == (10, 13)


MISTAKES = [
    (["--sentence", " "], "--sentence: is empty"),
    (["--sentence", "Eve met \udc80 Bob"], "UTF-8"),
    (["--subject", "Even"], "'Even': does not stand in the sentence as whole words"),
    (["--subject", ""], "--subject: is given an empty value"),
    (["--subject", "\x1b[2J"], "\\x1b[2J"),
    (["--subject", "Bob"], "the same words"),
    (["--subject-at", "3:x"], "'3:x' is not FIRST:LAST"),
    (["--subject-at", "9:99"], "--subject-at 9:99: no words of the sentence; they run from 0 to 11"),
    (["--subject-at", "4:2"], "--subject-at 4:2"),
    (["--subject", "Eve", "--subject-at", "1"], "not allowed with"),
    (["--subject-type", "CITY"], "--subject-type 'CITY': the run has never seen it; known are PERSON"),
    (["--object-type", "\x07"], "known are ORG, PERSON"),
    (["--top", "0"], "'0' is not a whole number from 1"),
]


def one_sentence(capsys, expected):
    told = capsys.readouterr()
    assert expected in told.err and "Traceback" not in told.err and told.out == ""
    assert told.err.startswith("error: ") and told.err.count("\n") == 1 and told.err[:-1].isprintable()


@pytest.mark.parametrize(
    "given, expected", MISTAKES, ids=lambda part: " ".join(part) if isinstance(part, list) else None
)
def test_a_mistake_is_one_sentence_and_needs_no_model(given, expected, trained, tmp_path, capsys):
    """The run's model is taken away: what can be told without it is told first."""
    run = Run(shutil.copytree(trained("svm").folder, tmp_path / "run", ignore=shutil.ignore_patterns("model")))
    options = {"--sentence": SENTENCE, "--subject": "Eve", "--object": "Bob", "--subject-type": "PERSON"}
    mine = dict(zip(given[::2], given[1::2], strict=True))
    if "--subject-at" in mine and "--subject" not in mine:
        del options["--subject"]
    flat = [part for pair in (options | mine).items() for part in pair]
    assert main(["predict", "--run", str(run.folder), *flat]) == 2
    one_sentence(capsys, expected)


def test_the_fast_errors_import_no_torch(tmp_path):
    code = "import sys; from tacred_utils.__main__ import main; print(main(sys.argv[1:]), 'torch' in sys.modules)"
    asked = ["predict", "--run", str(tmp_path), "--sentence", "s", "--subject", "a", "--object", "b"]
    shown = subprocess.run([sys.executable, "-c", code, *asked], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert shown.stdout == "2 False\n" and "run.json" in shown.stderr


def test_answering_a_sentence_imports_no_trainer(trained):
    code = "import sys; from tacred_utils.__main__ import main; main(sys.argv[1:]); print('transformers.trainer' in sys.modules)"
    for name in ("bilstm", "typed"):
        asked = [
            "predict",
            "--run",
            str(trained(name).folder),
            "--sentence",
            "Ann met Bob",
            "--subject",
            "Ann",
            "--object",
        ]
        asked += ["Bob", "--subject-type", "PERSON", "--object-type", "PERSON"]
        shown = subprocess.run(
            [sys.executable, "-c", code, *asked], cwd=ROOT, capture_output=True, text=True, timeout=120
        )
        assert shown.stdout.endswith("False\n"), shown.stderr


@pytest.mark.parametrize("content, expected", [
    (None, "is no folder of a run"), ("", "is damaged"), ('{"status": "do', "is damaged"), ("[]", "is damaged"), ("{}", "is damaged"),
    ({"status": "running"}, "is not finished (status 'running')"), ({"status": "failed"}, "is not finished"),
    ({"family": "crf"}, "family 'crf' is unknown"), ({"corpus": "sample"}, "is damaged"), ({"corpus": {"name": "x", "synthetic": False, "columns": []}}, "missing required field"), ({"classes": ["a"]}, "has other classes"),
])  # fmt: skip
def test_a_run_json_that_does_not_fit_is_one_sentence(content, expected, copied, capsys):
    run = copied("svm")
    place = run.folder / "run.json"
    if content is None:
        place.unlink()
    else:
        place.write_text(json.dumps(run.info | content) if isinstance(content, dict) else content)
    assert ask(Run(run.folder)) == 2
    one_sentence(capsys, expected)


def test_a_run_that_kept_no_model_or_lost_its_predictions_says_so(copied, capsys):
    run = copied("gpt2")
    shutil.rmtree(run.folder / "model")
    assert ask(run) == 2
    one_sentence(capsys, "kept no model")
    shutil.rmtree(run.folder / "predictions")
    assert ask(run) == 2
    one_sentence(capsys, "files of the run are missing")


@pytest.mark.parametrize("damage", [b"", b"{}", b"[]", b"\x00\xff garbage", "half", "gone"], ids=str)
@pytest.mark.parametrize("name", ["svm", "bilstm", "typed", "gpt2"])
def test_each_damaged_file_of_a_model_is_one_sentence(name, damage, copied, capsys):
    run = copied(name)
    for place in sorted((run.folder / "model").iterdir()):
        whole = place.read_bytes()
        place.unlink() if damage == "gone" else place.write_bytes(
            whole[: len(whole) // 2] if damage == "half" else damage
        )
        assert ask(run) == 2, place.name
        one_sentence(capsys, f"{run.folder}/model")
        place.write_bytes(whole)
    assert ask(run) == 0


def test_weights_that_are_no_numbers_are_told(copied, capsys):
    from safetensors.torch import load_file, save_file

    run = copied("bilstm")
    place = run.folder / "model" / "model.safetensors"
    save_file({name: weight * float("nan") for name, weight in load_file(place).items()}, place)
    assert ask(run) == 2
    one_sentence(capsys, "do not add up to 1")


def test_a_model_of_tags_alone_says_what_it_needs(trained, tmp_path):
    settings = PROFILE.settings("svm", None, {"groups": {"tags": ["pos", "ner"]}})
    run = train(Spec("svm", "joint", 13, settings), CORPUS, tmp_path, "smoke")
    with pytest.raises(UserError, match="needs stanford_ner, stanford_pos; records in TACRED.s format"):
        predict(run, SENTENCE, "Eve", "Bob", **TYPES)


# Columns, types and entities that are predicted, and files of sentences


@pytest.fixture
def tagged(monkeypatch):
    """A stand-in for spaCy that knows three people and a firm; returns the sentences that it was given."""
    seen, kinds = [], {"Ann": "PERSON", "Bob": "PERSON", "Eve": "PERSON", "Acme": "ORG", "Oslo": "GPE"}

    def columns(words):
        seen.append(words)
        pos = ["VB" if word in ("married", "met", "founded") else "NN" for word in words]
        return pos, [kinds.get(word, "O") for word in words], [0] + [1] * (len(words) - 1), ["dep"] * len(words)

    monkeypatch.setattr(module, "lacking", lambda: "")
    monkeypatch.setattr(module, "annotator", lambda: columns)
    return seen


def test_types_and_columns_that_are_not_given_are_predicted_and_said_to_be(trained, tagged, tmp_path):
    told = predict(trained("svm"), SENTENCE, "Eve", "Bob")
    assert (told.example.subj_type, told.example.obj_type) == ("PERSON", "PERSON") and len(tagged) == 1
    assert told.example.stanford_pos[2] == "VB" and told.example.stanford_ner[1] == "PERSON"
    assert told.notes == [
        f"stanford_ner, stanford_pos, entities: predicted by {module.ANNOTATOR}, where the run learned from other ones"
    ]
    [given] = asked_as_record(trained("svm"), [told.example], tmp_path)
    assert given.notes == [] and given.relations.equals(told.relations) and len(tagged) == 1
    with pytest.raises(UserError, match="--object-type: the model reads entity types; give one of ORG, PERSON"):
        predict(trained("svm"), SENTENCE, "Eve", "Oslo")  # a place, of which training has none


def test_a_model_that_reads_words_alone_asks_nothing_of_spacy(trained, tagged):
    assert predict(trained("bert"), SENTENCE, "Eve", "Bob").notes == [] and not tagged


def test_the_tagger_gets_brackets_and_quotes_as_they_are_written(trained, tagged):
    predict(trained("svm"), 'Eve ("Evie") met Bob', "Eve", "Bob")
    assert tagged == [["Eve", "(", '"', "Evie", '"', ")", "met", "Bob"]]


def test_a_run_on_predicted_columns_reads_the_same_ones_without_a_word(trained, tagged, copied):
    run = copied("svm")
    info = run.info
    info["corpus"] |= {"annotator": module.ANNOTATOR}
    (run.folder / "run.json").write_text(json.dumps(info))
    answer = predict(Run(run.folder), "Eve (42) met Bob", "Eve", "Bob")
    assert answer.example.token[1] == "(" and "other ones" not in answer.notes[0]


def test_every_pair_of_entities_is_answered_as_a_table_or_as_json(trained, tagged, capsys):
    sentence = "Ann of Oslo met Bob, who founded Acme."
    answers = predict_pairs(trained("svm"), sentence)
    pairs = [tuple(" ".join(words) for words in answer.example.mentions) for answer in answers]
    assert pairs == [("Ann", "Bob"), ("Ann", "Acme"), ("Bob", "Ann"), ("Bob", "Acme")]  # no place, no firm first
    assert answers[0].relations.equals(predict(trained("svm"), sentence, "Ann", "Bob").relations)
    assert main(["predict", "--run", str(trained("svm").folder), "--sentence", sentence]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("Ann (PERSON)") and "Bob (PERSON)" in lines[0] and len(lines) == 5
    assert main(["predict", "--run", str(trained("svm").folder), "--sentence", sentence, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert [pair["object"]["text"] for pair in shown["pairs"]] == ["Bob", "Acme", "Ann", "Acme"] and shown[
        "family"
    ] == "svm"
    with pytest.raises(UserError, match="no two entities of known types"):
        predict_pairs(trained("svm"), "Ann slept .")


def test_a_run_without_types_is_asked_about_every_pair(trained, tagged):
    gone = {"stanford_pos": None, "stanford_ner": None, "subj_type": UNTYPED, "obj_type": UNTYPED}
    plain = Corpus("plain", *([replace(row, **gone) for row in CORPUS.split(s)] for s in SPLITS))
    answers = predict_pairs(trained("svm", given=plain), "Ann of Oslo met Bob .")
    assert len(answers) == 6 and {answer.example.subj_type for answer in answers} == {UNTYPED}


@pytest.mark.parametrize("tag, known, name", [
    ("PERSON", ["Loc", "Org", "Other", "Peop"], "Peop"), ("GPE", ["Loc", "Org"], "Loc"), ("NORP", ["Loc", "Other"], "Other"),
    ("GPE", ["LOCATION", "PERSON"], "LOCATION"), ("GPE", ["CITY", "COUNTRY", "LOCATION"], "COUNTRY"),
    ("CARDINAL", ["DATE", "NUMBER"], "NUMBER"), ("Peop", ["Peop"], "Peop"), ("GPE", ["TITLE"], None), ("O", ["MISC"], None),
])  # fmt: skip
def test_an_entity_is_called_as_the_corpus_calls_it(tag, known, name):
    assert module._named(tag, known) == name


def test_without_spacy_entities_have_to_be_named(trained, capsys):
    with pytest.raises(
        UserError, match="--subject, --object: are not named; name them; or install .* .spaCy is missing"
    ):
        predict_pairs(trained("svm"), SENTENCE)
    assert main(["predict", "--run", str(trained("svm").folder), "--sentence", SENTENCE, "--subject", "Eve"]) == 2
    one_sentence(capsys, "--subject, --object: one is missing")


def lines_of(capsys) -> list[dict]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_split_without_labels_is_answered_as_the_run_answered_it(trained, tmp_path, capsys):
    run = trained("svm")
    asked_as_record(run, CORPUS.test, tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    (tmp_path / "test.json").write_text(json.dumps(rows))
    for place in ("test.json", "rows.jsonl"):
        assert main(["predict", "--run", str(run.folder), "--file", str(tmp_path / place), "--top", "1"]) == 0
        answered, expected = lines_of(capsys), run.predictions("test")
        assert [line["id"] for line in answered] == expected.id.tolist()
        assert [line["label_pred"] for line in answered] == expected.label_pred.tolist()
        assert np.allclose([line["p"] for line in answered], expected.p, atol=1e-4)
        assert all([len(line["relations"]) == 1 and line["subject"]["text"] == "Ann" for line in answered])


def test_lines_of_sentences_name_their_entities_or_have_them_found(trained, tagged, tmp_path, capsys):
    lines = [
        {"id": 7, "sentence": SENTENCE, "subject": "Eve", "object": "Bob", "subject_type": "PERSON"},
        {"sentence": "Ann met Bob"},
        {"sentence": "Nobody slept ."},
    ]
    (tmp_path / "lines.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n\n")
    answers = [*predict_file(trained("svm"), tmp_path / "lines.jsonl")]
    assert [answer.example.id for answer in answers] == ["7", "2", "2"]
    assert main(["predict", "--run", str(trained("svm").folder), "--file", str(tmp_path / "lines.jsonl")]) == 0
    told = capsys.readouterr()
    assert [json.loads(line)["id"] for line in told.out.splitlines()] == ["7", "2", "2"]
    assert "note: stanford_ner, stanford_pos, entities: predicted by" in told.err


@pytest.mark.parametrize("text, expected", [
    ('{"sentence": "Ann met Bob", "subject": "Ann"}', "line 1: subject, object: one is missing"),
    ('{"sentence": "Ann met Bob", "subject": "Eve", "object": "Bob"}', "line 1: subject 'Eve': does not stand"),
    ('{"sentence": "Ann met Bob"}\n{"sentence": 3}', "line 2: Expected `str`, got `int` - at `$.sentence`"),
    ('{"sentence": "Ann met Bob"}\nAnn', "line 2: JSON is malformed"),
    ('{"text": "Ann met Bob"}', "line 1: Object missing required field `sentence`"),
    ('[{"id": "a", "token": ["Ann"]}]', "field subj_start: is missing"),
    ('{"id": "a", "token": ["Ann", "met", "Bob"], "subj_start": 0, "subj_end": 0, "obj_start": 2, "obj_end": 2, '
     '"subj_type": "CITY", "obj_type": "PERSON"}', "id 'a': subject_type 'CITY': the run has never seen it"),
    ("", "is empty"),
])  # fmt: skip
def test_a_mistake_in_a_file_is_told_with_its_line(text, expected, trained, tmp_path, capsys):
    (tmp_path / "asked.jsonl").write_text(text)
    assert main(["predict", "--run", str(trained("svm").folder), "--file", str(tmp_path / "asked.jsonl")]) == 2
    one_sentence(capsys, expected)


def test_a_file_has_its_own_entities_and_is_no_folder(trained, tmp_path, capsys):
    asked = ["predict", "--run", str(trained("svm").folder), "--file", str(tmp_path)]
    assert main([*asked, "--subject", "Ann"]) == 2
    one_sentence(capsys, "--subject: does not go with --file")
    assert main(asked) == 2
    one_sentence(capsys, "is a folder where a file is expected")


def test_a_composed_and_a_decomposed_name_are_the_same_words():
    token = words("Andre\u0301 met Zo\u00eb .")
    assert token == ["Andr\u00e9", "met", "Zo\u00eb", "."] and locate("Zoe\u0308", token, "--object", False) == (2, 2)
    trained = SimpleNamespace(named=False, types=dict.fromkeys(("subject", "object"), ["caf\u00e9"]))
    assert from_sentence(trained, "Ann left .", {}, ("cafe\u0301", None)).types == ("caf\u00e9", None)

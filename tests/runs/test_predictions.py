"""Files of predictions and labels: the forms that are read, and one sentence for each that is not."""

import gzip
import json
import re
import shlex
from pathlib import Path
from unittest.mock import ANY

import planted
import pytest

from tacred_utils.ground.errors import UserError
from tacred_utils.runs.predictions import read_labels, read_predictions, score_file

ROWS = [("a", "per:age", "per:age", 0.5), ("b", "no_relation", "per:title", 0.25)]
LINES = "".join(f'{{"id": "{i}", "label_true": "{t}", "label_pred": "{q}", "p": {p}}}\n' for i, t, q, p in ROWS)
BARE = "".join(f'{{"id": "{i}", "label_pred": "{q}"}}\n' for i, _, q, _ in ROWS)


def put(folder, name, content):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("test.jsonl", LINES),
        ("test.jsonl.gz", gzip.compress(LINES.encode())),
        ("windows.jsonl", b"\xef\xbb\xbf" + LINES.replace("\n", "\r\n").encode()),
        ("no_final_newline.jsonl", LINES.rstrip()),
    ],
)
def test_json_lines_are_read(tmp_path, name, content):
    frame = read_predictions(put(tmp_path, name, content))
    assert [tuple(row) for row in frame.to_numpy()] == ROWS


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("gold.txt", "per:age\nno_relation\n"),
        ("gold.jsonl", '{"id": "b", "relation": "no_relation"}\n{"id": "a", "label_true": "per:age"}\n'),
        (
            "gold.json",
            '[{"id": "b", "relation": "no_relation", "token": ["x"]}, {"id": "a", "relation": "per:age"}]',
        ),
    ],
)
def test_gold_from_its_own_file_is_joined_by_id_or_by_position(tmp_path, name, content):
    frame = read_predictions(put(tmp_path, "test.jsonl", BARE), put(tmp_path, name, content))
    assert frame.label_true.tolist() == ["per:age", "no_relation"] and frame.p.isna().all()


def test_plain_labels_follow_the_order_of_gold(tmp_path):
    pred = put(tmp_path, "pred.txt", "per:age\nper:title\n")
    frame = read_predictions(pred, put(tmp_path, "gold.jsonl", LINES))
    assert frame[["label_true", "label_pred"]].to_numpy().tolist() == [[t, q] for _, t, q, _ in ROWS]
    assert read_labels(pred).label.tolist() == ["per:age", "per:title"]


@pytest.mark.parametrize(
    ("pred", "gold", "words"),
    [
        ("", None, "test.jsonl: the file is empty"),
        ("\n\n", None, "the file is empty"),
        ("[]", None, "the list is empty"),
        (LINES + '{"id": "c"', None, "line 3: not valid JSON"),
        (LINES.replace("\n", "\n\n"), None, "line 2: the line is empty"),
        (
            LINES.replace('"per:title"', "7"),
            None,
            r"line 2: Expected `str \| null`, got `int` - at `$.label_pred`",
        ),
        (LINES.replace('"label_pred": "per:title", ', ""), None, "row 2: field label_pred is missing"),
        (LINES.replace('"id": "b", ', ""), None, "line 2: Object missing required field `id`"),
        (LINES.replace('"id": "b"', '"id": "a"'), None, "line 2: id a occurs twice"),
        (BARE, None, "field label_true is missing.*--gold"),
        ("per:age\n", None, "line 1: not valid JSON"),
        (BARE, "per:age\n", "2 rows and .*gold 1"),
        (BARE, '{"id": "a", "relation": "x"}', "row 2: id b is not in .*gold"),
        (BARE, LINES + '{"id": "c", "label_true": "x"}', "no prediction for id c"),
        (BARE, '{"id": "a"}', "gold, row 1: field label_true is missing; write the gold label there"),
        (BARE, b"per:age\n\xff", "gold: not UTF-8"),
        (gzip.compress(LINES.encode())[:-9], None, "gzip file is damaged"),
    ],
)
def test_mistakes_name_file_place_and_remedy(tmp_path, pred, gold, words):
    path = put(tmp_path, "test.jsonl", pred)
    gold = None if gold is None else put(tmp_path, "gold", gold)
    with pytest.raises(UserError) as caught:
        read_predictions(path, gold)
    assert re.search(words.replace("$", r"\$").replace("`", "."), str(caught.value)), str(caught.value)
    assert str(tmp_path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match="nowhere.jsonl: no such file"):
        read_predictions(tmp_path / "nowhere.jsonl")


def _write(path: Path, rows: list[tuple[str, str]]) -> Path:
    lines = [f'{{"id": "{n}", "label_true": "{true}", "label_pred": "{pred}"}}' for n, (true, pred) in enumerate(rows)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    return path


def test_score_file_folds_gold_labels_for_detection(tmp_path):
    path = _write(
        tmp_path / "test.jsonl",
        [
            ("per:age", "relation"),
            ("per:title", "no_relation"),
            ("no_relation", "relation"),
            ("no_relation", "no_relation"),
        ],
    )
    found = score_file(path)
    assert found["micro_f1"] == found["detection_f1"] == found["accuracy"] == 0.5


def test_score_file_takes_classes_and_task_from_the_run_beside_it(tmp_path):
    rows = [("per:age", "per:age"), ("no_relation", "per:title"), ("per:title", "per:age")]
    path = _write(tmp_path / "run" / "predictions" / "test.jsonl", rows)
    assert score_file(path)["accuracy"] == pytest.approx(1 / 3)
    run = tmp_path / "run" / "run.json"
    run.write_text(
        json.dumps(planted.RUN_INFO | {"task": "relation_only", "classes": ["per:age", "per:title", "per:charges"]})
    )
    found = score_file(path)
    assert found["accuracy"] == 0.5 and found["macro_f1"] == pytest.approx(2 / 3 / 3)
    run.write_text('{"task": "joint"}')
    with pytest.raises(UserError, match="run.json"):
        score_file(path)


def pair(folder: Path, true: list[str], pred: list[str]) -> tuple[Path, Path]:
    """Two files with a label a line: predictions, gold."""
    for name, labels in (("pred.txt", pred), ("gold.txt", true)):
        (folder / name).write_text("\n".join(labels) + "\n")
    return folder / "pred.txt", folder / "gold.txt"


TRUE = ["no_relation", "per:title", "per:age", "no_relation", "org:founded", "per:title"]
PRED = ["no_relation", "per:title", "no_relation", "per:age", "org:founded", "per:age"]


@pytest.mark.parametrize("heading", ["label", "Label", '"label"', "label_pred", "relation"])
def test_a_line_that_heads_the_labels_is_no_row(tmp_path, heading):
    found = score_file(*pair(tmp_path, [heading, *TRUE], [heading, *PRED]))
    assert found == score_file(*pair(tmp_path, TRUE, PRED)) and found["accuracy"] == 0.5
    with pytest.raises(UserError, match="6 rows and .* 5"):
        score_file(*pair(tmp_path, TRUE[:5], [heading, *PRED]))


def test_relation_is_a_label_in_answers_to_detection(tmp_path):
    answers = ["relation", "no_relation", "no_relation"]
    assert score_file(*pair(tmp_path, ["per:age", "no_relation", "no_relation"], answers))["accuracy"] == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda label: str(sorted({*TRUE}).index(label)), "such as '0', is among the gold ones"),
        (lambda label: f'"{label}"', "same names"),
        (lambda label: f"{sorted({*TRUE}).index(label)} {label}", "same names"),
        (lambda label: {"no_relation": "no_relation", "per:title": "1"}.get(label, "2"), "same names"),
        (lambda label: label if label == "no_relation" else f"'{label}'", "same names"),
        (lambda label: f"rel-{label[:3]}", "same names"),
    ],
)
def test_predictions_in_other_names_than_gold_are_refused(tmp_path, change, words):
    with pytest.raises(UserError, match=words):
        score_file(*pair(tmp_path, TRUE, [*map(change, PRED)]))


def test_numbers_on_both_sides_need_the_negative_one(tmp_path):
    names = sorted({*TRUE})
    files = pair(tmp_path, *([str(names.index(label)) for label in labels] for labels in (TRUE, PRED)))
    with pytest.raises(UserError, match="its labels are numbers; .*--negative"):
        score_file(*files)
    assert score_file(*files, negative=str(names.index("no_relation"))) == pytest.approx(
        score_file(*pair(tmp_path, TRUE, PRED)) | {"macro_p": ANY, "macro_r": ANY, "macro_f1": ANY}
    )


@pytest.mark.parametrize(
    "name", ["NA", "N/A", "Other", "None", "No_Relation", "no_relation(e1,e2)", "0 no_relation", '"no_relation"']
)
def test_the_negative_label_under_another_name_is_told_and_taken(tmp_path, name):
    files = pair(tmp_path, *([label.replace("no_relation", name) for label in labels] for labels in (TRUE, PRED)))
    with pytest.raises(UserError, match=f"has no label no_relation, and {re.escape(name)} looks like it") as told:
        score_file(*files)
    assert shlex.split(str(told.value).partition("give --negative ")[2])[0] == f"{name},"  # as a shell reads the hint
    found = score_file(*files, negative=name)
    assert found == score_file(*pair(tmp_path, TRUE, PRED))


@pytest.mark.parametrize("other", [0, 1])
def test_two_names_for_the_negative_label_are_refused_until_one_is_given(tmp_path, other):
    sides = [TRUE, PRED]
    sides[other] = [label.replace("no_relation", "NIL") for label in sides[other]]
    with pytest.raises(UserError, match=f"{['label_true', 'label_pred'][other]}: has no label .*--negative NIL"):
        score_file(*pair(tmp_path, *sides))
    assert score_file(*pair(tmp_path, *sides), negative="NIL") == score_file(*pair(tmp_path, TRUE, PRED))


def test_labels_that_are_all_relations_are_scored_as_such(tmp_path):
    files = pair(tmp_path, ["per:age", "Other", "Other"], ["per:age", "Other", "per:age"])
    assert score_file(*files, negative="no_relation")["micro_f1"] == pytest.approx(2 / 3)
    assert score_file(*pair(tmp_path, ["per:age", "per:title"], ["per:age", "per:age"]))["micro_f1"] == 0.5


def test_a_negative_label_that_no_row_has_is_refused(tmp_path):
    with pytest.raises(UserError, match="--negative Othr: is none of its labels"):
        score_file(*pair(tmp_path, TRUE, PRED), negative="Othr")


def test_a_bad_system_is_scored_all_the_same(tmp_path):
    assert score_file(*pair(tmp_path, ["no_relation", "per:age"], ["no_relation", "per:title"]))["micro_f1"] == 0
    assert score_file(*pair(tmp_path, TRUE, ["no_relation"] * 6))["micro_f1"] == 0


def test_letters_with_accents_are_one_however_they_are_written(tmp_path):
    files = pair(tmp_path, ["no_relation", "per:cafe\u0301"], ["no_relation", "per:caf\u00e9"])
    assert score_file(*files)["micro_f1"] == 1
    gold, pred = (tmp_path / name for name in ("gold.jsonl", "pred.jsonl"))
    gold.write_text('{"id": "cafe\u0301", "label_true": "ne\u0301ant"}\n')
    pred.write_text('{"id": "caf\u00e9", "label_pred": "n\u00e9ant"}\n')
    assert score_file(pred, gold, "ne\u0301ant")["accuracy"] == 1

"""Files of predictions and labels: the forms that are read, and one sentence for each that is not."""

import gzip
import re

import pytest

from tacred_utils.ground.errors import UserError
from tacred_utils.runs.predictions import read_labels, read_predictions

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

"""Names exchanged in the text, and answers that systems agree on."""

import pandas as pd
from msgspec.structs import replace

from tacred_utils.corpora.example import Example
from tacred_utils.metrics import robustness


def row(identity: str, token: str, subject: tuple[int, int], objekt: tuple[int, int], label: str = "x") -> Example:
    return Example(identity, label, token.split(), *subject, *objekt, "PERSON", "CITY", stanford_head=[0] * 9)


ROWS = [
    row("a", "Ann Lee lives in Oslo now .", (0, 1), (4, 4)),
    row("b", "Bo Ray left New York .", (0, 1), (3, 4)),
    row("c", "In Rome died Cy Fox .", (3, 4), (1, 1)),
    row("d", "Rome of Rome .", (0, 2), (2, 2)),  # overlap
]


def test_names_are_exchanged_for_others_of_type_and_length_and_nothing_else_moves():
    given = robustness.names(ROWS)
    assert given["PERSON", 2] == [("Ann", "Lee"), ("Bo", "Ray"), ("Cy", "Fox")] and given["CITY", 2] == [
        ("New", "York")
    ]
    changed, done = robustness.renamed(ROWS, given, 3)
    assert done.tolist() == [True, False, True, False]  # of New York there is no other; the last overlaps
    assert changed[1] is ROWS[1] and changed[3] is ROWS[3]
    for old, new in zip(ROWS, changed, strict=True):
        assert replace(new, token=old.token) == old and len(new.token) == len(old.token)
    assert changed[0].token[4] == "Rome" and changed[0].token[:2] in (["Bo", "Ray"], ["Cy", "Fox"])
    assert changed[0].token[2:4] == ["lives", "in"]
    assert robustness.renamed(ROWS, given, 3)[0] == changed and ROWS[0].token[0] == "Ann"


def test_unseen_names_are_not_those_of_training_in_any_writing():
    shout = replace(ROWS[0], token=["ANN", "LEE", *ROWS[0].token[2:]])
    unseen = robustness.names(ROWS, without=[shout])
    assert ("Ann", "Lee") not in unseen["PERSON", 2] and ("CITY", 1) in unseen and ("Oslo",) not in unseen["CITY", 1]


def test_systems_agree_on_one_answer_other_than_the_label():
    answers = pd.DataFrame({"s": ["a", "b", "c"], "t": ["a", "b", "a"], "u": ["a", "c", "c"]}, index=["i", "j", "k"])
    found = robustness.agreed_against(answers, ["a", "a", "a"])
    assert (
        found.systems.tolist() == [0, 2, 2]
        and found.answer.tolist()[1:] == ["b", "c"]
        and pd.isna(found.answer.iloc[0])
    )

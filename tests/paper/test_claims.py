"""The rules of a verdict on planted evidence: each must come out as the rules say."""

import math

import pytest

from tacred_utils.metrics.estimates import Estimate
from tacred_utils.notebook import charts
from tacred_utils.paper import claims
from tacred_utils.paper.claims import (
    CONTRADICTED,
    ELSEWHERE,
    NOT_SUPPORTED,
    NOT_TESTABLE,
    PAPER,
    SUPPORTED,
    TACRED,
    UNDECIDED,
    Claim,
    Evidence,
    judge,
    load_claims,
)


def planted(general: bool = True) -> Claim:
    return Claim("C8", "a claim", "4", "says", "all", general, "0.2", "nothing", [])


def test_of(value, source="Re-DocRED", half=0.05, unit="documents", reasons=(), measured="gap", above=0.2):
    found = Estimate(value, value - half, value + half, 250, unit)
    return Evidence("C8", measured, source, source, found, above, reasons=reasons)


test_of.__test__ = False
FOR, AGAINST, OPEN = test_of(0.4), test_of(0.0), test_of(0.21)


def on(test: Evidence, source: str) -> Evidence:
    return Evidence(test.claim, test.measured, source, source, test.estimate, test.above, test.below, test.reasons)


def printed(value: float) -> Evidence:
    return test_of(value, PAPER, 0.01, "rounding")


@pytest.mark.parametrize(
    ("evidence", "general", "expected"),
    [
        ([], True, NOT_TESTABLE),
        ([printed(0.1)], True, CONTRADICTED),
        ([printed(0.1), on(FOR, TACRED)], True, CONTRADICTED),
        ([printed(0.195)], True, UNDECIDED),  # rounding leaves it open
        ([on(AGAINST, TACRED)], True, NOT_SUPPORTED),
        ([on(AGAINST, PAPER)], True, NOT_SUPPORTED),  # its predictions, not what it prints
        ([on(FOR, TACRED)], True, SUPPORTED),
        ([on(FOR, TACRED), AGAINST], True, UNDECIDED),  # one other corpus does not refute what TACRED bears out
        ([AGAINST], True, "not supported on Re-DocRED"),
        ([AGAINST, printed(0.195)], True, "not supported on Re-DocRED"),  # the paper's own figures leave it open
        ([AGAINST, on(AGAINST, "KBP37")], True, NOT_SUPPORTED),  # two independent real corpora
        ([on(FOR, TACRED), AGAINST, on(AGAINST, "KBP37")], True, NOT_SUPPORTED),  # whatever TACRED says
        ([AGAINST, on(FOR, "KBP37")], True, "not supported on Re-DocRED"),
        ([FOR], True, UNDECIDED),  # one corpus alone
        ([FOR, on(FOR, "KBP37")], True, SUPPORTED),
        ([FOR, on(OPEN, "KBP37")], True, UNDECIDED),
        # A claim about TACRED that only other corpora speak to is never refuted, nor borne out.
        ([AGAINST, on(AGAINST, "KBP37")], False, "not supported on Re-DocRED and KBP37"),
        ([FOR, on(FOR, "KBP37")], False, UNDECIDED),
        ([on(FOR, TACRED)], False, SUPPORTED),
    ],
)
def test_what_sources_say_together(evidence, general, expected):
    assert judge(planted(general), evidence).verdict == expected


def test_tests_that_share_a_source_are_one_piece_of_evidence():
    """Two refuting tests from one corpus are not two corpora."""
    twice = [AGAINST, test_of(0.0, measured="the same system measured again")]
    assert claims.by_source(twice) == {"Re-DocRED": "against"}
    assert judge(planted(), twice).verdict == "not supported on Re-DocRED"
    assert claims.by_source([FOR, OPEN]) == {"Re-DocRED": "open"}


@pytest.mark.parametrize(
    "reason", ["34 rows with a relation, fewer than 100", "a run that was stopped while dev still rose"]
)
def test_what_may_not_decide_is_shown_and_refutes_nothing(reason):
    barred = test_of(-0.3, "CoNLL04", reasons=(reason,))
    assert judge(planted(), [barred]).verdict == NOT_TESTABLE and reason in judge(planted(), [barred]).reason
    assert judge(planted(), [on(FOR, TACRED), barred]).verdict == SUPPORTED
    frame = claims.outcome_table([barred])
    assert frame.outcome.tolist() == [""] and frame.why.tolist() == [reason]
    assert claims.view(frame).outcome.tolist() == [reason]


def test_a_missing_run_keeps_a_claim_from_being_supported_and_refutes_nothing():
    missing = Evidence("C8", "a run of gpt2 spans joint", "Re-DocRED", "redocred_small", claims.NOTHING, 0.2)
    verdict = judge(planted(), [on(FOR, TACRED), missing])
    assert verdict.verdict == UNDECIDED and "missing: a run of gpt2 spans joint" in verdict.reason
    assert judge(planted(), [on(AGAINST, TACRED), missing]).verdict == NOT_SUPPORTED
    assert judge(planted(general=False), [on(FOR, TACRED), missing]).verdict == SUPPORTED  # it is about TACRED
    assert claims.view(claims.outcome_table([missing])).empty


def test_an_edge_that_is_crossed_decides_nothing_and_the_number_of_tests_counts():
    assert claims.outcomes([FOR, AGAINST, OPEN]) == ["for", "against", "open"]
    near = test_of(0.252, half=0.05)  # p = 0.04
    assert claims.outcomes([near]) == ["for"]
    assert claims.outcomes([near, near, near]) == ["open"] * 3  # Holm
    assert claims.outcomes([near, printed(0.3)]) == ["for", "for"]  # what is printed has no chance to correct for
    assert claims.outcomes([test_of(0.25, half=0.2, above=-0.05, measured="steady")]) == ["for"]


def test_no_room_at_the_ceiling_nor_at_the_floor():
    full, weak, fair = (Estimate(0.0, -0.1, 0.1, parts=parts) for parts in ((0.97, 0.96), (0.15, 0.02), (0.6, 0.3)))
    assert claims.without_room(full, 0.0, math.inf) == ("both above 0.95",)
    assert "no room" in claims.without_room(weak, 0.2, math.inf)[0]  # a gap of 0.2 exceeds what the better one scores
    assert claims.without_room(fair, 0.2, math.inf) == () and claims.without_room(weak, -0.02, math.inf) == ()


def test_sensitivity_names_what_turns_a_verdict():
    evidence = [test_of(0.3, TACRED), test_of(0.12, "KBP37")]
    frame = claims.sensitivity(evidence, {"rows": [test_of(0.3, TACRED, half=0.2)]}).set_index("claim")
    assert frame.verdict["C8"] == UNDECIDED and frame.verdict["C9"] == NOT_TESTABLE and frame.changes["C9"] == ""
    assert frame.changes["C8"].split("; ") == [
        "edge doubled: not supported", "without TACRED: not supported on KBP37",
        "without KBP37: supported",
    ]  # fmt: skip


def test_edges_are_moved_but_not_exact_ones():
    exact = Evidence("C1", "rows", PAPER, "Table 12", Estimate(42, 42, 42), 41.9, 42.1)
    frame = claims.sensitivity([exact], {}).set_index("claim")
    assert frame.verdict["C1"] == SUPPORTED and frame.changes["C1"] == ""


def test_nineteen_claims_say_all_that_a_claim_has_to():
    known = load_claims()
    assert list(known) == [f"C{number}" for number in range(1, 20)]
    for claim in known.values():
        assert all([claim.short, claim.says, claim.population, claim.edge, claim.changes]) and len(claim.short) < 40
        assert set(claim.notebooks) <= {f"{n:02}" for n in range(1, 10)}


def test_every_claim_has_a_verdict_with_its_reason():
    frame = claims.verdicts([printed(0.1)])
    assert len(frame) == 19
    row = frame.set_index("claim").loc["C8"]
    assert row.verdict == CONTRADICTED
    assert row.reason == "gap is 0.100 [0.090, 0.110] (the paper), where the claim needs above 0.2."
    assert all(reason.endswith(".") and ".." not in reason for reason in frame.reason)


def test_the_kind_of_a_verdict_that_names_corpora():
    assert judge(planted(), [AGAINST]).kind == ELSEWHERE and judge(planted(), [on(FOR, TACRED)]).kind == SUPPORTED


def test_evidence_is_shown_with_what_it_rests_on():
    frame = claims.outcome_table([FOR, printed(0.1)])
    shown = claims.view(frame, "C8")
    assert shown["rests on"].tolist() == ["250 documents", "rounding"] and shown.needed.tolist() == ["above 0.2"] * 2
    assert frame.value_margin.tolist() == pytest.approx([4, -10])  # in half-widths of the interval


def test_the_figure_has_a_row_for_every_claim_and_a_mark_for_every_outcome():
    evidence = [FOR, printed(0.1)]
    frame, answers = claims.outcome_table(evidence), claims.verdicts(evidence)
    margins = {f"{name}_margin": name for name in ("value", "low", "high")}
    drawn = frame[["claim", "outcome", *margins]].rename(columns=margins | {"outcome": "verdict"})
    figure = charts.evidence(drawn, answers.rename(columns={"short": "name"}), claims.MARKS)
    [axis] = figure.axes
    assert len(axis.get_yticklabels()) == 19 and axis.get_yticklabels()[0].get_text().startswith("C1 ")
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(claims.MARKS)

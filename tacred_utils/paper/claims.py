"""The paper's claims as data (claims.toml) and the rules by which evidence becomes a verdict.

A test is an estimate and the range that would bear the claim out. Its outcome is decided by its p-value against the
edge, corrected for the number of tests of the claim (Holm). Tests that share a source (the paper itself; published
predictions on TACRED; the runs on one corpus) are one piece of evidence: against the claim if one of them is, for it if
all are. `judge` makes the verdict of these; nothing states one by hand.
"""

import math
import tomllib
from collections.abc import Iterable, Sequence
from functools import cache

import msgspec
import pandas as pd

from tacred_utils.ground.paths import PACKAGE
from tacred_utils.metrics.estimates import Estimate, holm

SUPPORTED, NOT_SUPPORTED, UNDECIDED = "supported", "not supported", "undecided"
CONTRADICTED, NOT_TESTABLE = "contradicted by the paper's own numbers", "not testable here"
ELSEWHERE = "not supported on other corpora"  # its kind; the verdict names the corpora
VERDICTS = (SUPPORTED, UNDECIDED, ELSEWHERE, NOT_SUPPORTED, CONTRADICTED, NOT_TESTABLE)
FOR, OPEN, AGAINST = "for", "open", "against"
MARKS = {FOR: "o", OPEN: "D", AGAINST: "X"}  # how figures tell tests apart
PAPER, TACRED = "the paper", "TACRED"  # sources in the claim's own setting
LEVEL, CEILING, ROOM = 0.05, 0.95, 0.1  # of p-values; above it no room for a difference; room that an edge needs
NOTHING = Estimate(math.nan, math.nan, math.nan)


class Claim(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A claim of the paper; claims.toml says what the fields mean."""

    claim: str
    short: str
    section: str
    says: str
    population: str
    general: bool
    edge: str
    changes: str
    notebooks: list[str]


class Evidence(msgspec.Struct, frozen=True):
    """One test of a claim: an estimate, and the range in which it would bear the claim out."""

    claim: str
    measured: str
    source: str  # PAPER, TACRED, or the name of a text
    origin: str  # the table, predictions or corpus that it is from
    estimate: Estimate
    above: float = -math.inf
    below: float = math.inf
    reasons: tuple[str, ...] = ()  # why it decides nothing; a test without any decides

    @property
    def missing(self) -> bool:
        return math.isnan(self.estimate.value)

    @property
    def decides(self) -> bool:
        return not self.reasons and not self.missing

    @property
    def p_value(self) -> float:
        """Against the nearer edge: how easily the estimate would lie on the other side of it."""
        edges = [edge for edge in (self.above, self.below) if math.isfinite(edge)]
        return max((self.estimate.p_value(edge) for edge in edges), default=0.0)

    @property
    def exact(self) -> bool:
        """Whether it is a count or a printed figure: no chance to correct for."""
        return self.estimate.unit in ("", "rounding")

    def edged(self, factor: float) -> "Evidence":
        """The same with its edges times a factor."""
        return msgspec.structs.replace(self, above=self.above * factor, below=self.below * factor)


class Verdict(msgspec.Struct, frozen=True):
    """What the evidence comes to, and why, in one sentence."""

    verdict: str
    reason: str

    @property
    def kind(self) -> str:
        """One of `VERDICTS`."""
        return self.verdict if self.verdict in VERDICTS else ELSEWHERE


@cache
def load_claims() -> dict[str, Claim]:
    """C1 to C19 by name, from claims.toml."""
    text = tomllib.loads((PACKAGE / "paper" / "claims.toml").read_text(encoding="utf-8"))
    return {name: msgspec.convert({"claim": name} | fields, Claim) for name, fields in text.items()}


# The rules


def without_room(found: Estimate, above: float, below: float) -> tuple[str, ...]:
    """Why a difference between two systems cannot decide: no room for it at the ceiling, or at the floor."""
    edge = max((abs(edge) for edge in (above, below) if math.isfinite(edge)), default=0.0)
    if found.parts and min(found.parts) > CEILING:
        return (f"both above {CEILING}",)
    if found.parts and max(found.parts) < edge + ROOM:
        return (f"neither above {edge + ROOM:.2g}: an edge of {edge:.2g} leaves no room",)
    return ()


def outcomes(tests: Sequence[Evidence]) -> list[str]:
    """For, against or open, test by test, for the tests of one claim that decide."""
    chance = [test for test in tests if not test.exact]
    corrected = dict(zip(map(id, chance), holm([test.p_value for test in chance]), strict=True))
    return [
        OPEN if corrected.get(id(test), test.p_value) >= LEVEL
        else FOR if test.above < test.estimate.value < test.below else AGAINST
        for test in tests
    ]  # fmt: skip


def by_source(tests: Sequence[Evidence]) -> dict[str, str]:
    """What each source says: against if one of its tests is, for if all are, else open."""
    found: dict[str, set[str]] = {}
    for test, outcome in zip(tests, outcomes(tests), strict=True):
        found.setdefault(test.source, set()).add(outcome)
    return {source: AGAINST if AGAINST in said else FOR if said == {FOR} else OPEN for source, said in found.items()}


def judge(claim: Claim, evidence: Iterable[Evidence]) -> Verdict:
    """The verdict on a claim.

    The claim's own setting, the paper and TACRED, refutes it; so do two independent corpora where the claim is a
    general one. One corpus alone, or other corpora on a claim about TACRED, give "not supported on …", unless its own
    setting bears the claim out. It is supported
    where its own setting or two corpora bear it out, no source speaks against it or leaves it open, and, if it is a
    general claim, no run that was asked for is missing.
    """
    evidence = [test for test in evidence if test.claim == claim.claim]
    tests = [test for test in evidence if test.decides]
    if not tests:
        return Verdict(NOT_TESTABLE, f"No test of it can decide: {_why_not(evidence)}.")
    said = by_source(tests)
    own = {source: said[source] for source in (PAPER, TACRED) if source in said}
    others = {source: outcome for source, outcome in said.items() if source not in own}
    against = [source for source, outcome in others.items() if outcome == AGAINST]
    refuting = [test for test, outcome in zip(tests, outcomes(tests), strict=True) if outcome == AGAINST]
    if AGAINST in own.values():
        printed = [test for test in refuting if test.source == PAPER and test.exact]
        worst = _least_in_range(printed or [test for test in refuting if test.source in own])
        return Verdict(CONTRADICTED if printed else NOT_SUPPORTED, _sentence(worst))
    worst = _least_in_range(refuting)
    if claim.general and len(against) > 1 and FOR not in own.values():
        return Verdict(NOT_SUPPORTED, f"{_sentence(worst)[:-1]}; so say {_and(against)}.")
    if against and FOR not in own.values():
        return Verdict(f"not supported on {_and(against)}", _sentence(worst))
    bearing = [source for source, outcome in said.items() if outcome == FOR]
    enough = own or claim.general and len(bearing) > 1
    complete = not claim.general or not any(test.missing for test in evidence)
    if enough and complete and not against and OPEN not in said.values():
        return Verdict(SUPPORTED, f"{_sentence(_least_in_range(tests))[:-1]}; for it: {_and(bearing)}.")
    return Verdict(UNDECIDED, _undecided(claim, evidence, said))


def _undecided(claim: Claim, evidence: Sequence[Evidence], said: dict[str, str]) -> str:
    sides = {outcome: [source for source, each in said.items() if each == outcome] for outcome in (AGAINST, OPEN, FOR)}
    words = {AGAINST: "against it", OPEN: "open", FOR: "for it"}
    parts = [f"{words[outcome]}: {_and(names)}" for outcome, names in sides.items() if names]
    if not {PAPER, TACRED} & set(said):
        parts.append("one corpus is not enough" if claim.general else "it is about TACRED")
    if missing := [test for test in evidence if test.missing]:
        parts.append(f"missing: {_and(list(dict.fromkeys(test.measured for test in missing)))}")
    text = "; ".join(filter(None, parts))
    return f"{text[:1].upper()}{text[1:]}."


def _why_not(evidence: Sequence[Evidence]) -> str:
    reasons = [test.measured for test in evidence if test.missing]
    reasons += [f"{reason} ({test.origin})" for test in evidence for reason in test.reasons]
    return "; ".join(dict.fromkeys(reasons)) or "nothing was measured"


def _least_in_range(tests: Sequence[Evidence]) -> Evidence | None:
    """The test that lies least far inside its range, or farthest outside it."""
    return min(tests, key=lambda t: min(t.estimate.value - t.above, t.below - t.estimate.value), default=None)


def _sentence(test: Evidence) -> str:
    value = test.estimate.value
    shown = f"{value:,.0f}" if test.exact and value % 1 == 0 else str(test.estimate)
    return f"{test.measured} is {shown} ({test.origin}), where the claim needs {in_words(test)}."


def in_words(test: Evidence) -> str:
    """`above 0.2`, `below −0.05`, `106,264`: the range that a test needs."""
    least, most = test.above, test.below
    if math.isinf(most):
        text = f"above {least:.4g}"
    elif math.isinf(least):
        text = f"below {most:.4g}"
    else:
        text = f"{(least + most) / 2:,.6g}" if most - least < 1e-4 else f"{least:.4g} to {most:.4g}"
    return text.replace("-", "−")


def _and(names: Sequence[str]) -> str:
    return ", ".join(names[:-1]) + " and " + names[-1] if len(names) > 1 else "".join(names)


# Tables


def outcome_table(evidence: Iterable[Evidence]) -> pd.DataFrame:
    """Evidence as a frame: columns claim, measured, origin, source, value, low, high, n, unit, needed, outcome, why.

    `outcome` is empty where a test decides nothing, and `why` then says so. Margins (value, low, high) are how far each
    lies inside the needed range in widths of the interval: comparable over scores, counts and ratios.
    """
    evidence, rows = list(evidence), []
    tests = {name: [t for t in evidence if t.claim == name and t.decides] for name in load_claims()}
    said = {id(t): o for name, part in tests.items() for t, o in zip(part, outcomes(part), strict=True)}
    for test in evidence:
        found = test.estimate
        rows.append({
            "claim": test.claim, "measured": test.measured, "origin": test.origin, "source": test.source,
            "value": found.value, "low": found.low, "high": found.high, "n": found.n, "unit": found.unit,
            "needed": in_words(test) if not test.reasons or test.missing else "",
            "outcome": said.get(id(test), ""), "why": "; ".join(test.reasons),
        } | _margins(test))  # fmt: skip
    return pd.DataFrame(rows)


def _margins(test: Evidence) -> dict[str, float]:
    found, width = test.estimate, max((test.estimate.high - test.estimate.low) / 2, 1e-9)

    def inside(value: float) -> float:
        return min(value - test.above, test.below - value) / width

    return {f"{name}_margin": inside(getattr(found, name)) for name in ("value", "low", "high")}


def verdicts(evidence: Iterable[Evidence]) -> pd.DataFrame:
    """The claims: columns claim, short, section, says, population, edge, changes, notebooks (that hold the
    details), verdict, kind, reason, and for,
    against and open, the numbers of sources."""
    evidence, rows = list(evidence), []
    for name, claim in load_claims().items():
        found = judge(claim, evidence)
        said = list(by_source([t for t in evidence if t.claim == name and t.decides]).values())
        about = msgspec.structs.asdict(claim) | {
            "notebooks": ", ".join(claim.notebooks),
            "verdict": found.verdict,
            "kind": found.kind,
            "reason": found.reason,
        }
        rows.append(about | {outcome: said.count(outcome) for outcome in (FOR, OPEN, AGAINST)})
    return pd.DataFrame(rows)


def sensitivity(evidence: Sequence[Evidence], resampled: dict[str, Sequence[Evidence]]) -> pd.DataFrame:
    """How each verdict changes: columns claim, verdict, changes (a sentence; empty where nothing changes it).

    Edges are halved and doubled, each source but the paper is left out, and `resampled` brings the evidence with other units.
    """
    ways: dict[str, Sequence[Evidence]] = {
        "edge halved": [test.edged(0.5) for test in evidence if not _is_exact(test)] + _exact(evidence),
        "edge doubled": [test.edged(2) for test in evidence if not _is_exact(test)] + _exact(evidence),
    }
    ways |= {f"{unit} resampled": part for unit, part in resampled.items()}
    for source in dict.fromkeys(test.source for test in evidence if test.decides and test.source != PAPER):
        ways[f"without {source}"] = [test for test in evidence if test.source != source]
    rows = []
    for name, claim in load_claims().items():
        verdict = judge(claim, evidence).verdict
        other = {way: judge(claim, part).verdict for way, part in ways.items()}
        changes = "; ".join(f"{way}: {found}" for way, found in other.items() if found != verdict)
        rows.append({"claim": name, "verdict": verdict, "changes": changes})
    return pd.DataFrame(rows)


def _is_exact(test: Evidence) -> bool:
    """Whether its range is one number or a count, which has no edge of ours to move."""
    return math.isfinite(test.above) and math.isfinite(test.below)


def _exact(evidence: Sequence[Evidence]) -> list[Evidence]:
    return [test for test in evidence if _is_exact(test)]


def view(frame: pd.DataFrame, *names: str) -> pd.DataFrame:
    """Evidence of an `outcome_table` as it is shown, that of some claims or all, by source; what is missing is left out.

    Columns claim, source, origin, measured, estimate, rests on, needed, outcome (or why it decides nothing).
    """
    shown = frame[frame.value.notna() & (frame.claim.isin(names) if names else True)]
    order = [*dict.fromkeys(shown.claim)]
    shown = shown.sort_values(
        ["claim", "source"],
        key=lambda column: column.map(order.index) if column.name == "claim" else column,
        kind="stable",
    )
    numbers = [Estimate(*row) for row in shown[["value", "low", "high"]].itertuples(index=False)]
    return pd.DataFrame({
        "claim": shown.claim, "source": shown.source, "origin": shown.origin, "measured": shown.measured,
        "estimate": [f"{e.value:,.0f}" if e.low == e.high and e.value % 1 == 0 else str(e) for e in numbers],
        "rests on": [f"{n:,} {unit}" if unit not in ("", "rounding") else unit for n, unit in zip(shown.n, shown.unit, strict=True)],
        "needed": shown.needed, "outcome": shown.outcome.where(shown.outcome != "", shown.why),
    }).reset_index(drop=True)  # fmt: skip

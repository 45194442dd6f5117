"""The paper's claims as data (claims.toml) and the rules by which evidence becomes a verdict.

A test is an estimate and the range that would bear the claim out. Its outcome is decided by its p-value against the
edge, corrected for the number of tests of the claim (Holm). Tests that share a source (the paper itself; published
predictions on TACRED; the runs on one corpus) are one piece of evidence: against the claim if one of them is, for it if
all are. `judge` makes the verdict of these; nothing states one by hand.
"""

import math
import tomllib
from collections.abc import Iterable, Iterator, Sequence
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
SHOWN = ["claim", "source", "origin", "measured", "estimate", "rests on", "needed", "outcome"]


class ClaimTest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A test of a claim by what is `printed`, by published answers (`score`) or by finished runs (`measure`).

    claims.toml says how.
    """

    what: str
    of: list[str]
    printed: str = ""
    score: str = ""
    measure: str = ""
    imbalance: bool = False
    above: float = -math.inf
    below: float = math.inf
    context: str = ""


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
    tests: list[ClaimTest] = []


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
    def edges(self) -> list[float]:
        """The ends of the range: one, or two of a count, which are none of ours to move."""
        return [edge for edge in (self.above, self.below) if math.isfinite(edge)]

    @property
    def p_value(self) -> float:
        """Against the nearer edge: how easily the estimate would lie on the other side of it."""
        return max((self.estimate.p_value(edge) for edge in self.edges), default=0.0)

    @property
    def exact(self) -> bool:
        """Whether it is a count or a printed figure: no chance to correct for."""
        return self.estimate.unit in ("", "rounding")

    def inside(self, value: float) -> float:
        """How far a value lies inside the range; below 0 outside."""
        return min(value - self.above, self.below - value)

    @property
    def shown(self) -> str:
        found = self.estimate
        return f"{found.value:,.0f}" if found.low == found.high and found.value % 1 == 0 else str(found)

    @property
    def needed(self) -> str:
        """`above 0.2`, `below −0.05`, `106,264`: the range that the claim needs."""
        least, most = self.above, self.below
        text = f"above {least:.4g}" if math.isinf(most) else f"below {most:.4g}"
        if len(self.edges) == 2:
            text = f"{(least + most) / 2:,.6g}" if most - least < 1e-4 else f"{least:.4g} to {most:.4g}"
        return text.replace("-", "−")

    @property
    def sentence(self) -> str:
        return f"{self.measured} is {self.shown} ({self.origin}), where the claim needs {self.needed}"


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
    table = tomllib.loads((PACKAGE / "paper" / "claims.toml").read_text(encoding="utf-8"))
    for name, fields in table.items():
        tests = [test for declared in fields.get("tests", []) for test in _each(declared)]
        table[name] = msgspec.convert(fields | {"claim": name, "tests": tests}, Claim)
    return table


def _each(declared: dict[str, object]) -> Iterator[dict[str, object]]:
    """A declared test as often as it has items in `each`, with these filled in."""
    for item in declared.pop("each", [[]]):
        words = [item] if isinstance(item, str) else item
        filled = {name: declared.get(name, "").format(*words) for name in ("what", "printed")}
        yield declared | filled | {"of": [text.format(*words) for text in declared["of"]]}


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
    setting bears the claim out. It is supported where its own setting or two corpora bear it out, no source speaks
    against it or leaves it open, and, if it is a general claim, no run that was asked for is missing.
    """
    evidence = [test for test in evidence if test.claim == claim.claim]
    tests = [test for test in evidence if test.decides]
    if not tests:
        reasons = [test.measured for test in evidence if test.missing]
        reasons += [f"{reason} ({test.origin})" for test in evidence for reason in test.reasons]
        told = "; ".join(dict.fromkeys(reasons)) or "nothing was measured"
        return Verdict(NOT_TESTABLE, f"No test of it can decide: {told}.")
    said = by_source(tests)
    own = {source: said[source] for source in (PAPER, TACRED) if source in said}
    sides = {side: [source for source, each in said.items() if each == side] for side in (AGAINST, OPEN, FOR)}
    elsewhere = [source for source in sides[AGAINST] if source not in own]
    refuting = [test for test, outcome in zip(tests, outcomes(tests), strict=True) if outcome == AGAINST]
    if AGAINST in own.values():
        printed = [test for test in refuting if test.source == PAPER and test.exact]
        worst = _farthest_out(printed or [test for test in refuting if test.source in own])
        return Verdict(CONTRADICTED if printed else NOT_SUPPORTED, f"{worst.sentence}.")
    if claim.general and len(elsewhere) > 1:
        return Verdict(NOT_SUPPORTED, f"{_farthest_out(refuting).sentence}; so say {_and(elsewhere)}.")
    if elsewhere and FOR not in own.values():
        worst = _farthest_out(refuting)
        return Verdict(f"not supported on {_and(elsewhere)}", f"{worst.sentence}.")
    enough = own or claim.general and len(sides[FOR]) > 1
    complete = not claim.general or not any(test.missing for test in evidence)
    if enough and complete and set(said.values()) == {FOR}:
        return Verdict(SUPPORTED, f"{_farthest_out(tests).sentence}; for it: {_and(sides[FOR])}.")
    words = {AGAINST: "against it", OPEN: "open", FOR: "for it"}
    parts = [f"{words[side]}: {_and(names)}" for side, names in sides.items() if names]
    parts += [] if own else ["one corpus is not enough" if claim.general else "it is about TACRED"]
    if missing := dict.fromkeys(test.measured for test in evidence if test.missing):
        parts.append(f"missing: {_and(list(missing))}")
    text = "; ".join(parts)
    return Verdict(UNDECIDED, f"{text[:1].upper()}{text[1:]}.")


def _farthest_out(tests: Sequence[Evidence]) -> Evidence:
    """The test that lies farthest outside its range, or least far inside it."""
    return min(tests, key=lambda test: test.inside(test.estimate.value))


def _and(names: Sequence[str]) -> str:
    return ", ".join(names[:-1]) + " and " + names[-1] if len(names) > 1 else "".join(names)


# Tables


def outcome_table(evidence: Iterable[Evidence]) -> pd.DataFrame:
    """Evidence as a frame: columns `SHOWN`, why, missing, and margins of the estimate.

    `outcome` is empty where a test decides nothing, and `why` then says so. Margins (value, low, high) are how far each
    lies inside the needed range in half-widths of the interval: comparable over scores, counts and ratios.
    """
    evidence, rows = list(evidence), []
    tests = [[test for test in evidence if test.claim == name and test.decides] for name in load_claims()]
    said = {id(test): outcome for part in tests for test, outcome in zip(part, outcomes(part), strict=True)}
    for test in evidence:
        found = test.estimate
        width = max((found.high - found.low) / 2, 1e-9)
        margins = [test.inside(each) / width for each in (found.value, found.low, found.high)]
        units = found.unit if test.exact else f"{found.n:,} {found.unit}"
        needed = test.needed if test.missing or not test.reasons else ""
        told = [test.claim, test.source, test.origin, test.measured, test.shown, units, needed, said.get(id(test), "")]
        rows.append([*told, "; ".join(test.reasons), test.missing, *margins])
    return pd.DataFrame(rows, columns=[*SHOWN, "why", "missing", "value_margin", "low_margin", "high_margin"])


def view(frame: pd.DataFrame, *names: str) -> pd.DataFrame:
    """An `outcome_table` as it is shown: the evidence on some claims or all, by source, without what is missing.

    Columns `SHOWN`; where a test decides nothing the outcome is why.
    """
    shown = frame[~frame.missing & (frame.claim.isin(names) if names else True)]
    parts = [part.sort_values("source", kind="stable") for _, part in shown.groupby("claim", sort=False)]
    shown = pd.concat([shown.iloc[:0], *parts], ignore_index=True)
    return shown.assign(outcome=shown.outcome.where(shown.outcome != "", shown.why))[SHOWN]


def verdicts(evidence: Iterable[Evidence]) -> pd.DataFrame:
    """The claims: columns claim, short, section, says, population, edge, changes, notebooks, verdict, kind and reason."""
    rows = []
    for claim in load_claims().values():
        found, said = judge(claim, evidence), msgspec.structs.asdict(claim) | {"notebooks": ", ".join(claim.notebooks)}
        rows.append(said | {"verdict": found.verdict, "kind": found.kind, "reason": found.reason})
    return pd.DataFrame(rows).drop(columns=["tests", "general"])


def sensitivity(evidence: Sequence[Evidence], resampled: dict[str, Sequence[Evidence]]) -> pd.DataFrame:
    """How each verdict changes: columns claim, verdict, changes (a sentence; empty where nothing changes it).

    Edges are halved and doubled, each source but the paper is left out, and `resampled` brings the evidence with other units.
    """
    ways = {}
    for name, by in (("edge halved", 0.5), ("edge doubled", 2)):
        moved = [msgspec.structs.replace(test, above=test.above * by, below=test.below * by) for test in evidence]
        ways[name] = [test if len(test.edges) == 2 else new for test, new in zip(evidence, moved, strict=True)]
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

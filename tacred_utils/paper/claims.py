"""The paper's claims as data (claims.toml), the rules of a verdict, and the evidence that the rules are applied to.

Every piece of evidence is an estimate with an interval and the range that would bear the claim out. Nothing here
states a verdict: `verdict` compares interval and range, `judge` combines the verdicts of a claim's tests.
"""

import math
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import product

import msgspec
import pandas as pd

from tacred_utils.ground.paths import NOTEBOOKS, PACKAGE
from tacred_utils.metrics import counts
from tacred_utils.metrics.estimates import Estimate
from tacred_utils.paper import measures, published
from tacred_utils.runs.catalog import Missing, RunCatalog, SystemAnswers

SUPPORTED, NOT_SUPPORTED, UNDECIDED = "supported", "not supported", "undecided"
CONTRADICTED, NOT_TESTABLE = "contradicted by the paper's own numbers", "not testable here"
VERDICTS = (SUPPORTED, UNDECIDED, NOT_SUPPORTED, CONTRADICTED, NOT_TESTABLE)
MARKS = {SUPPORTED: "o", UNDECIDED: "D", NOT_SUPPORTED: "X", CONTRADICTED: "s"}  # how figures tell them apart
PRINTED, TACRED, MAIN = "the paper", "TACRED", "conll04"  # origins of evidence; MAIN: where a missing run is missed
DECISIVE = ("tacred", "tacred-tacrev", "tacred-retacred", MAIN)  # corpora of runs that a verdict may rest on
CEILING = 0.95  # two systems above it leave no room for a difference
Range = tuple[float, float]
NOTHING = Estimate(math.nan, math.nan, math.nan)
ABOVE_0, BELOW_0 = (0.0, math.inf), (-math.inf, 0.0)


class Claim(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A claim of the paper in our words, its section, and the notebooks that hold the details."""

    claim: str
    short: str  # its name in a figure
    section: str
    says: str
    notebooks: list[str]


class Test(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One test of a claim; claims.toml says what the fields mean."""

    claim: str
    measured: str
    of: str
    minus: str = ""
    each: tuple[str, ...] = ("",)
    score: str
    above: float = -math.inf
    below: float = math.inf
    source: str
    published: bool = False
    context: bool = False
    kbp37: bool = False


class Evidence(msgspec.Struct, frozen=True):
    """One measurement: an estimate with its interval, and the range in which it would bear the claim out."""

    claim: str
    measured: str
    origin: str  # PRINTED (the interval is then that of rounding), TACRED (its published counts), or a corpus of runs
    value: float
    low: float
    high: float
    needs: Range
    source: str
    decides: bool = True  # False: shown, without a verdict
    n: float = math.nan  # test rows, or classes; none for what is printed


@cache
def load_claims() -> tuple[list[Claim], list[Test]]:
    """The claims, C1 to C19, and the tests of claims.toml."""
    text = tomllib.loads((PACKAGE / "paper" / "claims.toml").read_text(encoding="utf-8"))
    return msgspec.convert(text["claim"], list[Claim]), msgspec.convert(text["test"], list[Test])


# The rules


def verdict(low: float, high: float, needs: Range, printed: bool = False) -> str:
    """What one interval says: all of it inside the range, all of it outside, or across an edge (undecided).

    Of the paper's own figures the interval is the rounding, so that one outside is the paper's contradiction.
    """
    if math.isnan(low) or math.isnan(high):
        return NOT_TESTABLE
    if needs[0] < low and high < needs[1]:
        return SUPPORTED
    if high < needs[0] or needs[1] < low:
        return CONTRADICTED if printed else NOT_SUPPORTED
    return UNDECIDED


def judge(verdicts: Iterable[str]) -> str:
    """The verdict on a claim from those of its tests, the missing ones (not testable) among them.

    Contradicted or not supported if any test is, in this order; supported if all are; not testable here if none could
    be made; else undecided. So a claim is borne out only if every test of it was made and bears it out.
    """
    found = set(verdicts)
    for grave in (CONTRADICTED, NOT_SUPPORTED):
        if grave in found:
            return grave
    if found <= {NOT_TESTABLE}:
        return NOT_TESTABLE
    return SUPPORTED if found == {SUPPORTED} else UNDECIDED


def table(rows: Iterable[Evidence]) -> pd.DataFrame:
    """Evidence as a frame, with the needed range in words, the verdict (empty where a row decides nothing), margins.

    A margin is how far value, low or high lies inside the needed range: negative outside it.
    """
    frame = pd.DataFrame([msgspec.structs.asdict(row) for row in rows], columns=Evidence.__struct_fields__)
    cells = zip(frame.low, frame.high, frame.needs, frame.origin == PRINTED, strict=True)
    frame["verdict"] = [verdict(*cell) for cell in cells]
    frame["verdict"] = frame.verdict.where(frame.decides | frame.value.isna(), "")
    frame["needed"] = [_in_words(*needs) for needs in frame.needs]
    for name in ("value", "low", "high"):
        edges = zip(frame[name], frame.needs, strict=True)
        frame[f"{name}_margin"] = [min(value - least, most - value) for value, (least, most) in edges]
    return frame


def verdicts(frame: pd.DataFrame) -> pd.DataFrame:
    """The claims with their verdict, the number of tests by outcome, and what is missing, from a frame of `table`."""
    tests = frame[frame.decides]
    rows = []
    for claim in load_claims()[0]:
        found = tests.verdict[tests.claim == claim.claim]
        lacking = frame.measured[(frame.claim == claim.claim) & frame.value.isna()]
        counts = {"supporting": [SUPPORTED], "open": [UNDECIDED], "against": [NOT_SUPPORTED, CONTRADICTED]}
        outcome = {name: int(found.isin(kinds).sum()) for name, kinds in counts.items()}
        about = {"claim": claim.claim, "section": claim.section, "says": claim.says, "name": claim.short}
        rows.append(about | {"verdict": judge(found)} | outcome | {"missing": "; ".join(dict.fromkeys(lacking))})
    return pd.DataFrame(rows)


def view(frame: pd.DataFrame, names: Sequence[str] = (), origins: Sequence[str] = ()) -> pd.DataFrame:
    """The evidence as it is shown: that of some claims, and of some origins, or all.

    What is missing is left out, as are the interval of an exact figure and the range of what decides nothing.
    """
    shown = frame[frame.value.notna()]
    shown = shown[shown.claim.isin(names)] if names else shown
    shown = shown[shown.origin.isin(origins)] if origins else shown
    columns = ["claim", "measured", "origin", "value", "low", "high", "n", "needed", "verdict", "source"]
    shown = shown[columns].sort_values("claim", key=lambda claims: claims.str[1:].astype(int), kind="stable")
    exact, context = shown.low == shown.high, shown.verdict == ""
    if (whole := exact & (shown.value % 1 == 0)).any():  # counts
        shown = shown.assign(value=shown.value.astype(object).mask(whole, shown.value[whole].astype(int)))
    shown = shown.assign(low=shown.low.mask(exact), high=shown.high.mask(exact), needed=shown.needed.mask(context, ""))
    return shown.astype({"n": "Int64"}).rename(columns={"origin": "data"})


def quote(frame: pd.DataFrame, claim: str, measured: str, origin: str = "", decimals: int = 3) -> str:
    """`−0.030 [−0.036, −0.023]`: the first evidence whose text begins so; says so where there is none."""
    found = frame[(frame.claim == claim) & frame.measured.str.startswith(measured) & frame.value.notna()]
    found = found[found.origin == origin] if origin else found
    if found.empty:
        return "(not measured here)"
    value, low, high = (f"{found[name].iloc[0]:.{decimals}f}" for name in ("value", "low", "high"))
    return (value if low == high else f"{value} [{low}, {high}]").replace("-", "−")


def sentences(answers: pd.DataFrame, names: Sequence[str]) -> str:
    """Claims with their verdicts as a list in Markdown, each with links to the notebooks that hold the details."""
    about = {claim.claim: claim for claim in load_claims()[0]}
    there = {path.name[:2]: path.name for path in sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))}
    items = []
    for row in answers[answers.claim.isin(names)].itertuples():
        links = ", ".join(f"[{there[n][:-6]}]({there[n]})" for n in about[row.claim].notebooks if n in there)
        links = f" Details: {links}." if links else ""
        counted = f"tests: {row.supporting} for, {row.open} open, {row.against} against"
        missing = f" Missing: {row.missing}." if row.missing else ""
        what = f"**{row.claim}** ({row.section}), {row.says}"
        items.append(f"- {what}: **{row.verdict}** ({counted}).{missing}{links}")
    return "\n".join(items)


def _in_words(least: float, most: float) -> str:
    if math.isinf(most):
        return f"above {least:.4g}"
    if most - least < 1e-4:
        return f"{(least + most) / 2:,.6g}"
    return (f"below {most:.4g}" if math.isinf(least) else f"{least:.6g} to {most:.6g}").replace("-", "−")


def measured_as(
    claim: str, measured: str, origin: str, found: Estimate, needs: Range, source: str, decides: bool = True
) -> Evidence:
    """An estimate as evidence."""
    return Evidence(claim, measured, origin, found.value, found.low, found.high, needs, source, decides, found.n)


# Evidence that is declared: published predictions and our runs


def from_predictions(frame: pd.DataFrame | None, draws: int = 1000) -> Iterator[Evidence]:
    """Evidence from published systems on TACRED's test split; `frame` is that of `published.system_predictions`.

    Without a frame every test on them is one that is missing.
    """
    if frame is None:
        for test, name in _tests(published=True):
            yield _of_test(test, name, TACRED, None, note="published predictions on TACRED")
        return
    gold = frame.gold.to_numpy()
    support = counts.per_class(gold, gold).set_index("label").support
    trained = published.table_12() - support  # train and dev together: the paper prints no counts of train alone
    labels = list(support.index)
    systems = {name: SystemAnswers(name, gold, [frame[name].to_numpy()], labels, [], trained) for name in published.SYSTEMS}
    for test, name in _tests(published=True):
        found = measures.measure(test.score, [systems[spec] for spec in _specs(test, name)], None, draws)
        yield _of_test(test, name, TACRED, found)


def from_runs(catalogs: Mapping[str, RunCatalog], draws: int = 1000) -> Iterator[Evidence]:
    """Evidence from finished runs, corpus by corpus; what rests on `sample`, or on part of a corpus, decides nothing.

    What is missing is said once, of CoNLL04: the open corpus with as few relations as TACRED.
    """
    for corpus, (test, name) in product({**catalogs, MAIN: catalogs.get(MAIN)}, _tests(published=False)):
        catalog = catalogs.get(corpus) or RunCatalog(corpus)
        try:
            systems = [catalog.system(spec) for spec in _specs(test, name)]
            found = measures.measure(test.score, systems, catalog, draws)
        except Missing as what:
            if corpus == MAIN:
                yield _of_test(test, name, corpus, None, note=str(what))
            continue
        speaks = not catalog.stamp and (corpus in DECISIVE or (test.kbp37 and corpus == "kbp37"))
        full = bool(test.minus) and min(found.parts) > CEILING
        yield _of_test(test, name, corpus, found, speaks and not full, f"both above {CEILING}" if full else "")


def _tests(published: bool) -> Iterator[tuple[Test, str]]:
    """The tests on published predictions or on runs, each with every name that `each` gives it."""
    for test in load_claims()[1]:
        if test.published == published:
            yield from ((test, name) for name in test.each)


def _specs(test: Test, name: str) -> list[str]:
    return [spec.replace("{}", name) for spec in (test.of, test.minus) if spec]


def _of_test(
    test: Test, name: str, origin: str, found: Estimate | None, speaks: bool = True, note: str = ""
) -> Evidence:
    """The test's evidence; without an estimate, `note` says what is missing."""
    measured = f"{' − '.join(_specs(test, name))}: {test.measured}" if found else note
    measured = f"{measured}; {note}" if found and note else measured
    needs, decides = (test.above, test.below), speaks and not test.context
    return measured_as(test.claim, measured, origin, found or NOTHING, needs, test.source, decides)

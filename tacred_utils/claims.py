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
import numpy as np
import pandas as pd

from tacred_utils import consistency, evidence, metrics, published
from tacred_utils.consistency import HALF, TESTED
from tacred_utils.evidence import Estimate, Missing, Shelf, System
from tacred_utils.labels import NO_RELATION, TACRED_SPLIT_SIZES
from tacred_utils.paths import PACKAGE

SUPPORTED, NOT_SUPPORTED, UNDECIDED = "supported", "not supported", "undecided"
CONTRADICTED, NOT_TESTABLE = "contradicted by the paper's own numbers", "not testable here"
VERDICTS = (SUPPORTED, UNDECIDED, NOT_SUPPORTED, CONTRADICTED, NOT_TESTABLE)
MARKS = {SUPPORTED: "o", UNDECIDED: "D", NOT_SUPPORTED: "X", CONTRADICTED: "s"}  # how figures tell them apart
PRINTED, TACRED, MAIN = "the paper", "TACRED", "conll04"  # origins of evidence; MAIN: where a missing run is missed
DECISIVE = ("tacred", "tacred-tacrev", "tacred-retacred", MAIN)  # corpora of runs that a verdict may rest on
CEILING = 0.95  # two systems above it leave no room for a difference
Range = tuple[float, float]
NOTHING = Estimate(math.nan, np.full(1, math.nan), 0)
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


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """One measurement: an estimate with its interval, and the range in which it would bear the claim out."""

    claim: str
    measured: str
    origin: str  # PRINTED (the interval is then that of rounding), TACRED (its published counts), or a corpus of runs
    value: float
    low: float
    high: float
    n: float = math.nan  # test rows, or classes; none for what is printed
    needs: Range
    source: str
    decides: bool = True  # False: shown, without a verdict


@cache
def declared() -> tuple[list[Claim], list[Test]]:
    """The claims, C1 to C19, and the tests of claims.toml."""
    text = tomllib.loads((PACKAGE / "claims.toml").read_text(encoding="utf-8"))
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
    """The verdict on a claim from those of its tests: the first of these that occurs, and not testable without tests.

    Contradicted, not supported, undecided, supported: a claim is borne out only if every test bears it out.
    """
    found = set(verdicts)
    order = (CONTRADICTED, NOT_SUPPORTED, UNDECIDED, SUPPORTED)
    return next((name for name in order if name in found), NOT_TESTABLE)


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
    tests = frame[frame.decides & frame.value.notna()]
    rows = []
    for claim in declared()[0]:
        found = tests.verdict[tests.claim == claim.claim]
        lacking = frame.measured[(frame.claim == claim.claim) & frame.value.isna()]
        rows.append({
            "claim": claim.claim, "section": claim.section, "says": claim.says, "verdict": judge(found),
            "for": int((found == SUPPORTED).sum()), "open": int((found == UNDECIDED).sum()),
            "against": int(found.isin([NOT_SUPPORTED, CONTRADICTED]).sum()), "missing": "; ".join(dict.fromkeys(lacking)),
        })  # fmt: skip
    return pd.DataFrame(rows)


def _in_words(least: float, most: float) -> str:
    if math.isinf(most):
        return f"above {least:.4g}"
    if most - least < 1e-4:
        return f"{(least + most) / 2:,.6g}"
    return f"below {most:.4g}" if math.isinf(least) else f"{least:.6g} to {most:.6g}"


def _evidence(claim: str, measured: str, origin: str, found: Estimate, needs: Range, source: str, decides: bool = True):
    low, high = found.interval
    return Evidence(
        claim=claim, measured=measured, origin=origin, value=found.value, low=low, high=high, n=found.n, needs=needs,
        source=source, decides=decides,
    )  # fmt: skip


# Evidence that is declared: published predictions and our runs


def from_predictions(frame: pd.DataFrame, draws: int = 1000) -> Iterator[Evidence]:
    """Evidence from published systems on TACRED's test split; `frame` is that of `published.system_predictions`."""
    gold = frame.gold.to_numpy()
    support = metrics.per_class(gold, gold).set_index("label").support
    trained = _table_12() - support  # train and dev together: the paper prints no counts of train alone
    labels = list(support.index)
    systems = {name: System(name, gold, [frame[name].to_numpy()], labels, [], trained) for name in published.SYSTEMS}
    for test, name in _tests(published=True):
        found = evidence.measure(test.score, [systems[spec] for spec in _specs(test, name)], None, draws)
        yield _of_test(test, name, TACRED, found)


def from_runs(shelves: Mapping[str, Shelf], draws: int = 1000) -> Iterator[Evidence]:
    """Evidence from finished runs, corpus by corpus; what rests on `sample`, or on part of a corpus, decides nothing.

    What is missing is said once, of CoNLL04: the open corpus with as few relations as TACRED.
    """
    for corpus, (test, name) in product({**shelves, MAIN: shelves.get(MAIN)}, _tests(published=False)):
        shelf = shelves.get(corpus) or Shelf(corpus)
        try:
            systems = [shelf.system(spec) for spec in _specs(test, name)]
            found = evidence.measure(test.score, systems, shelf, draws)
        except Missing as what:
            if corpus == MAIN:
                yield _of_test(test, name, corpus, None, note=str(what))
            continue
        speaks = not shelf.stamp and (corpus in DECISIVE or (test.kbp37 and corpus == "kbp37"))
        full = bool(test.minus) and found.least > CEILING
        yield _of_test(test, name, corpus, found, speaks and not full, f"both above {CEILING}" if full else "")


def _tests(published: bool) -> Iterator[tuple[Test, str]]:
    """The tests on published predictions or on runs, each with every name that `each` gives it."""
    for test in declared()[1]:
        if test.published == published:
            yield from ((test, name) for name in test.each)


def _specs(test: Test, name: str) -> list[str]:
    return [spec.replace("{}", name) for spec in (test.of, test.minus) if spec]


def _of_test(
    test: Test, name: str, origin: str, found: Estimate | None, speaks: bool = True, note: str = ""
) -> Evidence:
    """The test's evidence; without an estimate, `note` says what is missing."""
    measured = f"{' − '.join(_specs(test, name))}: {test.measured}" if found else note
    return _evidence(
        test.claim, f"{measured}; {note}" if found and note else measured, origin, found or NOTHING,
        (test.above, test.below), test.source, speaks and not test.context,
    )  # fmt: skip


# The paper's own figures


def from_the_paper() -> Iterator[Evidence]:
    """Evidence that needs nothing but what the paper and its authors' notebook print; intervals are of rounding."""
    for check in consistency.checks().query("claim != ''").itertuples():
        edge = max(check.tolerance, 1e-6)
        yield _printed(
            check.claim, check.check, float(check.recomputed), 0.0, (check.printed - edge, check.printed + edge), check.place
        )
    yield from _printed_differences()
    yield from _printed_losses()
    yield from _printed_classes()


def _printed(claim: str, measured: str, value: float, half: float, needs: Range, source: str) -> Evidence:
    """A figure computed from printed ones, which rounding leaves uncertain by `half`."""
    return Evidence(
        claim=claim, measured=measured, origin=PRINTED, value=value, low=value - half, high=value + half, needs=needs,
        source=source,
    )  # fmt: skip


def _printed_differences() -> Iterator[Evidence]:
    """Gains of Table 3 over Table 2, and how far GPT-2 is below the others in each."""
    tables, families, names = {"joint": "Table 2", "relation_only": "Table 3"}, ("bilstm", "bert"), ("macro", "weighted")
    score = {
        (family, task, name): published.paper_scores(family, task, place)[f"{name}_f1"]
        for family, (task, place), name in product((*families, "gpt2"), tables.items(), names)
    }
    gains = {key: score[key[0], "relation_only", key[1]] - score[key[0], "joint", key[1]] for key in product((*families, "gpt2"), names)}
    for (family, name), gain in gains.items():
        yield _printed("C5", f"{family}: gain in {name} F1", gain, 2 * HALF, (0.15, math.inf), "Tables 2 and 3")
    for other in ("bert", "gpt2"):
        ahead = gains["bilstm", "macro"] - gains[other, "macro"]
        yield _printed("C6", f"bilstm − {other}: gain in macro F1", ahead, 4 * HALF, ABOVE_0, "Tables 2 and 3")
    for family, (task, place), name in product(families, tables.items(), names):
        ahead = score[family, task, name] - score["gpt2", task, name]
        yield _printed("C8", f"{family} − gpt2, {task}: {name} F1", ahead, 2 * HALF, (0.2, math.inf), place)


def _printed_losses() -> Iterator[Evidence]:
    """C10: dev loss beside training loss, where up to twice counts as no over-fitting, and whether dev F1 falls."""
    for task, part in published.overall().query("table == 'A.2'").groupby("task"):
        loss = part.set_index("score").value
        ratio = loss.dev_loss / loss.train_loss
        yield _printed("C10", f"bilstm {task}: dev loss over training loss", ratio, 0.0, (0.0, 2.0), "A.2")
    history, place = published.bert_history().query("task == 'joint'"), "authors' notebook"
    ratio = history.dev_loss.iloc[-1] / history.train_loss.iloc[-1]
    yield _printed("C10", "bert joint: dev loss over training loss, last epoch", ratio, 0.0, (0.0, 2.0), place)
    fall = history.weighted_f1.iloc[-1] - history.weighted_f1.max()
    yield _printed("C10", "bert joint: weighted F1 on dev, last epoch − best", fall, 1e-4, (-0.01, math.inf), place)


def _printed_classes() -> Iterator[Evidence]:
    """C3 from Table 10, C9 from the authors' thirds, C11 from Tables 8 to 11, C16 from Table 12."""
    classes = published.per_class()
    one = classes.query("table == 'Table 10' and label == @NO_RELATION").iloc[0]
    rows = [(one.recall + shift) * TESTED / (one.precision - shift) for shift in (0, -HALF, HALF)]
    value, low, high = ((answered - TESTED) / TACRED_SPLIT_SIZES["test"] for answered in rows)
    yield Evidence(
        claim="C3", measured="bert joint: share answered no_relation − its share in gold", origin=PRINTED, value=value,
        low=low, high=high, needs=ABOVE_0, source="Table 10",
    )  # fmt: skip
    thirds = published.overall().query("table == \"authors' notebook\" and score == 'weighted_r'").set_index("rows").value
    middle, longest = (thirds.filter(like=name).iloc[0] for name in ("middle", "longest"))
    size = TACRED_SPLIT_SIZES["test"] // 3
    half = 1.96 * math.sqrt((longest * (1 - longest) + middle * (1 - middle)) / size)  # of two shares of rows
    found = _printed("C9", "bert joint: accuracy, longest third − middle third", longest - middle, half, BELOW_0, "authors' notebook")
    yield msgspec.structs.replace(found, origin=TACRED, n=2 * size)  # its interval is one of test rows
    for place, part in classes[classes.label != NO_RELATION].groupby("table"):
        if part.family.iloc[0] != "svm":
            about = f"{part.family.iloc[0]} {part.task.iloc[0]}"
            spread = part.f1.max() - part.f1.min()
            yield _printed("C11", f"{about}: highest − lowest F1 of a relation", spread, 2 * HALF, (0.5, math.inf), place)
    share = _table_12() / _table_12().sum()
    batches = np.random.default_rng(evidence.SEED).multinomial(50, share, size=2000) > 0
    held = Estimate(float((1 - (1 - share) ** 50).mean()), batches.mean(axis=1), len(share))
    yield _evidence("C16", "share of the 42 labels that a batch of 50 holds", TACRED, held, (0.5, math.inf), "Table 12")


def _table_12() -> pd.Series:
    return published.relation_counts().query("table == 'Table 12'").set_index("label")["count"]

"""What each claim is weighed with. Three grounds give estimates: what the paper and its authors' notebook print, with the
interval of rounding (a function a claim, here); published predictions on TACRED (data/evidence); and finished runs, corpus
by corpus. The tests of the last two are declared in claims.toml; which of all decide is told by the rules in `claims`.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from tacred_utils.corpora.example import ROWS as ROWS_FILE
from tacred_utils.corpora.example import Corpus, read_rows
from tacred_utils.ground.paths import PUBLISHED_RUNS
from tacred_utils.metrics.estimates import ROWS, SENTENCES, Estimate, clusters_of
from tacred_utils.paper import evidence, published
from tacred_utils.paper.claims import NOTHING, PAPER, TACRED, ClaimTest, Evidence, load_claims, without_room
from tacred_utils.paper.measures import STOPPED, Measures, rank_correlation
from tacred_utils.paper.published import HALF, PAPER_BERT
from tacred_utils.runs.catalog import Missing, RunCatalog, load_catalogs
from tacred_utils.runs.store import still_rose

MAIN = "redocred_small"  # where a missing run is missed
# The real texts whose complete corpora may decide; two corpora of one text are one source.
TEXTS = {
    "tacred": TACRED, "tacred-tacrev": TACRED, "tacred-retacred": TACRED, "redocred": "Re-DocRED",
    "redocred_small": "Re-DocRED", "conll04": "CoNLL04", "kbp37": "KBP37",
}  # fmt: skip
BERTS = list(published.SYSTEMS)[:2] + list(published.SYSTEMS)[3:6]  # of others: neither TRE, nor CNN and LSTM


def load_finished(*folders: tuple[Path, str | None], texts: Iterable[Corpus] = ()) -> dict[str, RunCatalog]:
    """The finished runs below these folders and the published ones, by corpus, with these texts or the published rows."""
    rows = [read_rows(path) for path in sorted(PUBLISHED_RUNS.glob(f"*/{ROWS_FILE}"))]
    return load_catalogs([*folders, (PUBLISHED_RUNS, None)], [*texts, *rows])


def weigh(catalogs: Mapping[str, RunCatalog], draws: int = 1000, unit: str = "") -> list[Evidence]:
    """All evidence on all claims; `unit` resamples "rows" or "sentences" in place of the study's unit."""
    of_runs = {name: Measures(catalog, draws, unit) for name, catalog in catalogs.items()}
    found: list[Evidence] = []
    for name, claim in load_claims().items():
        found += PRINTED[name](name) if name in PRINTED else ()
        for test in claim.tests:
            on_what = on_print if test.printed else on_tacred
            found += on_runs(name, test, of_runs) if test.measure else [on_what(name, test)]
    return found


def resampled(
    found: Sequence[Evidence], catalogs: Mapping[str, RunCatalog], draws: int = 1000
) -> dict[str, list[Evidence]]:
    """The evidence with another unit resampled than each corpus' own, by unit."""
    own = {name: clusters_of(catalog.text.test).unit for name, catalog in catalogs.items() if catalog.text}
    ways = {}
    for unit in (ROWS, SENTENCES):  # where a corpus names documents, they are its unit
        if apart := {name: catalogs[name] for name, used in own.items() if used != unit}:
            again = [test for test in weigh(apart, draws, unit) if test.origin in apart]
            ways[unit] = [test for test in found if test.origin not in apart] + again
    return ways


def on_tacred(claim: str, test: ClaimTest) -> Evidence:
    """A score of a published system on TACRED's test split; of the paper's own BERT, the source is the paper."""
    found, what = evidence.estimate(test.score, *test.of), f"{' − '.join(test.of)}: {test.what}"
    reasons = (test.context,) if test.context else without_room(found, test.above, test.below)
    source, origin = PAPER if test.of[0] == PAPER_BERT else TACRED, "published predictions on TACRED"
    return Evidence(claim, what, source, origin, found, test.above, test.below, reasons)


def on_runs(claim: str, test: ClaimTest, of_runs: Mapping[str, Measures]) -> Iterator[Evidence]:
    """A measure on every corpus of finished runs; what is missing is said of the main corpus."""
    options = {"imbalance": True} if test.imbalance else {}
    for corpus in dict.fromkeys([MAIN, *of_runs]):
        try:
            if corpus not in of_runs:
                raise Missing(f"runs on {corpus}")
            found = getattr(of_runs[corpus], test.measure)(*test.of, **options)
        except Missing as what:
            if corpus == MAIN and not test.context:
                yield Evidence(claim, str(what), TEXTS[MAIN], MAIN, NOTHING, test.above, test.below)
            continue
        barred = found.against + without_room(found.estimate, test.above, test.below)
        reasons = (test.context,) if test.context else barred
        reasons += () if corpus in TEXTS else ("not one of the study's corpora",)
        source = TEXTS.get(corpus, corpus)
        yield Evidence(claim, test.what, source, corpus, found.estimate, test.above, test.below, reasons)


# What is printed


def from_print(
    claim: str, what: str, value: float, half: float | tuple[float, float], where: str, above: float = -math.inf,
    below: float = math.inf, context: str = "",
) -> Evidence:  # fmt: skip
    """A figure from printed ones, uncertain by `half` for rounding, or between two ends."""
    low, high = half if isinstance(half, tuple) else (value - half, value + half)
    found = Estimate(float(value), float(low), float(high), unit="rounding")
    return Evidence(claim, what, PAPER, where, found, above, below, (context,) if context else ())


def on_print(claim: str, test: ClaimTest) -> Evidence:
    """The sum of printed scores, less those that a minus stands before: each is rounded."""
    value = 0.0
    for cell in test.of:
        *table, family, task, score = cell.removeprefix("−").split()
        printed = published.paper_scores(family, task, " ".join(table))[score]
        value += -printed if cell.startswith("−") else printed
    return from_print(claim, test.what, value, len(test.of) * HALF, test.printed, test.above, test.below, test.context)


def counted(claim: str) -> Iterator[Evidence]:
    """The checks that a claim rests on: counts that have to be what is printed."""
    for row in published.all_checks().query("claim == @claim").itertuples():
        room = row.tolerance or 1e-6
        edges = row.printed - room, row.printed + room
        yield from_print(claim, row.check, row.recomputed, 0.0, row.place, *edges)


def bert_less_bilstm(ranges: Callable[[str], tuple[float, float, float]]) -> tuple[float, tuple[float, float]]:
    """The difference of what Tables 10 and 8 imply, and its ends: `ranges` gives a table's value, least and largest."""
    bert, bilstm = ranges("Table 10"), ranges("Table 8")
    return bert[0] - bilstm[0], (bert[1] - bilstm[2], bert[2] - bilstm[1])


def lean_on_no_relation(claim: str) -> Iterator[Evidence]:  # C3
    what = "bert − bilstm, joint: share answered no_relation"
    yield from_print(claim, what, *bert_less_bilstm(published.answered_no_relation), "Tables 8 and 10", above=0)


def one_class_only(claim: str) -> Iterator[Evidence]:  # C4
    alone = published.largest_class_only()["macro_f1"]
    printed = published.paper_scores("gpt2", "joint", "Table 2")["macro_f1"]
    what = f"gpt2, joint: macro F1 (no_relation alone has {alone:.3f})"
    yield from_print(claim, what, printed, HALF, "Table 2", below=alone + 0.01)


def svm_detects(claim: str) -> Iterator[Evidence]:  # C7
    printed = published.class_rows("Table 6").f1["relation"]
    yield from_print(claim, "svm: F1 of relation, 1 : 1", printed, HALF, "Table 6", above=0.85)


def steady_over_length(claim: str) -> Iterator[Evidence]:  # C9
    rows = (
        published.overall().query("table == \"authors' notebook\" and score == 'weighted_f1'").set_index("rows").value
    )
    shortest, middle, longest = (rows.filter(like=name).iloc[0] for name in ("shortest", "middle", "longest"))
    what, place = "bert, joint: weighted F1, longest third − the other two", "authors' notebook"
    fall = longest - (shortest + middle) / 2
    yield from_print(claim, what, fall, 1e-4, place, below=-0.05, context="thirds, not fifths")


def no_over_fitting(claim: str) -> Iterator[Evidence]:  # C10
    history, place = published.bert_history().query("task == 'joint'"), "authors' notebook"
    fall = history.weighted_f1.iloc[-1] - history.weighted_f1.max()
    stopped = STOPPED if still_rose(history.weighted_f1) else ""
    what = "bert, joint: weighted dev F1, last epoch − best"
    yield from_print(claim, what, fall, 1e-4, place, above=-0.02, context=stopped)
    ratios = {("bert, joint", place): history.dev_loss.iloc[-1] / history.train_loss.iloc[-1]}
    for task, part in published.overall().query("table == 'A.2'").groupby("task"):
        loss = part.set_index("score").value
        ratios[f"bilstm, {task}", "A.2"] = loss.dev_loss / loss.train_loss
    in_its_loss = "it over-fits in its loss, which is not what the claim is about"
    for (what, where), ratio in ratios.items():
        yield from_print(claim, f"{what}: dev loss over training loss", ratio, 0, where, context=in_its_loss)


def uneven_by_support(claim: str) -> Iterator[Evidence]:  # C11
    found = rank_correlation(*published.f1_and_rows("Table 8", "Table 9", "Table 10", "Table 11"))
    what = "mean of Tables 8 to 11: rank correlation of F1 with training rows"
    yield Evidence(claim, what, PAPER, "Tables 8 to 12", found, above=0)


def table_4(claim: str) -> Iterator[Evidence]:  # C14
    what = "values of Table 4 that are Table 6's, of 6"
    yield from_print(claim, what, published.repeated_in_table_4(), 0, "Tables 4 and 6", below=published.CHANCE + 0.5)


def diverse_batches(claim: str) -> Iterator[Evidence]:  # C16
    share = published.labels_in_a_batch() / published.LABELS
    what, where = "expected share of the 42 labels in a batch of 50", "Table 12 at the training split's prevalence"
    yield Evidence(claim, what, TACRED, where, Estimate(share, share, share), above=0.5)


def above_lstms(claim: str) -> Iterator[Evidence]:  # C18
    rivals = published.literature("tacred", ["tacred"]).set_index("system").value
    both = ("an LSTM and a graph network together",)
    like = evidence.estimate("micro_f1", "LSTM, masked")
    for name in (*BERTS, PAPER_BERT):
        own = evidence.estimate("micro_f1", name)
        half = math.hypot(own.high - own.low, like.high - like.low) / 2  # unpaired: wider than a paired one
        source = PAPER if name == PAPER_BERT else TACRED
        for rival, year, reasons in (("PA-LSTM", 2017, ()), ("C-GCN + PA-LSTM", 2018, both)):
            gap, parts = own.value - rivals[rival], (own.value, rivals[rival])
            found = Estimate(gap, gap - half, gap + half, own.n, own.unit, parts=parts)
            what, where = f"{name} − {rival}: micro F1", f"published predictions, Zhang et al. {year}"
            yield Evidence(claim, what, source, where, found, above=0, reasons=reasons)
    what = "bert − bilstm, joint: micro F1"
    yield from_print(claim, what, *bert_less_bilstm(published.micro_f1_of), "Tables 8 and 10", above=0)


PRINTED: dict[str, Callable[[str], Iterator[Evidence]]] = {
    "C1": counted, "C2": counted, "C3": lean_on_no_relation, "C4": one_class_only,
    "C7": svm_detects, "C9": steady_over_length,
    "C10": no_over_fitting, "C11": uneven_by_support, "C13": counted, "C14": table_4, "C16": diverse_batches,
    "C18": above_lstms,
}  # fmt: skip

"""What each claim is weighed with: one function a claim, named as in claims.toml, that gives its tests.

A test compares an estimate with the range that the claim needs. Three grounds give estimates: what the paper and its
authors' notebook print, with the interval of rounding; published predictions on TACRED (data/evidence); and finished
runs, corpus by corpus. Which of them decide is told by the rules in `claims` and by the measures themselves.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path

from tacred_utils.corpora.example import Corpus
from tacred_utils.corpora.rows import ROWS as ROWS_FILE
from tacred_utils.corpora.rows import read_rows
from tacred_utils.ground.labels import NO_RELATION
from tacred_utils.ground.paths import PUBLISHED_RUNS
from tacred_utils.metrics.estimates import ROWS as SINGLE_ROWS
from tacred_utils.metrics.estimates import SENTENCES, Estimate, clusters_of
from tacred_utils.paper import checks, evidence, published
from tacred_utils.paper.checks import HALF
from tacred_utils.paper.claims import NOTHING, PAPER, TACRED, Evidence, load_claims, without_room
from tacred_utils.paper.evidence import OTHERS
from tacred_utils.paper.measures import Measured, Measures, rank_correlation
from tacred_utils.paper.published import PAPER_BERT
from tacred_utils.runs.catalog import Missing, RunCatalog, load_catalogs

MAIN = "redocred_small"  # where a missing run is missed
# The real texts whose complete corpora may decide; two corpora of one text are one source.
TEXTS = {
    "tacred": TACRED, "tacred-tacrev": TACRED, "tacred-retacred": TACRED, "redocred": "Re-DocRED",
    "redocred_small": "Re-DocRED", "conll04": "CoNLL04", "kbp37": "KBP37",
}  # fmt: skip
BERTS = list(published.SYSTEMS)[:2] + list(published.SYSTEMS)[3:6]  # of others: neither TRE, nor CNN and LSTM
ENCODER, DECODER = "bert {} spans model=mpnet-base learning_rate=5e-05 head_factor=20.0 batch_size=8 epochs=6", "gpt2 {} spans"  # of one size (C8)
WORDS_ONLY = "bilstm ner_dim=0 pos_dim=0 position_dim=0 type_dim=0"
NEURAL = ("bilstm", "bert", "gpt2")


def load_finished(*folders: tuple[Path, str | None], texts: Iterable[Corpus] = ()) -> dict[str, RunCatalog]:
    """The finished runs below these folders and the published ones, by corpus, with these texts or the published rows."""
    rows = [read_rows(path) for path in sorted(PUBLISHED_RUNS.glob(f"*/{ROWS_FILE}"))]
    return load_catalogs([*folders, (PUBLISHED_RUNS, None)], [*texts, *rows])


def weigh(catalogs: Mapping[str, RunCatalog], draws: int = 1000, unit: str = "") -> list[Evidence]:
    """All evidence on all claims; `unit` resamples "rows" or "sentences" in place of the study's unit."""
    of_runs = {name: Measures(catalog, draws, unit) for name, catalog in catalogs.items()}
    return [test for name in load_claims() for test in WEIGHED[name](_Case(name, of_runs))]


def resampled(
    found: Sequence[Evidence], catalogs: Mapping[str, RunCatalog], draws: int = 1000
) -> dict[str, list[Evidence]]:
    """The evidence with another unit resampled than each corpus' own, by unit."""
    own = {name: clusters_of(catalog.text.test).unit for name, catalog in catalogs.items() if catalog.text}
    ways = {}
    for unit in (SINGLE_ROWS, SENTENCES):  # where a corpus names documents, they are its unit
        apart = {name: catalogs[name] for name, used in own.items() if used != unit}
        if apart:
            again = weigh(apart, draws, unit)
            ways[unit] = [test for test in found if test.origin not in apart] + [
                test for test in again if test.origin in apart
            ]
    return ways


class _Case:
    """One claim with what it is weighed with; its methods make tests of estimates."""

    def __init__(self, claim: str, of_runs: Mapping[str, Measures]) -> None:
        self.claim, self.of_runs = claim, of_runs

    def printed(
        self, measured: str, value: float, half: float, where: str, above: float = -math.inf, below: float = math.inf,
        low: float | None = None, high: float | None = None, context: str = "",
    ) -> Evidence:  # fmt: skip
        """A figure from printed ones, uncertain by `half` for rounding, or from `low` to `high`."""
        limits = (value - half if low is None else low, value + half if high is None else high)
        found = Estimate(float(value), *map(float, limits), unit="rounding")
        return Evidence(self.claim, measured, PAPER, where, found, above, below, (context,) if context else ())

    def exactly(self, measured: str, value: float, expected: float, where: str, tolerance: float = 1e-6) -> Evidence:
        """A count that has to be the expected one."""
        return self.printed(measured, value, 0.0, where, expected - tolerance, expected + tolerance)

    def published(
        self, measured: str, score: str, of: str, minus: str = "", above: float = -math.inf, below: float = math.inf,
        context: str = "",
    ) -> Evidence:  # fmt: skip
        """A score of a published system on TACRED's test split; of the paper's own BERT, the source is the paper."""
        found, name = evidence.estimate(score, of, minus), f"{of} − {minus}" if minus else of
        reasons = (context,) if context else without_room(found, above, below)
        source = PAPER if of == PAPER_BERT else TACRED
        origin = "published predictions on TACRED"
        return Evidence(self.claim, f"{name}: {measured}", source, origin, found, above, below, reasons)

    def runs(
        self, measured: str, measure: Callable[[Measures], Measured], above: float = -math.inf,
        below: float = math.inf, context: str = "",
    ) -> Iterator[Evidence]:  # fmt: skip
        """A measure on every corpus of finished runs; what is missing is said of the main corpus."""
        for corpus in dict.fromkeys([MAIN, *self.of_runs]):
            try:
                if corpus not in self.of_runs:
                    raise Missing(f"runs on {corpus}")
                found = measure(self.of_runs[corpus])
            except Missing as what:
                if corpus == MAIN and not context:
                    yield Evidence(self.claim, str(what), TEXTS[MAIN], MAIN, NOTHING, above, below)
                continue
            reasons = (context,) if context else found.against + without_room(found.estimate, above, below)
            reasons += () if corpus in TEXTS else ("not one of the study's corpora",)
            source = TEXTS.get(corpus, corpus)
            yield Evidence(self.claim, measured, source, corpus, found.estimate, above, below, reasons)


def size_and_imbalance(case: _Case) -> Iterator[Evidence]:  # C1
    counted, place = published.table_12(), "Table 12"
    yield case.exactly("instances in all", counted.sum(), 106_264, place)
    yield case.exactly("labels, no_relation among them", len(counted), checks.LABELS, place)
    yield case.exactly("share of no_relation", counted[NO_RELATION] / counted.sum(), 0.80, place, HALF)


def under_sampling(case: _Case) -> Iterator[Evidence]:  # C2
    what = "no_relation for a relation in training"
    yield case.exactly(what, checks.training_ratio(), 4.2, "split sizes (Zhang et al. 2017)", 0.05)


def lean_on_no_relation(case: _Case) -> Iterator[Evidence]:  # C3
    what = "share answered no_relation"
    bert, bilstm = (checks.answered_no_relation(table) for table in ("Table 10", "Table 8"))
    gap, low, high = bert[0] - bilstm[0], bert[1] - bilstm[2], bert[2] - bilstm[1]
    yield case.printed(f"bert − bilstm, joint: {what}", gap, 0, "Tables 8 and 10", above=0, low=low, high=high)
    against_gold = "shown beside it: the claim compares models, not with gold"
    for name in (PAPER_BERT, "KnowBERT-W+W", "SpanBERT", "TRE (GPT)", "LSTM, masked"):
        yield case.published(
            f"{what}, less its share in gold", "no_relation_excess", name, above=0, context=against_gold
        )
    for family in ("bert", "gpt2"):
        pair = (f"{family} joint", "bilstm joint")
        yield from case.runs(
            f"{family} − bilstm, joint: {what}",
            lambda on, pair=pair: on.score("no_relation_share", *pair, True),
            above=0,
        )


def one_class_only(case: _Case) -> Iterator[Evidence]:  # C4
    alone = checks.largest_class_only()["macro_f1"]
    printed = published.paper_scores("gpt2", "joint", "Table 2")["macro_f1"]
    what = f"gpt2, joint: macro F1 (no_relation alone has {alone:.3f})"
    yield case.printed(what, printed, HALF, "Table 2", below=alone + 0.01)
    what, score = "share answered no_relation", "no_relation_share"
    yield case.published(what, score, "TRE (GPT)", context="another GPT: what such a model can do")
    yield from case.runs(f"gpt2, joint: {what}", lambda on: on.score(score, "gpt2 joint", imbalance=True), above=0.99)
    for change in ("marks=none", 'defects=["pool_padding"]', 'defects=["left_padding"]', "learning_rate=0.01"):
        yield from case.runs(
            f"gpt2, joint, {change}: {what}", lambda on, change=change: on.score(score, f"gpt2 joint {change}"),
            context="what it takes to stall",
        )  # fmt: skip


def relations_alone(case: _Case) -> Iterator[Evidence]:  # C5
    for (family, average), gain in checks.gains().items():
        yield case.printed(f"{family}: gain in {average} F1", gain, 2 * HALF, "Tables 2 and 3", above=0.15)
    for family in ("svm", *NEURAL):
        what = f"{family}: gain in macro F1 on gold relations, like for like"
        yield from case.runs(what, lambda on, family=family: on.like_for_like(family), above=0.15)
    for family, rival in product(("svm", *NEURAL), ("joint", "gated")):
        yield from case.runs(
            f"{family}: micro F1 of two stages − {rival}",
            lambda on, family=family, rival=rival: on.score("micro_f1", f"{family} two_stages", f"{family} {rival}"),
            context="what it is worth from end to end",
        )


def most_by_features(case: _Case) -> Iterator[Evidence]:  # C6
    gains = checks.gains()
    for other in ("bert", "gpt2"):
        ahead = gains["bilstm", "macro"] - gains[other, "macro"]
        yield case.printed(f"bilstm − {other}: gain in macro F1", ahead, 4 * HALF, "Tables 2 and 3", above=0)
    for name, other in (("bert", "bert"), ("gpt2", "gpt2"), ("words only", WORDS_ONLY)):
        what = f"bilstm − {name}: gain in macro F1 on gold relations, like for like"
        yield from case.runs(what, lambda on, other=other: on.like_for_like("bilstm", other), above=0)


def svm_detects(case: _Case) -> Iterator[Evidence]:  # C7
    printed = published.per_class().query("table == 'Table 6' and label == 'relation'").f1.iloc[0]
    yield case.printed("svm: F1 of relation, 1 : 1", printed, HALF, "Table 6", above=0.85)
    for name, spec in (("the paper's svm", "svm detection paper"), ("the best svm", "svm detection")):
        what = f"{name}: F1 of detection at the natural share"
        yield from case.runs(what, lambda on, spec=spec: on.score("detection_f1", spec, imbalance=True), above=0.85)


def decoder_below(case: _Case) -> Iterator[Evidence]:  # C8
    tables, averages = {"joint": "Table 2", "relation_only": "Table 3"}, ("macro", "weighted")
    for family, (task, place), average in product(("bilstm", "bert"), tables.items(), averages):
        one, other = (published.paper_scores(each, task, place)[f"{average}_f1"] for each in (family, "gpt2"))
        yield case.printed(f"{family} − gpt2, {task}: {average} F1", one - other, 2 * HALF, place, above=0.2)
    for name in ("SpanBERT", "Self-attention + BERT, masked"):
        yield case.published("micro F1", "micro_f1", name, "TRE (GPT)", above=0.2)
    for task in ("joint", "relation_only"):
        pair = (ENCODER.format(task), DECODER.format(task))
        yield from case.runs(
            f"MPNet-base − SmolLM2, {task}: micro F1", lambda on, pair=pair: on.score("micro_f1", *pair), above=0.2
        )


def steady_over_length(case: _Case) -> Iterator[Evidence]:  # C9
    thirds = (
        published.overall().query("table == \"authors' notebook\" and score == 'weighted_f1'").set_index("rows").value
    )
    shortest, middle, longest = (thirds.filter(like=name).iloc[0] for name in ("shortest", "middle", "longest"))
    what, thirds_only = "bert, joint: weighted F1, longest third − the other two", "thirds, not fifths"
    fall = longest - (shortest + middle) / 2
    yield case.printed(what, fall, 1e-4, "authors' notebook", below=-0.05, context=thirds_only)
    what = "micro F1, longest fifth − the others, at one mix of labels"
    yield from case.runs(f"bert: {what}", lambda on: on.longest_fifth("bert joint"), below=-0.05)
    for family in ("bilstm", "gpt2"):
        yield from case.runs(
            f"{family}: {what}", lambda on, family=family: on.longest_fifth(f"{family} joint"), above=-0.05
        )


def no_over_fitting(case: _Case) -> Iterator[Evidence]:  # C10
    history, place = published.bert_history().query("task == 'joint'"), "authors' notebook"
    fall = history.weighted_f1.iloc[-1] - history.weighted_f1.max()
    yield case.printed("bert, joint: weighted dev F1, last epoch − best", fall, 1e-4, place, above=-0.02)
    in_its_loss = "it over-fits in its loss, which is not what the claim is about"
    ratio = history.dev_loss.iloc[-1] / history.train_loss.iloc[-1]
    yield case.printed("bert, joint: dev loss over training loss", ratio, 0, place, context=in_its_loss)
    for task, part in published.overall().query("table == 'A.2'").groupby("task"):
        loss = part.set_index("score").value
        ratio = loss.dev_loss / loss.train_loss
        yield case.printed(f"bilstm, {task}: dev loss over training loss", ratio, 0, "A.2", context=in_its_loss)
    for family in NEURAL:
        yield from case.runs(
            f"{family}, joint: dev F1, last quarter of training − best",
            lambda on, family=family: on.after_the_best(f"{family} joint"), above=-0.02,
        )  # fmt: skip


def uneven_by_support(case: _Case) -> Iterator[Evidence]:  # C11
    spread, rank = "standard deviation of F1 over relations", "rank correlation of F1 with training rows"
    for name in ("KnowBERT-W+W", PAPER_BERT):
        yield case.published(spread, "unevenness", name, above=0.15)
    yield case.published(rank, "rank_correlation", OTHERS, above=0)
    yield case.published(rank, "rank_correlation", PAPER_BERT, context="one of the paper's four tables")
    found = rank_correlation(*checks.f1_and_rows("Table 8", "Table 9", "Table 10", "Table 11"))
    yield Evidence(case.claim, f"mean of Tables 8 to 11: {rank}", PAPER, "Tables 8 to 12", found, above=0)
    for family in ("bilstm spans", "bert spans"):
        spec = " ".join([family.split()[0], "joint", "spans"])
        spec += " tune_words=false words=minilm" if family.startswith("bilstm") else ""
        yield from case.runs(f"{family}: {spread}", lambda on, spec=spec: on.score("unevenness", spec), above=0.15)
        yield from case.runs(f"{family}: {rank}", lambda on, spec=spec: on.by_support(spec), above=0)


def separate_heads(case: _Case) -> Iterator[Evidence]:  # C12
    pair = ("bert joint heads", "bert joint spans")
    what = "separate heads − one head"
    yield from case.runs(f"{what}: macro F1 over relations", lambda on: on.score("macro_f1_relations", *pair), above=0)
    yield from case.runs(
        f"{what}: standard deviation of F1 over relations", lambda on: on.score("unevenness", *pair), below=0
    )


def parameters(case: _Case) -> Iterator[Evidence]:  # C13
    printed, counted = published.parameter_counts().set_index("place").parameters, checks.figure_2_counts()
    right = sum(int(printed[place]) == count for place, count in counted.items())
    yield case.exactly("counts that the configuration gives, of 13", right, len(counted), "Figure 2")


def table_4(case: _Case) -> Iterator[Evidence]:  # C14
    what = "values of Table 4 that are Table 6's, of 6"
    yield case.printed(what, checks.repeated_in_table_4(), 0, "Tables 4 and 6", below=checks.CHANCE + 0.5)
    yield from case.runs(
        "the paper's svm: macro F1 of both stages composed", lambda on: on.score("macro_f1", "svm two_stages paper"),
        context="what Table 4 was to show, on another corpus",
    )  # fmt: skip


def added_layer(case: _Case) -> Iterator[Evidence]:  # C15
    pair = ("bert joint", "bert joint extra_layer=false")
    yield from case.runs("with the layer − without: micro F1", lambda on: on.score("micro_f1", *pair), above=0)
    what = "with the layer − without: micro F1, gain over far entities − over near ones"
    yield from case.runs(what, lambda on: on.over_distance(*pair), above=0)


def diverse_batches(case: _Case) -> Iterator[Evidence]:  # C16
    share = checks.labels_in_a_batch() / checks.LABELS
    found = Estimate(share, share, share)
    what = "expected share of the 42 labels in a batch of 50"
    yield Evidence(case.claim, what, TACRED, "Table 12 at the training split's prevalence", found, above=0.5)


def up_sampling(case: _Case) -> Iterator[Evidence]:  # C17
    what = "F1 of the frequent half of relations − the rare half"
    weighed = f"{what}, loss weights 1/√N"
    yield case.published(weighed, "frequent_minus_rare", PAPER_BERT, above=0)
    for name in ("KnowBERT-W+W", "SpanBERT"):
        yield case.published(what, "frequent_minus_rare", name, context="without a remedy")
    for name, spec in (("rare ones repeated", "upsample=0.5"), ("loss weights 1/N", "balance=1.0")):
        yield from case.runs(
            f"bert spans, {name}: {what}", lambda on, spec=spec: on.by_frequency(f"bert joint spans {spec}"), above=0
        )
    for remedy in ("upsample=0.5", "max_ratio=3.0", "balance=0.5", "balance=1.0", "focal=2.0", "prior=1.0"):
        pair = (f"bert joint spans {remedy}", "bert joint spans")
        yield from case.runs(
            f"bert spans, {remedy} − without: macro F1 over relations",
            lambda on, pair=pair: on.score("macro_f1_relations", *pair), context="what a remedy is worth",
        )  # fmt: skip


def above_lstms(case: _Case) -> Iterator[Evidence]:  # C18
    printed = published.literature("tacred", ["tacred"]).set_index("system").value
    strongest = printed["PA-LSTM"]
    like = evidence.estimate("micro_f1", "LSTM, masked")
    for name in (*BERTS, PAPER_BERT):
        own = evidence.estimate("micro_f1", name)
        half = math.hypot(own.high - own.low, like.high - like.low) / 2  # unpaired: wider than a paired one
        gap = own.value - strongest
        found = Estimate(gap, gap - half, gap + half, own.n, own.unit, parts=(own.value, strongest))
        source = PAPER if name == PAPER_BERT else TACRED
        what = f"{name} − PA-LSTM: micro F1"
        yield Evidence(case.claim, what, source, "published predictions, Zhang et al. 2017", found, above=0)
        yield case.published("micro F1", "micro_f1", name, "LSTM, masked", above=0, context="a weaker LSTM")
        gap = own.value - printed["C-GCN + PA-LSTM"]
        found = Estimate(gap, gap - half, gap + half, own.n, own.unit)
        what, both = f"{name} − C-GCN + PA-LSTM: micro F1", ("an LSTM and a graph network together",)
        yield Evidence(case.claim, what, source, "published predictions, Zhang et al. 2018", found, 0, reasons=both)
    bert, bilstm = (checks.micro_f1_of(table) for table in ("Table 10", "Table 8"))
    gap, low, high = bert[0] - bilstm[0], bert[1] - bilstm[2], bert[2] - bilstm[1]
    yield case.printed("bert − bilstm, joint: micro F1", gap, 0, "Tables 8 and 10", above=0, low=low, high=high)


def no_automation(case: _Case) -> Iterator[Evidence]:  # C19
    for score in ("micro_p", "micro_r"):
        name = {"micro_p": "precision", "micro_r": "recall"}[score]
        yield case.published(f"{name} of its answers", score, "KnowBERT-W+W", below=0.9)
    what = "share of relations found at 90 % precision (confidence chosen on dev)"
    specs = {
        "svm": "svm joint", "bilstm": "bilstm joint spans tune_words=false words=minilm",
        "bert spans": "bert joint spans", "bert, typed marks": "bert joint typed_marker_punct", "gpt2": "gpt2 joint",
    }  # fmt: skip
    for name, spec in specs.items():
        yield from case.runs(f"{name}: {what}", lambda on, spec=spec: on.coverage(spec), below=0.9)


WEIGHED: dict[str, Callable[[_Case], Iterator[Evidence]]] = dict(
    zip(
        (f"C{number}" for number in range(1, 20)),
        (
            size_and_imbalance, under_sampling, lean_on_no_relation, one_class_only, relations_alone, most_by_features,
            svm_detects, decoder_below, steady_over_length, no_over_fitting, uneven_by_support, separate_heads,
            parameters, table_4, added_layer, diverse_batches, up_sampling, above_lstms, no_automation,
        ),
        strict=True,
    )
)  # fmt: skip

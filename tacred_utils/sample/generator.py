"""The embedded corpus: invented news sentences in TACRED's full format, made in memory from a grammar.

The rows of a sentence are pairs of its mentions, and a pair of which nothing was stated is `no_relation`: so there are
hard negatives, beside a fact, of a fact that is denied, of a wording that may mean something else. Counts are TACRED's.
"""

import random
from collections import Counter, defaultdict
from collections.abc import Mapping
from itertools import product

from msgspec.structs import replace

from tacred_utils.corpora.example import SYNTHETIC_PREFIX, Example
from tacred_utils.ground.errors import UserError
from tacred_utils.ground.labels import NO_RELATION, SPLITS, TACRED_SPLIT_SIZES
from tacred_utils.sample.entities import FAMILY
from tacred_utils.sample.grammar import load_grammar
from tacred_utils.sample.sentence import SUBJECT_TYPES, Mention, Sentence

NOISE_RATE = 0.04  # share of rows whose label is wrong on purpose
NOISE_AMONG_RELATIONS = 0.2  # share of the exchanges that are between two relations, else with no_relation
NEAREST_RATE = 0.75  # how often a row takes the closest mentions of its two entities, else any two
PLAIN_RATE = 0.4  # share of the sentences made for negatives that start without a fact
UNTRUE_RATE = 0.35  # share of the others whose first clause only has the words of a fact
LENGTH_LOG_MEAN, LENGTH_LOG_SD = 3.38, 0.5  # of the words aimed at: TACRED's mean is 36, its tail reaches 96
SHORTEST, LONGEST = 6, 96  # words

Pair = tuple[Mention, Mention]  # subject, object


def generate(scales: Mapping[str, float], seed: int = 0) -> dict[str, list[Example]]:
    """The corpus by split, at `scales` of TACRED's sizes. The same arguments give the same rows everywhere.

    A `NOISE_RATE` of the rows carries a wrong label on purpose; the counts of the labels are those of `quotas` all the
    same, and no sentence stands twice. Raises `UserError` as `quotas` does.
    """
    written: set[str] = set()
    return {split: _split(split, quota, seed, written) for split, quota in quotas(scales).items()}


def quotas(scales: Mapping[str, float]) -> dict[str, dict[str, int]]:
    """Rows by split and label: the paper's Tables 12 and 8 at scale 1, below in proportion, never none.

    Raises `UserError` when a scale is not above 0 and at most 1, or a split is missing.
    """
    if set(scales) != set(SPLITS) or not all(0 < scale <= 1 for scale in scales.values()):
        raise UserError(f"sample: scales {dict(scales)} must give train, dev and test a number above 0 and at most 1.")
    grammar = load_grammar()
    test = {relation: rows for relation, (_, rows) in grammar.counts.items()}
    rest = {relation: rows - test[relation] for relation, (rows, _) in grammar.counts.items()}
    train = apportion(rest, grammar.positives["train"])
    dev = {relation: rest[relation] - train[relation] for relation in rest}
    found = {}
    for split, full in zip(SPLITS, (train, dev, test), strict=True):
        scaled = apportion(full, max(round(scales[split] * sum(full.values())), len(full)))
        negatives = round(scales[split] * TACRED_SPLIT_SIZES[split]) - sum(scaled.values())
        found[split] = {NO_RELATION: max(negatives, 1)} | scaled
    return found


def apportion(parts: Mapping[str, int], total: int) -> dict[str, int]:
    """Share out `total` in proportion to `parts` by largest remainders, at least one each."""
    exact = {name: part * total / sum(parts.values()) for name, part in parts.items()}
    shares = {name: max(int(share), 1) for name, share in exact.items()}
    while sum(shares.values()) > total:  # the ones raised to one row are paid for by the largest
        shares[max(shares, key=lambda name: (shares[name], name))] -= 1
    by_need = sorted(parts, key=lambda name: (exact[name] - shares[name], name), reverse=True)
    for name in by_need[: total - sum(shares.values())]:
        shares[name] += 1
    return shares


def _split(split: str, quota: Mapping[str, int], seed: int, written: set[str]) -> list[Example]:
    rng = random.Random(f"{seed}/{split}")  # seeded by its text: independent of PYTHONHASHSEED
    left = Counter(quota)
    wishes = [relation for relation, rows in quota.items() if relation != NO_RELATION for _ in range(rows)]
    rng.shuffle(wishes)
    rows: list[Example] = []
    for wanted in wishes[::-1] + [NO_RELATION] * quota[NO_RELATION]:
        found: list[Example] = []
        while left[wanted] > 0 and not found:
            found = _rows_of(rng, _sentence_for(rng, split != "train", wanted), wanted, left, written)
        left.subtract(row.relation for row in found)
        rows += found
    rng.shuffle(rows)
    return [
        replace(row, id=f"{SYNTHETIC_PREFIX}{split}-{number:05d}", relation=label)
        for number, (row, label) in enumerate(zip(rows, _noisy(rows, rng), strict=True))
    ]


def _sentence_for(rng: random.Random, held_out: bool, wanted: str) -> Sentence:
    """A sentence that states `wanted`; for no_relation one that may state anything, or deny it."""
    sentence, true = Sentence(rng, held_out), True
    if wanted == NO_RELATION:
        names, weights = sentence.grammar.frequent
        wanted = "" if rng.random() < PLAIN_RATE else rng.choices(names, cum_weights=weights)[0]
        true = rng.random() >= UNTRUE_RATE
    sentence.begin(wanted, true)
    sentence.finish(min(max(rng.lognormvariate(LENGTH_LOG_MEAN, LENGTH_LOG_SD), SHORTEST), LONGEST - 6))
    return sentence


def _rows_of(
    rng: random.Random, sentence: Sentence, wanted: str, left: Mapping[str, int], written: set[str]
) -> list[Example]:
    """The rows that a sentence gives while labels are wanted; none if it is unfit or lacks what it was made for."""
    columns = sentence.columns()
    text = " ".join(columns["token"])
    stated, free = stated_and_free(sentence)
    if len(columns["token"]) > LONGEST or text in written or wanted not in (NO_RELATION, *stated):
        return []
    chosen = [relation for relation in stated if relation == wanted or left[relation] > 0 and rng.random() < 0.5]
    drawn = []
    for relation in chosen:
        options, nearest = stated[relation], rng.random() < NEAREST_RATE
        near = min(options, key=lambda pair: abs(pair[0].start - pair[1].start))
        drawn.append((relation, near if nearest else options[int(rng.random() * len(options))]))
    most = rng.choices((0, 1, 2, 3), (3, 4, 2, 1) if drawn else (0, 6, 3, 1))[0]
    for _ in range(min(most, left[NO_RELATION], len(free))):
        pair = rng.choices(list(free), list(free.values()))[0]
        drawn.append((NO_RELATION, pair))
        del free[pair]
    if drawn:
        written.add(text)
    return [
        Example(
            id="", relation=relation, subj_start=subj.start, subj_end=subj.end, obj_start=obj.start, obj_end=obj.end,
            subj_type=subj.entity.type, obj_type=obj.entity.type, **columns,
        )
        for relation, (subj, obj) in drawn
    ]  # fmt: skip


def stated_and_free(sentence: Sentence) -> tuple[dict[str, list[Pair]], dict[Pair, int]]:
    """The pairs of mentions of which a sentence states something, by relation; those without, with their weights.

    Of two relatives of the same person something can be inferred: they are in neither.
    """
    stated: dict[str, list[Pair]] = defaultdict(list)
    free: dict[Pair, int] = {}
    kin: dict[str, set[str]] = defaultdict(set)
    for (one, other), relation in sentence.facts.items():
        if relation in FAMILY:
            kin[one].add(other)
    subjects = [mention for mention in sentence.mentions if mention.entity.type in SUBJECT_TYPES]
    named = [mention for mention in sentence.mentions if mention.name]
    for subj, obj in product(subjects, named):
        if subj is obj:
            continue
        one, other = subj.entity, obj.entity
        relation = sentence.facts.get((one.key, other.key))
        same = one.key == other.key
        weight = sentence.grammar.negatives[one.type].get(other.type, 0)
        if relation and (not same or subj.name and one.sort != other.sort):
            stated[relation].append((subj, obj))
        elif weight and not relation and not same and not kin[one.key] & kin[other.key]:
            free[subj, obj] = weight
    return stated, free


def _noisy(rows: list[Example], rng: random.Random) -> list[str]:
    """Labels in which `NOISE_RATE` of the rows have exchanged theirs with a row of the same entity types."""
    labels, wrong = [row.relation for row in rows], set()
    alike: dict[tuple[str, str, bool], list[int]] = defaultdict(list)
    for k, row in enumerate(rows):
        alike[row.subj_type, row.obj_type, row.relation == NO_RELATION].append(k)
    candidates = [k for k, row in enumerate(rows) if row.relation != NO_RELATION]
    rng.shuffle(candidates)
    for k in candidates:
        partners = alike[rows[k].subj_type, rows[k].obj_type, rng.random() >= NOISE_AMONG_RELATIONS]
        partner = partners[int(rng.random() * len(partners))] if partners else k
        if len(wrong) == 2 * round(NOISE_RATE * len(rows) / 2):
            break
        if not wrong & {k, partner} and labels[k] != labels[partner]:
            labels[k], labels[partner] = labels[partner], labels[k]
            wrong |= {k, partner}
    return labels

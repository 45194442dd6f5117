"""The embedded corpus: invented news sentences in TACRED's full format, made in memory from a grammar.

The rows of a sentence are pairs of its mentions, and a pair of which nothing was stated is `no_relation`. So
hard negatives need no special care: they are the pairs beside a fact, the pairs of a fact that is denied, and
the pairs of a wording that may mean something else. Counts are TACRED's, to the row.
"""

import random
from collections import Counter
from collections.abc import Mapping

from tacred_utils.corpus import SYNTHETIC_PREFIX, Example
from tacred_utils.corpus import no_collection as no_collection
from tacred_utils.errors import UserError
from tacred_utils.grammar import load
from tacred_utils.labels import NO_RELATION, SPLITS, TACRED_SPLIT_SIZES
from tacred_utils.story import FAMILY, Mention, Pair, Sentence, Story, write_down

NOISE_RATE = 0.04  # share of rows whose label is wrong on purpose
NOISE_AMONG_RELATIONS = 0.2  # share of the exchanges that are between two relations, else with no_relation
NEAREST_RATE = 0.75  # how often a row takes the closest mentions of its two entities, else any two
PLAIN_RATE = 0.4  # share of the sentences made for negatives that start without a fact
UNTRUE_RATE = 0.35  # share of the others whose first clause only has the words of a fact
LENGTH_LOG_MEAN, LENGTH_LOG_SD = 3.38, 0.5  # of the words aimed at: TACRED's mean is 36, its tail reaches 96
SHORTEST, LONGEST = 6, 96  # words

Row = tuple[str, Sentence, Mention, Mention]  # label, sentence, subject, object


def related(sentence: Sentence) -> dict[str, list[Pair]]:
    """The pairs of mentions of which the sentence states something, by relation."""
    found: dict[str, list[Pair]] = {}
    for subj, obj in sentence.pairs():
        relation = sentence.facts.get((subj.entity.key, obj.entity.key))
        if relation and (
            subj.entity.key != obj.entity.key or subj.name and subj.entity.sort != obj.entity.sort
        ):
            found.setdefault(relation, []).append((subj, obj))
    return found


def unrelated(sentence: Sentence, weights: Mapping[str, Mapping[str, int]]) -> dict[Pair, int]:
    """The pairs of mentions of which nothing is stated, nor inferred (of relatives), with their weights."""
    kin: dict[str, set[str]] = {}
    for (one, other), relation in sentence.facts.items():
        if relation in FAMILY:
            kin.setdefault(one, set()).add(other)
    found = {}
    for subj, obj in sentence.pairs():
        one, other = subj.entity.key, obj.entity.key
        weight = weights[subj.entity.type].get(obj.entity.type, 0)
        inferred = not kin.get(one, set()).isdisjoint(kin.get(other, ()))
        if weight and one != other and (one, other) not in sentence.facts and not inferred:
            found[subj, obj] = weight
    return found


# ---------------------------------------------------------------- counting


def quotas(scales: Mapping[str, float]) -> dict[str, dict[str, int]]:
    """Rows by split and label: the paper's Tables 12 and 8 at scale 1, below in proportion, never none.

    Raises `UserError` when a scale is not above 0 and at most 1, or a split is missing.
    """
    if set(scales) != set(SPLITS) or not all(0 < scale <= 1 for scale in scales.values()):
        raise UserError(
            f"sample: scales {dict(scales)} must give train, dev and test a number above 0 and at most 1."
        )
    grammar = load()
    test = {relation: rows for relation, (_, rows) in grammar.counts.items()}
    rest = {relation: rows - test[relation] for relation, (rows, _) in grammar.counts.items()}
    train = apportion(rest, grammar.positives["train"])
    full = {
        "train": train,
        "dev": {relation: rest[relation] - train[relation] for relation in rest},
        "test": test,
    }
    return {split: _scaled(full[split], TACRED_SPLIT_SIZES[split], scales[split]) for split in SPLITS}


def _scaled(relations: Mapping[str, int], rows: int, scale: float) -> dict[str, int]:
    scaled = apportion(relations, max(round(scale * sum(relations.values())), len(relations)))
    return {NO_RELATION: max(round(scale * rows) - sum(scaled.values()), 1)} | scaled


def apportion(parts: Mapping[str, int], total: int) -> dict[str, int]:
    """Share out `total` in proportion to `parts` by largest remainders, at least one each."""
    exact = {name: part * total / sum(parts.values()) for name, part in parts.items()}
    shares = {name: max(int(share), 1) for name, share in exact.items()}
    by_need = sorted(parts, key=lambda name: (exact[name] - shares[name], name), reverse=True)
    missing = total - sum(shares.values())
    while missing < 0:  # the ones raised to one row are paid for by the largest
        shares[max(shares, key=lambda name: (shares[name], name))] -= 1
        missing += 1
    for name in by_need[:missing]:
        shares[name] += 1
    return shares


# ---------------------------------------------------------------- the corpus


def generate(scales: Mapping[str, float], seed: int = 0) -> dict[str, list[Example]]:
    """The corpus by split, at `scales` of TACRED's sizes. The same arguments give the same rows everywhere.

    A `NOISE_RATE` of the rows carries a wrong label on purpose (`planted_noise` tells which); the counts of
    the labels are those of `quotas` all the same. Raises `UserError` as `quotas` does.
    """
    return {split: [example for example, _ in rows] for split, rows in _build(scales, seed).items()}


def planted_noise(scales: Mapping[str, float], seed: int = 0) -> dict[str, str]:
    """The rows of `generate` with a wrong label on purpose: id → the label that the sentence states."""
    rows = (row for rows in _build(scales, seed).values() for row in rows)
    return {example.id: truth for example, truth in rows if example.relation != truth}


def _build(scales: Mapping[str, float], seed: int) -> dict[str, list[tuple[Example, str]]]:
    """(row, its true label) by split; no sentence twice."""
    written: set[str] = set()
    with no_collection():
        return {split: _build_split(split, quota, seed, written) for split, quota in quotas(scales).items()}


def _build_split(
    split: str, quota: Mapping[str, int], seed: int, written: set[str]
) -> list[tuple[Example, str]]:
    rng = random.Random(f"{seed}/{split}")  # seeded by its text: independent of PYTHONHASHSEED
    left = Counter(quota)
    relations = [relation for relation, rows in quota.items() if relation != NO_RELATION for _ in range(rows)]
    rng.shuffle(relations)
    rows: list[tuple[str, Sentence, Mention, Mention]] = []
    while relations or left[NO_RELATION] > 0:
        wanted = relations.pop() if relations else NO_RELATION
        while left[wanted] > 0:
            sentence = _sentence(rng, split != "train", wanted)
            text = " ".join(sentence.token)
            found = (
                _rows(rng, sentence, wanted, left)
                if len(sentence.token) <= LONGEST and text not in written
                else []
            )
            if found:
                written.add(text)
                left.subtract(row[0] for row in found)
                rows += found
                break
    rng.shuffle(rows)
    return _labelled(rows, split, _noisy([row[0] for row in rows], [_types(row) for row in rows], rng))


def _sentence(rng: random.Random, held_out: bool, wanted: str) -> Sentence:
    """A sentence that states `wanted`; for no_relation one that may state anything, or deny it."""
    story, true = Story(rng, held_out), True
    if wanted == NO_RELATION:
        names, weights = story.grammar.frequent
        wanted = "" if rng.random() < PLAIN_RATE else rng.choices(names, cum_weights=weights)[0]
        true = rng.random() >= UNTRUE_RATE
    story.begin(wanted, true)
    story.finish(min(max(rng.lognormvariate(LENGTH_LOG_MEAN, LENGTH_LOG_SD), SHORTEST), LONGEST - 6))
    return write_down(story)


def _rows(rng: random.Random, sentence: Sentence, wanted: str, left: Mapping[str, int]) -> list[Row]:
    """The rows that a sentence gives while labels are wanted; none if it lacks what it was made for."""
    stated = related(sentence)
    if wanted != NO_RELATION and wanted not in stated:
        return []
    chosen = [
        relation for relation in stated if relation == wanted or left[relation] > 0 and rng.random() < 0.5
    ]
    rows = [(relation, sentence, *_mentions(rng, stated[relation])) for relation in chosen]
    pairs = unrelated(sentence, load().negatives)
    most = rng.choices((0, 1, 2, 3), (3, 4, 2, 1) if rows else (0, 6, 3, 1))[0]
    for _ in range(min(most, left[NO_RELATION], len(pairs))):
        pair = rng.choices(list(pairs), list(pairs.values()))[0]
        rows.append((NO_RELATION, sentence, *pair))
        del pairs[pair]
    return rows


def _mentions(rng: random.Random, pairs: list[Pair]) -> Pair:
    if rng.random() < NEAREST_RATE:
        return min(pairs, key=lambda pair: abs(pair[0].start - pair[1].start))
    return pairs[int(rng.random() * len(pairs))]


def _types(row: Row) -> tuple[str, str]:
    _, _, subj, obj = row
    return subj.entity.type, obj.entity.type


def _noisy(truth: list[str], types: list[tuple[str, str]], rng: random.Random) -> list[str]:
    """Labels in which `NOISE_RATE` of the rows have exchanged theirs with a row of the same entity types."""
    labels, swaps, touched = list(truth), round(NOISE_RATE * len(truth) / 2), set()
    alike: dict[tuple[tuple[str, str], bool], list[int]] = {}
    for k, pair in enumerate(types):
        alike.setdefault((pair, truth[k] == NO_RELATION), []).append(k)
    related_rows = [k for k, label in enumerate(truth) if label != NO_RELATION]
    rng.shuffle(related_rows)
    for k in related_rows:
        partners = alike.get((types[k], rng.random() >= NOISE_AMONG_RELATIONS), [])
        partner = partners[int(rng.random() * len(partners))] if partners else k
        if len(touched) < 2 * swaps and not touched & {k, partner} and truth[k] != truth[partner]:
            labels[k], labels[partner] = truth[partner], truth[k]
            touched |= {k, partner}
    return labels


def _labelled(rows: list[Row], split: str, labels: list[str]) -> list[tuple[Example, str]]:
    return [
        (
            Example(
                id=f"{SYNTHETIC_PREFIX}{split}-{number:05d}",
                relation=label,
                token=sentence.token,
                subj_start=subj.start,
                subj_end=subj.end,
                obj_start=obj.start,
                obj_end=obj.end,
                subj_type=types[0],
                obj_type=types[1],
                stanford_pos=sentence.tag,
                stanford_ner=sentence.ner,
                stanford_head=sentence.head,
                stanford_deprel=sentence.deprel,
            ),
            truth,
        )
        for number, ((truth, sentence, subj, obj), label) in enumerate(zip(rows, labels, strict=True))
        for types in [_types((truth, sentence, subj, obj))]
    ]

"""The embedded corpus: invented news sentences in TACRED's full format, made in memory from annotated templates.

The rows of a sentence are pairs of its mentions, and a pair of which nothing was stated is `no_relation`: so there are
hard negatives, beside a fact, of a fact that is denied, of a wording that may mean something else. Counts are TACRED's.
"""

import random
from collections import Counter, defaultdict
from collections.abc import Mapping
from itertools import permutations

from msgspec.structs import replace

from tacred_utils.corpora.example import SYNTHETIC_PREFIX, Example
from tacred_utils.ground.errors import UserError
from tacred_utils.ground.labels import NO_RELATION, SPLITS, TACRED_SPLIT_SIZES
from tacred_utils.sample.material import load_material
from tacred_utils.sample.sentence import Mention, Sentence

NOISE_RATE = 0.04  # share of rows whose label is wrong on purpose
OPENINGS = {"neutral": 40, "fact": 39, "lure": 11, "doubt": 10}  # of the sentences made for negatives, in percent
LENGTH_LOG_MEAN, LENGTH_LOG_SD = 3.33, 0.5  # of the words aimed at: TACRED's mean is 36, its tail reaches 96
SHORTEST, LONGEST = 6, 96  # words
FAMILY = ("per:spouse", "per:siblings", "per:parents", "per:children", "per:other_family")

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
    found = {}
    for k, split in enumerate(SPLITS):
        full = {relation: rows[k] for relation, rows in load_material().counts.items()}
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
    for wanted in wishes + [NO_RELATION] * quota[NO_RELATION]:
        found: list[Example] = []
        while left[wanted] > 0 and not found:
            found = _rows_of(rng, _sentence_for(rng, split != "train", wanted), wanted, left, written)
        left.subtract(row.relation for row in found)
        rows += found
    rng.shuffle(rows)
    labels = _noisy(rows, rng)
    return [
        replace(row, id=f"{SYNTHETIC_PREFIX}{split}-{number:05d}", relation=label)
        for number, (row, label) in enumerate(zip(rows, labels, strict=True))
    ]


def _sentence_for(rng: random.Random, held_out: bool, wanted: str) -> Sentence:
    """A sentence that states `wanted`; for no_relation one that may state anything, or deny it."""
    opening = "fact"
    if wanted == NO_RELATION:
        [opening] = rng.choices(list(OPENINGS), list(OPENINGS.values()))
        [wanted] = rng.choices(*load_material().frequent)
    length = min(max(rng.lognormvariate(LENGTH_LOG_MEAN, LENGTH_LOG_SD), SHORTEST), LONGEST - 6)
    return Sentence(rng, held_out, opening, wanted, length)


def _rows_of(
    rng: random.Random, sentence: Sentence, wanted: str, left: Mapping[str, int], written: set[str]
) -> list[Example]:
    """The rows that a sentence gives while labels are wanted; none if it is unfit or lacks what it was made for."""
    columns = sentence.columns()
    text = " ".join(columns["token"])
    stated, free = _stated_and_free(sentence)
    if len(columns["token"]) > LONGEST or text in written or wanted not in (NO_RELATION, *stated):
        return []
    chosen = [relation for relation in stated if relation == wanted or left[relation] > 0 and rng.random() < 0.5]
    drawn = [(relation, rng.choice(stated[relation])) for relation in chosen]
    most = rng.choices((0, 1, 2, 3), (3, 4, 2, 1) if drawn else (0, 6, 3, 1))[0] if free else 0
    pairs = dict.fromkeys(rng.choices(list(free), list(free.values()), k=most)) if most else ()
    drawn += [(NO_RELATION, pair) for pair in pairs][: left[NO_RELATION]]
    if drawn:
        written.add(text)
    return [
        Example(
            id="", relation=relation, subj_start=subj.start, subj_end=subj.end, obj_start=obj.start, obj_end=obj.end,
            subj_type=subj.type, obj_type=obj.type, **columns,
        )
        for relation, (subj, obj) in drawn
    ]  # fmt: skip


def _stated_and_free(sentence: Sentence) -> tuple[dict[str, list[Pair]], dict[Pair, int]]:
    """The pairs of mentions of which a sentence states something, by relation; those without, with their weights.

    Of two people with relatives something may be inferred: they are in neither.
    """
    stated: dict[str, list[Pair]] = defaultdict(list)
    free: dict[Pair, int] = {}
    relatives = {key for pair, relation in sentence.facts.items() if relation in FAMILY for key in pair}
    for subj, obj in permutations(sentence.mentions, 2):
        keys = subj.entity.key, obj.entity.key
        relation = sentence.facts.get(keys, "-")
        weight = load_material().negatives.get(subj.type, {}).get(obj.type, 0)
        if not obj.name or keys[0] == keys[1] and (subj.entity.sort == obj.entity.sort or not subj.name):
            continue
        if relation != "-":
            stated[relation].append((subj, obj))
        elif weight and keys[0] != keys[1] and not relatives.issuperset(keys):
            free[subj, obj] = weight
    return stated, free


def _noisy(rows: list[Example], rng: random.Random) -> list[str]:
    """Labels in which `NOISE_RATE` of the rows have exchanged theirs with a row of the same entity types."""
    labels, wrong = [row.relation for row in rows], set()
    alike: dict[tuple[str, str], list[int]] = defaultdict(list)
    for k, row in enumerate(rows):
        alike[row.subj_type, row.obj_type].append(k)
    candidates = [k for k, row in enumerate(rows) if row.relation != NO_RELATION]
    rng.shuffle(candidates)
    for k in candidates:
        partner = rng.choice(alike[rows[k].subj_type, rows[k].obj_type])
        if len(wrong) == 2 * round(NOISE_RATE * len(rows) / 2):
            break
        if not wrong & {k, partner} and labels[k] != labels[partner]:
            labels[k], labels[partner] = labels[partner], labels[k]
            wrong |= {k, partner}
    return labels

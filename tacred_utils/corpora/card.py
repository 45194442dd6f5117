"""The card of a corpus: what `data check` prints."""

import statistics
from collections import Counter

from tacred_utils.corpora.example import COLUMNS, Corpus, Example
from tacred_utils.ground.labels import NO_RELATION, SPLITS

LONG = 512  # words; no pre-trained encoder of the study reads more in one piece


def card(corpus: Corpus) -> str:
    """Sizes, labels, imbalance, lengths, entity types, shared sentences, notes and checksums, as plain text."""
    rows = [row for split in SPLITS for row in corpus.split(split)]
    counts, pairs = Counter(row.relation for row in rows), Counter((row.subj_type, row.obj_type) for row in rows)
    negatives, positives, width = counts[NO_RELATION], len(rows) - counts[NO_RELATION], max(map(len, counts))
    imbalance = f"; no_relation to relations {negatives / positives:.2f} : 1" if positives else ""
    texts = {split: {tuple(row.token) for row in corpus.split(split)} for split in SPLITS}
    shared = [
        (one, other, len(texts[one] & texts[other]))
        for one, other in (("dev", "train"), ("test", "train"), ("test", "dev"))
    ]
    lines = [
        f"corpus {corpus.name}" + (" (SYNTHETIC: it demonstrates, it decides nothing)" if corpus.synthetic else ""),
        f"  licensed text: {'yes, no sentence may be published' if corpus.gated else 'no'}",
        "",
        "split        rows  no_relation  sentences  words: median  mean   max",
        *(_split_line(split, corpus.split(split), len(texts[split])) for split in SPLITS),
        "",
        f"labels: {len(corpus.labels)}"
        + (imbalance if negatives else ", without no_relation: only relation_only can be trained"),
        *(f"  {label:<{width}}  {count:>7,}" for label, count in counts.most_common()),
        "",
        f"entity-type pairs (subject, object): {len(pairs)}",
        *(f"  {' - '.join(pair)}  {count:,}" for pair, count in pairs.most_common(10)),
        "",
        f"columns that training lacks: {', '.join(name for name in COLUMNS if name not in corpus.columns) or 'none'}",
        *(f"sentences that {one} shares with {other}: {number:,}" for one, other, number in shared),
        *(_documents(split, corpus.split(split)) for split in SPLITS if rows[0].document is not None),
        *(f"note: {note}" for note in [*corpus.notes, *_oddities(rows)]),
        "",
        *(f"sha256 {split}: {digest}" for split, digest in corpus.digests.items()),
    ]
    return "\n".join(lines)


def _split_line(split: str, rows: list[Example], sentences: int) -> str:
    words = [len(row.token) for row in rows]
    negative = sum(row.relation == NO_RELATION for row in rows) / len(rows)
    return (
        f"{split:<6} {len(rows):>10,} {negative:>11.1%} {sentences:>11,} {statistics.median(words):>13.0f} "
        f"{statistics.mean(words):>6.1f} {max(words):>5,}"
    )


def _documents(split: str, rows: list[Example]) -> str:
    documents, related = len({row.document for row in rows}), sum(row.relation != NO_RELATION for row in rows)
    stated = sum(row.evidence is True for row in rows)
    return f"{split}: {documents:,} documents; {stated:,} of {related:,} relations have evidence in their sentence"


def _oddities(rows: list[Example]) -> list[str]:
    """What is allowed yet worth knowing."""
    found = {
        "records whose subject and object overlap": lambda row: (
            row.subj_start <= row.obj_end and row.obj_start <= row.subj_end
        ),
        f"sentences over {LONG} words": lambda row: len(row.token) > LONG,
        "records with blank words": lambda row: not all(map(str.strip, row.token)),
    }
    counts = {what: sum(map(odd, rows)) for what, odd in found.items()}
    return [f"{count:,} {what}" for what, count in counts.items() if count]

"""The card of a corpus: what `data check` prints."""

import statistics
from collections import Counter

from tacred_utils.corpora.example import COLUMNS, Corpus
from tacred_utils.ground.labels import NO_RELATION, SPLITS

LONG = 512  # words; no pre-trained encoder of the study reads more in one piece


def card(corpus: Corpus) -> str:
    """Sizes, labels, imbalance, lengths, entity types, shared sentences, notes and checksums, as plain text."""
    lines = [
        f"corpus {corpus.name}" + (" (SYNTHETIC: it demonstrates, it decides nothing)" if corpus.synthetic else "")
    ]
    lines += [f"  licensed text: {'yes, no sentence may be published' if corpus.gated else 'no'}"]
    lines += ["", "split        rows  no_relation  sentences  words: median  mean   max"]
    lines += [_split_line(corpus, split) for split in SPLITS]
    counts = Counter(example.relation for split in SPLITS for example in corpus.split(split))
    positives = sum(counts.values()) - counts[NO_RELATION]
    lines += ["", f"labels: {len(corpus.labels)}" + _imbalance(counts[NO_RELATION], positives)]
    width = max(map(len, counts))
    lines += [f"  {label:<{width}}  {count:>7,}" for label, count in counts.most_common()]
    pairs = Counter((e.subj_type, e.obj_type) for split in SPLITS for e in corpus.split(split))
    lines += ["", f"entity-type pairs (subject, object): {len(pairs)}"]
    lines += [f"  {' - '.join(pair)}  {count:,}" for pair, count in pairs.most_common(10)]
    absent = [column for column in COLUMNS if column not in corpus.columns]
    lines += ["", f"columns that training lacks: {', '.join(absent) or 'none'}"]
    lines += [
        f"sentences that {one} shares with {other}: {shared:,}" for one, other, shared in shared_sentences(corpus)
    ]
    lines += _documents(corpus)
    lines += [f"note: {note}" for note in [*corpus.notes, *_oddities(corpus)]]
    lines += ["", *(f"sha256 {split}: {digest}" for split, digest in corpus.digests.items())]
    return "\n".join(lines)


def shared_sentences(corpus: Corpus) -> list[tuple[str, str, int]]:
    """(dev or test, earlier split, number of the former's distinct sentences that the latter has too)."""
    texts = {split: {tuple(example.token) for example in corpus.split(split)} for split in SPLITS}
    pairs = (("dev", "train"), ("test", "train"), ("test", "dev"))
    return [(one, other, len(texts[one] & texts[other])) for one, other in pairs]


def _documents(corpus: Corpus) -> list[str]:
    """Documents, and relations that are known to be stated in their own sentence, where the corpus tells."""
    if corpus.train[0].document is None:
        return []
    lines = []
    for split in SPLITS:
        examples = corpus.split(split)
        stated, related = sum(e.evidence is True for e in examples), sum(e.relation != NO_RELATION for e in examples)
        documents = len({e.document for e in examples})
        lines.append(
            f"{split}: {documents:,} documents; {stated:,} of {related:,} relations have evidence in their sentence"
        )
    return lines


def _split_line(corpus: Corpus, split: str) -> str:
    examples = corpus.split(split)
    lengths = [len(example.token) for example in examples]
    negative = sum(example.relation == NO_RELATION for example in examples) / len(examples)
    distinct = len({tuple(example.token) for example in examples})
    return (
        f"{split:<6} {len(examples):>10,} {negative:>11.1%} {distinct:>11,} {statistics.median(lengths):>13.0f} "
        f"{statistics.mean(lengths):>6.1f} {max(lengths):>5,}"
    )


def _imbalance(negatives: int, positives: int) -> str:
    if not negatives or not positives:
        return ", without no_relation: only relation_only can be trained" if not negatives else ""
    return f"; no_relation to relations {negatives / positives:.2f} : 1"


def _oddities(corpus: Corpus) -> list[str]:
    """Things that are allowed yet worth knowing: overlapping spans, very long sentences, blank words."""
    examples = [example for split in SPLITS for example in corpus.split(split)]
    overlaps = sum(e.subj_start <= e.obj_end and e.obj_start <= e.subj_end for e in examples)
    long = sum(len(example.token) > LONG for example in examples)
    blank = sum(any(not word.strip() for word in example.token) for example in examples)
    found = (
        (overlaps, "records whose subject and object overlap"),
        (long, f"sentences over {LONG} words"),
        (blank, "records with blank words"),
    )
    return [f"{count:,} {what}" for count, what in found if count]

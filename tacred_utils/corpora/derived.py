"""Corpora made of a corpus: with TACREV's or Re-TACRED's labels, with its negative label named, or smaller."""

import random
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from shlex import quote

import msgspec

from tacred_utils.corpora.example import Corpus, Example
from tacred_utils.ground.errors import UserError
from tacred_utils.ground.files import UNDECODABLE, doubled_key, nfc, read_data
from tacred_utils.ground.labels import (
    NO_RELATION,
    SPLITS,
    TACRED_SPLIT_SIZES,
    as_negative,
    is_name,
    likely_negative,
    undirected,
)


def relabelled(corpus: Corpus, labels: str, data: Path) -> Corpus:
    """The corpus with a revision's labels: TACREV changes rows of dev and test, Re-TACRED drops those it does not list.

    Raises `UserError` for a missing patch and for one that does not fit.
    """
    if labels == "tacrev":
        files = {split: data / "tacrev" / "patch" / f"{split}_patch.json" for split in ("dev", "test")}
    else:
        files = {split: data / "retacred" / f"{split}_id2label.json" for split in SPLITS}
    parts, notes = {}, []
    for split, path in files.items():
        if not path.exists():
            raise UserError(
                f"{path}: is missing; get it with: python -m tacred_utils data get {labels}, or name its parent with "
                "--data-dir."
            )
        examples = corpus.split(split)
        patch = read_patch(path, {example.id for example in examples} if corpus.name == "tacred" else None)
        if not any(example.id in patch for example in examples):
            raise UserError(
                f"{path}: names no id of {corpus.name}'s {split} split; --labels {labels} is for TACRED only."
            )
        kept = [example for example in examples if labels == "tacrev" or example.id in patch]
        parts[split] = [msgspec.structs.replace(e, relation=patch.get(e.id, e.relation)) for e in kept]
        changed = sum(new.relation != old.relation for new, old in zip(parts[split], kept, strict=True))
        dropped = len(examples) - len(kept)
        notes.append(
            f"{labels} changes {changed:,} of {len(examples):,} labels of {split}"
            + (f" and drops {dropped:,} rows" if dropped else "")
        )
    return replace(corpus, name=f"{corpus.name}-{labels}", **parts).noting(*notes)


def with_negative(corpus: Corpus, name: str | None) -> Corpus:
    """The corpus with what it calls `name` as `no_relation`; without a name, a label that looks like it is noted.

    Raises `UserError` if no label is called so.
    """
    if name is None:
        likely = None if NO_RELATION in corpus.labels else likely_negative(corpus.labels)
        told = f"no label is called {NO_RELATION}, and {likely} looks like it: give --negative {quote(likely)}"
        return corpus.noting(told) if likely else corpus
    name = nfc(name)
    if undirected(name) not in map(undirected, corpus.labels):
        raise UserError(
            f"--negative {name}: {corpus.name} has no such label, only {', '.join(corpus.labels[:9])}; name one."
        )
    return corpus.changed(lambda row: msgspec.structs.replace(row, relation=as_negative(row.relation, name)))


class _Change(msgspec.Struct):
    id: str
    relation: str


def read_patch(path: Path, ids: Collection[str] | None = None) -> dict[str, str]:
    """A revision's labels by id, from TACREV's list of {id, relation} or Re-TACRED's object {id: label}.

    TACREV lists changed rows only; Re-TACRED lists every row that it keeps, and a row missing there is
    dropped from the split. With `ids`, those of the split to be relabelled, a patch that names any other id
    raises `UserError`; so does a file of another form, or an id with two labels.
    """
    data = read_data(path)
    try:
        content = msgspec.json.decode(data, type=list[_Change] | dict[str, str])
    except UNDECODABLE as error:
        raise UserError(f"{path}: not a label revision ({error}); fetch TACREV's or Re-TACRED's file again.") from error
    pairs = [*content.items()] if isinstance(content, dict) else [(row.id, row.relation) for row in content]
    patch = dict(pairs)
    if len(patch) < len(pairs) or isinstance(content, dict) and doubled_key(data):
        raise UserError(f"{path}: an id occurs twice among {len(pairs):,} records; fetch the published file again.")
    odd = next((name for name, label in patch.items() if not is_name(label)), None)
    if odd is not None:
        raise UserError(
            f"{path}: id {odd}: {patch[odd]!r} is no plain name of a label; fetch the published file again."
        )
    if ids is not None and (foreign := patch.keys() - set(ids)):
        raise UserError(
            f"{path}: {len(foreign):,} of {len(patch):,} ids, such as {min(foreign)}, are not in this split; "
            "give the patch of the same split."
        )
    return patch


def subset(corpus: Corpus, scales: Mapping[str, float]) -> Corpus:
    """Cut every split to `scales` of TACRED's size, keeping file order, the label mix and at least one row a label."""
    parts = {}
    for split in SPLITS:
        examples, rows = corpus.split(split), round(scales[split] * TACRED_SPLIT_SIZES[split])
        parts[split] = stratified(examples, rows) if scales[split] < 1 and rows < len(examples) else examples
    if all(len(parts[split]) == len(corpus.split(split)) for split in SPLITS):
        return corpus
    sizes = " / ".join(f"{len(part):,}" for part in parts.values())
    whole = " / ".join(f"{len(corpus.split(split)):,}" for split in SPLITS)
    stated = f"stratified subset of {sizes} rows"
    return replace(corpus, subset=stated, left_out={}, **parts).noting(f"the whole corpus has {whole} rows")


def stratified(examples: list[Example], rows: int) -> list[Example]:
    """About `rows` Examples in file order, each label in proportion but at least once; the same ones every time."""
    by_label: dict[str, list[int]] = defaultdict(list)
    for index, example in enumerate(examples):
        by_label[example.relation].append(index)
    chosen: list[int] = []
    for label in sorted(by_label):
        members = by_label[label]
        share = max(1, round(rows * len(members) / len(examples)))
        chosen += random.Random(f"stratified {label}").sample(members, share)
    return [examples[index] for index in sorted(chosen)]

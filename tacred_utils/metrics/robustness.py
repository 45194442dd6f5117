"""What a model leans on, and which labels are doubted: names exchanged, and answers that systems agree on."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import pandas as pd
from msgspec.structs import replace

from tacred_utils.corpora.example import Example

Names = dict[tuple[str, int], list[tuple[str, ...]]]  # (type, number of words) → names, by name


def names(rows: Sequence[Example], without: Sequence[Example] = ()) -> Names:
    """Names in rows by type and number of words, but for those that `without` has, compared in lower case."""
    known = {_lower(name) for row in without for _, name in _mentions(row)}
    found = defaultdict(set)
    for row in rows:
        for kind, name in _mentions(row):
            if _lower(name) not in known:
                found[kind, len(name)].add(name)
    return {key: sorted(group) for key, group in found.items()}


def renamed(rows: Sequence[Example], given: Names, seed: int) -> tuple[list[Example], np.ndarray]:
    """The rows with subject and object under other names of their types, drawn at random, and which (bool) these are.

    A new name has as many words as the old one, so that tags, heads and spans stay what they are. A row stays as it is
    when either entity has no other name to take, or when the two overlap.
    """
    rng = np.random.default_rng(seed)
    changed = [_under_others(row, given, rng) for row in rows]
    return [new or row for new, row in zip(changed, rows, strict=True)], np.array([new is not None for new in changed])


def _under_others(row: Example, given: Names, rng: np.random.Generator) -> Example | None:
    token, spans = list(row.token), [row.subject, row.object]
    if spans[0][0] <= spans[1][1] and spans[1][0] <= spans[0][1]:
        return None
    old = {_lower(name) for _, name in _mentions(row)}
    for (start, end), (kind, name) in zip(spans, _mentions(row), strict=True):
        others = [other for other in given.get((kind, len(name)), []) if _lower(other) not in old]
        if not others:
            return None
        token[start : end + 1] = others[rng.integers(len(others))]
    return replace(row, token=token)


def _mentions(row: Example) -> list[tuple[str, tuple[str, ...]]]:
    """Type and name of subject and object."""
    return [*zip((row.subj_type, row.obj_type), map(tuple, row.mentions), strict=True)]


def _lower(name: Sequence[str]) -> str:
    return " ".join(name).lower()


def agreed_against(answers: pd.DataFrame, gold: Sequence[str]) -> pd.DataFrame:
    """For each row the answer other than its label that most of the systems (columns) give, and how many give it.

    Columns answer and systems; where all agree with the label there is no answer, and 0 systems give it.
    """
    others = answers.where(answers.ne(pd.Series(list(gold), index=answers.index), axis=0))
    counts = others.stack().groupby(level=0).value_counts()
    top = counts.groupby(level=0).head(1).reset_index(level=1)
    top.columns = ["answer", "systems"]
    return top.reindex(answers.index).fillna({"systems": 0}).astype({"systems": int})

"""The paper's recipes beside the authors' code and ours, setting by setting, with the reason wherever ours differs.

What the paper and its code say is data (paper/data/recipes.csv), as values that a setting takes; ours are read from the
profile. The paper does not state everything, and where it does, its code sometimes does otherwise.
"""

from functools import cache

import msgspec
import pandas as pd

from tacred_utils.ground.files import PACKAGE
from tacred_utils.runs.profile import Profile, parse_overrides

PAPERS_VARIANT = {"svm": "paper"}  # of the others it is the family without a variant
COLUMNS = {"what": "setting", "paper": "paper", "code": "authors' code", "ours": "ours", "reason": "why ours differs"}


def recipe(family: str, profile: Profile) -> pd.DataFrame:
    """A family's recipe: columns of `COLUMNS`; the reason is empty where ours is the paper's, or its code's where the
    paper says nothing. `profile` is that of the corpus (`Profile.for_corpus`).
    """
    settings = msgspec.to_builtins(profile.settings(family, PAPERS_VARIANT.get(family)))
    rows = []
    for row in _rows().query("family == @family").to_dict("records"):
        stated = row["paper"] or row["code"]
        if row["setting"]:
            ours = settings[row["setting"]]
            same = bool(stated) and parse_overrides([f"value={stated}"])["value"] == ours
            told = {
                source: _shown(parse_overrides([f"value={row[source]}"])["value"]) if row[source] else ""
                for source in ("paper", "code")
            }
            row |= told | {"ours": _shown(ours), "reason": "" if same else row["reason"]}
        rows.append({shown: row[column] for column, shown in COLUMNS.items()})
    return pd.DataFrame(rows)


@cache
def _rows() -> pd.DataFrame:
    return pd.read_csv(PACKAGE / "paper" / "data" / "recipes.csv", dtype=str, keep_default_na=False)


def _shown(value: object) -> str:
    """A setting's value as a reader sees it: `yes`, `5e-05`, `words, pos`."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple, dict)):
        return ", ".join(value) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)

"""Label revisions of TACRED, by id: TACREV (Alt et al. 2020) and Re-TACRED (Stoica et al. 2021)."""

from collections.abc import Collection
from pathlib import Path

import msgspec

from tacred_utils.errors import UserError
from tacred_utils.predictions import read_bytes


class _Change(msgspec.Struct):
    id: str
    relation: str


def read_patch(path: Path, ids: Collection[str] | None = None) -> dict[str, str]:
    """A revision's labels by id, from TACREV's list of {id, relation} or Re-TACRED's object {id: label}.

    TACREV lists changed rows only; Re-TACRED lists every row that it keeps, and a row missing there is
    dropped from the split. With `ids`, those of the split to be relabelled, a patch that names any other id
    raises `UserError`; so does a file of another form, or an id with two labels.
    """
    path = Path(path)
    data = read_bytes(path)
    try:
        content = msgspec.json.decode(data, type=list[_Change] | dict[str, str])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path}: not a label revision ({error}); fetch TACREV's or Re-TACRED's file again."
        ) from error
    pairs = (
        list(content.items()) if isinstance(content, dict) else [(row.id, row.relation) for row in content]
    )
    patch = dict(pairs)
    if len(patch) < len(pairs):
        raise UserError(
            f"{path}: an id occurs twice among {len(pairs):,} records; fetch the published file again."
        )
    if ids is not None and (foreign := patch.keys() - set(ids)):
        raise UserError(
            f"{path}: {len(foreign):,} of {len(patch):,} ids, such as {min(foreign)}, are not in this split; "
            "give the patch of the same split."
        )
    return patch

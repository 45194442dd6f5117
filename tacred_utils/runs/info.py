"""What run.json says of a run: the one view of it that scoring, predicting and the catalogue share."""

import json
from pathlib import Path
from typing import Literal

import msgspec

from tacred_utils.ground.errors import UserError
from tacred_utils.ground.files import read_bytes
from tacred_utils.ground.labels import TASKS
from tacred_utils.models.settings import FAMILIES


class CorpusInfo(msgspec.Struct):
    """The corpus that a run was trained on."""

    name: str
    synthetic: bool
    gated: bool
    subset: str
    rows: dict[str, int]
    columns: list[str]
    sha256: dict[str, str]
    types: dict[str, list[str]] = {}  # that training had, by role; the oldest published runs do not say
    annotator: str = ""  # older runs have no predicted columns

    @property
    def typed(self) -> bool:
        return "types" in self.columns

    @property
    def named(self) -> bool:
        """Whether brackets and quotes have names, as Stanford's tools give them."""
        return "stanford_pos" in self.columns and not self.annotator


class RunInfo(msgspec.Struct):
    """What the run.json of any finished run holds; what else it holds stays in `Run.info`."""

    status: str
    family: str
    variant: str | None
    task: Literal[TASKS]
    seed: int
    profile: str
    version: int
    settings: dict[str, object]
    classes: list[str]
    corpus: CorpusInfo


def read_info(folder: Path) -> RunInfo:
    """The run.json of a finished run. Raises `UserError` when it is missing, damaged, or of a run that is not finished."""
    path = folder / "run.json"
    info = read_json(path, RunInfo)
    if info.family not in FAMILIES:
        raise UserError(f"{path}: family {info.family!r} is unknown here; known are {', '.join(FAMILIES)}.")
    if info.status != "done":
        raise UserError(f"{path}: the run is not finished (status {info.status!r}); train it to its end.")
    return info


def read_json(path: Path, kind: type) -> object:
    """The content of a JSON file as `kind`. Raises `UserError` when it is missing, damaged, or of another form."""
    try:
        return msgspec.convert(json.loads(read_bytes(path)), kind)
    except (ValueError, RecursionError) as error:  # msgspec's are ValueErrors too
        raise UserError(f"{path}: is damaged ({error}); delete the folder and train the run again.") from None

"""Where tests find the open data, and small helpers that many of them share."""

import os
from pathlib import Path

import pytest

from tacred_utils.paths import DATA, ROOT


def _has_data(folder: Path) -> bool:
    return (folder / "kbp37").is_dir() and (folder / "conll04").is_dir()


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of open data: $TACRED_STUDY_DATA, data/ or a shared folder beside the checkout; else the test skips."""
    candidates = [DATA, ROOT.parent / "shared" / "data"]
    if "TACRED_STUDY_DATA" in os.environ:
        candidates.insert(0, Path(os.environ["TACRED_STUDY_DATA"]))
    for folder in candidates:
        if _has_data(folder):
            return folder
    pytest.skip("the open data is not here: python -m tacred_utils data get kbp37 (conll04, tacrev, …)")

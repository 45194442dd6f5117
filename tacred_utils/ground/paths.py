"""Where things lie."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGE = Path(__file__).resolve().parent.parent
NOTEBOOKS = ROOT / "notebooks"
DATA = ROOT / "data"
RESULTS = ROOT / "results"
FIGURES = ROOT / "figures"
PUBLISHED_RUNS = DATA / "runs"


def portable(path: Path) -> str:
    """A path as notebooks, stamps and messages write it: relative to the study's root where it lies below it."""
    return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else str(path)

"""Where things lie. Needs the standard library alone: options are read before anything is installed."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGE = ROOT / "tacred_utils"
NOTEBOOKS = ROOT / "notebooks"
DATA = ROOT / "data"
RESULTS = ROOT / "results"
FIGURES = ROOT / "figures"
PUBLISHED_RUNS = DATA / "runs"

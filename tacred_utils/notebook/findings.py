"""The study's voice: a finding is one natural sentence, its numbers, and the test that makes it true.

On the study's own runs every finding holds (a test executes the notebooks). With other data, seeds or settings the same
sentence is shown with the numbers of that run, and with what became of it; nothing stops.
"""

import math
from dataclasses import asdict, dataclass

from IPython.display import Markdown, display

from tacred_utils.metrics.estimates import Estimate

MARKS = {True: "✓", False: "✗ **Not here:**", None: "○ **Not told here**, since a run is missing:"}
LEGEND = "✓ holds on these runs, ✗ does not"


@dataclass(frozen=True)
class Finding:
    """A sentence with its numbers; `holds` is None where a number that it needs is missing."""

    text: str
    holds: bool | None
    lead: bool = False  # whether it belongs to the answer at the top of its page

    @property
    def markdown(self) -> str:
        """The sentence behind the mark of what became of it; what looks like a tag stays text."""
        return f"{MARKS[self.holds]} {self.text}".replace("<", "&lt;")

    @property
    def metadata(self) -> dict[str, object]:
        """What an executed notebook keeps of it beside the text: reports and tests read it there."""
        return {"finding": asdict(self)}


def finding(text: str, holds: bool, lead: bool = False, **numbers: object) -> Finding:
    """Fill `{name}`, `{name:.0%}`, … in a sentence; a format applies to every number of a value.

    Whole numbers get commas, others three decimals; an Estimate is written with its interval, `0.031 [0.012, 0.050]`; a
    list becomes `a, b and c`. A number that is NaN is written `…` and makes the finding one that cannot be told.
    """
    shown = {name: _Shown(value) for name, value in numbers.items()}
    missing = any(value.missing for value in shown.values())
    return Finding(text.format(**shown), None if missing else bool(holds), lead)


def leads(notebook: dict) -> list[Finding]:
    """The answer at the top of an executed notebook, as its outputs keep it."""
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
    kept = [Finding(**output["metadata"]["finding"]) for output in outputs if "finding" in output.get("metadata", {})]
    return [found for found in kept if found.lead]


class _Shown:
    """A value as prose writes it: of an estimate value, low and high, else the items of a collection or a single value."""

    def __init__(self, value: object) -> None:
        self.interval = isinstance(value, Estimate)
        items = (value.value, value.low, value.high) if self.interval else value
        items = [items] if isinstance(items, str) or not hasattr(items, "__iter__") else items
        self.parts = [item.item() if hasattr(item, "item") else item for item in items]
        self.missing = any(isinstance(part, float) and math.isnan(part) for part in self.parts)

    def __format__(self, spec: str) -> str:
        texts = [_in_prose(part, spec) for part in self.parts]
        if self.interval:  # it is as exact as the value
            return texts[0] if self.missing else f"{texts[0]} [{texts[1]}, {texts[2]}]"
        return " and ".join(filter(None, [", ".join(texts[:-1]), texts[-1]])) if texts else "none"


def _in_prose(part: object, spec: str) -> str:
    if isinstance(part, float) and math.isnan(part):
        return "…"
    usual = "," if isinstance(part, int) else ".3f" if isinstance(part, float) else ""
    text = format(part, spec + usual if spec in ("", "+") else spec)
    return text.replace("-", "−") if isinstance(part, (int, float)) else text


class Lead:
    """The answer at the top of a page: places that are kept below the set-up and filled from the cells further down."""

    def __init__(self) -> None:
        self.findings: dict[str, Finding] = {}  # by the sentence without its numbers: a cell may run again
        self.text, self.figure = (display(Markdown(""), display_id=True) for _ in range(2))

    def add(self, template: str, found: Finding) -> None:
        """Put a finding below those that are there, in the place of an older one of the same sentence."""
        self.findings[template] = found
        if self.text is not None:
            sentences = "\n\n".join(f"> {each.markdown}" for each in self.findings.values())
            self.text.update(Markdown(sentences))

    def show(self, image: object) -> None:
        """Show the page's one figure."""
        if self.figure is not None:
            self.figure.update(image)

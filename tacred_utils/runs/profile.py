"""What a run is given: its profile and the settings of its family, read from TOML and checked, and its corpus.

No model is imported here, so that a run's identity and the plan of missing runs need no torch.
"""

import difflib
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import reduce
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from tacred_utils.corpora.example import Corpus
from tacred_utils.corpora.reader import assemble
from tacred_utils.corpora.registry import SAMPLE, data_folder, read_corpus, relabelled, subset, with_negative
from tacred_utils.ground.errors import UserError
from tacred_utils.ground.labels import LABEL_SETS, SPLITS
from tacred_utils.ground.paths import PACKAGE
from tacred_utils.models.settings import FAMILIES
from tacred_utils.sample.generator import generate

PROFILES = PACKAGE / "runs" / "profiles"
LARGEST = 2**32  # of any setting; infinity and what is no number lie beyond


class Scales(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Size of each split as a share of TACRED's; 1 takes everything of a corpus other than `sample`."""

    train: Annotated[float, Meta(gt=0, le=1)]
    dev: Annotated[float, Meta(gt=0, le=1)]
    test: Annotated[float, Meta(gt=0, le=1)]


class Profile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One way to run the study: corpus, size, seeds, and the hyper-parameters of each family."""

    name: str
    corpus: str
    seeds: Annotated[list[Annotated[int, Meta(ge=0, lt=2**32)]], Meta(min_length=1)]
    scales: Scales
    further_corpora: list[str]  # what `plan` covers beside `corpus`: headline rows only, joint only
    ablations: bool  # whether parts are taken away one by one: not on a text that decides nothing
    ablation_task: Literal[
        "joint", "relation_only"
    ]  # what transformers are taken apart on: few rows where time is short
    on: dict[str, dict[str, object]]  # corpus → tables of what it needs otherwise: other sizes need other budgets
    svm: dict[str, object]
    bilstm: dict[str, object]
    bert: dict[str, object]
    gpt2: dict[str, object]

    def for_corpus(self, name: str) -> "Profile":
        """The profile with what it says of this corpus laid over it."""
        table = msgspec.structs.asdict(self) | {"on": {}}
        return checked(_over(table, self.on.get(name, {})), Profile, f"profile {self.name} on {name}")

    def settings(
        self, family: str, variant: str | None = None, overrides: Mapping[str, object] | None = None
    ) -> msgspec.Struct:
        """The checked settings of a family: the profile's, then the variant's, then the overrides.

        Raises `UserError` that names an unknown family, variant or key, or a value out of range.
        """
        table = dict(getattr(self, known_family(family)))
        variants = table.pop("variants", {})
        found: dict[str, dict[str, object]] = {}  # the variant, the one that it names as its base, and so on
        while variant is not None:
            if variant not in variants or variant in found:
                what = "goes in a circle of bases" if variant in found else "unknown"
                known = ", ".join(variants) or "none"
                raise UserError(f"--variant {variant}: {what} for {family} in profile {self.name}; it has: {known}.")
            found[variant] = dict(variants[variant])
            variant = found[variant].pop("base", None)
        for own in reversed(found.values()):
            table |= own
        return checked(table | (overrides or {}), FAMILIES[family], f"{family} in profile {self.name}")


def known_family(family: str) -> str:
    """The name itself; raises `UserError` for one that is no model family."""
    if family not in FAMILIES:
        raise UserError(f"--family {family}: unknown; choose one of {', '.join(FAMILIES)}.")
    return family


def profile_names() -> list[str]:
    """The profiles there are, the base that they share left out."""
    return sorted(path.stem for path in PROFILES.glob("*.toml") if path.stem != "base")


def load_profile(name: str) -> Profile:
    """Read a profile over its chain of bases; raises `UserError` for unknown names, keys and values out of range."""
    if name not in profile_names():
        raise UserError(f"--profile {name}: unknown; choose one of {', '.join(profile_names())}.")
    profile = checked(_merged(name) | {"name": name}, Profile, f"profile {name}")
    for each in (profile, *map(profile.for_corpus, profile.on)):
        for family in FAMILIES:
            for variant in (None, *getattr(each, family).get("variants", {})):
                each.settings(family, variant)
    return profile


def checked_seeds(seeds: Sequence[int] | int) -> list[int]:
    """The seeds as a list, a single one too; raises `UserError` for one that cannot be and for one given twice."""
    for seed in (seeds := [seeds] if isinstance(seeds, int | str) else seeds):
        if not isinstance(seed, int) or not 0 <= seed < 2**32:
            raise UserError(f"seed {seed!r}: must be a whole number from 0 to {2**32 - 1}, as in seeds = [13].")
    if len(set(seeds)) < len(seeds):
        raise UserError(f"seeds {', '.join(map(str, seeds))}: one is given twice; each run needs its own.")
    return list(seeds)


def parse_overrides(assignments: Sequence[str]) -> dict[str, object]:
    """`["c=0.1", "kernel=rbf"]` as a dict; values are TOML or JSON (as `plan` prints them), anything else is a string."""
    overrides = {}
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not equals or not key.strip():
            raise UserError(f"--set {assignment}: is not of the form key=value.")
        try:
            overrides[key.strip()] = _value(value)
        except RecursionError:
            raise UserError(f"--set {key}: its value is nested too deeply; give a plain one.") from None
    return overrides


def _value(text: str) -> object:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        pass
    try:
        found = msgspec.json.decode(text)
        return found if isinstance(found, dict) else text  # TOML reads all else that JSON can say
    except msgspec.DecodeError:
        return text


def checked(table: Mapping[str, object], kind: type, place: str) -> msgspec.Struct:
    """Convert a TOML table to its type; raises `UserError` naming the place, the key and the remedy."""
    fields = [field.name for field in msgspec.structs.fields(kind)]
    for key in table:
        if key not in fields:
            close = difflib.get_close_matches(key, fields, n=1)
            hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(fields)}."
            raise UserError(f"{place}: unknown setting {key!r}; {hint}")
        for name, number in _numbers(key, table[key]):
            if not abs(number) <= LARGEST:
                raise UserError(f"{place}: {name}: is no number up to {LARGEST:,}; mend the value.")
    try:
        return msgspec.convert(table, kind)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$.")
        key = where.rstrip("`") or "a setting"
        raise UserError(f"{place}: {key}: {what[0].lower() + what[1:].replace('`', '')}; mend the value.") from None


def _numbers(name: str, value: object) -> Iterator[tuple[str, float]]:
    """Every number in a TOML value, however deep, with its dotted name."""
    if isinstance(value, (int, float)):
        yield name, value
    elif isinstance(value, (dict, list)):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _numbers(f"{name}.{key}", part)


def _merged(name: str) -> dict[str, object]:
    """A profile's table over those of its base, and so on."""
    tables: dict[str, dict[str, object]] = {}
    base: str | None = name
    while base is not None:
        path = PROFILES / f"{base}.toml"
        if base in tables or not path.is_file():
            what = "goes in a circle" if base in tables else "is no profile"
            raise UserError(f"{PROFILES / name}.toml: base {base!r} {what}; name another.")
        try:
            tables[base] = tomllib.loads(path.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise UserError(f"{path}: is not valid TOML in UTF-8 ({error}); mend the line.") from None
        base = tables[base].pop("base", None)
    return reduce(_over, reversed(tables.values()))


def _over(below: dict[str, object], above: dict[str, object]) -> dict[str, object]:
    """`above` laid over `below`, table by table."""
    merged = dict(below)
    for key, value in above.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _over(merged[key], value) if both else value
    return merged


def load_corpus(
    name: str,
    data_dir: Path | str | None = None,
    labels: str = "tacred",
    scales: Mapping[str, float] | None = None,
    negative: str | None = None,
) -> Corpus:
    """Load a registered corpus, or any folder in TACRED's format, with one of the label sets.

    `scales` gives each split's size as a share of TACRED's: `sample` is generated at that size, any other corpus is
    cut to a stratified subset of it, which `Corpus.subset` states; None takes everything. `negative` is what the corpus
    calls `no_relation`, if another name. Raises `UserError` for an unknown name, missing or damaged files, a folder
    that is not what it is named, and patches that do not fit.
    """
    if labels not in LABEL_SETS:
        raise UserError(f"--labels {labels}: unknown label set; choose one of {', '.join(LABEL_SETS)}.")
    data, generated = data_folder(data_dir), name == SAMPLE
    if generated:
        corpus = assemble(SAMPLE, generate(scales or dict.fromkeys(SPLITS, 1.0)), SAMPLE)
    else:
        corpus = read_corpus(name, data)
    if labels != "tacred":
        corpus = relabelled(corpus, labels, data)
    corpus = replace(with_negative(corpus, negative), data=data)
    return subset(corpus, scales) if scales and not generated else corpus

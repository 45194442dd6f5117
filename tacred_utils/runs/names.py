"""What systems are called (names.toml): by the model that they are and by the recipe that they are trained with."""

import tomllib
from collections.abc import Mapping
from pathlib import Path

import msgspec

from tacred_utils.ground.paths import PACKAGE
from tacred_utils.models.settings import BilstmSettings, TransformerSettings

NAMES = tomllib.loads((PACKAGE / "runs" / "names.toml").read_text(encoding="utf-8"))
SAID = {"model", "layers", "own", "marks", "words", "tune_words", "glove"}  # settings that a name tells in words
BUDGET = {"learning_rate", "head_factor", "batch_size", "epochs"}  # what another model is given with it


def system_name(
    family: str, variant: str | None, settings: msgspec.Struct, changed: Mapping[str, object], task: str | None = None
) -> str:
    """`MiniLM, typed marks`: model and recipe of a system, then what is `changed` in the profile's settings.

    `task` matters where the paper has a recipe for other tasks only. A model that is changed brings its own budget.
    """
    said = SAID | (BUDGET if "model" in changed else set())
    rest = [f"{key}={_text(value)}" for key, value in changed.items() if key not in said]
    return ", ".join(_model_and_recipe(family, variant, settings, task) + rest)


def _text(value: object) -> str:
    return "+".join(value) if isinstance(value, (list, tuple)) else str(value)


def _model_and_recipe(family: str, variant: str | None, settings: msgspec.Struct, task: str | None) -> list[str]:
    marks = NAMES["marks"]
    recipe = (NAMES["recipes"][family] | (marks if family == "bert" else {})).get(variant or "", variant)
    if isinstance(settings, BilstmSettings):
        if settings.words == "random":
            return [recipe]
        return [recipe, NAMES["vectors"][settings.words]] + ["tuned"] * settings.tune_words
    if isinstance(settings, TransformerSettings):
        if settings.model.partition("@")[0] == "bert-base-uncased" and variant is None:
            recipe = "paper's recipe"
        if family == "gpt2" and variant is None and settings.marks in marks:
            recipe = f"paper's head, {marks[settings.marks]}"
        return [_model(settings)] + [f"{settings.layers} layers"] * bool(settings.layers) + [recipe]
    if variant == "paper" and task in (None, "joint"):
        return ["SVM", "paper's features"] + ["joint (not in the paper)"] * (task == "joint")
    return ["SVM", recipe]


def _model(settings: TransformerSettings) -> str:
    """`1.6 M decoder (own, offline stand-in)`, or the name of published weights."""
    if settings.model.startswith("own_"):
        kind = settings.model.removeprefix("own_")
        return f"{settings.own.parameters / 1e6:.2g} M {kind} (own, offline stand-in)"
    name = settings.model.partition("@")[0]
    return NAMES["models"].get(name, Path(name).name)

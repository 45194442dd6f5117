"""What systems are called: by the model that they are and by the recipe that they are trained with.

Only bert-base-uncased is BERT-base and only gpt2 is GPT-2; a model that the study pre-trains itself says so.
"""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from tacred_utils.models.settings import BilstmSettings, TransformerSettings

MODEL_NAMES = {
    "bert-base-uncased": "BERT-base", "gpt2": "GPT-2", "roberta-large": "RoBERTa-large",
    "minilm": "MiniLM", "sentence-transformers/all-MiniLM-L6-v2": "MiniLM",
    "mpnet-base": "MPNet-base", "sentence-transformers/all-mpnet-base-v2": "MPNet-base",
    "smollm2": "SmolLM2-135M (4-bit weights, dequantised)",
    "HuggingFaceTB/SmolLM2-135M": "SmolLM2-135M", "HuggingFaceTB/SmolLM2-135M-Instruct": "SmolLM2-135M",
}  # fmt: skip
VECTORS = {"random": [], "minilm": ["MiniLM's vectors"], "glove": ["GloVe vectors"]}
MARKS = {
    "mask": "types in place of names", "marker": "new marks", "marker_punct": "plain marks",
    "typed_marker_punct": "typed marks",
}  # fmt: skip
RECIPES = {
    "svm": {None: "our features", "paper": "paper's recipe"},
    "bilstm": {
        None: "BiLSTM, paper's recipe", "pa_lstm": "PA-LSTM", "pa_lstm_marks": "PA-LSTM with marks",
        "spans": "BiLSTM, spans",
    },
    "bert": {None: "paper's head", "spans": "spans", "heads": "five heads", "controlled": "equal terms"} | MARKS,
    "gpt2": {None: "paper's recipe", "spans": "spans", "controlled": "equal terms"},
}  # fmt: skip
SAID = {"model", "layers", "own", "marks", "words", "tune_words", "glove"}  # settings that a name tells in words
BUDGET = {"learning_rate", "head_factor", "batch_size", "epochs"}  # what another model is given with it


def system_name(
    family: str, variant: str | None, settings: msgspec.Struct, changed: Mapping[str, object], task: str | None = None
) -> str:
    """`MiniLM, typed marks`: model and recipe of a system, then what is `changed` in the profile's settings.

    `task` matters where the paper has a recipe for other tasks only. A model that is changed brings its own budget.
    """
    recipe = RECIPES[family].get(variant, variant)
    if isinstance(settings, BilstmSettings):
        parts = [
            recipe,
            *VECTORS[settings.words],
            *(["tuned"] if settings.words != "random" and settings.tune_words else []),
        ]
    elif isinstance(settings, TransformerSettings):
        if MODEL_NAMES.get(settings.model) == "BERT-base" and variant is None:
            recipe = "paper's recipe"
        if family == "gpt2" and variant is None and settings.marks in MARKS:
            recipe = f"paper's head, {MARKS[settings.marks]}"
        parts = [_model(settings), *([f"{settings.layers} layers"] if settings.layers else []), recipe]
    else:
        recipe = "paper's features" if variant == "paper" and task in (None, "joint") else recipe
        parts = ["SVM", recipe, *(["joint (not in the paper)"] if (variant, task) == ("paper", "joint") else [])]
    said = SAID | (BUDGET if "model" in changed else set())
    return ", ".join([*parts, *(f"{key}={_text(value)}" for key, value in changed.items() if key not in said)])


def _text(value: object) -> str:
    return "+".join(value) if isinstance(value, (list, tuple)) else str(value)


def _model(settings: TransformerSettings) -> str:
    """`1.6 M decoder (own, offline stand-in)`, or the name of published weights."""
    kind = {"own_encoder": "encoder", "own_decoder": "decoder"}.get(settings.model)
    if kind:
        return f"{settings.own.parameters / 1e6:.2g} M {kind} (own, offline stand-in)"
    name = settings.model.partition("@")[0]
    return MODEL_NAMES.get(name, Path(name).name)

"""Profiles and the settings of every model family: read from TOML, checked, with only differences stated.

No model is imported here, so that a run's identity and the plan of missing runs need no torch.
"""

import difflib
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from tacred_utils.errors import UserError
from tacred_utils.paths import PACKAGE

PROFILES = PACKAGE / "profiles"
LARGEST = 2**32  # of any setting; infinity and what is no number lie beyond

Channel = Literal["entities", "mean", "max", "between", "attention"]  # what one of several heads reads
Defect = Literal[
    "batch_as_time",  # D1: the extra layer attends from example to example, padding included
    "word_positions",  # D2: positions of words are used as positions of word pieces
    "cut_at_64",  # D3: cut at 64 pieces; entities beyond are read at the last one
    "pool_padding",  # the last column is pooled, which is padding for all but the longest sentence of a batch
    "left_padding",  # padded on the left, positions counted from the padding on
    "glued_words",  # words joined without the blank that a byte-pair vocabulary needs
]


class Scales(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Size of each split as a share of TACRED's; 1 takes everything of a corpus other than `sample`."""

    train: Annotated[float, Meta(gt=0, le=1)]
    dev: Annotated[float, Meta(gt=0, le=1)]
    test: Annotated[float, Meta(gt=0, le=1)]


class SvmSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Support vector machine on sparse features (models/svm.py)."""

    groups: dict[str, list[str]]  # group → its blocks of features.BLOCKS; blocks whose columns are missing drop out
    weights: dict[str, Annotated[float, Meta(gt=0)]]  # length of a group's part of a row; 1 where it is not named
    min_count: Annotated[int, Meta(ge=1)]  # training rows that a feature must occur in
    tfidf: bool  # counts × idf (the paper) instead of presence
    mirror: bool  # where labels carry direction: train on every pair read the other way round as well
    kernel: Literal["linear", "rbf"]
    c: Annotated[float, Meta(gt=0)]  # inverse regularisation
    balance: Annotated[float, Meta(ge=0, le=1)]  # class weight (rows / classes / own rows) ** balance; 1 = "balanced"
    smote: bool  # detection: fill up the smaller class with synthetic rows
    max_rows: Annotated[int, Meta(ge=0)]  # train on a stratified random subset of this size; 0 takes all rows


class TrainingSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the models that are trained by gradient share (training.py)."""

    epochs: Annotated[int, Meta(ge=1)]  # at the most
    min_steps: Annotated[int, Meta(ge=0)] = 0  # where so few rows are trained on that these are fewer: more epochs
    batch_size: Annotated[int, Meta(ge=1)]
    whole_texts: bool = False  # where rows share what is read: a batch is so many sentences with all their rows
    accumulate: Annotated[int, Meta(ge=1)] = 1  # batches a step
    precision: Literal["float32", "auto"] = "float32"  # auto: bfloat16 products where processor or GPU has them
    optimizer: Literal["adamw", "sgd"]
    learning_rate: Annotated[float, Meta(gt=0)]
    weight_decay: Annotated[float, Meta(ge=0)]
    max_grad_norm: Annotated[float, Meta(ge=0)]  # 0 clips nothing
    schedule: Literal["constant", "step", "linear", "plateau_loss", "plateau_score"]  # how the rate falls
    warmup: Annotated[float, Meta(ge=0, lt=1)] = 0.0  # share of all steps in which the rate of step or linear rises
    step_factor: Annotated[float, Meta(gt=0, le=1)] = 0.9  # step: the rate is multiplied by this
    step_every: Annotated[int, Meta(ge=1)] = 500  # … after every so many steps
    plateau_factor: Annotated[float, Meta(gt=0, lt=1)] = 0.5  # plateau: dev loss, or the score below, sets the rate
    plateau_patience: Annotated[int, Meta(ge=0)] = 2  # epochs without improvement that are let pass
    patience: Annotated[int, Meta(ge=0)]  # epochs without a better score before training stops; 0 never stops
    select: Literal["macro_f1", "micro_f1"]  # the dev score that picks the best epoch
    restore: Literal[
        "best", "last", "mean"
    ]  # the epoch whose weights are kept, or the mean over the later half of them
    shift: bool = False  # after training, move the logit of no_relation by what is best for the score above on dev
    max_ratio: Annotated[float, Meta(ge=0)]  # under-sample to so many no_relation rows a relation row; 0 keeps all
    redraw: bool = False  # draw the under-sampled no_relation rows anew for every epoch, so that all are seen in time
    upsample: Annotated[float, Meta(ge=0, le=1)] = 0.0  # repeat rows up to N^(1-u) · (largest relation's N)^u a class
    balance: Annotated[float, Meta(ge=0, le=1)]  # loss weight of a class: N^-balance, with mean 1 over the rows
    focal: Annotated[float, Meta(ge=0)] = 0.0  # a row's loss times (1 - p)^focal, p of its label (Lin et al. 2017)
    prior: Annotated[float, Meta(ge=0)] = (
        0.0  # training adds prior · log share of a class to its logit (Menon et al. 2021)
    )


class BilstmSettings(TrainingSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bidirectional LSTM, and the position-aware attention model (models/bilstm.py). A dimension of 0 drops an input."""

    words: Literal["random", "glove", "minilm"]  # where word vectors start
    glove: str  # the text file of GloVe vectors, where `words` says so
    tune_words: bool  # whether given vectors are trained further
    word_dim: Annotated[int, Meta(ge=1)]
    lower: bool
    min_count: Annotated[int, Meta(ge=1)]  # training occurrences a word needs to be known
    word_dropout: Annotated[float, Meta(ge=0, lt=1)]  # share of words that training reads as unknown
    max_tokens: Annotated[int, Meta(ge=2)]
    pos_dim: Annotated[int, Meta(ge=0)]
    ner_dim: Annotated[int, Meta(ge=0)]
    type_dim: Annotated[int, Meta(ge=0)]  # of each entity's type, beside the sentence vector
    mark_dim: Annotated[int, Meta(ge=0)] = 0  # at each word: role and type of the entity that it belongs to
    shape_dim: Annotated[int, Meta(ge=0)] = 0  # of the pattern of capitals, digits and signs in each word
    position_dim: Annotated[int, Meta(ge=0)]  # of each of the two distances
    positions: Literal["input", "attention", "both"]  # where distances are read
    distance: Literal["centre", "span"]  # to an entity's centre, or to its nearest word
    max_distance: Annotated[int, Meta(ge=1)]  # distances beyond are one
    mask_entities: bool  # read SUBJ-PERSON instead of the name, where the corpus has types
    hidden: Annotated[int, Meta(ge=1)]  # of each direction
    layers: Annotated[int, Meta(ge=1)]
    bidirectional: bool
    pooling: Literal["last", "attention"]  # last states, or position-aware attention over all
    attention_dim: Annotated[int, Meta(ge=1)]
    entity_states: bool  # join the mean state of each entity's words (distance 0) to the sentence vector
    entity_words: bool = False  # join the mean input of each entity's words, past the LSTM
    between_states: bool = False  # join the largest states from one entity to the other
    ordered: bool = False  # join them at one of two places, by which entity comes first
    head_dim: Annotated[int, Meta(ge=0)]  # hidden layer with batch norm; 0: linear
    dropout: Annotated[float, Meta(ge=0, lt=1)]


class OwnModel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A small transformer that the study pre-trains itself on the training sentences (models/pretrained.py)."""

    layers: Annotated[int, Meta(ge=1)]
    width: Annotated[int, Meta(ge=1)]
    heads: Annotated[int, Meta(ge=1)]
    pieces: Annotated[int, Meta(ge=300)]  # size of its own byte-pair vocabulary; 256 are the bytes
    steps: Annotated[int, Meta(ge=0)]  # batches of training sentences; 0 leaves the weights random
    learning_rate: Annotated[float, Meta(gt=0)]
    batch_size: Annotated[int, Meta(ge=1)]

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is no multiple of heads {self.heads}")


class TransformerSettings(TrainingSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A BERT- or GPT-2-like model with a classification head (models/transformer.py)."""

    model: Annotated[str, Meta(min_length=1)]  # minilm, own_encoder, own_decoder, a folder, or a hub's NAME[@REVISION]
    own: OwnModel  # what own_encoder and own_decoder are
    layers: Annotated[int, Meta(ge=0)] = 0  # of `model` that are kept, from the bottom; 0 keeps all
    marks: Literal["none", "mask", "marker", "marker_punct", "typed_marker_punct"]  # how a sentence shows its entities
    pooling: Literal["starts", "means", "first", "last", "mean", "spans", "heads"]  # what is read of the states
    channels: tuple[Channel, ...] = ("entities", "mean", "max", "between", "attention")  # of pooling = "heads"
    type_dim: Annotated[int, Meta(ge=0)] = 0  # of each entity's type, beside the states
    tags: bool = False  # add a vector of its word's named-entity tag to each piece, where the corpus has tags
    piece_dropout: Annotated[float, Meta(ge=0, lt=1)] = 0.0  # share of pieces that training reads as [MASK]
    compile: bool = False  # the layers, by torch.compile: needs a C++ compiler, takes half a minute at the start
    frozen: bool = False  # `model` as it came, its states kept in memory; trained is what is on top, no piece is hidden
    extra_layer: bool  # one more transformer encoder layer on top
    head_dim: Annotated[int, Meta(ge=0)]  # hidden layer with ReLU; 0: linear
    dropout: Annotated[float, Meta(ge=0, lt=1)]  # of the extra layer and of the head
    max_pieces: Annotated[int, Meta(ge=16)]  # word pieces; beyond, a window keeps both entities
    defects: list[
        Defect
    ] = []  # mistakes of the published code, or plausible ones, switched back on (models/defects.py)


FAMILIES: dict[str, type[msgspec.Struct]] = {
    "svm": SvmSettings, "bilstm": BilstmSettings, "bert": TransformerSettings, "gpt2": TransformerSettings,
}  # fmt: skip
VERSIONS = {
    "svm": 1,
    "bilstm": 1,
    "bert": 1,
    "gpt2": 1,
}  # raised when a family's predictions change though its settings do not


class Profile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One way to run the study: corpus, size, seeds, and the hyper-parameters of each family."""

    name: str
    corpus: str
    seeds: Annotated[list[Annotated[int, Meta(ge=0, lt=2**32)]], Meta(min_length=1)]
    scales: Scales
    further_corpora: list[str]  # what `plan` covers beside `corpus`: headline rows only, joint only
    ablation_task: Literal[
        "joint", "relation_only"
    ]  # what transformers are taken apart on: few rows where time is short
    sketch: dict[str, object]  # settings of experiments marked so, which are many: cheap ones where time is short
    svm: dict[str, object]
    bilstm: dict[str, object]
    bert: dict[str, object]
    gpt2: dict[str, object]

    def settings(
        self, family: str, variant: str | None = None, overrides: Mapping[str, object] | None = None
    ) -> msgspec.Struct:
        """The checked settings of a family: the profile's, then the variant's, then the overrides.

        Raises `UserError` that names an unknown family, variant or key, or a value out of range.
        """
        table = dict(getattr(self, known_family(family)))
        variants = table.pop("variants", {})
        if variant is not None and variant not in variants:
            choices = ", ".join(variants) or "none"
            raise UserError(f"--variant {variant}: unknown for {family}; it has: {choices}.")
        table |= self._with_bases(family, variants, variant) | (overrides or {})
        return checked(table, FAMILIES[family], f"{family} in profile {self.name}")

    def _with_bases(
        self, family: str, variants: Mapping[str, Mapping[str, object]], name: str | None, above: tuple[str, ...] = ()
    ) -> dict[str, object]:
        """A variant's settings over those of the variant that it names as its base, and so on."""
        own = dict(variants.get(name, {}))
        base = own.pop("base", None)
        if base is None:
            return own
        if base not in variants or base in (name, *above):
            raise UserError(
                f"{family} in profile {self.name}: variant {name}: base {base!r} is no variant, or goes in a circle; name another."
            )
        return self._with_bases(family, variants, base, (*above, name)) | own


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
    for family in FAMILIES:
        for variant in (None, *getattr(profile, family).get("variants", {})):
            profile.settings(family, variant)
    return profile


def checked_seeds(seeds: Sequence[int]) -> list[int]:
    """The seeds themselves; raises `UserError` for one out of range and for one given twice."""
    for seed in seeds:
        if not 0 <= seed < 2**32:
            raise UserError(f"seed {seed}: must be a whole number from 0 to {2**32 - 1}.")
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


def _merged(name: str, above: tuple[str, ...] = ()) -> dict[str, object]:
    path = PROFILES / f"{name}.toml"
    if name in above:
        raise UserError(
            f"{PROFILES / above[0]}.toml: its bases go in a circle ({' → '.join([*above, name])}); name another."
        )
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{PROFILES / above[-1]}.toml: base {name!r} is no profile; name another.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: is not valid TOML in UTF-8 ({error}); mend the line.") from None
    base = table.pop("base", None)
    return _over(_merged(str(base), (*above, name)), table) if base else table


def _over(below: dict[str, object], above: dict[str, object]) -> dict[str, object]:
    """`above` laid over `below`, table by table."""
    merged = dict(below)
    for key, value in above.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _over(merged[key], value) if both else value
    return merged

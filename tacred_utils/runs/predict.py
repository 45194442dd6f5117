"""One sentence of the user's own, answered by the model that a run kept; for the shell and for notebooks alike."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd

from tacred_utils.corpora.example import COLUMNS, UNTYPED, Corpus, Example
from tacred_utils.corpora.reader import problem
from tacred_utils.ground.errors import UserError
from tacred_utils.ground.labels import NO_RELATION
from tacred_utils.models.settings import FAMILIES
from tacred_utils.runs.store import Run, is_done, load_model

Place = str | tuple[int, int]  # an entity: its text, or its first and last word, counted from 0
_WORD = re.compile(
    r"""-[LR][RSC]B- | `` | '' | --+ | \.\.+  # named brackets and quotes, dashes, dots
    | '(?:s|re|ve|ll|d|m)\b                   # a clitic that is split off already
    | \w+://\S*[\w/] | \bUS\$ | \.\d+          # addresses, a currency, .22
    | (?<!\w) (?: (?:[^\W\d_]{1,2}\.){2,} | [^\W\d_]\.  # U.S., Ph.D., J.
      | (?:Mrs?|Ms|Dr|Prof|Sen|Rep|Gov|Gen|Lt|Col|Capt|Sgt|Rev|St|Jr|Sr|Inc|Corp|Co|Cos|Ltd|Bros|vs|etc
      |Jan|Feb|Mar|Apr|Aug|Sept|Sep|Oct|Nov|Dec)\. ) (?![\w-])
    | \w+ (?: (?: \.?- | [.'&/@] | (?<=\d)[,:](?=\d) ) \w+ )*  # with what stands inside: co-chair, O'Hara, 1,000
    | \S""",
    re.VERBOSE,
)
_CLITIC = re.compile(r"(?i)(?<=\w)(?=(?:n't|'(?:s|re|ve|ll|d|m))$)")
_TYPED = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"', "—": " -- ", "…": " ... "})
_NAMES = {"(": "-LRB-", ")": "-RRB-", "[": "-LSB-", "]": "-RSB-", "{": "-LCB-", "}": "-RCB-"}
LISTED = 40  # words or places that an error shows at the most


class _Trained(msgspec.Struct):
    """What run.json says of the corpus; `types` (known ones by role) came later and is not in older runs."""

    name: str
    synthetic: bool
    columns: list[str]
    types: dict[str, list[str]] = {}


class _Info(msgspec.Struct):
    family: str
    task: str
    status: str
    classes: list[str]
    corpus: _Trained


@dataclass(frozen=True)
class Answer:
    """A sentence with its two entities, all classes of the run by probability, and what the reader should know."""

    run: Run
    example: Example
    relations: pd.DataFrame  # columns label and p, the likeliest first
    notes: list[str]

    def report(self, top: int) -> dict[str, object]:
        """What --json prints: run, family, task, corpus, tokens, subject, object, `top` relations, notes."""
        info, token = self.run.info, self.example.token
        report = {"run": str(self.run.folder), "family": info["family"], "task": info["task"]}
        report |= {"corpus": info["corpus"]["name"], "tokens": token}
        for role, short in (("subject", "subj"), ("object", "obj")):
            start, end, kind = (getattr(self.example, f"{short}_{what}") for what in ("start", "end", "type"))
            report[role] = {"start": start, "end": end, "text": " ".join(token[start : end + 1]), "type": kind}
        return report | {"relations": self.relations.head(top).to_dict("records"), "notes": self.notes}


def predict(
    run: Run | Path, sentence: str, subject: Place, object: Place, subject_type: str | None = None,
    object_type: str | None = None, columns: Mapping[str, str] | None = None,
) -> Answer:  # fmt: skip
    """The relations of one entity pair by the run's model; `columns` has a value for each word, separated by blanks.

    Columns that the model can do without are left out with a note. Raises `UserError` for everything that is missing,
    unknown, ambiguous or damaged; what can be told without the model is told before it is loaded.
    """
    run = run if isinstance(run, Run) else Run(Path(run))
    info = _checked(run)
    token, spans = _read(sentence, {"subject": subject, "object": object}, "stanford_pos" in info.corpus.columns)
    kinds, notes = _types(info.corpus, {"subject": subject_type, "object": object_type})
    given = _columns(columns or {})
    example = Example("sentence", NO_RELATION, token, *spans["subject"], *spans["object"], *kinds.values(), **given)
    if wrong := problem(example):
        raise UserError(f"the sentence of {len(token)} words: {wrong}")
    model, place = load_model(run), run.folder / "model"
    if model.classes != info.classes:
        raise UserError(f"{place}: has other classes than run.json beside it; train the run again.")
    untold = [role for role, kind in (("subject", subject_type), ("object", object_type)) if kind is None]
    notes += _lacking(info.corpus, place, *(names - given.keys() for names in model.reads), untold)
    p = np.exp(model.log_probs([example])[0].astype(float))  # (classes,)
    if not np.isclose(p.sum(), 1, atol=1e-3):
        raise UserError(f"{place}: is damaged (its probabilities do not add up to 1); train the run again.")
    best = np.argsort(-p, kind="stable")
    relations = pd.DataFrame({"label": [info.classes[index] for index in best], "p": p[best].round(6)})
    return Answer(run, example, relations, [*_stamps(info), *notes])


def best_kept(runs: Iterable[Run]) -> Run | None:
    """The run with the best micro F1 on dev among those that kept their model; None if there is none."""
    kept = [run for run in runs if (run.folder / "model").is_dir()]
    return max(kept, key=lambda run: run.metrics["dev"].get("micro_f1", 0.0), default=None)


def pair_of_types(corpus: Corpus, *wanted: tuple[str, str]) -> tuple[str, str]:
    """The first of some pairs of entity types that the training split has, else its most frequent pair."""
    pairs = Counter((row.subj_type, row.obj_type) for row in corpus.train)
    return next((pair for pair in wanted if pair in pairs), pairs.most_common(1)[0][0])


def _checked(run: Run) -> _Info:
    """run.json's facts; raises `UserError` for a folder that is no run, and for a damaged or unfinished run."""
    place = run.folder / "run.json"
    if not place.is_file():
        raise UserError(f"--run {run.folder}: is no folder of a run (it has no run.json); `runs list` names them.")
    try:
        info = msgspec.convert(run.info, _Info)
    except msgspec.ValidationError as error:
        raise UserError(f"{place}: is damaged ({error}); train the run again.") from None
    if info.family not in FAMILIES:
        raise UserError(f"{place}: family {info.family!r} is unknown here; known are {', '.join(FAMILIES)}.")
    if info.status != "done":
        raise UserError(f"{place}: the run is not finished (status {info.status!r}); train it to its end.")
    if not is_done(run.folder):
        raise UserError(f"{run.folder}: files of the run are missing or damaged; train it again with --force.")
    return info


def _read(sentence: str, places: dict[str, Place], named: bool) -> tuple[list[str], dict[str, tuple[int, int]]]:
    """The words of the sentence, and the first and last word of each entity, by role."""
    token, spans = words(sentence, named), {}
    if not token:
        raise UserError("--sentence: is empty; give one with two entities.")
    if re.search("[\ud800-\udfff]", sentence):
        raise UserError("--sentence: holds bytes that are no UTF-8 text; write it as UTF-8.")
    for role, place in places.items():
        spans[role] = start, end = locate(place, token, f"--{role}", named) if isinstance(place, str) else place
        if not 0 <= start <= end < len(token):
            raise UserError(
                f"--{role}-at {start}:{end}: no words of the sentence; they run from 0 to {len(token) - 1}."
            )
    if spans["subject"] == spans["object"]:
        raise UserError("--subject, --object: are the same words of the sentence; name two entities.")
    return token, spans


def _types(trained: _Trained, given: dict[str, str | None]) -> tuple[dict[str, str], list[str]]:
    """A type for each role, with a note where a given one could not be checked; it is only read where it matters."""
    notes = []
    for role, kind in given.items():
        known = trained.types.get(role, [] if "types" in trained.columns else [UNTYPED])
        if kind and known and kind not in known:
            raise UserError(f"--{role}-type {kind!r}: the run has never seen it; known are {', '.join(known)}.")
        if kind and not known:
            notes.append(f"this older run keeps no list of its types: --{role}-type {kind!r} is not checked")
    constant = {} if "types" in trained.columns else trained.types  # an untyped corpus has one type for all
    return {role: kind or constant.get(role, [UNTYPED])[0] for role, kind in given.items()}, notes


def _lacking(trained: _Trained, place: Path, needed: set[str], wanted: set[str], untold: list[str]) -> list[str]:
    """A note on what the model reads, is not given and can do without; raises `UserError` for what it cannot.

    `untold` are the roles without a type.
    """
    needed, wanted = (sorted(names & set(trained.columns)) for names in (needed, wanted))
    if untold and "types" in needed:
        known = ", ".join(trained.types.get(untold[0], [])) or "the corpus' types, which this older run does not list"
        raise UserError(f"--{untold[0]}-type: the model reads entity types; give one of {known}.")
    if lacking := [name for name in needed if name != "types"]:
        raise UserError(f"{place}: needs {', '.join(lacking)}; give each word its value with --column NAME=VALUES.")
    note = (
        f"the model also reads {', '.join(wanted)}, not given here: it answers without, less well than its scores "
        "say; --column NAME=VALUES gives them"
    )
    return [note] if wanted else []


def _columns(given: Mapping[str, str]) -> dict[str, list]:
    """The values of each column, one a word; raises `UserError` for an unknown column and a head that is no number."""
    for name, values in given.items():
        if name not in COLUMNS:
            raise UserError(f"--column {name}: unknown; choose from {', '.join(COLUMNS)}.")
        if name == "stanford_head" and not all(re.fullmatch("[0-9]{1,6}", value) for value in values.split()):
            raise UserError(f"--column {name}: takes whole numbers, each word's head counted from 1, 0 for the root.")
    return {name: [int(v) if name == "stanford_head" else v for v in text.split()] for name, text in given.items()}


def _stamps(info: _Info) -> list[str]:
    """What must be known of the run before its answer is believed."""
    synthetic = "SYNTHETIC: the run learned from invented sentences; it shows how this works, no more"
    given = "the run takes for granted that there is a relation"
    return [synthetic] * info.corpus.synthetic + [given] * (info.task == "relation_only")


# A plain sentence as words, much as TACRED's are split, and where an entity's text stands among them


def words(sentence: str, named: bool = False) -> list[str]:
    """The words of a sentence, which end at blanks; punctuation and clitics (`'s`, `n't`) are words of their own.

    Abbreviations and initials keep their dot, and what is split already stays as it is. Stanford's tools, with which
    TACRED was made, give brackets and double quotes names (`-LRB-`, two backticks); `named` does so too.
    """
    found = [part for word in _WORD.findall(sentence.translate(_TYPED)) for part in _CLITIC.split(word)]
    if not named:
        return found
    quotes = 0
    for place, word in enumerate(found):
        quotes += word == '"'
        found[place] = ("``" if quotes % 2 else "''") if word == '"' else _NAMES.get(word, word)
    return found


def locate(text: str, token: Sequence[str], option: str, named: bool) -> tuple[int, int]:
    """First and last word of the one place where a text stands, from 0; the option's name is for errors.

    Raises `UserError` for a text that does not stand there as whole words, or in several places, which it lists.
    """
    mention = words(text, named)
    width, quotes = len(mention), ("``", "''")  # a quote opens or closes by what stands before it
    alike = [[quotes if word in quotes else word for word in part] for part in (token, mention)]
    starts = [at for at in range(len(token) - width + 1) if mention and alike[0][at : at + width] == alike[1]]
    if not starts:
        listed = " ".join(f"{number} {word!r}" for number, word in enumerate(token[:LISTED]))
        raise UserError(
            f"{option} {text!r}: does not stand in the sentence as whole words, in this spelling; its words are, by "
            f"number, {listed}{' …' if len(token) > LISTED else ''}; give a text of these, or {option}-at FIRST:LAST."
        )
    if len(starts) > 1:
        places = [f"{at}:{at + width - 1} ({_around(token, at, at + width)!r})" for at in starts[:LISTED]]
        more = " and further on" * (len(starts) > LISTED)
        raise UserError(
            f"{option} {text!r}: stands in {len(starts)} places of the sentence, at words {', '.join(places)}{more}; "
            f"choose one with {option}-at, for example {option}-at {starts[0]}:{starts[0] + width - 1}."
        )
    return starts[0], starts[0] + width - 1


def _around(token: Sequence[str], start: int, end: int) -> str:
    before, after = token[max(0, start - 2) : start], token[end : end + 2]
    return " ".join([*before, f"[{' '.join(token[start:end])}]", *after])

"""Sentences of the user's own, answered by the model that a run kept; for the shell and for notebooks alike.

Questions are checked first: a mistake is told before a model is loaded. What the model reads and the user does not
give is predicted by spaCy where it is at hand.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby, islice, permutations
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
from tqdm import tqdm

from tacred_utils.corpora.annotate import ANNOTATOR, annotator, lacking
from tacred_utils.corpora.example import COLUMNS, UNTYPED, Example
from tacred_utils.corpora.reader import read_unlabelled, split_records
from tacred_utils.ground.errors import UserError
from tacred_utils.ground.files import UNDECODABLE, nfc, read_data
from tacred_utils.ground.labels import NO_RELATION
from tacred_utils.runs.store import CorpusInfo, Run, is_done, load_model

Place = str | tuple[int, int]  # an entity: its text, or its first and last word, counted from 0
Types = tuple[str | None, str | None]  # of subject and object; None: not given
ROLES = ("subject", "object")
BATCH = 64  # pairs that are answered at a time
_OTHER = ("MISC", "Other")
_NUMBER = ("NUMBER", *_OTHER)
KINDS = {  # spaCy's entity types, as the corpora name what they hold
    "PERSON": ("PERSON", "Peop"), "ORG": ("ORGANIZATION", "Org"), "NORP": ("NATIONALITY", "LOCATION", *_OTHER),
    "GPE": ("COUNTRY", "LOCATION", "Loc"), "LOC": ("LOCATION", "Loc"), "FAC": ("LOCATION", "Loc"),
    "DATE": ("DATE", *_OTHER), "TIME": ("DATE", *_OTHER),
    **dict.fromkeys(("CARDINAL", "MONEY", "ORDINAL", "PERCENT", "QUANTITY"), _NUMBER),
    **dict.fromkeys(("EVENT", "LANGUAGE", "LAW", "PRODUCT", "WORK_OF_ART"), _OTHER),
}  # fmt: skip


@dataclass(frozen=True)
class Question:
    """A sentence and what is known of it: both entities or neither, and columns."""

    id: str
    token: list[str]
    spans: tuple[int, int, int, int] | None  # of subject and object, as in an Example; None: of all that are found
    types: Types = (None, None)
    columns: dict[str, list] = field(default_factory=dict)


class _Line(msgspec.Struct):
    """A sentence in a file of JSON lines."""

    sentence: str
    id: str | int | None = None
    subject: str | None = None
    object: str | None = None
    subject_type: str | None = None
    object_type: str | None = None


def from_sentence(
    trained: CorpusInfo, sentence: str, places: Mapping[str, Place], types: Types = (None, None), name: str = "sentence"
) -> Question:
    """The question that a plain sentence asks; `places` are those of both roles, or empty for all entities.

    Raises `UserError` for what is missing, unknown or ambiguous.
    """
    token = words(sentence, trained.named)
    if not token:
        raise UserError("--sentence: is empty; give one with two entities.")
    if re.search("[\ud800-\udfff]", sentence):
        raise UserError("--sentence: holds bytes that are no UTF-8 text; write it as UTF-8.")
    types = tuple(kind and nfc(kind) for kind in types)
    _check_types(trained, types)
    if not places:
        return Question(name, token, None, types)
    if len(places) == 1:
        raise UserError("--subject, --object: one is missing; name both, or neither for every pair that is found.")
    subject, objekt = (
        locate(at, token, f"--{role}", trained.named) if isinstance(at := places[role], str) else at for role in ROLES
    )
    for role, (start, end) in zip(ROLES, (subject, objekt), strict=True):
        if not 0 <= start <= end < len(token):
            at = f"--{role}-at {start}:{end}"
            raise UserError(f"{at}: no words of the sentence; they run from 0 to {len(token) - 1}.")
    if subject == objekt:
        raise UserError("--subject, --object: are the same words of the sentence; name two entities.")
    return Question(name, token, (*subject, *objekt), types)


def from_file(trained: CorpusInfo, path: Path) -> list[Question]:
    """The questions of a file, in order; raises `UserError` that names the line or the record.

    JSON lines with `sentence` and, both or neither, `subject` and `object`; or records in TACRED's format, as lines,
    or as a list, where `id` and `relation` may be missing.
    """
    data = read_data(path)
    lines = [(number, line) for number, line in enumerate(data.splitlines(), start=1) if line.strip()]
    as_list = data.lstrip().startswith(b"[")
    if as_list or b'"token"' in lines[0][1]:
        records = split_records(path) if as_list else [msgspec.Raw(line) for _, line in lines]
        return [_from_record(trained, row, path) for row in read_unlabelled(path, records)]
    return [_from_line(trained, line, f"{path}: line {number}", str(number)) for number, line in lines]


def _from_record(trained: CorpusInfo, row: Example, path: Path) -> Question:
    columns = {name: values for name in COLUMNS if (values := getattr(row, name)) is not None}
    types = (row.subj_type, row.obj_type) if trained.typed else (None, None)
    with _in_file(f"{path}: id {row.id!r}"):
        _check_types(trained, types)
    return Question(row.id, row.token, (*row.subject, *row.object), types, columns)


def _from_line(trained: CorpusInfo, line: bytes, place: str, number: str) -> Question:
    with _in_file(place):
        given = msgspec.json.decode(line, type=_Line)
        places = {role: text for role in ROLES if (text := getattr(given, role)) is not None}
        name = number if given.id is None else str(given.id)
        return from_sentence(trained, given.sentence, places, (given.subject_type, given.object_type), name)


@contextmanager
def _in_file(place: str) -> Iterator[None]:
    """Errors are told with their place in a file, and options are named as the fields that they are there."""
    try:
        yield
    except UNDECODABLE as error:
        raise UserError(f"{place}: {error}; give an object with a sentence.") from None
    except UserError as error:
        said = re.sub("--(subject|object|sentence)(-type)?", lambda option: option[0][2:].replace("-", "_"), str(error))
        raise UserError(f"{place}: {said}") from None


def _check_types(trained: CorpusInfo, types: Types) -> None:
    for role, kind in zip(ROLES, types, strict=True):
        if kind and kind not in trained.types[role]:
            known = ", ".join(trained.types[role])
            raise UserError(f"--{role}-type {kind!r}: the run has never seen it; known are {known}.")


# A plain sentence as words, much as TACRED's are split

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
PLAIN = {name: sign for sign, name in _NAMES.items()} | {"``": '"', "''": '"'}  # named signs as they are written
LISTED = 40  # words or places that an error shows at the most


def words(sentence: str, named: bool = False) -> list[str]:
    """The words of a sentence, which end at blanks; punctuation and clitics (`'s`, `n't`) are words of their own.

    Abbreviations and initials keep their dot, and what is split already stays as it is. Stanford's tools, with which
    TACRED was made, give brackets and double quotes names (`-LRB-`, two backticks); `named` does so too.
    """
    found = [part for word in _WORD.findall(nfc(sentence).translate(_TYPED)) for part in _CLITIC.split(word)]
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
        places = [f"{at}:{at + width - 1}" for at in starts[:LISTED]]
        more = " and further on" * (len(starts) > LISTED)
        raise UserError(
            f"{option} {text!r}: stands in {len(starts)} places of the sentence, at words {', '.join(places)}{more}; "
            f"choose one with {option}-at, for example {option}-at {starts[0]}:{starts[0] + width - 1}."
        )
    return starts[0], starts[0] + width - 1


@dataclass(frozen=True)
class Answer:
    """A sentence with its two entities, all classes of the run by probability, and what the reader should know."""

    run: Run
    example: Example
    relations: pd.DataFrame  # columns label and p, the likeliest first
    notes: list[str]

    def pair(self, top: int) -> dict[str, object]:
        """The entities with their words and types, and the `top` likeliest relations."""
        pair = {}
        for role, short in zip(ROLES, ("subj", "obj"), strict=True):
            start, end, kind = (getattr(self.example, f"{short}_{what}") for what in ("start", "end", "type"))
            text = " ".join(self.example.token[start : end + 1])
            pair[role] = {"start": start, "end": end, "text": text, "type": kind}
        return pair | {"relations": self.relations.head(top).to_dict("records")}

    def report(self, top: int) -> dict[str, object]:
        """What --json prints: run, family, task, corpus, tokens, subject, object, `top` relations, notes."""
        info = self.run.info
        report = {"run": str(self.run.folder), "family": info["family"], "task": info["task"]}
        report |= {"corpus": info["corpus"]["name"], "tokens": self.example.token}
        return report | self.pair(top) | {"notes": self.notes}

    def line(self, top: int) -> dict[str, object]:
        """What a row of a file is answered with; id, label_pred and p are named as in files of predictions."""
        label, p = self.relations.iloc[0]
        return {"id": self.example.id, "label_pred": label, "p": p} | self.pair(top)


def predict(
    run: Run | Path, sentence: str, subject: Place | None, object: Place | None,
    subject_type: str | None = None, object_type: str | None = None,
) -> Answer:  # fmt: skip
    """The relations of one entity pair by the run's model.

    Columns that cannot be predicted are left out with a note where the model can do without. Raises `UserError` for
    everything that is missing, unknown, ambiguous or damaged.
    """
    reader = _Reader(run)
    places = {role: place for role, place in zip(ROLES, (subject, object), strict=True) if place is not None}
    [answer] = reader.answers([from_sentence(reader.trained, sentence, places, (subject_type, object_type))])
    return answer


def predict_pairs(run: Run | Path, sentence: str) -> list[Answer]:
    """The relations of every pair of entities that is found in a sentence, in their order; raises as `predict`."""
    reader = _Reader(run)
    answers = [*reader.answers([from_sentence(reader.trained, sentence, {})])]
    if not answers:
        raise UserError("--sentence: no two entities of known types are found; name them: --subject, --object.")
    return answers


def predict_file(run: Run | Path, path: Path) -> Iterator[Answer]:
    """An answer for every question of a file (see `from_file`), with a bar; raises as `predict`."""
    reader = _Reader(run)
    return reader.answers(tqdm(from_file(reader.trained, Path(path)), unit=" rows", disable=None))


class _Reader:
    """A run whose facts are checked; its model, and what predicts columns, are loaded when they are first needed."""

    def __init__(self, run: Run | Path) -> None:
        self.run = run if isinstance(run, Run) else Run(Path(run))
        if not (self.run.folder / "run.json").is_file():
            raise UserError(f"--run {self.run.folder}: is no folder of a run (no run.json); `runs list` names them.")
        self.facts = self.run.facts
        if not is_done(self.run.folder):
            raise UserError(f"{self.run.folder}: files of the run are missing or damaged; train it again with --force.")
        self.trained = self.facts.corpus
        self.place = self.run.folder / "model"
        synthetic = "SYNTHETIC: the run learned from invented sentences; it shows how this works, no more"
        given = "the run takes for granted that there is a relation"
        self.stamps = [synthetic] * self.trained.synthetic + [given] * (self.facts.task == "relation_only")

    @cached_property
    def model(self) -> object:
        model = load_model(self.run)
        if model.classes != self.facts.classes:
            raise UserError(f"{self.place}: has other classes than run.json beside it; train the run again.")
        return model

    @cached_property
    def annotate(self) -> Callable[[list[str]], tuple] | None:
        return None if lacking() else annotator()

    def answers(self, questions: Iterable[Question]) -> Iterator[Answer]:
        """An answer for each question, or one for every pair of entities where it names none."""
        rows = (row for question in questions for row in self._rows(question))
        while part := [*islice(rows, BATCH)]:
            yield from self._answered(part)

    def _answered(self, rows: list[tuple[Example, list[str]]]) -> Iterator[Answer]:
        probabilities = np.exp(self.model.log_probs([row for row, _ in rows]).astype(float))  # (rows, classes)
        if not np.allclose(probabilities.sum(axis=1), 1, atol=1e-3):
            raise UserError(f"{self.place}: is damaged (its probabilities do not add up to 1); train the run again.")
        for (example, notes), p in zip(rows, probabilities, strict=True):
            best = np.argsort(-p, kind="stable")
            labels = [self.facts.classes[index] for index in best]
            relations = pd.DataFrame({"label": labels, "p": p[best].round(6)})
            yield Answer(self.run, example, relations, [*self.stamps, *notes])

    def _rows(self, question: Question) -> list[tuple[Example, list[str]]]:
        """The rows that a question stands for, with all that the model reads, and what is to be noted of each."""
        needed, wanted = (names & set(self.trained.columns) for names in self.model.reads)
        absent = sorted((needed | wanted) - {"types"} - question.columns.keys())
        find = question.spans is None or "types" in needed and None in question.types
        columns, tags, notes = dict(question.columns), question.columns.get("stanford_ner"), []
        if (absent or find and tags is None) and self.annotate:
            plain = [PLAIN.get(word, word) for word in question.token]
            predicted = dict(zip(COLUMNS, self.annotate(plain), strict=True))
            tags = tags or predicted["stanford_ner"]
            columns |= {name: self._as_learned(name, predicted[name]) for name in absent}
            other = self.trained.annotator != ANNOTATOR and absent
            notes = [
                f"{', '.join(absent + ['entities'] * find)}: predicted by {ANNOTATOR}"
                + (", where the run learned from other ones" if other else "")
            ]
        notes += self._missing(needed - columns.keys() - {"types"}, wanted - columns.keys())
        pairs = [(question.spans, question.types)] if question.spans else self._found(tags)
        rows = []
        for spans, types in pairs:
            kinds = [self._kind(at, types, spans, tags, "types" in needed) for at in (0, 1)]
            rows.append(Example(question.id, NO_RELATION, question.token, *spans, *kinds, **columns))
        return [(row, notes) for row in rows]

    def _as_learned(self, column: str, values: list) -> list:
        """Entity types under the names that training had, where it had others than spaCy's."""
        if column != "stanford_ner" or self.trained.annotator == ANNOTATOR:
            return values
        known = {kind for role in ROLES for kind in self.trained.types[role]}
        return [_named(tag, known) or "O" for tag in values]

    def _missing(self, needed: set[str], wanted: set[str]) -> list[str]:
        """A note on columns that the model can do without; raises `UserError` for those that it cannot."""
        remedy = f"records in TACRED's format give them (--file){_or_install()}"
        if needed:
            raise UserError(f"{self.place}: needs {', '.join(sorted(needed))}; {remedy}.")
        if not wanted:
            return []
        names = ", ".join(sorted(wanted))
        return [f"the model also reads {names}, not given here: it answers without, less well than scored; {remedy}"]

    def _found(self, tags: Sequence[str] | None) -> Iterator[tuple[tuple[int, int, int, int], tuple]]:
        """Spans and types of all pairs of entities, neighbours of one type being one entity."""
        if tags is None:
            raise UserError(f"--subject, --object: are not named; name them{_or_install()}.")
        entities, start = [], 0
        for tag, words in groupby(tags):
            end = start + len([*words]) - 1
            entities += [(start, end, tag)] * (tag != "O")
            start = end + 1
        for one, other in permutations(entities, 2):
            types = tuple(_named(e[2], self.trained.types[role]) for role, e in zip(ROLES, (one, other), strict=True))
            if not self.trained.typed or all(types):
                yield (*one[:2], *other[:2]), types

    def _kind(self, at: int, types: tuple, spans: tuple, tags: Sequence[str] | None, needed: bool) -> str:
        """The type of the subject (0) or the object (1): as given, or as its words are tagged."""
        role = ROLES[at]
        known = self.trained.types[role]
        if not self.trained.typed:
            return types[at] or known[0]  # an untyped corpus has one type for all
        within = (tags or [])[spans[2 * at] : spans[2 * at + 1] + 1]
        kind = types[at] or next(filter(None, (_named(tag, known) for tag in within)), None)
        if kind is None and needed:
            raise UserError(
                f"--{role}-type: the model reads entity types; give one of {', '.join(known)}{_or_install()}."
            )
        return kind or UNTYPED


def _named(tag: str, known: Iterable[str]) -> str | None:
    """What a corpus calls an entity that is tagged so, or None where it has no such type."""
    return next((kind for kind in (tag, *KINDS.get(tag, ())) if kind in known), None)


def _or_install() -> str:
    """How to have predicted what is missing, where it cannot be yet."""
    return f"; or install what predicts them ({missing})" if (missing := lacking()) else ""

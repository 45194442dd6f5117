"""Sentences of the user's own, answered by the model that a run kept; for the shell and for notebooks alike.

What the model reads and the user does not give is predicted by spaCy where it is at hand.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby, permutations
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from tacred_utils.corpora.annotate import ANNOTATOR, annotator, lacking
from tacred_utils.corpora.example import COLUMNS, UNTYPED, Example
from tacred_utils.ground.errors import UserError
from tacred_utils.ground.labels import NO_RELATION
from tacred_utils.runs.questions import PLAIN, ROLES, Place, Question, from_file, from_sentence
from tacred_utils.runs.store import Run, RunInfo, is_done, load_model

BATCH = 64  # questions that are answered at a time
_OTHER = ("MISC", "Other")
_NUMBER = ("NUMBER", *_OTHER)
KINDS = {  # spaCy's entity types, as the corpora name what they hold
    "PERSON": ("PERSON", "Peop"), "ORG": ("ORGANIZATION", "Org"), "NORP": ("NATIONALITY", *_OTHER),
    "GPE": ("COUNTRY", "LOCATION", "Loc"), "LOC": ("LOCATION", "Loc"), "FAC": ("LOCATION", "Loc"),
    "DATE": ("DATE", *_OTHER), "TIME": ("DATE", *_OTHER),
    **dict.fromkeys(("CARDINAL", "MONEY", "ORDINAL", "PERCENT", "QUANTITY"), _NUMBER),
    **dict.fromkeys(("EVENT", "LANGUAGE", "LAW", "PRODUCT", "WORK_OF_ART"), _OTHER),
}  # fmt: skip


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
    run: Run | Path,
    sentence: str,
    subject: Place | None,
    object: Place | None,
    subject_type: str | None = None,
    object_type: str | None = None,
) -> Answer:
    """The relations of one entity pair by the run's model.

    Columns that cannot be predicted are left out with a note where the model can do without. Raises `UserError` for
    everything that is missing, unknown, ambiguous or damaged; what can be told without the model is told before it is
    loaded.
    """
    reader = _Reader(run)
    named = {"subject": subject, "object": object}
    places = {role: place for role, place in named.items() if place is not None}
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
            raise UserError(
                f"--run {self.run.folder}: is no folder of a run (it has no run.json); `runs list` names them."
            )
        self.facts = self.run.facts
        if not is_done(self.run.folder):
            raise UserError(f"{self.run.folder}: files of the run are missing or damaged; train it again with --force.")
        self.trained = self.facts.corpus
        self.place = self.run.folder / "model"

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
        rows: list[tuple[Example, list[str]]] = []
        for question in questions:
            rows += self._rows(question)
            if len(rows) >= BATCH:
                yield from self._answered(rows)
                rows = []
        yield from self._answered(rows)

    def _answered(self, rows: list[tuple[Example, list[str]]]) -> Iterator[Answer]:
        if not rows:
            return
        probabilities = np.exp(self.model.log_probs([row for row, _ in rows]).astype(float))  # (rows, classes)
        if not np.allclose(probabilities.sum(axis=1), 1, atol=1e-3):
            raise UserError(f"{self.place}: is damaged (its probabilities do not add up to 1); train the run again.")
        for (example, notes), p in zip(rows, probabilities, strict=True):
            best = np.argsort(-p, kind="stable")
            labels = [self.facts.classes[index] for index in best]
            relations = pd.DataFrame({"label": labels, "p": p[best].round(6)})
            yield Answer(self.run, example, relations, [*_stamps(self.facts), *notes])

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
        return [
            f"the model also reads {names}, not given here: it answers without, less well than its scores say; {remedy}"
        ]

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


def _stamps(facts: RunInfo) -> list[str]:
    """What must be known of the run before its answer is believed."""
    synthetic = "SYNTHETIC: the run learned from invented sentences; it shows how this works, no more"
    given = "the run takes for granted that there is a relation"
    return [synthetic] * facts.corpus.synthetic + [given] * (facts.task == "relation_only")

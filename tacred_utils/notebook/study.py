"""What a notebook holds in its hand: one corpus under one profile, its runs, and where figures and tables go."""

import json
import os
import shlex
import shutil
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from IPython import get_ipython
from IPython.display import Image, Markdown, display
from matplotlib.figure import Figure
from msgspec.structs import asdict

from tacred_utils.corpora.example import NO_TEXT, ROWS, Corpus, Example, read_rows
from tacred_utils.corpora.registry import corpora, corpus_files
from tacred_utils.ground.errors import UserError
from tacred_utils.ground.files import expanded, portable
from tacred_utils.ground.labels import NO_RELATION, SPLITS
from tacred_utils.ground.paths import DATA, PUBLISHED_RUNS, RESULTS, ROOT
from tacred_utils.inputs.encoding import window
from tacred_utils.metrics.estimates import Clusters, Estimate, clusters_of
from tacred_utils.models import processes
from tacred_utils.notebook import figures, manifest, tables
from tacred_utils.notebook.findings import LEGEND, Lead, finding
from tacred_utils.paper import measures
from tacred_utils.runs.catalog import Missing, RunCatalog, SystemAnswers, elsewhere, load_catalogs
from tacred_utils.runs.experiments import arguments, experiment_of, load_experiments, planned
from tacred_utils.runs.profile import checked_seeds, load_corpus, load_profile
from tacred_utils.runs.store import Run, Spec, git_commit, is_done
from tacred_utils.runs.train import train

SCREEN = 140  # pixels an inch of a figure on a screen: 8 pt type then reads like the prose around it
SHOWN = 26  # words of a sentence in a table
LEFT_OUT = "*{}*: left out, since the rows or runs that it needs are not here."


class Study:
    """The configuration of one notebook, checked; printing it shows what the notebook runs on.

    `number` is the notebook's ("02"), the rest are its parameters; empty ones take the profile's values. Relative
    paths are meant from the study's root. Raises `UserError` for whatever does not fit together.
    """

    def __init__(
        self, number: str, profile: str = "sample", corpus: str | None = None, data_dir: str | None = None,
        labels: str = "tacred", seeds: Sequence[int] | None = None, results: str | None = None, negative: str = "",
    ) -> None:  # fmt: skip
        warnings.filterwarnings("ignore", message="IProgress not found")  # tqdm, for want of widgets that none needs
        given = {"profile": profile, "corpus": corpus, "data_dir": data_dir, "labels": labels, "results": results}
        for name, value in (given | {"negative": negative}).items():
            if value and not isinstance(value, str | Path):
                raise UserError(f"{name} = {value!r}: is no text; write it in quotes.")
        self.number = number
        self.profile = load_profile(profile)
        self.profile = self.profile.for_corpus(corpus or self.profile.corpus)
        self.seeds = checked_seeds(seeds) if seeds else self.profile.seeds
        self.data = _place(data_dir or DATA)
        self.results = _place(results or (RESULTS / "smoke" if profile == "smoke" else RESULTS))
        self.labels, self.negative = labels, negative or None
        self._name = str(_place(corpus)) if corpus and corpus not in corpora() else corpus or self.profile.corpus
        self._used: set[str] = set()  # runs that products of this corpus rest on, and those that all others do
        self._gathered: set[str] = set()
        self._lead: Lead | None = None
        self._told: set[str] = set()
        self.draws = 200 if profile == "smoke" else 1000  # of every bootstrap
        self.families = dict.fromkeys(("always no_relation", "majority per type pair"), "trivial")
        figures.use_style()

    @cached_property
    def corpus(self) -> Corpus:
        """The corpus at the profile's size, read once; its rows alone where runs are published with them and it is not at hand."""
        rows = self.results / f"{self._name}" / ROWS
        if rows.exists() and not all(file.exists() for file in corpus_files(self._name, self.data)):
            return read_rows(rows)
        return load_corpus(self._name, self.data, self.labels, asdict(self.profile.scales), self.negative)

    def _repr_markdown_(self) -> str:
        rows = " / ".join(f"{len(self.corpus.split(split)):,}" for split in SPLITS)
        facts = f"profile **{self.profile.name}**, corpus **{self.corpus.name}**, {rows} rows, seeds {self.seeds}"
        absent = "" if self.corpus.has_text else NO_TEXT
        said = "; ".join(filter(None, [self.with_tags(facts), self.stamp, absent]))
        unit = "documents" if self.corpus.test[0].document else "sentences"
        return f"{_no_markup(said)}. Brackets: 95 % intervals over test {unit} and seeds. {LEGEND}."

    def with_tags(self, text: str) -> str:
        """A title of what rests on tags or trees: it says what predicted them, where annotators did not write them."""
        return f"{text}; tags predicted by {self.corpus.annotator}" if self.corpus.annotator else text

    def _ipython_display_(self) -> None:
        self.rests_on(self._repr_markdown_())

    def rests_on(self, text: str) -> None:
        """Show below the set-up the place that is kept for the answer, and what the page rests on."""
        self._lead = Lead()
        self.say(text)

    @property
    def stamp(self) -> str:
        """What every title must say of the data: SYNTHETIC, or the subset; empty for a complete real corpus."""
        return "SYNTHETIC" if self.corpus.synthetic else self.corpus.subset

    def title(self, text: str) -> str:
        """A figure's title or a table's caption with corpus and stamp."""
        return f"{text} ({self.corpus.name}{f', {self.stamp}' if self.stamp else ''})"

    def run(
        self, family: str, task: str, variant: str | None = None, seed: int | None = None, **overrides: object
    ) -> Run:
        """Train or re-use one run under the profile, with settings overridden by name; ablations keep no model."""
        settings = self.profile.settings(family, variant, overrides)
        return self._run(Spec(family, task, self.seeds[0] if seed is None else seed, settings, variant))

    @property
    def _since(self) -> float:
        """When the command started that is to train anew: what is older is trained again, once; not what is published."""
        return 0 if self.results == PUBLISHED_RUNS else float(os.environ.get("TACRED_STUDY_SINCE", 0))

    def _run(self, spec: Spec) -> Run:
        folder = spec.folder(self.corpus, self.results)
        if not is_done(folder, self._since):
            if self.results == PUBLISHED_RUNS:  # nothing is trained there
                raise UserError(self.lacking)
            shown = display(Markdown(f"Training {spec.title} …"), display_id=True) if get_ipython() else None
            self._train(spec, folder)
            if shown:
                shown.update(Markdown(""))
        self._used |= _names([Run(folder)])
        return Run(folder)

    def _train(self, spec: Spec, folder: Path) -> None:
        """Here, or in as many processes as the runner was told to start."""
        experiment = experiment_of(spec, self.profile.name, self.corpus.name)
        keep_model = not (experiment and experiment.ablation) or (folder / "model").is_dir()
        together = int(os.environ.get("TACRED_STUDY_PROCESSES", "1"))
        if together == 1 or spec.family == "svm":
            train(spec, self.corpus, self.results, self.profile.name, keep_model=keep_model, since=self._since)
            return
        log = folder.parent / ".locks" / f"{folder.name}.log"
        given = arguments(spec, self.profile, self._options | {"force": True if self._since else None})
        processes.launch(given, together, log)
        if not keep_model:
            shutil.rmtree(folder / "model", ignore_errors=True)

    def train(self) -> None:
        """Train the runs that experiments.toml declares for this notebook, or re-use them; published ones are only read."""
        specs, published = planned(self.profile, self.corpus, self.seeds, self.number), self.results == PUBLISHED_RUNS
        done = [is_done(spec.folder(self.corpus, self.results), self._since) for spec in specs]
        for spec, there in zip(specs, done, strict=True):
            if there or not published:
                self._run(spec)
        self.__dict__.pop("catalog", None)  # read again, with what was made
        self.say(f"Runs: {sum(done)} re-used, {0 if published else len(done) - sum(done)} trained.")

    @property
    def lacking(self) -> str:
        """Where runs are not there: the command that says how to get them, and which lie under another profile."""
        seeds = {"seeds": None if self.seeds == self.profile.seeds else ",".join(map(str, self.seeds))}
        options = self._options | seeds
        given = " ".join(f"--{name} {shlex.quote(str(value))}" for name, value in options.items() if value)
        others = elsewhere(dict.fromkeys([self.results, PUBLISHED_RUNS]), self.corpus, self.profile.name)
        return (
            f"Runs that it reads are missing below {self.results}: `python -m tacred_utils plan {given}` prints, "
            f"one a line, the commands that train them.{others}"
        )

    @property
    def _options(self) -> dict[str, object]:
        """What the command line has to be told to work on the same; None where it would do so by itself."""
        usual = {"data-dir": (self.data, DATA), "labels": (self.labels, "tacred"), "results": (self.results, RESULTS)}
        options = {"profile": self.profile.name, "corpus": self._name, "negative": self.negative}
        return options | {name: None if value == default else value for name, (value, default) in usual.items()}

    @cached_property
    def gold(self) -> np.ndarray:
        """(test rows,) their labels."""
        return np.array([row.relation for row in self.corpus.test], dtype=object)

    @cached_property
    def clusters(self) -> Clusters:
        """What is drawn in a bootstrap of test rows."""
        return clusters_of(self.corpus.test)

    @cached_property
    def catalog(self) -> RunCatalog:
        """The finished runs on this very data below `results`, known as this profile's systems."""
        found = load_catalogs([(self.results, self.corpus.name)], [self.corpus], self.profile.name)
        return next(iter(found.values()), RunCatalog(self.corpus.name, text=self.corpus))

    def system(self, spec: str) -> SystemAnswers | None:
        """The system "family task [variant] [setting=value …]" over all its seeds (see `RunCatalog.system`).

        One that is not there, or cannot be put together on this corpus, is None, and said so once.
        """
        try:
            found = self.catalog.system(spec)
            self._used |= _names(found.runs)
            return found
        except (Missing, UserError) as error:
            self._miss(str(error))
            return None

    def estimate(self, score: str, *specs: str | SystemAnswers, rows: np.ndarray | None = None) -> Estimate:
        """A score of a system, or of the first less the second, over seeds and test texts; NaN without one or any row.

        `rows` (bool, of the rows that the task is scored on) restricts to a part. The two are drawn together,
        and two of one family are compared on the seeds that both have.
        """
        systems = [self.system(spec) if isinstance(spec, str) else spec for spec in specs]
        if None in systems or (rows is not None and not np.any(rows)):
            return Estimate(np.nan, np.nan, np.nan)
        clusters = self.clusters[self.scored_rows(systems[0])]
        first, *other = measures.score_systems(same_seeds(*systems), score, rows, self.draws, clusters=clusters)
        return first - other[0] if other else first

    def scored_rows(self, system: SystemAnswers) -> np.ndarray:
        """(test rows,) bool: all, or those with a relation where the system answers no others."""
        every = len(system.gold) == len(self.gold)
        return np.ones(len(self.gold), bool) if every else self.gold != NO_RELATION

    def answering(self, task: str = "joint") -> dict[str, SystemAnswers]:
        """The study's systems that are here, ablations left out, by name; trained on this task, or put together for it."""
        here = {}
        for entry in load_experiments():
            if entry.ablation:
                continue
            name = entry.name(self.profile, task)
            self.families[name] = entry.family
            settings = [f"{key}={json.dumps(value, separators=(',', ':'))}" for key, value in entry.set.items()]
            with suppress(Missing, UserError):
                here[name] = self.catalog.system(" ".join([entry.family, task, entry.variant or "", *settings]))
                self._used |= _names(here[name].runs)
        if not here:
            self._miss(f"any system with answers of the kind {task.replace('_', ' ')}")
        return here

    def finding(self, text: str, *, holds: bool, lead: bool = False, **numbers: object) -> None:
        """Say one thing that was found, with its numbers and the test that makes it true (see `findings.finding`).

        `lead`: it belongs to the answer, and stands at the top of the page as well.
        """
        found = finding(text, holds, lead, **numbers)
        display(Markdown(found.markdown), metadata=found.metadata)
        if lead and self._lead:
            self._lead.add(text, found)

    def figure(
        self, name: str, chart: Callable[..., Figure], frame: object, *parts: object, title: str = "",
        lead: bool = False, published: bool = False, **options: object,
    ) -> None:  # fmt: skip
        """Draw `chart(frame, *parts)` under a title, save it as PDF and PNG, and show it here, or at the top (`lead`).

        Where the frame is empty one sentence says so. `published`: it is not of this corpus.
        """
        if isinstance(frame, Mapping):  # panels
            frame = {panel: part for panel, part in frame.items() if len(part)}
        if not len(frame):
            self.say(LEFT_OUT.format(title))
            return
        figure = figures.titled(chart(frame, *parts, **options), title if published else self.title(title))
        folder = self._folder(published)
        files = figures.save_figure(figure, folder, f"{self.number}_{name}")
        self._record(folder, files, published)
        image = Image(filename=str(files[1]), width=round(SCREEN * figure.get_figwidth()), alt=title)
        self._lead.show(image) if lead and self._lead else display(image)

    def table(
        self, name: str, frame: pd.DataFrame, caption: str, published: bool = False, decimals: int = 3,
        shown: bool = True,
    ) -> None:  # fmt: skip
        """Save a table as CSV, Markdown and LaTeX, and show it; one sentence where it has no rows."""
        if frame.empty:
            self.say(LEFT_OUT.format(caption))
            return
        folder, full = self._folder(published), caption if published else self.title(caption)
        files = tables.save_table(frame, folder / "tables", f"{self.number}_{name}", full, decimals=decimals)
        self._record(folder, files, published)
        if shown:
            display(tables.show(frame, full, decimals))

    def _miss(self, what: str) -> None:
        """Say once what is not here."""
        if what not in self._told:
            self.say(f"Not here: {what}." + (f" {self.lacking}" if not self._told else ""))
        self._told.add(what)

    def gathers(self, runs: Iterable[Run]) -> None:
        """Say that what is `published` from here on rests on these runs, of whatever corpora."""
        self._gathered |= _names(runs)

    def say(self, text: str) -> None:
        """Show a sentence of prose whose numbers were computed, as Markdown."""
        display(Markdown(_no_markup(text)))

    def sentence(self, example: Example) -> str:
        """A sentence with its [S: subject] and [O: object], cut to `SHOWN` words; nothing of a licensed text."""
        if self.corpus.gated or not self.corpus.has_text:
            return "(licensed)" if self.corpus.gated else "(not at hand)"
        words, spans = list(example.token), {"O": example.object, "S": example.subject}
        for name, (start, end) in spans.items():
            words[start] = f"[{name}: {words[start]}"
            words[end] += "]"
        kept = window(len(words), list(spans.values()), SHOWN).tolist()
        shown = [words[place] if place - 1 in (-1, *kept) else f"… {words[place]}" for place in kept]
        return " ".join(shown + ["…"] * (kept[-1] + 1 < len(words)))

    def _folder(self, published: bool) -> Path:
        name = manifest.PUBLISHED if published else self.corpus.name
        return manifest.places(self.results, name).figures

    def _record(self, folder: Path, files: list[Path], published: bool) -> None:
        made = {"notebook": self.number, "runs": sorted(self._gathered if published else self._used)}
        made |= {"profile": self.profile.name, "corpus": Path(self._name).name}  # a folder's path is the machine's own
        made |= {"labels": self.labels, "seeds": self.seeds, "commit": git_commit()}
        manifest.record(folder, files, made)
        print(f"{portable(files[0].with_suffix(''))}: {', '.join(file.suffix[1:] for file in files)}")


def same_seeds(*systems: SystemAnswers) -> list[SystemAnswers]:
    """Systems of one family with the seeds that all of them have; those of several families, or without one, as they are."""
    families = {run.family for system in systems for run in system.runs}
    seeds = [[run.seed for run in system.runs] for system in systems]
    shared = set.intersection(*map(set, seeds))
    if len(families) != 1 or not shared:
        return list(systems)
    kept = [[place for place, seed in enumerate(own) if seed in shared] for own in seeds]
    return [
        replace(system, answers=[system.answers[p] for p in places], runs=[system.runs[p] for p in places])
        for system, places in zip(systems, kept, strict=True)
    ]


def _names(runs: Iterable[Run]) -> set[str]:
    return {f"{run.folder.parent.name}/{run.folder.name}" for run in runs}


def _place(path: str | Path) -> Path:
    """A path of the parameters: from the root of the study, ~ is the user's home."""
    return Path(os.path.normpath(ROOT / expanded(path)))


def _no_markup(text: str) -> str:
    """Markdown in which no tag begins: a label or note of a corpus stays text."""
    return text.replace("<", "&lt;")

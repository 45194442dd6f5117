"""Runs the notebooks in order, skips those that are up to date, stops at the first failure with its cause."""

import argparse
import json
import os
import re
import shlex
import sys
import time
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import msgspec
from filelock import FileLock, Timeout

from tacred_utils.cli.execute import NotebookFailed, clean, execute, read_notebook
from tacred_utils.corpora.example import NO_TEXT, ROWS
from tacred_utils.corpora.registry import SOURCES, corpora, corpus_files, corpus_name
from tacred_utils.ground.errors import UserError
from tacred_utils.ground.files import UNDECODABLE, digest, expanded, portable, write_text
from tacred_utils.ground.paths import DATA, NOTEBOOKS, PACKAGE, PUBLISHED_RUNS, ROOT
from tacred_utils.models.settings import FAMILIES
from tacred_utils.notebook.manifest import PUBLISHED, STUDY, entries, hand_over, held_back, places, replace_entries
from tacred_utils.runs.profile import checked_seeds, load_profile

ALWAYS = ("corpora", "ground", "notebook")  # rooms that every notebook reads: the study object and what it stands on
ROOMS = ("inputs", "metrics", "models", "paper", "runs", "sample")  # those that one may read or not
DATASETS = ("authors", "evidence", "retacred", "tacrev")  # beside the corpus, in the same data folder or in data/
STATUS = {UserError: 2, NotebookFailed: 1, KeyboardInterrupt: 130}


class Reads(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a notebook reads: an entry of reads.toml, which says what each field means."""

    rooms: tuple[str, ...] = ()
    families: tuple[str, ...] = ()
    ablations: bool = False
    published: bool = False
    data: tuple[str, ...] = ()
    once: bool = False


EVERYTHING = Reads(ROOMS, tuple(FAMILIES), True, True, DATASETS)  # a notebook that is not listed


class Stamp(msgspec.Struct):
    """What a complete run of a notebook was made from and what it wrote, and its seconds."""

    inputs: str
    outputs: dict[str, str | None]  # digests by file
    seconds: float


@dataclass(frozen=True)
class Job:
    """One notebook on one corpus with its parameters; `given` is the digest of all that it is made from, but for runs."""

    source: Path
    corpus: str  # the name that its results are filed under
    results: Path
    parameters: dict[str, object]
    given: str
    reads: Reads

    @property
    def number(self) -> str:
        return self.source.name[:2]

    @property
    def stamp(self) -> Path:
        return places(self.results, self.corpus).stamps / f"{self.number}.json"

    @property
    def drafts(self) -> dict[str, Path]:
        """Where the notebook writes figures and tables, of its corpus and of no single one."""
        return {name: places(self.results, name).figures for name in (self.corpus, PUBLISHED)}

    def inputs(self) -> str:
        """The digest of all that it is made from; for a reader of runs it changes with the runs that are there."""
        folders = [self.results / self.corpus, *(sorted(PUBLISHED_RUNS.glob("*/")) if self.reads.published else [])]
        runs = [run for folder in folders for run in sorted(folder.glob("*/run.json"))]
        runs = [run for run in runs if run.parent.name.partition("-")[0] in self.reads.families]
        if not self.reads.ablations:  # a later notebook may have trained others for its own sake
            from tacred_utils.runs.experiments import is_headline  # here: pandas takes a second
            from tacred_utils.runs.store import Run, is_done

            runs = [run for run in runs if is_done(run.parent) and is_headline(Run(run.parent))]
        return _digest([self.given, *(f"{run.parent.name} {_file_digest(run)}" for run in runs)])

    def last(self) -> Stamp | None:
        """The stamp of the last complete run; None without one that can be read."""
        try:
            return msgspec.json.decode(self.stamp.read_bytes(), type=Stamp)
        except (OSError, *UNDECODABLE):
            return None

    def is_current(self) -> bool:
        """Whether inputs are those of the last complete run, and all that it wrote is unchanged."""
        stamp = self.last()
        same = stamp is not None and stamp.inputs == self.inputs()
        return same and all(_file_digest(ROOT / file) == known for file, known in stamp.outputs.items())


def run_notebooks(options: argparse.Namespace) -> int:
    """Run the notebooks that are asked for and are not up to date; one run at a time in a results folder."""
    options.results = _folder(options.results) / ("smoke" if options.profile == "smoke" else "")
    os.environ["TACRED_STUDY_PROCESSES"] = str(options.processes)  # for `Study.train`
    work = places(options.results, "").logs
    try:
        jobs = plan(options)
        work.mkdir(parents=True, exist_ok=True)
        with FileLock(work.parent / ".runner.lock", timeout=0):
            return run_jobs(jobs, options.force, options.arguments)
    except Timeout:
        raise UserError(f"{options.results}: another run works here; choose other --results.") from None
    except OSError as error:
        raise _unwritten(error, options.results) from error


# What is to be run


def plan(options: argparse.Namespace) -> list[Job]:
    """The notebooks that are asked for; downloads an open corpus that is not there. Raises `UserError`.

    Without a corpus they are the profile's own and its further ones. What a notebook says of all corpora it says once,
    after the others, on the first. Published runs are of the profile `open`.
    """
    options.profile = options.profile or ("open" if options.results == PUBLISHED_RUNS else "sample")
    profile, data = load_profile(options.profile), _folder(options.data_dir or DATA)
    if options.data_dir and not data.is_dir():
        raise UserError(f"--data-dir {options.data_dir}: there is no such folder; name another.")
    sources, jobs = _chosen(options), []
    for corpus in [options.corpus] if options.corpus else [profile.corpus, *profile.further_corpora]:
        jobs += _jobs(sources, corpus, data, options)
    first = jobs[0].corpus
    jobs = [job for job in jobs if job.corpus == first or not job.reads.once]
    return sorted(jobs, key=lambda job: job.reads.once and len(jobs) > len(sources))


def _jobs(sources: list[Path], corpus: str, data: Path, options: argparse.Namespace) -> Iterator[Job]:
    if corpus not in corpora():
        corpus = str(_folder(corpus))  # notebooks do not work in the caller's folder
    name = corpus_name(corpus, options.labels)
    parameters = {
        "profile": options.profile, "corpus": corpus, "data_dir": portable(data) if options.data_dir else None,
        "labels": options.labels, "seeds": options.seeds and checked_seeds(options.seeds),
        "results": portable(options.results),
    }  # fmt: skip
    parameters |= {"negative": options.negative} if options.negative else {}
    declared = load_reads()
    reads = {source: declared.get(source.name[:2], EVERYTHING) for source in sources}
    if any("inputs" in each.rooms for each in reads.values()) or not (options.results / name / ROWS).exists():
        _fetch(corpus, data)  # what is inside the sentences is read, or there are no rows to do without them
    files = [ROOT / "requirements.txt", options.results / name / ROWS, *corpus_files(corpus, data)]
    shared = [parameters, sys.version_info[:2], *map(_file_digest, files)]
    for source in sources:
        rooms = sorted({*ALWAYS, *reads[source].rooms, *(["sample"] if corpus == "sample" else [])})
        folders = [PACKAGE / room for room in rooms]
        folders += [place / each for each in reads[source].data for place in (data, DATA)]
        given = _digest([sources_of(source, parameters), *shared, *map(_folder_digest, folders)])
        yield Job(source, name, options.results, parameters, given, reads[source])


def load_reads() -> dict[str, Reads]:
    """What each notebook reads, by its number: the entries of reads.toml."""
    table = tomllib.loads((PACKAGE / "cli" / "reads.toml").read_text(encoding="utf-8"))
    return msgspec.convert(table, dict[str, Reads])


def _chosen(options: argparse.Namespace) -> list[Path]:
    known = {int(path.name[:2]): path for path in sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))}
    wrong = {*options.only, options.first} - {0, *known}
    chosen = [path for n, path in known.items() if n >= options.first and n in (options.only or known)]
    if wrong or not chosen:
        there = ", ".join(f"{n:02}" for n in known)
        raise UserError(f"--only, --from: no notebook {min(wrong, default='is left')}; there are {there}.")
    return chosen


def _fetch(corpus: str, data: Path) -> None:
    """Download a corpus that is open and not complete below `data`."""
    is_open = corpus in SOURCES and SOURCES[corpus].url
    if is_open and not all(path.exists() for path in corpus_files(corpus, data)):
        from tacred_utils.corpora.registry import fetch_source  # a test puts another in its place

        print(f"Downloading {corpus} into {data / (SOURCES[corpus].folder or corpus)}", flush=True)
        fetch_source(corpus, data)


def sources_of(source: Path, parameters: dict[str, object]) -> list[str]:
    """The cells of a notebook without outputs. Raises `UserError` if it is damaged or does not take all parameters."""
    notebook = read_notebook(source)
    code = "\n".join(cell["source"] for cell in notebook["cells"] if "parameters" in cell["metadata"]["tags"])
    missing = [name for name in parameters if not re.search(rf"^{name}\b.*=", code, re.MULTILINE)]
    if missing:
        raise UserError(f"{source}: its parameters cell does not set {', '.join(missing)}; set each there.")
    return [f"{cell['cell_type']} {cell['source']}" for cell in notebook["cells"]]


# Running it


def run_jobs(jobs: list[Job], force: bool, arguments: list[str]) -> int:
    """Run the jobs in order; the exit status. What stops it is told with the command that resumes."""
    if force:
        os.environ["TACRED_STUDY_SINCE"] = str(time.time())  # `Study.train` trains again what was finished before
    stale = [job for job in jobs if force or not job.is_current()]
    expected = {job.stamp: stamp.seconds if (stamp := job.last()) else 60.0 for job in stale}
    start, several = time.monotonic(), len({job.corpus for job in jobs}) > 1
    said: dict[str, None] = {}
    for place, job in enumerate(jobs, start=1):
        head = f"[{place}/{len(jobs)}] {f'{job.corpus}: ' if several else ''}{job.source.stem:<24}"
        try:
            if not force and job.is_current():  # asked again: the notebooks before it may have made runs that it reads
                print(head, "up to date", flush=True)
                continue
            left = _clock(sum(expected.values()))
            seconds, notes = do(job, f"{head} {{n}}/{{total}} cells in {{elapsed}}, about {left} left in all")
        except (OSError, *STATUS) as error:
            stop = _unwritten(error, job.stamp) if isinstance(error, OSError) else error
            cause = str(stop) or f"Stopped by Ctrl-C in {job.source.name}."
            print(f"{cause}\nTo resume: {_resume(arguments, '' if several else job.number)}", file=sys.stderr)
            return STATUS[type(stop)]
        expected.pop(job.stamp, None)
        left = f"about {_clock(sum(expected.values()))} left" if expected else "finished"
        print(f"{head} done in {_clock(seconds)} (elapsed {_clock(time.monotonic() - start)}, {left})", flush=True)
        print(*(f"  {note}\n" for note in notes if note not in said), sep="", end="", flush=True)
        said |= dict.fromkeys(notes)
    return 0


def do(job: Job, bar: str) -> tuple[float, list[str]]:
    """Run one notebook and put its products in place; its seconds, and what is to be said of those that stay below."""
    start = time.monotonic()
    job.stamp.unlink(missing_ok=True)
    for folder in job.drafts.values():
        replace_entries(job.number, folder, {})
    notebook = execute(job.source, job.parameters, places(job.results, job.corpus).logs, bar)
    shown, notes = _hand_over(job)
    complete = job.drafts.keys() == shown.keys() or job.corpus != STUDY and job.corpus in shown
    if complete and job.corpus == STUDY and any(NO_TEXT in str(cell.get("outputs")) for cell in notebook["cells"]):
        complete = False
        notes.append(f"{portable(NOTEBOOKS)}/executed stays: {job.source.name} was made without the corpus' text.")
    executed = places(job.results, job.corpus, read=complete).executed / job.source.name
    names = {str(value): name.upper() for name, value in job.parameters.items() if os.path.isabs(str(value))}
    names |= {portable(job.drafts[name]): portable(folder) for name, folder in shown.items()}
    write_text(executed, clean(notebook, names))
    folders = (job.drafts | shown).values()
    made = [executed, *(folder / name for folder in folders for name in entries(job.number, folder))]
    seconds = round(time.monotonic() - start, 1)
    stamp = Stamp(job.inputs(), {portable(file): _file_digest(file) for file in made}, seconds)
    write_text(job.stamp, json.dumps(msgspec.structs.asdict(stamp), indent=1))
    return seconds, notes


def _hand_over(job: Job) -> tuple[dict[str, Path], list[str]]:
    """Move what a job made to the folders that people read, unless that is held back; those folders, and what was not."""
    shown, notes, profile = {}, [], job.parameters["profile"]
    for name, draft in job.drafts.items() if profile != "smoke" else ():
        folder = places(job.results, name, read=True).figures
        new, old = entries(job.number, draft), entries(job.number, folder)
        why = held_back(name, job.corpus, profile, new, old) if new or old else ""
        if not why:
            hand_over(job.number, draft, folder)
            shown[name] = folder
        elif new or STUDY in (name, job.corpus):
            notes.append(f"{portable(folder)} stays: it {why}; what was made now lies in {portable(draft)}.")
    return shown, notes


def _resume(arguments: list[str], number: str) -> str:
    """This run's command from notebook `number` on; what completed under --force is not done again."""
    script = "./run_all.sh" if Path.cwd() == ROOT else shlex.quote(str(ROOT / "run_all.sh"))
    kept = f" {shlex.join(arguments)}".replace(" --force", "")
    kept = re.sub(r" --from[= ]\S+", "", kept).rstrip() + f" --from {number}" if number else kept
    return f"{script}{kept.rstrip()}"


def _clock(seconds: float) -> str:
    """95 → "1 min 35 s"."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def _folder(path: Path | str) -> Path:
    """The folder as an absolute path. Raises `UserError` for links that go in a circle, or if here is no folder."""
    try:
        return expanded(path).resolve()
    except (OSError, RuntimeError) as error:
        raise UserError(f"{path}: leads to no folder ({error}); name another, or start elsewhere.") from None


def _unwritten(error: OSError, place: Path) -> UserError:
    return UserError(f"{error.filename or place}: {error.strerror or error}; free space, or choose other --results.")


def _digest(value: object) -> str:
    return digest(json.dumps(value).encode())


def _file_digest(path: Path) -> str | None:
    return digest(path) if path.is_file() else None


@cache
def _folder_digest(folder: Path) -> str:
    """Of the names and contents of all files below a folder, compiled ones left out."""
    files = [path for path in sorted(folder.rglob("*")) if "__pycache__" not in path.parts]
    return _digest([(path.relative_to(folder).as_posix(), _file_digest(path)) for path in files])

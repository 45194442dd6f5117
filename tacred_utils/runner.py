"""Runs the notebooks in order, skips those that are up to date, and stops at the first failure with its cause.

`./run_all.sh` makes the environment and calls `python -m tacred_utils.runner` with the same options. Exit status: 0 when
every cell of every notebook completed, 2 for a mistake of the user's, 130 for Ctrl-C, 1 otherwise.
"""

import argparse
import ast
import hashlib
import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from tacred_utils.errors import UserError
from tacred_utils.outputs import Places, forget, places, read_manifest
from tacred_utils.paths import DATA, NOTEBOOKS, PACKAGE, RESULTS, ROOT, write_text

PARAMETERS = ("profile", "corpus", "data_dir", "labels", "seeds", "results")  # what every notebook takes
REFERENCES = ("authors", "retacred", "tacrev")  # folders of the data folder that notebooks read beside the corpus
DEFAULT_SECONDS = 60.0  # expected of a notebook that never ran here
FORCE = "TACRED_STUDY_FORCE"  # environment variable: notebooks train again instead of taking a finished run


class NotebookFailed(Exception):
    """A notebook did not complete; `status` is the exit status that follows (2 when the user can mend it)."""

    def __init__(self, message: str, status: int):
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Job:
    """One notebook to run. `inputs` is the digest of all that its result depends on but the data files."""

    source: Path
    where: Places
    parameters: dict[str, object]
    inputs: str

    @property
    def number(self) -> str:
        return self.source.name[:2]

    @property
    def executed(self) -> Path:
        return self.where.executed / self.source.name

    @property
    def stamp(self) -> Path:
        return self.where.stamps / f"{self.number}.json"

    def outputs(self) -> list[Path]:
        """The executed notebook, and the figures and tables that the manifest says are its."""
        entries = read_manifest(self.where.figures).items()
        return [self.executed, *(self.where.figures / file for file, entry in entries if entry["notebook"] == self.number)]


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status. A foreseen failure is told in a sentence, without a traceback."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # shells start background jobs with it ignored
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        options = parse(arguments)
        return run_tests(options.test) if options.test else run(options, arguments)
    except (UserError, NotebookFailed) as error:
        print(error, file=sys.stderr)
        return getattr(error, "status", 2)
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return 130


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(f"run_all.sh: {message}; see ./run_all.sh --help.")


def parse(arguments: list[str]) -> argparse.Namespace:
    """The options of `./run_all.sh` that concern the notebooks. Raises `UserError` for one that is not understood."""
    parser = _Parser(prog="run_all.sh", add_help=False, allow_abbrev=False)
    parser.add_argument("--profile", default="sample", choices=sorted(p.stem for p in (PACKAGE / "profiles").glob("*.toml")))
    parser.add_argument("--corpus")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--labels", default="tacred", choices=("tacred", "tacrev", "retacred"))
    parser.add_argument("--seeds", type=_integers)
    parser.add_argument("--only", type=_integers)
    parser.add_argument("--from", type=int, default=0, dest="first")
    parser.add_argument("--force", action="store_true")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--test", nargs="?", const="quick", choices=("quick", "all"))
    return parser.parse_args(arguments)


def _integers(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of whole numbers such as 3,6") from None


def run_tests(which: str) -> int:
    """Run the quick tests, or all of them."""
    selection = [] if which == "all" else ["-m", "not long"]
    status = subprocess.run([sys.executable, "-m", "pytest", "-q", *selection], cwd=ROOT).returncode
    return status if status in (0, 130) else 1


def run(options: argparse.Namespace, arguments: list[str]) -> int:
    """Run the notebooks that are asked for and are not up to date; one run at a time in a results folder."""
    from filelock import FileLock, Timeout

    jobs = plan(options)
    results = ROOT / jobs[0].parameters["results"]
    try:
        results.mkdir(parents=True, exist_ok=True)
        with FileLock(results / ".runner.lock", timeout=0):
            return run_jobs(jobs, options.force, arguments)
    except Timeout:
        raise UserError(f"{results}: another run works here; let it end, or choose another folder with --results.") from None
    except OSError as error:
        place = error.filename or results
        raise UserError(f"{place}: cannot be written ({error.strerror}); free space or choose another --results.") from error


def plan(options: argparse.Namespace) -> list[Job]:
    """The notebooks that are asked for, each checked to take the study's parameters. Raises `UserError`."""
    from tacred_utils.registry import SAMPLE, SOURCES, corpus_name
    from tacred_utils.settings import load_profile

    if options.data_dir is not None and not options.data_dir.is_dir():
        raise UserError(f"--data-dir {options.data_dir}: there is no such folder.")
    corpus = options.corpus or load_profile(options.profile).corpus
    if os.sep in corpus or (corpus not in {SAMPLE, *SOURCES} and Path(corpus).is_dir()):
        corpus = str(Path(corpus).resolve())  # notebooks work in the repository root, not where the caller is
    results = options.results.resolve() / ("smoke" if options.profile == "smoke" else "")
    values = (options.profile, corpus, options.data_dir and options.data_dir.resolve(), options.labels, options.seeds, results)
    parameters = {name: _portable(value) for name, value in zip(PARAMETERS, values, strict=True)}
    where = places(options.profile, results, corpus_name(corpus, options.data_dir, options.labels))
    return [Job(path, where, parameters, _inputs(path, parameters)) for path in _chosen(options)]


def _portable(value: object) -> object:
    """A path inside the repository as notebooks write it, relative to the root; other values as they are."""
    path = Path(value) if isinstance(value, str | Path) and os.sep in str(value) else None
    if path is None:
        return value
    return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else str(path)


def _chosen(options: argparse.Namespace) -> list[Path]:
    known = {int(path.name[:2]): path for path in sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))}
    for number in [*(options.only or []), *([options.first] if options.first else [])]:
        if number not in known:
            raise UserError(f"There is no notebook {number:02}; there are {', '.join(f'{n:02}' for n in known)}.")
    wanted = [path for n, path in known.items() if n >= options.first and n in (options.only or known)]
    if not wanted:
        raise UserError("--only and --from leave no notebook to run.")
    return wanted


def _inputs(source: Path, parameters: dict[str, object]) -> str:
    """Digest of the notebook's cells, the package with its data files, the pins and the parameters."""
    try:
        cells = json.loads(source.read_text(encoding="utf-8"))["cells"]
        code = ["".join(cell["source"]) for cell in cells if "parameters" in cell["metadata"].get("tags", [])]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{source}: not a notebook ({error}); restore it.") from error
    if len(code) != 1:
        raise UserError(f"{source}: has {len(code)} cells tagged `parameters`, not one; tag the cell that sets {', '.join(PARAMETERS)}.")
    statements = ast.parse(code[0]).body
    targets = [target for s in statements for target in (s.targets if isinstance(s, ast.Assign) else [getattr(s, "target", None)])]
    missing = set(parameters) - {target.id for target in targets if isinstance(target, ast.Name)}
    if missing:
        raise UserError(f"{source}: its parameters cell does not set {', '.join(sorted(missing))}; add a default there.")
    files = [path for path in sorted(PACKAGE.rglob("*")) if path.is_file() and "__pycache__" not in path.parts]
    sums = [_digest(path) for path in [ROOT / "requirements.txt", *files]]
    parts = [sums, sys.version_info[:2], [(cell["cell_type"], "".join(cell["source"])) for cell in cells], parameters]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _digest(path: Path) -> str | None:
    """sha256 of a file's content; None for a file that is not there."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


def _data_files(job: Job) -> dict[str, list[int]]:
    """Size and time of each file that the notebook may read: the corpus and what is published about TACRED."""
    from tacred_utils.registry import corpus_files

    data, corpus = ROOT / (job.parameters["data_dir"] or DATA), str(job.parameters["corpus"])
    files = [*corpus_files(corpus, data), *(path for name in REFERENCES for path in (data / name).rglob("*"))]
    return {str(path): [(stat := path.stat()).st_size, stat.st_mtime_ns] for path in files if path.is_file()}


def _stamp(job: Job) -> dict:
    """What is known of the last complete run: inputs, data, outputs with digests, seconds. Empty if there was none."""
    try:
        stamp = json.loads(job.stamp.read_text(encoding="utf-8"))
        return stamp if isinstance(stamp, dict) else {}
    except (OSError, ValueError):
        return {}


def is_current(job: Job) -> bool:
    """Whether the last complete run had the same inputs and data, and all that it wrote is still there unchanged."""
    stamp = _stamp(job)
    if stamp.get("inputs") != job.inputs or stamp.get("data") != _data_files(job):
        return False
    return all(_digest(ROOT / file) == digest for file, digest in stamp["outputs"].items())


def run_jobs(jobs: list[Job], force: bool, arguments: list[str]) -> int:
    """Run the jobs in order. Raises `NotebookFailed` with the command that resumes; returns 130 after Ctrl-C."""
    if force:
        os.environ[FORCE] = "1"
    stale = [job for job in jobs if force or not is_current(job)]
    expected = {job.number: _stamp(job).get("seconds", DEFAULT_SECONDS) for job in stale}
    start = time.monotonic()
    for place, job in enumerate(jobs, start=1):
        head = f"[{place}/{len(jobs)}] {job.source.stem:<24}"
        if job not in stale:
            print(f"{head} up to date", flush=True)
            continue
        resume = f"To resume: {_resume(arguments, job.number)}"
        try:
            with _ticking(head, start, sum(expected.values())):
                seconds = execute(job)
        except NotebookFailed as failure:
            raise NotebookFailed(f"{failure}\n{resume}", failure.status) from failure
        except KeyboardInterrupt:
            print(f"Stopped by Ctrl-C in {job.source.name}. {resume}", file=sys.stderr)
            return 130
        del expected[job.number]
        left = f"about {_clock(sum(expected.values()))} left" if expected else "finished"
        print(f"done in {_clock(seconds)} (elapsed {_clock(time.monotonic() - start)}, {left})", flush=True)
    return 0


def execute(job: Job) -> float:
    """Run one notebook and return its seconds; its outputs count only if every cell completed. Raises `NotebookFailed`."""
    from tacred_utils.execution import run_notebook  # papermill and its imports take a second

    start, data = time.monotonic(), _data_files(job)
    before = {path: path.stat().st_mtime_ns for path in job.outputs()[1:] if path.exists()}
    job.where.logs.mkdir(parents=True, exist_ok=True)
    job.stamp.unlink(missing_ok=True)
    log, failed = job.where.logs / f"{job.number}.log", job.where.logs / f"{job.number}_failed.ipynb"
    names = {str(ROOT): ".", sys.prefix: "ENVIRONMENT", str(Path.home()): "~"}
    names |= {str(job.parameters[name]): name.upper() for name in ("data_dir", "results") if os.path.isabs(job.parameters[name] or "")}
    text, problem = run_notebook(job.source, job.parameters, log, names)
    if problem:
        write_text(failed, text)
        message = f"{job.source.name} {problem.sentence}\nLog: {log}"
        raise NotebookFailed(message, 2 if problem.by_user else 1)
    failed.unlink(missing_ok=True)
    write_text(job.executed, text)
    forget(job.where.figures, [path for path, then in before.items() if path.stat().st_mtime_ns == then])
    stamp = {
        "inputs": job.inputs,
        "data": _data_files(job) | data,  # as it was before, and what was downloaded meanwhile
        "outputs": {_portable(path): _digest(path) for path in job.outputs()},
        "seconds": round(time.monotonic() - start, 1),
    }
    write_text(job.stamp, json.dumps(stamp, indent=1))
    return stamp["seconds"]


def _resume(arguments: list[str], number: str) -> str:
    """The command of this run, from the notebook `number` on; what completed under --force is not done again."""
    script = "./run_all.sh" if Path.cwd() == ROOT else shlex.quote(str(ROOT / "run_all.sh"))
    kept, skip = [], False
    for argument in arguments:
        name, _, value = argument.partition("=")
        if not skip and name not in ("--from", "--force"):
            kept.append(shlex.quote(argument))
        skip = name == "--from" and not value
    return " ".join([script, *kept, "--from", number])


def _clock(seconds: float) -> str:
    """95 → "1 min 35 s"."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


@contextmanager
def _ticking(head: str, start: float, expected: float) -> Iterator[None]:
    """One line while a notebook runs; on a terminal it tells the time once a second."""
    ended, begun = threading.Event(), time.monotonic()

    def tick() -> None:
        while not ended.wait(1):
            now = time.monotonic()
            left = _clock(max(expected - (now - begun), 0))
            print(f"\r{head} running (elapsed {_clock(now - start)}, about {left} left)", end="\x1b[K", flush=True)

    print(head, end=" ", flush=True)
    thread = threading.Thread(target=tick, daemon=True)
    if sys.stdout.isatty():
        thread.start()
    try:
        yield
    except BaseException:
        print("stopped", flush=True)
        raise
    finally:
        ended.set()
        if thread.is_alive():
            thread.join()
            print(f"\r{head} ", end="\x1b[K", flush=True)


if __name__ == "__main__":
    sys.exit(main())

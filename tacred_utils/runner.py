"""Runs the notebooks in order, skips those that are up to date, stops at the first failure with its cause.

`./run_all.sh` makes the environment and calls `python -m tacred_utils.runner` with the same options. Exit
status: 0 when every cell of every notebook completed, 2 for a user's mistake, 130 for Ctrl-C, else 1.
"""

import argparse
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from filelock import FileLock, Timeout

from tacred_utils.errors import UserError
from tacred_utils.notebooks import PARAMETERS, Job, make_job, portable
from tacred_utils.outputs import forget, places
from tacred_utils.paths import NOTEBOOKS, RESULTS, ROOT, write_text
from tacred_utils.registry import LABEL_SETS, corpora, corpus_name
from tacred_utils.settings import load_profile

DEFAULT_SECONDS = 60.0  # expected of a notebook that never ran here
FORCE = "TACRED_STUDY_FORCE"  # environment variable: notebooks train again instead of taking a finished run


class NotebookFailed(Exception):
    """A notebook did not complete; `status` is the exit status that follows (2 when the user can mend it)."""

    def __init__(self, message: str, status: int):
        super().__init__(message)
        self.status = status


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return the exit status; a foreseen failure is told in a sentence."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # shells start background jobs with it ignored
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        options = parse(arguments)
        return run_tests(options.test) if options.test else run(options, arguments)
    except (UserError, NotebookFailed) as error:
        print(error, file=sys.stderr)
        return getattr(error, "status", 2)
    except KeyboardInterrupt:
        print("Stopped by Ctrl-C.", file=sys.stderr)
        return 130


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(f"run_all.sh: {message}; see ./run_all.sh --help.")


def parse(arguments: list[str]) -> argparse.Namespace:
    """The options of `./run_all.sh` that concern the notebooks. Raises `UserError`."""
    parser = _Parser(prog="run_all.sh", add_help=False, allow_abbrev=False)
    parser.add_argument("--profile", default="sample")
    parser.add_argument("--corpus")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--labels", default="tacred", choices=LABEL_SETS)
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
    jobs = plan(options)
    results = ROOT / str(jobs[0].parameters["results"])
    try:
        results.mkdir(parents=True, exist_ok=True)
        with FileLock(results / ".runner.lock", timeout=0):
            return run_jobs(jobs, options.force, arguments)
    except Timeout:
        raise UserError(
            f"{results}: another run works here; let it end, or choose other --results."
        ) from None
    except OSError as error:
        place = error.filename or results
        remedy = "free space, or choose a folder that can be written with --results"
        raise UserError(f"{place}: cannot be written ({error.strerror}); {remedy}.") from error


def plan(options: argparse.Namespace) -> list[Job]:
    """The notebooks that are asked for, with their parameters. Raises `UserError`."""
    if options.data_dir is not None and not options.data_dir.is_dir():
        raise UserError(f"--data-dir {options.data_dir}: there is no such folder.")
    corpus = options.corpus or load_profile(options.profile).corpus
    if corpus not in corpora() and Path(corpus).expanduser().is_dir():
        corpus = str(Path(corpus).expanduser().resolve())  # notebooks do not work in the caller's folder
    results = options.results.resolve() / ("smoke" if options.profile == "smoke" else "")
    data = None if options.data_dir is None else portable(options.data_dir.resolve())
    values = (options.profile, corpus, data, options.labels, options.seeds, portable(results))
    parameters = dict(zip(PARAMETERS, values, strict=True))
    where = places(options.profile, results, corpus_name(corpus, options.data_dir, options.labels))
    return [make_job(path, where, parameters) for path in _chosen(options)]


def _chosen(options: argparse.Namespace) -> list[Path]:
    known = {int(path.name[:2]): path for path in sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))}
    for number in [*(options.only or []), *([options.first] if options.first else [])]:
        if number not in known:
            raise UserError(
                f"There is no notebook {number:02}; there are {', '.join(f'{n:02}' for n in known)}."
            )
    chosen = [path for n, path in known.items() if n >= options.first and n in (options.only or known)]
    if not chosen:
        raise UserError("--only and --from leave no notebook to run.")
    return chosen


def run_jobs(jobs: list[Job], force: bool, arguments: list[str]) -> int:
    """Run the jobs in order. `NotebookFailed` names the command that resumes; 130: Ctrl-C."""
    if force:
        os.environ[FORCE] = "1"
    stale = [job for job in jobs if force or not job.is_current()]
    expected = {job.number: job.last().get("seconds", DEFAULT_SECONDS) for job in stale}
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
    """Run one notebook and return its seconds; it counts only if every cell completed."""
    from tacred_utils.execution import run_notebook  # papermill takes a second to import

    start, data, before = time.monotonic(), job.data_files(), job.written()
    job.where.logs.mkdir(parents=True, exist_ok=True)
    job.stamp.unlink(missing_ok=True)
    text, problem = run_notebook(job.source, job.parameters, job.log, _folder_names(job))
    failed = job.where.logs / f"{job.number}_failed.ipynb"
    if problem:
        write_text(failed, text)
        message = f"{job.source.name} {problem.sentence}\nLog: {job.log}"
        raise NotebookFailed(message, 2 if problem.by_user else 1)
    failed.unlink(missing_ok=True)
    write_text(job.executed, text)
    made = [path for path, when in job.written().items() if before.get(path) != when]
    forget(job.where.figures, [path for path in before if path not in made])
    seconds = time.monotonic() - start
    job.complete(data, [job.executed, *made], seconds)
    return seconds


def _folder_names(job: Job) -> dict[str, str]:
    """What stands in a kept notebook for this machine's folders."""
    names = {str(ROOT): ".", sys.prefix: "ENVIRONMENT", str(Path.home()): "~"}
    given = {str(job.parameters[name]): name.upper() for name in ("corpus", "data_dir", "results")}
    return names | {folder: name for folder, name in given.items() if os.path.isabs(folder)}


def _resume(arguments: list[str], number: str) -> str:
    """This run's command from notebook `number` on; what completed under --force is not done again."""
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
            print(
                f"\r{head} running (elapsed {_clock(now - start)}, about {left} left)",
                end="\x1b[K",
                flush=True,
            )

    print(head, end=" ", flush=True)
    thread = threading.Thread(target=tick, daemon=True) if sys.stdout.isatty() else None
    if thread:
        thread.start()
    outcome = "stopped\n"
    try:
        yield
        outcome = ""
    finally:
        ended.set()
        if thread:
            thread.join()
            print(f"\r{head} ", end="\x1b[K")
        print(outcome, end="", flush=True)


if __name__ == "__main__":
    sys.exit(main())

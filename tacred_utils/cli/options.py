"""The options of every command. Needs the standard library alone: a mistake is told before anything is installed."""

import argparse
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from tacred_utils.ground.errors import UserError
from tacred_utils.ground.labels import LABEL_SETS, TASKS
from tacred_utils.ground.paths import PUBLISHED_RUNS, RESULTS

PATHS = (
    "Paths are meant from the folder where you stand, ~ is your home folder, and every other sign is part of the name."
    " In a notebook's parameters they are meant from the root of the study."
)
NEGATIVE = "what is called no_relation there, such as NA or Other"
STATUS = "Exit status: 0 if all is done, 2 for a mistake that you can mend, 130 after Ctrl-C, else 1."
DEFAULTS = {"results": RESULTS, "labels": "tacred", "only": [], "first": 0, "processes": 1}
WITH_MODE = {"setup": (), "lab": (), "test": (), "report": ("results", "data_dir", "out")}  # what goes with each


class _Parser(argparse.ArgumentParser):
    """A parser whose mistakes are `UserError`s; options are never abbreviated."""

    def __init__(self, **kwargs) -> None:
        super().__init__(**{"allow_abbrev": False} | kwargs)

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{self.prog}: {message}; see {self.prog} --help.")


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The options of a command line; `command` is the function of `commands` that does it. Raises `UserError`."""
    _refuse_blanks(arguments)
    options = _parser().parse_args(arguments)
    if options.command == "run":
        _refuse_what_does_not_go_together(options)
    for name, value in DEFAULTS.items():
        if getattr(options, name, value) is None:
            setattr(options, name, value)
    options.arguments = list(arguments[1:])  # as they were given, for the command that resumes
    return options


def path(text: str) -> Path:
    """The path with ~ as a home folder; a name after ~ that no user has stays as it is."""
    return Path(os.path.expanduser(text))


def numbers(text: str) -> list[int]:
    """`13,42` → [13, 42]; argparse names this function when the text is something else."""
    return [int(part) for part in text.split(",")]


def _refuse_blanks(arguments: Sequence[str]) -> None:
    """An option's value that is empty, as an unset variable of the shell leaves it, means no default."""
    for before, argument in zip(["the command", *arguments], arguments, strict=False):
        name = argument.rstrip("=") if re.fullmatch("--[a-z-]+=", argument) else before
        if argument == "" or name != before:
            raise UserError(f"{name}: is given an empty value; give one, or leave the option out.")


def _refuse_what_does_not_go_together(options: argparse.Namespace) -> None:
    given = {name for name, value in vars(options).items() if value not in (None, False) and name != "command"}
    mode = next((mode for mode in WITH_MODE if mode in given), None)
    wrong = sorted(given - {mode, *(WITH_MODE[mode] if mode else set(vars(options)) - {"out"})})
    if wrong:
        with_what = f"--{mode}" if mode else "the notebooks, but with --report"
        raise UserError(f"--{wrong[0].replace('_', '-')}: does not go with {with_what}; see ./run_all.sh --help.")


def _span(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"([0-9]{1,6})(?::([0-9]{1,6}))?", text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is not FIRST:LAST, two numbers of words such as 3:5")
    return int(found[1]), int(found[2] or found[1])


def _positive(text: str) -> int:
    if not re.fullmatch("[0-9]{1,6}", text) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    about = "Relation extraction on TACRED: run the study, train, score, predict, check data."
    parser = _Parser(prog="python -m tacred_utils", description=about, epilog=f"{PATHS} {STATUS}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    data_dir, results = _Parser(add_help=False), _Parser(add_help=False)
    data_dir.add_argument(
        "--data-dir", type=path, metavar="DIR", help="holds a folder for each corpus (default: data/)"
    )
    results.add_argument("--results", type=path, metavar="DIR", help="where runs lie (default: results/)")
    where = _Parser(add_help=False, parents=[data_dir])
    where.add_argument("--corpus", metavar="NAME|DIR", help="a registered corpus or a folder in TACRED's format")
    where.add_argument("--labels", choices=LABEL_SETS, help="default: tacred")
    where.add_argument("--negative", metavar="NAME", help=NEGATIVE)
    profile = _Parser(add_help=False, parents=[where, results])
    profile.add_argument(
        "--profile", metavar="NAME",
        help="smoke (3 minutes), sample (default; train on another corpus: open), open (real text, hours), paper (a GPU)",
    )  # fmt: skip

    about = (
        "Run the notebooks in order; what is up to date is skipped. ./run_all.sh makes the environment and does this."
    )
    _run_options(_add(commands, "run", about, profile))
    _train_options(_add(commands, "train", "Train or re-use one run and print its folder and scores.", profile))
    command = _add(commands, "plan", "Print the command of every run of a profile that is still missing.", profile)
    command.add_argument("--seeds", type=numbers, metavar="13,42,87")
    _score_options(_add(commands, "score", "Print every score of a file of predictions."))
    _predict_options(_add(commands, "predict", "Answer one sentence with the model that a run kept."))
    _data_commands(_group(commands, "data", "Check, make or get a corpus."), where, data_dir)
    _runs_commands(_group(commands, "runs", "List or publish runs."), results, data_dir)
    command = _add(commands, "report", "Write a static site of the executed notebooks.", results, data_dir)
    command.add_argument("--out", type=path, metavar="DIR", help="where the site goes (default: results/report/)")
    return parser


def _add(commands, name: str, about: str, *parents: argparse.ArgumentParser, does: str = "") -> argparse.ArgumentParser:
    command = commands.add_parser(name, parents=parents, help=about, description=about, epilog=PATHS)
    command.set_defaults(command=does or name.replace("-", "_"))
    return command


def _group(commands, name: str, about: str):
    return commands.add_parser(name, help=about, description=about).add_subparsers(required=True, metavar="COMMAND")


def _run_options(command: argparse.ArgumentParser) -> None:
    command.prog, command.epilog = "./run_all.sh", f"{PATHS} {STATUS}"
    command.add_argument("--seeds", type=numbers, metavar="13,42,87", help="seeds to train with")
    command.add_argument("--only", type=numbers, metavar="03,06", help="these notebooks only")
    command.add_argument("--from", type=int, dest="first", metavar="04", help="this notebook and those after it")
    command.add_argument("--force", action="store_true", help="run again what is up to date, and train again")
    command.add_argument(
        "--processes", type=_positive, metavar="N", help="so many processes train together, for example one a GPU"
    )
    mode = command.add_mutually_exclusive_group()
    mode.add_argument("--setup", action="store_true", help="make the environment, check it, and stop")
    mode.add_argument(
        "--test", nargs="?", const="quick", choices=["quick", "all"], help="run the quick tests, or all of them"
    )
    mode.add_argument("--report", action="store_true", help="write the site of the executed notebooks (see --out)")
    mode.add_argument("--lab", action="store_true", help="open JupyterLab in notebooks/; Ctrl-C ends it")
    command.add_argument("--out", type=path, metavar="DIR", help="where the site goes (default: results/report/)")


def _train_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--family", required=True)
    command.add_argument("--task", required=True, help=", ".join(TASKS))
    command.add_argument("--seed", type=int)
    command.add_argument("--variant")
    command.add_argument(
        "--set", action="extend", nargs="+", default=[], metavar="KEY=VALUE", help="override settings, one or several"
    )
    command.add_argument("--force", action="store_true", help="train again even if the run is done")


def _score_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("file", type=path, help="JSON lines, or one label a line with --gold")
    command.add_argument("--gold", type=path, metavar="FILE")
    command.add_argument("--negative", metavar="NAME", help=NEGATIVE)
    command.add_argument("--json", action="store_true", help="one JSON object, name to fraction")


def _predict_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--run", required=True, type=path, metavar="DIR", help="a run's folder, as `train` prints it")
    what = command.add_mutually_exclusive_group(required=True)
    what.add_argument("--sentence", help="split at blanks and punctuation, much as TACRED's are")
    what.add_argument(
        "--file", type=path, metavar="FILE",
        help="JSON lines with sentence and, if you name them, subject and object; or records in TACRED's format, with or "
        "without relation; or a folder of such files: a line of JSON for each answer",
    )  # fmt: skip
    for role in ("subject", "object"):
        place = command.add_mutually_exclusive_group()
        place.add_argument(f"--{role}", metavar="TEXT", help="its words in the sentence; without both: every pair")
        place.add_argument(
            f"--{role}-at", type=_span, metavar="FIRST:LAST", help="its first and last word by number, from 0"
        )
        command.add_argument(f"--{role}-type", metavar="TYPE", help="its entity type, for a run that reads types")
    command.add_argument("--top", type=_positive, default=5, metavar="N", help="relations shown (default: 5)")
    command.add_argument("--json", action="store_true", help="one JSON object instead of the table")


def _data_commands(data, where: argparse.ArgumentParser, data_dir: argparse.ArgumentParser) -> None:
    command = _add(data, "check", "Read and validate a corpus, and print its card.", where, does="data_check")
    command.add_argument("folder", nargs="?", metavar="DIR")
    about = "Predict parts of speech, entities, heads and dependencies that a corpus lacks, by spaCy."
    command = _add(data, "annotate", about, where, does="data_annotate")
    command.add_argument("folder", nargs="?", metavar="DIR")
    command = _add(data, "make-sample", "Write the synthetic corpus as a folder in TACRED's format.")
    command.add_argument("--scale", type=float, default=1.0, help="share of TACRED's size (default: 1.0)")
    command.add_argument("--out", type=path, required=True, metavar="DIR")
    command.add_argument("--seed", type=int, default=0)
    command = _add(data, "get", "Download an open corpus or reference data.", data_dir, does="data_get")
    command.add_argument("name")


def _runs_commands(runs, results: argparse.ArgumentParser, data_dir: argparse.ArgumentParser) -> None:
    command = _add(runs, "list", "List the finished runs below a results folder.", results, does="runs_list")
    command.add_argument("--corpus", metavar="NAME")
    about = "Copy the runs that the notebooks show, without weights, and renew the README's results."
    command = _add(runs, "publish", about, results, data_dir, does="runs_publish")
    command.add_argument("--corpus", metavar="NAME")
    command.add_argument("--to", type=path, default=PUBLISHED_RUNS, metavar="DIR", help="default: data/runs/")

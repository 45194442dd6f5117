"""The options of every command (options.toml). Needs the standard library alone: a mistake is told before anything is installed."""

import argparse
import os
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from tacred_utils.ground.errors import UserError
from tacred_utils.ground.files import PACKAGE, PUBLISHED_RUNS, RESULTS

ABOUT = "Relation extraction on TACRED: run the study, train, score, predict, check data."
GROUPS = {"data": "Check, make or get a corpus.", "runs": "List or publish runs."}
PATHS = (
    "Paths are meant from the folder where you stand, ~ is your home folder, and every other sign is part of the name."
    " In a notebook's parameters they are meant from the root of the study."
)
STATUS = "Exit status: 0 if all is done, 2 for a mistake that you can mend, 130 after Ctrl-C, else 1."
DEFAULTS = {"results": RESULTS, "labels": "tacred", "only": [], "first": 0, "processes": 1, "to": PUBLISHED_RUNS}
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
    if options.command == "run_study":
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


def _positive(text: str) -> int:
    if not re.fullmatch("[0-9]{1,6}", text) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)


def _from_to(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"([0-9]{1,6})(?::([0-9]{1,6}))?", text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is not FIRST:LAST, two numbers of words such as 3:5")
    return int(found[1]), int(found[2] or found[1])


TYPES = {"path": path, "numbers": numbers, "number": int, "share": float, "positive": _positive, "span": _from_to}


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


def _parser() -> argparse.ArgumentParser:
    table = tomllib.loads((PACKAGE / "cli" / "options.toml").read_text(encoding="utf-8"))
    shared = table.pop("shared")
    parser = _Parser(prog="python -m tacred_utils", description=ABOUT, epilog=f"{PATHS} {STATUS}")
    groups = {"": parser.add_subparsers(required=True, metavar="COMMAND")}
    for name, entry in table.items():
        group, _, last = name.rpartition(" ")
        if group not in groups:
            about = {"help": GROUPS[group], "description": GROUPS[group]}
            groups[group] = groups[""].add_parser(group, **about).add_subparsers(required=True, metavar="COMMAND")
        about = {"help": entry["about"], "description": entry["about"], "epilog": f"{PATHS} {STATUS}"}
        command = groups[group].add_parser(last, **about | ({"prog": entry["prog"]} if "prog" in entry else {}))
        command.set_defaults(command=entry["does"])
        for options in [*(shared[part] for part in entry.get("takes", [])), entry.get("options", {})]:
            _add_options(command, options)
        for options in entry.get("one_of", []):
            _add_options(command.add_mutually_exclusive_group(required=options.pop("required", False)), options)
    return parser


def _add_options(command, options: dict[str, dict]) -> None:
    for name, given in options.items():
        command.add_argument(name, **given | ({"type": TYPES[given["type"]]} if "type" in given else {}))

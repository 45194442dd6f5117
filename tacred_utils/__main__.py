"""`python -m tacred_utils`: the same functions that the notebooks use, from the shell."""

import argparse
import json
import os
import re
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from tacred_utils.ground.errors import UserError, heed_ctrl_c, printable
from tacred_utils.ground.labels import TASKS
from tacred_utils.ground.paths import DATA, NOTEBOOKS, PUBLISHED_RUNS, RESULTS

LONGEST = 1200  # characters of a message


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(f"{self.prog}: {message}; see {self.prog} --help.")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status: 0, 2 for a user's mistake (one sentence), 130 for Ctrl-C."""
    try:
        _refuse_blanks(sys.argv[1:] if arguments is None else arguments)
        options = _parser().parse_args(arguments)
        options.command(options)
        sys.stdout.flush()  # here a full disk can still be told
        return 0
    except UserError as error:
        print(f"error: {_one_line(str(error))}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader of our output has seen enough
        _drop_output()
        return 0
    except OSError as error:
        place = error.filename or "the output"
        if error.filename is None:
            _drop_output()
        print(f"error: {_one_line(f'{place}: {error.strerror}')}; name another place or mend it.", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; the same command goes on where it can.", file=sys.stderr)
        return 130


def train(options: argparse.Namespace) -> None:
    """Train or re-use one run and print its folder and scores."""
    from tacred_utils.models import processes
    from tacred_utils.runs.profile import checked_seeds, known_family, load_profile, parse_overrides
    from tacred_utils.runs.store import Spec, train

    complete = options.corpus not in (None, "sample")  # one run by hand is of the whole corpus, not of a subset
    profile = load_profile(options.profile or ("open" if complete else "sample"))
    given = known_family(options.family), options.variant, parse_overrides(options.set)
    profile.settings(*given)  # a mistake is told before a corpus is read
    corpus = _corpus(options.corpus or profile.corpus, options, profile)
    settings = profile.for_corpus(corpus.name).settings(*given)
    [seed] = checked_seeds(profile.seeds[:1] if options.seed is None else [options.seed])
    spec = Spec(options.family, options.task, seed, settings, options.variant)
    run = train(spec, corpus, options.results, profile.name, force=options.force)
    if processes.rank():
        return
    print(run.folder)
    for note in [*corpus.notes, *run.info.get("notes", [])]:
        print(f"note: {note}")
    for name, value in run.metrics["test"].items():
        print(f"  {name:<24} {value:.4f}   dev {run.metrics['dev'].get(name, float('nan')):.4f}")


def plan(options: argparse.Namespace) -> None:
    """Print the command of every run of a profile that is still missing, one a line."""
    from tacred_utils.runs.experiments import command, missing, planned
    from tacred_utils.runs.profile import checked_seeds, load_profile

    profile = load_profile(options.profile or "sample")  # as run_all.sh
    seeds = checked_seeds(options.seeds) if options.seeds else None
    for name in [options.corpus] if options.corpus else [profile.corpus, *profile.further_corpora]:
        corpus = _corpus(name, options, profile)
        shared = {
            "corpus": name, "data-dir": options.data_dir, "profile": profile.name,
            "labels": None if options.labels == "tacred" else options.labels,
            "results": None if options.results == RESULTS else options.results,
        }  # fmt: skip
        for run in missing(planned(profile, corpus, seeds), corpus, options.results):
            print(command(run, shared))


def score(options: argparse.Namespace) -> None:
    """Print every score of a file of predictions."""
    from tacred_utils.runs.predictions import score_file

    scores = score_file(options.file, options.gold)
    if options.json:
        print(json.dumps(scores))
        return
    for name, value in scores.items():
        print(f"{name:<24} {value:.4f}")


def predict(options: argparse.Namespace) -> None:
    """Answer one sentence with the model that a run kept: the likeliest relations of two entities."""
    from tacred_utils.runs.predict import predict

    subject = options.subject_at if options.subject is None else options.subject
    objekt = options.object_at if options.object is None else options.object
    kinds = options.subject_type, options.object_type
    answer = predict(options.run, options.sentence, subject, objekt, *kinds, dict(options.column))
    report = answer.report(options.top)
    if options.json:
        print(json.dumps(report))
        return
    for role in ("subject", "object"):
        found = report[role]
        print(printable(f"{role:<8} {found['text']}   ({found['type']}, words {found['start']}:{found['end']})"))
    for relation in report["relations"]:
        print(printable(f"  {relation['label']:<36} {relation['p']:.4f}"))
    for note in answer.notes:
        print(printable(f"note: {note}"))


def data_check(options: argparse.Namespace) -> None:
    """Read and validate a corpus, and print its card."""
    from tacred_utils.corpora.card import card
    from tacred_utils.runs.data import load_corpus

    print(card(load_corpus(options.folder or options.corpus or "sample", options.data_dir, options.labels)))


def make_sample(options: argparse.Namespace) -> None:
    """Write the synthetic corpus as a folder in TACRED's format."""
    import msgspec

    from tacred_utils.ground.files import write_bytes
    from tacred_utils.ground.labels import SPLITS
    from tacred_utils.sample.generator import generate

    if not 0 < options.scale <= 1:
        raise UserError(f"--scale {options.scale:g}: must lie above 0 and be at most 1.")
    if options.out.exists() and not options.out.is_dir():
        raise UserError(f"--out {options.out}: is a file; name a folder.")
    strangers = {path.name for path in options.out.glob("*")} - {f"{split}.json" for split in SPLITS}
    if strangers:
        raise UserError(
            f"--out {options.out}: holds other files, such as {min(strangers)}; name an empty or a new folder."
        )
    for split, examples in generate(dict.fromkeys(SPLITS, options.scale), options.seed).items():
        write_bytes(options.out / f"{split}.json", msgspec.json.encode(examples))
        print(f"{options.out / f'{split}.json'}: {len(examples):,} synthetic records")


def data_get(options: argparse.Namespace) -> None:
    """Download an open corpus or reference data."""
    from tacred_utils.corpora.download import get

    for path in get(options.name, options.data_dir or DATA):
        print(path)


def runs_list(options: argparse.Namespace) -> None:
    """List the finished runs below a results folder."""
    from tacred_utils.runs.store import find_runs

    for run in find_runs(options.results, options.corpus):
        test = run.metrics["test"]  # empty for relation_only where the test split has no relation
        shown = [f"{name} {test[name]:.3f}" for name in ("micro_f1", "macro_f1") if name in test]
        print(f"{run.folder.parent.name}/{run.folder.name}", *shown)


def runs_publish(options: argparse.Namespace) -> None:
    """Copy the runs that the notebooks show, without weights, to data/runs, and renew the README's results."""
    from tacred_utils.cli import readme
    from tacred_utils.runs.experiments import entry, publishes_log_probs
    from tacred_utils.runs.profile import load_profile
    from tacred_utils.runs.store import find_runs, publish

    shown = [
        run
        for run in find_runs(options.results, options.corpus)
        if run.info["profile"] != "smoke" and entry(run, load_profile(run.info["profile"]))
    ]
    for folder in publish(shown, options.to, lambda run: publishes_log_probs(run, load_profile(run.info["profile"]))):
        print(folder)
    if options.to == PUBLISHED_RUNS:
        readme.refresh()


def report(options: argparse.Namespace) -> None:
    """Write a static site of the executed notebooks, with search and pages of errors."""
    from tacred_utils.cli.report import build
    from tacred_utils.corpora.registry import data_folder

    first = build(options.out, NOTEBOOKS / "executed", [options.results, PUBLISHED_RUNS], data_folder(options.data_dir))
    print(f"{first}: open it in a browser; it needs no network.")


def _corpus(name: str, options: argparse.Namespace, profile):
    import msgspec

    from tacred_utils.runs.data import load_corpus

    return load_corpus(name, options.data_dir, options.labels, msgspec.structs.asdict(profile.scales))


def _refuse_blanks(arguments: Sequence[str]) -> None:
    """An option's value that is empty, as an unset variable of the shell leaves it, means no default."""
    for before, argument in zip(["the command", *arguments], arguments, strict=False):
        name = argument.rstrip("=") if re.fullmatch("--[a-z-]+=", argument) else before
        if argument == "" or name != before:
            raise UserError(f"{name}: is given an empty value; give one, or leave the option out.")


def _drop_output() -> None:
    """What is still to be printed goes nowhere, so that the end of the process does not complain of it."""
    with suppress(OSError):  # it is no file
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _one_line(message: str) -> str:
    """Names and labels may hold line ends, what steers a terminal, or a million signs: shown escaped and cut."""
    shown = printable(message)
    return shown if len(shown) <= LONGEST else f"{shown[: LONGEST // 2]} … {shown[-LONGEST // 2 :]}"


def _seeds(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of whole numbers such as 13,42,87") from None


def _span(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"([0-9]{1,6})(?::([0-9]{1,6}))?", text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is not FIRST:LAST, two numbers of words such as 3:5")
    return int(found[1]), int(found[2] or found[1])


def _column(text: str) -> list[str]:
    if "=" not in text:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form NAME=VALUES")
    return text.split("=", 1)


def _positive(text: str) -> int:
    if not re.fullmatch("[0-9]{1,6}", text) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m tacred_utils", description="Relation extraction on TACRED: train, score, check data."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    where = _Parser(add_help=False)
    where.add_argument("--corpus", metavar="NAME|DIR", help="a registered corpus or a folder in TACRED's format")
    where.add_argument("--data-dir", type=Path, metavar="DIR", help="holds one folder a corpus (default: data/)")
    where.add_argument("--labels", default="tacred", help="tacred, tacrev or retacred")
    results = _Parser(add_help=False)
    results.add_argument(
        "--results", type=Path, default=RESULTS, metavar="DIR", help="where runs lie (default: results/)"
    )
    profile = _Parser(add_help=False)
    profile.add_argument(
        "--profile", help="smoke, sample, open or paper (default: sample; train on another corpus: open)"
    )

    command = _add(commands, "train", train, [where, results, profile])
    command.add_argument("--family", required=True)
    command.add_argument("--task", required=True, help=", ".join(TASKS))
    command.add_argument("--seed", type=int)
    command.add_argument("--variant")
    command.add_argument(
        "--set", action="extend", nargs="+", default=[], metavar="KEY=VALUE", help="override settings, one or several"
    )
    command.add_argument("--force", action="store_true", help="train again even if the run is done")

    command = _add(commands, "plan", plan, [where, results, profile])
    command.add_argument("--seeds", type=_seeds)

    command = _add(commands, "score", score, [])
    command.add_argument("file", type=Path, help="JSON lines, or one label a line with --gold")
    command.add_argument("--gold", type=Path)
    command.add_argument("--json", action="store_true")

    _predict_options(_add(commands, "predict", predict, []))
    _data_commands(_add(commands, "data", None, [], "check, make or get a corpus"), where)

    runs = _add(commands, "runs", None, [], "list or publish runs").add_subparsers(required=True, metavar="COMMAND")
    _add(runs, "list", runs_list, [results]).add_argument("--corpus")
    command = _add(runs, "publish", runs_publish, [results])
    command.add_argument("--corpus")
    command.add_argument("--to", type=Path, default=PUBLISHED_RUNS, metavar="DIR")

    command = _add(commands, "report", report, [results])
    command.add_argument("--data-dir", type=Path, metavar="DIR", help="holds one folder a corpus (default: data/)")
    command.add_argument("--out", type=Path, default=RESULTS / "report", metavar="DIR", help="default: results/report/")
    return parser


def _predict_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--run", required=True, type=Path, metavar="DIR", help="a run's folder, as `train` prints it")
    command.add_argument("--sentence", required=True, help="split at blanks and punctuation, much as TACRED's are")
    for role in ("subject", "object"):
        place = command.add_mutually_exclusive_group(required=True)
        place.add_argument(f"--{role}", metavar="TEXT", help="its words as they stand in the sentence")
        place.add_argument(
            f"--{role}-at", type=_span, metavar="FIRST:LAST", help="its first and last word by number, from 0"
        )
        command.add_argument(f"--{role}-type", metavar="TYPE", help="its entity type, for a run that reads types")
    command.add_argument(
        "--column", action="append", default=[], type=_column, metavar="NAME=VALUES",
        help="stanford_pos, stanford_ner, stanford_head or stanford_deprel: a value a word, between blanks",
    )  # fmt: skip
    command.add_argument("--top", type=_positive, default=5, metavar="N", help="relations shown (default: 5)")
    command.add_argument("--json", action="store_true", help="one JSON object instead of the table")


def _data_commands(parser: argparse.ArgumentParser, where: argparse.ArgumentParser) -> None:
    data = parser.add_subparsers(required=True, metavar="COMMAND")
    _add(data, "check", data_check, [where]).add_argument("folder", nargs="?", metavar="DIR")
    command = _add(data, "make-sample", make_sample, [])
    command.add_argument("--scale", type=float, default=1.0)
    command.add_argument("--out", type=Path, required=True)
    command.add_argument("--seed", type=int, default=0)
    command = _add(data, "get", data_get, [])
    command.add_argument("name")
    command.add_argument("--data-dir", type=Path, metavar="DIR")


def _add(commands, name: str, function, parents: list, text: str = "") -> argparse.ArgumentParser:
    about = text or function.__doc__
    command = commands.add_parser(name, parents=parents, help=about, description=about)
    if function is not None:
        command.set_defaults(command=function)
    return command


if __name__ == "__main__":
    heed_ctrl_c()
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115 - it was closed
    sys.stdout.reconfigure(errors="backslashreplace")  # for a terminal that lacks a letter of some corpus
    sys.exit(main())

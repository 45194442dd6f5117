"""What each command does, and its options, which need the standard library alone: a mistake is told before anything is
installed. What is heavy to import is imported where it is used: `--help` and `score` start fast.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterable, Sequence
from contextlib import suppress
from importlib import import_module, metadata
from pathlib import Path
from typing import NoReturn

from tacred_utils.ground.errors import UserError, printable
from tacred_utils.ground.paths import DATA, NOTEBOOKS, PACKAGE, PUBLISHED_RUNS, RESULTS, ROOT


def run_study(options: argparse.Namespace) -> int | None:
    """Run the notebooks, or what stands in their place: the environment's check, the tests, the site, JupyterLab."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # shells start background jobs with it ignored
    if options.setup:
        return check_environment()
    if options.report:
        return write_report(options)
    if options.lab:
        os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"  # this environment's kernel, not another that the user installed
        return _wait_for("jupyterlab", "--allow-root", "--ServerApp.answer_yes=True", folder=NOTEBOOKS)
    if options.test:
        return _wait_for("pytest", "-q", "-m", "not long" if options.test == "quick" else "", folder=ROOT)
    from tacred_utils.cli.runner import run_notebooks

    return run_notebooks(options)


def check_environment() -> None:
    """Import everything that is pinned. Raises `UserError` for what is not of its pin's version or cannot be imported."""
    pins = re.findall(r"^([\w-]+)==([\w.]+)", (ROOT / "requirements.txt").read_text(encoding="utf-8"), re.MULTILINE)
    modules = {
        name.lower().replace("_", "-"): module
        for module, names in metadata.packages_distributions().items() for name in names if not module.startswith("_")
    }  # fmt: skip
    for name, version in pins:
        wrong = ""
        try:
            found = metadata.version(name).partition("+")[0]  # torch adds +cpu
            import_module(modules.get(name.lower().replace("_", "-"), name))
        except Exception as error:  # whatever a broken package raises
            wrong = f"{name} cannot be imported ({error})"
        else:
            wrong = f"holds {name} {found}, not {version}" if found != version else ""
        if wrong:
            raise UserError(f"{sys.prefix}: {wrong}; delete the environment and start again.")
    print(f"The environment is ready: {sys.prefix}")


def _wait_for(module: str, *arguments: str, folder: Path) -> int:
    """The exit status of a module's program, 130 after Ctrl-C; a signal to this process alone ends it too."""
    process = subprocess.Popen([sys.executable, "-m", module, *arguments], cwd=folder)
    signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    try:
        return int(process.wait() != 0)
    except KeyboardInterrupt:
        with suppress(subprocess.TimeoutExpired):
            process.wait(5)  # a terminal tells all processes in it
        process.terminate()
        process.wait()
        return 130


def train_one(options: argparse.Namespace) -> None:
    """Train or re-use one run and print its folder and scores."""
    from tacred_utils.models import processes
    from tacred_utils.runs.profile import checked_seeds, known_family, load_profile, parse_overrides
    from tacred_utils.runs.store import Spec
    from tacred_utils.runs.train import train

    complete = options.corpus not in (None, "sample")  # one run by hand is of the whole corpus, not of a subset
    profile = load_profile(options.profile or ("open" if complete else "sample"))
    given = known_family(options.family), options.variant, parse_overrides(options.set)
    profile.settings(*given)  # a mistake is told before a corpus is read
    corpus = _asked_for(options.corpus or profile.corpus, options, profile)
    settings = profile.for_corpus(corpus.name).settings(*given)
    [seed] = checked_seeds(profile.seeds[:1] if options.seed is None else [options.seed])
    spec = Spec(options.family, options.task, seed, settings, options.variant)
    run = train(spec, corpus, options.results, profile.name, since=time.time() if options.force else 0)
    if processes.rank():
        return
    print(run.folder)
    _print_notes([*corpus.notes, *run.info.get("notes", [])])
    for name, value in run.metrics["test"].items():
        print(f"  {name:<24} {value:.4f}   dev {run.metrics['dev'].get(name, float('nan')):.4f}")


def print_plan(options: argparse.Namespace) -> None:
    """Print the command of every run of a profile that is still missing, one a line."""
    from tacred_utils.runs.experiments import command, missing_runs, planned
    from tacred_utils.runs.profile import checked_seeds, load_profile

    profile = load_profile(options.profile or "sample")  # as run_all.sh
    seeds = checked_seeds(options.seeds) if options.seeds else None
    for name in [options.corpus] if options.corpus else [profile.corpus, *profile.further_corpora]:
        corpus = _asked_for(name, options, profile)
        shared = {
            "corpus": name, "data-dir": options.data_dir, "profile": profile.name,
            "labels": None if options.labels == "tacred" else options.labels, "negative": options.negative,
            "results": None if options.results == RESULTS else options.results,
        }  # fmt: skip
        for spec in missing_runs(planned(profile, corpus, seeds), corpus, options.results):
            print(command(spec, profile.for_corpus(corpus.name), shared))


def print_scores(options: argparse.Namespace) -> None:
    """Print every score of a file of predictions."""
    from tacred_utils.runs.predictions import score_file

    found = score_file(options.file, options.gold, options.negative)
    print(json.dumps(found) if options.json else "\n".join(f"{name:<24} {value:.4f}" for name, value in found.items()))


def print_answers(options: argparse.Namespace) -> None:
    """Answer sentences with the model that a run kept: one pair of entities, every pair of a sentence, or a file."""
    from tacred_utils.runs import predict as ask

    if options.file:
        for name in ("subject", "object", "subject_at", "object_at", "subject_type", "object_type"):
            if getattr(options, name):
                raise UserError(f"--{name.replace('_', '-')}: does not go with --file, whose rows have their own.")
        notes: dict[str, None] = {}
        for answer in ask.predict_file(options.run, options.file):
            print(json.dumps(answer.line(options.top)))
            notes |= dict.fromkeys(answer.notes)
        _print_notes(notes, sys.stderr)
        return
    places = [options.subject or options.subject_at, options.object or options.object_at]
    if places == [None, None]:
        answers = ask.predict_pairs(options.run, options.sentence)
        report = answers[0].report(options.top) | {"pairs": [answer.pair(options.top) for answer in answers]}
        for name in ("subject", "object", "relations"):  # of the first pair alone
            del report[name]
        lines = [_line_of_pair(**answer.pair(1)) for answer in answers]
    else:
        kinds = options.subject_type, options.object_type
        report = ask.predict(options.run, options.sentence, *places, *kinds).report(options.top)
        found = [(role, report[role]) for role in ("subject", "object")]
        lines = [f"{role:<8} {e['text']}   ({e['type']}, words {e['start']}:{e['end']})" for role, e in found]
        lines += [f"  {relation['label']:<36} {relation['p']:.4f}" for relation in report["relations"]]
    if options.json:
        print(json.dumps(report))
        return
    print(*map(printable, lines), sep="\n")
    _print_notes(report["notes"])


def _line_of_pair(subject: dict, object: dict, relations: list[dict]) -> str:
    who = "".join(f"{entity['text']} ({entity['type']})".ljust(33) for entity in (subject, object))
    return f"{who}{relations[0]['label']:<36} {relations[0]['p']:.4f}"


def _print_notes(notes: Iterable[str], stream=None) -> None:
    for note in notes:
        print(printable(f"note: {note}"), file=stream)


def check_data(options: argparse.Namespace) -> None:
    """Read and validate a corpus, and print its card."""
    from tacred_utils.corpora.example import card

    print(card(_asked_for(options.folder or options.corpus or "sample", options)))


def annotate_data(options: argparse.Namespace) -> None:
    """Predict the columns that a corpus lacks; they are kept beside it and read with it from then on."""
    from tacred_utils.corpora.annotate import lacking, with_columns
    from tacred_utils.corpora.example import COLUMNS
    from tacred_utils.corpora.registry import SOURCES, corpus_files
    from tacred_utils.runs.profile import load_corpus

    name = options.folder or options.corpus or "sample"
    corpus = load_corpus(name, options.data_dir)
    if not corpus.annotator and set(COLUMNS) - corpus.columns:
        if missing := lacking():
            raise UserError(f"--corpus {name}: {missing}.")
        if name in SOURCES:
            raise UserError(f"--corpus {name}: stays as it was published, so that runs on it stay comparable.")
        corpus = with_columns(corpus, corpus_files(name, options.data_dir)[0].parent, make=True)
    print(f"{corpus.name}: {corpus.notes[-1] if corpus.annotator else 'has all columns, nothing is predicted'}")


def make_sample(options: argparse.Namespace) -> None:
    """Write the synthetic corpus as a folder in TACRED's format."""
    import msgspec

    from tacred_utils.ground.files import write_bytes
    from tacred_utils.ground.labels import SPLITS
    from tacred_utils.sample.generator import generate

    files, out = {split: options.out / f"{split}.json" for split in SPLITS}, f"--out {options.out}"
    if not 0 < options.scale <= 1:
        raise UserError(f"--scale {options.scale:g}: must lie above 0 and be at most 1.")
    if options.out.exists() and not options.out.is_dir():
        raise UserError(f"{out}: is a file; name a folder.")
    if strangers := set(options.out.glob("*")) - set(files.values()):
        raise UserError(f"{out}: holds other files, such as {min(strangers).name}; name an empty or a new folder.")
    for split, examples in generate(dict.fromkeys(SPLITS, options.scale), options.seed).items():
        write_bytes(files[split], msgspec.json.encode(examples))
        print(f"{files[split]}: {len(examples):,} synthetic records")


def get_data(options: argparse.Namespace) -> None:
    """Download an open corpus, reference data or a pre-trained model."""
    from tacred_utils.corpora import registry
    from tacred_utils.models import weights

    get = weights.fetch_model if options.name in weights.MODELS else registry.fetch_source
    print(*get(options.name, options.data_dir or DATA), sep="\n")


def list_runs(options: argparse.Namespace) -> None:
    """List the finished runs below a results folder."""
    from tacred_utils.runs.experiments import name_of
    from tacred_utils.runs.store import find_runs

    for run in find_runs(options.results, options.corpus):
        name, test = name_of(run), run.metrics["test"]  # no scores of relation_only where no test row has a relation
        shown = [f"{score} {test[score]:.3f}" for score in ("micro_f1", "macro_f1") if score in test]
        print(f"{run.folder.parent.name}/{run.folder.name}", *([f"({name})"] if name else []), *shown)


def publish_runs(options: argparse.Namespace) -> None:
    """Copy the runs that the notebooks show, without weights, to data/runs, and renew the README's results."""
    from tacred_utils.cli import report
    from tacred_utils.runs.catalog import load_catalogs
    from tacred_utils.runs.experiments import publish, publish_rows, publishes_log_probs

    for catalog in load_catalogs([(options.results, options.corpus)]).values():
        frame = catalog.frame[catalog.frame.experiment.notna() & (catalog.frame.profile != "smoke")]
        if not len(frame) or catalog.facts["synthetic"]:
            continue
        for folder in publish(frame.run.tolist(), options.to, publishes_log_probs):
            print(folder)
        print(publish_rows(frame.run.iloc[0], options.to, options.data_dir))
    if options.to == PUBLISHED_RUNS:
        report.refresh()


def write_report(options: argparse.Namespace) -> None:
    """Write a static site of the executed notebooks, with search and pages of errors."""
    from tacred_utils.cli.report import build
    from tacred_utils.corpora.registry import data_folder

    out, runs = options.out or RESULTS / "report", [options.results, PUBLISHED_RUNS]
    first = build(out, NOTEBOOKS / "executed", runs, data_folder(options.data_dir))
    print(f"{first}: open it in a browser; it needs no network.")


def _asked_for(name: str, options: argparse.Namespace, profile=None):
    """A corpus with the label set of the options, whole or at the profile's size."""
    import msgspec

    from tacred_utils.runs.profile import load_corpus

    scales = msgspec.structs.asdict(profile.scales) if profile else None
    return load_corpus(name, options.data_dir, options.labels, scales, options.negative)


# The options of every command (options.toml)

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

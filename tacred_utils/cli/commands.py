"""What each command does. What is heavy to import is imported where it is used: `--help` and `score` start fast."""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from importlib import import_module, metadata
from importlib.metadata import packages_distributions
from pathlib import Path

from tacred_utils.ground.errors import UserError, printable
from tacred_utils.ground.paths import DATA, NOTEBOOKS, PUBLISHED_RUNS, RESULTS, ROOT


def run(options: argparse.Namespace) -> int:
    """Run the notebooks, or what stands in their place: the environment's check, the tests, the site, JupyterLab."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # shells start background jobs with it ignored
    if options.setup:
        check_environment()
    elif options.report:
        report(options)
    elif options.lab:
        os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"  # this environment's kernel, not another that the user installed
        return _wait_for("jupyterlab", "--allow-root", "--ServerApp.answer_yes=True", folder=NOTEBOOKS)
    elif options.test:
        return _wait_for("pytest", "-q", "-m", "not long" if options.test == "quick" else "", folder=ROOT)
    else:
        from tacred_utils.cli import runner

        return runner.run(options)
    return 0


def check_environment() -> None:
    """Import everything that is pinned. Raises `UserError` for what is not of its pin's version or cannot be imported."""
    pins = re.findall(r"^([\w-]+)==([\w.]+)", (ROOT / "requirements.txt").read_text(encoding="utf-8"), re.MULTILINE)
    modules = {
        name.lower().replace("_", "-"): module
        for module, names in packages_distributions().items()
        for name in names
        if not module.startswith("_")
    }
    for name, version in pins:
        try:
            found = metadata.version(name).partition("+")[0]  # torch adds +cpu
            import_module(modules.get(name.lower().replace("_", "-"), name))
        except Exception as error:  # whatever a broken package raises
            raise UserError(
                f"{sys.prefix}: {name} cannot be imported ({error}); delete the environment and start again."
            ) from None
        if found != version:
            raise UserError(
                f"{sys.prefix}: holds {name} {found}, not {version}; delete the environment and start again."
            )
    print(f"The environment is ready: {sys.prefix}")


def _wait_for(module: str, *arguments: str, folder: Path) -> int:
    """The exit status of a module's program, 130 after Ctrl-C; a signal to this process alone ends it too."""
    process = subprocess.Popen([sys.executable, "-m", module, *arguments], cwd=folder)
    signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    try:
        return int(process.wait() != 0)
    except KeyboardInterrupt:
        try:
            process.wait(5)  # a terminal tells all processes in it
        except subprocess.TimeoutExpired:
            process.terminate()
            process.wait()
        return 130


def train(options: argparse.Namespace) -> None:
    """Train or re-use one run and print its folder and scores."""
    from tacred_utils.models import processes
    from tacred_utils.runs.profile import checked_seeds, known_family, load_profile, parse_overrides
    from tacred_utils.runs.store import Spec
    from tacred_utils.runs.train import train

    complete = options.corpus not in (None, "sample")  # one run by hand is of the whole corpus, not of a subset
    profile = load_profile(options.profile or ("open" if complete else "sample"))
    given = known_family(options.family), options.variant, parse_overrides(options.set)
    profile.settings(*given)  # a mistake is told before a corpus is read
    corpus = _corpus(options.corpus or profile.corpus, options, profile)
    settings = profile.for_corpus(corpus.name).settings(*given)
    [seed] = checked_seeds(profile.seeds[:1] if options.seed is None else [options.seed])
    spec = Spec(options.family, options.task, seed, settings, options.variant)
    run = train(spec, corpus, options.results, profile.name, since=time.time() if options.force else 0)
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
            "labels": None if options.labels == "tacred" else options.labels, "negative": options.negative,
            "results": None if options.results == RESULTS else options.results,
        }  # fmt: skip
        for spec in missing(planned(profile, corpus, seeds), corpus, options.results):
            print(command(spec, profile.for_corpus(corpus.name), shared))


def score(options: argparse.Namespace) -> None:
    """Print every score of a file of predictions."""
    from tacred_utils.runs.score import score_file

    scores = score_file(options.file, options.gold, options.negative)
    if options.json:
        print(json.dumps(scores))
        return
    for name, value in scores.items():
        print(f"{name:<24} {value:.4f}")


def predict(options: argparse.Namespace) -> None:
    """Answer sentences with the model that a run kept: one pair of entities, every pair of a sentence, or a file."""
    from tacred_utils.runs import predict as ask

    if options.file:
        for name in ("subject", "object", "subject_at", "object_at", "subject_type", "object_type"):
            if getattr(options, name):
                raise UserError(f"--{name.replace('_', '-')}: does not go with --file, whose rows have their own.")
        _predict_file(options, ask.predict_file(options.run, options.file))
        return
    subject, objekt = (
        getattr(options, f"{role}_at") if getattr(options, role) is None else getattr(options, role)
        for role in ("subject", "object")
    )
    if subject is None and objekt is None:
        _predict_pairs(options, ask.predict_pairs(options.run, options.sentence))
        return
    kinds = options.subject_type, options.object_type
    answer = ask.predict(options.run, options.sentence, subject, objekt, *kinds)
    report = answer.report(options.top)
    if options.json:
        print(json.dumps(report))
        return
    for role in ("subject", "object"):
        found = report[role]
        print(printable(f"{role:<8} {found['text']}   ({found['type']}, words {found['start']}:{found['end']})"))
    for relation in report["relations"]:
        print(printable(f"  {relation['label']:<36} {relation['p']:.4f}"))
    _print_notes(answer.notes)


def _predict_pairs(options: argparse.Namespace, answers: list) -> None:
    if options.json:
        report = answers[0].report(options.top)
        shared = {name: report[name] for name in ("run", "family", "task", "corpus", "tokens", "notes")}
        print(json.dumps(shared | {"pairs": [answer.pair(options.top) for answer in answers]}))
        return
    for answer in answers:
        pair, best = answer.pair(1), answer.relations.iloc[0]
        who = [f"{pair[role]['text']} ({pair[role]['type']})" for role in ("subject", "object")]
        print(printable(f"{who[0]:<32} {who[1]:<32} {best.label:<36} {best.p:.4f}"))
    _print_notes(answers[0].notes)


def _predict_file(options: argparse.Namespace, answers: Iterable) -> None:
    notes: dict[str, None] = {}
    for answer in answers:
        print(json.dumps(answer.line(options.top)))
        notes |= dict.fromkeys(answer.notes)
    for note in notes:
        print(printable(f"note: {note}"), file=sys.stderr)


def _print_notes(notes: Iterable[str]) -> None:
    for note in notes:
        print(printable(f"note: {note}"))


def data_check(options: argparse.Namespace) -> None:
    """Read and validate a corpus, and print its card."""
    from tacred_utils.corpora.card import card
    from tacred_utils.runs.data import load_corpus

    name = options.folder or options.corpus or "sample"
    print(card(load_corpus(name, options.data_dir, options.labels, negative=options.negative)))


def data_annotate(options: argparse.Namespace) -> None:
    """Predict the columns that a corpus lacks; they are kept beside it and read with it from then on."""
    from tacred_utils.corpora.annotate import lacking, with_columns
    from tacred_utils.corpora.example import COLUMNS
    from tacred_utils.corpora.registry import SOURCES, corpus_files
    from tacred_utils.runs.data import load_corpus

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
    """Download an open corpus, reference data or a pre-trained model."""
    from tacred_utils.corpora import download
    from tacred_utils.models import weights

    get = weights.get if options.name in weights.MODELS else download.get
    for path in get(options.name, options.data_dir or DATA):
        print(path)


def runs_list(options: argparse.Namespace) -> None:
    """List the finished runs below a results folder."""
    from tacred_utils.runs.experiments import name_of
    from tacred_utils.runs.store import find_runs

    for run in find_runs(options.results, options.corpus):
        name = name_of(run)
        test = run.metrics["test"]  # empty for relation_only where the test split has no relation
        shown = [f"{name} {test[name]:.3f}" for name in ("micro_f1", "macro_f1") if name in test]
        print(f"{run.folder.parent.name}/{run.folder.name}", *([f"({name})"] if name else []), *shown)


def runs_publish(options: argparse.Namespace) -> None:
    """Copy the runs that the notebooks show, without weights, to data/runs, and renew the README's results."""
    from tacred_utils.cli import readme
    from tacred_utils.runs.catalog import load_catalogs
    from tacred_utils.runs.experiments import publishes_log_probs
    from tacred_utils.runs.publish import publish, publish_rows

    for catalog in load_catalogs([(options.results, options.corpus)]).values():
        frame = catalog.frame[catalog.frame.experiment.notna() & (catalog.frame.profile != "smoke")]
        if not len(frame) or catalog.facts["synthetic"]:
            continue
        for folder in publish(frame.run.tolist(), options.to, publishes_log_probs):
            print(folder)
        print(publish_rows(frame.run.iloc[0], options.to, options.data_dir))
    if options.to == PUBLISHED_RUNS:
        readme.refresh()


def report(options: argparse.Namespace) -> None:
    """Write a static site of the executed notebooks, with search and pages of errors."""
    from tacred_utils.cli.report import build
    from tacred_utils.corpora.registry import data_folder

    first = build(
        options.out or RESULTS / "report",
        NOTEBOOKS / "executed",
        [options.results, PUBLISHED_RUNS],
        data_folder(options.data_dir),
    )
    print(f"{first}: open it in a browser; it needs no network.")


def _corpus(name: str, options: argparse.Namespace, profile):
    import msgspec

    from tacred_utils.runs.data import load_corpus

    scales = msgspec.structs.asdict(profile.scales)
    return load_corpus(name, options.data_dir, options.labels, scales, options.negative)

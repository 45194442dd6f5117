"""The corpora by name, and folders in TACRED's format: fetched, read, and what is made of them: relabelled, with their
negative label named, or smaller.

Open files come by https only, with progress and retries, and nothing is kept whose checksum is wrong.
"""

import random
import re
from collections import defaultdict
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from shlex import quote

import msgspec

from tacred_utils.corpora.annotate import with_columns
from tacred_utils.corpora.example import SYNTHETIC_PREFIX, Corpus, Example
from tacred_utils.corpora.formats import READERS
from tacred_utils.corpora.reader import Reading, assemble, read_json
from tacred_utils.ground import labels as naming
from tacred_utils.ground.errors import UserError
from tacred_utils.ground.files import UNDECODABLE, digest, doubled_key, expanded, nfc, read_bytes, read_data
from tacred_utils.ground.labels import NO_RELATION, SPLITS, TACRED_SPLIT_SIZES
from tacred_utils.ground.paths import DATA

RETRIES, TIMEOUT = 2, 30  # further attempts, and seconds without an answer before one counts as failed


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Files that belong together, as sources.toml describes them."""

    about: str
    files: dict[str, str]  # md5 by path below the folder, "" where it is not known
    url: str | None = None  # None: licensed, not for download
    folder: str = ""  # where the files lie, if not in the folder of the source's own name
    remote: dict[str, str] = {}  # folders that are called otherwise at the source
    annotated: bool = False  # whether the columns that it lacks are predicted


SOURCES = msgspec.toml.decode((Path(__file__).parent / "sources.toml").read_bytes(), type=dict[str, Source])
SAMPLE = "sample"
TAKEN = {SAMPLE, *SOURCES, "executed", "figures", "logs", "published", "report", "smoke", "stamps"}  # beside the runs
_TACRED_ID = re.compile("(?i)(?<![0-9a-f])[0-9a-f]{20}(?![0-9a-f])")  # all ids in TACREV's and Re-TACRED's label files
_LICENSED_SIZES = {"train": (68_124, 58_465), "dev": (22_631, 19_584), "test": (15_509, 13_418)}  # and of Re-TACRED


def data_folder(data_dir: Path | str | None) -> Path:
    """The folder that holds one folder per corpus: the given one, else data/ of the study."""
    return expanded(data_dir) if data_dir else DATA


def corpora() -> list[str]:
    """The names that --corpus knows, the embedded default first."""
    return [SAMPLE, *READERS]


def corpus_name(name: str, labels: str = "tacred") -> str:
    """The name that results of `load_corpus` are filed under; raises as reading it does."""
    if name != SAMPLE and name not in SOURCES:
        folder = _corpus_folder(name)
        name = _filed_as(folder, read_json(folder).splits)
    return name if labels == "tacred" else f"{name}-{labels}"


def corpus_files(name: str, data_dir: Path | str | None = None) -> list[Path]:
    """The files a corpus is read from: none for the generated one. Raises `UserError` for an unknown name."""
    if name == SAMPLE:
        return []
    if name in SOURCES:
        folder = _source_folder(name, data_folder(data_dir))
        return [folder / file for file in SOURCES[name].files]
    return [_corpus_folder(name) / f"{split}.json" for split in SPLITS]


def read_corpus(name: str, data: Path) -> Corpus:
    """A registered corpus whose files lie in `data`, or any folder in TACRED's format, as it is.

    Raises `UserError` for an unknown name, missing or damaged files, and a folder that is not what it is named.
    """
    registered = name in SOURCES
    folder = _source_folder(name, data) if registered else _corpus_folder(name)
    splits, notes, left_out = _read_source(name, folder) if registered else read_json(folder)
    if not registered:
        name = _filed_as(folder, splits)
    corpus = assemble(name, splits, str(folder), gated=licensed(splits), left_out=left_out).noting(*notes)
    if registered and not SOURCES[name].annotated:
        return corpus
    return with_columns(corpus, folder, make=registered)


def _read_source(name: str, folder: Path) -> Reading:
    """The splits of a registered corpus, from files with the published checksums where these are known."""
    source, known = SOURCES[name], ", ".join(corpora())
    if name not in READERS:
        raise UserError(f"--corpus {name}: holds labels or predictions, not sentences; choose one of {known}.")
    if not any((folder / file).exists() for file in source.files):
        get = f"get it with: python -m tacred_utils data get {name}," if source.url else f"get it ({source.about})"
        raise UserError(f"{folder}: corpus {name} is not there; {get} or name its parent with --data-dir.")
    for file, md5 in source.files.items():
        if md5 and (found := digest(read_bytes(folder / file), "md5")) != md5:
            raise UserError(
                f"{folder / file}: has md5 {found}, the published file has {md5}; fetch it again, or use the folder as "
                "a corpus of your own in TACRED's format."
            )
    read = READERS[name](folder)
    sizes = {split: len(rows) for split, rows in read.splits.items()}
    if name == "tacred" and sizes != TACRED_SPLIT_SIZES:
        found, wanted = (" / ".join(f"{size:,}" for size in each.values()) for each in (sizes, TACRED_SPLIT_SIZES))
        raise UserError(
            f"{folder}: has {found} records, TACRED has {wanted}; give the folder itself with --corpus if it is "
            "another corpus, such as the public 20-row format sample."
        )
    return read


def _source_folder(name: str, data: Path) -> Path:
    folder = data / (SOURCES[name].folder or name)
    inside = folder / "data" / "json"  # the layout of the LDC's archive
    return inside if name == "tacred" and inside.is_dir() else folder


def _corpus_folder(name: str) -> Path:
    folder = expanded(name)
    if not folder.is_dir():
        raise UserError(f"--corpus {name}: is neither a folder nor one of {', '.join(corpora())}; check the spelling.")
    return folder.resolve()


def _filed_as(folder: Path, splits: dict[str, list[Example]]) -> str:
    """The name a folder's results are filed under, from the rows and the first id of each split."""
    sizes, first = {split: len(rows) for split, rows in splits.items()}, splits["train"][0].id
    if sizes == TACRED_SPLIT_SIZES and not first.startswith(SYNTHETIC_PREFIX):
        return "tacred"
    if set(sizes.values()) == {20} and first.startswith("61b3a"):
        return "tacred_sample"
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", folder.name).strip(".-") or "corpus"
    return f"{name}-folder" if re.sub("-(tacrev|retacred)$", "", name) in TAKEN else name


def licensed(splits: dict[str, list[Example]]) -> bool:
    """Whether rows may be TACRED's, relabelled, cut or put together anew: an id of its form, or a split of its size."""
    if any(_TACRED_ID.search(example.id) for rows in splits.values() for example in rows):
        return True
    generated = all(rows[0].id.startswith(SYNTHETIC_PREFIX) for rows in splits.values())
    return not generated and any(len(rows) in _LICENSED_SIZES[split] for split, rows in splits.items())


def relabelled(corpus: Corpus, labels: str, data: Path) -> Corpus:
    """The corpus with a revision's labels: TACREV changes rows of dev and test, Re-TACRED drops those it does not list.

    Raises `UserError` for a missing patch and for one that does not fit.
    """
    if labels == "tacrev":
        files = {split: data / "tacrev" / "patch" / f"{split}_patch.json" for split in ("dev", "test")}
    else:
        files = {split: data / "retacred" / f"{split}_id2label.json" for split in SPLITS}
    parts, notes = {}, []
    for split, path in files.items():
        if not path.exists():
            raise UserError(
                f"{path}: is missing; get it with: python -m tacred_utils data get {labels}, or name its parent with "
                "--data-dir."
            )
        examples = corpus.split(split)
        patch = read_patch(path, {example.id for example in examples} if corpus.name == "tacred" else None)
        if not any(example.id in patch for example in examples):
            raise UserError(f"{path}: names no id of {corpus.name}'s {split}; --labels {labels} is for TACRED only.")
        kept = [example for example in examples if labels == "tacrev" or example.id in patch]
        parts[split] = [msgspec.structs.replace(e, relation=patch.get(e.id, e.relation)) for e in kept]
        changed = sum(new.relation != old.relation for new, old in zip(parts[split], kept, strict=True))
        dropped = len(examples) - len(kept)
        notes.append(
            f"{labels} changes {changed:,} of {len(examples):,} labels of {split}"
            + (f" and drops {dropped:,} rows" if dropped else "")
        )
    return replace(corpus, name=f"{corpus.name}-{labels}", **parts).noting(*notes)


def with_negative(corpus: Corpus, name: str | None) -> Corpus:
    """The corpus with what it calls `name` as `no_relation`; without a name, a label that looks like it is noted.

    Raises `UserError` if no label is called so.
    """
    if name is None:
        likely = None if NO_RELATION in corpus.labels else naming.likely_negative(corpus.labels)
        told = f"no label is called {NO_RELATION}, and {likely} looks like it: give --negative {quote(likely)}"
        return corpus.noting(told) if likely else corpus
    name = nfc(name)
    if naming.undirected(name) not in map(naming.undirected, corpus.labels):
        raise UserError(f"--negative {name}: {corpus.name} has no such label, only {', '.join(corpus.labels[:9])}.")
    return corpus.changed(lambda row: msgspec.structs.replace(row, relation=naming.as_negative(row.relation, name)))


class _Change(msgspec.Struct):
    id: str
    relation: str


def read_patch(path: Path, ids: Collection[str] | None = None) -> dict[str, str]:
    """A revision's labels by id, from TACREV's list of {id, relation} or Re-TACRED's object {id: label}.

    TACREV lists changed rows only; Re-TACRED lists every row that it keeps, and a row missing there is
    dropped from the split. With `ids`, those of the split to be relabelled, a patch that names any other id
    raises `UserError`; so does a file of another form, or an id with two labels.
    """
    data = read_data(path)
    try:
        content = msgspec.json.decode(data, type=list[_Change] | dict[str, str])
    except UNDECODABLE as error:
        raise UserError(f"{path}: not a label revision ({error}); fetch TACREV's or Re-TACRED's file again.") from error
    pairs = [*content.items()] if isinstance(content, dict) else [(row.id, row.relation) for row in content]
    patch = dict(pairs)
    if len(patch) < len(pairs) or isinstance(content, dict) and doubled_key(data):
        raise UserError(f"{path}: an id occurs twice among {len(pairs):,} records; fetch the published file again.")
    odd = next((name for name, label in patch.items() if not naming.is_name(label)), None)
    if odd is not None:
        raise UserError(f"{path}: id {odd}: {patch[odd]!r} is no plain name of a label; fetch the file again.")
    if ids is not None and (foreign := patch.keys() - set(ids)):
        raise UserError(
            f"{path}: {len(foreign):,} of {len(patch):,} ids, such as {min(foreign)}, are not in this split; "
            "give the patch of the same split."
        )
    return patch


def subset(corpus: Corpus, scales: Mapping[str, float]) -> Corpus:
    """Cut every split to `scales` of TACRED's size, keeping file order, the label mix and at least one row a label."""
    parts = {}
    for split in SPLITS:
        examples, rows = corpus.split(split), round(scales[split] * TACRED_SPLIT_SIZES[split])
        parts[split] = stratified(examples, rows) if scales[split] < 1 and rows < len(examples) else examples
    if all(len(parts[split]) == len(corpus.split(split)) for split in SPLITS):
        return corpus
    sizes = " / ".join(f"{len(part):,}" for part in parts.values())
    whole = " / ".join(f"{len(corpus.split(split)):,}" for split in SPLITS)
    stated = f"stratified subset of {sizes} rows"
    return replace(corpus, subset=stated, left_out={}, **parts).noting(f"the whole corpus has {whole} rows")


def stratified(examples: list[Example], rows: int) -> list[Example]:
    """About `rows` Examples in file order, each label in proportion but at least once; the same ones every time."""
    by_label: dict[str, list[int]] = defaultdict(list)
    for index, example in enumerate(examples):
        by_label[example.relation].append(index)
    chosen: list[int] = []
    for label in sorted(by_label):
        members = by_label[label]
        share = max(1, round(rows * len(members) / len(examples)))
        chosen += random.Random(f"stratified {label}").sample(members, share)
    return [examples[index] for index in sorted(chosen)]


def fetch_source(name: str, data: Path) -> list[Path]:
    """Download the files of a source below `data`, in its folder, but for those that are there with the right md5.

    Raises `UserError` for an unknown or licensed source, when a file cannot be had, or when its checksum is wrong.
    """
    import pooch  # here: it warns of widgets that a notebook does not need

    if name not in SOURCES:
        raise UserError(f"data get {name}: unknown; choose one of {', '.join(n for n, s in SOURCES.items() if s.url)}.")
    source = SOURCES[name]
    if source.url is None:
        raise UserError(f"data get {name}: {source.about}; put its files into {data / name}.")
    pooch.get_logger().setLevel("WARNING")  # it tells each attempt; what came of them is told below
    urls = {}
    for file in source.files:
        folder, slash, base = file.partition("/")
        urls[file] = f"{source.url}/{source.remote.get(folder, folder)}{slash}{base}"
    known = {file: f"md5:{md5}" if md5 else None for file, md5 in source.files.items()}
    target = data / (source.folder or name)
    store = pooch.create(target, source.url, registry=known, urls=urls, retry_if_failed=RETRIES)
    try:
        return [_downloaded(store, file, urls[file]) for file in source.files]
    finally:
        with suppress(OSError):  # there are files in it, or it was never made
            target.rmdir()


def _downloaded(store, file: str, url: str) -> Path:
    import pooch

    download = pooch.HTTPDownloader(
        progressbar=True, timeout=TIMEOUT, allow_redirects=False, hooks={"response": _refuse_redirect}
    )
    try:
        return Path(store.fetch(file, downloader=download))
    except ValueError:
        raise UserError(
            f"{url}: has not the {store.registry[file].replace(':', ' ')} that the study was made with; nothing was "
            "kept, get the file elsewhere."
        ) from None
    except OSError as error:  # the network's errors are of this kind too
        raise UserError(
            f"{url}: cannot be had ({type(error).__name__}); check the network and the space below {store.path}, or "
            "name a folder with the file by --data-dir."
        ) from None


def _refuse_redirect(answer, **_: object) -> None:
    """It might lead to another server, or to http."""
    if answer.is_redirect:
        raise ConnectionError(f"{answer.url} redirects")

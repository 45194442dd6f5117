"""The corpora by name: whence their files come and how they are read; and folders in TACRED's format."""

import re
from pathlib import Path

import msgspec

from tacred_utils.corpora.annotate import with_columns
from tacred_utils.corpora.example import SYNTHETIC_PREFIX, Corpus, Example
from tacred_utils.corpora.formats import READERS
from tacred_utils.corpora.reader import Reading, assemble, read_json, split_records
from tacred_utils.ground.errors import UserError
from tacred_utils.ground.files import UNDECODABLE, digest, expanded, read_bytes
from tacred_utils.ground.labels import SPLITS, TACRED_SPLIT_SIZES
from tacred_utils.ground.paths import DATA, PACKAGE


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Files that belong together, as sources.toml describes them."""

    about: str
    files: dict[str, str]  # md5 by path below the folder, "" where it is not known
    url: str | None = None  # None: licensed, not for download
    folder: str = ""  # where the files lie, if not in the folder of the source's own name
    remote: dict[str, str] = {}  # folders that are called otherwise at the source
    annotated: bool = False  # whether the columns that it lacks are predicted


SOURCES = msgspec.toml.decode((PACKAGE / "corpora" / "sources.toml").read_bytes(), type=dict[str, Source])
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
    """The name that results of `load_corpus` are filed under, without decoding the text."""
    if name != SAMPLE and name not in SOURCES:
        folder = _corpus_folder(name)
        name = _filed_as(folder, {split: _head(folder / f"{split}.json") for split in SPLITS})
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
        name = _filed_as(folder, {split: (len(rows), rows[0].id) for split, rows in splits.items()})
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


def _head(path: Path) -> tuple[int, str]:
    """Number of records and the first id of a JSON file, without decoding the rest."""
    records = split_records(path)
    try:
        return len(records), str(msgspec.json.decode(records[0]).get("id"))
    except (*UNDECODABLE, AttributeError):
        return len(records), ""


def _filed_as(folder: Path, heads: dict[str, tuple[int, str]]) -> str:
    """The name a folder's results are filed under, from the rows and the first id of each split."""
    sizes = {split: rows for split, (rows, _) in heads.items()}
    first = heads["train"][1]
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

"""The corpora by name: whence their files come, how they are read, and which revision of the labels is applied."""

import hashlib
import random
import re
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from tacred_utils.corpora.annotate import with_columns
from tacred_utils.corpora.example import SYNTHETIC_PREFIX, Corpus, Example
from tacred_utils.corpora.formats import Split, read_conll04, read_kbp37, read_patch
from tacred_utils.corpora.reader import assemble, read_split, split_records
from tacred_utils.corpora.redocred import Splits, read_redocred, read_redocred_small
from tacred_utils.ground.errors import UserError
from tacred_utils.ground.files import UNDECODABLE, expanded, read_bytes
from tacred_utils.ground.labels import SPLITS, TACRED_SPLIT_SIZES
from tacred_utils.ground.paths import DATA


@dataclass(frozen=True)
class Source:
    """Files that belong together: base URL (None: licensed, not for download), and md5 by path below the folder."""

    about: str
    url: str | None
    files: Mapping[str, str]
    read: Callable[[Path], Split] | None = None  # a file for each split, in order; None: not a corpus, only files
    read_folder: Callable[[Path], Splits] | None = None  # of a corpus whose rows depend on one another
    annotated: bool = False  # whether the columns that it lacks are predicted
    folder: str = ""  # where the files lie, if not in the folder of the corpus' own name

    @property
    def is_corpus(self) -> bool:
        return bool(self.read or self.read_folder)


def _read_json(path: Path) -> Split:
    return read_split(path), []


_GITHUB = "https://raw.githubusercontent.com"
_REDOCRED = {
    "train_revised.json": "",  # not at hand when the study was made: known by its number of documents
    "dev_revised.json": "99f5fda2cd7c32fcd974a623fe3b9bcb",
    "test_revised.json": "0e4f0c35e8c62aed53a4c3a897fe7b48",
}
SOURCES: dict[str, Source] = {
    "redocred": Source(
        "Re-DocRED: sentences from Wikipedia, ordered pairs of entities, relations annotated again (MIT)",
        f"{_GITHUB}/tonytan48/Re-DocRED/main/data",
        _REDOCRED,
        read_folder=read_redocred,
        annotated=True,
    ),
    "redocred_small": Source(
        "the two smaller files of Re-DocRED: one for training, one for dev and test (MIT)",
        f"{_GITHUB}/tonytan48/Re-DocRED/main/data",
        {name: md5 for name, md5 in _REDOCRED.items() if md5},
        read_folder=read_redocred_small,
        annotated=True,
        folder="redocred",
    ),
    "kbp37": Source(
        "KBP37: sentences from Wikipedia and Gigaword with 18 directed TAC-KBP relations",
        f"{_GITHUB}/zhangdongxu/kbp37/master",
        {
            "train.txt": "6cfe2f9f959f51bab689238ee58cad63",
            "dev.txt": "4d79182d3eb71735b868e07d1ba22f31",
            "test.txt": "e02d78a8fdce88d03d046ac62a05807f",
        },
        read_kbp37,
    ),
    "conll04": Source(
        "CoNLL04: news sentences with four entity types and five relations, all ordered entity pairs",
        f"{_GITHUB}/bekou/multihead_joint_entity_relation_extraction/master/data/CoNLL04",
        {
            "train.txt": "7a07c1655852daaa6226e5fa719b6a5d",
            "dev.txt": "9173fbae7d80568d255dbf93d196bce4",
            "test.txt": "c3675227e46a4de25bc29f393cbed5ed",
        },
        read_conll04,
    ),
    "tacred": Source(
        "TACRED (LDC2018T24): licensed, from the Linguistic Data Consortium (https://catalog.ldc.upenn.edu/LDC2018T24)",
        None,
        {f"{split}.json": "" for split in SPLITS},
        _read_json,
    ),
    "tacred_sample": Source(
        "60 genuine TACRED records that its authors publish to show the format",
        f"{_GITHUB}/yuhaozhang/tacred-relation/master/dataset/tacred",
        {
            "train.json": "9463755ea7cbe73710b56ae360577898",
            "dev.json": "6627038c8c46e2fdb3caf3e783f092d5",
            "test.json": "40a1c7fb9f7c900e5faf45e998397165",
        },
        _read_json,
    ),
    "tacrev": Source(
        "TACRED-Revisited: corrected labels of dev and test, and published systems' predictions (MIT)",
        f"{_GITHUB}/DFKI-NLP/tacrev/master",
        {
            "patch/dev_patch.json": "32f71d5d964135fbeb4d95b43aebeb35",
            "patch/test_patch.json": "e17fd6a72076766ab3b30669458d3c43",
            "test_results/bilstm_bert_cased_test.jsonl": "11c48b821e041037594e326b3a414e0a",
            "test_results/cnn_wo_discr_masked_test.jsonl": "41780ba41182599fb761a87ba3ab68dc",
            "test_results/gcn_bert_uncased_test.jsonl": "06aa618611a06e00ecbaceac6a2ecaae",
            "test_results/knowbert_wordnet_wiki_tacred_test.txt": "8841229fdceab6a98175fa055feda991",
            "test_results/lstm_wo_discr_masked_test.jsonl": "bc41b1650b748f7f12a64b744ee1e817",
            "test_results/self_att_bert_cased_test.jsonl": "8c04edf5927a8a2ef5e619036683cc02",
            "test_results/spanbert_tacred_test.txt": "c622933ab04b8336147e0864692ae5a0",
            "test_results/tre_tacred_test.txt": "fa225f893a58a0ed685713bd6e712e44",
        },
    ),
    "retacred": Source(
        "Re-TACRED: labels of all splits, annotated again",
        f"{_GITHUB}/gstoica27/Re-TACRED/master/Re-TACRED",
        {
            "train_id2label.json": "b26a62c551b08aeab7e3ab4239632c92",
            "dev_id2label.json": "61db9a6565ee3aa754ae638c560a1d2d",
            "test_id2label.json": "6457b041c5cc3a500a25f28edae3adea",
        },
    ),
    "authors": Source(
        "the paper's own joint BERT on TACRED's test split, from the output of its authors' notebook",
        f"{_GITHUB}/analystuom/Relation-Extraction-on-TACRED-Dataset/master/notebooks",
        {"BERT.ipynb": "5cd05ac5bcbcc89014f0504286d830db"},
    ),
}

SAMPLE = "sample"
TAKEN = {SAMPLE, *SOURCES, "executed", "figures", "logs", "published", "report", "smoke", "stamps"}  # beside the runs


def data_folder(data_dir: Path | str | None) -> Path:
    """The folder that holds one folder per corpus: the given one, else data/ of the study."""
    return expanded(data_dir) if data_dir else DATA


def corpus_name(name: str, data_dir: Path | str | None = None, labels: str = "tacred") -> str:
    """The name that results of `load_corpus` with the same arguments are filed under, without decoding the text."""
    if name != SAMPLE and name not in SOURCES:
        folder = _corpus_folder(name)
        name, _ = _identify(folder, {split: _head(folder / f"{split}.json") for split in SPLITS})
    return name if labels == "tacred" else f"{name}-{labels}"


def corpus_files(name: str, data_dir: Path | str | None = None) -> list[Path]:
    """The files a corpus is read from: none for the generated one. Raises `UserError` for an unknown name."""
    if name == SAMPLE:
        return []
    if name in SOURCES:
        source, folder = SOURCES[name], _source_folder(name, data_folder(data_dir))
        return [folder / file for file in source.files]
    return [_corpus_folder(name) / f"{split}.json" for split in SPLITS]


def read_corpus(name: str, data: Path) -> Corpus:
    """A registered corpus whose files lie in `data`, or any folder in TACRED's format, as it is.

    Raises `UserError` for an unknown name, missing or damaged files, and a folder that is not what it is named.
    """
    if name in SOURCES:
        return _read_source(name, data)
    folder = _corpus_folder(name)
    splits = {split: read_split(folder / f"{split}.json") for split in SPLITS}
    filed, gated = _identify(folder, {split: (len(splits[split]), splits[split][0].id) for split in SPLITS})
    return with_columns(assemble(filed, splits, str(folder), gated=gated), folder, make=False)


def _read_source(name: str, data: Path) -> Corpus:
    source = SOURCES[name]
    if not source.is_corpus:
        raise UserError(
            f"--corpus {name}: holds labels or predictions, not sentences; choose one of {', '.join(corpora())}."
        )
    folder = _source_folder(name, data)
    if not any((folder / file).exists() for file in source.files):
        raise UserError(
            f"{folder}: corpus {name} is not there; {_how_to_get(name)} or name its parent with --data-dir."
        )
    splits, notes = source.read_folder(folder) if source.read_folder else ({}, [])
    for file in source.files:  # after a reader that can say more of a damaged file
        _checked(folder / file, source)
    for split, file in zip(SPLITS, source.files, strict=True) if source.read else ():
        splits[split], found = source.read(folder / file)
        notes += found
    if name == "tacred":
        _gate(folder, splits)
    corpus = assemble(name, splits, str(folder), gated=name.startswith("tacred")).noting(*notes)
    return with_columns(corpus, folder, make=True) if source.annotated else corpus


def corpora() -> list[str]:
    """The names that --corpus knows, the embedded default first."""
    return [SAMPLE, *(name for name, source in SOURCES.items() if source.is_corpus)]


def _how_to_get(name: str) -> str:
    if SOURCES[name].url is None:
        return "get it from https://catalog.ldc.upenn.edu/LDC2018T24, put its three JSON files there"
    return f"get it with: python -m tacred_utils data get {name},"


def _source_folder(name: str, data: Path) -> Path:
    folder = data / ((name in SOURCES and SOURCES[name].folder) or name)
    inside = folder / "data" / "json"  # the layout of the LDC's archive
    return inside if name == "tacred" and inside.is_dir() else folder


def _corpus_folder(name: str) -> Path:
    folder = expanded(name)
    if not folder.is_dir():
        raise UserError(f"--corpus {name}: is neither a folder nor one of {', '.join(corpora())}; check the spelling.")
    return folder.resolve()


def _checked(path: Path, source: Source) -> Path:
    """The path itself, if the file's md5 is the published one (a licensed file has none to compare with)."""
    expected = source.files[path.name]
    if expected:
        found = hashlib.md5(read_bytes(path), usedforsecurity=False).hexdigest()
        if found != expected:
            raise UserError(
                f"{path}: has md5 {found}, the published file has {expected}; fetch it again, or use the folder as a "
                "corpus of your own in TACRED's format."
            )
    return path


def _head(path: Path) -> tuple[int, str]:
    """Number of records and the first id of a JSON file, without decoding the rest."""
    records = split_records(path)
    try:
        return len(records), str(msgspec.json.decode(records[0]).get("id"))
    except (*UNDECODABLE, AttributeError):
        return len(records), ""


def _identify(folder: Path, heads: dict[str, tuple[int, str]]) -> tuple[str, bool]:
    """The name a folder's results are filed under, and whether its text is licensed.

    Split sizes tell TACRED and its public 20-row sample; generated records say so in their ids.
    """
    sizes = {split: rows for split, (rows, _) in heads.items()}
    if not heads["train"][1].startswith(SYNTHETIC_PREFIX):
        if sizes == TACRED_SPLIT_SIZES:
            return "tacred", True
        if set(sizes.values()) == {20} and heads["train"][1].startswith("61b3a"):
            return "tacred_sample", True
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", folder.name).strip(".-") or "corpus"
    return (f"{name}-folder" if re.sub("-(tacrev|retacred)$", "", name) in TAKEN else name), False


def _gate(folder: Path, splits: dict[str, list[Example]]) -> None:
    sizes = {split: len(splits[split]) for split in SPLITS}
    if sizes == TACRED_SPLIT_SIZES:
        return
    found = " / ".join(f"{size:,}" for size in sizes.values())
    if set(sizes.values()) == {20}:
        raise UserError(
            f"{folder}: is the public 20-row format sample, not TACRED; name it --corpus tacred_sample, or get LDC2018T24."
        )
    wanted = " / ".join(f"{size:,}" for size in TACRED_SPLIT_SIZES.values())
    raise UserError(
        f"{folder}: has {found} records, TACRED has {wanted}; give the folder itself with --corpus if it is another corpus."
    )


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
                f"{path}: is missing; get it with: python -m tacred_utils data get {labels}, or name its parent with --data-dir."
            )
        examples = corpus.split(split)
        patch = read_patch(path, {example.id for example in examples} if corpus.name == "tacred" else None)
        if not any(example.id in patch for example in examples):
            raise UserError(
                f"{path}: names no id of {corpus.name}'s {split} split; --labels {labels} is for TACRED only."
            )
        kept = [example for example in examples if labels == "tacrev" or example.id in patch]
        parts[split] = [msgspec.structs.replace(e, relation=patch.get(e.id, e.relation)) for e in kept]
        changed = sum(new.relation != old.relation for new, old in zip(parts[split], kept, strict=True))
        dropped = len(examples) - len(kept)
        notes.append(
            f"{labels} changes {changed:,} of {len(examples):,} labels of {split}"
            + (f" and drops {dropped:,} rows" if dropped else "")
        )
    return replace(corpus, name=f"{corpus.name}-{labels}", **parts).noting(*notes)


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
    return replace(corpus, subset=f"stratified subset of {sizes} rows", **parts).noting(
        f"the whole corpus has {whole} rows"
    )


def stratified(examples: list[Example], rows: int) -> list[Example]:
    """About `rows` Examples in file order, each label in proportion but at least once; the same ones every time."""
    by_label: dict[str, list[int]] = defaultdict(list)
    for index, example in enumerate(examples):
        by_label[example.relation].append(index)
    chosen: list[int] = []
    for label in sorted(by_label):
        members = by_label[label]
        chosen += random.Random(f"stratified {label}").sample(
            members, max(1, round(rows * len(members) / len(examples)))
        )
    return [examples[index] for index in sorted(chosen)]

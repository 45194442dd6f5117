"""Fetching the open corpora: https only, with progress and retries, and nothing is kept whose checksum is wrong."""

import hashlib
import time
from pathlib import Path

import requests
from tqdm import tqdm

from tacred_utils.corpora.registry import SOURCES, Source
from tacred_utils.ground.errors import UserError
from tacred_utils.ground.files import read_bytes, write_bytes

RETRIES, TIMEOUT = 3, 30  # attempts, and seconds without an answer before one counts as failed
REMOTE = {"test_results": "results/test_results"}  # folders that lie elsewhere in the source than here


def get(name: str, data: Path) -> list[Path]:
    """Download the files of a source below `data`, in the source's folder; files already there with the right md5 are left alone.

    Raises `UserError` for an unknown or licensed source, when a file cannot be had, or when its checksum is wrong.
    """
    if name not in SOURCES:
        raise UserError(f"data get {name}: unknown; choose one of {', '.join(n for n, s in SOURCES.items() if s.url)}.")
    source = SOURCES[name]
    if source.url is None:
        raise UserError(f"data get {name}: {source.about}; put its files into {data / name}.")
    return [_get_file(source, file, md5, data / (source.folder or name) / file) for file, md5 in source.files.items()]


def _get_file(source: Source, file: str, md5: str, target: Path) -> Path:
    if target.exists() and hashlib.md5(read_bytes(target), usedforsecurity=False).hexdigest() == md5:
        print(f"{target}: already there")
        return target
    folder, slash, name = file.partition("/")
    url = f"{source.url}/{REMOTE.get(folder, folder)}{slash}{name}"
    content = _fetch(url, target.name)
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if md5 and found != md5:
        raise UserError(
            f"{url}: has md5 {found}, the study was made with {md5}; nothing was kept, get the file elsewhere."
        )
    write_bytes(target, content)
    return target


def _fetch(url: str, name: str) -> bytes:
    """The content of an https address; retries with growing pauses."""
    for attempt in range(RETRIES):
        try:
            with requests.get(url, stream=True, timeout=TIMEOUT, allow_redirects=False) as answer:  # none to http
                answer.raise_for_status()
                total = int(answer.headers.get("content-length", 0)) or None
                with tqdm(total=total, unit="B", unit_scale=True, desc=name) as bar:
                    parts = []
                    for part in answer.iter_content(1 << 16):
                        parts.append(part)
                        bar.update(len(part))
            return b"".join(parts)
        except requests.RequestException as error:
            problem = type(error).__name__
            if attempt + 1 < RETRIES:
                time.sleep(2**attempt)
    raise UserError(
        f"{url}: cannot be had after {RETRIES} tries ({problem}); check the network, or name a folder with the file by --data-dir."
    )

"""Fetching the open corpora: https only, with progress and retries, and nothing is kept whose checksum is wrong."""

from pathlib import Path

import pooch

from tacred_utils.corpora.registry import SOURCES
from tacred_utils.ground.errors import UserError

RETRIES, TIMEOUT = 2, 30  # further attempts, and seconds without an answer before one counts as failed


def fetch_source(name: str, data: Path) -> list[Path]:
    """Download the files of a source below `data`, in its folder, but for those that are there with the right md5.

    Raises `UserError` for an unknown or licensed source, when a file cannot be had, or when its checksum is wrong.
    """
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
    return [_downloaded(store, file, urls[file]) for file in source.files]


def _downloaded(store: pooch.Pooch, file: str, url: str) -> Path:
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

"""How files are read and written: none is ever seen half-written, every trouble is one sentence."""

import hashlib
import json
import os
import unicodedata
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

import msgspec

from tacred_utils.ground.errors import UserError
from tacred_utils.ground.paths import ROOT

UNDECODABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)  # what msgspec raises on bad input


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` when the block ends without an error.

    Raises `UserError` when the folder cannot be written to or the disk is full; nothing is left behind then.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{uuid4().hex}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch()
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror or error}); free space first.") from error
    finally:
        with suppress(OSError):  # a name that is too long, a folder that is a file
            temporary.unlink()


def expanded(path: Path | str) -> Path:
    """The path with ~ as the user's home; a name after ~ that no user has stays as it is."""
    return Path(os.path.expanduser(path))


def read_bytes(path: Path) -> bytes:
    """The bytes of a file as they are; raises `UserError` when there is none or it cannot be read."""
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; put it there or name another place.") from None
    except IsADirectoryError:
        raise UserError(f"{path}: is a folder where a file is expected; name a file.") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check its permissions.") from None


def digest(content: bytes | Path, algorithm: str = "sha256") -> str:
    """The hexadecimal digest of bytes, or of a file's content, which may be larger than memory."""
    if isinstance(content, bytes):
        return hashlib.new(algorithm, content, usedforsecurity=False).hexdigest()
    with content.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()


def nfc(text: str) -> str:
    """The text in Unicode's normal form C, in which all text is read: é is one letter, not e and an accent."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text under `path`, by rename. Raises `UserError` as `atomic_path` does."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, data: bytes) -> None:
    """Write bytes under `path`, by rename. Raises `UserError` as `atomic_path` does."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def read_data(path: Path) -> bytes:
    """The bytes of a data file without a UTF-8 byte-order mark; raises `UserError` if it is no readable text file."""
    data = read_bytes(path)
    if data.startswith(b"\x1f\x8b"):
        raise UserError(f"{path}: is gzip-compressed; unpack it first (gunzip).")
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise UserError(f"{path}: is UTF-16 text; save it as UTF-8.")
    data = data.removeprefix(b"\xef\xbb\xbf")
    if not data.strip():
        raise UserError(f"{path}: is empty; fetch or write it again.")
    return data


def doubled_key(data: bytes | str) -> str | None:
    """A key that stands twice in one object of a JSON text: which of its values is meant cannot be known."""
    doubled: list[str] = []

    def check(pairs: list[tuple[str, object]]) -> None:
        if len(dict(pairs)) < len(pairs):
            doubled.extend(key for key, times in Counter(key for key, _ in pairs).items() if times > 1)

    with suppress(ValueError, RecursionError):  # in a field that is not read, and that msgspec does not decode
        json.loads(data, object_pairs_hook=check)
    return doubled[0] if doubled else None


def portable(path: Path) -> str:
    """A path as notebooks, stamps and messages write it: relative to the study's root where it lies below it."""
    return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else str(path)

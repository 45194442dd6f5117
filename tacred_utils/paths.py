"""Where things lie, and how files are written so that none is ever seen half-written."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tacred_utils.errors import UserError

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = Path(__file__).resolve().parent
NOTEBOOKS = ROOT / "notebooks"
DATA = ROOT / "data"
RESULTS = ROOT / "results"
FIGURES = ROOT / "figures"
PUBLISHED_RUNS = DATA / "runs"


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` when the block ends without an error.

    Raises `UserError` when the folder cannot be written to or the disk is full; nothing is left behind then.
    """
    path = Path(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        os.replace(temporary, path)
    except OSError as error:
        raise UserError(
            f"{path}: cannot be written ({error.strerror or error}); free space or choose another folder."
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


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


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text under `path`, by rename. Raises `UserError` as `atomic_path` does."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_bytes(path: Path, data: bytes) -> None:
    """Write bytes under `path`, by rename. Raises `UserError` as `atomic_path` does."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask

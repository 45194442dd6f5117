"""The one exception that becomes one sentence on the command line, what ran out, Ctrl-C, and safe text."""

import errno
import re
import signal
import sys

# How libraries that raise neither OSError nor MemoryError say it: torch, safetensors, tokenizers.
_FULL = re.compile("no space left|os error 28|disk quota|PytorchStreamWriter failed writing|iostream error", re.I)
_MEMORY = re.compile("out of memory|can't allocate memory|cannot allocate memory|ALLOC_FAILED", re.I)


class UserError(Exception):
    """A mistake that the user can mend: bad data, an unknown name, a missing file.

    The message names the file, the place in it and the remedy, in one sentence.
    Commands show it without a traceback and exit with status 2.
    """


def exhausted(error: BaseException) -> str | None:
    """ "memory" or "disk" where the error says that there was none left, else None."""
    said = f"{type(error).__name__}: {error}"
    if isinstance(error, MemoryError) or _MEMORY.search(said):
        return "memory"
    full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or _FULL.search(said)
    return "disk" if full else None


def heed_ctrl_c() -> None:
    """Let no Ctrl-C get lost in this process: one that Python drops is raised again a moment later.

    Where it falls into the callback of a weak reference or into a `__del__`, Python reports it as ignored and goes on
    (https://docs.python.org/3/library/sys.html#sys.unraisablehook).
    """
    report = sys.unraisablehook

    def again(ignored: "sys.UnraisableHookArgs") -> None:
        if issubclass(ignored.exc_type, KeyboardInterrupt):
            signal.setitimer(signal.ITIMER_REAL, 0.05)
        else:
            report(ignored)

    signal.signal(signal.SIGALRM, signal.default_int_handler)
    sys.unraisablehook = again


def printable(text: str) -> str:
    """The text on one line; what is invisible or steers a terminal becomes an escape such as `\\x1b`."""
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)

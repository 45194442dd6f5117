"""`python -m tacred_utils`: the same functions that the notebooks use, from the shell.

Imports the standard library alone, so that a mistake in the options is told before anything is installed.
"""

import os
import sys
from collections.abc import Sequence
from contextlib import suppress

from tacred_utils.cli import commands
from tacred_utils.ground.errors import UserError, heed_ctrl_c, printable

LONGEST = 1200  # characters of a message


def main(arguments: Sequence[str] | None = None, do: bool = True) -> int:
    """Run one command, or only read its options; the exit status: 0, 2 for a user's mistake (one sentence), 130 for Ctrl-C.

    The notebooks' run also ends with 1, where a notebook did not complete.
    """
    try:
        options = commands.parse(sys.argv[1:] if arguments is None else arguments)
        if not do:
            return 0
        status = getattr(commands, options.command)(options) or 0
        sys.stdout.flush()  # here a full disk can still be told
        return status
    except UserError as error:
        print(f"error: {_one_line(str(error))}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader of our output has seen enough
        _drop_output()
        return 0
    except OSError as error:
        place = error.filename or "the output"
        if error.filename is None:
            _drop_output()
        print(f"error: {_one_line(f'{place}: {error.strerror}')}; name another place or mend it.", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; the same command goes on where it can.", file=sys.stderr)
        return 130


def _drop_output() -> None:
    """What is still to be printed goes nowhere, so that the end of the process does not complain of it."""
    with suppress(OSError):  # it is no file
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _one_line(message: str) -> str:
    """Names and labels may hold line ends, what steers a terminal, or a million signs: shown escaped and cut."""
    shown = printable(message)
    return shown if len(shown) <= LONGEST else f"{shown[: LONGEST // 2]} … {shown[-LONGEST // 2 :]}"


def _reopen_closed() -> None:
    """A standard stream that was closed leads nowhere, here and in every process that is started."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            os.dup2(os.open(os.devnull, os.O_RDWR), number)
            setattr(sys, name, open(number, "w" if number else "r"))  # noqa: SIM115


if __name__ == "__main__":
    heed_ctrl_c()
    _reopen_closed()
    sys.stdout.reconfigure(errors="backslashreplace")  # for a terminal that lacks a letter of some corpus
    sys.exit(main())

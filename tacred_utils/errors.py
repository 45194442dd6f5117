"""The one exception that the command line turns into one sentence, and text that is safe to print."""


class UserError(Exception):
    """A mistake that the user can mend: bad data, an unknown name, a missing file.

    The message names the file, the place in it and the remedy, in one sentence.
    Commands show it without a traceback and exit with status 2.
    """


def printable(text: str) -> str:
    """The text on one line; what is invisible or steers a terminal becomes an escape such as `\\x1b`."""
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)

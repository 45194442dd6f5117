"""The one exception that the command line turns into one sentence."""


class UserError(Exception):
    """A mistake that the user can mend: bad data, an unknown name, a missing file.

    The message names the file, the place in it and the remedy, in one sentence.
    Commands show it without a traceback and exit with status 2.
    """

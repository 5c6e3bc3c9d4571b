"""The one exception that is shown to users as a sentence, without a traceback."""


class UserError(Exception):
    """Something the user can repair.

    The message is one sentence that says what is wrong, where, and what to do about it.
    Commands and workflow jobs print it as ``error: ...`` and exit with status 1.
    """


class WriteError(UserError):
    """A file cannot be written: the disk is full, read-only or failing, or the permissions do not allow it."""

"""The one exception that a user is meant to read, and how a program ends with it."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager


class YoyakError(Exception):
    """Input, parameters or surroundings that a user can mend. The message names the file, line and id, or the param."""


@contextmanager
def told() -> Iterator[None]:
    """End the program with one clear message, and exit status 1, for what a user can mend. Bugs keep their traceback."""
    try:
        yield
    except YoyakError as error:
        raise SystemExit(f"error: {error}") from None
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise SystemExit(f"error: the disk is full ({error.filename or error}); nothing was left half-written") from None
        if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
            raise SystemExit(f"error: not allowed: {error}") from None
        raise

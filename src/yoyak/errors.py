"""The one exception that a user is meant to read, and how a program ends with it."""

import errno
import os
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
    except Exception as error:
        number = error.errno if isinstance(error, OSError) else None
        # safetensors and Arrow report a full disk by their own exceptions, with the system's words in them
        if number in (errno.ENOSPC, errno.EDQUOT) or os.strerror(errno.ENOSPC) in str(error):
            raise SystemExit(f"error: the disk is full; nothing was left half-written ({error})") from None
        if type(error).__name__ == "OutOfMemoryError":  # torch's, by name: it is slow to import
            raise SystemExit(
                "error: out of GPU memory; halve training.per_device_train_batch_size and double "
                "training.gradient_accumulation_steps, or lower generation.batch_size; "
                f"`python -m yoyak doctor` estimates what fits ({error})"
            ) from None
        if isinstance(error, MemoryError) or number == errno.ENOMEM or "DefaultCPUAllocator" in str(error):
            raise SystemExit(
                "error: out of memory; halve training.per_device_train_batch_size and double "
                "training.gradient_accumulation_steps, or lower generation.batch_size. What was finished is kept: the same "
                f"command goes on ({' '.join(str(error).split())[:200]})"
            ) from None
        if number in (errno.EACCES, errno.EROFS, errno.EPERM):
            raise SystemExit(f"error: not allowed: {error}") from None
        raise

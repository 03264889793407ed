"""Exclusive locks on files and folders, which a killed process releases."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def exclusive_lock(path: Path, *, wait: bool = True) -> Iterator[int]:
    """Alone with an existing file or folder, as far as others ask too; its descriptor. A kill releases it.

    Raises:
        BlockingIOError: if another process is, unless told to `wait`.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield descriptor
    finally:
        os.close(descriptor)

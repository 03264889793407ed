"""Exclusive locks on files and folders. The operating system releases them when a process is killed."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def exclusive_lock(path: Path, *, wait: bool = True) -> Iterator[int]:
    """Hold an exclusive lock on an existing file or folder.

    The lock is advisory (flock): it only keeps out processes that ask for it too. Linux and macOS have it, Windows only in WSL.

    Args:
        path: the file or folder, which must exist.
        wait: whether to wait until the lock is free.

    Yields:
        The open file descriptor that holds the lock.

    Raises:
        BlockingIOError: if another process holds the lock and `wait` is false.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield descriptor
    finally:
        os.close(descriptor)

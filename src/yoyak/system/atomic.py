"""Files and folders that appear under their names only when they are complete and on the disk."""

import glob
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

from yoyak.system.checksums import write_checksums
from yoyak.system.locks import exclusive_lock


@contextmanager
def atomic_file(path: Path) -> Iterator[IO[str]]:
    """A text file that appears under its name only when it is complete and on the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with _beside(path) as beside:
        # "x" follows no link that somebody may have put there
        with open(beside / path.name, "x", encoding="utf-8", newline="") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside / path.name, path)
    _sync_folder(path.parent)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """A folder that appears under its name only when everything in it is on the disk; what was there before goes.

    SHA256SUMS in it says what its files are (`verify`, or `sha256sum -c`).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _beside(path) as beside:
        new, old = beside / path.name, beside / "old"
        new.mkdir()
        yield new
        write_checksums(new)
        with exclusive_lock(path.parent):
            if path.is_symlink() or path.exists():
                os.replace(path, old)
            os.replace(new, path)
    _sync_folder(path.parent)


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """A hidden folder next to `path` to make it in, gone at the end. What killed processes left goes: nobody holds its lock."""
    with ExitStack() as own:
        with exclusive_lock(path.parent):
            for left in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
                with suppress(OSError), exclusive_lock(left, wait=False):
                    shutil.rmtree(left)
            beside = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp"))
            own.enter_context(exclusive_lock(beside))
        try:
            yield beside
        finally:
            shutil.rmtree(beside, ignore_errors=True)


def _sync_folder(path: Path) -> None:
    """Make a rename in `path` last through a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

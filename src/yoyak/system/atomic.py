"""Atomic writes: a file or folder appears under its name only when it is complete and on the disk."""

import glob
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

from yoyak.system.checksums import CHECKSUMS_FILE, write_checksums
from yoyak.system.locks import exclusive_lock


@contextmanager
def atomic_file(path: Path) -> Iterator[IO[str]]:
    """Write a UTF-8 text file that replaces `path` only when the block ends without an exception.

    Line ends are written as they are given. Missing parent folders are created.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with temporary_folder_next_to(path) as temporary:
        # Mode "x" fails on an existing name, so it never writes through a link that somebody placed there.
        with open(temporary / path.name, "x", encoding="utf-8", newline="") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary / path.name, path)
    _flush_folder(path.parent)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Fill a new folder that replaces `path` only when the block ends without an exception.

    The previous content of `path` is deleted then. The new folder gets a SHA256SUMS, which
    `yoyak.system.integrity.verify_checksums` and `sha256sum --check` read.

    Yields:
        A temporary folder. Write the files into it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with temporary_folder_next_to(path) as temporary:
        new, old = temporary / path.name, temporary / "old"
        new.mkdir()
        yield new
        write_checksums(new)
        _give_usual_modes(new)
        with exclusive_lock(path.parent):
            if path.is_symlink() or path.exists():
                os.replace(path, old)
            os.replace(new, path)
    _flush_folder(path.parent)


@contextmanager
def temporary_folder_next_to(path: Path) -> Iterator[Path]:
    """A hidden, locked folder next to `path`, on the same file system. It is deleted at the end.

    Temporary folders of killed processes are deleted too: nobody holds their lock.
    """
    with ExitStack() as own_lock:
        with exclusive_lock(path.parent):
            for leftover in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
                with suppress(OSError), exclusive_lock(leftover, wait=False):
                    shutil.rmtree(leftover)
            temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp"))
            own_lock.enter_context(exclusive_lock(temporary))
        try:
            yield temporary
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _give_usual_modes(folder: Path) -> None:
    """Give files and folders below `folder` the modes that the umask asks for. Some libraries write with mode 0600."""
    usual = {kind: (folder / name).stat().st_mode for kind, name in (("file", CHECKSUMS_FILE), ("folder", ""))}
    for path in folder.rglob("*"):
        if not path.is_symlink():
            mode = usual["folder" if path.is_dir() else "file"]
            if path.stat().st_mode != mode:
                path.chmod(mode & 0o777)


def _flush_folder(path: Path) -> None:
    """Flush a folder's entries to the disk, so that a rename in it survives a power failure."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

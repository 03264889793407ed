"""Copies folders from the first host to the others that train with it, so that they need no common disk."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import torch
from torch import distributed

from yoyak.system import processes
from yoyak.system.atomic import atomic_folder
from yoyak.system.checksums import file_checksums, sha256
from yoyak.system.errors import YoyakError
from yoyak.training.process_group import from_first

CHUNK = 64 * 2**20  # bytes that are sent at once


def copy_from_first(source: Path, target: Path) -> None:
    """Copy the files below `source`, as process 0 sees it, into `target` on every other host. Each process calls it.

    SHA256SUMS in `source` itself is left out. With one host it does nothing.

    Raises:
        YoyakError: if a file arrives damaged.
    """
    if processes.hosts() == 1:
        return
    checksums: dict[str, str] = from_first(file_checksums(source) if processes.rank() == 0 else None)
    writes = processes.host() > 0 and processes.local_rank() == 0
    for name, checksum in checksums.items():
        _copy_file(source / name, target / name if writes else None)
        if writes and sha256(target / name) != checksum:
            raise YoyakError(f"{target / name}: it was damaged on the way from the first host; the same command tries again")


def _copy_file(source: Path, target: Path | None) -> None:
    """Send a file from process 0 to all. Those that have no `target` drop it."""
    size: int = from_first(source.stat().st_size if processes.rank() == 0 else None)
    if target:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(b"")
    for start in range(0, size, CHUNK):
        chunk = torch.empty(min(CHUNK, size - start), dtype=torch.uint8)
        if processes.rank() == 0:
            with open(source, "rb") as file:
                file.seek(start)
                file.readinto(chunk.numpy().data)
        distributed.broadcast(chunk, src=0)
        if target:
            with open(target, "ab") as file:
                file.write(chunk.numpy().data)


def send_outputs(folders: Sequence[Path]) -> None:
    """Give the other hosts what the first process has written. Process 0 calls it, all others call `receive_outputs`."""
    for folder in folders:
        copy_from_first(folder, folder)


def receive_outputs(folders: Sequence[Path]) -> None:
    """Write the outputs of the first process on this host too, so that DVC finds the same on each."""
    with ExitStack() as complete:
        writes = processes.host() > 0 and processes.local_rank() == 0
        for folder in folders:
            copy_from_first(folder, complete.enter_context(atomic_folder(folder)) if writes else folder)

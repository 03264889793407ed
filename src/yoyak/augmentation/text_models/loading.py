"""What all text models here share: errors that name the param, and a fingerprint of a checkpoint."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from yoyak.system.checksums import CHECKSUMS_FILE, file_checksums, sha256
from yoyak.system.errors import YoyakError


@contextmanager
def named(param: str) -> Iterator[None]:
    """Put the name of a param before the messages of errors."""
    try:
        yield
    except YoyakError as error:
        raise YoyakError(f"{param}: {error}") from error.__cause__


def fingerprint_of(checkpoint: str, revision: str | None) -> dict[str, str]:
    """What a text that a checkpoint wrote depends on: its commit on the hub, or the SHA-256 of each file of a folder.

    A folder with SHA256SUMS is represented by that file.
    """
    folder = Path(checkpoint)
    if not folder.is_dir():
        return {"checkpoint": checkpoint, "revision": str(revision)}
    sums = folder / CHECKSUMS_FILE
    return {CHECKSUMS_FILE: sha256(sums)} if sums.is_file() else file_checksums(folder)

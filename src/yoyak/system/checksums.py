"""SHA-256 of the files below a folder, written beside them as SHA256SUMS."""

import hashlib
import os
from pathlib import Path

CHECKSUMS_FILE = "SHA256SUMS"  # in each folder that a stage writes


def sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_checksums(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below a folder but SUMS itself, by its relative name."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / CHECKSUMS_FILE)
    return {path.relative_to(folder).as_posix(): sha256(path) for path in files}


def write_checksums(folder: Path) -> None:
    """Write down what the files of a folder are, and put all of it on the disk."""
    (folder / CHECKSUMS_FILE).write_text(
        "".join(f"{digest}  {name}\n" for name, digest in file_checksums(folder).items()), encoding="utf-8"
    )
    for path in folder.rglob("*"):
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)

"""SHA-256 checksums of the files below a folder, stored in the folder as SHA256SUMS."""

import hashlib
import os
from pathlib import Path

CHECKSUMS_FILE = "SHA256SUMS"  # the name that `sha256sum --check` users expect; every folder that a stage writes has one


def sha256(path: Path) -> str:
    """The SHA-256 of a file's content, as 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_checksums(folder: Path) -> dict[str, str]:
    """The SHA-256 of every file below `folder`, by its relative path. SHA256SUMS itself is left out."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / CHECKSUMS_FILE)
    return {path.relative_to(folder).as_posix(): sha256(path) for path in files}


def write_checksums(folder: Path) -> None:
    """Write SHA256SUMS into `folder`, in the format of `sha256sum`, and flush every file below `folder` to the disk."""
    (folder / CHECKSUMS_FILE).write_text(
        "".join(f"{digest}  {name}\n" for name, digest in file_checksums(folder).items()), encoding="utf-8"
    )
    for path in folder.rglob("*"):
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)

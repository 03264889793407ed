"""Detection of damaged files: in the folders that stages write, and in DVC's cache."""

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

from yoyak.system.checksums import CHECKSUMS_FILE, sha256
from yoyak.system.errors import YoyakError
from yoyak.system.text_files import check_text_file, read_lines

RESTORE_ADVICE = "to restore it, delete the folder, run `yoyak check-cache --delete`, then `dvc repro` (or `dvc pull`)"


def verify_checksums(folder: Path, *, presence_only: tuple[str, ...] = ()) -> None:
    """Compare the files of a folder with its SHA256SUMS.

    Args:
        folder: a folder that contains SHA256SUMS.
        presence_only: name endings, such as ".safetensors". Files with one of these endings must exist, but their content is
            not read, because hashing large weights takes long.

    Raises:
        YoyakError: naming the file, if a file is missing or its content differs, or if SHA256SUMS itself is damaged.
    """
    check_text_file(folder / CHECKSUMS_FILE)
    expected = {}
    for number, line in enumerate(read_lines(folder / CHECKSUMS_FILE), 1):
        digest, _, name = line.rstrip("\n").partition("  ")
        if not (re.fullmatch("[0-9a-f]{64}", digest) and name and line.endswith("\n")):
            raise YoyakError(f"{folder / CHECKSUMS_FILE}:{number}: damaged; {RESTORE_ADVICE}")
        expected[name] = digest
    for name, digest in expected.items():
        path = folder / name
        if not path.is_file():
            raise YoyakError(f"{path}: missing; {RESTORE_ADVICE}")
        if not name.endswith(presence_only) and sha256(path) != digest:
            raise YoyakError(f"{path}: damaged: its SHA-256 differs from {CHECKSUMS_FILE}; {RESTORE_ADVICE}")


def damaged_cache_objects(cache: Path) -> Iterator[Path]:
    """Find the objects of a DVC cache whose content does not match their name, which is the MD5 of the content.

    Args:
        cache: DVC's cache folder, which contains `files/md5`.

    Yields:
        The path of each damaged object, in sorted order.
    """
    for path in sorted((cache / "files" / "md5").glob("[0-9a-f][0-9a-f]/*")):
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
        if digest != path.parent.name + path.name.removesuffix(".dir"):
            yield path

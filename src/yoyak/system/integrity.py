"""Finding files that are no longer what was written: in the folders of stages and in DVC's cache."""

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

from yoyak.system.checksums import CHECKSUMS_FILE, sha256
from yoyak.system.errors import YoyakError
from yoyak.system.text_files import check_text_file, read_lines

MEND = "delete the folder, then `python -m yoyak check-cache --delete` and `dvc repro` (or `dvc pull`) bring it back"


def verify_checksums(folder: Path, *, presence_only: tuple[str, ...] = ()) -> None:
    """YoyakError naming the file, if one is missing or is not what was written with the folder's SHA256SUMS. Of files whose
    names end as `presence_only` says only the presence is looked at."""
    check_text_file(folder / CHECKSUMS_FILE)
    listed = {}
    for number, line in enumerate(read_lines(folder / CHECKSUMS_FILE), 1):
        digest, _, name = line.rstrip("\n").partition("  ")
        if not (re.fullmatch("[0-9a-f]{64}", digest) and name and line.endswith("\n")):
            raise YoyakError(f"{folder / CHECKSUMS_FILE}: line {number}: damaged; {MEND}")
        listed[name] = digest
    for name, digest in listed.items():
        path = folder / name
        if not path.is_file():
            raise YoyakError(f"{path}: missing; {MEND}")
        if not name.endswith(presence_only) and sha256(path) != digest:
            raise YoyakError(f"{path}: damaged: it is not what was written (its SHA-256 differs); {MEND}")


def damaged_cache_objects(cache: Path) -> Iterator[Path]:
    """Objects of a DVC cache that are not what their names say (the MD5 of their bytes): cut off, or with flipped bits."""
    for path in sorted((cache / "files" / "md5").glob("[0-9a-f][0-9a-f]/*")):
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
        if digest != path.parent.name + path.name.removesuffix(".dir"):
            yield path

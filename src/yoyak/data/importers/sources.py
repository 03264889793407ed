"""The files that a user names: single files, folders with all files below them, and zip archives."""

import hashlib
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from yoyak.data.importers.archives import OTHER_ARCHIVES, is_clutter, unpack
from yoyak.data.importers.base import SourceFile
from yoyak.data.importers.look import is_dataset_folder
from yoyak.system.checksums import sha256
from yoyak.system.errors import YoyakError
from yoyak.system.text_files import first_bytes

# Files of these kinds are read from folders and archives. A file that the user names himself may have any name.
SUFFIXES = (".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".tab", ".txt", ".xlsx", ".xlsm", ".parquet")
_SPLIT_WORDS = {
    "train": ("train", "training", "trn", "학습", "훈련"),
    "dev": ("dev", "development", "valid", "validation", "val", "검증"),
    "test": ("test", "tst", "평가", "테스트"),
}


def find_sources(paths: Sequence[Path], folder: Path) -> Iterator[SourceFile]:
    """The files that `paths` name, in a fixed order.

    Args:
        paths: files, folders and zip archives.
        folder: an empty folder for files of archives.

    Raises:
        YoyakError: if a path does not exist, a folder has no file of a known kind, or an archive cannot be unpacked.
    """
    for number, path in enumerate(paths):
        if not path.exists():
            raise YoyakError(f"{path}: no such file or folder")
        if path.is_dir() and not is_dataset_folder(path):
            yield from _in_folder(path, folder / str(number))
        else:
            yield from _file(path, folder / str(number))


def _in_folder(path: Path, unpacked: Path) -> Iterator[SourceFile]:
    inside = sorted(file for file in path.rglob("*") if not is_clutter(file.relative_to(path)))
    saved = [file for file in inside if is_dataset_folder(file)]
    files = [file for file in inside if file.is_file() and file.suffix.lower() in (*SUFFIXES, ".zip")]
    files = [file for file in files if not any(file.is_relative_to(folder) for folder in saved)]
    if not files and not saved:
        raise YoyakError(f"{path}: no file with one of these endings: {' '.join((*SUFFIXES, '.zip'))}")
    for number, file in enumerate(saved + files):
        yield from _file(file, unpacked / str(number))


def _file(path: Path, unpacked: Path) -> Iterator[SourceFile]:
    if path.suffix.lower() in OTHER_ARCHIVES:
        raise YoyakError(f"{path}: this kind of archive is not read; unpack it and import the folder")
    file = SourceFile(path, str(path))
    if path.is_dir() or first_bytes(path) != b"PK\x03\x04" or path.suffix.lower() in (".xlsx", ".xlsm"):
        yield file
        return
    unpacked.mkdir(parents=True)
    found = False
    for member in unpack(file, unpacked):
        if Path(member.name).suffix.lower() in SUFFIXES:
            found = True
            yield member
        else:
            member.path.unlink()
    if not found:
        raise YoyakError(f"{path}: no file in the archive has one of these endings: {' '.join(SUFFIXES)}")


def checksum(file: SourceFile) -> str:
    """The SHA-256 of a file, or of the names and checksums of all files of a folder."""
    if not file.path.is_dir():
        return sha256(file.path)
    parts = [f"{sha256(each)}  {each.relative_to(file.path)}\n" for each in sorted(file.path.rglob("*")) if each.is_file()]
    return hashlib.sha256("".join(parts).encode()).hexdigest()


def split_of_name(name: str) -> str:
    """The split that the name of a file tells, or else that of the nearest folder above it: "train", "dev", "test" or "".

    A file may have other words in its name (대화요약_train.json). A folder counts only if its name is nothing else
    (01.Training).
    """
    *folders, file = Path(unicodedata.normalize("NFC", name)).parts or ("",)
    splits = [_split_of_words(file.rsplit(".", 1)[0], any)]
    splits += [_split_of_words(folder, all) for folder in reversed(folders)]
    return next(filter(None, splits), "")


def _split_of_words(text: str, enough: Callable[[Iterable[bool]], bool]) -> str:
    words = re.findall(r"[a-z]+|[가-힣]+", re.sub(r"([a-z])([A-Z])", r"\1 \2", text).lower())
    for split, known in _SPLIT_WORDS.items():
        if words and enough(word in known for word in words):
            return split
    return ""

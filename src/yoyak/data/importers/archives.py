"""Zip archives: unpacked into a temporary folder, if no name leaves it and the size stays within limits."""

import shutil
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from yoyak.data.importers.base import SourceFile
from yoyak.system.errors import YoyakError
from yoyak.system.text_files import printable

MAX_RATIO = 200  # unpacked bytes for one packed byte; JSON of dialogues has 5 to 30
MIN_SUSPICIOUS_BYTES = 50 * 2**20  # a smaller archive may have any ratio
MAX_BYTES = 50 * 2**30
MAX_FILES = 200_000
OTHER_ARCHIVES = (".7z", ".rar", ".gz", ".tgz", ".tar", ".bz2", ".xz", ".zst", ".alz", ".egg")


def check_archive_size(file: SourceFile) -> None:
    """Check that a zip archive, or a workbook, which is one, does not unpack to much more than it seems to hold.

    Raises:
        YoyakError: if it does, or cannot be read.
    """
    members = _members(file)
    total = sum(member.file_size for member in members)
    packed = max(1, file.path.stat().st_size)
    if len(members) > MAX_FILES or total > MAX_BYTES or (total > MIN_SUSPICIOUS_BYTES and total > MAX_RATIO * packed):
        raise YoyakError(
            f"{file.name}: {len(members):,} files with {total:,} bytes in an archive of {packed:,} bytes; this looks like a "
            "zip bomb and is not unpacked; if you trust it, unpack it yourself and import the folder"
        )


def unpack(file: SourceFile, folder: Path) -> Iterator[SourceFile]:
    """Unpack the files of a zip archive one after another into `folder`.

    Raises:
        YoyakError: if the archive is damaged or encrypted, looks like a zip bomb, or has a name that leads out of `folder`, a
            link, or another archive.
    """
    check_archive_size(file)
    members = [member for member in _members(file) if not member.is_dir()]
    for member in members:
        _check_member(file, member)
    members = [member for member in members if not is_clutter(PurePosixPath(_name(member)))]
    with zipfile.ZipFile(file.path) as archive:
        for number, member in enumerate(members):
            # A name of our own: nothing in the archive decides where a file is written.
            path = folder / f"{number}{PurePosixPath(_name(member)).suffix.lower()}"
            try:
                with archive.open(member) as source, open(path, "wb") as target:
                    shutil.copyfileobj(source, target)  # zipfile stops after file_size bytes and checks the CRC
            except (zipfile.BadZipFile, EOFError, OSError, NotImplementedError, ValueError) as error:
                if isinstance(error, OSError) and error.errno is not None:
                    raise
                raise YoyakError(f"{file.name}: {printable(_name(member))}: damaged in the archive ({error})") from None
            yield SourceFile(path, f"{file.name}/{_name(member)}")


def is_clutter(path: PurePosixPath | Path) -> bool:
    """Whether a file is not data: hidden, or written by macOS beside each file."""
    return any(part.startswith(".") or part == "__MACOSX" for part in path.parts)


def _members(file: SourceFile) -> list[zipfile.ZipInfo]:
    try:
        with zipfile.ZipFile(file.path) as archive:
            return archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise YoyakError(f"{file.name}: a damaged zip archive ({error}); copy or download it again") from None


def _name(member: zipfile.ZipInfo) -> str:
    """The name of a member. Korean Windows writes names in CP949 without saying so, and zipfile reads them as CP437."""
    if member.flag_bits & 0x800:
        return member.filename
    try:
        return member.filename.encode("cp437").decode("cp949")
    except UnicodeError:
        return member.filename


def _check_member(file: SourceFile, member: zipfile.ZipInfo) -> None:
    name = _name(member)
    path = PurePosixPath(name.replace("\\", "/"))
    problem = ""
    if path.is_absolute() or ".." in path.parts or (path.parts and path.parts[0].endswith(":")):
        problem = "a name that leads out of the archive's folder"
    elif stat.S_ISLNK(member.external_attr >> 16):
        problem = "a link"
    elif member.flag_bits & 0x1:
        problem = "encrypted; unpack it with its password"
    elif path.suffix.lower() in (".zip", *OTHER_ARCHIVES):
        problem = "an archive within the archive; unpack it first"
    if problem:
        raise YoyakError(f"{file.name}: {printable(name)}: {problem}; nothing is imported from this archive")

"""Text files: CSV and JSON lines in with exact complaints, whole files out or none."""

import csv
import fcntl
import glob
import hashlib
import io
import itertools
import json
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple

from yoyak.system.errors import YoyakError

LONGEST_ROW = 10_000_000  # bytes; more is a lost quote, and would be held in memory whole
csv.field_size_limit(LONGEST_ROW)  # Python's own limit of 131,072 characters a cell would stop with its own message

FORMULA = tuple("=+-@＝＋－＠\t\r")  # what a cell starts with that a spreadsheet calculates, some in full width too
SUMS = "SHA256SUMS"  # in each folder that a stage writes
MEND = "delete the folder, then `python -m yoyak check-cache --delete` and `dvc repro` (or `dvc pull`) bring it back"

_SIGNATURES = {
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
    b"\xef\xbb\xbf": "UTF-8 with a byte order mark",
    b"PK\x03\x04": "a zip archive or an Excel workbook",
}


class Row(NamedTuple):
    """A row of a CSV: the line of the file it starts on (from 1), and its cells by column."""

    line: int
    cells: dict[str, str]


def first_bytes(path: Path) -> bytes:
    """The first four bytes of a file. YoyakError if it is missing, no regular one, or cannot be read."""
    try:
        kind = path.stat().st_mode
        if not stat.S_ISREG(kind) and not stat.S_ISDIR(kind):  # to open a pipe waits for its writer; /dev/zero never ends
            raise YoyakError(f"{path}: is a pipe, a socket or a device, not a file; save its text as a file first")
        with open(path, "rb") as file:
            return file.read(4)
    except FileNotFoundError:
        raise YoyakError(f"{path}: no such file") from None
    except NotADirectoryError:
        raise YoyakError(f"{path}: no such file; {path.parent} is not a folder") from None
    except IsADirectoryError:
        raise YoyakError(f"{path}: is a folder, not a file") from None
    except PermissionError:
        raise
    except (OSError, ValueError) as error:  # a link to itself, a name that is too long or has a NUL
        raise YoyakError(f"{shown(str(path), 300)}: cannot be read ({getattr(error, 'strerror', None) or error})") from None


def check_encoding(path: Path) -> None:
    """YoyakError if the file is missing, no regular one, empty, or starts as something else than plain UTF-8 text does."""
    head = first_bytes(path)
    if not head:
        raise YoyakError(f"{path}: the file is empty")
    for signature, name in _SIGNATURES.items():
        if head.startswith(signature):
            raise YoyakError(f"{path}: line 1: this is {name}; save it as UTF-8 without a byte order mark")


def has_last_end(path: Path) -> bool:
    """Whether the last line of a text file that is not empty has an end; else it may have been cut off."""
    with open(path, "rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read() == b"\n"


def shown(text: str, most: int = 80) -> str:
    """`text` as a message may hold it: on one line, harmless to a terminal, and not long."""
    short = text if len(text) <= most else text[:most] + "…"
    return short if short.isprintable() else repr(short)


@dataclass
class _Left:
    """How many bytes of a row may still be read."""

    size: int = LONGEST_ROW


def _lines(path: Path, left: _Left | None = None) -> Iterator[str]:
    """The lines of a UTF-8 file with their ends as they are. YoyakError names the line that is not UTF-8 or has a NUL, or at
    which nothing is `left`: who reads rows puts that back after each."""
    left = left or _Left()
    with open(path, "rb") as file:
        for number in itertools.count(1):
            if not (line := file.readline(left.size + 1)):
                return
            left.size -= len(line)
            if left.size < 0:
                raise YoyakError(f"{path}: line {number}: a row of over {LONGEST_ROW:,} bytes; look for an unbalanced quote")
            if b"\0" in line:
                raise YoyakError(f"{path}: line {number}: a NUL byte; this is not a text file, or it is damaged")
            try:
                yield line.decode("utf-8")
            except UnicodeDecodeError as error:
                raise YoyakError(
                    f"{path}: line {number}: not UTF-8 (byte {error.start} of the line); if the file came from Excel or "
                    f"an older Windows program it is probably CP949: iconv -f CP949 -t UTF-8 {path.name} > new.csv"
                ) from None


def read_csv(path: Path, *, required: Sequence[str]) -> Iterator[Row]:
    """Rows of a UTF-8 CSV with a header line, one after another.

    Raises:
        YoyakError: naming file and line, for a missing file or column, another encoding, an unbalanced quote, a row
            with too many or too few cells or of more than LONGEST_ROW bytes, or no rows at all.
    """
    check_encoding(path)
    left = _Left()
    reader = csv.reader(_lines(path, left), strict=True)
    line = 1
    try:
        header = next(reader)
        columns = shown(", ".join(header), 300)
        missing = [name for name in required if name not in header]
        if missing:
            raise YoyakError(f"{path}: line 1: no column {', '.join(missing)}; the columns are: {columns}")
        if len(set(header)) < len(header):
            raise YoyakError(f"{path}: line 1: a column occurs twice: {columns}")
        count = 0
        line = reader.line_num + 1
        left.size = LONGEST_ROW
        for cells in reader:
            if cells:  # the csv module gives [] for a blank line
                if len(cells) != len(header):
                    raise YoyakError(
                        f"{path}: line {line}: {len(cells)} cells where the header has {len(header)} "
                        f"({cells[0][:40]!r}); look for an unbalanced quote or a comma outside quotes"
                    )
                yield Row(line, dict(zip(header, cells, strict=True)))
                count += 1
            line = reader.line_num + 1
            left.size = LONGEST_ROW
    except csv.Error as error:
        if "new-line" in str(error):
            raise YoyakError(f"{path}: line {line}: a carriage return outside quotes; end lines with a newline") from None
        raise YoyakError(f"{path}: line {line}: an unbalanced quote in the row that starts here ({error})") from None
    if not count:
        raise YoyakError(f"{path}: a header, but no rows")


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """Objects of a JSON-lines file, one after another. YoyakError names the file and line of one that is damaged."""
    check_encoding(path)
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            row = _value(line, f"{path}: line {number}")
            if not isinstance(row, dict):
                raise YoyakError(f"{path}: line {number}: no JSON object; the file is damaged")
            yield row


def read_json(path: Path) -> Any:
    """The value of a JSON file. YoyakError if it is missing or damaged."""
    check_encoding(path)
    return _value(path.read_bytes(), str(path))


def _value(text: bytes, where: str) -> Any:
    try:
        return json.loads(text.decode("utf-8"))  # of bytes alone it would guess UTF-16 and UTF-32
    except (ValueError, RecursionError):  # also a number of many digits, and brackets without end
        raise YoyakError(f"{where}: not JSON; the file is damaged") from None


def dumps(value: object, *, indent: int | None = None) -> str:
    """JSON with Korean left readable, keys in their order, no NaN."""
    return json.dumps(value, ensure_ascii=False, indent=indent, allow_nan=False)


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    with whole_file(path) as file:
        for row in rows:
            file.write(dumps(row) + "\n")


def write_json(path: Path, value: object) -> None:
    with whole_file(path) as file:
        file.write(dumps(value, indent=2) + "\n")


def _plain(cell: object) -> object:
    """A text that a spreadsheet would run as a formula gets an apostrophe before it (OWASP, CSV injection)."""
    return f"'{cell}" if isinstance(cell, str) and cell[:1] in FORMULA else cell


def write_csv(path: Path, rows: Iterable[Mapping[str, Any]], *, columns: Sequence[str]) -> None:
    with whole_file(path) as file:
        line = io.StringIO()
        writer = csv.DictWriter(line, fieldnames=columns)  # its rows end with \r\n: else it leaves a cell with \r unquoted
        for row in itertools.chain([dict(zip(columns, columns, strict=True))], rows):
            writer.writerow({name: _plain(cell) for name, cell in row.items()})
            file.write(line.getvalue().removesuffix("\r\n") + "\n")
            line.seek(0)
            line.truncate()


@contextmanager
def whole_file(path: Path) -> Iterator[IO[str]]:
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
def whole_folder(path: Path) -> Iterator[Path]:
    """A folder that appears under its name only when everything in it is on the disk; what was there before goes.

    SHA256SUMS in it says what its files are (`verify`, or `sha256sum -c`).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _beside(path) as beside:
        new, old = beside / path.name, beside / "old"
        new.mkdir()
        yield new
        write_sums(new)
        with locked(path.parent):
            if path.is_symlink() or path.exists():
                os.replace(path, old)
            os.replace(new, path)
    _sync_folder(path.parent)


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """A hidden folder next to `path` to make it in, gone at the end. What killed processes left goes: nobody holds its lock."""
    with ExitStack() as own:
        with locked(path.parent):
            for left in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
                with suppress(OSError), locked(left, wait=False):
                    shutil.rmtree(left)
            beside = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp"))
            own.enter_context(locked(beside))
        try:
            yield beside
        finally:
            shutil.rmtree(beside, ignore_errors=True)


@contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[int]:
    """Alone with an existing file or folder, as far as others ask too; its descriptor. A kill releases it.

    Raises:
        BlockingIOError: if another process is, unless told to `wait`.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield descriptor
    finally:
        os.close(descriptor)


def sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sums(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below a folder but SUMS itself, by its relative name."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / SUMS)
    return {path.relative_to(folder).as_posix(): sha256(path) for path in files}


def write_sums(folder: Path) -> None:
    """Write down what the files of a folder are, and put all of it on the disk."""
    (folder / SUMS).write_text("".join(f"{digest}  {name}\n" for name, digest in sums(folder).items()), encoding="utf-8")
    for path in folder.rglob("*"):
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)


def verify(folder: Path, *, but: tuple[str, ...] = ()) -> None:
    """YoyakError naming the file, if one is missing or is not what was written with the folder's SHA256SUMS. Of files whose
    names end as `but` says only the presence is looked at."""
    check_encoding(folder / SUMS)
    listed = {}
    for number, line in enumerate(_lines(folder / SUMS), 1):
        digest, _, name = line.rstrip("\n").partition("  ")
        if not (re.fullmatch("[0-9a-f]{64}", digest) and name and line.endswith("\n")):
            raise YoyakError(f"{folder / SUMS}: line {number}: damaged; {MEND}")
        listed[name] = digest
    for name, digest in listed.items():
        path = folder / name
        if not path.is_file():
            raise YoyakError(f"{path}: missing; {MEND}")
        if not name.endswith(but) and sha256(path) != digest:
            raise YoyakError(f"{path}: damaged: it is not what was written (its SHA-256 differs); {MEND}")


def damaged_objects(cache: Path) -> Iterator[Path]:
    """Objects of a DVC cache that are not what their names say (the MD5 of their bytes): cut off, or with flipped bits."""
    for path in sorted((cache / "files" / "md5").glob("[0-9a-f][0-9a-f]/*")):
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
        if digest != path.parent.name + path.name.removesuffix(".dir"):
            yield path


def leave_note(name: str, message: str, *folders: Path) -> None:
    """Print why a stage has nothing to do, and leave that in its output folders: of an empty one DVC warns."""
    print(message)
    for path in folders:
        with whole_folder(path) as folder:
            (folder / name).write_text(f"{message}\n", encoding="utf-8")


def _sync_folder(path: Path) -> None:
    """Make a rename in `path` last through a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""Text files: CSV and JSON lines in with exact complaints, whole files out or none."""

import csv
import io
import itertools
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

from yoyak.errors import YoyakError

csv.field_size_limit(2**31 - 1)  # Python's own limit of 131,072 characters a cell would stop with its own message

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


def check_encoding(path: Path) -> None:
    """YoyakError if the file is missing, empty, or starts as something else than plain UTF-8 text does."""
    try:
        with open(path, "rb") as file:
            head = file.read(4)
    except FileNotFoundError:
        raise YoyakError(f"{path}: no such file") from None
    except NotADirectoryError:
        raise YoyakError(f"{path}: no such file; {path.parent} is not a folder") from None
    except IsADirectoryError:
        raise YoyakError(f"{path}: is a folder, not a file") from None
    if not head:
        raise YoyakError(f"{path}: the file is empty")
    for signature, name in _SIGNATURES.items():
        if head.startswith(signature):
            raise YoyakError(f"{path}: line 1: this is {name}; save it as UTF-8 without a byte order mark")


def _lines(path: Path) -> Iterator[str]:
    """The lines of a UTF-8 file with their ends as they are. YoyakError names the line that is not UTF-8 or has a NUL."""
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
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
            with too many or too few cells, or no rows at all.
    """
    check_encoding(path)
    reader = csv.reader(_lines(path), strict=True)
    line = 1
    try:
        header = next(reader)
        missing = [name for name in required if name not in header]
        if missing:
            raise YoyakError(f"{path}: line 1: no column {', '.join(missing)}; the columns are: {', '.join(header)}")
        if len(set(header)) < len(header):
            raise YoyakError(f"{path}: line 1: a column occurs twice: {', '.join(header)}")
        count = 0
        line = reader.line_num + 1
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
            try:
                yield json.loads(line)
            except (json.JSONDecodeError, UnicodeDecodeError):
                raise YoyakError(f"{path}: line {number}: not JSON; the file is damaged") from None


def read_json(path: Path) -> Any:
    """The value of a JSON file. YoyakError if it is missing or damaged."""
    check_encoding(path)
    try:
        return json.loads(path.read_bytes())
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise YoyakError(f"{path}: not JSON; the file is damaged") from None


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


def write_csv(path: Path, rows: Iterable[Mapping[str, Any]], *, columns: Sequence[str]) -> None:
    with whole_file(path) as file:
        line = io.StringIO()
        writer = csv.DictWriter(line, fieldnames=columns)  # its rows end with \r\n: else it leaves a cell with \r unquoted
        for row in itertools.chain([dict(zip(columns, columns, strict=True))], rows):
            writer.writerow(row)
            file.write(line.getvalue().removesuffix("\r\n") + "\n")
            line.seek(0)
            line.truncate()


@contextmanager
def whole_file(path: Path) -> Iterator[IO[str]]:
    """A text file that appears under its name only when it is complete and on the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.tmp")
    try:
        with open(beside, "w", encoding="utf-8", newline="") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
    _sync_folder(path.parent)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A folder that appears under its name only when everything in it is on the disk; what was there before goes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.tmp")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir()
    try:
        yield beside
        for file in sorted(beside.rglob("*")):
            if file.is_file():
                with open(file, "rb") as opened:
                    os.fsync(opened.fileno())
        if path.is_dir():
            shutil.rmtree(path)
        os.replace(beside, path)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    _sync_folder(path.parent)


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

"""CSV, JSON and JSON lines: read with errors that name file and line, written completely or not at all."""

import csv
import io
import itertools
import json
import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from yoyak.system.atomic import atomic_file
from yoyak.system.errors import YoyakError

MAX_ROW_BYTES = 10_000_000  # bytes; more is a lost quote, and would be held in memory whole
csv.field_size_limit(MAX_ROW_BYTES)  # Python's own limit of 131,072 characters a cell would stop with its own message
FORMULA_STARTS = tuple("=+-@＝＋－＠\t\r")  # what a cell starts with that a spreadsheet calculates, some in full width too
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
        raise YoyakError(f"{printable(str(path), 300)}: cannot be read ({getattr(error, 'strerror', None) or error})") from None


def check_text_file(path: Path) -> None:
    """YoyakError if the file is missing, no regular one, empty, or starts as something else than plain UTF-8 text does."""
    head = first_bytes(path)
    if not head:
        raise YoyakError(f"{path}: the file is empty")
    for signature, name in _SIGNATURES.items():
        if head.startswith(signature):
            raise YoyakError(f"{path}: line 1: this is {name}; save it as UTF-8 without a byte order mark")


def ends_with_newline(path: Path) -> bool:
    """Whether the last line of a text file that is not empty has an end; else it may have been cut off."""
    with open(path, "rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read() == b"\n"


def printable(text: str, most: int = 80) -> str:
    """`text` as a message may hold it: on one line, harmless to a terminal, and not long."""
    short = text if len(text) <= most else text[:most] + "…"
    return short if short.isprintable() else repr(short)


@dataclass
class _Left:
    """How many bytes of a row may still be read."""

    size: int = MAX_ROW_BYTES


def read_lines(path: Path, left: _Left | None = None) -> Iterator[str]:
    """The lines of a UTF-8 file with their ends as they are. YoyakError names the line that is not UTF-8 or has a NUL, or at
    which nothing is `left`: who reads rows puts that back after each."""
    left = left or _Left()
    with open(path, "rb") as file:
        for number in itertools.count(1):
            if not (line := file.readline(left.size + 1)):
                return
            left.size -= len(line)
            if left.size < 0:
                raise YoyakError(f"{path}: line {number}: a row of over {MAX_ROW_BYTES:,} bytes; look for an unbalanced quote")
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
    check_text_file(path)
    left = _Left()
    reader = csv.reader(read_lines(path, left), strict=True)
    line = 1
    try:
        header = next(reader)
        columns = printable(", ".join(header), 300)
        missing = [name for name in required if name not in header]
        if missing:
            raise YoyakError(f"{path}: line 1: no column {', '.join(missing)}; the columns are: {columns}")
        if len(set(header)) < len(header):
            raise YoyakError(f"{path}: line 1: a column occurs twice: {columns}")
        count = 0
        line = reader.line_num + 1
        left.size = MAX_ROW_BYTES
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
            left.size = MAX_ROW_BYTES
    except csv.Error as error:
        if "new-line" in str(error):
            raise YoyakError(f"{path}: line {line}: a carriage return outside quotes; end lines with a newline") from None
        raise YoyakError(f"{path}: line {line}: an unbalanced quote in the row that starts here ({error})") from None
    if not count:
        raise YoyakError(f"{path}: a header, but no rows")


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """Objects of a JSON-lines file, one after another. YoyakError names the file and line of one that is damaged."""
    check_text_file(path)
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            row = _value(line, f"{path}: line {number}")
            if not isinstance(row, dict):
                raise YoyakError(f"{path}: line {number}: no JSON object; the file is damaged")
            yield row


def read_json(path: Path) -> Any:
    """The value of a JSON file. YoyakError if it is missing or damaged."""
    check_text_file(path)
    return _value(path.read_bytes(), str(path))


def _value(text: bytes, where: str) -> Any:
    try:
        return json.loads(text.decode("utf-8"))  # of bytes alone it would guess UTF-16 and UTF-32
    except (ValueError, RecursionError):  # also a number of many digits, and brackets without end
        raise YoyakError(f"{where}: not JSON; the file is damaged") from None


def to_json(value: object, *, indent: int | None = None) -> str:
    """JSON with Korean left readable, keys in their order, no NaN."""
    return json.dumps(value, ensure_ascii=False, indent=indent, allow_nan=False)


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    with atomic_file(path) as file:
        for row in rows:
            file.write(to_json(row) + "\n")


def write_json(path: Path, value: object) -> None:
    with atomic_file(path) as file:
        file.write(to_json(value, indent=2) + "\n")


def _plain(cell: object) -> object:
    """A text that a spreadsheet would run as a formula gets an apostrophe before it (OWASP, CSV injection)."""
    return f"'{cell}" if isinstance(cell, str) and cell[:1] in FORMULA_STARTS else cell


def write_csv(path: Path, rows: Iterable[Mapping[str, Any]], *, columns: Sequence[str]) -> None:
    with atomic_file(path) as file:
        line = io.StringIO()
        writer = csv.DictWriter(line, fieldnames=columns)  # its rows end with \r\n: else it leaves a cell with \r unquoted
        for row in itertools.chain([dict(zip(columns, columns, strict=True))], rows):
            writer.writerow({name: _plain(cell) for name, cell in row.items()})
            file.write(line.getvalue().removesuffix("\r\n") + "\n")
            line.seek(0)
            line.truncate()

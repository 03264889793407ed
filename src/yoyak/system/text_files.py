"""Text files: CSV, JSON and JSON lines. Reading errors name the file and the line; writing is atomic."""

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

# A longer row means an unclosed quote. Without a limit the rest of the file would be read into memory as one cell.
MAX_ROW_BYTES = 10_000_000
csv.field_size_limit(MAX_ROW_BYTES)  # the default limit, 131,072 characters per cell, fails with a message of its own
# A cell that starts with one of these runs as a formula in a spreadsheet. Some spreadsheets also accept full-width characters.
FORMULA_STARTS = tuple("=+-@＝＋－＠\t\r")
_SAVE_AS_UTF8 = "save it as UTF-8 without a byte order mark"
_SIGNATURES = {
    b"\xff\xfe": f"UTF-16; {_SAVE_AS_UTF8}",
    b"\xfe\xff": f"UTF-16; {_SAVE_AS_UTF8}",
    b"\xef\xbb\xbf": f"UTF-8 with a byte order mark; {_SAVE_AS_UTF8}",
    b"PK\x03\x04": "an Excel workbook or a zip archive; export it as CSV (UTF-8)",
}


class Row(NamedTuple):
    """One row of a CSV file.

    Attributes:
        line: number of the line that the row starts on, from 1.
        cells: the text of each cell, by column name.
    """

    line: int
    cells: dict[str, str]


def first_bytes(path: Path) -> bytes:
    """Read the first four bytes of a file, and so check that it can be read at all.

    Raises:
        YoyakError: if the file is missing, is not a regular file, or cannot be read.
        PermissionError: if the user may not read it.
    """
    try:
        mode = path.stat().st_mode
        # Opening a pipe would wait until another process writes into it, and /dev/zero has no end.
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
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
    except (OSError, ValueError) as error:  # a link to itself, a name that is too long, or a name with a NUL byte
        raise YoyakError(f"{printable(str(path), 300)}: cannot be read ({getattr(error, 'strerror', None) or error})") from None


def check_text_file(path: Path) -> None:
    """Check that a file exists, is not empty, and does not start like another encoding or format than plain UTF-8 text.

    Raises:
        YoyakError: if one of these does not hold.
    """
    head = first_bytes(path)
    if not head:
        raise YoyakError(f"{path}: the file is empty")
    for signature, message in _SIGNATURES.items():
        if head.startswith(signature):
            raise YoyakError(f"{path}: line 1: this is {message}")


def ends_with_newline(path: Path) -> bool:
    """Whether the last line of a non-empty file ends with a newline. If not, the file may be cut off."""
    with open(path, "rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read() == b"\n"


def printable(text: str, max_length: int = 80) -> str:
    """A version of `text` for messages: on one line, without control characters, and cut after `max_length` characters."""
    short = text if len(text) <= max_length else text[:max_length] + "…"
    return short if short.isprintable() else repr(short)


@dataclass
class _RowBudget:
    """Number of bytes that the current row may still have."""

    remaining: int

    def reset(self) -> None:
        self.remaining = MAX_ROW_BYTES


def read_lines(path: Path) -> Iterator[str]:
    """Read the lines of a UTF-8 file, with their line ends unchanged.

    Raises:
        YoyakError: naming the file and the line, for bytes that are not UTF-8, for a NUL byte, and for a line over
            MAX_ROW_BYTES.
    """
    budget = _RowBudget(MAX_ROW_BYTES)
    for line in _read_lines(path, budget):
        budget.reset()
        yield line


def _read_lines(path: Path, budget: _RowBudget) -> Iterator[str]:
    """Like `read_lines`. The caller resets `budget` after each row, because one row can have several lines."""
    with open(path, "rb") as file:
        for number in itertools.count(1):
            line = file.readline(budget.remaining + 1)
            if not line:
                return
            budget.remaining -= len(line)
            if budget.remaining < 0:
                raise YoyakError(f"{path}: line {number}: a row of over {MAX_ROW_BYTES:,} bytes; look for an unbalanced quote")
            if b"\0" in line:
                raise YoyakError(f"{path}: line {number}: a NUL byte; this is not a text file, or it is damaged")
            try:
                yield line.decode("utf-8")
            except UnicodeDecodeError as error:
                raise YoyakError(
                    f"{path}: line {number}: not UTF-8 (byte {error.start} of the line); if the file came from Excel or "
                    f"an older Windows program it is probably CP949: iconv -f CP949 -t UTF-8 {path.name} > new{path.suffix}"
                ) from None


def read_csv(path: Path, *, required: Sequence[str]) -> Iterator[Row]:
    """Read the rows of a UTF-8 CSV file with a header line, one after another. Blank lines are skipped.

    Args:
        path: the file.
        required: names of columns that the header must have.

    Raises:
        YoyakError: naming the file and the line, for a missing file or column, another encoding, an unbalanced quote, a row
            with too many or too few cells or over MAX_ROW_BYTES, or a file without rows. Rows before the line with the
            error are yielded first.
    """
    check_text_file(path)
    budget = _RowBudget(MAX_ROW_BYTES)
    reader = csv.reader(_read_lines(path, budget), strict=True)
    line = 1
    try:
        header = next(reader)
        _check_header(header, path, required)
        count = 0
        line = reader.line_num + 1
        budget.reset()
        for cells in reader:
            if cells:  # the csv module yields [] for a blank line
                if len(cells) != len(header):
                    raise YoyakError(
                        f"{path}: line {line}: {len(cells)} cells where the header has {len(header)} "
                        f"({cells[0][:40]!r}); look for an unbalanced quote or a comma outside quotes"
                    )
                yield Row(line, dict(zip(header, cells, strict=True)))
                count += 1
            line = reader.line_num + 1
            budget.reset()
    except csv.Error as error:
        if "new-line" in str(error):
            raise YoyakError(f"{path}: line {line}: a carriage return outside quotes; end lines with a newline") from None
        raise YoyakError(f"{path}: line {line}: an unbalanced quote in the row that starts here ({error})") from None
    if not count:
        raise YoyakError(f"{path}: a header, but no rows")


def _check_header(header: list[str], path: Path, required: Sequence[str]) -> None:
    columns = printable(", ".join(header), 300)
    missing = [name for name in required if name not in header]
    if missing:
        advice = '; is the file separated by ";"? Separate the columns by commas' if any(";" in name for name in header) else ""
        raise YoyakError(f"{path}: line 1: no column {', '.join(missing)}; the columns are: {columns}{advice}")
    if len(set(header)) < len(header):
        raise YoyakError(f"{path}: line 1: a column occurs twice: {columns}")


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """Read the objects of a JSON-lines file, one after another.

    Raises:
        YoyakError: naming the file and the line, if the file is missing or empty, or if a line is not a JSON object.
    """
    check_text_file(path)
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            row = _parse_json(line, f"{path}: line {number}")
            if not isinstance(row, dict):
                raise YoyakError(f"{path}: line {number}: not a JSON object; the file is damaged")
            yield row


def read_json(path: Path) -> Any:
    """Read the value of a JSON file.

    Raises:
        YoyakError: naming the file, if it is missing, empty or damaged.
    """
    check_text_file(path)
    return _parse_json(path.read_bytes(), str(path))


def _parse_json(text: bytes, where: str) -> Any:
    try:
        return json.loads(text.decode("utf-8"))  # json.loads would also accept UTF-16 and UTF-32 bytes
    except (ValueError, RecursionError):  # also a number with too many digits, and brackets that are nested too deeply
        raise YoyakError(f"{where}: not JSON; it is another kind of file, or damaged") from None


def to_json(value: object, *, indent: int | None = None) -> str:
    """Format a value as JSON. Korean text stays readable and keys keep their order.

    Raises:
        ValueError: for NaN and infinity, which JSON does not have.
    """
    return json.dumps(value, ensure_ascii=False, indent=indent, allow_nan=False)


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows as JSON lines, atomically."""
    with atomic_file(path) as file:
        for row in rows:
            file.write(to_json(row) + "\n")


def write_json(path: Path, value: object) -> None:
    """Write a value as indented JSON, atomically."""
    with atomic_file(path) as file:
        file.write(to_json(value, indent=2) + "\n")


def _without_formula(cell: object) -> object:
    """Put an apostrophe before a text that a spreadsheet would run as a formula (OWASP: CSV injection)."""
    return f"'{cell}" if isinstance(cell, str) and cell[:1] in FORMULA_STARTS else cell


def write_csv(path: Path, rows: Iterable[Mapping[str, Any]], *, columns: Sequence[str]) -> None:
    """Write rows as a UTF-8 CSV file with a header line and newlines as line ends, atomically.

    A cell that a spreadsheet would run as a formula gets an apostrophe in front.

    Raises:
        ValueError: if a row has a key that is not in `columns`.
    """
    with atomic_file(path) as file:
        line = io.StringIO()
        # The writer's line end stays "\r\n", because with "\n" the csv module leaves a cell that contains "\r" unquoted.
        writer = csv.DictWriter(line, fieldnames=columns)
        for row in itertools.chain([dict(zip(columns, columns, strict=True))], rows):
            writer.writerow({name: _without_formula(cell) for name, cell in row.items()})
            file.write(line.getvalue().removesuffix("\r\n") + "\n")
            line.seek(0)
            line.truncate()

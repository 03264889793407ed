"""Text files, JSON and JSON lines. Reading errors name the file and the line; writing is atomic."""

import codecs
import itertools
import json
import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from yoyak.system.atomic import atomic_file
from yoyak.system.errors import YoyakError

# A longer row means an unclosed quote. Without a limit the rest of the file would be read into memory as one cell.
MAX_ROW_BYTES = 10_000_000
MAX_LISTED_ROWS = 20  # rows that a message names
_SAVE_AS_UTF8 = "save it as UTF-8"
_SIGNATURES = {
    b"\xff\xfe": f"UTF-16; {_SAVE_AS_UTF8}",
    b"\xfe\xff": f"UTF-16; {_SAVE_AS_UTF8}",
    b"PK\x03\x04": "an Excel workbook or a zip archive; export it as CSV (UTF-8)",
}


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
    """Check that a file exists, is not empty, and does not start like another encoding or format than UTF-8 text.

    Raises:
        YoyakError: if one of these does not hold.
    """
    head = first_bytes(path)
    if not head or head == codecs.BOM_UTF8:
        raise YoyakError(f"{path}: the file is empty")
    for signature, message in _SIGNATURES.items():
        if head.startswith(signature):
            raise YoyakError(f"{place(path, 1)}: this is {message}")


def ends_with_newline(path: Path) -> bool:
    """Whether the last line of a non-empty file ends with a newline. If not, the file may be cut off."""
    with open(path, "rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read() == b"\n"


def printable(text: str, max_length: int = 80) -> str:
    """A version of `text` for messages: on one line, without control characters, and cut after `max_length` characters."""
    short = text if len(text) <= max_length else text[:max_length] + "…"
    return short if short.isprintable() else repr(short)


def place(path: Path, line: int, fname: str | None = None) -> str:
    """Where something is, as every message names it: `train.csv:17` or `train.csv:17 (fname train_16)`."""
    return f"{path}:{line}" + ("" if fname is None else f" (fname {printable(fname)})" if fname else " (no fname)")


def counted(number: int, one: str, many: str | None = None) -> str:
    """A number with its noun or clause: "1 row", "2 rows", "2 dialogues repeat". By default the plural has an s."""
    return f"{number} {one if number == 1 else many or f'{one}s'}"


def list_rows(lines: Sequence[str], *, count: int) -> str:
    """The part of a message that names rows: the first MAX_LISTED_ROWS `lines`, and how many of `count` rows follow."""
    more = [f"and {count - MAX_LISTED_ROWS} more"] if count > MAX_LISTED_ROWS else []
    return "".join(f"\n  {line}" for line in [*lines[:MAX_LISTED_ROWS], *more])


class RowBudget:
    """Number of bytes that the current row may still have."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.remaining = MAX_ROW_BYTES


def read_lines(path: Path) -> Iterator[str]:
    """Read the lines of a UTF-8 file, without a byte order mark and with their line ends unchanged.

    Raises:
        YoyakError: naming the file and the line, for bytes that are not UTF-8, for a NUL byte, and for a line over
            MAX_ROW_BYTES.
    """
    budget = RowBudget()
    for line in read_lines_of_rows(path, budget):
        budget.reset()
        yield line


def read_lines_of_rows(path: Path, budget: RowBudget) -> Iterator[str]:
    """Like `read_lines`. The caller resets `budget` after each row, because one row can have several lines."""
    with open(path, "rb") as file:
        for number in itertools.count(1):
            line = file.readline(budget.remaining + 1)
            if not line:
                return
            budget.remaining -= len(line)
            if number == 1:
                line = line.removeprefix(codecs.BOM_UTF8)
            if budget.remaining < 0:
                raise YoyakError(f"{place(path, number)}: a row of over {MAX_ROW_BYTES:,} bytes; look for an unbalanced quote")
            if b"\0" in line:
                raise YoyakError(f"{place(path, number)}: a NUL byte; this is not a text file, or it is damaged")
            try:
                yield line.decode("utf-8")
            except UnicodeDecodeError as error:
                raise YoyakError(
                    f"{place(path, number)}: not UTF-8 (byte {error.start} of the line); if the file came from Excel or "
                    f"an older Windows program it is probably CP949: iconv -f CP949 -t UTF-8 {path.name} > new{path.suffix}"
                ) from None


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """Read the objects of a JSON-lines file, one after another.

    Raises:
        YoyakError: naming the file and the line, if the file is missing or empty, or if a line is not a JSON object.
    """
    check_text_file(path)
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            row = _parse_json(line, place(path, number))
            if not isinstance(row, dict):
                raise YoyakError(f"{place(path, number)}: not a JSON object; the file is damaged")
            yield row


def read_tsv(path: Path) -> list[tuple[float, float]]:
    """The rows of a curve that DVCLive wrote: (step, value), without the header.

    Raises:
        YoyakError: naming the file, if it is missing or empty.
    """
    check_text_file(path)
    _, *lines = path.read_text(encoding="utf-8").splitlines()
    return [(float(step), float(value)) for step, value in (line.split("\t") for line in lines)]


def read_json(path: Path) -> Any:
    """Read the value of a JSON file.

    Raises:
        YoyakError: naming the file, if it is missing, empty or damaged.
    """
    check_text_file(path)
    return _parse_json(path.read_bytes(), str(path))


def _parse_json(text: bytes, where: str) -> Any:
    try:
        return json.loads(text.decode("utf-8-sig"))  # json.loads would also accept UTF-16 and UTF-32 bytes
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

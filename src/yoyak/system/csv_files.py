"""CSV files: read as spreadsheets and other programs write them, written byte by byte as given, atomically."""

import csv
import difflib
import io
import itertools
import re
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from yoyak.system.atomic import atomic_file
from yoyak.system.errors import YoyakError
from yoyak.system.invisible import is_blank, without_invisible
from yoyak.system.text_files import (
    MAX_LISTED_ROWS,
    MAX_ROW_BYTES,
    RowBudget,
    check_text_file,
    counted,
    first_bytes,
    list_rows,
    place,
    printable,
    read_lines_of_rows,
)

csv.field_size_limit(MAX_ROW_BYTES)  # the default limit, 131,072 characters per cell, fails with a message of its own
# A cell that starts with one of these runs as a formula in a spreadsheet. Some spreadsheets also accept full-width characters.
FORMULA_STARTS = tuple("=+-@＝＋－＠\t\r")
_SEPARATORS = {",": "comma", ";": '";"', "\t": "tab", "|": '"|"'}
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?\s*')  # the first line of some files for Excel
# Columns of other corpora that hold the same as ours, for a hint.
_OTHER_NAMES = {
    "fname": ("id", "filename", "file_name", "file", "name", "dialogue_id", "dialogueid", "번호", "파일명"),
    "dialogue": ("dialog", "text", "document", "conversation", "input", "source", "대화", "본문"),
    "summary": ("summaries", "abstract", "output", "target", "label", "요약", "요약문"),
}


class Row(NamedTuple):
    """One row of a CSV file.

    Attributes:
        line: number of the line that the row starts on, from 1.
        cells: the text of each cell, by column name.
    """

    line: int
    cells: dict[str, str]


@dataclass
class CsvNotes:
    """What `read_csv` found unusual in a file, complete after its last row.

    Attributes:
        byte_order_mark: whether the file starts with one.
        separator: the character between two cells.
        unnamed_columns: columns without a name, which are left out.
        blank_rows: rows without any text, which are skipped.
    """

    byte_order_mark: bool = False
    separator: str = ","
    unnamed_columns: int = 0
    blank_rows: int = 0

    def messages(self, path: Path) -> list[str]:
        """One line for everything unusual. A byte order mark alone is not worth a line."""
        lines = {
            f"the columns are separated by {_SEPARATORS.get(self.separator, repr(self.separator))}": self.separator != ",",
            f"{counted(self.unnamed_columns, 'column')} without a name left out": self.unnamed_columns > 0,
            f"{counted(self.blank_rows, 'blank row')} skipped": self.blank_rows > 0,
        }
        return [f"{path}: {line}" for line, holds in lines.items() if holds]


@dataclass
class _Faults:
    """Rows that do not fit their header: the first MAX_LISTED_ROWS as messages, and their number."""

    messages: list[str] = field(default_factory=list)
    count: int = 0

    def add(self, message: str) -> None:
        self.count += 1
        if len(self.messages) < MAX_LISTED_ROWS:
            self.messages.append(message)


def read_csv(path: Path, *, required: Sequence[str], notes: CsvNotes | None = None) -> Iterator[Row]:
    """Read the rows of a UTF-8 CSV file with a header line, one after another.

    Files as other programs write them are accepted: with a byte order mark, with `;`, tab or `|` between the columns, with a
    first line `sep=;`, with columns that have no name, and with blank rows.

    Args:
        path: the file.
        required: names of columns that the header must have.
        notes: filled with what is unusual in the file. Without it, this is printed to stderr after the last row.

    Raises:
        YoyakError: naming the file and the line, for a missing file or column, another encoding, an unbalanced quote, rows
            with too many or too few cells or over MAX_ROW_BYTES, or a file without rows. Rows before the line with the
            error are yielded first.
    """
    check_text_file(path)
    found = notes if notes is not None else CsvNotes()
    found.byte_order_mark = first_bytes(path).startswith(b"\xef\xbb\xbf")
    budget = RowBudget()
    lines = read_lines_of_rows(path, budget)
    header, header_lines, skipped = _read_header(lines, path, required, found)
    reader = csv.reader(itertools.chain(header_lines, lines), delimiter=found.separator, strict=True)
    names, columns = _named_columns(header, place(path, skipped + 1), found)
    faults, count, line = _Faults(), 0, skipped + 1
    try:
        next(reader)
        line = skipped + reader.line_num + 1
        budget.reset()
        for cells in reader:
            if not cells or all(map(is_blank, cells)):  # the csv module yields [] for a blank line
                found.blank_rows += 1
            elif fault := _misfit(cells, columns=columns, width=len(header)):
                faults.add(f"{place(path, line, _fname(cells, header))}: {fault}")
            elif not faults.count:  # after a fault, the rest is only checked
                yield Row(line, dict(zip(names, cells, strict=False)) if columns is None else _pick(cells, names, columns))
                count += 1
            line = skipped + reader.line_num + 1
            budget.reset()
    except csv.Error as error:
        faults.add(f"{place(path, line)}: {_problem(error)}")
    if faults.count == 1:
        raise YoyakError(faults.messages[0])
    if faults.count:
        raise YoyakError(f"{path}: {faults.count} rows do not fit the header:" + list_rows(faults.messages, count=faults.count))
    if not count:
        raise YoyakError(f"{path}: a header, but no rows")
    if notes is None:
        for message in found.messages(path):
            print(message, file=sys.stderr, flush=True)


def _read_header(
    lines: Iterator[str], path: Path, required: Sequence[str], notes: CsvNotes
) -> tuple[list[str], list[str], int]:
    """The names of the columns, the lines that they stand on, and the number of lines before them.

    The separator is the one with which most required columns are found.
    """
    skipped, first, separators = 0, next(lines, ""), list(_SEPARATORS)
    if match := _SEPARATOR_LINE.fullmatch(first):
        separators, skipped, first = [match[1]], 1, next(lines, "")
    while first and is_blank(first):
        skipped, notes.blank_rows, first = skipped + 1, notes.blank_rows + 1, next(lines, "")
    if not first:
        raise YoyakError(f"{path}: no header; the first line names the columns, such as: {', '.join(required) or 'fname'}")
    read = [first]

    def recorded() -> Iterator[str]:
        for line in lines:
            read.append(line)
            yield line

    headers: dict[str, list[str]] = {}
    for separator in separators:
        try:
            source = itertools.chain(list(read), recorded())
            header = [_clean_name(name) for name in next(csv.reader(source, delimiter=separator, strict=True))]
        except csv.Error as error:
            problem = error
            continue
        headers[separator] = header
        if set(required) <= set(header):
            break
    if not headers:
        raise YoyakError(f"{place(path, skipped + 1)}: {_problem(problem)}")
    # Of equally good separators the first wins. If no name is known, one that makes several columns is better.
    notes.separator = max(headers, key=lambda each: (sum(name in headers[each] for name in required), len(headers[each]) > 1))
    header = headers[notes.separator]
    if missing := [name for name in required if name not in header]:
        raise YoyakError(
            f"{place(path, skipped + 1)}: no column {', '.join(missing)}; the columns are: "
            f"{printable(', '.join(header), 300)}{_hint(missing, header)}"
        )
    return header, read, skipped


def _problem(error: csv.Error) -> str:
    if "new-line" in str(error):
        return "a carriage return outside quotes; end lines with a newline"
    return f"an unbalanced quote in the row that starts here ({error})"


def _clean_name(name: str) -> str:
    return unicodedata.normalize("NFC", without_invisible(name)).strip()


def _hint(missing: Sequence[str], header: Sequence[str]) -> str:
    """Which columns have probably another name, or an empty text."""
    by_lower = {name.casefold(): name for name in header if name and name not in missing}
    renames = []
    for name in missing:
        other = next((by_lower[other] for other in (name, *_OTHER_NAMES.get(name, ())) if other in by_lower), None)
        near = [other] if other else [by_lower[key] for key in difflib.get_close_matches(name, list(by_lower), n=1, cutoff=0.7)]
        renames += [f"{printable(each)} to {name}" for each in near]
    return f"; rename {' and '.join(renames)}?" if renames else ""


def _named_columns(header: Sequence[str], where: str, notes: CsvNotes) -> tuple[list[str], list[int] | None]:
    """The names of the columns that have one, and their positions; None if these are the first columns of every row.

    Raises:
        YoyakError: if a name occurs twice.
    """
    columns = [index for index, name in enumerate(header) if name]
    names = [header[index] for index in columns]
    if twice := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        raise YoyakError(
            f"{where}: the column {printable(', '.join(twice), 300)} occurs twice; the columns are: "
            f"{printable(', '.join(header), 300)}"
        )
    notes.unnamed_columns = len(header) - len(names)
    return names, columns if notes.unnamed_columns else None


def _misfit(cells: Sequence[str], *, columns: Sequence[int] | None, width: int) -> str:
    """Why a row does not fit its header, or an empty text. Blank cells at the end may be missing or too many."""
    named = width if columns is None else columns[-1] + 1
    if len(cells) == width and columns is None:
        return ""
    if len(cells) < named or not all(map(is_blank, cells[named:])):
        return f"{len(cells)} cells where the header has {named}; look for an unbalanced quote or a comma outside quotes"
    return ""


def _fname(cells: Sequence[str], header: Sequence[str]) -> str | None:
    """The fname of a row that may be too short, or None if the file has no such column."""
    index = header.index("fname") if "fname" in header else len(cells)
    return cells[index] if index < len(cells) else None


def _pick(cells: Sequence[str], names: Sequence[str], columns: Sequence[int]) -> dict[str, str]:
    return {name: cells[index] for name, index in zip(names, columns, strict=True)}


def spreadsheet_safe(cell: object) -> object:
    """A cell with an apostrophe before a text that a spreadsheet would run as a formula (OWASP: CSV injection)."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA_STARTS) else cell


def is_protected(cell: str) -> bool:
    """Whether a cell looks like the output of `spreadsheet_safe` for a text that starts as a formula."""
    return cell.startswith("'") and cell[1:].startswith(FORMULA_STARTS)


def write_csv(path: Path, rows: Iterable[Mapping[str, Any]], *, columns: Sequence[str], for_spreadsheet: bool = False) -> None:
    """Write rows as a UTF-8 CSV file with a header line and newlines as line ends, atomically.

    Args:
        path: the file.
        rows: cells by column.
        columns: the header.
        for_spreadsheet: write a copy for people. It starts with a byte order mark, which Excel needs for Korean text, and a
            cell that a spreadsheet would run as a formula gets an apostrophe in front. By default every cell is written
            unchanged.

    Raises:
        ValueError: if a row has a key that is not in `columns`.
    """
    with atomic_file(path) as file:
        line = io.StringIO()
        # The writer's line end stays "\r\n", because with "\n" the csv module leaves a cell that contains "\r" unquoted.
        writer = csv.DictWriter(line, fieldnames=columns)
        if for_spreadsheet:
            file.write("\ufeff")
        for row in itertools.chain([dict(zip(columns, columns, strict=True))], rows):
            writer.writerow({name: spreadsheet_safe(cell) for name, cell in row.items()} if for_spreadsheet else row)
            file.write(line.getvalue().removesuffix("\r\n") + "\n")
            line.seek(0)
            line.truncate()


def write_summaries(path: Path, rows: Sequence[Mapping[str, Any]], texts: Sequence[str]) -> None:
    """Write a file of predictions: the fname of each row, and its summary."""
    table = ({"fname": row["fname"], "summary": text} for row, text in zip(rows, texts, strict=True))
    write_csv(path, table, columns=["fname", "summary"])

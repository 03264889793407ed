"""Excel workbooks (.xlsx): every sheet that has a column for the dialogue."""

import zipfile
from collections.abc import Iterator
from typing import Any

from yoyak.data.importers.archives import check_archive_size
from yoyak.data.importers.base import Importer, Look, ReadOptions, Record, SourceFile
from yoyak.data.importers.rows import choose_columns, row_record, utterance_records
from yoyak.data.importers.sources import split_of_name
from yoyak.system.errors import YoyakError

_SUFFIXES = (".xlsx", ".xlsm")


class Xlsx(Importer):
    """Reads values: of a formula the value that Excel stored, of a merged cell the value of the whole area in each row."""

    name = "xlsx"

    def recognizes(self, look: Look) -> bool:
        return look.kind == "zip" and look.suffix in _SUFFIXES

    def read(self, file: SourceFile, look: Look, options: ReadOptions) -> Iterator[Record]:
        import openpyxl

        check_archive_size(file)
        try:
            # Without read_only, because only then the merged areas are known.
            book = openpyxl.load_workbook(file.path, data_only=True)
        except (zipfile.BadZipFile, KeyError, ValueError, TypeError, OSError) as error:
            raise YoyakError(f"{file.name}: not an Excel workbook that can be read ({error}); save it as CSV (UTF-8)") from None
        problems, found = [], False
        for sheet in book.worksheets:
            where = f"{file.name}: sheet {sheet.title}"
            header, rows = _table(sheet)
            if not header:
                continue
            try:
                columns = choose_columns([name for name in header if name], options, place=where)
            except YoyakError as error:
                problems.append(str(error))
                continue
            found = True
            formulas = _Formulas(file, sheet.title)
            places = _cells(rows, header, where, formulas, needed=set(columns.values()))
            records = (
                (row_record(row, columns, options, place=place) for place, row in places)
                if "dialogue" in columns
                else utterance_records(places, columns, options, where=where)
            )
            for record in records:
                record.split = record.split or split_of_name(sheet.title)
                yield record
        if not found:
            raise YoyakError("\n".join(problems) or f"{file.name}: the workbook is empty")


def _table(sheet: Any) -> tuple[list[str], list[tuple[int, list[Any]]]]:
    """The names in the first row that has text, and the rows below with their numbers. Merged areas are filled."""
    rows = {number: list(values) for number, values in enumerate(sheet.iter_rows(values_only=True), 1)}
    for area in sheet.merged_cells.ranges:
        value = sheet.cell(area.min_row, area.min_col).value
        for row in range(area.min_row, area.max_row + 1):
            for column in range(area.min_col, area.max_col + 1):
                rows[row][column - 1] = value
    numbers = [number for number, values in rows.items() if any(value not in (None, "") for value in values)]
    # A title above the table is one merged area or one cell. The header has at least two different names.
    first = next((number for number in numbers if len({value for value in rows[number] if value not in (None, "")}) > 1), None)
    if first is None:
        return [], []
    header = ["" if value is None else str(value).strip() for value in rows[first]]
    return header, [(number, rows[number]) for number in numbers if number > first]


class _Formulas:
    """The cells of a sheet that have a formula. The workbook is read again for them, and only if a needed cell is empty."""

    def __init__(self, file: SourceFile, sheet: str) -> None:
        self._file, self._sheet = file, sheet
        self._cells: Any = None

    def has(self, row: int, column: int) -> bool:
        """Whether a cell has a formula."""
        if self._cells is None:
            import openpyxl

            self._cells = openpyxl.load_workbook(self._file.path, data_only=False)[self._sheet]
        return str(self._cells.cell(row, column).data_type) == "f"


def _cells(
    rows: list[tuple[int, list[Any]]], header: list[str], where: str, formulas: _Formulas, *, needed: set[str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, values in rows:
        row = {name: value for name, value in zip(header, values, strict=False) if name}
        for column, (name, value) in enumerate(zip(header, values, strict=False), 1):
            if name in needed and value is None and formulas.has(number, column):
                raise YoyakError(
                    f"{where}: row {number}: the column {name} has a formula without a stored value; open the file in Excel, "
                    "save it, and import it again"
                )
        yield f"{where}: row {number}", row


IMPORTER = Xlsx()

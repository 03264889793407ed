"""CSV, TSV and other tables of text, in any encoding and with any separator."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from yoyak.data.importers.base import Importer, Look, ReadOptions, Record, SourceFile
from yoyak.data.importers.encodings import open_text, undecodable
from yoyak.data.importers.rows import KNOWN_NAMES, choose_columns, row_record, utterance_records
from yoyak.system.csv_files import CsvNotes, Row, read_csv
from yoyak.system.errors import YoyakError

_SUFFIXES = (".csv", ".tsv", ".tab")
_SEPARATORS = ",;\t|"


class Csv(Importer):
    """Reads a table with a header line. A row holds a dialogue, or one utterance of it."""

    name = "csv"

    def recognizes(self, look: Look) -> bool:
        if look.kind != "text":
            return False
        return look.suffix in _SUFFIXES or (bool(_known_columns(look)) and any(each in look.lines[0] for each in _SEPARATORS))

    def read(self, file: SourceFile, look: Look, options: ReadOptions) -> Iterator[Record]:
        with contextlib.ExitStack() as stack:
            path = file.path
            if look.encoding not in ("utf-8", "utf-8-sig"):
                path = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "table.csv"
                _convert(file, look.encoding, path)
            try:
                yield from _records(path, file.name, look, options)
            except YoyakError as error:
                raise YoyakError(str(error).replace(str(path), file.name)) from None


def _convert(file: SourceFile, encoding: str, target: Path) -> None:
    """Write the text of a file as UTF-8 into another file."""
    try:
        with open_text(file.path, encoding) as source, open(target, "w", encoding="utf-8", newline="") as copy:
            shutil.copyfileobj(source, copy)
    except UnicodeDecodeError as error:
        raise undecodable(file.name, encoding, error) from None


def _known_columns(look: Look) -> list[str]:
    """The names in the header that may be a dialogue or an utterance. `read_csv` finds the separator by them."""
    known = {name for ours in ("dialogue", "utterance") for name in KNOWN_NAMES[ours]}
    header = next((line for line in look.lines if line.strip() and not line.startswith(("sep=", '"sep='))), "")
    names = [name.strip(' "\ufeff') for separator in _SEPARATORS for name in header.split(separator)]
    return [name for name in dict.fromkeys(names) if name.lower() in known]


def _records(path: Path, name: str, look: Look, options: ReadOptions) -> Iterator[Record]:
    required = [column for ours in ("dialogue", "utterance") if (column := options.columns.get(ours))] or _known_columns(look)
    rows = read_csv(path, required=required, notes=CsvNotes())
    first = next(rows)
    columns = choose_columns(list(first.cells), options, place=f"{name}:1")
    places = ((f"{name}:{row.line}", row.cells) for row in _chain(first, rows))
    if "dialogue" not in columns:
        yield from utterance_records(places, columns, options, where=name)
        return
    for place, cells in places:
        yield row_record(cells, columns, options, place=place)


def _chain(first: Row, rest: Iterator[Row]) -> Iterator[Row]:
    yield first
    yield from rest


IMPORTER = Csv()

"""Parquet files with columns of text, read batch by batch."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from yoyak.system.csv_files import Row
from yoyak.system.errors import YoyakError
from yoyak.system.text_files import first_bytes, printable

BATCH_ROWS = 1024  # that are decoded at once
BUFFER_BYTES = 2**20  # of a compressed column; without a buffer, all that a row group has of the column is read at once


def read_parquet(
    path: Path, *, required: Sequence[str], must_be_text: Callable[[str], bool] | None = None, columns: Sequence[str] = ()
) -> Iterator[Row]:
    """Read the rows of a Parquet file, one after another: its columns of text and of whole numbers, as text.

    Memory does not grow with the file, nor with its row groups. An empty value is an empty text.

    Args:
        path: the file.
        required: names of columns that the file must have.
        must_be_text: whether the column of this name, if there is one, must hold text. By default the required ones must.
        columns: only these columns, where they are there; empty for all.

    Yields:
        The number of each row, from 1, with its cells.

    Raises:
        YoyakError: naming the file, if it is damaged, or lacks a column, or a column holds something else than text. Rows
            before the damaged place are yielded first.
    """
    import pyarrow
    import pyarrow.parquet

    first_bytes(path)  # a missing file, or a folder
    number = 0
    try:
        with pyarrow.parquet.ParquetFile(path, buffer_size=BUFFER_BYTES) as file:
            names = _text_columns(path, file.schema_arrow, required, must_be_text or (lambda name: name in required))
            for batch in file.iter_batches(BATCH_ROWS, columns=[name for name in names if not columns or name in columns]):
                for cells in batch.to_pylist():
                    number += 1
                    yield Row(number, {name: "" if cell is None else str(cell) for name, cell in cells.items()})
    except (pyarrow.ArrowException, OSError) as error:
        reason = printable(str(error).splitlines()[0], 200)
        where = f"damaged after row {number}" if number else "cannot be read as Parquet"
        raise YoyakError(f"{path}: {where}: {reason}; copy it again") from None


def _text_columns(path: Path, schema: Any, required: Sequence[str], must_be_text: Callable[[str], bool]) -> list[str]:
    """The names of the columns of text and of whole numbers."""
    if missing := [name for name in required if name not in schema.names]:
        raise YoyakError(
            f"{path}: no column {', '.join(missing)}; it has {printable(', '.join(schema.names), 300)}. `yoyak import "
            "--columns` renames them"
        )
    if others := [field for field in schema if not _is_text(field.type) and must_be_text(field.name)]:
        raise YoyakError(
            f"{path}: the column {others[0].name} holds {printable(str(others[0].type))}, not text; `yoyak import` reads "
            "lists of turns and of summaries"
        )
    return [field.name for field in schema if _is_text(field.type)]


def _is_text(kind: Any) -> bool:
    from pyarrow import types

    value = kind.value_type if types.is_dictionary(kind) else kind
    return any(test(value) for test in (types.is_string, types.is_large_string, types.is_string_view, types.is_integer))

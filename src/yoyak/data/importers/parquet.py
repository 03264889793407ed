"""Parquet files with one dialogue in each row."""

from collections.abc import Iterator
from typing import Any

from yoyak.data.importers.base import Importer, Look, ReadOptions, Record, SourceFile
from yoyak.data.importers.rows import choose_columns, row_record, utterance_records
from yoyak.system.errors import YoyakError

BATCH_ROWS = 1000


class Parquet(Importer):
    """Reads rows in batches. A column may hold text or lists of utterances."""

    name = "parquet"

    def recognizes(self, look: Look) -> bool:
        return look.kind == "parquet"

    def read(self, file: SourceFile, look: Look, options: ReadOptions) -> Iterator[Record]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            table = pq.ParquetFile(file.path)
            columns = choose_columns(list(table.schema_arrow.names), options, place=file.name)
            rows = _rows(table, file.name)
            if "dialogue" not in columns:
                yield from utterance_records(rows, columns, options, where=file.name)
                return
            for place, row in rows:
                yield row_record(row, columns, options, place=place)
        except (pa.ArrowException, OSError) as error:
            raise YoyakError(f"{file.name}: damaged Parquet file ({error}); copy or download it again") from None


def _rows(table: Any, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    number = 0
    for batch in table.iter_batches(batch_size=BATCH_ROWS):
        for row in batch.to_pylist():
            number += 1
            yield f"{name}: row {number}", row


IMPORTER = Parquet()

"""Any JSON or JSON lines with one dialogue in each object, as text or as a list of utterances."""

from collections.abc import Iterator

from yoyak.data.importers.base import Importer, Look, ReadOptions, Record, SourceFile
from yoyak.data.importers.json_records import json_records
from yoyak.data.importers.lookup import keys_of
from yoyak.data.importers.rows import choose_columns, row_record
from yoyak.system.errors import YoyakError


class Json(Importer):
    """Reads objects by the names of their keys, which `--columns` may give."""

    name = "json"

    def recognizes(self, look: Look) -> bool:
        return look.kind in ("json", "jsonl")

    def read(self, file: SourceFile, look: Look, options: ReadOptions) -> Iterator[Record]:
        for place, value in json_records(file, kind=look.kind, encoding=look.encoding):
            names = list(value)
            try:
                columns = choose_columns(names, options, place=place)
            except YoyakError as error:
                nested = [key for key in keys_of(value) if "." in key or "[]" in key]
                raise YoyakError(f"{error}" + (f"; inner keys: {', '.join(nested)[:400]}" if nested else "")) from None
            if "dialogue" not in columns:
                raise YoyakError(
                    f"{place}: an object with one utterance; name the key of the dialogue: --columns dialogue=NAME"
                )
            yield row_record(value, columns, options, place=place)


IMPORTER = Json()

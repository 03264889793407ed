"""A folder that Hugging Face `datasets` wrote with `save_to_disk`: one data set, or one for each split."""

from collections.abc import Iterator

from yoyak.data.importers.base import Importer, Look, ReadOptions, Record, SourceFile
from yoyak.data.importers.rows import choose_columns, row_record
from yoyak.system.errors import YoyakError

_SPLITS = {"train": "train", "validation": "dev", "valid": "dev", "dev": "dev", "test": "test"}


class Datasets(Importer):
    """Reads the rows from the folder's memory-mapped files."""

    name = "datasets"

    def recognizes(self, look: Look) -> bool:
        return look.kind == "folder"

    def read(self, file: SourceFile, look: Look, options: ReadOptions) -> Iterator[Record]:
        from datasets import DatasetDict, load_from_disk

        try:
            loaded = load_from_disk(str(file.path))
        except Exception as error:  # each kind of damage raises a different type
            raise YoyakError(f"{file.name}: not a folder that datasets can load ({error}); save it again") from None
        parts = loaded if isinstance(loaded, DatasetDict) else {str(loaded.split or ""): loaded}
        for name, rows in parts.items():
            where = f"{file.name}: {name or 'data'}"
            columns = choose_columns(rows.column_names, options, place=where)
            if "dialogue" not in columns:
                raise YoyakError(
                    f"{where}: one utterance in each row; name the column of the dialogue: --columns dialogue=NAME"
                )
            for number, row in enumerate(rows, 1):
                record = row_record(row, columns, options, place=f"{where}: row {number}")
                record.split = record.split or _SPLITS.get(name, "")
                yield record


IMPORTER = Datasets()

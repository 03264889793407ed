"""The files of the raw data: train.csv, or several files such as train-00000-of-00004.parquet (shards)."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from yoyak.system.csv_files import Row, read_csv
from yoyak.system.errors import YoyakError
from yoyak.system.parquet_files import read_parquet
from yoyak.system.text_files import ends_with_newline, place, printable, read_jsonl

SUFFIXES = (".csv", ".parquet", ".jsonl")
_NUMBER = re.compile(r"(?:-(\d+)(?:-of-(\d+))?)?")  # after the name of the split; as Hugging Face datasets names shards


class FileRow(NamedTuple):
    """One row of the raw data.

    Attributes:
        line: number of the line that the row starts on, from 1; in a Parquet file, the number of the row.
        cells: the text of each cell, by column name.
        path: the file.
    """

    line: int
    cells: dict[str, str]
    path: Path


@dataclass(frozen=True)
class SplitFiles:
    """The files with the rows of one split.

    Attributes:
        path: how messages name them together: the only file, or a pattern such as data/raw/train-*.parquet.
        files: in the order of their rows.
        fault: why they cannot be read; empty if nothing is wrong with their names.
    """

    path: Path
    files: tuple[Path, ...]
    fault: str = ""

    def bytes(self) -> int:
        """The size of all files together."""
        return sum(file.stat().st_size for file in self.files if file.is_file())

    def without_last_newline(self) -> list[Path]:
        """Text files whose last line has no newline at its end: they may be cut off."""
        return [file for file in self.files if file.suffix != ".parquet" and not ends_with_newline(file)]

    def rows(self, required: Sequence[str]) -> Iterator[FileRow]:
        """The rows of all files, one after another.

        Args:
            required: names of columns that each file must have.

        Raises:
            YoyakError: naming the file and, where there is one, the row: for a file that is missing, damaged or empty, that
                has other columns than the first one, or that is not alone or not complete by its name. Rows before the fault
                are yielded first.
        """
        if self.fault:
            raise YoyakError(self.fault)
        columns: set[str] | None = None
        for file in self.files:
            number = None
            for number, row in enumerate(_READERS[file.suffix](file, required)):
                if columns is None:
                    columns = set(row.cells)
                if not number and columns != set(row.cells):
                    raise YoyakError(
                        f"{file}: other columns than {self.files[0].name} ({_difference(columns, set(row.cells))}); all files "
                        "of a split need the same ones"
                    )
                yield FileRow(row.line, row.cells, file)
            if number is None:
                raise YoyakError(f"{file}: no rows; write it again, or number the other files without it")


def _difference(first: set[str], own: set[str]) -> str:
    parts = [("without", first - own), ("also", own - first)]
    return ", ".join(f"{word} {printable(', '.join(sorted(names)), 200)}" for word, names in parts if names)


def find_split(folder: Path, split: str) -> SplitFiles:
    """The files of one split in a folder. If there are none, it is `{split}.csv`, which then cannot be read."""
    found: dict[tuple[str, bool], dict[int, Path]] = {}  # by suffix and by whether they are numbered
    totals: set[int] = set()
    for file in sorted(folder.glob(f"{split}*")):
        match = _NUMBER.fullmatch(file.stem.removeprefix(split))
        if match and file.suffix in SUFFIXES:
            number, total = match.groups()
            same = found.setdefault((file.suffix, number is not None), {}).setdefault(int(number or 0), file)
            if same != file:
                return SplitFiles(same, (), f"{file}: {same.name} has the same number; remove one of them")
            totals |= {int(total)} if total else set()
    if (".csv", False) in found:  # a train.jsonl or train.parquet beside train.csv is the source that it was made of
        found = {key: files for key, files in found.items() if key[1] or key[0] == ".csv"}
    if not found:
        return SplitFiles(folder / f"{split}.csv", (folder / f"{split}.csv",))
    if len(found) > 1:
        first, second = (next(iter(files.values())) for files in list(found.values())[:2])
        return SplitFiles(
            first, (), f"{first}: {second.name} has rows of {split} too; keep one of the two, or number both alike"
        )
    [((suffix, is_numbered), files)] = found.items()
    path = folder / f"{split}-*{suffix}" if is_numbered else files[0]
    return SplitFiles(path, tuple(files[number] for number in sorted(files)), _gap(path, sorted(files), totals))


def _gap(path: Path, numbers: Sequence[int], totals: set[int]) -> str:
    """What is missing by the numbers in the names, or an empty text."""
    if len(totals) > 1:
        return f"{path}: the names state {' and '.join(map(str, sorted(totals)))} files; remove those of another data set"
    first = 0 if totals else numbers[0]
    last = max(totals, default=numbers[-1] + 1) - 1
    if surplus := [number for number in numbers if number > last]:
        return f"{path}: the names state {last + 1} files, numbered from 0, but there is number {surplus[0]}"
    if missing := sorted(set(range(first, last + 1)) - set(numbers)):
        listed = ", ".join(map(str, missing[:10])) + (" …" if len(missing) > 10 else "")
        return f"{path}: number {listed} of {last + 1 - first} files is missing; copy the data again"
    return ""


def _from_csv(path: Path, required: Sequence[str]) -> Iterator[Row]:
    return read_csv(path, required=required)


def _from_jsonl(path: Path, required: Sequence[str]) -> Iterator[Row]:
    for line, values in enumerate(read_jsonl(path), 1):
        if missing := [name for name in required if name not in values]:
            raise YoyakError(f"{place(path, line)}: no {', '.join(missing)}; it has {printable(', '.join(values), 300)}")
        if wrong := [name for name, value in values.items() if _is_read(name) and not isinstance(value, str | int | None)]:
            raise YoyakError(
                f"{place(path, line)}: {wrong[0]} is not a text; `yoyak import` reads lists of turns and of summaries"
            )
        texts = {name: value for name, value in values.items() if isinstance(value, str | int | None)}
        yield Row(line, {name: "" if value is None else str(value) for name, value in texts.items()})


def _from_parquet(path: Path, required: Sequence[str]) -> Iterator[Row]:
    return read_parquet(path, required=required, must_be_text=_is_read)


def _is_read(column: str) -> bool:
    return column in ("fname", "dialogue", "topic") or column.startswith("summary")


_READERS = {".csv": _from_csv, ".jsonl": _from_jsonl, ".parquet": _from_parquet}

"""The dialogues of a bulk job: Parquet, JSON lines and CSV files, read in parts that fit into memory."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from yoyak.system.csv_files import read_csv
from yoyak.system.errors import YoyakError
from yoyak.system.parquet_files import read_parquet
from yoyak.system.text_files import read_jsonl

SUFFIXES = (".parquet", ".jsonl", ".csv", ".tsv")
REQUIRED = ("fname", "dialogue")


class Dialogue(NamedTuple):
    """A raw dialogue."""

    fname: str
    text: str
    topic: str


class Part(NamedTuple):
    """Consecutive dialogues of one file."""

    name: str  # of its output file, without suffix
    dialogues: list[Dialogue]


def input_files(source: Path) -> list[Path]:
    """The files with dialogues: `source` itself, or all below it with a suffix of SUFFIXES, in the order of their names.

    Raises:
        YoyakError: if there is none, or if two differ only in their suffix, because their outputs would have one name.
    """
    if source.is_file():
        files = [source]
    else:
        files = sorted(path for path in source.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if not files or files[0].suffix.lower() not in SUFFIXES:
        raise YoyakError(f"{source}: no dialogues here; give a file or a folder of files with {', '.join(SUFFIXES)}")
    names: dict[str, Path] = {}
    for file in files:
        if (other := names.setdefault(part_name(source, file, 0), file)) != file:
            raise YoyakError(f"{file}: {other.name} has the same name; rename one of them")
    return files


def part_name(source: Path, file: Path, number: int) -> str:
    """The name of a part's output file: that of its input file, with the folders between, and the number of the part."""
    relative = Path(file.name) if file == source else file.relative_to(source)
    return f"{'__'.join(relative.with_suffix('').parts)}-{number:06d}"


def read_parts(source: Path, file: Path, *, rows: int) -> Iterator[Part]:
    """The dialogues of one file, `rows` at a time.

    Args:
        source: what the user named: the file, or a folder above it.
        file: one of `input_files`.
        rows: dialogues in a part. The last one may have fewer.

    Raises:
        YoyakError: naming the file and perhaps the line, if it cannot be read or lacks a column of REQUIRED.
    """
    dialogues = _READERS[file.suffix.lower()](file)
    for number in range(10**6):
        if not (taken := list(islice(dialogues, rows))):
            return
        yield Part(part_name(source, file, number), taken)
    raise YoyakError(f"{file}: more than a million parts; take larger ones")


def _from_csv(path: Path) -> Iterator[Dialogue]:
    for _, cells in read_csv(path, required=REQUIRED):
        yield Dialogue(cells["fname"], cells["dialogue"], cells.get("topic", ""))


def _from_jsonl(path: Path) -> Iterator[Dialogue]:
    for line, row in enumerate(read_jsonl(path), 1):
        if missing := [name for name in REQUIRED if not isinstance(row.get(name), str)]:
            raise YoyakError(f"{path}:{line}: no text in {', '.join(missing)}; each line needs {' and '.join(REQUIRED)}")
        yield Dialogue(row["fname"], row["dialogue"], str(row.get("topic") or ""))


def _from_parquet(path: Path) -> Iterator[Dialogue]:
    for _, cells in read_parquet(path, required=REQUIRED, columns=(*REQUIRED, "topic")):
        yield Dialogue(cells["fname"], cells["dialogue"], cells.get("topic", ""))


_READERS = {".csv": _from_csv, ".tsv": _from_csv, ".jsonl": _from_jsonl, ".parquet": _from_parquet}

"""The dialogues of a bulk job: Parquet, JSON lines and CSV files, read in parts that fit into memory."""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from yoyak.system.csv_files import read_csv
from yoyak.system.errors import YoyakError
from yoyak.system.text_files import read_jsonl

SUFFIXES = (".parquet", ".jsonl", ".csv", ".tsv")
REQUIRED = ("fname", "dialogue")
_BATCH = 1024  # rows that are decoded from a Parquet file at once


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
    import pyarrow
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(path)
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise YoyakError(f"{path}: cannot be read as Parquet: {str(error).splitlines()[0]}") from None
    with file:
        names: Sequence[str] = file.schema_arrow.names
        if missing := [name for name in REQUIRED if name not in names]:
            raise YoyakError(
                f"{path}: no column {', '.join(missing)}; it has {', '.join(names)}. `yoyak import --columns` renames them"
            )
        columns = [*REQUIRED, *(["topic"] if "topic" in names else [])]
        read = 0
        try:
            for batch in file.iter_batches(_BATCH, columns=columns):
                rows: list[dict[str, Any]] = batch.to_pylist()
                read += len(rows)
                yield from (Dialogue(str(row["fname"]), row["dialogue"] or "", row.get("topic") or "") for row in rows)
        except (pyarrow.ArrowInvalid, OSError) as error:
            raise YoyakError(f"{path}: damaged after row {read}: {str(error).splitlines()[0]}") from None


_READERS = {".csv": _from_csv, ".tsv": _from_csv, ".jsonl": _from_jsonl, ".parquet": _from_parquet}

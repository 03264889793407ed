"""Dialogues without summaries, from files that the user names."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yoyak.system.csv_files import read_csv
from yoyak.system.errors import YoyakError
from yoyak.system.text_files import place, read_jsonl

PARAM = "augment.pseudo_label.dialogues"
SUFFIXES = (".csv", ".jsonl")


@dataclass(frozen=True)
class Unlabelled:
    """A dialogue as its file has it.

    Attributes:
        where: file, line and fname, for messages.
    """

    fname: str
    dialogue: str
    topic: str
    where: str


def read_unlabelled(path: Path, *, param: str = PARAM) -> list[Unlabelled]:
    """The dialogues of a CSV or JSON-lines file with fname, dialogue and perhaps topic, or of all such files of a folder.

    Args:
        path: the file or folder.
        param: the param that names it, for messages.

    Raises:
        YoyakError: if there is no such file, a row lacks fname or dialogue, or an fname occurs twice.
    """
    rows: list[Unlabelled] = []
    first: dict[str, str] = {}
    for file in _files(path, param):
        for row in _rows(file):
            if row.fname in first:
                raise YoyakError(f"{row.where}: this fname occurs in {first[row.fname]} too; each dialogue needs its own")
            first[row.fname] = row.where
            rows.append(row)
    return rows


def _files(path: Path, param: str) -> list[Path]:
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file() and file.suffix.lower() in SUFFIXES)
        if not files:
            raise YoyakError(
                f"{param}: {path}: the folder has no .csv or .jsonl file; `yoyak import` makes CSV files of other formats"
            )
        return files
    if not path.is_file():
        raise YoyakError(f"{param}: {path}: no such file or folder")
    if path.suffix.lower() not in SUFFIXES:
        raise YoyakError(f"{param}: {path}: not a .csv or .jsonl file; `yoyak import` makes CSV files of other formats")
    return [path]


def _rows(file: Path) -> Iterator[Unlabelled]:
    if file.suffix.lower() == ".csv":
        for line, cells in read_csv(file, required=["fname", "dialogue"]):
            yield _row(cells, file, line)
        return
    for line, values in enumerate(read_jsonl(file), 1):
        yield _row(values, file, line)


def _row(values: dict[str, Any], file: Path, line: int) -> Unlabelled:
    for key in ("fname", "dialogue"):
        if not isinstance(values.get(key), str) or not values[key].strip():
            raise YoyakError(f"{place(file, line)}: {key} is missing, empty or not a text")
    topic = values.get("topic")
    return Unlabelled(
        values["fname"],
        values["dialogue"],
        " ".join(topic.split()) if isinstance(topic, str) else "",
        place(file, line, values["fname"]),
    )

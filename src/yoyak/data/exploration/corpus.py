"""The files of a corpus that is explored: a folder with train.csv, dev.csv and test.csv, or one CSV file."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from yoyak.system.csv_files import CsvNotes, Row, read_csv
from yoyak.system.errors import YoyakError

SPLITS = ("train", "dev", "test")
REQUIRED = ("fname", "dialogue")
_SUMMARY = re.compile(r"summary_?\d*")


@dataclass(frozen=True)
class Corpus:
    """The CSV file of each split. A single file has one split, with the name of the file."""

    name: str
    files: dict[str, Path]

    def rows(self, split: str) -> Iterator[Row]:
        """The rows of one split, one after another.

        Raises:
            YoyakError: if the file cannot be read as a CSV with the columns of REQUIRED.
        """
        return read_csv(self.files[split], required=REQUIRED, notes=CsvNotes())

    def has_summaries(self, split: str) -> bool:
        """Whether the file has a column of summaries. Test rows may have none."""
        first = next(self.rows(split))
        return any(_SUMMARY.fullmatch(name) and (split != "test" or cell.strip()) for name, cell in first.cells.items())


def find_corpora(paths: Sequence[Path], splits: Sequence[str] = ()) -> list[Corpus]:
    """The corpora at several paths (`find_corpus`), with a name for each: the last part of its path, if that is different."""
    corpora = [find_corpus(path, splits) for path in paths]
    if len({corpus.name for corpus in corpora}) == len(corpora):
        return corpora
    return [replace(corpus, name=str(path)) for corpus, path in zip(corpora, paths, strict=True)]


def find_corpus(path: Path, splits: Sequence[str] = ()) -> Corpus:
    """The corpus at `path`.

    Args:
        path: a folder with some of train.csv, dev.csv and test.csv, or a CSV file.
        splits: only these splits of a folder; empty for all that are there.

    Raises:
        YoyakError: if there is nothing to read.
    """
    if path.is_file():
        return Corpus(path.name, {path.stem: path})
    if not path.is_dir():
        raise YoyakError(
            f"{path}: no such file or folder; give a folder with train.csv, or a CSV file with {', '.join(REQUIRED)}"
        )
    files = {split: path / f"{split}.csv" for split in SPLITS if (path / f"{split}.csv").is_file()}
    if missing := [split for split in splits if split not in files]:
        raise YoyakError(
            f"{path}: no {missing[0]}.csv; the folder has {', '.join(path.name for path in files.values()) or 'no split'}"
        )
    if not files:
        raise YoyakError(f"{path}: no train.csv, dev.csv or test.csv; `yoyak import` makes them from other formats")
    return Corpus(path.resolve().name, {split: file for split, file in files.items() if not splits or split in splits})

"""Cleaning of train, dev and test together: streamed, counted, guarded against leaks, and checked at the end."""

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from itertools import islice
from pathlib import Path
from typing import IO, Any

from yoyak.config.sections import Preprocess
from yoyak.data.cleaning import REASONS, clean_row
from yoyak.data.dialogue import BadDialogueError
from yoyak.data.leak_guard import FirstValues, LeakGuard
from yoyak.data.split_report import SplitReport, list_rows
from yoyak.system.cores import usable_cores
from yoyak.system.errors import YoyakError
from yoyak.system.text_files import Row, printable, read_csv

REQUIRED_COLUMNS = {
    "train": ("fname", "dialogue", "summary"),
    "dev": ("fname", "dialogue", "summary"),
    "test": ("fname", "dialogue"),
}  # of the CSV file of each split
PARALLEL_BYTES = 8 * 2**20  # from this file size on, several processes are faster than one
CHUNK_ROWS = 200  # rows that a process cleans at a time

CleanedRow = tuple[dict[str, Any], Counter[str]] | str  # what `clean_row` returns, or the reason of the rejection


class SplitCleaner:
    """Cleans the three splits of a folder. The stage preprocess, `yoyak doctor` and `yoyak screen` all use it.

        cleaner = SplitCleaner(Path("data/sample"), params.preprocess)
        for split in cleaner.paths:
            for row in cleaner.clean(split):
                ...
        cleaner.check()

    Attributes:
        paths: the CSV file of each split, in the order in which the splits are cleaned.
        reports: counts and rejected rows of each split.
        guard: what it found in two splits.
    """

    def __init__(self, folder: Path, settings: Preprocess, *, rejects_file: IO[str] | None = None) -> None:
        """Prepare the cleaning; no file is read yet.

        Args:
            folder: where train.csv, dev.csv and test.csv are.
            settings: section preprocess.
            rejects_file: where all rejected rows are written as JSON lines, if anywhere.
        """
        self.settings = settings
        self.paths = {split: folder / f"{split}.csv" for split in REQUIRED_COLUMNS}
        self.reports = {split: SplitReport(rejects_file=rejects_file) for split in self.paths}
        self.guard = LeakGuard()

    def clean(self, split: str) -> Iterator[dict[str, Any]]:
        """The usable rows of one split (see `clean_row`), one after another: memory does not grow with the file.

        Raises:
            YoyakError: if the file cannot be read as a CSV with the required columns, or an fname occurs twice.
        """
        path = self.paths[split]
        rows = read_csv(path, required=REQUIRED_COLUMNS[split])
        is_large = path.is_file() and path.stat().st_size >= PARALLEL_BYTES
        return self.clean_rows(split, rows, processes=usable_cores() if is_large else 1)

    def clean_rows(self, split: str, rows: Iterable[Row], *, processes: int = 1) -> Iterator[dict[str, Any]]:
        """As `clean`, of rows that are already read. The result does not depend on the number of processes."""
        report, first_lines = self.reports[split], FirstValues()
        options = {
            "noise": self.settings.noise,
            "person_tags": self.settings.person_tags,
            "with_summary": "summary" in REQUIRED_COLUMNS[split],
        }
        for (line, cells), cleaned in _clean_in_order(rows, processes=processes, **options):
            report.rows_in += 1
            fname = cells["fname"]
            if (first := first_lines.setdefault(fname.encode(), str(line))) != str(line):
                raise YoyakError(
                    f"{self.paths[split]}: line {line}: {printable(fname)}: this fname occurs in line {first} too; "
                    "each row needs its own"
                )
            if isinstance(cleaned, str):
                report.reject(split=split, line=line, reason=cleaned, cells=cells)
                continue
            row, changed = cleaned
            self.guard.add(split=split, row=f"{self.paths[split]}: line {line}: {printable(fname)}", dialogue=row["dialogue"])
            report.changed.update(changed.keys())
            report.rows_out += 1
            yield row

    def check(self) -> None:
        """Check the splits after all of them are cleaned.

        Raises:
            YoyakError: if splits share dialogues, if a row of test is rejected, if more rows of train and dev are rejected
                than preprocess.max_rejected allows, or if a split has no usable row.
        """
        self.guard.check()
        if self.reports["test"].rejected:
            self._refuse_rejected(("test",), "a submission needs every row of test, so correct the file")
        if self._rejected(("train", "dev")) > self.settings.max_rejected:
            self._refuse_rejected(("train", "dev"), f"preprocess.max_rejected allows {self.settings.max_rejected}")
        for split, report in self.reports.items():
            if not report.rows_out:
                raise YoyakError(f"{self.paths[split]}: no row is left after cleaning")

    def _rejected(self, splits: Sequence[str]) -> int:
        return sum(self.reports[split].rejected.total() for split in splits)

    def _refuse_rejected(self, splits: Sequence[str], rule: str) -> None:
        """Raise an error that names the rejected rows of some splits and says what their reasons mean."""
        reports, rejected = [self.reports[split] for split in splits], self._rejected(splits)
        rejects = [reject for report in reports for reject in report.rejects]
        lines = [
            f"{self.paths[row['split']]}: line {row['line']}: {printable(row['cells']['fname'])}: {row['reason']}"
            for row in rejects
        ]
        reasons = sorted({reason for report in reports for reason in report.rejected})
        rows = "1 row" if rejected == 1 else f"{rejected} rows"
        meanings = "".join(f"\n{reason}: {REASONS[reason]}" for reason in reasons)
        raise YoyakError(f"{rows} cannot be used; {rule}:{list_rows(lines, count=rejected)}{meanings}")


def _clean_chunk(rows: list[Row], **options: Any) -> list[CleanedRow]:
    cleaned: list[CleanedRow] = []
    for _, cells in rows:
        try:
            cleaned.append(clean_row(cells, **options))
        except BadDialogueError as error:
            cleaned.append(str(error))
    return cleaned


def _clean_in_order(rows: Iterable[Row], *, processes: int, **options: Any) -> Iterator[tuple[Row, CleanedRow]]:
    """Each row with its cleaned row, in order. With several processes, a few chunks are cleaned ahead."""
    if processes == 1:
        for row in rows:
            yield row, _clean_chunk([row], **options)[0]
        return
    rows = iter(rows)
    chunks = iter(lambda: list(islice(rows, CHUNK_ROWS)), [])
    pending: deque[tuple[list[Row], Future[list[CleanedRow]]]] = deque()
    with ProcessPoolExecutor(processes) as pool:
        for chunk in chunks:
            pending.append((chunk, pool.submit(_clean_chunk, chunk, **options)))
            if len(pending) > 2 * processes:
                first, future = pending.popleft()
                yield from zip(first, future.result(), strict=True)
        for first, future in pending:
            yield from zip(first, future.result(), strict=True)

"""Cleaning of train, dev and test together: streamed, counted, guarded against leaks, and checked at the end."""

import unicodedata
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import IO, Any

from yoyak.config.data_section import Data
from yoyak.config.sections import Preprocess
from yoyak.data.cleaning import REASONS, clean_row
from yoyak.data.dialogue import BadDialogueError
from yoyak.data.folds import fold_of_rows
from yoyak.data.leak_guard import FirstValues, LeakGuard
from yoyak.data.near_guard import NearDuplicateGuard, count_by_split
from yoyak.data.split_files import FileRow, find_split
from yoyak.data.split_report import Rejection, SplitReport
from yoyak.system.cores import usable_cores
from yoyak.system.errors import YoyakError
from yoyak.system.invisible import is_blank
from yoyak.system.process_pools import process_pool
from yoyak.system.text_files import counted, list_rows, place

REQUIRED_COLUMNS = {
    "train": ("fname", "dialogue", "summary"),
    "dev": ("fname", "dialogue", "summary"),
    "test": ("fname", "dialogue"),
}  # of the files of each split
PARALLEL_BYTES = 8 * 2**20  # from this file size on, several processes are faster than one
CHUNK_ROWS = 200  # rows that a process cleans at a time

CleanedRow = tuple[dict[str, Any], Counter[str]] | Rejection  # what `clean_row` returns, or why the row is rejected


class SplitCleaner:
    """Cleans the three splits of a folder. The stage preprocess, `yoyak doctor` and `yoyak screen` all use it.

        cleaner = SplitCleaner(params.data, params.preprocess)
        for split in cleaner.paths:
            for row in cleaner.clean(split):
                ...
        cleaner.check()

    Attributes:
        files: of each split, in the order in which the splits are cleaned.
        paths: how messages name them: the file, or a pattern for several.
        reports: counts and rejected rows of each split.
        guard: what it found in two splits.
        unreadable: messages about files that could not be read to their end.
    """

    def __init__(self, data: Data, settings: Preprocess, *, rejects_file: IO[str] | None = None, near: bool = False) -> None:
        """Prepare the cleaning; no file is read yet.

        Args:
            data: section data: where the files are (`split_files.find_split`), and which fold of train is dev.
            settings: section preprocess.
            rejects_file: where all rejected rows are written as JSON lines, if anywhere.
            near: also look for dialogues that are almost the same in two splits (`near_duplicates`).
        """
        self.data, self.settings = data, settings
        names = {"train": "train", "dev": "train" if data.folds else "dev", "test": "test"}
        self.files = {split: find_split(Path(data.dir), name) for split, name in names.items()}
        self.paths = {split: files.path for split, files in self.files.items()}
        self.reports = {split: SplitReport(rejects_file=rejects_file) for split in self.paths}
        self.guard = LeakGuard()
        self.unreadable: dict[str, str] = {}
        self._near = NearDuplicateGuard() if near else None

    def clean(self, split: str) -> Iterator[dict[str, Any]]:
        """The usable rows of one split (see `clean_row`), one after another: memory does not grow with the file.

        A file that cannot be read, or lacks a required column, ends the split early. `check` tells it, so that the faults of
        all files are told in one step.
        """
        is_large = self.files[split].bytes() >= PARALLEL_BYTES
        return self.clean_rows(split, self._readable_rows(split), processes=usable_cores() if is_large else 1)

    def _readable_rows(self, split: str) -> Iterator[FileRow]:
        try:
            rows = self.files[split].rows(REQUIRED_COLUMNS[split])
            if not self.data.folds or split == "test":
                yield from rows
                return
            for row, fold in zip(rows, self._folds, strict=True):
                if (fold == self.data.fold) == (split == "dev"):
                    yield row
        except YoyakError as error:
            self.unreadable[split] = str(error)

    @cached_property
    def _folds(self) -> list[int]:
        return fold_of_rows(self.files["train"], self.data.folds)

    def clean_rows(self, split: str, rows: Iterable[FileRow], *, processes: int = 1) -> Iterator[dict[str, Any]]:
        """As `clean`, of rows that are already read. The result does not depend on the number of processes."""
        report, first_lines = self.reports[split], FirstValues()
        options = {
            "noise": self.settings.noise,
            "person_tags": self.settings.person_tags,
            "with_summary": "summary" in REQUIRED_COLUMNS[split],
        }
        for (line, cells, path), cleaned in _clean_in_order(rows, processes=processes, **options):
            report.rows_in += 1
            fname = cells["fname"]
            where = place(path, line, fname)
            own = f"{line} {path.name}/{fname}"
            first = own if is_blank(fname) else first_lines.setdefault(unicodedata.normalize("NFC", fname).encode(), own)
            if first != own:
                report.double(f"{where}: this fname occurs in {_other_place(first, path, fname)}; each row needs its own")
                continue
            if isinstance(cleaned, Rejection):
                file = path.name if len(self.files[split].files) > 1 else ""
                report.reject(cleaned, split=split, where=where, line=line, cells=cells, file=file)
                continue
            row, changed = cleaned
            if repeat := self.guard.add(split=split, row=where, dialogue=row["dialogue"]):
                report.repeated += 1
                report.first_repeat = report.first_repeat or repeat
            if self._near:
                self._near.add(split=split, row=where, dialogue=row["dialogue"])
            report.unmarked.add(where=where, raw=cells["dialogue"], cleaned=row["dialogue"], changed=changed)
            report.changed.update(changed.keys())
            report.rows_out += 1
            yield row

    def check(self) -> None:
        """Check the splits after all of them are cleaned.

        Raises:
            YoyakError: if a file could not be read, an fname occurs twice in its file, splits share dialogues, a row of test is
                rejected, more rows of train and dev are rejected than preprocess.max_rejected allows, or a split has no usable
                row. One message names all of these.
        """
        checks: list[Callable[[], None]] = [self._check_files, self._check_fnames, self.guard.check, self._check_rejected]
        problems = []
        for check in checks:
            try:
                check()
            except YoyakError as error:
                problems.append(str(error))
        for split, report in self.reports.items():
            if not report.rows_out and not problems:
                raise YoyakError(f"{self.paths[split]}: no row is left after cleaning")
        if problems:
            raise YoyakError("\n".join(problems))

    def near_duplicates(self) -> list[str]:
        """Warnings about dialogues that are almost the same in two splits, after `check`. The reports count these rows."""
        if self._near is None:
            return []
        pairs = self._near.pairs()
        counts = count_by_split(pairs)
        for split, report in self.reports.items():
            report.near_duplicates = counts[split] if self._near.is_available else None
        return self._near.messages(pairs)

    def _check_files(self) -> None:
        if self.unreadable:
            raise YoyakError("\n".join(dict.fromkeys(self.unreadable.values())))

    def _check_fnames(self) -> None:
        doubled = [message for report in self.reports.values() for message in report.doubled]
        if count := sum(report.doubled_count for report in self.reports.values()):
            rows = counted(count, "row has an fname that occurs", "rows have an fname that occurs")
            raise YoyakError(f"{rows} before:{list_rows(doubled, count=count)}")

    def _check_rejected(self) -> None:
        groups: list[tuple[tuple[str, ...], str]] = []
        if self._rejected(("test",)):
            groups.append((("test",), "a submission needs every row of test, so correct the file"))
        if self._rejected(("train", "dev")) > self.settings.max_rejected:
            groups.append((("train", "dev"), f"preprocess.max_rejected allows {self.settings.max_rejected}"))
        if not groups:
            return
        parts = [self._describe_rejected(splits, rule) for splits, rule in groups]
        reasons = sorted({reason for splits, _ in groups for split in splits for reason in self.reports[split].rejected})
        raise YoyakError("\n".join([*parts, *(f"{reason}: {REASONS[reason]}" for reason in reasons)]))

    def _rejected(self, splits: Sequence[str]) -> int:
        return sum(self.reports[split].rejected.total() for split in splits)

    def _describe_rejected(self, splits: Sequence[str], rule: str) -> str:
        """The message that names the rejected rows of some splits."""
        count = self._rejected(splits)
        lines = [f"{where}: {rejection}" for split in splits for where, rejection in self.reports[split].rejects]
        return f"{counted(count, 'row')} cannot be used; {rule}:{list_rows(lines, count=count)}"


def _other_place(first: str, path: Path, fname: str) -> str:
    """Where an fname occurs for the first time, as `clean_rows` keeps it, for the message about a row of `path`."""
    line, _, rest = first.partition(" ")
    name, _, first_fname = rest.partition("/")
    form = "" if first_fname == fname else " in another Unicode form"
    return f"line {line} too{form}" if name == path.name else f"{name}:{line} too{form}"


def _clean_chunk(rows: list[FileRow], **options: Any) -> list[CleanedRow]:
    cleaned: list[CleanedRow] = []
    for row in rows:
        try:
            cleaned.append(clean_row(row.cells, **options))
        except BadDialogueError as error:
            cleaned.append(Rejection(str(error), error.found))
    return cleaned


def _clean_in_order(rows: Iterable[FileRow], *, processes: int, **options: Any) -> Iterator[tuple[FileRow, CleanedRow]]:
    """Each row with its cleaned row, in order. With several processes, a few chunks are cleaned ahead."""
    if processes == 1:
        for row in rows:
            yield row, _clean_chunk([row], **options)[0]
        return
    rows = iter(rows)
    chunks = iter(lambda: list(islice(rows, CHUNK_ROWS)), [])
    pending: deque[tuple[list[FileRow], Future[list[CleanedRow]]]] = deque()
    with process_pool(processes) as pool:
        for chunk in chunks:
            pending.append((chunk, pool.submit(_clean_chunk, chunk, **options)))
            if len(pending) > 2 * processes:
                first, future = pending.popleft()
                yield from zip(first, future.result(), strict=True)
        for first, future in pending:
            yield from zip(first, future.result(), strict=True)

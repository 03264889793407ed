"""What cleaning did to the rows of one split: counts for metrics/preprocess.json, rejected rows for data/rejects."""

from collections import Counter
from dataclasses import dataclass, field
from typing import IO, Any

from yoyak.data.unmarked_lines import UnmarkedLines
from yoyak.system.text_files import MAX_LISTED_ROWS, counted, printable, to_json


@dataclass(frozen=True)
class Rejection:
    """Why a row cannot be used: the reason in snake_case (`cleaning.REASONS`), and the part of its text that shows it."""

    reason: str
    found: str = ""

    def __str__(self) -> str:
        return f'{self.reason} (found "{printable(self.found)}")' if self.found else self.reason


@dataclass
class SplitReport:
    """Counts of one split, filled while its rows are cleaned.

    Attributes:
        rows_in: rows of the file.
        rows_out: rows that can be used.
        changed: for each kind of change, the number of rows that have it.
        rejected: for each reason, the number of rows that cannot be used.
        rejects: the first MAX_LISTED_ROWS rejected rows: place and Rejection.
        doubled: messages about the first MAX_LISTED_ROWS rows whose fname occurs before.
        doubled_count: the number of these rows.
        repeated: rows whose dialogue occurs before in the same file.
        first_repeat: the message about the first of them.
        near_duplicates: rows that are almost the same as a row of another split; None if nobody looked.
        unmarked: lines without a speaker tag.
        rejects_file: where all rejected rows are written as JSON lines, if anywhere.
    """

    rows_in: int = 0
    rows_out: int = 0
    changed: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    rejects: list[tuple[str, Rejection]] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    doubled_count: int = 0
    repeated: int = 0
    first_repeat: str = ""
    near_duplicates: int | None = None
    unmarked: UnmarkedLines = field(default_factory=UnmarkedLines)
    rejects_file: IO[str] | None = None

    def reject(self, rejection: Rejection, *, split: str, where: str, line: int, cells: dict[str, str], file: str = "") -> None:
        """Count a row that cannot be used, and write it to `rejects_file`, with the name of its file if there are several."""
        self.rejected[rejection.reason] += 1
        if self.rejects_file:
            row = (
                {"split": split}
                | ({"file": file} if file else {})
                | {"line": line, "reason": rejection.reason, "found": rejection.found, "cells": cells}
            )
            self.rejects_file.write(to_json(row) + "\n")
        if len(self.rejects) < MAX_LISTED_ROWS:
            self.rejects.append((where, rejection))

    def double(self, message: str) -> None:
        """Count a row whose fname occurs before."""
        self.doubled_count += 1
        if len(self.doubled) < MAX_LISTED_ROWS:
            self.doubled.append(message)

    def messages(self, name: str) -> list[str]:
        """What a user should know about the rows of the file `name` that are kept."""
        repeats = []
        if self.repeated:
            dialogues = counted(self.repeated, "dialogue repeats", "dialogues repeat")
            repeats = [f"{name}: {dialogues} an earlier one, such as {self.first_repeat}"]
        return repeats + self.unmarked.messages(name)

    def counts(self) -> dict[str, Any]:
        """The content of metrics/preprocess.json for this split."""
        return {
            "rows_in": self.rows_in,
            "rows_out": self.rows_out,
            "changed": dict(sorted(self.changed.items())),
            "rejected": dict(sorted(self.rejected.items())),
            "repeated_dialogues": self.repeated,
            "near_duplicates": self.near_duplicates,
            "lines": self.unmarked.lines,
            "lines_without_speaker": self.unmarked.unmarked_lines,
            "lines_with_another_name": self.unmarked.named_lines,
        }

"""What cleaning did to the rows of one split: counts for metrics/preprocess.json, rejected rows for data/rejects."""

from collections import Counter
from dataclasses import dataclass, field
from typing import IO, Any

from yoyak.system.text_files import to_json

MAX_LISTED_ROWS = 20  # rows that a message names


@dataclass
class SplitReport:
    """Counts of one split, filled while its rows are cleaned.

    Attributes:
        rows_in: rows of the file.
        rows_out: rows that can be used.
        changed: for each kind of change, the number of rows that have it.
        rejected: for each reason, the number of rows that cannot be used.
        rejects: the first MAX_LISTED_ROWS rejected rows: split, line, reason and cells.
        rejects_file: where all rejected rows are written as JSON lines, if anywhere.
    """

    rows_in: int = 0
    rows_out: int = 0
    changed: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    rejects: list[dict[str, Any]] = field(default_factory=list)
    rejects_file: IO[str] | None = None

    def reject(self, *, split: str, line: int, reason: str, cells: dict[str, str]) -> None:
        """Count a row that cannot be used, and write it to `rejects_file`."""
        row = {"split": split, "line": line, "reason": reason, "cells": cells}
        self.rejected[reason] += 1
        if self.rejects_file:
            self.rejects_file.write(to_json(row) + "\n")
        if len(self.rejects) < MAX_LISTED_ROWS:
            self.rejects.append(row)

    def counts(self) -> dict[str, Any]:
        """The content of metrics/preprocess.json for this split."""
        return {
            "rows_in": self.rows_in,
            "rows_out": self.rows_out,
            "changed": dict(sorted(self.changed.items())),
            "rejected": dict(sorted(self.rejected.items())),
        }


def list_rows(lines: list[str], *, count: int) -> str:
    """The part of a message that names rows: the first MAX_LISTED_ROWS `lines`, and how many of `count` rows follow."""
    more = [f"and {count - MAX_LISTED_ROWS} more"] if count > MAX_LISTED_ROWS else []
    return "".join(f"\n  {line}" for line in lines[:MAX_LISTED_ROWS] + more)

"""The rows that a page can show: each once, with texts cut for display."""

from collections.abc import Iterable
from typing import Any, Protocol

from yoyak.reports.page.markup import visible

SHOWN_CHARACTERS = 4000  # of a text; the longest real dialogue has 2,275


class ShownRow(Protocol):
    """What a row needs so that a page can show it."""

    @property
    def place(self) -> str: ...
    @property
    def fname(self) -> str: ...
    @property
    def topic(self) -> str: ...
    @property
    def dialogue(self) -> str: ...
    @property
    def summary(self) -> str: ...
    @property
    def note(self) -> str: ...


class RowPool:
    """All rows of a page. Several bars can refer to one row, each with its own note."""

    def __init__(self) -> None:
        self.rows: list[dict[str, str]] = []
        self._numbers: dict[tuple[str, ...], int] = {}

    def refer(self, rows: Iterable[ShownRow]) -> list[list[Any]]:
        """References to rows for a chart: the number of the row in the pool, and its note."""
        return [[self._number(row), row.note] for row in rows]

    def _number(self, row: ShownRow) -> int:
        cells = (row.place, row.fname, row.topic, row.dialogue, row.summary)
        if cells not in self._numbers:
            self._numbers[cells] = len(self.rows)
            names = ("place", "fname", "topic", "dialogue", "summary")
            self.rows.append({name: _shown(cell) for name, cell in zip(names, cells, strict=True)})
        return self._numbers[cells]


def _shown(text: str) -> str:
    text = visible(text)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}… (+{len(text) - SHOWN_CHARACTERS:,})"

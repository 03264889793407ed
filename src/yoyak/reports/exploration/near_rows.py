"""Rows of a sample that are almost the same as an earlier one."""

from collections.abc import Sequence
from dataclasses import replace

from yoyak.data.exploration.tally import Record
from yoyak.data.import_splits import DuplicateFinder
from yoyak.data.near_duplicates import spoken_letters


def near_rows(records: Sequence[Record]) -> list[Record]:
    """The records that are near-duplicates of an earlier one, but not equal; the nearest first. A note names the other."""
    letters = [spoken_letters(record.dialogue) for record in records]
    finder = DuplicateFinder(lambda row: letters[row], [record.split for record in records])
    found = []
    for row, record in enumerate(records):
        others = [pair for pair in finder.add(row, letters[row]) if pair[1] < 1]
        if others:
            other, similarity = max(others, key=lambda pair: pair[1])
            found.append((similarity, replace(record, note=f"≈ {records[other].place} ({similarity:.0%})")))
    return [record for _, record in sorted(found, key=lambda pair: -pair[0])]

"""Raw rows to clean ones, with every change counted and every rejected row kept with its reason."""

import hashlib
import os
import re
import sqlite3
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import IO, Any

from yoyak.config.sections import Preprocess
from yoyak.data import dialogue
from yoyak.data.dialogue import MAX_CHARACTERS, BadDialogueError, Noise, PersonTags
from yoyak.system.errors import YoyakError
from yoyak.system.text_files import FORMULA_STARTS, Row, printable, read_csv, to_json

MOST_SHOWN = 20  # rows named in a message
MANY_BYTES = 8 * 2**20  # a file from which several processes pay
CHUNK_ROWS = 200
COLUMNS = {
    "train": ("fname", "dialogue", "summary"),
    "dev": ("fname", "dialogue", "summary"),
    "test": ("fname", "dialogue"),
}  # that a split's CSV must have
REFERENCE_COLUMN = re.compile(r"summary_?\d*")


@dataclass
class Report:
    """What happened to the rows of one split."""

    rows_in: int = 0
    rows_out: int = 0
    changed: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    rejects: list[dict[str, Any]] = field(default_factory=list)  # the first MOST_SHOWN
    file: IO[str] | None = None  # where all of them go, as JSON lines

    def reject(self, *, split: str, line: int, reason: str, cells: dict[str, str]) -> None:
        """Count a row that cannot be used, and write it to `file`."""
        row = {"split": split, "line": line, "reason": reason, "cells": cells}
        self.rejected[reason] += 1
        if self.file:
            self.file.write(to_json(row) + "\n")
        if len(self.rejects) < MOST_SHOWN:
            self.rejects.append(row)

    def counts(self) -> dict[str, Any]:
        return {
            "rows_in": self.rows_in,
            "rows_out": self.rows_out,
            "changed": dict(sorted(self.changed.items())),
            "rejected": dict(sorted(self.rejected.items())),
        }


class FirstSeen:
    """`setdefault` of a dict of texts, in memory that does not grow: SQLite puts them into a temporary file by itself."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("")  # the first insert opens one transaction, never committed: gone with this object
        self._database.execute("pragma journal_mode = off")
        self._database.execute("pragma cache_size = -4000")  # KiB
        self._database.execute("create table seen (key blob primary key, value text) without rowid")

    def setdefault(self, key: bytes, value: str) -> str:
        """What came with the same key first; `value` if nothing did.

        Raises:
            YoyakError: if there is no room for temporary files.
        """
        short = hashlib.blake2b(key, digest_size=16).digest()
        try:
            if self._database.execute("insert or ignore into seen values (?, ?)", (short, value)).rowcount:
                return value
            first: str = self._database.execute("select value from seen where key = ?", (short,)).fetchone()[0]
        except sqlite3.OperationalError as error:
            raise YoyakError(
                f"no temporary file for what was seen ({error}); set SQLITE_TMPDIR to a folder with room"
            ) from None
        return first


@dataclass
class Guard:
    """Remembers the dialogues of each split by their bare text, to find what evaluation shares with training."""

    seen: FirstSeen = field(default_factory=FirstSeen)
    leaks: list[str] = field(default_factory=list)  # the first MOST_SHOWN
    leaked: int = 0

    def add(self, split: str, fname: str, text: str) -> None:
        said = re.sub(r"(?m)^[^:\n]*: ", "", text)  # without the speakers: swapped ones make no other dialogue
        bare = ("".join(re.findall(r"\w+", said)) or said).encode()
        other_split, _, other = self.seen.setdefault(bare, f"{split} {fname}").partition(" ")
        if other_split != split:
            self.leaked += 1
            if len(self.leaks) < MOST_SHOWN:
                self.leaks.append(f"{split} {printable(fname)} is the dialogue of {other_split} {printable(other)}")


def references_of(cells: dict[str, str]) -> list[str]:
    """Every summary column of a row (summary, summary2, summary_3 …) that is not blank, as it stands in the file."""
    return [cell for name, cell in cells.items() if REFERENCE_COLUMN.fullmatch(name) and cell.strip()]


def clean_dialogue(text: str, noise: Noise) -> tuple[str, Counter[str]]:
    """A raw dialogue repaired and cleaned, one line a turn, and what was changed. BadDialogueError if it is none."""
    repaired, changed = dialogue.repair(text)
    turns, seen = dialogue.parse(repaired)
    said = [dialogue.Turn(turn.speaker, dialogue.clean(turn.utterance, noise)) for turn in turns]
    cleaned = dialogue.to_text(said)
    changed += seen + Counter(noise=int(said != turns))
    if noise == "aggressive" and said != turns:  # an emoji may have stood within a tag, or between it and its colon
        cleaned, more = clean_dialogue(cleaned, noise)
        changed += more
    return cleaned, +changed


def clean_summary(text: str, noise: Noise) -> tuple[str, Counter[str]]:
    """A raw summary repaired and cleaned, on one line, and what was changed. BadDialogueError if nothing is left of it."""
    repaired, changed = dialogue.repair(text)
    if not repaired:  # it had nothing but invisible characters
        raise BadDialogueError("empty_summary")
    line = " ".join(repaired.split())
    cleaned = dialogue.clean(line, noise)
    changed += Counter(newline=int("\n" in repaired), noise=int(cleaned != line))
    if noise == "aggressive" and cleaned != line:  # as above
        cleaned, more = clean_summary(cleaned, noise)
        changed += more
    return cleaned, +changed


def clean_row(
    cells: dict[str, str], *, noise: Noise, person_tags: PersonTags, with_summary: bool
) -> tuple[dict[str, Any], Counter[str]]:
    """One row as the later stages read it, and what was changed in it.

    Returns fname, dialogue (one line a turn), topic, and with a summary: `summary` (cleaned, what a model learns) and
    `references` (every summary column as it stands in the file, what a prediction is scored against).

    Raises:
        BadDialogueError: with the reason, if the row cannot be used.
    """
    if not cells["fname"].strip():
        raise BadDialogueError("no_fname")
    if cells["fname"].startswith(FORMULA_STARTS):  # a spreadsheet would run it, and a submission must hold it as it is
        raise BadDialogueError("formula_in_fname")
    if max(len(cell) for cell in cells.values()) > MAX_CHARACTERS:
        raise BadDialogueError("too_long")
    text, changed = clean_dialogue(cells["dialogue"], noise)
    row: dict[str, Any] = {"fname": cells["fname"], "dialogue": text}
    if with_summary:
        references = references_of(cells)
        if not references or not cells.get("summary", references[0]).strip():
            raise BadDialogueError("empty_summary")
        row["summary"], fixed = clean_summary(cells.get("summary", references[0]), noise)
        changed += Counter({f"summary_{kind}": count for kind, count in fixed.items()})
        row["references"] = references
    for key in ("dialogue", "summary"):
        if key in row:
            if dialogue.holds_replaced_tag(row[key], person_tags):
                raise BadDialogueError(f"{person_tags}_could_not_be_undone")
            row[key] = dialogue.replace_person_tags(row[key], person_tags)
    row["topic"] = " ".join(cells.get("topic", "").split())
    return row, +changed


Cleaned = tuple[dict[str, Any], Counter[str]] | str  # or the reason why the row cannot be used


def _clean_many(rows: list[Row], **how: Any) -> list[Cleaned]:
    cleaned: list[Cleaned] = []
    for _, cells in rows:
        try:
            cleaned.append(clean_row(cells, **how))
        except BadDialogueError as error:
            cleaned.append(str(error))
    return cleaned


def _cleaned(rows: Iterable[Row], *, processes: int, **how: Any) -> Iterator[tuple[Row, Cleaned]]:
    """Each row with what `clean_row` made of it, in order; some chunks ahead in other processes, if there are to be any."""
    if processes == 1:
        for row in rows:
            yield row, _clean_many([row], **how)[0]
        return
    rows = iter(rows)
    chunks = iter(lambda: list(islice(rows, CHUNK_ROWS)), [])
    ahead: deque[tuple[list[Row], Future[list[Cleaned]]]] = deque()
    with ProcessPoolExecutor(processes) as pool:
        for chunk in chunks:
            ahead.append((chunk, pool.submit(_clean_many, chunk, **how)))
            if len(ahead) > 2 * processes:
                first, done = ahead.popleft()
                yield from zip(first, done.result(), strict=True)
        for first, done in ahead:
            yield from zip(first, done.result(), strict=True)


def clean_rows(
    rows: Iterable[Row],
    *,
    path: Path,
    split: str,
    noise: Noise,
    person_tags: PersonTags,
    guard: Guard,
    report: Report,
    processes: int = 1,
) -> Iterator[dict[str, Any]]:
    """The usable rows of one split, one after another; `guard` and `report` are filled on the way.

    The rows are the same whatever the number of processes.

    Raises:
        YoyakError: for an fname that occurs twice.
    """
    first_line = FirstSeen()
    how = {"noise": noise, "person_tags": person_tags, "with_summary": split != "test"}
    for (line, cells), cleaned in _cleaned(rows, processes=processes, **how):
        report.rows_in += 1
        fname = cells["fname"]
        if (first := first_line.setdefault(fname.encode(), str(line))) != str(line):
            raise YoyakError(f"{path}: line {line}: {printable(fname)}: this fname is already that of line {first}")
        if isinstance(cleaned, str):
            report.reject(split=split, line=line, reason=cleaned, cells=cells)
            continue
        row, changed = cleaned
        guard.add(split, fname, row["dialogue"])
        report.changed.update(changed.keys())
        report.rows_out += 1
        yield row


def clean_file(path: Path, *, split: str, settings: Preprocess, guard: Guard, report: Report) -> Iterator[dict[str, Any]]:
    """`clean_rows` of a CSV, which needs a summary but for test."""
    return clean_rows(
        read_csv(path, required=COLUMNS[split]),
        path=path,
        split=split,
        noise=settings.noise,
        person_tags=settings.person_tags,
        guard=guard,
        report=report,
        processes=len(os.sched_getaffinity(0)) if path.is_file() and path.stat().st_size >= MANY_BYTES else 1,
    )


def check(reports: dict[str, Report], *, guard: Guard, paths: dict[str, Path], max_rejected: int) -> None:
    """Stop if splits share dialogues, or if more rows were rejected than allowed (a row of test never may be)."""
    if guard.leaked:
        listed = _listed(guard.leaks, guard.leaked)
        raise YoyakError(f"{guard.leaked} dialogues stand in two splits; take them out of one:{listed}")
    rejected = sum(report.rejected.total() for report in reports.values())
    if rejected > max_rejected or ("test" in reports and reports["test"].rejected):
        rejects = [reject for report in reports.values() for reject in report.rejects]
        lines = [f"{paths[r['split']]}: line {r['line']}: {printable(r['cells']['fname'])}: {r['reason']}" for r in rejects]
        rule = (
            "a row of test may not be missing from a submission"
            if rejected <= max_rejected
            else f"preprocess.max_rejected allows {max_rejected}"
        )
        raise YoyakError(f"{rejected} rows cannot be used; {rule}:{_listed(lines, rejected)}")
    for split, report in reports.items():
        if not report.rows_out:
            raise YoyakError(f"{paths[split]}: no row is left")


def _listed(lines: list[str], count: int) -> str:
    """The first lines of a message about `count` rows."""
    more = [f"and {count - MOST_SHOWN} more"] if count > MOST_SHOWN else []
    return "".join(f"\n  {line}" for line in lines[:MOST_SHOWN] + more)

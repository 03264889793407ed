"""Raw rows to clean ones, with every change counted and every rejected row kept with its reason."""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from yoyak import dialogue
from yoyak.dialogue import BadDialogueError, Noise, PersonTags
from yoyak.errors import YoyakError
from yoyak.files import Row, read_csv
from yoyak.params import Preprocess

MAX_CHARACTERS = 50_000  # of a cell; the longest real dialogue has 2,275. More is a lost quote or another file
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
    rejects: list[dict[str, Any]] = field(default_factory=list)

    def counts(self) -> dict[str, Any]:
        return {
            "rows_in": self.rows_in,
            "rows_out": self.rows_out,
            "changed": dict(sorted(self.changed.items())),
            "rejected": dict(sorted(self.rejected.items())),
        }


@dataclass
class Guard:
    """Remembers the dialogues of each split by a hash of their bare text, to find what evaluation shares with training."""

    seen: dict[bytes, tuple[str, str]] = field(default_factory=dict)
    leaks: list[str] = field(default_factory=list)

    def add(self, split: str, fname: str, text: str) -> None:
        said = re.sub(r"(?m)^[^:\n]*: ", "", text)  # without the speakers: swapped ones make no other dialogue
        bare = ("".join(re.findall(r"\w+", said)) or said).encode()
        other_split, other = self.seen.setdefault(hashlib.blake2b(bare, digest_size=16).digest(), (split, fname))
        if other_split != split:
            self.leaks.append(f"{split} {fname} is the dialogue of {other_split} {other}")


def references_of(cells: dict[str, str]) -> list[str]:
    """Every summary column of a row (summary, summary2, summary_3 …) that is not blank, as it stands in the file."""
    return [cell for name, cell in cells.items() if REFERENCE_COLUMN.fullmatch(name) and cell.strip()]


def clean_dialogue(text: str, noise: Noise) -> tuple[str, Counter[str]]:
    """A raw dialogue repaired and cleaned, one line a turn, and what was changed. BadDialogueError if it is none."""
    repaired, changed = dialogue.repair(text)
    turns, seen = dialogue.parse(repaired)
    said = [dialogue.Turn(turn.speaker, dialogue.clean(turn.utterance, noise)) for turn in turns]
    return dialogue.to_text(said), +(changed + seen + Counter(noise=int(said != turns)))


def clean_summary(text: str, noise: Noise) -> tuple[str, Counter[str]]:
    """A raw summary repaired and cleaned, on one line, and what was changed. BadDialogueError if nothing is left of it."""
    repaired, changed = dialogue.repair(text)
    if not repaired:  # it had nothing but invisible characters
        raise BadDialogueError("empty_summary")
    line = " ".join(repaired.split())
    cleaned = dialogue.clean(line, noise)
    return cleaned, +(changed + Counter(newline=int("\n" in repaired), noise=int(cleaned != line)))


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


def clean_rows(
    rows: Iterable[Row],
    *,
    path: Path,
    split: str,
    noise: Noise,
    person_tags: PersonTags,
    guard: Guard,
    report: Report,
) -> Iterator[dict[str, Any]]:
    """The usable rows of one split, one after another; `guard` and `report` are filled on the way.

    Raises:
        YoyakError: for an fname that occurs twice.
    """
    first_line: dict[str, int] = {}
    for line, cells in rows:
        report.rows_in += 1
        fname = cells["fname"]
        if fname in first_line:
            raise YoyakError(f"{path}: line {line}: {fname}: this fname is already that of line {first_line[fname]}")
        first_line[fname] = line
        try:
            row, changed = clean_row(cells, noise=noise, person_tags=person_tags, with_summary=split != "test")
        except BadDialogueError as error:
            report.rejected[str(error)] += 1
            report.rejects.append({"split": split, "line": line, "reason": str(error), "cells": cells})
            continue
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
    )


def check(reports: dict[str, Report], *, guard: Guard, paths: dict[str, Path], max_rejected: int) -> None:
    """Stop if splits share dialogues, or if more rows were rejected than allowed (a row of test never may be)."""
    if guard.leaks:
        shown = "\n  ".join(guard.leaks[:20])
        more = f"\n  and {len(guard.leaks) - 20} more" if len(guard.leaks) > 20 else ""
        raise YoyakError(f"{len(guard.leaks)} dialogues stand in two splits; take them out of one:\n  {shown}{more}")
    rejects = [reject for report in reports.values() for reject in report.rejects]
    in_test = [reject for reject in rejects if reject["split"] == "test"]
    if len(rejects) > max_rejected or in_test:
        shown = "\n  ".join(
            f"{paths[r['split']]}: line {r['line']}: {r['cells']['fname']}: {r['reason']}" for r in rejects[:20]
        )
        more = f"\n  and {len(rejects) - 20} more" if len(rejects) > 20 else ""
        rule = (
            "a row of test may not be missing from a submission"
            if len(rejects) <= max_rejected
            else f"preprocess.max_rejected allows {max_rejected}"
        )
        raise YoyakError(f"{len(rejects)} rows cannot be used; {rule}:\n  {shown}{more}")
    for split, report in reports.items():
        if not report.rows_out:
            raise YoyakError(f"{paths[split]}: no row is left")

"""Files of predictions: read in the order that is due, and judged before they are handed in."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from yoyak.data.dialogue import LISTED_TAGS, TAG, BadDialogueError, copies, repair
from yoyak.system.errors import YoyakError
from yoyak.system.text_files import printable, read_csv

SHORT, LONG = 10, 500  # characters; the real summaries have 13 to 315
MOST_SHOWN = 5  # rows named for one kind of fault


def read_predictions(path: Path, *, fnames: Sequence[str]) -> list[str]:
    """The summaries of a CSV with fname and summary.

    Raises:
        YoyakError: if its fnames are not exactly `fnames`, in that order, naming the first difference.
    """
    rows = list(read_csv(path, required=["fname", "summary"]))
    for (line, cells), fname in zip(rows, fnames, strict=False):
        if cells["fname"] != fname:
            raise YoyakError(f"{path}: line {line}: fname {printable(cells['fname'])} where {printable(fname)} is due")
    if len(rows) != len(fnames):
        raise YoyakError(f"{path}: {len(rows)} rows where {len(fnames)} are due")
    return [cells["summary"] for _, cells in rows]


def check(path: Path, *, test: Path) -> tuple[list[str], list[str]]:
    """(what makes a submission unfit, what deserves a look) for a file of predictions of the rows of `test`.

    Raises:
        YoyakError: if one of the files cannot be read as CSV, or an fname occurs twice in `test`.
    """
    dialogues: dict[str, str] = {}
    for line, cells in read_csv(test, required=["fname", "dialogue"]):
        if cells["fname"] in dialogues:
            raise YoyakError(f"{test}: line {line}: {printable(cells['fname'])}: this fname occurs twice")
        dialogues[cells["fname"]] = cells["dialogue"]
    rows = list(read_csv(path, required=["fname", "summary"]))
    fnames = [row.cells["fname"] for row in rows]
    unfit: list[str] = []
    extra = [name for name in rows[0].cells if name not in ("fname", "summary")]
    if extra or list(rows[0].cells)[:2] != ["fname", "summary"]:
        unfit.append(f"columns are {printable(', '.join(rows[0].cells), 300)}, not fname, summary")
    if fnames != list(dialogues):
        unfit += _differences(fnames, list(dialogues))
    kinds: dict[str, list[str]] = {}
    for line, cells in rows:
        for kind in faults(cells["summary"], dialogues.get(cells["fname"], "")):
            kinds.setdefault(kind, []).append(f"line {line} {printable(cells['fname'])}")
    look: list[str] = []
    for kind, where in sorted(kinds.items()):
        listed = ", ".join(where[:MOST_SHOWN]) + (", …" if len(where) > MOST_SHOWN else "")
        (unfit if kind in _UNFIT else look).append(f"{kind}: {len(where)} rows ({listed})")
    distinct = len({row.cells["summary"] for row in rows})
    if distinct < 0.5 * len(rows):
        unfit.append(f"only {distinct} distinct summaries in {len(rows)} rows")
    return unfit, look


_UNFIT = {"empty", "copies the dialogue", "too long", "half-written tag", "damaged text"}


def faults(summary: str, dialogue: str) -> list[str]:
    """The kinds of fault of one summary."""
    if not summary.strip():
        return ["empty"]
    try:
        repaired, _ = repair(dialogue)
    except BadDialogueError:
        repaired = dialogue
    found = []
    if len(summary) > LONG:
        found.append("too long")
    if len(summary.strip()) < SHORT:
        found.append("very short")
    if copies(summary, repaired):
        found.append("copies the dialogue")
    loose = re.findall(r"(?<![A-Za-z0-9])#(?:[A-Za-z]+[0-9]*|\s*$)", TAG.sub(" ", summary))
    if any(tag.startswith(start.strip()) for start in loose for tag in LISTED_TAGS):
        found.append("half-written tag")
    tags = set(TAG.findall(summary))
    if tags - set(LISTED_TAGS) - set(TAG.findall(repaired)):
        found.append("unknown tag")
    if repaired and (tags & set(LISTED_TAGS)) - set(TAG.findall(repaired)):
        found.append("tag of nobody in the dialogue")
    if re.search(r"[\x00-\x08\x0b-\x1f\x7f\ufffd]", summary):
        found.append("damaged text")
    if "\n" in summary:
        found.append("newline")
    return found


def _differences(fnames: list[str], due: list[str]) -> list[str]:
    """What is wrong with the rows of a submission."""
    told = []
    if len(fnames) != len(due):
        told.append(f"{len(fnames)} rows where the test file has {len(due)}")
    twice = [name for name, count in Counter(fnames).items() if count > 1]
    given, wanted = set(fnames), set(due)
    missing = [name for name in due if name not in given]
    unknown = [name for name in fnames if name not in wanted]
    for what, names in (
        ("fname occurs twice", twice),
        ("fname is missing", missing),
        ("fname is not in the test file", unknown),
    ):
        if names:
            listed = ", ".join(printable(name) for name in names[:MOST_SHOWN])
            told.append(f"{what}: {len(names)} ({listed}{', …' if len(names) > MOST_SHOWN else ''})")
    if not told:
        at = next(i for i, (a, b) in enumerate(zip(fnames, due, strict=True)) if a != b)
        given_here, due_here = printable(fnames[at]), printable(due[at])
        told.append(f"rows are in another order than the test file's: row {at + 1} is {given_here}, due is {due_here}")
    return told

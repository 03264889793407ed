"""Files of predictions: reading them in the expected order, and checking a submission before it is handed in."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from yoyak.data.dialogue import LISTED_TAGS, TAG, BadDialogueError, copies
from yoyak.data.text_repair import repair
from yoyak.evaluation.artefacts import is_no_text, remove_artefacts
from yoyak.system.errors import YoyakError
from yoyak.system.text_files import Row, printable, read_csv

MIN_CHARACTERS, MAX_CHARACTERS = 10, 500  # the summaries of the real data have 13 to 315 characters
MIN_DISTINCT_SHARE = 0.5
MAX_NAMED_ROWS = 5  # rows that a message names for one kind of fault
_ERRORS = {  # other faults are warnings
    "empty",
    "no text (nan, None, null)",
    "copies the dialogue",
    "too long",
    "half-written tag",
    "damaged text",
    "artefact: reasoning",
    "artefact: code_fence",
    "artefact: prefix",
}


def read_predictions(path: Path, *, fnames: Sequence[str]) -> list[str]:
    """The summaries of a CSV with the columns fname and summary.

    Raises:
        YoyakError: if its fnames are not exactly `fnames` in that order. The message names the first difference.
    """
    rows = list(read_csv(path, required=["fname", "summary"]))
    for (line, cells), fname in zip(rows, fnames, strict=False):
        if cells["fname"] != fname:
            raise YoyakError(f"{path}: line {line}: fname is {printable(cells['fname'])}; expected {printable(fname)}")
    if len(rows) != len(fnames):
        raise YoyakError(f"{path}: {len(rows)} rows; expected {len(fnames)}")
    return [cells["summary"] for _, cells in rows]


def check_submission(path: Path, *, test: Path) -> tuple[list[str], list[str]]:
    """Check a CSV of predictions against the rows of the test file.

    Args:
        path: CSV with the columns fname and summary.
        test: CSV with the columns fname and dialogue.

    Returns:
        Errors, which make the file unfit for submission, and warnings, each as messages.

    Raises:
        YoyakError: if one of the files cannot be read as CSV, or an fname occurs twice in `test`.
    """
    dialogues = _read_dialogues(test)
    rows = list(read_csv(path, required=["fname", "summary"]))
    fnames = [row.cells["fname"] for row in rows]
    columns = list(rows[0].cells)
    errors: list[str] = []
    warnings: list[str] = []
    if columns != ["fname", "summary"]:
        errors.append(f"the columns are {printable(', '.join(columns), 300)}; expected fname, summary")
    if fnames != list(dialogues):
        errors += _row_differences(fnames, list(dialogues))
    for fault, places in sorted(_faulty_rows(rows, dialogues).items()):
        message = f"{fault}: {len(places)} rows ({_shortened(places)})"
        (errors if fault in _ERRORS else warnings).append(message)
    distinct = len({row.cells["summary"] for row in rows})
    if distinct < MIN_DISTINCT_SHARE * len(set(dialogues.values())):  # equal dialogues have equal summaries
        errors.append(f"only {distinct} distinct summaries in {len(rows)} rows")
    return errors, warnings


def _read_dialogues(test: Path) -> dict[str, str]:
    """Dialogues of the test file by fname, in its order."""
    dialogues: dict[str, str] = {}
    for line, cells in read_csv(test, required=["fname", "dialogue"]):
        if cells["fname"] in dialogues:
            raise YoyakError(f"{test}: line {line}: {printable(cells['fname'])}: this fname occurs twice")
        dialogues[cells["fname"]] = cells["dialogue"]
    return dialogues


def _faulty_rows(rows: Sequence[Row], dialogues: dict[str, str]) -> dict[str, list[str]]:
    """For each kind of fault the rows that have it, as "line N fname"."""
    places: dict[str, list[str]] = {}
    for line, cells in rows:
        for fault in summary_faults(cells["summary"], dialogues.get(cells["fname"], "")):
            places.setdefault(fault, []).append(f"line {line} {printable(cells['fname'])}")
    return places


def _shortened(names: Sequence[str]) -> str:
    return ", ".join(names[:MAX_NAMED_ROWS]) + (", …" if len(names) > MAX_NAMED_ROWS else "")


def summary_faults(summary: str, dialogue: str) -> list[str]:
    """The kinds of fault of one summary. `dialogue` is the raw text, or empty if it is not known."""
    if not summary.strip():
        return ["empty"]
    if is_no_text(summary):
        return ["no text (nan, None, null)"]
    try:
        repaired, _ = repair(dialogue)
    except BadDialogueError:
        repaired = dialogue
    dialogue_tags = set(TAG.findall(repaired))
    tags = set(TAG.findall(summary))
    listed = set(LISTED_TAGS)
    checks = {
        "too long": len(summary) > MAX_CHARACTERS,
        "very short": len(summary.strip()) < MIN_CHARACTERS,
        "copies the dialogue": copies(summary, repaired),
        "half-written tag": _has_half_written_tag(summary),
        "unknown tag": bool(tags - listed - dialogue_tags),
        "tag that is not in the dialogue": bool(repaired and (tags & listed) - dialogue_tags),
        "damaged text": bool(re.search(r"[\x00-\x08\x0b-\x1f\x7f\ufffd]", summary)),
        "newline": "\n" in summary,
    }
    # A line break of its own has the fault "newline".
    artefacts = [f"artefact: {name}" for name in remove_artefacts(summary)[1] if name != "line_breaks"]
    return [fault for fault, present in checks.items() if present] + artefacts


def _has_half_written_tag(summary: str) -> bool:
    """Whether a hash outside whole tags starts one of the listed tags, such as "#Perso" or a hash at the end."""
    starts = re.findall(r"(?<![A-Za-z0-9])#(?:[A-Za-z]+[0-9]*|\s*$)", TAG.sub(" ", summary))
    return any(tag.startswith(start.strip()) for start in starts for tag in LISTED_TAGS)


def _row_differences(fnames: list[str], expected: list[str]) -> list[str]:
    """Messages about how the fnames of a submission differ from those of the test file. The lists are not equal."""
    messages = []
    if len(fnames) != len(expected):
        messages.append(f"{len(fnames)} rows; the test file has {len(expected)}")
    present, known = set(fnames), set(expected)
    groups = {
        "fname occurs twice": [name for name, count in Counter(fnames).items() if count > 1],
        "fname is missing": [name for name in expected if name not in present],
        "fname is not in the test file": [name for name in fnames if name not in known],
    }
    for message, names in groups.items():
        if names:
            messages.append(f"{message}: {len(names)} ({_shortened([printable(name) for name in names])})")
    if not messages:
        index = next(index for index, (name, other) in enumerate(zip(fnames, expected, strict=True)) if name != other)
        messages.append(
            f"the rows are in another order than in the test file: row {index + 1} is {printable(fnames[index])}; "
            f"expected {printable(expected[index])}"
        )
    return messages

"""Files of predictions: reading them in the expected order, and checking a submission before it is handed in."""

import re
import sys
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from yoyak.data.dialogue import LISTED_TAGS, MASK, TAG, BadDialogueError, copies
from yoyak.data.text_repair import repair
from yoyak.evaluation.artefacts import is_no_text, remove_artefacts
from yoyak.system.csv_files import CsvNotes, Row, is_protected, read_csv
from yoyak.system.errors import YoyakError
from yoyak.system.invisible import FILLER, is_blank, without_invisible
from yoyak.system.text_files import counted, list_rows, place, printable

# The summaries of Korean DialogSum have 13 to 315 characters. For a corpus with longer ones see `longest_allowed`.
MIN_CHARACTERS, MAX_CHARACTERS = 10, 500
MIN_DISTINCT_SHARE = 0.5
MAX_NAMED_ROWS = 5  # rows that a message names for one kind of fault
# What preprocess repairs in a raw text. In a summary it is a warning.
_DAMAGE = {"decomposed_hangul", "full_width_tag", "half_width", "html_break", "html_entity", "translated_tag"}
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
    """The summaries of a CSV with the columns fname and summary, for `fnames` in their order.

    Rows are matched by fname, and may have another order. Names that only look the same (NFC and NFD) match. What
    a user should know about the file is printed to stderr.

    Raises:
        YoyakError: naming the missing, unknown and doubled fnames, if the rows are not exactly those of `fnames`.
    """
    rows = list(read_csv(path, required=["fname", "summary"]))
    given = [row.cells["fname"] for row in rows]
    if given != list(fnames):
        given = _matched_names(given, fnames, path)
        if differences := _row_differences(given, list(fnames), "the references"):
            raise YoyakError(f"{path}: its rows are not those of the references:" + list_rows(differences, count=0))
        if given != list(fnames):
            print(f"{path}: the rows have another order than the references; they are matched by fname", file=sys.stderr)
    for message in _notes_on_summaries(path, rows):
        print(message, file=sys.stderr, flush=True)
    summaries = dict(zip(given, (row.cells["summary"] for row in rows), strict=True))
    return [summaries[fname] for fname in fnames]


def _matched_names(given: Sequence[str], expected: Sequence[str], path: Path) -> list[str]:
    """The names of a file, with the expected one in place of those that only look like it."""
    known = set(expected)
    by_form = {_form(name): name for name in expected}
    matched = [name if name in known else by_form.get(_form(name), name) for name in given]
    changed = [(name, other) for name, other in zip(given, matched, strict=True) if name != other]
    if changed:
        print(
            f"{path}: {counted(len(changed), 'fname looks', 'fnames look')} like in the references, but not of the same "
            f"characters: {_difference(*changed[0])}; they are matched",
            file=sys.stderr,
        )
    return matched


def _form(name: str) -> str:
    """What names that look the same have in common: the composed form, without invisible characters and outer spaces."""
    return unicodedata.normalize("NFC", without_invisible(name)).strip()


def _difference(name: str, other: str) -> str:
    """Two names that may look the same, with the code points of the first characters that differ."""
    index = next((i for i, (a, b) in enumerate(zip(name, other, strict=False)) if a != b), min(len(name), len(other)))
    points = [" ".join(f"U+{ord(char):04X}" for char in text[index : index + 3]) or "its end" for text in (name, other)]
    return f"{printable(name)} ({points[0]} at character {index + 1}; expected {points[1]})"


def _notes_on_summaries(path: Path, rows: Sequence[Row]) -> list[str]:
    """Messages about summaries that count as they are, but are probably not meant so."""
    kinds = {
        "without any text": is_blank,
        "with an apostrophe before =, +, - or @: an earlier version of yoyak or a copy for spreadsheets adds it. "
        "It counts as text; use the original file": is_protected,
    }
    found = {kind: [row for row in rows if holds(row.cells["summary"])] for kind, holds in kinds.items()}
    return [
        f"{place(path, which[0].line, which[0].cells['fname'])}: {counted(len(which), 'summary', 'summaries')} {kind}"
        for kind, which in found.items()
        if which
    ]


def longest_allowed(train: Path) -> int:
    """The number of characters from which a summary is too long: MAX_CHARACTERS, or more if a summary of train has more.

    Args:
        train: CSV with the column summary; if there is no such file, the answer is MAX_CHARACTERS.

    Raises:
        YoyakError: if the file cannot be read as such a CSV.
    """
    if not train.is_file():
        return MAX_CHARACTERS
    lengths = (len(cells["summary"]) for _, cells in read_csv(train, required=["summary"], notes=CsvNotes()))
    return max(MAX_CHARACTERS, *lengths)


def check_submission(path: Path, *, test: Path, longest: int = MAX_CHARACTERS) -> tuple[list[str], list[str]]:
    """Check a CSV of predictions against the rows of the test file.

    Args:
        path: CSV with the columns fname and summary.
        test: CSV with the columns fname and dialogue.
        longest: a summary with more characters is an error.

    Returns:
        Errors, which make the file unfit for submission, and warnings, each as messages.

    Raises:
        YoyakError: if one of the files cannot be read as CSV, or an fname occurs twice in `test`.
    """
    dialogues = _read_dialogues(test)
    notes = CsvNotes()
    rows = list(read_csv(path, required=["fname", "summary"], notes=notes))
    fnames = [row.cells["fname"] for row in rows]
    columns = list(rows[0].cells)
    errors: list[str] = []
    warnings: list[str] = []
    if columns != ["fname", "summary"]:
        errors.append(f"the columns are {printable(', '.join(columns), 300)}; expected fname, summary")
    # Yoyak reads such a file, but the program that grades it perhaps does not.
    (errors if notes.separator != "," or notes.unnamed_columns else warnings).extend(notes.messages(path))
    if notes.byte_order_mark:
        warnings.append(f"{path}: the file starts with a byte order mark, which some programs read as part of fname")
    if fnames != list(dialogues):
        errors += _row_differences(fnames, list(dialogues), "the test file") or [_order(fnames, list(dialogues))]
    for fault, places in sorted(_faulty_rows(path, rows, dialogues, longest).items()):
        message = f"{fault}: {counted(len(places), 'row', 'rows')}: {_shortened(places)}"
        (errors if fault in _ERRORS else warnings).append(message)
    distinct = len({row.cells["summary"] for row in rows})
    if distinct < MIN_DISTINCT_SHARE * len(set(dialogues.values())):  # equal dialogues have equal summaries
        errors.append(f"only {distinct} distinct summaries in {len(rows)} rows")
    return errors, warnings


def _read_dialogues(test: Path) -> dict[str, str]:
    """Dialogues of the test file by fname, in its order."""
    rows = list(read_csv(test, required=["fname", "dialogue"]))
    if doubled := doubled_fnames(test, rows):
        raise YoyakError(f"{test}: each row needs its own fname:" + list_rows(doubled, count=len(doubled)))
    return {row.cells["fname"]: row.cells["dialogue"] for row in rows}


def doubled_fnames(path: Path, rows: Sequence[Row]) -> list[str]:
    """A message about each row whose fname occurs before."""
    seen: set[str] = set()
    messages = []
    for line, cells in rows:
        if cells["fname"] in seen:
            messages.append(f"{place(path, line, cells['fname'])}: this fname occurs twice")
        seen.add(cells["fname"])
    return messages


def _faulty_rows(path: Path, rows: Sequence[Row], dialogues: dict[str, str], longest: int) -> dict[str, list[str]]:
    """For each kind of fault the places of the rows that have it."""
    places: dict[str, list[str]] = {}
    for line, cells in rows:
        for fault in summary_faults(cells["summary"], dialogues.get(cells["fname"], ""), longest=longest):
            places.setdefault(fault, []).append(place(path, line, cells["fname"]))
    return places


def _shortened(names: Sequence[str]) -> str:
    return ", ".join(names[:MAX_NAMED_ROWS]) + (", …" if len(names) > MAX_NAMED_ROWS else "")


def summary_faults(summary: str, dialogue: str, *, longest: int = MAX_CHARACTERS) -> list[str]:
    """The kinds of fault of one summary. `dialogue` is the raw text, or empty if it is not known."""
    if is_blank(summary):
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
        "too long": len(summary) > longest,
        "very short": len(summary.strip()) < MIN_CHARACTERS,
        "copies the dialogue": copies(summary, repaired),
        "half-written tag": _has_half_written_tag(summary),
        "unknown tag": bool(tags - listed - dialogue_tags),
        "tag that is not in the dialogue": bool(repaired and (tags & listed) - dialogue_tags),
        "damaged text": bool(re.search(r"[\x00-\x08\x0b-\x1f\x7f\ufffd]", summary)),
        "newline": "\n" in summary,
        "invisible characters": bool(FILLER.search(summary)) or without_invisible(summary) != summary,
        "apostrophe before =, +, - or @, as in a copy for spreadsheets": is_protected(summary),
    }
    # A line break of its own has the fault "newline".
    artefacts = [f"artefact: {name}" for name in remove_artefacts(summary)[1] if name != "line_breaks"]
    faults = [fault for fault, present in checks.items() if present] + artefacts
    return faults + [kind.replace("_", " ") for kind in sorted(_damage(summary))]


def _damage(text: str) -> set[str]:
    try:
        return set(repair(text)[1]) & _DAMAGE
    except BadDialogueError:  # a control character, which is a fault of its own
        return set()


def _has_half_written_tag(summary: str) -> bool:
    """Whether a hash outside whole tags starts one of the listed tags, such as "#Perso" or a hash at the end."""
    starts = re.findall(r"(?<![A-Za-z0-9])#(?:[A-Za-z]+[0-9]*|\s*$)", TAG.sub(" ", MASK.sub(" ", summary)))
    return any(tag.startswith(start.strip()) for start in starts for tag in LISTED_TAGS)


def _row_differences(fnames: list[str], expected: list[str], where: str) -> list[str]:
    """Messages about which of `expected` are missing, unknown or doubled in `fnames`, whatever their order."""
    present, known = set(fnames), set(expected)
    messages = []
    if len(fnames) != len(expected):
        messages.append(f"{len(fnames)} rows; {where} {'have' if where.endswith('s') else 'has'} {len(expected)}")
    missing = [name for name in expected if name not in present]
    unknown = [name for name in fnames if name not in known]
    forms = {_form(name): name for name in missing}
    groups = {
        "fname occurs twice": [name for name, count in Counter(fnames).items() if count > 1],
        "fname is missing": missing,
        f"fname is not in {where}": unknown,
    }
    for message, names in groups.items():
        if names:
            messages.append(f"{message}: {len(names)} ({_shortened([printable(name) for name in names])})")
    for name in unknown:
        if other := forms.get(_form(name)):
            messages.append(f"fname looks the same, but has other characters: {_difference(name, other)}")
            break
    if any(is_protected(name) and name[1:] in missing for name in unknown):
        messages.append("fname has an apostrophe in front, as in a copy for spreadsheets; use the original file")
    return messages


def _order(fnames: list[str], expected: list[str]) -> str:
    """The message about rows that have another order than expected."""
    index = next(index for index, (name, other) in enumerate(zip(fnames, expected, strict=True)) if name != other)
    return (
        f"the rows are in another order than in the test file: row {index + 1} is {printable(fnames[index])}; "
        f"expected {printable(expected[index])}"
    )

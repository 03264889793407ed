"""Dialogues from outside the pipeline, cleaned as the stage preprocess cleans its rows."""

import sys
from collections import Counter
from pathlib import Path

from yoyak.config.sections import Preprocess
from yoyak.data.cleaning import REASONS, clean_dialogue
from yoyak.data.dialogue import BadDialogueError
from yoyak.data.person_tags import replace_reversibly
from yoyak.data.split_report import Rejection
from yoyak.data.unmarked_lines import UnmarkedLines
from yoyak.system.csv_files import read_csv
from yoyak.system.errors import YoyakError
from yoyak.system.text_files import list_rows, place


def prepare_dialogue(text: str, settings: Preprocess) -> tuple[str, Counter[str]]:
    """Clean one raw dialogue.

    Returns:
        The dialogue with one turn on each line, and the kinds of change with their number.

    Raises:
        BadDialogueError: if the text is not a dialogue.
    """
    cleaned, changed = clean_dialogue(text, settings.noise)
    return replace_reversibly(cleaned, settings.person_tags), changed


def prepare_row(text: str, settings: Preprocess, *, source: str, topic: str = "") -> dict[str, str]:
    """A row with `dialogue` and `topic`. Lines without a speaker tag are told on stderr.

    Raises:
        YoyakError: naming `source`, if the text is not a dialogue.
    """
    unmarked = UnmarkedLines()
    try:
        row = _row(text, settings, source=source, topic=topic, unmarked=unmarked)
    except BadDialogueError as error:
        raise YoyakError(f"{source}: {why_refused(error)}") from None
    _tell(unmarked, source)
    return row


def _row(text: str, settings: Preprocess, *, source: str, topic: str, unmarked: UnmarkedLines) -> dict[str, str]:
    cleaned, changed = prepare_dialogue(text, settings)
    unmarked.add(where=source, raw=text, cleaned=cleaned, changed=changed)
    return {"dialogue": cleaned, "topic": " ".join(topic.split())}


def why_refused(error: BadDialogueError) -> str:
    """What is wrong with a text that is not a dialogue, and what was found in it."""
    rejection = Rejection(str(error), error.found)
    return REASONS[rejection.reason] + str(rejection).removeprefix(rejection.reason)


def _tell(unmarked: UnmarkedLines, name: str) -> None:
    for message in unmarked.messages(name):
        print(message, file=sys.stderr, flush=True)


def read_dialogues(path: Path, settings: Preprocess) -> list[dict[str, str]]:
    """Rows with fname, dialogue and topic from a CSV with the columns fname, dialogue and perhaps topic, in the same order.

    Raises:
        YoyakError: naming file, line and fname of each row that is not a dialogue.
    """
    rows, bad, unmarked = [], [], UnmarkedLines()
    for line, cells in read_csv(path, required=["fname", "dialogue"]):
        where = place(path, line, cells["fname"])
        try:
            row = _row(cells["dialogue"], settings, source=where, topic=cells.get("topic", ""), unmarked=unmarked)
        except BadDialogueError as error:
            bad.append(f"{where}: {why_refused(error)}")
            continue
        rows.append({"fname": cells["fname"], **row})
    if len(bad) == 1:
        raise YoyakError(bad[0])
    if bad:
        raise YoyakError(f"{path}: {len(bad)} rows cannot be used:" + list_rows(bad, count=len(bad)))
    _tell(unmarked, str(path))
    return rows

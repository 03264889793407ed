"""Dialogues from outside the pipeline, cleaned as the stage preprocess cleans its rows."""

from pathlib import Path

from yoyak.config.sections import Preprocess
from yoyak.data.cleaning import REASONS, clean_dialogue
from yoyak.data.dialogue import BadDialogueError
from yoyak.data.person_tags import replace_reversibly
from yoyak.system.errors import YoyakError
from yoyak.system.text_files import FORMULA_STARTS, printable, read_csv


def prepare_dialogue(text: str, settings: Preprocess) -> str:
    """Clean one raw dialogue.

    Raises:
        BadDialogueError: if the text is not a dialogue.
    """
    cleaned, _ = clean_dialogue(text, settings.noise)
    return replace_reversibly(cleaned, settings.person_tags)


def prepare_row(text: str, settings: Preprocess, *, source: str, topic: str = "") -> dict[str, str]:
    """A row with `dialogue` and `topic`. YoyakError naming `source` if the text is not a dialogue."""
    try:
        return {"dialogue": prepare_dialogue(text, settings), "topic": " ".join(topic.split())}
    except BadDialogueError as error:
        raise YoyakError(f"{source}: {REASONS[str(error)]}") from None


def read_dialogues(path: Path, settings: Preprocess) -> list[dict[str, str]]:
    """Rows with fname, dialogue and topic from a CSV with the columns fname, dialogue and perhaps topic, in the same order.

    Raises:
        YoyakError: naming file, line and fname of a row that is not a dialogue.
    """
    rows = []
    for line, cells in read_csv(path, required=["fname", "dialogue"]):
        source = f"{path}: line {line}: {printable(cells['fname'])}"
        if cells["fname"].startswith(FORMULA_STARTS):
            raise YoyakError(f"{source}: {REASONS['formula_in_fname']}")
        row = prepare_row(cells["dialogue"], settings, source=source, topic=cells.get("topic", ""))
        rows.append({"fname": cells["fname"], **row})
    return rows

"""Cleaning of one row: repair, noise, person tags. What cannot be used is rejected with a reason."""

import re
from collections import Counter
from typing import Any

from yoyak.data.dialogue import BadDialogueError, Turn, parse, to_text
from yoyak.data.noise import Noise, reduce_noise
from yoyak.data.person_tags import PersonTags, replace_reversibly
from yoyak.data.text_repair import MAX_CHARACTERS, repair
from yoyak.system.invisible import is_blank

_REFERENCE_COLUMN = re.compile(r"summary_?\d*")

# For messages: what each reason of a rejection means, and what to do. The reasons themselves are values in files.
REASONS = {
    "no_fname": "the fname is empty",
    "too_long": f"a cell has more than {MAX_CHARACTERS:,} characters; look for an unbalanced quote",
    "control_character": "the text has control characters or U+FFFD, so a part of it is lost; restore it from its source",
    "combining_marks": "the text has more than 30 combining marks in a row",
    "empty_dialogue": "the dialogue is empty",
    "unknown_speaker": "a speaker tag is not one of #Person1# to #Person99#",
    "no_speaker": 'no speaker tag with a colon; expected lines such as "#Person1#: 안녕하세요."; `yoyak import` '
    "turns names and other labels into tags",
    "nothing_said": "no turn has any text",
    "empty_summary": "the summary is empty",
    "simplify_could_not_be_undone": "the text has P1 already, or a letter or digit next to a tag, so that P1 cannot become "
    "#Person1# again; choose another preprocess.person_tags",
    "abstract_could_not_be_undone": "the text has 화자1 already, or a digit next to a tag, so that 화자1 cannot become "
    "#Person1# again; choose another preprocess.person_tags",
}


def references_of(cells: dict[str, str]) -> list[str]:
    """All reference summaries of a raw row (columns summary, summary2, summary_3 …) that are not blank, unchanged."""
    return [cell for name, cell in cells.items() if _REFERENCE_COLUMN.fullmatch(name) and not is_blank(cell)]


def clean_dialogue(text: str, noise: Noise) -> tuple[str, Counter[str]]:
    """Repair and clean a raw dialogue.

    Args:
        text: the cell of the file.
        noise: preprocess.noise, see `reduce_noise`.

    Returns:
        The dialogue with one turn on each line, and the kinds of change with their number.

    Raises:
        BadDialogueError: with the reason, if the text is not a dialogue.
    """
    repaired, changed = repair(text)
    turns, unusual = parse(repaired)
    cleaned_turns = [Turn(turn.speaker, reduce_noise(turn.utterance, noise)) for turn in turns]
    cleaned = to_text(cleaned_turns)
    changed += unusual + Counter(noise=int(cleaned_turns != turns))
    if noise == "aggressive" and cleaned_turns != turns:
        # A removed emoji may have stood within a tag or before its colon, so that a tag appears only now.
        cleaned, further = clean_dialogue(cleaned, noise)
        changed += further
    return cleaned, +changed


def clean_summary(text: str, noise: Noise) -> tuple[str, Counter[str]]:
    """Repair and clean a raw summary.

    Returns:
        The summary on one line, and the kinds of change with their number.

    Raises:
        BadDialogueError: with the reason, if nothing is left of it.
    """
    repaired, changed = repair(text)
    if is_blank(repaired):
        raise BadDialogueError("empty_summary")
    line = " ".join(repaired.split())
    cleaned = reduce_noise(line, noise)
    changed += Counter(newline=int("\n" in repaired), noise=int(cleaned != line))
    if noise == "aggressive" and cleaned != line:  # as in clean_dialogue
        cleaned, further = clean_summary(cleaned, noise)
        changed += further
    return cleaned, +changed


def clean_row(
    cells: dict[str, str], *, noise: Noise, person_tags: PersonTags, with_summary: bool
) -> tuple[dict[str, Any], Counter[str]]:
    """Clean one row of a CSV.

    Args:
        cells: the row by column: fname, dialogue, perhaps topic, and for train and dev summary, summary2 …
        noise: preprocess.noise.
        person_tags: preprocess.person_tags.
        with_summary: whether the row must have a summary (train and dev).

    Returns:
        The row for later stages, and the kinds of change with their number. The row has fname, dialogue (one turn on each
        line) and topic. With a summary it also has `summary` (cleaned: what a model learns) and `references` (every summary
        column unchanged: what a prediction is scored against).

    Raises:
        BadDialogueError: with the reason, if the row cannot be used.
    """
    if is_blank(cells["fname"]):
        raise BadDialogueError("no_fname")
    if max(len(cell) for cell in cells.values()) > MAX_CHARACTERS:
        raise BadDialogueError("too_long")
    text, changed = clean_dialogue(cells["dialogue"], noise)
    row: dict[str, Any] = {"fname": cells["fname"], "dialogue": text}
    if with_summary:
        references = references_of(cells)
        if not references or is_blank(cells.get("summary", references[0])):
            raise BadDialogueError("empty_summary")
        row["summary"], summary_changes = clean_summary(cells.get("summary", references[0]), noise)
        changed += Counter({f"summary_{kind}": count for kind, count in summary_changes.items()})
        row["references"] = references
    for key in ("dialogue", "summary"):
        if key in row:
            row[key] = replace_reversibly(row[key], person_tags)
    row["topic"] = " ".join(cells.get("topic", "").split())
    return row, +changed

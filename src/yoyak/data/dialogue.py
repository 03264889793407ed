"""Dialogues as text: tags, turns, and whether a summary copies its dialogue."""

import re
from collections import Counter
from dataclasses import dataclass

# The tags that the competition publishes. Models learn each of them as one token.
LISTED_TAGS = (
    *(f"#Person{n}#" for n in range(1, 8)),
    "#PhoneNumber#",
    "#Address#",
    "#DateOfBirth#",
    "#PassportNumber#",
    "#SSN#",
    "#CardNumber#",
    "#CarNumber#",
    "#Email#",
)
SPEAKER_TAG = re.compile(r"#Person([1-9])#")
# Any tag of this form: speakers, listed privacy tags, and tags that the list lacks (#FlightNumber#).
TAG = re.compile(r"#[A-Za-z]+[0-9]*#")
MIN_COPIED_CHARACTERS = 20  # a shorter text may stand in its dialogue by chance

_TURN = re.compile(r"(#Person[1-9]#)\s*[:\uff1a]")  # the colon may stand on the next line
_INVALID_SPEAKER = re.compile(r"#Person(?:0|[1-9][0-9]+|)#\s*[:\uff1a]")


@dataclass(frozen=True)
class Turn:
    """What one speaker says at a time. `speaker` is a tag such as "#Person1#"."""

    speaker: str
    utterance: str


class BadDialogueError(ValueError):
    """A text that cannot be used as a dialogue or summary. The message is the reason in snake_case (`cleaning.REASONS`)."""


def parse(text: str) -> tuple[list[Turn], Counter[str]]:
    """Split a repaired dialogue into turns.

    A turn starts at every speaker tag with a colon, also in the middle of a line. A line without a tag belongs to the turn
    before it; before the first turn it belongs to the first. A tag without a colon is part of an utterance.

    Returns:
        The turns, and how often something unusual occurs: line_without_speaker, two_speakers_on_a_line, empty_turn.

    Raises:
        BadDialogueError: empty_dialogue, unknown_speaker (such as #Person10#), no_speaker (no tag with a colon), nothing_said.
    """
    if not text:
        raise BadDialogueError("empty_dialogue")
    if _INVALID_SPEAKER.search(text):
        raise BadDialogueError("unknown_speaker")
    unusual: Counter[str] = Counter()
    before_first_tag, *parts = _TURN.split(text)
    if not parts:
        raise BadDialogueError("no_speaker")
    turns = []
    for index, (speaker, utterance) in enumerate(zip(parts[::2], parts[1::2], strict=True)):
        lines = [line.strip() for line in utterance.strip().split("\n") if line.strip()]
        unusual["line_without_speaker"] += len(lines) > 1
        unusual["two_speakers_on_a_line"] += "\n" not in utterance and index < len(parts) // 2 - 1
        if index == 0 and before_first_tag.strip():
            unusual["line_without_speaker"] += 1
            lines.insert(0, " ".join(before_first_tag.split()))
        if lines:
            turns.append(Turn(speaker, " ".join(lines)))
        else:
            unusual["empty_turn"] += 1
    if not turns:
        raise BadDialogueError("nothing_said")
    return turns, +unusual


def to_text(turns: list[Turn]) -> str:
    """The turns as text, one on each line: "#Person1#: …"."""
    return "\n".join(f"{turn.speaker}: {turn.utterance}" for turn in turns)


def without_tags(text: str) -> str:
    """`text` without speaker tags and privacy tags. Each tag becomes a space."""
    return TAG.sub(" ", text)


def copies(prediction: str, dialogue: str) -> bool:
    """Whether a prediction copies its dialogue: it has two turns, or is a part of the dialogue that is not short."""
    if len(_TURN.findall(prediction)) >= 2:
        return True
    characters = "".join(prediction.split())
    return len(characters) >= MIN_COPIED_CHARACTERS and characters in "".join(dialogue.split())

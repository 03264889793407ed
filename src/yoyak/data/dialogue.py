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
SPEAKER_TAG = re.compile(r"#Person([1-9][0-9]?)#")
MOST_SPEAKERS = 99
# Any tag of this form: speakers, listed privacy tags, and tags that the list lacks (#FlightNumber#).
TAG = re.compile(r"#[A-Za-z]+[0-9]*#")
# What other corpora write in place of names, pictures and links: #@이름#, #@시스템#사진#. It is text, not a tag of ours.
MASK = re.compile(r"#@(?:시스템#)?[0-9A-Za-z가-힣]+#")
COLON = "[:：﹕︓∶]"
MIN_COPIED_CHARACTERS = 20  # a shorter text may stand in its dialogue by chance

_TURN = re.compile(rf"(#Person[1-9][0-9]?#)\s*{COLON}")  # the colon may stand on the next line
_INVALID_SPEAKER = re.compile(rf"#Person(?:0|[1-9][0-9]{{2,}}|)#\s*{COLON}")
# The start of a line that names a speaker who has no tag: "민수: ", "Kim Minsu: ", "[민수] [오후 3:21] ". A time (3:21) and an
# address (https://) have no space after their colon.
_LABEL = re.compile(rf"\[[^\[\]\n]{{1,20}}\]|[^\W\d_][\w.]{{0,15}}(?: [^\W\d_][\w.]{{0,15}}){{0,2}} ?{COLON}(?=\s|$|[가-힣])")
_MAX_SHOWN = 20  # characters of a text that a message shows


@dataclass(frozen=True)
class Turn:
    """What one speaker says at a time. `speaker` is a tag such as "#Person1#"."""

    speaker: str
    utterance: str


class BadDialogueError(ValueError):
    """A text that cannot be used as a dialogue or summary. The message is the reason in snake_case (`cleaning.REASONS`).

    Attributes:
        found: the part of the text that shows the reason, if there is one.
    """

    def __init__(self, reason: str, *, found: str = "") -> None:
        super().__init__(reason)
        self.found = found


def parse(text: str) -> tuple[list[Turn], Counter[str]]:
    """Split a repaired dialogue into turns.

    A turn starts at every speaker tag with a colon, also in the middle of a line. A line without a tag belongs to the turn
    before it; before the first turn it belongs to the first. A tag without a colon is part of an utterance.

    Returns:
        The turns, and how often something unusual occurs: line_without_speaker, line_with_another_name (one of these lines
        that starts with a name and a colon, so probably a speaker without a tag), two_speakers_on_a_line, empty_turn.

    Raises:
        BadDialogueError: empty_dialogue, unknown_speaker (such as #Person100#), no_speaker (no tag with a colon), nothing_said.
    """
    if not text:
        raise BadDialogueError("empty_dialogue")
    if invalid := _INVALID_SPEAKER.search(text):
        raise BadDialogueError("unknown_speaker", found=" ".join(invalid[0].split()))
    unusual: Counter[str] = Counter()
    before_first_tag, *parts = _TURN.split(text)
    if not parts:
        raise BadDialogueError("no_speaker", found=_start(text))
    turns = []
    unmarked = _lines(before_first_tag)
    for index, (speaker, utterance) in enumerate(zip(parts[::2], parts[1::2], strict=True)):
        lines = _lines(utterance)
        # Of a turn, the first line has the tag, unless the line ends with the colon.
        unmarked += lines[1:]
        unusual["two_speakers_on_a_line"] += "\n" not in utterance and index < len(parts) // 2 - 1
        if index == 0 and before_first_tag.strip():
            lines.insert(0, " ".join(before_first_tag.split()))
        if lines:
            turns.append(Turn(speaker, " ".join(lines)))
        else:
            unusual["empty_turn"] += 1
    if not turns:
        raise BadDialogueError("nothing_said")
    unusual["line_without_speaker"] = len(unmarked)
    unusual["line_with_another_name"] = sum(_LABEL.match(line) is not None for line in unmarked)
    return turns, +unusual


def first_unmarked_line(text: str) -> str:
    """The start of the first line of a repaired dialogue that has no speaker tag; if some have another name, of these."""
    lines = [line for line in _lines(text) if not _TURN.search(line)]
    return _start(next(filter(_LABEL.match, lines), lines[0]) if lines else "")


def _lines(text: str) -> list[str]:
    return [stripped for line in text.split("\n") if (stripped := line.strip())]


def _start(text: str) -> str:
    """What a line starts with, for a message: its label ("민수:"), its tag without a colon, or its first characters."""
    label = _LABEL.match(text) or TAG.match(text)
    line = text.split("\n", 1)[0]
    return label[0] if label else line[:_MAX_SHOWN] + "…" * (len(line) > _MAX_SHOWN)


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

"""Dialogues that are one text: which words at the start of a line name the speaker."""

import re
from collections import Counter

from yoyak.data.dialogue import COLON, SPEAKER_TAG, BadDialogueError, Turn, parse
from yoyak.data.text_repair import repair
from yoyak.system.invisible import is_blank

MAX_LABEL = 30  # characters
_TIME = r"(?:(?:오전|오후|AM|PM)\s*)?\d{1,2}:\d{2}(?::\d{2})?(?:\s*(?:AM|PM))?"
# "[민수] [오후 3:21] 안녕", as KakaoTalk copies messages.
BRACKETED = re.compile(rf"\[(?P<speaker>[^\[\]\n]{{1,{MAX_LABEL}}})\]\s*\[(?i:{_TIME})\]\s?(?P<text>.*)")
# "민수: 안녕", "화자1 : 안녕", "SD2000001: 안녕". No slash comes after the colon, as in https://.
_LABELLED = re.compile(
    rf"(?:\[{_TIME}\]\s*)?(?P<speaker>[^\W_][^:：\n!?…,\"“”]{{0,{MAX_LABEL - 1}}}?|[^\W_])\s*{COLON}(?!//)(?P<text>.*)",
    re.IGNORECASE,
)
_IN_BRACKETS = re.compile(rf"[\[<(（](?P<speaker>[^\W_][^\[\]<>()\n]{{0,{MAX_LABEL - 1}}})[\]>)）]\s*{COLON}?\s+(?P<text>.*)")
# "민수<tab>안녕", as tables are copied.
_TABBED = re.compile(rf"[^\W_][^\t\n]{{0,{MAX_LABEL - 1}}}\t+[^\t]+")
_DASHED = re.compile(r"[-–—]\s+(?P<text>.*)")
_NUMBER = re.compile(r"[\d.\s]+")
MAX_LABEL_WORDS = 4
ALTERNATING_LABELS = ("A", "B")


class UnlabelledDialogueError(ValueError):
    """A text in which no speaker can be found.

    Attributes:
        reason: a key of `import_report.DROP_REASONS`.
        found: the part of the text that shows it.
    """

    def __init__(self, reason: str, found: str = "") -> None:
        super().__init__(reason)
        self.reason, self.found = reason, found


def labelled_turns(text: str, *, alternating: bool = False) -> tuple[list[Turn], dict[str, int]]:
    """The turns of a dialogue that has a speaker at the start of its lines.

    Args:
        text: with one turn on each line. A line without a speaker belongs to the turn above it.
        alternating: lines that have no speaker at all alternate between A and B.

    Returns:
        The turns, with the labels of the text as speakers, and how often something unusual occurs.

    Raises:
        UnlabelledDialogueError: if the text is damaged, empty, or no line names a speaker.
    """
    if "\t" in text and all(_TABBED.fullmatch(line.strip()) for line in text.splitlines() if line.strip()):
        text = "\n".join(line.strip().replace("\t", ": ", 1) for line in text.splitlines())
    try:
        repaired, _ = repair(text)
        if SPEAKER_TAG.search(repaired) and _has_tagged_turns(repaired):
            turns, counts = parse(repaired)
            return turns, dict(counts)
    except BadDialogueError as error:
        raise UnlabelledDialogueError(str(error), getattr(error, "found", "")) from None
    lines = [line.strip() for line in repaired.split("\n") if not is_blank(line)]
    if not lines:
        raise UnlabelledDialogueError("empty_dialogue")
    for pattern in (BRACKETED, _LABELLED, _IN_BRACKETS):
        found, unusual = _read(lines, pattern)
        if found:
            return found, unusual
    if alternating:
        return _alternate(lines)
    raise UnlabelledDialogueError("no_speaker", lines[0][:40])


def _has_tagged_turns(text: str) -> bool:
    return re.search(rf"{SPEAKER_TAG.pattern}\s*{COLON}", text) is not None


def _read(lines: list[str], pattern: re.Pattern[str]) -> tuple[list[Turn], dict[str, int]]:
    """The turns of lines, most of which start with a speaker; no turns if the first line does not."""
    if not _match(pattern, lines[0]):
        return [], {}
    turns: list[Turn] = []
    unusual: Counter[str] = Counter()
    for line in lines:
        if match := _match(pattern, line):
            turns.append(Turn(" ".join(match["speaker"].split()), match["text"].strip()))
        else:
            unusual["line_without_speaker"] += 1
            turns[-1] = Turn(turns[-1].speaker, f"{turns[-1].utterance} {line}".strip())
    unusual["empty_turn"] = sum(is_blank(turn.utterance) for turn in turns)
    return [turn for turn in turns if not is_blank(turn.utterance)], dict(+unusual)


def _match(pattern: re.Pattern[str], line: str) -> re.Match[str] | None:
    match = pattern.match(line)
    if match is None:
        return None
    label = match["speaker"].strip()
    # "오후 3:21", "12:30" and "1. 준비물: 빵" have a colon, but no speaker before it.
    is_time = _NUMBER.fullmatch(label) is not None and match["text"][:1].isdigit()
    is_time = is_time or (label.endswith(tuple("0123456789")) and match["text"][:2].isdigit() and pattern is _LABELLED)
    return None if is_time or len(label.split()) > MAX_LABEL_WORDS or label.lower() in ("http", "https") else match


def _alternate(lines: list[str]) -> tuple[list[Turn], dict[str, int]]:
    """Each line is a turn of the other one of two speakers. If there are dashes, a line without one continues the turn."""
    dashed = any(_DASHED.match(line) for line in lines)
    turns: list[Turn] = []
    for line in lines:
        match = _DASHED.match(line)
        if dashed and match is None and turns:
            turns[-1] = Turn(turns[-1].speaker, f"{turns[-1].utterance} {line}")
        else:
            turns.append(Turn(ALTERNATING_LABELS[len(turns) % 2], match["text"] if match else line))
    return turns, {"alternating_lines": len(turns)}

"""Dialogues as text: tags, turns, the repair of known dirt, noise levels and person-tag strategies."""

import itertools
import re
import unicodedata
from collections import Counter
from dataclasses import dataclass
from typing import Literal

Noise = Literal["minimal", "moderate", "aggressive"]
PersonTags = Literal["keep_original", "simplify", "abstract"]

MAX_CHARACTERS = 50_000  # of a text; the longest real dialogue has 2,275. More is a lost quote or another file

# The competition's published tags: what the models are taught to treat as one token each.
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
# Any tag of the competition's form: speakers, privacy tags, and those outside the published list (#FlightNumber#).
TAG = re.compile(r"#[A-Za-z]+[0-9]*#")

_REPLACEMENT = {"keep_original": "#Person{}#", "simplify": "P{}", "abstract": "화자{}"}
_REPLACED = {
    "simplify": re.compile(r"(?<![0-9A-Za-z])P([1-9])(?![0-9A-Za-z])"),
    "abstract": re.compile(r"화자([1-9])(?![0-9])"),
}

_LITERAL_NEWLINE = re.compile(r"(?:\\r)?\\n")
_LINE_BREAK = re.compile(r"\r\n?|[\x0b\x0c\x85\u2028\u2029]")
_BACKSPACE = re.compile(r"\x08")
_DAMAGE = re.compile(r"[\x00-\x07\x0e-\x1f\x7f-\x84\x86-\x9f\ufffd]")
_INVISIBLE = re.compile(r"[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]")
# Many signs in a row, as combining marks are: more than 30 of those are no text (UAX #15), and slow to put in order.
_SIGNS = re.compile(r"[^\w\s!-~][^\w\s!-~]{30,}")
_SPACES = re.compile(r"[^\S\n]+")
_WHOLE_TAG = r"#Person[1-9]#"  # as it should be: found first, so that its hashes are nobody else's
_TRANSLATED_TAG = re.compile(rf"{_WHOLE_TAG}|#(?:사람|화자|인물)[ \t]?([1-9])#")
_LOOSE_TAG = re.compile(
    rf"{_WHOLE_TAG}"
    r"|(?i:(?:(?<![0-9A-Za-z])#[ \t]?)?(?<![0-9A-Za-z])person[ \t]?([1-9])(?![0-9A-Za-z])(?:#|[ \t]#(?![0-9A-Za-z가-힣]))?)"
)
_OTHER_SPEAKER = re.compile(r"#Person(?:0|[1-9][0-9]+|)#\s*[:\uff1a]")
_TURN = re.compile(r"(#Person[1-9]#)\s*[:\uff1a]")  # the colon may stand on the next line

# ㅇㅋ, ㅊㅋ and ㅎㄷㄷ are words, not laughter; in ㅇㅋㅋㅋ it begins behind the word. A run is tried at its start alone:
# else a long one before a ㄷ would be run through from each of its letters.
_LAUGHTER = re.compile(r"(?:(?<![ㄱ-ㅎ])|(?<=[ㄱ-ㅊㅌㅍ][ㅋㅎ]))[ㅋㅎ]++(?![ㄱ-ㅊㅌㅍ])")
_TEARS = re.compile(r"[ㅠㅜ]+")
_REPEATED = re.compile(r"([!?~,…])\1+|\.{2,}|([ㄱ-ㅎㅏ-ㅣ])\2+")
_EMOJI = re.compile(r"[\u2190-\u21ff\u2300-\u27bf\u2b00-\u2bff\ufe0e\ufe0f\U0001f000-\U0001faff]+([.,!?~…])?")
_FILLER = re.compile(r"^(?:(?:음|어|아|저기|저|그|뭐|에|흠|글쎄)(?:[,~…]|\.{2,})+[ \t]*)+")


@dataclass(frozen=True)
class Turn:
    speaker: str  # "#Person1#"
    utterance: str


class BadDialogueError(ValueError):
    """A text that no repair makes a dialogue of. The message is the reason, in snake_case."""


def repair(text: str) -> tuple[str, Counter[str]]:
    """Undo the dirt that competition files hold, and count what was undone by kind.

    Handled: decomposed Hangul; CRLF and other line breaks; a literal backslash-n; backspace characters; invisible
    characters; no-break and doubled spaces, spaces at the ends of lines; tags that were translated (#사람1#) or lost
    hashes or case (Person1, #person1#).

    Raises:
        BadDialogueError: too_long (MAX_CHARACTERS), control_character (others, and U+FFFD: text was lost before it came
            here), or combining_marks (more than 30 in a row).
    """
    changed: Counter[str] = Counter()

    def apply(kind: str, new: str) -> None:
        nonlocal text
        changed[kind] += new != text
        text = new

    if len(text) > MAX_CHARACTERS:
        raise BadDialogueError("too_long")
    if _DAMAGE.search(text):
        raise BadDialogueError("control_character")
    apply("backspace", _BACKSPACE.sub("", text))  # first what hides in the middle of something else
    apply("invisible_character", _INVISIBLE.sub("", text))
    if any(_piled(signs) for signs in _SIGNS.findall(text)):
        raise BadDialogueError("combining_marks")
    apply("decomposed_hangul", unicodedata.normalize("NFC", text))
    apply("line_break", _LINE_BREAK.sub("\n", text))
    apply("literal_newline", _LITERAL_NEWLINE.sub("\n", text))
    apply("spaces", "\n".join(line.strip() for line in _SPACES.sub(" ", text).split("\n")).strip())
    apply("translated_tag", _TRANSLATED_TAG.sub(_tag, text))
    apply("tag_without_hashes", _LOOSE_TAG.sub(_tag, text))
    return text, +changed


def _tag(match: re.Match[str]) -> str:
    return f"#Person{match[1]}#" if match[1] else match[0]


def _piled(signs: str) -> bool:
    """Whether more than 30 combining marks follow one another."""
    runs = itertools.groupby(signs, lambda sign: unicodedata.combining(sign) > 0)
    return any(marks and len(list(run)) > 30 for marks, run in runs)


def parse(text: str) -> tuple[list[Turn], Counter[str]]:
    """The turns of a repaired dialogue, and what was unusual about it.

    A turn starts at every tag with a colon, also in the middle of a line. A line without one belongs to the turn before
    it (before the first turn: to the first). A tag without a colon is part of what is said.

    Raises:
        BadDialogueError: empty_dialogue, unknown_speaker (#Person10#: tags go from 1 to 9), no_speaker (no tag with a colon
            at all), or nothing_said.
    """
    if not text:
        raise BadDialogueError("empty_dialogue")
    if _OTHER_SPEAKER.search(text):
        raise BadDialogueError("unknown_speaker")
    seen: Counter[str] = Counter()
    lead, *parts = _TURN.split(text)
    if not parts:
        raise BadDialogueError("no_speaker")
    turns = []
    for at, (speaker, said) in enumerate(zip(parts[::2], parts[1::2], strict=True)):
        lines = [line.strip() for line in said.strip().split("\n") if line.strip()]
        seen["line_without_speaker"] += len(lines) > 1
        seen["two_speakers_on_a_line"] += "\n" not in said and at < len(parts) // 2 - 1
        if at == 0 and lead.strip():
            seen["line_without_speaker"] += 1
            lines.insert(0, " ".join(lead.split()))
        if lines:
            turns.append(Turn(speaker, " ".join(lines)))
        else:
            seen["empty_turn"] += 1
    if not turns:
        raise BadDialogueError("nothing_said")
    return turns, +seen


def clean(utterance: str, noise: Noise) -> str:
    """One utterance (or summary) at a noise level.

    minimal leaves it; moderate writes laughter and tears as words (ㅋㅋ → 웃음, ㅠㅠ → 슬픔); aggressive also drops
    fillers at the start (음, 어…), emoji, and all but one of repeated marks.
    """
    if noise == "minimal":
        return utterance
    text = _TEARS.sub(" 슬픔 ", utterance)
    if "ㅋ" in text or "ㅎ" in text:  # to look for one of them first is much faster
        text = _LAUGHTER.sub(" 웃음 ", text)
    if noise == "aggressive":
        text = _EMOJI.sub(lambda m: m[1] or " ", text)
        text = _FILLER.sub("", text.strip())
        text = _REPEATED.sub(lambda m: m[1] or m[2] or ".", text)
    text = re.sub(r"(?<=웃음|슬픔) (?=[.,!?~…])", "", re.sub(r"\s+", " ", text).strip())
    return text or utterance  # an utterance of nothing but noise stays


def replace_person_tags(text: str, strategy: PersonTags) -> str:
    """`text` with #Person1# written as the strategy has it: as it is, "P1" (simplify) or "화자1" (abstract)."""
    return SPEAKER_TAG.sub(lambda m: _REPLACEMENT[strategy].format(m[1]), text)


def restore_person_tags(text: str, strategy: PersonTags) -> str:
    """The inverse of `replace_person_tags`, for what a model wrote."""
    return text if strategy == "keep_original" else _REPLACED[strategy].sub(r"#Person\1#", text)


def holds_replaced_tag(text: str, strategy: PersonTags) -> bool:
    """Whether the strategy could not be undone: `text` already holds what it writes, or a digit or letter touches a tag."""
    return restore_person_tags(replace_person_tags(text, strategy), strategy) != text


def to_text(turns: list[Turn]) -> str:
    """One line a turn: "#Person1#: …"."""
    return "\n".join(f"{turn.speaker}: {turn.utterance}" for turn in turns)


def without_tags(text: str) -> str:
    """`text` without its speaker and privacy tags (each leaves a space)."""
    return TAG.sub(" ", text)


def copies(prediction: str, dialogue: str) -> bool:
    """Whether a prediction is a piece of its dialogue: it has two speaker lines, or 20 characters and more stand there."""
    if len(_TURN.findall(prediction)) >= 2:
        return True
    bare = "".join(prediction.split())
    return len(bare) >= 20 and bare in "".join(dialogue.split())

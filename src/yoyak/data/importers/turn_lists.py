"""Lists of utterances in JSON: `[{"speaker": "SD1", "utterance": "…"}, …]`, with the key names that corpora use."""

from collections.abc import Mapping, Sequence
from typing import Any

from yoyak.data.dialogue import Turn
from yoyak.data.importers.base import Record
from yoyak.system.invisible import is_blank

SPEAKER_KEYS = (
    "speaker",
    "speaker_id",
    "speakerid",
    "participantid",
    "participant_id",
    "participant",
    "role",
    "from",
    "name",
    "user",
    "author",
    "화자",
)
TEXT_KEYS = ("utterance", "form", "text", "content", "message", "value", "sentence", "dialog", "original_form", "발화", "대화")


def text_of(value: object) -> str:
    """A JSON value as the text of a cell: lists are joined by commas, null is empty."""
    if value is None:
        return ""
    if isinstance(value, list | tuple):
        return ", ".join(filter(None, map(text_of, value)))
    return value if isinstance(value, str) else str(value)


def find_key(item: Mapping[str, Any], names: Sequence[str]) -> str | None:
    """The key of `item` that is one of `names` in any case; the first of `names` wins."""
    by_lower = {str(key).lower(): key for key in reversed(list(item))}
    return next((by_lower[name] for name in names if name in by_lower), None)


def is_turn_list(value: object) -> bool:
    """Whether a JSON value is a list of utterances."""
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict) and find_key(value[0], TEXT_KEYS) is not None


def _label(value: object) -> str:
    """The label of a speaker, who may be an object such as {"id": "1", "age": "20대"}."""
    if isinstance(value, dict):
        key = find_key(value, ("id", "name", *SPEAKER_KEYS))
        value = value[key] if key else None
    return " ".join(text_of(value).split())


def add_turns(record: Record, items: Sequence[Any], *, speaker: str | None = None, utterance: str | None = None) -> Record:
    """Add the turns of a list of utterances to a record. A list that cannot be used sets the record's problem.

    Args:
        record: gets the turns.
        items: the list.
        speaker: the key of the speaker, if it is known.
        utterance: the key of the text, if it is known.

    Returns:
        `record`.
    """
    for number, item in enumerate(items, 1):
        if not isinstance(item, dict):
            record.problem, record.found = "bad_utterance", f"utterance {number}: {text_of(item)[:40]}"
            return record
        text_key = utterance if utterance in item else find_key(item, TEXT_KEYS)
        speaker_key = speaker if speaker in item else find_key(item, SPEAKER_KEYS)
        text = text_of(item[text_key]) if text_key else ""
        label = _label(item[speaker_key]) if speaker_key else ""
        if is_blank(text):
            record.counts["empty_utterance"] = record.counts.get("empty_utterance", 0) + 1
        elif is_blank(label):
            record.problem, record.found = "utterance_without_speaker", f"utterance {number}: {text[:40]}"
            return record
        else:
            record.turns.append(Turn(label, text))
    if not record.turns:
        record.problem = "empty_dialogue"
    return record

"""How speaker tags are written for a model, and back in its summaries (param preprocess.person_tags)."""

import re
from typing import Literal

from yoyak.data.dialogue import SPEAKER_TAG, BadDialogueError

PersonTags = Literal["keep_original", "simplify", "abstract"]

_REPLACEMENT = {"keep_original": "#Person{}#", "simplify": "P{}", "abstract": "화자{}"}
_REPLACED = {
    "simplify": re.compile(r"(?<![0-9A-Za-z])P([1-9][0-9]?)(?![0-9A-Za-z])"),
    "abstract": re.compile(r"화자([1-9][0-9]?)(?![0-9])"),
}


def speaker_pattern(strategy: PersonTags) -> re.Pattern[str]:
    """Finds what the strategy writes for a speaker."""
    return SPEAKER_TAG if strategy == "keep_original" else _REPLACED[strategy]


def replace_person_tags(text: str, strategy: PersonTags) -> str:
    """`text` with #Person1# as the strategy writes it: unchanged, "P1" (simplify) or "화자1" (abstract)."""
    return SPEAKER_TAG.sub(lambda match: _REPLACEMENT[strategy].format(match[1]), text)


def restore_person_tags(text: str, strategy: PersonTags) -> str:
    """The inverse of `replace_person_tags`, for what a model writes."""
    return text if strategy == "keep_original" else _REPLACED[strategy].sub(r"#Person\1#", text)


def replace_reversibly(text: str, strategy: PersonTags) -> str:
    """As `replace_person_tags`, if the tags can be restored afterwards.

    Raises:
        BadDialogueError: simplify_could_not_be_undone or abstract_could_not_be_undone, if `text` already contains what the
            strategy writes, or a digit or letter touches a tag.
    """
    replaced = replace_person_tags(text, strategy)
    if restore_person_tags(replaced, strategy) != text:
        raise BadDialogueError(f"{strategy}_could_not_be_undone")
    return replaced

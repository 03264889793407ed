"""What chat models write around the text that they were asked for."""

import re

from yoyak.evaluation.artefacts import RULES

_HEADING = re.compile(r"\A(?:[#*\s]*\[?(?:원문|대화|요약문?|다시 쓴 대화|다시 쓴 요약문?|번역|결과)\]?[*\s]*[:：]?\s*\n)+")
_ROLE_LINE = re.compile(r"(?m)^[ \t]*(?:[-*•][ \t]+|\*\*)?(#Person[0-9]+#)(?:\*\*)?[ \t]*[:：](?:\*\*)?")


def without_reasoning(text: str) -> str:
    """The answer without its reasoning (<think>…</think>) and code fences."""
    return RULES["code_fence"](RULES["reasoning"](text)).strip()


def without_heading(answer: str) -> str:
    """The answer without a heading such as "[대화]" or "**요약문**" on a line of its own."""
    return _HEADING.sub("", answer).strip()


def dialogue_of(answer: str) -> str:
    """The dialogue of an answer: without a heading such as "[대화]", and without bold type or bullets at the speaker tags."""
    return _ROLE_LINE.sub(r"\1:", without_heading(answer))

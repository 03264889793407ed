"""What the judge is asked about one summary, and reading its answer. Nothing here sends anything.

A summary can contain text that speaks to the judge ("give five points"). So the texts stand between tags that they cannot
close: the tags hold a hash of the texts, which no text can contain of itself, and < and > in the texts are replaced. The system
message says that whatever stands there is data. Each summary is graded alone, so that no order of candidates has an effect.
"""

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from yoyak.evaluation import judge_rubric
from yoyak.evaluation.artefacts import RULES

# They look alike, and neither a tag nor a control token such as </s> or <|im_end|> can be written with them.
_HARMLESS = str.maketrans({"<": "＜", ">": "＞"})
_HASH_DIGITS = 12


def judge_messages(dialogue: str, summary: str, *, attempt: int = 0) -> list[dict[str, str]]:
    """The messages that ask for the grades of one summary.

    Args:
        dialogue: the dialogue, with tags.
        summary: its summary.
        attempt: how many answers to this question could not be read.
    """
    dialogue, summary = dialogue.translate(_HARMLESS), summary.translate(_HARMLESS)
    mark = hashlib.sha256(json.dumps([dialogue, summary]).encode()).hexdigest()[:_HASH_DIGITS]
    system = judge_rubric.SYSTEM
    if attempt:
        system = f"{system}\n\n{judge_rubric.REMINDER.format(number=attempt)}"
    question = "\n".join(
        [
            *(f"<dialogue-{mark}>", dialogue, f"</dialogue-{mark}>", ""),
            *(f"<summary-{mark}>", summary, f"</summary-{mark}>", ""),
            judge_rubric.QUESTION,
        ]
    )
    return [{"role": "system", "content": system}, {"role": "user", "content": question}]


def read_grades(answer: str, *, finished: bool) -> dict[str, int] | str:
    """The grade of each dimension, or why the answer cannot be used.

    Args:
        answer: what the judge wrote. Reasoning (<think>) and a code fence around the object are left out.
        finished: whether it ended by itself, not at the limit of tokens.
    """
    text = RULES["code_fence"](RULES["reasoning"](answer)).strip()
    objects = list(_objects(text))
    if not objects:
        return "no_object" if finished else "cut_off"
    if len(objects) > 1:
        return "several_objects"
    grades: dict[str, int] = {}
    for dimension in judge_rubric.DIMENSIONS:
        if dimension not in objects[0]:
            return "missing_dimension"
        grade = _whole(objects[0][dimension])
        if grade is None or not judge_rubric.LOWEST <= grade <= judge_rubric.HIGHEST:
            return "no_grade"
        grades[dimension] = grade
    return grades


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """The outermost JSON objects in a text."""
    decoder, start = json.JSONDecoder(), text.find("{")
    while start >= 0:
        try:
            found, end = decoder.raw_decode(text, start)
            yield found
        except ValueError:
            end = start + 1
        start = text.find("{", end)


def _whole(value: Any) -> int | None:
    """4 for 4, 4.0 and "4"."""
    if isinstance(value, str) and value.strip().isdecimal():
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value // 1:
        return None
    return int(value)

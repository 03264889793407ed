"""What a text model wrote, or why it wrote nothing that can be used."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

Fault = Literal["empty_answer", "unfinished_answer", "too_long_for_the_model", "answer_refused"]

FAULTS: Mapping[str, str] = {
    "empty_answer": "the model wrote nothing",
    "unfinished_answer": "the model did not end its text within the limit of tokens",
    "too_long_for_the_model": "the text and its answer have more tokens than the model has positions",
    "answer_refused": "the content filter of the server refused, or the model wrote only reasoning",
}


@dataclass(frozen=True)
class Written:
    """A text, or a fault. A text with a fault must not be used.

    Attributes:
        text: without spaces around it.
        fault: a key of FAULTS; None if the text can be used.
    """

    text: str
    fault: Fault | None = None

    @classmethod
    def of(cls, text: str, *, finished: bool) -> Self:
        """A text that a model wrote, up to its end or up to the limit of tokens."""
        text = text.replace("\ufffd", "").strip()
        return cls(text, "empty_answer" if not text else None if finished else "unfinished_answer")

    def as_json(self) -> list[Any]:
        return [self.text, self.fault]

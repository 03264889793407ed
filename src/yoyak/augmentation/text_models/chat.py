"""Language models that answer messages: here (`local`) or behind an OpenAI-compatible API (`endpoint`)."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from yoyak.augmentation.text_models.written import Written


@dataclass(frozen=True)
class Question:
    """What is asked.

    Attributes:
        name: of the row, for messages.
        messages: role and content of each.
        seed: of sampling; another one gives another answer to the same messages.
    """

    name: str
    messages: tuple[Mapping[str, str], ...]
    seed: int


class ChatModel(Protocol):
    """A language model.

    Attributes:
        name: its checkpoint, or its name on the server.
    """

    name: str

    def answer(self, questions: Sequence[Question]) -> list[Written]:
        """One answer for each question, without what a model wrote while it reasoned.

        What was answered before, also by a run that was interrupted, is not computed or paid again.

        Raises:
            YoyakError: if the model cannot be loaded, or the server or the budget ends the work.
        """

    def report(self) -> dict[str, Any]:
        """Facts for metrics/augment.json: the model, and what all answers together took."""


def ask(name: str, text: str, *, seed: str, system: str | None = None) -> Question:
    """A question of one message, and perhaps a system message. `seed` is any text."""
    messages = [{"role": "system", "content": system}] if system else []
    return Question(name, (*messages, {"role": "user", "content": text}), number_of(seed))


def number_of(seed: str) -> int:
    """A number below 2**31 that depends on a text."""
    return int.from_bytes(hashlib.sha256(seed.encode()).digest()[:4]) & 0x7FFFFFFF

"""A workspace for methods that use models, and models of the tests' own that answer by a rule."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.conftest import DIALOGUES, SUMMARIES
from yoyak.augmentation.base import Row
from yoyak.augmentation.text_models.chat import Question
from yoyak.augmentation.text_models.written import Written
from yoyak.augmentation.workspace import Workspace
from yoyak.config.params import parse_params

TRAIN: list[Row] = [
    {"fname": f"train_{number}", "dialogue": dialogue, "summary": summary, "topic": f"화제 {number}"}
    for number, (dialogue, summary) in enumerate(zip(DIALOGUES, SUMMARIES, strict=True))
]


def workspace(values: dict[str, Any], folder: Path, **changes: Any) -> Workspace:
    """A workspace. `changes` are sections of augment, such as writer={"temperature": 0.0}."""
    for name, section in changes.items():
        values["augment"][name] |= section
    params = parse_params(values, source="test")
    return Workspace(params.augment.seed, params, folder)


@dataclass
class FakeWriter:
    """A language model that answers by a rule, and remembers what it was asked."""

    rule: Callable[[str], str | Written]
    asked: list[Question] = field(default_factory=list)
    name: str = "fake"

    def answer(self, questions: Sequence[Question]) -> list[Written]:
        self.asked += questions
        answers = [self.rule(question.messages[-1]["content"]) for question in questions]
        return [one if isinstance(one, Written) else Written.of(one, finished=True) for one in answers]

    def report(self) -> dict[str, Any]:
        return {"model": self.name}


def text_of(question: str) -> str:
    """The text that a question asks to rewrite: what stands behind the rules, and behind a heading."""
    return re.sub(r"\A\[[^\]]+\]\n", "", question.rpartition("붙이지 않습니다.\n\n")[2])


@dataclass
class FakeTranslator:
    """Translates letter by letter: Hangul becomes other Hangul, so that a round trip gives other words with the same tags."""

    checkpoint: str = "fake"
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    rule: Callable[[str, str], str] = lambda text, target: text + ("!" if target.startswith("ko") else "")

    def translate(self, texts: Sequence[str], *, source: str, target: str) -> list[Written]:
        self.asked += [(source, target, text) for text in texts]
        return [Written.of(self.rule(text, target), finished=True) for text in texts]

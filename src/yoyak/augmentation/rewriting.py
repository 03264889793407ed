"""What paraphrase and back_translation share: which part of a row is rewritten, and the check of what comes back."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from yoyak.augmentation.base import Candidate, FilterName, Method, Refusal, Task
from yoyak.augmentation.protection import REASONS as PROTECTION_REASONS
from yoyak.augmentation.protection import check_dialogue, check_text
from yoyak.augmentation.text_models.answers import dialogue_of, without_heading
from yoyak.augmentation.text_models.written import FAULTS, Fault
from yoyak.data.dialogue import BadDialogueError, parse, to_text
from yoyak.evaluation.artefacts import remove_artefacts

Kind = Literal["dialogue", "summary"]


@dataclass(frozen=True)
class Part:
    """A text of a row that is rewritten.

    Attributes:
        task: the row to make.
        kind: whether `text` is its dialogue or its summary.
        text: of the source, with original tags.
    """

    task: Task
    kind: Kind
    text: str


@dataclass(frozen=True)
class Failed:
    """A text that could not be rewritten. `reason` is one of `Rewriting.reasons`."""

    reason: str


class Rewriting(Method):
    """A method that writes a row again in other words, with the tags, the masks and the speakers of its source."""

    filters: ClassVar[tuple[FilterName, ...]] = ("same_tags", "foreign", "language", "length", "rouge")
    reasons: ClassVar[Mapping[str, str]] = {**FAULTS, **PROTECTION_REASONS}
    batch_size: ClassVar[int] = 200

    @abstractmethod
    def rewrite(self, parts: Sequence[Part]) -> list[str | Failed]:
        """The texts in other words, in order. Tags and masks are checked afterwards."""

    def details_of(self, task: Task) -> dict[str, Any]:
        """For the field `details` of the row."""
        return {}

    def write(self, tasks: Sequence[Task]) -> list[Candidate | Refusal]:
        kinds: tuple[Kind, ...] = ("dialogue", "summary") if self.settings.of == "both" else (self.settings.of,)
        parts = [Part(task, kind, task.source[kind]) for task in tasks for kind in kinds]
        rewritten = [_checked(part, text) for part, text in zip(parts, self.rewrite(parts), strict=True)]
        rows = zip(tasks, (rewritten[start : start + len(kinds)] for start in range(0, len(parts), len(kinds))), strict=True)
        return [self._row(task, dict[str, str | Failed](zip(kinds, texts, strict=True))) for task, texts in rows]

    def _row(self, task: Task, texts: Mapping[str, str | Failed]) -> Candidate | Refusal:
        for text in texts.values():
            if isinstance(text, Failed):
                return Refusal(text.reason)
        new: dict[str, Any] = {**task.source}
        new.update(texts)
        return Candidate(new["dialogue"], new["summary"], new["topic"], details=self.details_of(task))


def _checked(part: Part, written: str | Failed) -> str | Failed:
    """A rewritten text in the form of a row's, if it has the tags of its source."""
    if isinstance(written, Failed):
        return written
    try:
        if part.kind == "dialogue":
            dialogue = dialogue_of(written)
            check_dialogue(part.text, dialogue)
            return to_text(parse(dialogue)[0])
        summary = " ".join(remove_artefacts(without_heading(written))[0].split())
        check_text(part.text, summary)
    except BadDialogueError as error:
        return Failed(str(error))
    return summary or Failed(_EMPTY)


_EMPTY: Fault = "empty_answer"

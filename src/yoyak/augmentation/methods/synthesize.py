"""New dialogues with summaries that a language model writes after examples from train."""

import random
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar

from yoyak.augmentation.base import Candidate, FilterName, Method, Refusal, Row, Task, rows_by_rate
from yoyak.augmentation.similar_rows import SimilarRows
from yoyak.augmentation.synthetic_format import REASONS, Shape, prompt_of, read_answer
from yoyak.augmentation.text_models.chat import ChatModel, ask
from yoyak.augmentation.text_models.writer import check_writer, open_chat_model
from yoyak.augmentation.text_models.written import FAULTS, Written
from yoyak.data.dialogue import BadDialogueError
from yoyak.data.masking import Masker
from yoyak.system.errors import YoyakError


class Synthesize(Method):
    """Asks `augment.writer` for a new dialogue and its summary.

    The first source of a task gives the topic, the number of speakers and the number of turns, so that these have the
    distribution of train. Its texts are not shown. The other sources are the examples.
    """

    name = "synthesize"
    filters: ClassVar[tuple[FilterName, ...]] = ("known_tags", "foreign", "language")
    reasons: ClassVar[Mapping[str, str]] = {
        **FAULTS,
        **REASONS,
        "copy_of_train": "the dialogue is almost one of train",
        "copy_of_synthetic": "the dialogue is almost one that was written before",
    }
    batch_size: ClassVar[int] = 200

    @cached_property
    def writer(self) -> ChatModel:
        return open_chat_model(self.workspace)

    def tasks(self, train: Sequence[Row]) -> list[Task]:
        count = self.settings.examples
        if len(train) <= count:
            raise YoyakError(f"augment.synthesize.examples: {count} examples need more than {len(train)} train rows")
        self._train = SimilarRows(row["dialogue"] for row in train)
        self._written = SimilarRows()
        tasks = []
        for task in rows_by_rate(train, self.settings.rate, seed=f"{self.workspace.seed} {self.name}"):
            random_ = random.Random(f"{self.workspace.seed} {self.name} examples {task.copy} {task.source['fname']}")
            drawn = [row for row in random_.sample(train, count + 1) if row["fname"] != task.source["fname"]]
            tasks.append(Task((task.source, *drawn[:count]), task.copy))
        return tasks

    def write(self, tasks: Sequence[Task]) -> list[Candidate | Refusal]:
        shapes = [Shape.of(task.source) for task in tasks]
        questions = [
            ask(
                task.fname(self.name),
                prompt_of(shape, task.sources[1:]),
                seed=f"{self.workspace.seed} {self.name} {task.copy} {task.source['fname']}",
            )
            for task, shape in zip(tasks, shapes, strict=True)
        ]
        answers = self.writer.answer(questions)
        return [self._row(*items) for items in zip(tasks, shapes, answers, strict=True)]

    def _row(self, task: Task, shape: Shape, answer: Written) -> Candidate | Refusal:
        if answer.fault:
            return Refusal(answer.fault)
        try:
            dialogue, summary = read_answer(self._without_personal_data(answer.text), shape, task.sources[1:])
        except BadDialogueError as error:
            return Refusal(str(error))
        limit = self.workspace.params.augment.filters.near_duplicate
        if self._train.nearest(dialogue) >= limit:
            return Refusal("copy_of_train")
        if self._written.nearest(dialogue) >= limit:
            return Refusal("copy_of_synthetic")
        self._written.add(dialogue)
        return Candidate(dialogue, summary, shape.topic, details={"writer": self.writer.name})

    def _without_personal_data(self, text: str) -> str:
        """Numbers of telephones, cards … of the examples or invented ones, as tags of the data: #PhoneNumber#."""
        if not self.workspace.params.prompt.mask:
            return text
        masker = Masker()
        masked = masker.mask(text)
        for placeholder in masker.originals:
            masked = masked.replace(placeholder, re.sub(r"[0-9]+", "", placeholder))
        return masked

    def check(self) -> str:
        return check_writer(self.workspace)

    def report(self) -> dict[str, Any]:
        return {"writer": self.writer.report()}  # of all methods together


METHOD = Synthesize

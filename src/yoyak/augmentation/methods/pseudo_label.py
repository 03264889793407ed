"""Summaries for dialogues that have none, by a model that was trained before."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from yoyak.augmentation.base import Candidate, FilterName, Method, Refusal, Row, Task
from yoyak.augmentation.similar_rows import SimilarRows
from yoyak.augmentation.unlabelled import read_unlabelled
from yoyak.data.cleaning import clean_dialogue
from yoyak.data.dialogue import BadDialogueError, copies
from yoyak.data.near_duplicates import THRESHOLD
from yoyak.data.raw_dialogues import prepare_dialogue
from yoyak.system.invisible import is_blank
from yoyak.system.text_files import counted

if TYPE_CHECKING:
    from yoyak.augmentation.teacher import Teacher
    from yoyak.inference.outputs import Output


@dataclass(frozen=True)
class Prepared:
    """A dialogue with original tags, and the row that the teacher reads."""

    dialogue: str
    read: dict[str, str]


# Why a summary of a teacher is not used.
OUTPUT_REASONS = {
    "empty_summary": "the model wrote nothing",
    "unfinished_summary": "the model did not end its summary within the limit of tokens",
    "broken_summary": "the summary has bytes that form no character",
    "copied_summary": "the summary is a part of the dialogue",
}


class PseudoLabel(Method):
    """Draws dialogues from the files and lets the model summarize them (self-training, Yarowsky 1995).

    Dialogues of dev and test, and those that are almost the same, are refused before the model reads them, whatever the filters
    allow.
    """

    name = "pseudo_label"
    takes_train_rows = False
    filters: ClassVar[tuple[FilterName, ...]] = ("known_tags", "foreign", "language")
    reasons: ClassVar[Mapping[str, str]] = {
        "not_a_dialogue": "the text has no speaker tag with a colon, or nothing is said",
        "in_dev_or_test": "dev or test has this dialogue, or almost this one",
        "in_train": "train has this dialogue, or almost this one",
        "same_dialogue": "the files have this dialogue, or almost this one, before",
        **OUTPUT_REASONS,
    }
    batch_size: ClassVar[int] = 256

    @property
    def model(self) -> str:
        """Folder of the teacher."""
        return str(self.settings.model)

    @cached_property
    def teacher(self) -> "Teacher":
        from yoyak.augmentation.teacher import Teacher
        from yoyak.system import hardware

        hardware.configure_cpu(self.workspace.params.hardware.cpu_threads)
        return Teacher(Path(self.model), self.workspace.kept("pseudo_label"))

    def tasks(self, train: Sequence[Row]) -> list[Task]:
        _ = self.teacher  # a wrong model is told before the dialogues are read
        self._train = SimilarRows(row["dialogue"] for row in train)
        self._drawn = SimilarRows()
        rows = read_unlabelled(Path(self.settings.dialogues))
        count = min(len(rows), round(self.settings.rate * len(train)))
        places = sorted(random.Random(f"{self.workspace.seed} {self.name}").sample(range(len(rows)), count))
        return [
            Task(({"fname": row.fname, "dialogue": row.dialogue, "summary": "", "topic": row.topic},))
            for row in (rows[place] for place in places)
        ]

    def write(self, tasks: Sequence[Task]) -> list[Candidate | Refusal]:
        prepared = [self._prepare(task.source) for task in tasks]
        outputs = iter(self.teacher.write([one.read for one in prepared if isinstance(one, Prepared)]))
        return [
            one if isinstance(one, Refusal) else _row(task, one.dialogue, next(outputs))
            for task, one in zip(tasks, prepared, strict=True)
        ]

    def _prepare(self, source: Row) -> "Prepared | Refusal":
        try:
            dialogue, _ = clean_dialogue(source["dialogue"], self.workspace.params.preprocess.noise)
            read, _ = prepare_dialogue(source["dialogue"], self.teacher.params.preprocess)
        except BadDialogueError:
            return Refusal("not_a_dialogue")
        limit = min(THRESHOLD, self.workspace.params.augment.filters.near_duplicate)
        if self.workspace.shared("evaluation", SimilarRows).nearest(dialogue) >= limit:
            return Refusal("in_dev_or_test")
        if self._train.nearest(dialogue) >= limit:
            return Refusal("in_train")
        if self._drawn.nearest(dialogue) >= limit:
            return Refusal("same_dialogue")
        self._drawn.add(dialogue)
        return Prepared(dialogue, {"dialogue": read, "topic": source["topic"]})

    def check(self) -> str:
        _ = self.teacher
        return f"({self.model}; {counted(len(read_unlabelled(Path(self.settings.dialogues))), 'dialogue')})"

    def report(self) -> dict[str, Any]:
        return {"model": self.model, "fingerprint": self.teacher.fingerprint}


def _row(task: Task, dialogue: str, output: "Output") -> Candidate | Refusal:
    summary = " ".join(output.text.split())
    if is_blank(summary):
        return Refusal("empty_summary")
    if output.hit_limit:
        return Refusal("unfinished_summary")
    if output.broken:
        return Refusal("broken_summary")
    if copies(summary, dialogue):
        return Refusal("copied_summary")
    return Candidate(dialogue, summary, task.source["topic"])


METHOD = PseudoLabel

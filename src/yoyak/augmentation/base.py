"""The interface of an augmentation method."""

import random
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from yoyak.augmentation.workspace import Workspace

Row = Mapping[str, str]  # a processed row with original tags: fname, dialogue, summary, topic
# What `Filters` checks beside the rules for all methods (`filters.py` explains each).
FilterName = Literal["rouge", "length", "same_tags", "known_tags", "foreign", "language"]


@dataclass(frozen=True)
class Task:
    """One row to make.

    Attributes:
        sources: the rows that it is made from, at least one. The first gives the new row its name.
        copy: 0 for the first row that a method makes from these sources, 1 for the second …
    """

    sources: tuple[Row, ...]
    copy: int = 0

    @property
    def source(self) -> Row:
        return self.sources[0]

    def fname(self, method: str) -> str:
        """The name of the new row: "train_17+noise", and for later copies "train_17+noise-2"."""
        return f"{self.source['fname']}+{method}" + (f"-{self.copy + 1}" if self.copy else "")


@dataclass(frozen=True)
class Candidate:
    """A row that a method made, with original tags. The filters decide whether it is kept.

    Attributes:
        dialogue: one turn on each line, as `dialogue.to_text` writes it.
        summary: on one line.
        topic: as in the source; may be empty.
        instruction: index into INSTRUCTIONS; only the method `templates` sets another than 0.
        details: what the method did, for the field `details` of the row. JSON values.
    """

    dialogue: str
    summary: str
    topic: str = ""
    instruction: int = 0
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Refusal:
    """A method can make no row of this task. `reason` is in snake_case and is counted, such as "one_speaker"."""

    reason: str


class Method(ABC):
    """Makes new train rows from train rows.

    To add a method called NAME:

    1. Write `src/yoyak/augmentation/methods/NAME.py` with a subclass of Method, and the line `METHOD = ThatSubclass`. Import
       heavy packages inside its functions: the interface must stay cheap to import.
    2. Add "NAME" to `METHODS` in `methods/__init__.py`. New rows stand in that order.
    3. Add a section with the field `rate` to `Augment` in `yoyak/config/augment_section.py`, and to params.yaml with `rate: 0`.
    4. Run `yoyak deps --write` and `python docs/generate_reference.py`.

    The same tasks, settings and seed must give the same results, whatever was done before. Take random numbers of `random_of`.
    A method that is slow or costs money keeps each finished result with `self.workspace.kept(…)`, so that an interrupted stage,
    or another experiment with the same settings, does not make it again.
    """

    name: ClassVar[str]  # key in section augment; the name of the module
    filters: ClassVar[tuple[FilterName, ...]]  # that apply to its rows
    reasons: ClassVar[Mapping[str, str]] = {}  # its own reasons for a Refusal, each with an explanation
    batch_size: ClassVar[int] = 100  # tasks that `write` gets at a time, at most
    takes_train_rows: ClassVar[bool] = True  # False: `tasks` has other sources (unlabelled dialogues), which are checked too

    @property
    def replaces_source(self) -> bool:
        """Whether a new row takes the place of its source in the training."""
        return False

    def __init__(self, settings: Any, workspace: Workspace) -> None:
        """Keep the arguments; nothing is loaded yet.

        Args:
            settings: the section augment.NAME.
            workspace: seed, params, and a place for finished results.
        """
        self.settings = settings
        self.workspace = workspace

    def tasks(self, train: Sequence[Row]) -> list[Task]:
        """The rows to make: by default each train row `settings.rate` times (`rows_by_rate`)."""
        return rows_by_rate(train, self.settings.rate, seed=f"{self.workspace.seed} {self.name}")

    @abstractmethod
    def write(self, tasks: Sequence[Task]) -> list[Candidate | Refusal]:
        """Make the rows of some tasks.

        Args:
            tasks: at most `batch_size` of those that `tasks` returned, in their order.

        Returns:
            One result for each task, in order.

        Raises:
            YoyakError: for what the user must correct: a missing checkpoint, a key, an address.
        """

    def check(self) -> str:
        """For `yoyak doctor`: check without loading a model that the method can work, and say with what, in brackets.

        Raises:
            YoyakError: for what the user must correct: a missing checkpoint, a key, a file.
        """
        return ""

    def report(self) -> dict[str, Any]:
        """Further facts for metrics/augment.json after the last batch, such as the price of answers."""
        return {}

    def random_of(self, task: Task) -> random.Random:
        """Random numbers of a task, which depend on the seed, the method, the sources and the copy alone."""
        names = " ".join(row["fname"] for row in task.sources)
        return random.Random(f"{self.workspace.seed} {self.name} {task.copy} {names}")


def rows_by_rate(train: Sequence[Row], rate: float, *, seed: str) -> list[Task]:
    """Tasks for `rate` × rows: each row floor(rate) times, and a random part of the rows once more.

    A higher rate keeps the tasks of a lower one. The copies of a row follow each other, in the order of the rows.
    """
    whole, part = divmod(rate, 1)
    order = list(range(len(train)))
    random.Random(seed).shuffle(order)
    once_more = set(order[: round(part * len(train))])
    return [
        Task((row,), copy) for index, row in enumerate(train) for copy in range(int(whole) + (1 if index in once_more else 0))
    ]

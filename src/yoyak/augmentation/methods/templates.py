"""The same dialogues with other instructions, for models that are asked by a prompt."""

from collections.abc import Sequence

from yoyak.augmentation.base import Candidate, Method, Refusal, Task


class Templates(Method):
    """Each copy of a row asks with the next one of INSTRUCTIONS; the row of train itself asks with the first."""

    name = "templates"
    filters = ()

    def write(self, tasks: Sequence[Task]) -> list[Candidate | Refusal]:
        return [
            Candidate(task.source["dialogue"], task.source["summary"], task.source["topic"], instruction=task.copy + 1)
            for task in tasks
        ]


METHOD = Templates

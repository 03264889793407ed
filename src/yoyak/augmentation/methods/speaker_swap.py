"""Speakers change places: #Person2# says what #Person1# said, in the dialogue and in its summary."""

import re
from collections.abc import Mapping, Sequence
from typing import ClassVar

from yoyak.augmentation.base import Candidate, Method, Refusal, Task
from yoyak.data.dialogue import SPEAKER_TAG
from yoyak.data.particles import AGREEING, agree

_TAG_AND_PARTICLE = re.compile(rf"{SPEAKER_TAG.pattern}({AGREEING.pattern})?")


class SpeakerSwap(Method):
    """Permutes the speaker tags of a row consistently: no tag keeps its place, and particles agree with the new tags.

    The first speaker of a new row is no longer #Person1#, as it is in real data. So a model may learn less from the order of
    the tags.
    """

    name = "speaker_swap"
    filters = ("known_tags", "foreign")
    reasons: ClassVar[Mapping[str, str]] = {"one_speaker": "the row has only one speaker tag"}

    def write(self, tasks: Sequence[Task]) -> list[Candidate | Refusal]:
        return [self._swap(task) for task in tasks]

    def _swap(self, task: Task) -> Candidate | Refusal:
        row = task.source
        numbers = list(dict.fromkeys(SPEAKER_TAG.findall(row["dialogue"] + row["summary"])))
        if len(numbers) < 2:
            return Refusal("one_speaker")
        # A random order in a ring: each speaker gets the tag of the next one, so that nobody keeps his own.
        self.random_of(task).shuffle(numbers)
        new = dict(zip(numbers, [*numbers[1:], numbers[0]], strict=True))

        def swapped(text: str) -> str:
            return _TAG_AND_PARTICLE.sub(lambda match: _with_number(new[match[1]], match[2] or ""), text)

        details = {"tags": {f"#Person{old}#": f"#Person{new[old]}#" for old in sorted(numbers, key=int)}}
        return Candidate(swapped(row["dialogue"]), swapped(row["summary"]), row["topic"], details=details)


def _with_number(number: str, particle: str) -> str:
    """A tag with the particle behind it: #Person1#은 (일은), but #Person2#는 (이는)."""
    return f"#Person{number}#{agree(number, particle)}"


METHOD = SpeakerSwap

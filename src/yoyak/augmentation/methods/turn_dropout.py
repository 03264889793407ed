"""Turns are left out that share no content word with the summary, so that the summary still says what matters."""

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import ClassVar

from yoyak.augmentation.base import Candidate, Method, Refusal, Task
from yoyak.data.dialogue import Turn, parse, to_text

MIN_TURNS = 2  # that stay
_ENDING = re.compile("([가-힣])게요?(?![가-힣])")
_FINAL_L = "\u11af"  # the final consonant ㄹ


class TurnDropout(Method):
    """Leaves out a random part of the turns without a content word of the summary.

    A question goes only together with its answer, and an answer only with its question. Promises stay, because a summary tells
    them in other words. Each speaker keeps a turn.
    """

    name = "turn_dropout"
    filters = ("known_tags", "foreign")
    reasons: ClassVar[Mapping[str, str]] = {
        "nothing_to_drop": "no turn can be left out: each shares a content word with the summary, belongs to a question or an "
        "answer that does, promises something, or is the only one of its speaker"
    }

    def write(self, tasks: Sequence[Task]) -> list[Candidate | Refusal]:
        return [self._drop(task) for task in tasks]

    def _drop(self, task: Task) -> Candidate | Refusal:
        row = task.source
        turns, _ = parse(row["dialogue"])
        words_of = self.workspace.morphemes.content_words
        wanted = words_of(row["summary"])
        off_topic = [not (wanted & words_of(turn.utterance) or promises(turn.utterance)) for turn in turns]
        groups = droppable(turns, off_topic)
        most = max(1, round(self.settings.share * sum(map(len, groups))))
        dropped: set[int] = set()
        left = Counter(turn.speaker for turn in turns)
        for group in self.random_of(task).sample(groups, len(groups)):
            speakers = Counter(turns[index].speaker for index in group)
            if dropped and len(dropped) + len(group) > most:
                continue
            if left.total() - len(group) >= MIN_TURNS and all(left[name] > count for name, count in speakers.items()):
                left -= speakers
                dropped |= set(group)
        if not dropped:
            return Refusal("nothing_to_drop")
        kept = [turn for index, turn in enumerate(turns) if index not in dropped]
        details = {"dropped": sorted(dropped), "turns": len(turns)}
        return Candidate(to_text(kept), row["summary"], row["topic"], details=details)


def promises(utterance: str) -> bool:
    """Whether an utterance promises something: a verb with the ending -ㄹ게(요), such as 할게 and 먹을게요."""
    return any(unicodedata.normalize("NFD", match[1])[-1] == _FINAL_L for match in _ENDING.finditer(utterance))


def droppable(turns: Sequence[Turn], off_topic: Sequence[bool]) -> list[list[int]]:
    """Groups of turns that can be left out together.

    Args:
        turns: of a dialogue.
        off_topic: for each turn, whether it may go.

    Returns:
        The indices of each group: a question with its answer (which may be a question again), or a turn that is neither. All
        turns of a group are off topic.
    """
    groups: list[list[int]] = []
    group: list[int] = []
    for index, turn in enumerate(turns):
        group.append(index)
        if "?" not in turn.utterance:  # otherwise the next turn answers it
            groups.append(group)
            group = []
    groups += [group] if group else []
    return [group for group in groups if all(off_topic[index] for index in group)]


METHOD = TurnDropout

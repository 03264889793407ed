"""The consensus over the summaries that the members of an ensemble wrote."""

from collections.abc import Sequence
from typing import Any

from yoyak.inference.consensus import UTILITIES, FactPenalty, Weighted, choose
from yoyak.inference.outputs import Output
from yoyak.models.families.ensemble import MemberSummaries, StoredSummaries


class MembersWriter:
    """Takes for each dialogue the summary that agrees most with those of the other members. It is a `backends.base.Writer`."""

    def __init__(self, stored: StoredSummaries) -> None:
        self.stored = stored
        self.utility = UTILITIES[stored.utility]()
        self.penalty = FactPenalty(stored.facts, stored.person_tags)

    def write(self, encoded: Sequence[Any], dialogues: Sequence[str], *, seed: int) -> list[Output]:
        rows: Sequence[MemberSummaries] = encoded
        weighted = [[Weighted(output, 1 / len(row.texts)) for output in _outputs(row)] for row in rows]
        return choose(weighted, self.utility, lambda row, text: self.penalty.of(text, dialogues[row]))

    def report(self) -> dict[str, Any]:
        """For metrics/predict.json."""
        return {"members": len(self.stored.commits), "utility": self.stored.utility, "facts": self.stored.facts}


def _outputs(row: MemberSummaries) -> list[Output]:
    cut_off = [one.cut_off for one in row.written] or [False] * len(row.texts)
    return [Output(text, hit_limit=cut) for text, cut in zip(row.texts, cut_off, strict=True)]

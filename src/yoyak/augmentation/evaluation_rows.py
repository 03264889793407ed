"""The guard of dev and test: how much a new dialogue is like one of theirs."""

from collections.abc import Iterable
from functools import lru_cache

from yoyak.augmentation.similar_rows import SimilarRows

REMEMBERED = 10_000  # dialogues: several methods ask for the same sources


class EvaluationRows(SimilarRows):
    """The dialogues of dev and test. What is like one of them must not train."""

    def __init__(self, dialogues: Iterable[str]) -> None:
        super().__init__(dialogues)
        self._remembered = lru_cache(REMEMBERED)(super().nearest)

    def nearest(self, dialogue: str) -> float:
        return self._remembered(dialogue)

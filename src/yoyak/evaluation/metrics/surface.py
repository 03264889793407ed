"""The metric surface: the length of a summary beside that of its references, and how much it repeats itself."""

from collections.abc import Sequence
from statistics import fmean
from typing import Any

import numpy as np

from yoyak.evaluation.metrics.base import Metric, Rows

REPEATED = 3  # morphemes of the sequences that are looked for


class Surface(Metric):
    """Lengths and repetition, counted in morphemes. They see nothing of the content.

    `length_ratio` is the length of all summaries through that of all references: 1 is right. `length_gap` is the mean
    difference in length from the reference, in percent of the reference. `repetition` is the mean share, in percent, of the
    trigrams of a summary that already occurred in it (1 - distinct through all; Welleck et al., "Neural Text Generation With
    Unlikelihood Training", ICLR 2020, seq-rep-n).
    """

    name = "surface"
    keys = ("length", "reference_length", "length_gap", "repetition")
    lower_is_better = ("surface_length_gap", "surface_repetition")

    def prepare(self, texts: Sequence[str]) -> None:
        self.settings.tokenizer.preload(texts)

    def score_rows(
        self, *, predictions: Sequence[str], references: Sequence[Sequence[str]], dialogues: Sequence[str] | None
    ) -> Rows:
        """(rows, 4): morphemes, mean morphemes of the references, their difference and the repetition in percent."""
        return np.array([self._score_row(*row) for row in zip(predictions, references, strict=True)], dtype=np.float64).reshape(
            len(predictions), len(self.keys)
        )

    def _score_row(self, prediction: str, references: Sequence[str]) -> list[float]:
        tokens = self.settings.tokenizer.tokenize(prediction)
        expected = fmean(len(self.settings.tokenizer.tokenize(text)) for text in references)
        gap = 100 * abs(len(tokens) - expected) / expected if expected else 0.0
        return [len(tokens), expected, gap, 100 * repetition(tokens)]

    def signature(self) -> str:
        return f"surface:mecab-morphemes|repeated:{REPEATED}-grams|ratio:pooled"

    def summarize(self, means: Rows) -> dict[str, Any]:
        length, reference, gap, repeated = np.moveaxis(means, -1, 0)
        ratio = np.divide(length, reference, out=np.zeros_like(length), where=reference > 0)
        return {"length_ratio": ratio, "length_gap": gap, "repetition": repeated}

    @classmethod
    def row_keys(cls) -> tuple[str, ...]:
        return ("surface_length_gap", "surface_repetition")

    def row_values(self, rows: Rows) -> Rows:
        return rows[:, 2:]


def repetition(tokens: Sequence[str]) -> float:
    """The share of the REPEATED-grams of a text that are not the first of their kind, from 0 to 1; 0 for a shorter text."""
    grams = [tuple(tokens[start : start + REPEATED]) for start in range(len(tokens) - REPEATED + 1)]
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


METRIC = Surface

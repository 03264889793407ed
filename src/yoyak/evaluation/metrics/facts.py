"""The metric facts: names, numbers and tags of a summary that its dialogue lacks, and those of the reference that it states."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from yoyak.evaluation.facts import FactFinder, Facts, Number, fold
from yoyak.evaluation.metrics.base import Metric, MetricSettings, Rows
from yoyak.evaluation.unsupported_facts import unsupported_facts

KINDS = ("names", "numbers", "tags")
_COUNTS = ("stated", "unsupported", "expected", "recalled")


class FactsMetric(Metric):
    """Facts in the summary that the dialogue does not state, and facts of the references that the summary states.

    Values are shares over all facts of all rows, in percent: `unsupported` of the summaries' names and numbers, `recall` of the
    references' names and numbers, and the same for each kind (`names`, `numbers`, `tags`). A share of nothing is 0.
    """

    name = "facts"
    keys = tuple(f"{kind}_{count}" for kind in KINDS for count in _COUNTS)
    needs_dialogues = True
    lower_is_better = ("facts_unsupported",)

    def __init__(self, settings: MetricSettings) -> None:
        super().__init__(settings)
        self._finder = FactFinder(settings.tokenizer)

    def score_rows(
        self, *, predictions: Sequence[str], references: Sequence[Sequence[str]], dialogues: Sequence[str] | None
    ) -> Rows:
        """(rows, 12): for names, numbers and tags the numbers of facts that are stated, unsupported, expected and recalled.

        With several references, expected and recalled are means over them.
        """
        assert dialogues is not None
        return np.array(
            [self._score_row(*row) for row in zip(predictions, references, dialogues, strict=True)], dtype=np.float64
        ).reshape(len(predictions), len(self.keys))

    def _score_row(self, prediction: str, references: Sequence[str], dialogue: str) -> list[float]:
        stated = self._finder.facts(prediction)
        expected = [self._finder.facts(text) for text in references]
        unsupported = unsupported_facts(prediction, dialogue, self._finder)
        cells: list[float] = []
        for kind in KINDS:
            wanted = [getattr(facts, kind) for facts in expected]
            recalled = [_recalled(kind, facts, stated, prediction) for facts in expected]
            means = [sum(map(len, wanted)) / len(wanted), sum(recalled) / len(recalled)]
            cells += [len(getattr(stated, kind)), len(getattr(unsupported, kind)), *means]
        return cells

    def signature(self) -> str:
        return "facts:mecab-names+numbers+tags|unit:percent|rows:pooled"

    def summarize(self, means: Rows) -> dict[str, Any]:
        by_kind = dict(zip(KINDS, np.split(means, len(KINDS), axis=-1), strict=True))
        total = by_kind["names"] + by_kind["numbers"]
        return {**_shares(total), **{kind: _shares(counts) for kind, counts in by_kind.items()}}

    @classmethod
    def row_keys(cls) -> tuple[str, ...]:
        return ("facts_unsupported", "facts_recalled")

    def row_values(self, rows: Rows) -> Rows:
        """Number of names and numbers that are unsupported, and of those of the reference that are recalled."""
        column = {key: rows[:, index] for index, key in enumerate(self.keys)}
        return np.stack(
            [column[f"names_{count}"] + column[f"numbers_{count}"] for count in ("unsupported", "recalled")], axis=1
        )


def _shares(counts: Rows) -> dict[str, Rows]:
    """(…, 4) mean counts to shares in percent."""
    stated, unsupported, expected, recalled = np.moveaxis(counts, -1, 0)
    return {"unsupported": _percent(unsupported, stated), "recall": _percent(recalled, expected)}


def _percent(part: Rows, whole: Rows) -> Rows:
    return 100 * np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


def _recalled(kind: str, expected: Facts, stated: Facts, prediction: str) -> int:
    if kind == "numbers":
        return sum(_states(stated.numbers, number) for number in expected.numbers)
    if kind == "names":
        folded = fold(prediction)
        return sum(name in folded for name in expected.names)
    return len(expected.tags & stated.tags)


def _states(numbers: frozenset[Number], number: Number) -> bool:
    return any(number.agrees_with(other) for other in numbers)


METRIC = FactsMetric

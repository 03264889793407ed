"""The metric ROUGE: with tags and without them (`content`)."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from yoyak.evaluation import rouge
from yoyak.evaluation.metrics.base import Metric, Rows

_TAGS = slice(0, len(rouge.KEYS))  # columns of the score with tags
_CONTENT = slice(len(rouge.KEYS), 2 * len(rouge.KEYS))  # columns of the score without tags


class Rouge(Metric):
    """ROUGE-1, -2 and -L F1 × 100 over morphemes. Its values are at the top level of metrics/scores.json."""

    name = "rouge"
    keys = (*rouge.KEYS, *(f"content_{key}" for key in rouge.KEYS))

    def prepare(self, texts: Sequence[str]) -> None:
        self.settings.tokenizer.preload([*texts, *rouge.remove_tags(texts)])

    def score_rows(
        self, *, predictions: Sequence[str], references: Sequence[Sequence[str]], dialogues: Sequence[str] | None
    ) -> Rows:
        """(rows, 6): rouge1, rouge2, rougeL with tags, then the same without. Some rows are checked against rouge_score."""
        tokenizer, aggregation = self.settings.tokenizer, self.settings.aggregation
        with_tags = rouge.score_rows(
            predictions=predictions, references=references, tokenizer=tokenizer, aggregation=aggregation
        )
        rouge.check_against_rouge_score(
            with_tags, predictions=predictions, references=references, tokenizer=tokenizer, aggregation=aggregation
        )
        content = rouge.score_rows(
            predictions=rouge.remove_tags(predictions),
            references=[rouge.remove_tags(texts) for texts in references],
            tokenizer=tokenizer,
            aggregation=aggregation,
        )
        return np.concatenate([with_tags, content], axis=1)

    def signature(self) -> str:
        return rouge.signature(self.settings.aggregation)

    def summarize(self, means: Rows) -> dict[str, Any]:
        return {**_by_key(means[..., _TAGS]), "content": _by_key(means[..., _CONTENT])}

    @classmethod
    def row_keys(cls) -> tuple[str, ...]:
        return (*rouge.KEYS, "rouge_sum", "content_sum")

    def row_values(self, rows: Rows) -> Rows:
        sums = [rows[:, columns].sum(axis=1, keepdims=True) for columns in (_TAGS, _CONTENT)]
        return np.concatenate([rows[:, _TAGS], *sums], axis=1)


def _by_key(values: Rows) -> dict[str, Rows]:
    """(…, 3) to arrays (…) under rouge1, rouge2, rougeL, rouge_sum and rouge_mean."""
    totals = rouge.with_totals(values)
    return {key: totals[..., column] for column, key in enumerate(rouge.TOTAL_KEYS)}


METRIC = Rouge

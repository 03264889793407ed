"""The interface of a metric."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from yoyak.evaluation.morphemes import Morphemes
from yoyak.evaluation.rouge import Aggregation

Rows = NDArray[np.float64]


@dataclass(frozen=True)
class MetricSettings:
    """What metrics are built from."""

    tokenizer: Morphemes
    aggregation: Aggregation  # how scores against several references become one: "mean" or "max"


class Metric(ABC):
    """A number for each row of predictions, such as ROUGE or the share of names that are not in the dialogue.

    To add a metric, write one module `yoyak/evaluation/metrics/NAME.py` with a subclass and the line `METRIC = ThatClass`, and
    add NAME to METRICS in `yoyak/evaluation/metrics/__init__.py`. A subclass needs `name`, `keys`, `score_rows` and
    `signature`:

        class Length(Metric):
            name = "length"
            keys = ("characters",)

            def score_rows(self, *, predictions, references, dialogues):
                return np.array([[len(text)] for text in predictions], dtype=np.float64)

            def signature(self):
                return "unit:characters"

        METRIC = Length

    The means of its keys and their 95 % bootstrap intervals are then under `length` in metrics/scores.json, also for each
    baseline, and the column `length_characters` in metrics/per_dialogue.csv.
    """

    name: ClassVar[str]  # key in metrics/scores.json; the name of the module
    keys: ClassVar[tuple[str, ...]]  # names of the columns that `score_rows` returns
    lower_is_better: ClassVar[tuple[str, ...]] = ()  # those of `row_keys` of which a smaller value is better
    needs_dialogues: ClassVar[bool] = False  # if true, the metric is left out where only predictions and references are known

    # The baselines that are scored too; None for all. A metric that costs money takes few.
    baselines: frozenset[str] | None = None

    def __init__(self, settings: MetricSettings) -> None:
        self.settings = settings

    def prepare(self, texts: Sequence[str]) -> None:  # noqa: B027  (most metrics have nothing to prepare)
        """Called once before scoring with all texts that follow, so that slow analysis can run in parallel."""

    @abstractmethod
    def score_rows(
        self, *, predictions: Sequence[str], references: Sequence[Sequence[str]], dialogues: Sequence[str] | None
    ) -> Rows:
        """Score each row on its own.

        Args:
            predictions: one text for each row, with original speaker tags.
            references: at least one text for each row.
            dialogues: one text for each row, or None if they are not known (never if `needs_dialogues`).

        Returns:
            Array (rows, len(keys)). A row of NaN was not measured: it has empty cells, and means and intervals leave it out.
        """

    @abstractmethod
    def signature(self) -> str:
        """Everything that the values depend on, as `name:value` parts joined by `|`."""

    def summarize(self, means: Rows) -> dict[str, Any]:
        """What scores.json holds, from means over rows.

        Args:
            means: (…, len(keys)): one mean for each key, or many resampled ones.

        Returns:
            Arrays of shape (…) by key; a value may be another such dict. A subclass may add values such as totals.
        """
        return {key: means[..., column] for column, key in enumerate(self.keys)}

    def details(self) -> dict[str, Any]:
        """Further facts for this metric's part of scores.json, called after all rows are scored."""
        return {}

    @classmethod
    def row_keys(cls) -> tuple[str, ...]:
        """Names of this metric's columns in metrics/per_dialogue.csv."""
        return tuple(f"{cls.name}_{key}" for key in cls.keys)

    def row_values(self, rows: Rows) -> Rows:
        """(rows, len(row_keys())): the cells of these columns, from the result of `score_rows`."""
        return rows

"""Divides rows among processes that train together. Each row is read once, as by one process.

transformers' own division repeats rows where their number cannot be divided. The losses and gradients of that differ from those
of one process.
"""

import math
from collections.abc import Iterator, Sequence, Sized
from dataclasses import dataclass
from typing import Any, Protocol

from torch.utils.data import DataLoader, Dataset, Sampler

from yoyak.data.collation import IGNORED_LABEL, Batch, Collator

Place = tuple[int, bool]  # the number of a row, and whether it counts; a row that does not count has no targets


class Order(Sized, Protocol):
    """Numbers of rows, in an order that may differ from epoch to epoch."""

    def __iter__(self) -> Iterator[int]: ...


@dataclass(frozen=True)
class Division:
    """How the rows of each step are divided.

    Attributes:
        rows_per_step: rows that all processes read together for one step.
        rows_per_batch: rows that a process reads at once, at most.
        processes: how many there are.
    """

    rows_per_step: int
    rows_per_batch: int
    processes: int

    def batches(self, rows: int) -> int:
        """How many batches each process has for a step of so many rows. All have the same number, or they would wait."""
        return math.ceil(math.ceil(rows / self.processes) / self.rows_per_batch)


class SharedBatches(Sampler[list[Place]]):
    """The batches of one process. It takes every n-th row of each step, so rows that come by length are divided evenly.

    The last step of an epoch may leave a process without a row for a batch. It then reads a row that does not count.
    """

    def __init__(self, order: Order, division: Division, *, rank: int) -> None:
        self.order, self.division, self.rank = order, division, rank

    def __len__(self) -> int:
        steps, rest = divmod(len(self.order), self.division.rows_per_step)
        return steps * self.division.batches(self.division.rows_per_step) + self.division.batches(rest)

    def __iter__(self) -> Iterator[list[Place]]:
        rows, size = list(self.order), self.division.rows_per_batch
        for start in range(0, len(rows), self.division.rows_per_step):
            step = rows[start : start + self.division.rows_per_step]
            own = step[self.rank :: self.division.processes]
            for batch in range(self.division.batches(len(step))):
                places = [(row, True) for row in own[batch * size : (batch + 1) * size]]
                yield places or [(step[0], False)]


class _Rows(Dataset[Any]):
    """Rows by place. A row that does not count has a further column."""

    def __init__(self, rows: Any) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitems__(self, places: Sequence[Place]) -> list[dict[str, Any]]:
        return [dict(self.rows[row]) | ({} if counts else {"filler": True}) for row, counts in places]


def shared_loader(rows: Any, batches: SharedBatches, collate: Collator, *, pin_memory: bool) -> DataLoader[Any]:
    """The batches of one process as tensors on the CPU. Rows that do not count have no targets.

    Args:
        rows: all rows, by number.
        batches: which of them each batch has.
        collate: makes a batch of rows.
        pin_memory: whether the tensors are copied to a GPU later.
    """

    def collate_counted(chosen: list[dict[str, Any]]) -> Batch:
        is_filler = chosen[0].pop("filler", False)
        batch = collate(chosen)
        return {**batch, "labels": batch["labels"].fill_(IGNORED_LABEL)} if is_filler else batch

    return DataLoader(_Rows(rows), batch_sampler=batches, collate_fn=collate_counted, pin_memory=pin_memory)


def has_targets(batch: Batch) -> bool:
    """Whether a batch has a target, and so rows that count."""
    return bool((batch["labels"] != IGNORED_LABEL).any())

"""Processes read each row once, in the step in which one process reads it, and all have the same number of batches."""

import itertools

import pytest
import torch

from yoyak.training.row_sharing import Division, SharedBatches, has_targets, shared_loader


@pytest.mark.parametrize("rows", [1, 2, 5, 6, 7, 11, 12, 13])
@pytest.mark.parametrize(("size", "batches", "processes"), [(3, 1, 2), (1, 3, 2), (2, 2, 3), (1, 1, 4)])
def test_each_row_is_read_once(rows: int, size: int, batches: int, processes: int) -> None:
    division = Division(size * batches * processes, size, processes)
    order = [(7 * row) % rows if rows % 7 else row for row in range(rows)]
    shared = [SharedBatches(order, division, rank=rank) for rank in range(processes)]
    read = [list(own) for own in shared]
    assert len({len(own) for own in read}) == 1
    assert [len(own) for own in shared] == [len(own) for own in read]
    counted = [row for own in read for batch in own for row, counts in batch if counts]
    assert sorted(counted) == sorted(order)
    assert all(len(batch) <= size for own in read for batch in own)
    steps = [order[start : start + division.rows_per_step] for start in range(0, rows, division.rows_per_step)]
    for own in read:
        for number, step in enumerate(steps):
            places = itertools.chain(*own[number * batches : (number + 1) * batches])
            assert {row for row, _ in places} <= set(step)


def test_a_row_that_does_not_count_has_no_targets() -> None:
    rows = [{"labels": [4, 5]}, {"labels": [6, 7]}, {"labels": [8, 9]}]
    division = Division(2, 1, 2)
    loaders = [
        shared_loader(
            rows,
            SharedBatches(range(3), division, rank=rank),
            lambda chosen: {"labels": torch.tensor([row["labels"] for row in chosen])},
            pin_memory=False,
        )
        for rank in range(2)
    ]
    read = [[batch["labels"].tolist() for batch in loader] for loader in loaders]
    assert read == [[[[4, 5]], [[8, 9]]], [[[6, 7]], [[-100, -100]]]]
    assert [[has_targets(batch) for batch in loader] for loader in loaders] == [[True, True], [True, False]]

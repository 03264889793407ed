"""The order in which the training rows come."""

from collections.abc import Iterator, Sequence

import torch
from torch.utils.data import Sampler
from transformers.trainer_pt_utils import get_length_grouped_indices


class RowOrder(Sampler[int]):
    """Indices of the training rows, in an order that depends on the seed and the epoch alone.

    transformers draws the order from torch's global random numbers at the start of an epoch. A checkpoint within the epoch
    does not hold them, so a resumed run would see another order.
    """

    def __init__(self, lengths: Sequence[int], *, rows_per_step: int, group_by_length: bool, seed: int) -> None:
        """
        Args:
            lengths: source tokens of each row.
            rows_per_step: rows of one step of the optimizer. Within a step the rows come from long to short, so that the
                batches that the step accumulates need little padding. The gradient of the step does not depend on that order.
            group_by_length: fill a step with rows of similar length, instead of random rows.
            seed: `training.seed`.
        """
        self.lengths, self.rows_per_step, self.group_by_length, self.seed = lengths, rows_per_step, group_by_length, seed
        self.epoch = 0  # `callbacks.ResumeExactly` sets it

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        if self.group_by_length:
            rows = get_length_grouped_indices(self.lengths, self.rows_per_step, generator=generator)
        else:
            rows = torch.randperm(len(self.lengths), generator=generator).tolist()
        steps = [rows[start : start + self.rows_per_step] for start in range(0, len(rows), self.rows_per_step)]
        if self.group_by_length:
            # transformers sorts about 50 steps at a time from long to short. That raises the loss (docs/log/speed.md).
            incomplete = steps.pop() if len(steps[-1]) < self.rows_per_step else []
            steps = [steps[index] for index in torch.randperm(len(steps), generator=generator)] + [incomplete]
        return iter([row for step in steps for row in sorted(step, key=lambda row: -self.lengths[row])])

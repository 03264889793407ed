"""How the rows of an optimizer step are divided among processes that train together."""

from typing import NamedTuple


class Batches(NamedTuple):
    """What each process reads for one step of the optimizer: so many batches of so many rows."""

    rows: int
    batches: int


def divide_batch(rows: int, batches: int, processes: int) -> Batches:
    """The batches of one of several processes, which together read as many rows in a step as one process.

    A batch has at most `rows` rows, so that no process needs more memory than one process alone.

    Args:
        rows: rows of a batch of one process alone (`per_device_train_batch_size`).
        batches: batches of a step of one process alone (`gradient_accumulation_steps`).
        processes: how many processes train together, on all hosts.

    Raises:
        ValueError: if the rows of a step cannot be divided. The message has no name of a section.
    """
    total = rows * batches
    if total % processes:
        raise ValueError(
            f"per_device_train_batch_size × gradient_accumulation_steps = {rows} × {batches}: the {total} rows of a step "
            f"cannot be divided among {processes} processes; choose a product that {processes} divides, or change "
            "hardware.processes or hardware.hosts"
        )
    own = total // processes
    largest = max(size for size in range(1, min(rows, own) + 1) if own % size == 0)
    return Batches(largest, own // largest)

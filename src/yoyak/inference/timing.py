"""How long a trained model takes to write a summary."""

import statistics
import time
from collections.abc import Mapping, Sequence

from yoyak.inference.summarizer import Summarizer

PASSES = 3


def seconds_per_dialogue(summarizer: Summarizer, rows: Sequence[Mapping[str, str]]) -> float:
    """Seconds of wall time for one summary: the median of three passes, after one pass that does not count.

    The time for loading and converting the model does not count.

    Args:
        summarizer: the model.
        rows: processed rows, such as the first rows of dev.
    """
    encoded = summarizer.encode(rows)
    summarizer.choose_backend()
    seconds = []
    for _ in range(PASSES + 1):
        start = time.perf_counter()
        summarizer.write(encoded, rows, progress="time")
        seconds.append((time.perf_counter() - start) / len(rows))
    return statistics.median(seconds[1:])

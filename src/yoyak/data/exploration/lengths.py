"""Distributions of whole numbers, such as lengths: percentiles, shares above a limit, and bins for a chart."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

MAX_BINS = 24
_STEPS = (1, 2, 5)


def percentile(counts: Mapping[float, int], share: float) -> float:
    """The smallest value that at least `share` (in percent) of all values do not exceed. 0 if there are no values.

    This is the inverse of the empirical distribution function (type 1 of Hyndman and Fan 1996): a value that occurs, so that a
    limit of this length cuts at most 100 - `share` percent.
    """
    needed, seen = math.ceil(sum(counts.values()) * share / 100), 0
    for value in sorted(counts):
        seen += counts[value]
        if seen >= needed:
            return value
    return 0


def mean(counts: Mapping[float, int]) -> float:
    """The mean of all values; 0 if there are none."""
    total = sum(counts.values())
    return sum(value * count for value, count in counts.items()) / total if total else 0.0


def above(counts: Mapping[float, int], limit: float) -> int:
    """How many values are greater than `limit`."""
    return sum(count for value, count in counts.items() if value > limit)


def bin_edges(distributions: Iterable[Mapping[float, int]], *, whole: bool = True) -> list[float]:
    """The lower edges of at most about MAX_BINS bins for several distributions together.

    The last bin has no upper end: it takes the longest half percent, so that one very long row does not flatten the chart.

    Args:
        distributions: values with their numbers.
        whole: whether the values are whole numbers, so that no bin is narrower than 1.
    """
    together = Counter[float]()
    for counts in distributions:
        together.update(counts)
    if not together:
        return [0]
    first, last = min(together), percentile(together, 99.5)
    width = _nice_width((last - first) / MAX_BINS, whole=whole)
    low = math.floor(first / width + 1e-9) * width
    count = max(1, math.ceil((last - low) / width + 1e-9))
    return [round(low + index * width, 10) for index in range(count + (last >= low + count * width))]


def _nice_width(least: float, *, whole: bool) -> float:
    """The smallest of 1, 2, 5, 10, 20 … (or 0.1, 0.2, 0.5 …) that is at least `least`."""
    if whole and least <= 1:
        return 1
    if least <= 0:
        return 1
    power = 10.0 ** math.floor(math.log10(least))
    return next(width for step in (*_STEPS, 10) if (width := step * power) >= least * (1 - 1e-9))


def bin_of(value: float, edges: Sequence[float]) -> int:
    """The index of the bin of `value`. Values below the first edge belong to the first bin."""
    index = 0
    while index + 1 < len(edges) and value >= edges[index + 1] - 1e-9:
        index += 1
    return index


def bin_counts(counts: Mapping[float, int], edges: Sequence[float]) -> list[int]:
    """The number of values in each bin."""
    bins = [0] * len(edges)
    for value, count in counts.items():
        bins[bin_of(value, edges)] += count
    return bins


def bin_labels(edges: Sequence[float], *, largest: float, whole: bool = True) -> list[str]:
    """A label for each bin: "0–49", "7" (a single whole number), and "≥ 700" if the last bin is wider than the others.

    Args:
        edges: of `bin_edges`.
        largest: the largest value.
        whole: whether the values are whole numbers.
    """
    width = edges[1] - edges[0] if len(edges) > 1 else 1
    ends = [*edges[1:], edges[-1] + width]
    labels = [_range(start, end, whole=whole) for start, end in zip(edges, ends, strict=True)]
    if largest > ends[-1] or (whole and largest == ends[-1]):
        labels[-1] = f"≥ {edges[-1]:,.0f}" if whole else f"≥ {edges[-1]:g}"
    return labels


def _range(start: float, end: float, *, whole: bool) -> str:
    if not whole:
        return f"{start:g}–{round(end, 10):g}"
    return f"{start:,.0f}" if end - start == 1 else f"{start:,.0f}–{end - 1:,.0f}"

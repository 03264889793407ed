"""The bootstrap: what a mean over rows may claim, and whether one is higher than another by more than the noise.

Efron (1979) for the intervals; Koehn (2004), "Statistical Significance Tests for Machine Translation Evaluation", for the
paired use.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
CONFIDENCE = (2.5, 97.5)  # percentiles: a 95 % interval
# With fewer rows nothing is claimed. A percentile interval of few rows is too narrow: beside the t interval its width is
# sqrt((n - 1) / n) * 1.96 / t(n - 1), which is 82 % for 10 rows, 63 % for 5 and 0 % for one row.
MIN_ROWS = 10


def resampled_means(rows: Values, *, samples: int, seed: int) -> Values:
    """Means of `rows` (rows, keys) over rows drawn with replacement, as (samples, keys).

    The drawn rows depend on the seed and the number of rows alone. The means of two models with the same seed are therefore
    paired: their difference is the difference over the same rows.
    """
    generator = np.random.default_rng(seed)
    columns = np.ascontiguousarray(rows.T)
    means = np.empty((samples, rows.shape[1]))
    for sample in range(samples):
        counts = np.bincount(generator.integers(0, len(rows), len(rows)), minlength=len(rows))
        means[sample] = (counts * columns).sum(axis=1) / len(rows)
    return means


def interval(means: Values) -> list[float]:
    """Lower and upper end of the 95 % percentile interval of resampled means (samples,), rounded to 4 decimal places."""
    low, high = np.percentile(means, CONFIDENCE)
    return [round(float(low), 4), round(float(high), 4)]


def is_above_zero(ends: Sequence[float]) -> bool:
    """Whether a 95 % interval of resampled differences lies above 0: in 97.5 % of the samples they are positive."""
    return ends[0] > 0

"""Whether two systems that were scored on the same rows differ by more than chance.

Two tests answer it. Approximate randomization (Riezler and Maxwell 2005, "On Some Pitfalls in Automatic Evaluation and
Significance Testing for MT") gives the p-value that the verdict uses. The paired bootstrap (Koehn 2004, "Statistical
Significance Tests for Machine Translation Evaluation") gives the interval and a second p-value.

sacrebleu 2.6.0 gives the same p-values of approximate randomization. Its bootstrap takes absolute values before it subtracts
their mean, so that it counts one side only: its p-values are about half of these.
"""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from yoyak.evaluation import bootstrap

Values = NDArray[np.float64]
Verdict = Literal["better", "worse", "no difference shown"]

ALPHA = 0.05  # a smaller corrected p-value shows a difference
SAMPLES = 10_000  # sacrebleu's default number of trials of approximate randomization
TIE = 1e-9  # smaller differences of one row come from rounding
_CHUNK = 2**22  # random signs that are drawn at a time, so that memory stays flat


@dataclass(frozen=True)
class PairedResult:
    """One metric of one system against the same metric of another. A difference is this system minus the other.

    Attributes:
        mean, other_mean: means over the rows.
        difference: mean - other_mean.
        interval: 95 % interval of the difference, by the paired bootstrap.
        p_bootstrap: two-sided p-value of the paired bootstrap.
        p_randomization: two-sided p-value of approximate randomization.
        p_corrected: p_randomization after Holm's correction for the number of systems.
            wins, losses, ties: the number of rows in which this system has the better, worse or same value.
        lower_is_better: whether a smaller value of the metric is better.
        rows: the number of rows.
    """

    mean: float
    other_mean: float
    difference: float
    interval: tuple[float, float]
    p_bootstrap: float
    p_randomization: float
    p_corrected: float
    wins: int
    losses: int
    ties: int
    lower_is_better: bool = False
    rows: int = 0

    @property
    def verdict(self) -> Verdict:
        """What may be said about the difference."""
        if self.p_corrected >= ALPHA:
            return "no difference shown"
        return "better" if (self.difference > 0) != self.lower_is_better else "worse"

    def to_json(self) -> dict[str, Any]:
        """All attributes and the verdict."""
        return {**asdict(self), "interval": list(self.interval), "verdict": self.verdict}


def compare_systems(
    systems: Mapping[str, Values],
    base: Values,
    *,
    lower_is_better: bool = False,
    samples: int = SAMPLES,
    seed: int = 0,
) -> dict[str, PairedResult]:
    """Compare each system with the base in one metric.

    Args:
        systems: (rows,) of each system by its name.
        base: (rows,) of what they are compared with, in the same order of rows.
        lower_is_better: whether a smaller value of the metric is better.
        samples: number of resamplings of each test.
        seed: of the resampling.

    Returns:
        The result of each system, with p-values that are corrected for the number of systems.

    Raises:
        ValueError: if the numbers of rows differ, or there are no rows.
    """
    tests = {}
    for name, rows in systems.items():
        if rows.shape != base.shape or not len(rows):
            raise ValueError(f"{name}: {len(rows)} rows; the base has {len(base)}")
        interval, p_bootstrap = paired_bootstrap(rows - base, samples=samples, seed=seed)
        tests[name] = (interval, p_bootstrap, approximate_randomization(rows - base, samples=samples, seed=seed))
    corrected = holm({name: p_value for name, (_, _, p_value) in tests.items()})
    results = {}
    for name, (interval, p_bootstrap, p_randomization) in tests.items():
        differences = systems[name] - base
        gains = -differences if lower_is_better else differences
        results[name] = PairedResult(
            mean=float(systems[name].mean()),
            other_mean=float(base.mean()),
            difference=float(differences.mean()),
            interval=interval,
            p_bootstrap=p_bootstrap,
            p_randomization=p_randomization,
            p_corrected=corrected[name],
            wins=int((gains > TIE).sum()),
            losses=int((gains < -TIE).sum()),
            ties=int((abs(differences) <= TIE).sum()),
            lower_is_better=lower_is_better,
            rows=len(base),
        )
    return results


def compare_metrics(
    systems: Mapping[str, Mapping[str, Values]],
    base: Mapping[str, Values],
    *,
    lower_is_better: Collection[str],
    samples: int = SAMPLES,
    seed: int = 0,
) -> dict[str, dict[str, PairedResult]]:
    """Compare systems with a base in each metric of the base, over the rows in which all of them have a value (not NaN).

    Args:
        systems: (rows,) of each system (outer key) and metric (inner key).
        base: (rows,) of each metric.
        lower_is_better: the metrics of which a smaller value is better.
        samples: number of resamplings of each test.
        seed: of the resampling.

    Returns:
        The result of each metric (outer key) and each system (inner key). A metric that no row has everywhere is left out.
    """
    results = {}
    for metric, values in base.items():
        measured = ~np.isnan(np.stack([values, *(rows[metric] for rows in systems.values())])).any(axis=0)
        if measured.any():
            results[metric] = compare_systems(
                {name: rows[metric][measured] for name, rows in systems.items()},
                values[measured],
                lower_is_better=metric in lower_is_better,
                samples=samples,
                seed=seed,
            )
    return results


def paired_bootstrap(differences: Values, *, samples: int, seed: int) -> tuple[tuple[float, float], float]:
    """The 95 % interval of the mean difference, and the p-value of the difference that was seen.

    The p-value is the share of resampled means that lie as far from their own mean as the seen mean lies from 0.

    Args:
        differences: (rows,).
        samples: number of resamplings.
        seed: of the resampling.
    """
    means = bootstrap.resampled_means(differences[:, None], samples=samples, seed=seed)[:, 0]
    low, high = np.percentile(means, bootstrap.CONFIDENCE)
    return (float(low), float(high)), _p_value(means - means.mean(), float(differences.mean()))


def approximate_randomization(differences: Values, *, samples: int, seed: int) -> float:
    """The p-value of the mean difference if, for each row, chance decides which system has which value.

    Args:
        differences: (rows,).
        samples: number of random assignments.
        seed: of the assignments.
    """
    return approximate_randomizations(differences[:, None], samples=samples, seed=seed)[0]


def approximate_randomizations(differences: Values, *, samples: int, seed: int) -> list[float]:
    """As `approximate_randomization`, of several systems at once, with the same assignments for all.

    Args:
        differences: (rows, systems).
        samples: number of random assignments.
        seed: of the assignments.

    Returns:
        The p-value of each system.
    """
    generator = np.random.default_rng(seed)
    rows, systems = differences.shape
    at_a_time = max(1, _CHUNK // rows)
    means = np.empty((samples, systems))
    for start in range(0, samples, at_a_time):
        count = min(at_a_time, samples - start)
        signs = generator.integers(0, 2, (count, rows), dtype=np.int8) * 2.0 - 1.0
        means[start : start + count] = signs @ differences / rows
    return [_p_value(means[:, system], float(differences[:, system].mean())) for system in range(systems)]


def _p_value(by_chance: Values, seen: float) -> float:
    """Share of values that are at least as far from 0 as the seen one, which counts as one of them (never 0)."""
    as_far = int((abs(by_chance) >= abs(seen) - TIE).sum())
    return (as_far + 1) / (len(by_chance) + 1)


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """The p-values of several tests, corrected by Holm (1979): the chance of any false "better" or "worse" stays ALPHA."""
    corrected: dict[str, float] = {}
    highest = 0.0
    for rank, (name, p_value) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_value))
        corrected[name] = highest
    return {name: corrected[name] for name in p_values}

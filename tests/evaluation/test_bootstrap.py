"""Resampled means, their intervals, and the paired comparison."""

from typing import Any

import numpy as np

from yoyak.evaluation import bootstrap


def test_means_follow_the_seed() -> None:
    rows = np.random.default_rng(0).uniform(0, 100, (40, 3))
    means = bootstrap.resampled_means(rows, samples=500, seed=1)
    assert means.shape == (500, 3)
    assert (means == bootstrap.resampled_means(rows, samples=500, seed=1)).all()
    assert (means != bootstrap.resampled_means(rows, samples=500, seed=2)).any()


def test_the_same_rows_are_drawn_for_any_number_of_keys() -> None:
    """Differences between models and between metrics are then over the same rows."""
    rows = np.random.default_rng(0).uniform(0, 100, (40, 5))
    means = bootstrap.resampled_means(rows, samples=50, seed=1)
    for column in range(5):
        assert (bootstrap.resampled_means(rows[:, column : column + 1], samples=50, seed=1)[:, 0] == means[:, column]).all()


def test_an_interval_holds_the_mean_and_has_the_width_of_the_normal_approximation() -> None:
    rows = np.random.default_rng(0).uniform(0, 100, (40, 3))
    means = bootstrap.resampled_means(rows, samples=500, seed=1)
    for column in range(3):
        low, high = bootstrap.interval(means[:, column])
        assert low < rows[:, column].mean() < high
        spread = 1.96 * float(np.std(rows[:, column])) / 40**0.5
        assert abs((high - low) / 2 - spread) < 0.2 * spread


def test_the_interval_of_equal_rows_is_a_point() -> None:
    means = bootstrap.resampled_means(np.full((5, 1), 20.0), samples=100, seed=1)
    assert bootstrap.interval(means[:, 0]) == [20, 20]


def test_a_difference_is_above_zero_if_almost_all_samples_are() -> None:
    def is_above_zero(differences: Any) -> bool:
        return bootstrap.is_above_zero(bootstrap.interval(differences))

    assert is_above_zero(np.array([*[-1.0] * 2, *[1.0] * 98]))
    assert not is_above_zero(np.array([*[-1.0] * 3, *[1.0] * 97]))
    assert not is_above_zero(np.zeros(100))

"""Percentiles, shares above a limit and bins, by hand."""

from collections import Counter

import numpy as np
import pytest

from yoyak.data.exploration.lengths import above, bin_counts, bin_edges, bin_labels, bin_of, mean, percentile

COUNTS: Counter[float] = Counter({10: 1, 20: 2, 30: 1})  # 10, 20, 20, 30


def test_percentiles_are_values_that_occur() -> None:
    assert [percentile(COUNTS, share) for share in (0, 25, 26, 75, 76, 100)] == [10, 10, 20, 20, 30, 30]
    assert percentile({}, 50) == 0


def test_a_percentile_is_that_of_numpy() -> None:
    values = np.random.default_rng(0).integers(0, 500, 997)
    counts = Counter(float(value) for value in values)
    for share in (5, 50, 95, 99, 100):
        assert percentile(counts, share) == np.percentile(values, share, method="inverted_cdf")
    assert mean(counts) == pytest.approx(values.mean())


def test_a_limit_cuts_what_is_longer() -> None:
    assert [above(COUNTS, limit) for limit in (9, 10, 20, 30)] == [4, 3, 1, 0]


def test_bins_are_common_and_the_last_takes_the_longest() -> None:
    counts: Counter[float] = Counter(dict.fromkeys(range(100), 10)) + Counter({5000: 1})
    edges = bin_edges([counts])
    assert edges == [float(start) for start in range(0, 100, 5)]
    assert bin_counts(counts, edges) == [50] * 19 + [51]
    labels = bin_labels(edges, largest=5000)
    assert labels[0] == "0–4" and labels[-1] == "≥ 95"
    assert bin_labels(edges, largest=99)[-1] == "95–99"


def test_small_numbers_and_shares_have_bins_of_their_own() -> None:
    turns = Counter[float]({2: 5, 3: 1, 4: 2})
    assert bin_labels(bin_edges([turns]), largest=4) == ["2", "3", "4"]
    assert bin_labels(bin_edges([Counter[float]({2: 7})]), largest=2) == ["2"]
    shares = Counter[float]({0.1: 1, 0.55: 1, 1.0: 1})
    edges = bin_edges([shares], whole=False)
    assert bin_labels(edges, largest=1.0, whole=False)[0] == "0.1–0.15"
    assert sum(bin_counts(shares, edges)) == 3 and bin_of(0.55, edges) == 9
    assert bin_edges([]) == [0]

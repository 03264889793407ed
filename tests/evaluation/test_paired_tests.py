"""Paired tests of two systems: equal to sacrebleu's, and honest where there is no difference."""

from typing import Any

import numpy as np
import pytest
from sacrebleu.metrics.base import Metric, Score, Signature
from sacrebleu.significance import PairedTest

from yoyak.evaluation.paired_tests import approximate_randomization, compare_systems, holm, paired_bootstrap


def two_systems(difference: float, rows: int = 200, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    base = generator.normal(60, 15, rows)
    return base, base + generator.normal(difference, 10, rows)


class MeanOfNumbers(Metric):
    """A metric of sacrebleu whose hypotheses are numbers, and whose score is their mean."""

    _SIGNATURE_TYPE = Signature

    def _compute_score_from_stats(self, stats: list[float]) -> Score:
        return Score("mean", stats[0] / stats[1])

    def _aggregate_and_compute(self, stats: list[list[float]]) -> Score:
        return self._compute_score_from_stats(np.sum(stats, axis=0).tolist())

    def _check_sentence_score_args(self, *_: Any) -> None: ...
    def _check_corpus_score_args(self, *_: Any) -> None: ...
    def _preprocess_segment(self, sent: str) -> str:
        return sent

    def _extract_reference_info(self, refs: Any) -> dict[str, Any]:
        return {}

    def _compute_segment_statistics(self, hypothesis: str, ref_kwargs: Any) -> list[float]:
        return [float(hypothesis), 1.0]


def by_sacrebleu(kind: str, base: np.ndarray, system: np.ndarray, samples: int) -> float:
    named: list[Any] = [("base", [str(value) for value in base]), ("system", [str(value) for value in system])]
    metric: Any = MeanOfNumbers()  # type: ignore[no-untyped-call]
    tested = PairedTest(
        named, {"mean": metric}, references=[["x"] * len(base)], test_type=kind, n_samples=samples, n_ar_confidence=0
    )()[1]
    result: Any = tested["mean"][1]
    return float(result.p_value)


def error_of_shares(share: float, samples: int) -> float:
    """Four standard errors of the difference of two shares of random samples."""
    return float(4 * np.sqrt(2 * share * (1 - share) / samples) + 1 / samples)


@pytest.mark.parametrize("difference", [0.0, 0.7, 1.4, 4.0])
def test_approximate_randomization_agrees_with_sacrebleu(difference: float) -> None:
    base, system = two_systems(difference)
    ours = approximate_randomization(system - base, samples=4000, seed=3)
    theirs = by_sacrebleu("ar", base, system, 4000)
    assert ours == pytest.approx(theirs, abs=error_of_shares(theirs, 4000))


@pytest.mark.parametrize("difference", [2.2, 2.6, 4.0])
def test_the_bootstrap_counts_both_sides_and_sacrebleu_one(difference: float) -> None:
    base, system = two_systems(difference)
    _, ours = paired_bootstrap(system - base, samples=4000, seed=3)
    theirs = by_sacrebleu("bs", base, system, 4000)
    assert theirs < 0.1
    assert ours == pytest.approx(2 * theirs, abs=2 * error_of_shares(theirs, 4000))


def test_a_clear_difference_is_named_and_a_small_one_is_not() -> None:
    base, better = two_systems(4.0)
    results = compare_systems({"better": better, "worse": 2 * base - better, "same": base.copy()}, base)
    assert [result.verdict for result in results.values()] == ["better", "worse", "no difference shown"]
    assert results["better"].difference == pytest.approx(-results["worse"].difference)
    low, high = results["better"].interval
    assert 0 < low < results["better"].difference < high
    same = results["same"]
    assert (same.p_randomization, same.p_bootstrap, same.wins, same.losses, same.ties) == (1.0, 1.0, 0, 0, 200)


def test_wins_losses_and_ties_are_counted() -> None:
    base = np.array([1.0, 2.0, 3.0, 4.0])
    (result,) = compare_systems({"x": np.array([2.0, 1.0, 3.0 + 1e-12, 9.0])}, base).values()
    assert (result.wins, result.losses, result.ties) == (2, 1, 1)


def test_two_rows_show_nothing() -> None:
    (result,) = compare_systems({"x": np.array([100.0, 100.0])}, np.array([0.0, 0.0])).values()
    assert result.verdict == "no difference shown" and result.p_randomization == pytest.approx(0.5, abs=0.05)


def test_without_a_difference_few_tests_claim_one() -> None:
    claims = 0
    for seed in range(200):
        base, system = two_systems(0.0, rows=60, seed=seed)
        claims += compare_systems({"x": system}, base, samples=200, seed=seed)["x"].verdict != "no difference shown"
    assert 1 <= claims <= 22  # 5 % of 200 are 10; the upper limit is four standard deviations away


def test_holm_corrects_for_the_number_of_systems() -> None:
    # Step by step for alpha: 4 × 0.005, 3 × 0.01, 2 × 0.03, and never below an earlier one.
    corrected = holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005})
    assert corrected == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06, "d": 0.02})
    assert holm({"a": 0.9, "b": 0.8}) == {"a": 1.0, "b": 1.0}


def test_the_seed_gives_the_same_numbers_again() -> None:
    base, system = two_systems(1.0)
    assert compare_systems({"x": system}, base, seed=5) == compare_systems({"x": system}, base, seed=5)
    assert compare_systems({"x": system}, base, seed=5) != compare_systems({"x": system}, base, seed=6)


def test_other_numbers_of_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="x: 3 rows; the base has 4"):
        compare_systems({"x": np.zeros(3)}, np.zeros(4))

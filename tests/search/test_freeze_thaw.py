"""The Gaussian process of freeze-thaw searches, and its choices."""

import numpy as np
import pytest
from scipy.optimize import check_grad  # type: ignore[import-untyped]

from yoyak.search.base_params import BaseParams
from yoyak.search.freeze_thaw import CovarianceParts, Curve, CurveModel, expected_improvement, ranking
from yoyak.search.freeze_thaw_space import place_of
from yoyak.search.plan import Parameter

EPOCHS = 4


def curve(place: float, epochs: int) -> Curve:
    """The best place is 0.7; all curves rise."""
    values = {epoch: 100 - 80 * (place - 0.7) ** 2 - 10 / epoch for epoch in range(1, epochs + 1)}
    return Curve((place,), values, values[EPOCHS] + 1 if epochs == EPOCHS else None)


def test_the_gradient_of_the_likelihood_is_exact() -> None:
    chance = np.random.default_rng(0)
    curves = [
        Curve(tuple(chance.random(2)), {epoch: float(chance.normal()) for epoch in range(1, 4)}, float(chance.normal()))
        for _ in range(4)
    ]
    model = CurveModel(curves, EPOCHS)
    logs = model._means + 0.3 * chance.normal(size=6)
    assert check_grad(lambda at: model._loss(at)[0], lambda at: model._loss(at)[1], logs) < 1e-3


def test_the_covariance_is_that_of_the_formula() -> None:
    logs = np.log([0.5, 0.7, 2.0, 3.0, 0.1])
    total = CovarianceParts(np.array([[0.0, 0.0]]), np.array([[0.5, 0.7]]), logs).total()
    root = np.sqrt(5)
    assert total[0, 0] == pytest.approx((1 + root + 5 / 3) * np.exp(-root) * (4 * np.exp(-0.5) + 9))


def test_predictions_follow_the_curves() -> None:
    model = CurveModel([curve(0.1, 4), curve(0.4, 2), curve(0.65, 1), curve(0.9, 1)], EPOCHS)
    mean, deviation = model.predict_final([(0.1,), (0.4,), (0.65,), (0.9,)])
    assert mean[0] == pytest.approx(curve(0.1, 4).final, abs=2) and np.argmax(mean) == 2
    assert deviation[0] < deviation[1] < deviation[2], "the longer a curve, the surer its end"


def test_expected_improvement() -> None:
    found = expected_improvement(np.array([0.0, 2.0, 0.0]), np.array([1.0, 1e-6, 2.0]), 0.0)
    assert found == pytest.approx([0.39894, 2.0, 0.79788], abs=1e-4)


def test_the_most_promising_training_goes_on() -> None:
    curves = [curve(0.1, 4), curve(0.2, 1), curve(0.7, 2), curve(0.95, 1)]
    assert ranking(curves, [(0.0,)], epochs=EPOCHS, budget=20)[0] == 2


def test_before_a_trial_has_ended_the_best_one_is_finished() -> None:
    curves = [curve(0.1, 1), curve(0.65, 1)]
    assert ranking(curves, [(0.7,), (0.9,)], epochs=EPOCHS, budget=20)[:2] == [1, 0]


def test_only_what_can_end_within_the_budget_goes_on() -> None:
    curves = [curve(0.1, 4), curve(0.2, 1), curve(0.7, 2), curve(0.5, 3)]
    assert sorted(ranking(curves, [(0.6,)], epochs=EPOCHS, budget=4)) == [1, 2, 3, 4]
    assert sorted(ranking(curves, [(0.6,)], epochs=EPOCHS, budget=2)) == [2, 3]
    assert ranking(curves, [(0.6,)], epochs=EPOCHS, budget=0) == []


def test_the_place_of_a_point() -> None:
    parameters = {
        "a": Parameter(low=1e-4, high=1e-2, log=True),
        "b": Parameter(choices=[8, 32, 16]),
        "c": Parameter(choices=["linear", "cosine"]),
        "d": Parameter(low=0, high=10),
    }
    assert place_of({"a": 1e-3, "b": 16, "c": "cosine"}, parameters) == pytest.approx((0.5, 0.5, 0, 1, 0.5))


def test_a_large_space_is_searched_by_random_points(values: dict[str, object]) -> None:
    from tests.search.fakes import RATE, plan_of
    from yoyak.search.freeze_thaw_space import RANDOM_POINTS, candidate_points

    plan = plan_of({RATE: {"low": 1e-4, "high": 1e-2, "log": True}})
    points = candidate_points(plan, BaseParams(values), 1)
    assert len(points) == RANDOM_POINTS and all(1e-4 <= point[RATE] <= 1e-2 for point in points)
    assert points == candidate_points(plan, BaseParams(values), 1) != candidate_points(plan, BaseParams(values), 2)

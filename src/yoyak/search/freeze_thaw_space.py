"""The points that a freeze-thaw search can try, and their places for its Gaussian process."""

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import optuna

from yoyak.search.base_params import BaseParams
from yoyak.search.plan import Parameter, SearchPlan
from yoyak.search.points import grid_points, suggest_point

MAX_GRID = 1000  # A space with more points is searched by random points.
RANDOM_POINTS = 500
INACTIVE = 0.5  # the coordinate of a parameter that has no value in a point


def candidate_points(plan: SearchPlan, base: BaseParams, seed: int) -> list[dict[str, Any]]:
    """Points that can be tried next, in random order: all points of a small space, random points of a large one."""
    if _grid_size(plan) <= MAX_GRID:
        points = grid_points(plan, base)
        return [points[index] for index in np.random.default_rng(seed).permutation(len(points))]
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return [suggest_point(study.ask(), plan, base) for _ in range(RANDOM_POINTS)]


def _grid_size(plan: SearchPlan) -> float:
    try:
        return math.prod(len(parameter.grid_values()) for parameter in plan.parameters.values())
    except ValueError:  # a range of floats without a step
        return math.inf


def place_of(point: Mapping[str, Any], parameters: Mapping[str, Parameter]) -> tuple[float, ...]:
    """The coordinates of a point, each from 0 to 1.

    A range has one coordinate, linear or logarithmic. Choices that are numbers have one too, by their rank. Other choices have
    one coordinate each, of which that of the chosen value is 1.
    """
    place: list[float] = []
    for name, parameter in parameters.items():
        place += _coordinates(parameter, point[name]) if name in point else [INACTIVE] * _count_coordinates(parameter)
    return tuple(place)


def _are_numbers(choices: Sequence[Any]) -> bool:
    return all(isinstance(choice, int | float) and not isinstance(choice, bool) for choice in choices)


def _count_coordinates(parameter: Parameter) -> int:
    choices = parameter.choices
    return 1 if choices is None or _are_numbers(choices) else len(choices)


def _coordinates(parameter: Parameter, value: Any) -> list[float]:
    choices: list[Any] | None = parameter.choices
    if choices is None:
        assert parameter.low is not None and parameter.high is not None
        low, high, here = (math.log(end) if parameter.log else end for end in (parameter.low, parameter.high, value))
        return [(here - low) / (high - low) if high > low else INACTIVE]
    if _are_numbers(choices):
        ranks = sorted(set(choices))
        return [ranks.index(value) / (len(ranks) - 1) if len(ranks) > 1 else INACTIVE]
    return [float(choice == value and type(choice) is type(value)) for choice in choices]

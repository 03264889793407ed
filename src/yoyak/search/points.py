"""Points of a search: one value for each searched parameter whose condition holds, by the parameter's name."""

import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from yoyak.search.base_params import BaseParams, get_value
from yoyak.search.effects import has_effect, in_order
from yoyak.search.plan import PRESET, Adaptive, Parameter, SearchPlan, remove_float_error

if TYPE_CHECKING:
    import optuna

MIN_SHARE = 1 / 64  # Adaptive ranges do not become narrower than this share of the plan's ranges.


def suggest_point(trial: "optuna.Trial", plan: SearchPlan, base: BaseParams) -> dict[str, Any]:
    """Let Optuna choose a value for each parameter whose condition holds and that has an effect."""
    point: dict[str, Any] = {}
    for name in in_order(plan):
        parameter = plan.parameters[name]
        if not _is_active(name, parameter, point, base):
            continue
        low, high, step = parameter.low, parameter.high, parameter.step
        if parameter.choices is not None:
            point[name] = trial.suggest_categorical(name, parameter.choices)
        elif parameter.is_integer:
            point[name] = trial.suggest_int(name, int(low or 0), int(high or 0), step=int(step or 1), log=parameter.log)
        else:
            value = trial.suggest_float(name, float(low or 0), float(high or 0), step=step, log=parameter.log)
            point[name] = remove_float_error(value)
    return point


def grid_points(plan: SearchPlan, base: BaseParams) -> list[dict[str, Any]]:
    """Every combination of the parameters' values, each once, without parameters that have no effect or whose `when` fails."""
    points: list[dict[str, Any]] = []
    parameters = {name: plan.parameters[name] for name in in_order(plan)}
    for combination in itertools.product(*(parameter.grid_values() for parameter in parameters.values())):
        point: dict[str, Any] = {}
        for (name, parameter), value in zip(parameters.items(), combination, strict=True):
            if _is_active(name, parameter, point, base):
                point[name] = value
        if point not in points:
            points.append(point)
    return points


def starting_point(plan: SearchPlan, base: BaseParams) -> dict[str, Any] | None:
    """The point that stands for the base params; None if a value lies outside its range or if presets are searched."""
    values = base.with_fixed()
    point: dict[str, Any] = {}
    for name, parameter in plan.parameters.items():
        if name == PRESET:
            return None
        if not _condition_holds(parameter, values) or not has_effect(name, values):
            continue
        value = get_value(values, name)
        if not _contains(parameter, value):
            return None
        point[name] = value
    return point


def narrowed_plan(plan: SearchPlan, *, center: Mapping[str, Any], share: float) -> SearchPlan:
    """The plan with each range narrowed to `share` of its width around its value in `center` (nested params)."""
    parameters = {
        name: parameter if name == PRESET else parameter.narrowed(center=get_value(center, name), share=share)
        for name, parameter in plan.parameters.items()
    }
    return plan.model_copy(update={"parameters": parameters})


def adaptive_share(results: list[float], adaptive: Adaptive) -> float:
    """The current width of adaptive ranges, as a share of the plan's ranges.

    Args:
        results: The values of the finished trials in their order; higher is better.
        adaptive: When and by how much the ranges change.
    """
    share = 1.0
    for end in range(2 * adaptive.every, len(results) + 1, adaptive.every):
        previous_best, best = max(results[: end - adaptive.every]), max(results[:end])
        stagnates = best - previous_best < adaptive.threshold * abs(previous_best)
        share = max(share * adaptive.factor, MIN_SHARE) if stagnates else min(1.0, share / adaptive.factor)
    return share


def _is_active(name: str, parameter: Parameter, point: Mapping[str, Any], base: BaseParams) -> bool:
    """Whether a parameter has an effect and its condition holds, given the values chosen so far."""
    values = base.with_changes(base.changes_of(point))
    return _condition_holds(parameter, values) and (name == PRESET or has_effect(name, values))


def _condition_holds(parameter: Parameter, values: Mapping[str, Any]) -> bool:
    return all(get_value(values, name) == value for name, value in parameter.when.items())


def _contains(parameter: Parameter, value: Any) -> bool:
    if parameter.choices is not None:  # In Python True == 1, but they are different choices.
        return any(value == choice and isinstance(value, bool) == isinstance(choice, bool) for choice in parameter.choices)
    assert parameter.low is not None and parameter.high is not None
    if not isinstance(value, int | float) or not parameter.low <= value <= parameter.high:
        return False
    step = parameter.step or (1 if parameter.is_integer else None)
    steps = (value - parameter.low) / step if step else 0
    return abs(steps - round(steps)) <= 1e-9

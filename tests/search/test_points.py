"""Points of a search: suggested, of a grid, and the starting point."""

import math
from pathlib import Path
from typing import Any

import optuna
import pytest

from yoyak.search.base_params import BaseParams
from yoyak.search.plan import Adaptive, Parameter, SearchPlan
from yoyak.search.points import adaptive_share, grid_points, starting_point, suggest_point

ROOT = Path(__file__).parents[2]
PRESETS = ROOT / "presets"
RATE, BEAMS, SAMPLE = "training.learning_rate", "generation.num_beams", "generation.do_sample"


def plan_of(parameters: dict[str, Any], **more: Any) -> SearchPlan:
    return SearchPlan.model_validate({"parameters": parameters, "budget": {"trials": 5}, **more})


def base_of(values: dict[str, Any], fixed: dict[str, Any] | None = None) -> BaseParams:
    return BaseParams(values, fixed or {}, PRESETS)


def test_a_parameter_is_suggested_only_if_its_condition_holds(values: dict[str, Any]) -> None:
    plan = plan_of({SAMPLE: {"choices": [False, True]}, "generation.top_k": {"low": 10, "high": 100, "when": {SAMPLE: True}}})
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    seen = set()
    for _ in range(20):
        trial = study.ask()
        chosen = suggest_point(trial, plan, base_of(values))
        seen.add((chosen[SAMPLE], "generation.top_k" in chosen))
        study.tell(trial, 1.0)
    assert seen == {(False, False), (True, True)}


def test_a_condition_on_a_fixed_value_or_a_preset_holds(values: dict[str, Any]) -> None:
    plan = plan_of({"lora.r": {"low": 4, "high": 8, "when": {"model.family": "qlora"}}})
    trial = optuna.create_study().ask()
    assert suggest_point(trial, plan, base_of(values)) == {}
    assert set(suggest_point(trial, plan, base_of(values, {"model.family": "qlora"}))) == {"lora.r"}
    both = plan_of({"preset": {"choices": ["llama-tiny"]}, "lora.r": {"low": 4, "high": 8, "when": {"model.family": "qlora"}}})
    assert set(suggest_point(optuna.create_study().ask(), both, base_of(values))) == {"preset", "lora.r"}


def test_suggested_types_and_steps(values: dict[str, Any]) -> None:
    plan = plan_of(
        {
            BEAMS: {"low": 1, "high": 8},
            "generation.max_new_tokens": {"low": 50, "high": 200, "step": 10},
            "training.weight_decay": {"low": 0.0, "high": 0.3, "step": 0.05},
            RATE: {"low": 1e-6, "high": 1e-3, "log": True},
        }
    )
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=3))
    logs = []
    for _ in range(60):
        chosen = suggest_point(study.ask(), plan, base_of(values))
        assert isinstance(chosen[BEAMS], int) and 1 <= chosen[BEAMS] <= 8
        assert chosen["generation.max_new_tokens"] % 10 == 0
        assert chosen["training.weight_decay"] in [0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3], "without the noise of adding steps"
        logs.append(math.log10(chosen[RATE]))
    assert min(logs) < -5 and max(logs) > -4, "drawn on a log scale"


def test_a_grid_has_each_combination_once(values: dict[str, Any]) -> None:
    plan = plan_of(
        {
            SAMPLE: {"choices": [False, True]},
            "generation.top_k": {"low": 10, "high": 30, "step": 10, "when": {SAMPLE: True}},
            BEAMS: {"low": 1, "high": 2},
        },
        sampler={"name": "grid"},
    )
    points = grid_points(plan, base_of(values))
    assert len(points) == 2 + 2 * 3
    assert all(("generation.top_k" in point) == point[SAMPLE] for point in points)
    assert Parameter(low=0.0, high=0.3, step=0.1).grid_values() == [0.0, 0.1, 0.2, 0.3]


@pytest.mark.parametrize(
    ("parameter", "value", "inside"),
    [
        ({"low": 1, "high": 8}, 4, True),
        ({"low": 5, "high": 8}, 4, False),
        ({"low": 1, "high": 9, "step": 3}, 4, True),
        ({"low": 1, "high": 9, "step": 4}, 4, False),
        ({"choices": [1, 4]}, 4, True),
        ({"choices": [1, 2]}, 4, False),
        ({"choices": [True]}, 1, False),
    ],
)
def test_the_starting_point_lies_within_ranges(
    parameter: dict[str, Any], value: int, inside: bool, values: dict[str, Any]
) -> None:
    values["generation"]["num_beams"] = value
    point = starting_point(plan_of({BEAMS: parameter}), base_of(values))
    assert point == ({BEAMS: value} if inside else None)


def test_the_starting_point_includes_fixed_changes(values: dict[str, Any]) -> None:
    assert starting_point(plan_of({BEAMS: {"low": 1, "high": 8}}), base_of(values, {BEAMS: 7})) == {BEAMS: 7}
    assert starting_point(plan_of({"preset": {"choices": ["kobart-tiny"]}}), base_of(values)) is None


@pytest.mark.parametrize(
    ("results", "expected"),
    [
        ([100.0] * 10, 1.0),  # nothing to compare with yet
        ([100.0] * 19, 1.0),
        ([100.0] * 20, 0.5),
        ([100.0] * 30, 0.25),
        ([100.0] * 10 + [100.9] * 10, 0.5),
        ([100.0] * 10 + [101.0] * 10, 1.0),
        ([100.0] * 20 + [120.0] * 10, 1.0),  # narrow, then wide again
        ([100.0] * 30 + [120.0] * 10, 0.5),
        ([-100.0] * 10 + [-99.5] * 10, 0.5),  # less is better: message as negatives
        ([100.0] * 200, 1 / 64),
    ],
)
def test_the_adaptive_share_follows_the_improvement(results: list[float], expected: float) -> None:
    assert adaptive_share(results, Adaptive()) == expected


def test_a_param_without_effect_is_not_varied_wherever_it_stands_in_the_plan(values: dict[str, Any]) -> None:
    """Trials that differ in such a param alone would be the same experiment."""
    plan = plan_of(
        {
            "lora.r": {"choices": [4, 8]},
            "generation.length_penalty": {"choices": [0.5, 1.0]},
            "generation.top_k": {"choices": [10, 20]},
            BEAMS: {"choices": [1, 4]},
            SAMPLE: {"choices": [False, True]},
            "model.family": {"choices": ["kobart", "qlora"]},
        }
    )
    points = grid_points(plan, base_of(values))
    assert len(points) == (1 + 2) * (1 + 2) * (1 + 2)  # family and r, beams and penalty, sampling and top_k
    for point in points:
        assert ("lora.r" in point) == (point["model.family"] == "qlora")
        assert ("generation.length_penalty" in point) == (point[BEAMS] > 1)
        assert ("generation.top_k" in point) == point[SAMPLE]
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    chosen = [suggest_point(study.ask(), plan, base_of(values)) for _ in range(20)]
    assert all(("generation.length_penalty" in point) == (point[BEAMS] > 1) for point in chosen)
    start = starting_point(plan, base_of(values, {BEAMS: 1}))
    assert start == {"model.family": "kobart", BEAMS: 1, SAMPLE: False}

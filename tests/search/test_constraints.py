"""Reasons to reject the params of a trial."""

from pathlib import Path
from typing import Any

from yoyak.search.base_params import BaseParams
from yoyak.search.constraints import invalid_params, violated_constraint
from yoyak.search.plan import Constraints, SearchPlan

ROOT = Path(__file__).parents[2]
PRESETS = ROOT / "presets"
RATE, BEAMS, SAMPLE = "training.learning_rate", "generation.num_beams", "generation.do_sample"


def plan_of(parameters: dict[str, Any], **more: Any) -> SearchPlan:
    return SearchPlan.model_validate({"parameters": parameters, "budget": {"trials": 5}, **more})


def base_of(values: dict[str, Any], fixed: dict[str, Any] | None = None) -> BaseParams:
    return BaseParams(values, fixed or {}, PRESETS)


def test_constraints_and_invalid_combinations_give_a_reason(values: dict[str, Any]) -> None:
    limits = Constraints.model_validate({"forbid": [{BEAMS: {"above": 5}, "generation.max_new_tokens": {"above": 150}}]})
    reason = violated_constraint({BEAMS: 6, "generation.max_new_tokens": 160}, base_of(values), limits)
    assert reason == "forbidden combination: generation.num_beams=6, generation.max_new_tokens=160"
    assert violated_constraint({BEAMS: 6, "generation.max_new_tokens": 150}, base_of(values), limits) is None
    assert violated_constraint({BEAMS: 5, "generation.max_new_tokens": 200}, base_of(values), limits) is None
    reason = invalid_params({"generation.min_new_tokens": 80, "generation.max_new_tokens": 50}, base_of(values))
    assert reason and "80 is more than generation.max_new_tokens (50)" in reason

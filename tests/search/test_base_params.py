"""Changes to params.yaml by dotted name."""

from pathlib import Path
from typing import Any

from yoyak.config.params import leaf_keys
from yoyak.search.base_params import BaseParams, flatten, nest
from yoyak.search.plan import SearchPlan

ROOT = Path(__file__).parents[2]
PRESETS = ROOT / "presets"
RATE, BEAMS, SAMPLE = "training.learning_rate", "generation.num_beams", "generation.do_sample"


def plan_of(parameters: dict[str, Any], **more: Any) -> SearchPlan:
    return SearchPlan.model_validate({"parameters": parameters, "budget": {"trials": 5}, **more})


def base_of(values: dict[str, Any], fixed: dict[str, Any] | None = None) -> BaseParams:
    return BaseParams(values, fixed or {}, PRESETS)


def test_flatten_and_nest_are_inverse(values: dict[str, Any]) -> None:
    names = flatten(values)
    assert sorted(names) == sorted(leaf_keys())
    assert nest(names) == values
    assert names["training.lr_scheduler_kwargs"] == {}


def test_values_override_the_preset_which_overrides_fixed_changes(values: dict[str, Any]) -> None:
    chosen = {"preset": "llama-tiny", "training.weight_decay": 0.2}
    changes = base_of(values, {"training.weight_decay": 0.3, RATE: 0.5}).changes_of(chosen)
    assert changes["model.family"] == "qlora" and changes["training.weight_decay"] == 0.2
    assert "preset" not in changes
    same = base_of(values).changes_of({BEAMS: values["generation"]["num_beams"]})
    assert same == {}, "only what differs is a change"

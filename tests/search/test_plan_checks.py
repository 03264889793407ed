"""Checks of a plan against params.yaml, before the first trial."""

from pathlib import Path
from typing import Any

import pytest

from yoyak.search.base_params import BaseParams
from yoyak.search.plan import SearchPlan
from yoyak.search.plan_checks import check_plan
from yoyak.system.errors import YoyakError

ROOT = Path(__file__).parents[2]
PRESETS = ROOT / "presets"
RATE, BEAMS, SAMPLE = "training.learning_rate", "generation.num_beams", "generation.do_sample"


def plan_of(parameters: dict[str, Any], **more: Any) -> SearchPlan:
    return SearchPlan.model_validate({"parameters": parameters, "budget": {"trials": 5}, **more})


def base_of(values: dict[str, Any], fixed: dict[str, Any] | None = None) -> BaseParams:
    return BaseParams(values, fixed or {}, PRESETS)


def check(values: dict[str, Any], parameters: dict[str, Any], fixed: dict[str, Any] | None = None, **more: Any) -> None:
    check_plan(plan_of(parameters, **more), base_of(values, fixed), source="file")


def test_a_trial_trains_on_one_host(values: dict[str, Any]) -> None:
    with pytest.raises(YoyakError, match=r"hardware\.hosts: a search trains each trial on one host"):
        check(values, {RATE: {"low": 0.1, "high": 1}}, {"hardware.hosts": 2})


@pytest.mark.parametrize(
    ("parameters", "more", "message"),
    [
        (
            {"training.learnin_rate": {"low": 0.1, "high": 1}},
            {},
            "training.learnin_rate: params.yaml has no such key (did you mean training.learning_rate?)",
        ),
        ({"training": {"choices": [1]}}, {}, "training: params.yaml has no such key"),
        ({RATE: {"low": -1.0, "high": 0.1}}, {}, "training.learning_rate: input should be greater than 0 (is -1.0)"),
        ({RATE: {"low": 0.1, "high": 2.0}}, {}, "less than or equal to 1 (is 2.0)"),
        ({"training.optim": {"choices": ["adamw_torch", "adam"]}}, {}, "training.optim: input should be"),
        ({BEAMS: {"low": 1.0, "high": 4.5}}, {}, "generation.num_beams"),
        ({"training.lr_scheduler_type": {"choices": ["linear", "cosine_with_min_lr"]}}, {}, "cosine_with_min_lr needs min_lr"),
        ({"score.references": {"choices": ["mean", "max"]}}, {}, "score.references: cannot be searched"),
        ({"data.fold": {"choices": [1, 2]}, "training.seed": {"choices": [1]}}, {}, "data.fold: cannot be searched"),
        ({"data.dir": {"choices": ["data/sample"]}}, {}, "data.dir: cannot be searched"),
        ({"search.pruned": {"choices": [None]}}, {}, "search.pruned: cannot be searched"),
        ({"lora.r": {"low": 4, "high": 8}}, {}, "lora.r: has no effect on the kobart family"),
        ({"preset": {"choices": ["kobart-tiny", "gpt5"]}}, {}, "no preset 'gpt5'"),
        ({RATE: {"low": 0.1, "high": 1, "when": {"training.optm": 1}}}, {}, "training.optm: params.yaml has no such key"),
        (
            {RATE: {"low": 0.1, "high": 1}},
            {"sampler": {"name": "grid"}},
            "training.learning_rate: a grid search needs choices, or a range with a step",
        ),
        (
            {RATE: {"low": 0.1, "high": 1}},
            {"constraints": {"forbid": [{"lora.rr": {"above": 1}}]}},
            "lora.rr: params.yaml has no",
        ),
        ({RATE: {"low": 0.1, "high": 1}}, {"set": {"training.sed": 1}}, "training.sed: params.yaml has no such key"),
        (
            {"generation.window_merge": {"choices": ["turns", "join"]}},
            {},
            "generation.window_merge: has an effect only with generation.long_dialogues: windows; "
            "set or search generation.long_dialogues",
        ),
        (
            {"generation.top_k": {"low": 1, "high": 9}},
            {},
            "generation.top_k: has an effect only with generation.do_sample: true; set or search generation.do_sample",
        ),
        (
            {"generation.length_penalty": {"low": 0.5, "high": 2.0}},
            {"fixed": {BEAMS: 1}},
            "generation.length_penalty: has an effect only with generation.num_beams of 2 or more",
        ),
        (
            {"preset": {"choices": ["kobart-tiny"]}, RATE: {"low": 0.1, "high": 1, "when": {"preset": "kobart-tiny"}}},
            {},
            "preset: only `parameters` can contain it",
        ),
    ],
)
def test_a_plan_that_cannot_be_searched_is_refused(
    parameters: dict[str, Any], more: dict[str, Any], message: str, values: dict[str, Any]
) -> None:
    with pytest.raises(YoyakError) as error:
        check(values, parameters, **more)
    assert message in str(error.value) and str(error.value).startswith("file: ")


def test_all_faults_are_reported_together(values: dict[str, Any]) -> None:
    with pytest.raises(YoyakError, match="file: 2 faults") as error:
        check(values, {"a.b": {"choices": [1]}, "score.seed": {"low": 1, "high": 2}})
    assert "a.b" in str(error.value) and "score.seed" in str(error.value)


def test_a_value_that_needs_another_value_is_accepted(values: dict[str, Any]) -> None:
    values["generation"]["max_new_tokens"] = 40
    lengths = {
        "generation.min_new_tokens": {"low": 20, "high": 80},
        "generation.max_new_tokens": {"low": 50, "high": 200},
    }
    check(values, lengths)
    with pytest.raises(YoyakError, match="min_new_tokens: 80 is more than"):
        check(values, {"generation.min_new_tokens": lengths["generation.min_new_tokens"]})


def test_the_fixed_family_decides_what_has_an_effect(values: dict[str, Any]) -> None:
    check(values, {"lora.r": {"low": 4, "high": 8}}, fixed={"model.family": "qlora"})
    check(values, {"lora.r": {"low": 4, "high": 8, "when": {"model.family": "qlora"}}})
    check(values, {"lora.r": {"low": 4, "high": 8}, "model.family": {"choices": ["kobart", "qlora"]}})
    with pytest.raises(YoyakError, match=r"model\.kobart\.revision: has no effect on the qlora family"):
        check(values, {"model.kobart.revision": {"choices": [None]}}, fixed={"model.family": "qlora"})

"""Loading of search files, and the search files of this repository."""

import json
from pathlib import Path
from typing import Any

import pytest

from yoyak.config.yaml_files import read_yaml
from yoyak.search.base_params import BaseParams
from yoyak.search.plan import Parameter, SearchPlan
from yoyak.search.plan_checks import check_plan
from yoyak.search.plan_files import load_search_file
from yoyak.search.points import grid_points, starting_point
from yoyak.system.errors import YoyakError

ROOT = Path(__file__).parents[2]
PRESETS = ROOT / "presets"
RATE, BEAMS, SAMPLE = "training.learning_rate", "generation.num_beams", "generation.do_sample"


def plan_of(parameters: dict[str, Any], **more: Any) -> SearchPlan:
    return SearchPlan.model_validate({"parameters": parameters, "budget": {"trials": 5}, **more})


def base_of(values: dict[str, Any], fixed: dict[str, Any] | None = None) -> BaseParams:
    return BaseParams(values, fixed or {}, PRESETS)


def save(folder: Path, text: str, name: str = "mine") -> Path:
    path = folder / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


SHIPPED = sorted((ROOT / "searches").glob("*.yaml"))


def test_the_documented_searches_and_spaces_exist() -> None:
    names = {path.stem for path in SHIPPED}
    assert names >= {"quick", "standard", "large", "staged", "adaptive", "grid", "decoding", "pareto"}
    assert names >= {"recommended-kobart", "recommended-qlora", "augmentation", "augmentation-rewriting"}
    assert {path.stem for path in (ROOT / "searches/spaces").glob("*.yaml")} == {
        "model",
        "training",
        "generation",
        "preprocessing",
        "augmentation",
    }


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_each_search_file_is_valid_for_params_yaml(path: Path, values: dict[str, Any]) -> None:
    for plan in load_search_file(path).values():
        check_plan(plan, base_of(values, plan.set), source=str(path))
        assert plan.parameters


@pytest.mark.parametrize(("name", "stage"), [("quick", ""), ("standard", ""), ("decoding", ""), ("staged", "generation")])
def test_params_yaml_lies_within_the_search(name: str, stage: str, values: dict[str, Any]) -> None:
    plan = load_search_file(ROOT / f"searches/{name}.yaml")[stage]
    assert starting_point(plan, base_of(values)) is not None


def test_the_documented_budgets_and_settings() -> None:
    quick, standard, large = (load_search_file(ROOT / f"searches/{name}.yaml")[""] for name in ("quick", "standard", "large"))
    assert (quick.budget.trials, quick.sampler.name) == (10, "random")
    assert (standard.budget.trials, standard.sampler.name, standard.pruner.name) == (100, "tpe", "median")
    assert standard.sampler.model_dump(exclude={"name"}) == {"seed": 42, "n_startup_trials": 10, "n_ei_candidates": 24}
    assert standard.pruner.settings() == {"name": "median", "n_startup_trials": 5, "n_warmup_steps": 3, "interval_steps": 1}
    assert (large.budget.trials, large.jobs) == (500, 4)
    staged = load_search_file(ROOT / "searches/staged.yaml")
    assert {name: plan.budget.trials for name, plan in staged.items()} == {
        "model": 20,
        "learning-rate": 30,
        "generation": 30,
        "fine-tuning": 20,
    }


@pytest.mark.parametrize(
    ("name", "key", "expected"),
    [
        ("model", "lora.r", (4, 64, 4, False)),
        ("model", "lora.lora_alpha", (8, 128, 8, False)),
        ("model", "lora.lora_dropout", (0.0, 0.3, 0.05, False)),
        ("training", RATE, (1e-6, 1e-3, None, True)),
        ("training", "training.num_train_epochs", (1, 10, None, False)),
        ("training", "training.weight_decay", (0.0, 0.3, 0.01, False)),
        ("generation", BEAMS, (1, 8, None, False)),
        ("generation", "generation.max_new_tokens", (50, 200, 10, False)),
        ("generation", "generation.top_p", (0.7, 0.95, 0.05, False)),
    ],
)
def test_the_documented_spaces(name: str, key: str, expected: tuple[Any, ...]) -> None:
    parameter = Parameter.model_validate(dict(read_yaml(ROOT / f"searches/spaces/{name}.yaml"))[key])  # type: ignore[call-overload]
    assert (parameter.low, parameter.high, parameter.step, parameter.log) == expected


@pytest.mark.parametrize(
    ("parameter", "message"),
    [
        ({}, "a parameter needs either low and high, or choices"),
        ({"low": 1}, "a parameter needs either low and high, or choices"),
        ({"low": 2, "high": 1}, "low: 2 is greater than high (1)"),
        ({"low": 0, "high": 1, "log": True}, "log: a log scale needs low above 0"),
        ({"low": 1, "high": 4, "log": True, "step": 1}, "log: a log scale needs low above 0 and no step"),
        ({"low": 1, "high": 4, "step": 0}, "step: must be greater than 0"),
        ({"choices": []}, "choices: give at least one"),
        ({"choices": [1], "low": 1}, "do not combine choices with low"),
        ({"low": 1, "high": 2, "lo": 3}, "lo: unknown key"),
    ],
)
def test_a_wrong_parameter_is_named(parameter: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = save(tmp_path, json.dumps({"parameters": {RATE: parameter}, "budget": {"trials": 1}}))
    with pytest.raises(YoyakError) as error:
        load_search_file(path)
    assert str(path) in str(error.value) and f"parameters.{RATE}" in str(error.value) and message in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("budget: {trials: 1}", "parameters: the search varies no param"),
        ("parameters: {a: {choices: [1]}}", "budget.trials: missing"),
        ("budjet: {trials: 1}", "budjet: unknown key (did you mean budget?)"),
        ("spaces: [nope]\nbudget: {trials: 1}", "spaces: there is no file "),
        (
            "parameters: {a: {choices: [1]}}\nbudget: {trials: 1}\nobjectives: [bleu]",
            "unknown objective bleu; valid objectives: rouge1",
        ),
        ("parameters: {a: {choices: [1]}}\nbudget: {trials: 1}\nobjectives: []", "objectives"),
        (
            "parameters: {a: {choices: [1]}}\nbudget: {trials: 1}\nobjectives: [rouge1, rouge2]\npruner: {name: median}",
            "a search with several objectives supports neither",
        ),
        (
            "parameters: {a: {choices: [1]}}\nbudget: {trials: 1}\nobjectives: [model_megabytes]\npruner: {name: median}",
            "pruner: training reports no model_megabytes",
        ),
        ("parameters: {a: {choices: [1]}}\nsampler: {name: grid}\nadaptive: {}", "sampler: the points of a grid are fixed"),
        ("stages: 3", "stages: expected a list of mappings"),
        ("stages: [{trials: 1}]", "name: "),
        ("stages: [{name: a, parameters: {a: {choices: [1]}}}]", "stage a"),
        ("- 1", "expected a mapping with the keys about"),
    ],
)
def test_a_wrong_file_is_named_with_its_fault(text: str, message: str, tmp_path: Path) -> None:
    path = save(tmp_path, text)
    with pytest.raises(YoyakError) as error:
        load_search_file(path)
    assert str(path) in str(error.value) and message in str(error.value)


def test_the_keys_of_a_stage_override_those_of_the_file(tmp_path: Path) -> None:
    path = save(
        tmp_path,
        "seeds: 2\nbudget: {trials: 3}\nstages:\n"
        "  - {name: one, parameters: {a: {choices: [1]}}}\n"
        "  - {name: two, spaces: [s], parameters: {a: {choices: [2]}}, budget: {trials: 7}}\n",
    )
    save(tmp_path, "a: {choices: [5]}\nb: {low: 1, high: 2}", "spaces/s")
    plans = load_search_file(path)
    assert list(plans) == ["one", "two"]
    assert [plan.budget.trials for plan in plans.values()] == [3, 7] and all(plan.seeds == 2 for plan in plans.values())
    assert set(plans["two"].parameters) == {"a", "b"}
    assert plans["two"].parameters["a"].choices == [2], "the file overrides its spaces"
    with pytest.raises(YoyakError, match="two stages have the name one"):
        load_search_file(
            save(tmp_path, "parameters: {a: {choices: [1]}}\nbudget: {trials: 1}\nstages: [{name: one}, {name: one}]")
        )


def test_a_search_combines_augmentation_methods(values: dict[str, Any]) -> None:
    """None, paraphrase, back-translation and both."""
    plan = load_search_file(ROOT / "searches/augmentation-rewriting.yaml")[""]
    base = base_of(values, plan.set)
    changes = [base.changes_of(point) for point in grid_points(plan, base)]
    first, second = "augment.paraphrase.rate", "augment.back_translation.rate"
    assert changes == [{}, {second: 1}, {first: 1}, {second: 1, first: 1}]
    rules = load_search_file(ROOT / "searches/augmentation.yaml")[""]
    assert len(grid_points(rules, base_of(values))) == 8


def test_what_a_method_does_is_varied_only_with_the_method(values: dict[str, Any]) -> None:
    noise = {"choices": [0, 0.1]}
    both = plan_of({"augment.noise.typo": noise, "augment.noise.rate": {"choices": [0, 1]}}, sampler={"name": "grid"})
    assert [len(point) for point in grid_points(both, base_of(values))] == [1, 2, 2]
    with pytest.raises(YoyakError, match=r"augment\.noise\.typo: has an effect only with augment\.noise\.rate above 0"):
        check_plan(plan_of({"augment.noise.typo": noise}), base_of(values), source="mine")

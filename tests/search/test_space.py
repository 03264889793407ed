"""space.py: search files as plans, held against params.yaml before the first trial."""

import math
from pathlib import Path
from typing import Any

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from yoyak.config.params import leaf_keys
from yoyak.config.yaml_files import read_yaml
from yoyak.search import space
from yoyak.search.space import Adaptive, Constraints, Parameter, Plan
from yoyak.system.errors import YoyakError

ROOT = Path(__file__).parents[2]
PRESETS = ROOT / "presets"
RATE, BEAMS, SAMPLE = "training.learning_rate", "generation.num_beams", "generation.do_sample"


@pytest.fixture
def base() -> dict[str, Any]:
    values = read_yaml(ROOT / "params.yaml")
    assert isinstance(values, dict)
    return values


def plan_of(parameters: dict[str, Any], **more: Any) -> Plan:
    return Plan.model_validate({"parameters": parameters, "budget": {"trials": 5}, **more})


def checked(base: dict[str, Any], parameters: dict[str, Any], fixed: dict[str, Any] | None = None, **more: Any) -> None:
    space.check_plan(plan_of(parameters, **more), base, fixed=fixed or {}, folder=PRESETS, source="file")


def save(folder: Path, text: str, name: str = "mine") -> Path:
    path = folder / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


SHIPPED = sorted((ROOT / "searches").glob("*.yaml"))


def test_all_that_the_issue_names_is_shipped() -> None:
    names = {path.stem for path in SHIPPED}
    assert names >= {"quick", "standard", "large", "staged", "adaptive", "grid", "decoding", "pareto"}
    assert names >= {"recommended-kobart", "recommended-qlora"}
    assert {path.stem for path in (ROOT / "searches/spaces").glob("*.yaml")} == {
        "model",
        "training",
        "generation",
        "preprocessing",
    }


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_each_shipped_search_is_valid_for_the_params_as_they_are(path: Path, base: dict[str, Any]) -> None:
    for plan in space.load(path).values():
        space.check_plan(plan, base, fixed=plan.set, folder=PRESETS, source=str(path))
        assert plan.parameters


@pytest.mark.parametrize(("name", "stage"), [("quick", ""), ("standard", ""), ("decoding", ""), ("staged", "generation")])
def test_a_search_can_begin_where_the_params_stand(name: str, stage: str, base: dict[str, Any]) -> None:
    plan = space.load(ROOT / f"searches/{name}.yaml")[stage]
    assert space.where_it_stands(plan, base, fixed={}) is not None


def test_the_budgets_and_settings_that_the_documents_name() -> None:
    quick, standard, large = (space.load(ROOT / f"searches/{name}.yaml")[""] for name in ("quick", "standard", "large"))
    assert (quick.budget.trials, quick.sampler.name) == (10, "random")
    assert (standard.budget.trials, standard.sampler.name, standard.pruner.name) == (100, "tpe", "median")
    assert standard.sampler.model_dump(exclude={"name"}) == {"seed": 42, "n_startup_trials": 10, "n_ei_candidates": 24}
    assert standard.pruner.arguments() == {"name": "median", "n_startup_trials": 5, "n_warmup_steps": 3, "interval_steps": 1}
    assert (large.budget.trials, large.jobs) == (500, 4)
    staged = space.load(ROOT / "searches/staged.yaml")
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
def test_the_spaces_are_those_of_the_documents(name: str, key: str, expected: tuple[Any, ...]) -> None:
    parameter = Parameter.model_validate(dict(read_yaml(ROOT / f"searches/spaces/{name}.yaml"))[key])  # type: ignore[call-overload]
    assert (parameter.low, parameter.high, parameter.step, parameter.log) == expected


@pytest.mark.parametrize(
    ("parameter", "message"),
    [
        ({}, "a parameter has low and high, or choices"),
        ({"low": 1}, "a parameter has low and high, or choices"),
        ({"low": 2, "high": 1}, "low: 2 is more than high (1)"),
        ({"low": 0, "high": 1, "log": True}, "log: needs low above 0"),
        ({"low": 1, "high": 4, "log": True, "step": 1}, "log: needs low above 0 and no step"),
        ({"low": 1, "high": 4, "step": 0}, "step: must be above 0"),
        ({"choices": []}, "choices: at least one"),
        ({"choices": [1], "low": 1}, "choices: at least one, and neither low"),
        ({"low": 1, "high": 2, "lo": 3}, "lo: unknown key"),
    ],
)
def test_a_wrong_parameter_is_named(parameter: dict[str, Any], message: str, tmp_path: Path) -> None:
    import json

    path = save(tmp_path, json.dumps({"parameters": {RATE: parameter}, "budget": {"trials": 1}}))
    with pytest.raises(YoyakError) as told:
        space.load(path)
    assert str(path) in str(told.value) and f"parameters.{RATE}" in str(told.value) and message in str(told.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("budget: {trials: 1}", "parameters: there is nothing to search"),
        ("parameters: {a: {choices: [1]}}", "budget.trials: missing"),
        ("budjet: {trials: 1}", "budjet: unknown key (did you mean budget?)"),
        ("spaces: [nope]\nbudget: {trials: 1}", "spaces: no "),
        ("parameters: {a: {choices: [1]}}\nbudget: {trials: 1}\nobjectives: [bleu]", "objectives: bleu is none of rouge1"),
        ("parameters: {a: {choices: [1]}}\nbudget: {trials: 1}\nobjectives: []", "objectives"),
        (
            "parameters: {a: {choices: [1]}}\nbudget: {trials: 1}\nobjectives: [rouge1, rouge2]\npruner: {name: median}",
            "with several, Optuna cannot prune",
        ),
        (
            "parameters: {a: {choices: [1]}}\nbudget: {trials: 1}\nobjectives: [model_megabytes]\npruner: {name: median}",
            "pruner: training reports ROUGE",
        ),
        ("parameters: {a: {choices: [1]}}\nsampler: {name: grid}\nadaptive: {}", "sampler: a grid is fixed"),
        ("stages: 3", "stages: a list of mappings"),
        ("stages: [{trials: 1}]", "name: "),
        ("stages: [{name: a, parameters: {a: {choices: [1]}}}]", "stage a"),
        ("- 1", "no mapping of about"),
    ],
)
def test_a_wrong_file_is_named_with_its_fault(text: str, message: str, tmp_path: Path) -> None:
    path = save(tmp_path, text)
    with pytest.raises(YoyakError) as told:
        space.load(path)
    assert str(path) in str(told.value) and message in str(told.value)


def test_stages_lay_their_keys_over_the_files(tmp_path: Path) -> None:
    path = save(
        tmp_path,
        "seeds: 2\nbudget: {trials: 3}\nstages:\n"
        "  - {name: one, parameters: {a: {choices: [1]}}}\n"
        "  - {name: two, spaces: [s], parameters: {a: {choices: [2]}}, budget: {trials: 7}}\n",
    )
    save(tmp_path, "a: {choices: [5]}\nb: {low: 1, high: 2}", "spaces/s")
    plans = space.load(path)
    assert list(plans) == ["one", "two"]
    assert [plan.budget.trials for plan in plans.values()] == [3, 7] and all(plan.seeds == 2 for plan in plans.values())
    assert set(plans["two"].parameters) == {"a", "b"}
    assert plans["two"].parameters["a"].choices == [2], "what the file says wins over its spaces"
    with pytest.raises(YoyakError, match="one stands there twice"):
        space.load(save(tmp_path, "parameters: {a: {choices: [1]}}\nbudget: {trials: 1}\nstages: [{name: one}, {name: one}]"))


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
        ({"score.references": {"choices": ["mean", "max"]}}, {}, "score.references: a search must not choose how"),
        ({"data.dir": {"choices": ["data/sample"]}}, {}, "data.dir: a search must not choose"),
        ({"search.pruned": {"choices": [None]}}, {}, "search.pruned: a search must not choose"),
        ({"lora.r": {"low": 4, "high": 8}}, {}, "lora.r: has no effect on the kobart family"),
        ({"preset": {"choices": ["kobart-tiny", "gpt5"]}}, {}, "no preset 'gpt5'"),
        ({RATE: {"low": 0.1, "high": 1, "when": {"training.optm": 1}}}, {}, "training.optm: params.yaml has no such key"),
        (
            {RATE: {"low": 0.1, "high": 1}},
            {"sampler": {"name": "grid"}},
            "training.learning_rate: a grid needs choices or a step",
        ),
        (
            {RATE: {"low": 0.1, "high": 1}},
            {"constraints": {"forbid": [{"lora.rr": {"above": 1}}]}},
            "lora.rr: params.yaml has no",
        ),
        ({RATE: {"low": 0.1, "high": 1}}, {"set": {"training.sed": 1}}, "training.sed: params.yaml has no such key"),
        (
            {"preset": {"choices": ["kobart-tiny"]}, RATE: {"low": 0.1, "high": 1, "when": {"preset": "kobart-tiny"}}},
            {},
            "preset: it stands among `parameters` alone",
        ),
    ],
)
def test_what_cannot_be_searched_stops_before_the_first_trial(
    parameters: dict[str, Any], more: dict[str, Any], message: str, base: dict[str, Any]
) -> None:
    with pytest.raises(YoyakError) as told:
        checked(base, parameters, **more)
    assert message in str(told.value) and str(told.value).startswith("file: ")


def test_all_faults_are_told_at_once(base: dict[str, Any]) -> None:
    with pytest.raises(YoyakError, match="file: 2 faults") as told:
        checked(base, {"a.b": {"choices": [1]}, "score.seed": {"low": 1, "high": 2}})
    assert "a.b" in str(told.value) and "score.seed" in str(told.value)


def test_a_value_that_is_valid_only_beside_another_one_is_no_fault(base: dict[str, Any]) -> None:
    base["generation"]["max_new_tokens"] = 40
    lengths = {
        "generation.min_new_tokens": {"low": 20, "high": 80},
        "generation.max_new_tokens": {"low": 50, "high": 200},
    }
    checked(base, lengths)
    with pytest.raises(YoyakError, match="min_new_tokens: 80 is more than"):
        checked(base, {"generation.min_new_tokens": lengths["generation.min_new_tokens"]})


def test_the_fixed_family_decides_what_has_an_effect(base: dict[str, Any]) -> None:
    checked(base, {"lora.r": {"low": 4, "high": 8}}, fixed={"model.family": "qlora"})
    checked(base, {"lora.r": {"low": 4, "high": 8, "when": {"model.family": "qlora"}}})
    checked(base, {"lora.r": {"low": 4, "high": 8}, "model.family": {"choices": ["kobart", "qlora"]}})
    with pytest.raises(YoyakError, match=r"model\.kobart\.revision: has no effect on the qlora family"):
        checked(base, {"model.kobart.revision": {"choices": [None]}}, fixed={"model.family": "qlora"})


def test_flat_and_nested_are_each_others_reverse(base: dict[str, Any]) -> None:
    names = space.flat(base)
    assert sorted(names) == sorted(leaf_keys())
    assert space.nested(names) == base
    assert names["training.lr_scheduler_kwargs"] == {}


def test_settle_lays_choices_over_the_preset_over_what_is_fixed(base: dict[str, Any]) -> None:
    chosen = {"preset": "llama-tiny", "training.weight_decay": 0.2}
    changes = space.settle(chosen, base, fixed={"training.weight_decay": 0.3, RATE: 0.5}, folder=PRESETS)
    assert changes["model.family"] == "qlora" and changes["training.weight_decay"] == 0.2
    assert "preset" not in changes
    same = space.settle({BEAMS: base["generation"]["num_beams"]}, base, fixed={}, folder=PRESETS)
    assert same == {}, "only what differs is a change"


def test_conditions_decide_what_is_asked_for(base: dict[str, Any]) -> None:
    plan = plan_of({SAMPLE: {"choices": [False, True]}, "generation.top_k": {"low": 10, "high": 100, "when": {SAMPLE: True}}})
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    seen = set()
    for _ in range(20):
        trial = study.ask()
        chosen = space.suggest(trial, plan, base, fixed={}, folder=PRESETS)
        seen.add((chosen[SAMPLE], "generation.top_k" in chosen))
        study.tell(trial, 1.0)
    assert seen == {(False, False), (True, True)}


def test_a_condition_on_a_fixed_value_or_a_preset_holds(base: dict[str, Any]) -> None:
    plan = plan_of({"lora.r": {"low": 4, "high": 8, "when": {"model.family": "qlora"}}})
    trial = optuna.create_study().ask()
    assert space.suggest(trial, plan, base, fixed={}, folder=PRESETS) == {}
    assert set(space.suggest(trial, plan, base, fixed={"model.family": "qlora"}, folder=PRESETS)) == {"lora.r"}
    both = plan_of({"preset": {"choices": ["llama-tiny"]}, "lora.r": {"low": 4, "high": 8, "when": {"model.family": "qlora"}}})
    assert set(space.suggest(optuna.create_study().ask(), both, base, fixed={}, folder=PRESETS)) == {"preset", "lora.r"}


def test_suggested_kinds_and_steps(base: dict[str, Any]) -> None:
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
        chosen = space.suggest(study.ask(), plan, base, fixed={}, folder=PRESETS)
        assert isinstance(chosen[BEAMS], int) and 1 <= chosen[BEAMS] <= 8
        assert chosen["generation.max_new_tokens"] % 10 == 0
        assert chosen["training.weight_decay"] in [0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3], "without the noise of adding steps"
        logs.append(math.log10(chosen[RATE]))
    assert min(logs) < -5 and max(logs) > -4, "drawn on a log scale"


def test_a_grid_has_each_combination_once(base: dict[str, Any]) -> None:
    plan = plan_of(
        {
            SAMPLE: {"choices": [False, True]},
            "generation.top_k": {"low": 10, "high": 30, "step": 10, "when": {SAMPLE: True}},
            BEAMS: {"low": 1, "high": 2},
        },
        sampler={"name": "grid"},
    )
    points = space.grid(plan, base, fixed={}, folder=PRESETS)
    assert len(points) == 2 + 2 * 3
    assert all(("generation.top_k" in point) == point[SAMPLE] for point in points)
    assert Parameter(low=0.0, high=0.3, step=0.1).values() == [0.0, 0.1, 0.2, 0.3]


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
def test_where_the_params_stand(parameter: dict[str, Any], value: int, inside: bool, base: dict[str, Any]) -> None:
    base["generation"]["num_beams"] = value
    point = space.where_it_stands(plan_of({BEAMS: parameter}), base, fixed={})
    assert point == ({BEAMS: value} if inside else None)


def test_where_a_stage_starts_is_the_best_so_far(base: dict[str, Any]) -> None:
    assert space.where_it_stands(plan_of({BEAMS: {"low": 1, "high": 8}}), base, fixed={BEAMS: 7}) == {BEAMS: 7}
    assert space.where_it_stands(plan_of({"preset": {"choices": ["kobart-tiny"]}}), base, fixed={}) is None


@given(
    low=st.integers(0, 50),
    more=st.integers(0, 50),
    step=st.integers(1, 7),
    share=st.floats(0.02, 0.99),
    at=st.floats(0, 1),
)
def test_a_narrowed_range_lies_within_and_keeps_its_steps(low: int, more: int, step: int, share: float, at: float) -> None:
    parameter = Parameter(low=low, high=low + more, step=step)
    centre = low + round(at * (more // step)) * step
    near = parameter.around(centre, share)
    assert near.low is not None and near.high is not None
    assert low <= near.low <= centre <= near.high <= low + more
    assert (near.low - low) % step == 0 and (near.high - low) % step == 0
    assert isinstance(near.low, int) and near.whole
    assert near.high - near.low <= share * more + 1e-9 or near.low == near.high


def test_a_log_range_narrows_on_its_scale() -> None:
    near = Parameter(low=1e-6, high=1e-2, log=True).around(1e-4, 0.5)
    assert near.low == pytest.approx(1e-5) and near.high == pytest.approx(1e-3)
    at_the_edge = Parameter(low=1e-6, high=1e-2, log=True).around(1e-6, 0.5)
    assert at_the_edge.low == 1e-6 and at_the_edge.high == pytest.approx(1e-5)
    choices = Parameter(choices=[1, 2])
    assert choices.around(1, 0.1) is choices


@pytest.mark.parametrize("centre", [1e-3, 0.0, -1.0])
def test_a_range_without_the_value_in_use_narrows_at_its_nearer_end(centre: float) -> None:
    """params.yaml's own rate is above the range, and 0 has no logarithm."""
    parameter = Parameter(low=1e-5, high=1e-4, log=True)
    near = parameter.around(centre, 0.5)
    expected = [10**-4.25, 1e-4] if centre > 1e-4 else [1e-5, 10**-4.75]
    assert [near.low, near.high] == pytest.approx(expected)


def test_constraints_and_invalid_combinations_say_why(base: dict[str, Any]) -> None:
    limits = Constraints.model_validate({"forbid": [{BEAMS: {"above": 5}, "generation.max_new_tokens": {"above": 150}}]})
    reason = space.broken({BEAMS: 6, "generation.max_new_tokens": 160}, base, limits)
    assert reason == "forbidden: generation.num_beams=6 with generation.max_new_tokens=160"
    assert space.broken({BEAMS: 6, "generation.max_new_tokens": 150}, base, limits) is None
    assert space.broken({BEAMS: 5, "generation.max_new_tokens": 200}, base, limits) is None
    reason = space.broken({"generation.min_new_tokens": 80, "generation.max_new_tokens": 50}, base, limits)
    assert reason and "80 is more than generation.max_new_tokens (50)" in reason


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
        ([-100.0] * 10 + [-99.5] * 10, 0.5),  # less is better: told as negatives
        ([100.0] * 200, 1 / 64),
    ],
)
def test_the_width_follows_the_improvement_of_each_ten_results(results: list[float], expected: float) -> None:
    assert space.width(results, Adaptive()) == expected


def test_only_what_is_trained_makes_a_search_train() -> None:
    assert not plan_of({BEAMS: {"low": 1, "high": 2}}).trains
    assert plan_of({BEAMS: {"low": 1, "high": 2}, RATE: {"low": 0.1, "high": 1}}).trains
    assert plan_of({"preset": {"choices": ["kobart-tiny"]}}).trains

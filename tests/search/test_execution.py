"""Running a trial: seeds, objectives, pruning, failures and kills. A fake takes the place of DVC."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest

from tests.search.fakes import (
    BEAMS,
    CONTINUOUS,
    RATE,
    FakeClone,
    plan_of,
    run,
    states,
    trials,
)
from yoyak.search.experiments import ExperimentOutcome
from yoyak.search.progress import summary_lines
from yoyak.system.errors import YoyakError


def test_a_pruned_trial_leaves_an_experiment_with_the_reason(root: Path, clone: type[FakeClone]) -> None:
    plan = plan_of({RATE: {"low": 1e-4, "high": 1e-2, "log": True}}, trials=2, pruner={"name": "median"})

    def prune(name: str, changes: dict[str, Any]) -> ExperimentOutcome:
        if "search.pruned" in changes or name == "s-t0000":
            return ExperimentOutcome(0, ["train_kobart"])
        about = json.loads(clone.runs[-1][2]["YOYAK_TRIAL"])
        with_it = optuna.load_study(study_name="s", storage=about["storage"])
        with_it._storage.set_trial_user_attr(about["trial"], "pruned", "behind the median")
        return ExperimentOutcome(1)

    clone.behaviour = staticmethod(prune)
    opened = run(root, plan)
    assert states(opened) == ["COMPLETE", "PRUNED"]
    assert [name for name, *_ in clone.runs] == ["s-t0000", "s-t0001", "s-t0001"]
    assert clone.runs[2][1]["search.pruned"] == "behind the median" and RATE in clone.runs[2][1]
    assert "YOYAK_TRIAL" not in clone.runs[2][2], "nothing is trained there that could report"
    assert trials(opened)[1].user_attrs["experiments"] == ["s-t0001"]


def test_the_pruner_gets_the_curves_of_cached_trainings(root: Path, clone: type[FakeClone]) -> None:
    opened = run(root, plan_of({RATE: {"choices": [1e-3, 1e-4]}}, None, sampler={"name": "grid"}, pruner={"name": "median"}))
    assert [trial.intermediate_values for trial in trials(opened)] == [{1: 10.0, 2: 20.0}] * 2


def test_a_crash_is_a_failure_and_never_pruned(root: Path, clone: type[FakeClone], capsys: Any) -> None:
    clone.behaviour = staticmethod(lambda name, changes: ExperimentOutcome(1 if name == "s-t0001" else 0))
    opened = run(root, plan_of(CONTINUOUS))
    assert states(opened) == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]
    assert trials(opened)[1].user_attrs["failed"] == "failed: output of the run"
    assert "output of the run" in capsys.readouterr().out
    run(root, plan_of(CONTINUOUS))
    assert len(clone.runs) == 4, "a crash is not tried again: it would crash again"


def test_the_search_ends_after_five_failures_in_a_row(root: Path, clone: type[FakeClone]) -> None:
    clone.behaviour = staticmethod(lambda name, changes: ExperimentOutcome(1))
    with pytest.raises(YoyakError, match=r"5 trials in a row failed; read the log of the last one: .*s-t0004\.log"):
        run(root, plan_of(CONTINUOUS, trials=50))
    assert len(clone.runs) == 5


def test_a_killed_run_starts_again_at_most_three_times(root: Path, clone: type[FakeClone]) -> None:
    def kill(name: str, changes: dict[str, Any]) -> ExperimentOutcome:
        before = len([run for run in clone.runs if run[0] == name])
        return ExperimentOutcome(-9 if name == "s-t0002" or (name == "s-t0001" and before == 1) else 0)

    clone.behaviour = staticmethod(kill)
    opened = run(root, plan_of(CONTINUOUS))
    assert states(opened) == ["COMPLETE", "COMPLETE", "FAIL", "COMPLETE"]
    assert [name for name, *_ in clone.runs] == ["s-t0000", "s-t0001", "s-t0001", *["s-t0002"] * 3, "s-t0003"]
    assert trials(opened)[2].user_attrs["failed"].startswith("killed 3 times")


def test_a_trial_that_violates_a_constraint_is_pruned_before_training(root: Path, clone: type[FakeClone]) -> None:
    plan = plan_of(
        {BEAMS: {"choices": [4, 6, 8]}}, None, sampler={"name": "grid"}, constraints={"forbid": [{BEAMS: {"above": 5}}]}
    )
    opened = run(root, plan)
    assert sorted(states(opened)) == ["COMPLETE", "PRUNED", "PRUNED"]
    pruned = [changes for _, changes, _ in clone.runs if BEAMS in changes]
    assert len(pruned) == 2 and all(
        "forbidden combination: generation.num_beams" in changes["search.pruned"] for changes in pruned
    )


def test_params_that_are_invalid_together_are_pruned_without_an_experiment(root: Path, clone: type[FakeClone]) -> None:
    together = {
        "training.metric_for_best_model": {"choices": ["rouge_sum", "loss"]},
        "training.predict_with_generate": {"choices": [False]},
    }
    opened = run(root, plan_of(together, None, sampler={"name": "grid"}))
    assert states(opened) == ["PRUNED", "COMPLETE"] and len(clone.runs) == 1
    assert "training.predict_with_generate" in trials(opened)[0].user_attrs["pruned"]


def test_memory_is_estimated_before_any_training(root: Path, clone: type[FakeClone], monkeypatch: Any) -> None:
    from yoyak.models import memory_estimate

    def estimate(params: Any) -> Any:
        return SimpleNamespace(peak=params.training.per_device_train_batch_size * memory_estimate.GIB)

    monkeypatch.setattr(memory_estimate, "estimate_for_params", estimate)
    key = "training.per_device_train_batch_size"
    plan = plan_of({key: {"choices": [4, 32]}}, None, sampler={"name": "grid"}, constraints={"memory_gib": 16})
    opened = run(root, plan)
    assert {trial.params[key]: trial.state.name for trial in trials(opened)} == {4: "COMPLETE", 32: "PRUNED"}
    assert clone.runs[1][1]["search.pruned"] == "the estimated peak memory of 32.00 GiB exceeds constraints.memory_gib (16)"


def test_several_seeds_are_run_and_their_mean_is_the_value(root: Path, clone: type[FakeClone]) -> None:
    clone.score = staticmethod(lambda changes: 100.0 + changes["training.seed"])
    plan = plan_of({RATE: {"choices": [1e-3]}}, None, sampler={"name": "grid"}, seeds=3, pruner={"name": "median"})
    opened = run(root, plan)
    assert [name for name, *_ in clone.runs] == ["s-t0000-s42", "s-t0000-s43", "s-t0000-s44"]
    assert trials(opened)[0].value == 143.0 and len(trials(opened)[0].user_attrs["scores"]) == 3
    assert ["YOYAK_TRIAL" in environment for *_, environment in clone.runs] == [True, False, False]


def test_seeds_of_a_decoding_search_train_nothing(root: Path, clone: type[FakeClone]) -> None:
    run(root, plan_of({"generation.do_sample": {"choices": [True]}}, None, sampler={"name": "grid"}, seeds=2))
    assert [sorted(changes) for _, changes, _ in clone.runs] == [["generation.do_sample", "generation.seed"]] * 2


def test_several_objectives_give_a_pareto_front(root: Path, clone: type[FakeClone]) -> None:
    plan = plan_of(
        {BEAMS: {"choices": [1, 8]}},
        None,
        sampler={"name": "grid"},
        objectives=["content.rouge_sum", "seconds_per_dialogue", "model_megabytes"],
    )
    opened = run(root, plan)
    assert sorted(trial.values for trial in trials(opened)) == [[50.5, 0.25, 5.0], [54.0, 0.25, 5.0]]
    message = "\n".join(summary_lines(opened))
    assert "Pareto front (1 trials" in message and "dvc exp apply s-t0001" in message

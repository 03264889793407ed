"""Trials whose worker has stopped are repeated."""

import time
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from tests.search.fakes import (
    CONTINUOUS,
    LENGTH,
    RATE,
    FakeClone,
    enqueue_points,
    open_only,
    plan_of,
    run,
    states,
    trials,
)
from yoyak.search.experiments import ExperimentOutcome
from yoyak.search.results import rank_trials
from yoyak.search.trials import finished_trials
from yoyak.search.workers import Worker


def name_of_stopped_worker() -> str:
    gone = Worker()
    gone.close()
    return gone.name


def test_an_interrupted_trial_is_repeated_with_its_params_under_its_name(root: Path, clone: type[FakeClone]) -> None:
    def die(name: str, changes: dict[str, Any]) -> ExperimentOutcome:
        if name == "s-t0001" and len([run for run in clone.runs if run[0] == name]) == 1:
            raise KeyboardInterrupt
        return ExperimentOutcome(0, ["score"])

    clone.behaviour = staticmethod(die)
    with pytest.raises(KeyboardInterrupt):
        run(root, plan_of(CONTINUOUS))
    opened = run(root, plan_of(CONTINUOUS))
    found = trials(opened)
    assert [name for name, *_ in clone.runs] == ["s-t0000", "s-t0001", "s-t0001", "s-t0003", "s-t0004"]
    assert found[1].state == TrialState.FAIL and found[2].user_attrs["retry_of"] == 1
    assert found[2].params == found[1].params and found[2].state == TrialState.COMPLETE
    assert len(finished_trials(opened.study)) == 4, "what was interrupted does not count"


@pytest.mark.parametrize("reached", ["asked", "owned", "suggested"])
def test_a_trial_of_a_killed_worker_is_repeated_whatever_was_written(reached: str, root: Path, clone: type[FakeClone]) -> None:
    plan = plan_of(CONTINUOUS, trials=2)
    opened = open_only(root, plan)
    enqueue_points(opened)
    trial = opened.study.ask()
    if reached != "asked":
        trial.set_user_attr("worker", name_of_stopped_worker())
    if reached == "suggested":
        trial.suggest_float(LENGTH, 0.5, 2.0)
        trial.set_user_attr("changes", {})
    again = run(root, plan)
    assert states(again)[0] == "FAIL" and trials(again)[1].user_attrs == {
        **trials(again)[1].user_attrs,
        "retry_of": 0,
        "after": 0,
    }
    assert [name for name, *_ in clone.runs] == ["s-t0000", "s-t0002"]
    assert clone.runs[0][1] == {}, "the params that it was to try"


def test_a_trial_that_another_worker_runs_is_waited_for(root: Path, clone: type[FakeClone], monkeypatch: Any) -> None:
    plan = plan_of(CONTINUOUS, trials=3)
    opened = open_only(root, plan)
    other = Worker()
    enqueue_points(opened)
    trial = opened.study.ask()
    trial.set_user_attr("worker", other.name)
    trial.set_user_attr("changes", {})

    def end_it(seconds: float) -> None:
        if opened.study.trials[0].state == TrialState.RUNNING:
            opened.study.tell(trial, 500.0)

    monkeypatch.setattr(time, "sleep", end_it)
    again = run(root, plan)
    other.close()
    assert states(again) == ["COMPLETE"] * 3 and len(clone.runs) == 2
    assert rank_trials(again.study, ["rouge_sum"])[0].number == 0, "waited for, so that the best is known"


def test_a_trial_killed_after_it_was_pruned_is_not_trained_again(root: Path, clone: type[FakeClone]) -> None:
    plan = plan_of({RATE: {"low": 1e-4, "high": 1e-2, "log": True}}, trials=1, pruner={"name": "median"})
    opened = open_only(root, plan)
    enqueue_points(opened)
    trial = opened.study.ask()
    trial.set_user_attr("worker", name_of_stopped_worker())
    trial.suggest_float(RATE, 1e-4, 1e-2, log=True)
    trial.set_user_attr("changes", {})
    trial.set_user_attr("pruned", "it was behind")
    again = run(root, plan)
    assert states(again) == ["FAIL", "PRUNED"]
    assert [(name, changes) for name, changes, _ in clone.runs] == [("s-t0000", {"search.pruned": "it was behind"})]

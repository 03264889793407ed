"""Which params a study tries next, and how many trials it has."""

import time
from pathlib import Path
from typing import Any

import pytest

from tests.search.fakes import (
    BEAMS,
    CONTINUOUS,
    LENGTH,
    FakeClone,
    open_only,
    plan_of,
    run,
    states,
    trials,
)
from yoyak.search.experiments import ExperimentOutcome
from yoyak.search.trials import finished_trials


def test_the_first_trial_uses_params_yaml_and_the_budget_is_kept(root: Path, clone: type[FakeClone]) -> None:
    opened = run(root, plan_of(CONTINUOUS))
    assert states(opened) == ["COMPLETE"] * 4
    assert [name for name, *_ in clone.runs] == ["s-t0000", "s-t0001", "s-t0002", "s-t0003"]
    assert clone.runs[0][1] == {} and all(set(changes) == {LENGTH} for _, changes, _ in clone.runs[1:])
    first = trials(opened)[0].user_attrs
    assert first["experiments"] == ["s-t0000"] and first["stages"] == ["predict", "score"]


def test_the_same_command_adds_nothing_to_a_finished_study(root: Path, clone: type[FakeClone]) -> None:
    run(root, plan_of(CONTINUOUS))
    opened = run(root, plan_of(CONTINUOUS))
    assert len(clone.runs) == 4 and states(opened) == ["COMPLETE"] * 4
    assert states(run(root, plan_of(CONTINUOUS, trials=6))) == ["COMPLETE"] * 6, "more trials go on where it stopped"
    assert len(clone.runs) == 6


@pytest.mark.parametrize("sampler", ["tpe", *(pytest.param(name, marks=pytest.mark.very_slow) for name in ("random", "gp"))])
def test_a_search_in_parts_tries_the_params_of_a_search_in_one_part(sampler: str, root: Path, clone: type[FakeClone]) -> None:
    clone.score = staticmethod(lambda changes: 100.0 - abs(changes.get(LENGTH, 1.0) - 1.3))
    more = {"sampler": {"name": sampler, "n_startup_trials": 3}}
    whole = [trial.params for trial in trials(run(root, plan_of(CONTINUOUS, 8, **more), name="whole"))]
    run(root, plan_of(CONTINUOUS, 3, **more), name="parts")
    run(root, plan_of(CONTINUOUS, 5, **more), name="parts")
    parts = [trial.params for trial in trials(run(root, plan_of(CONTINUOUS, 8, **more), name="parts"))]
    assert parts == whole
    assert len({params[LENGTH] for params in whole}) == 8


def test_params_that_were_tried_already_are_not_run_again(root: Path, clone: type[FakeClone]) -> None:
    opened = run(root, plan_of({BEAMS: {"choices": [4, 8]}}, trials=10))
    assert len(clone.runs) == 2 and states(opened) == ["COMPLETE"] * 10
    assert {trial.value for trial in trials(opened)} == {104.0, 108.0}
    again = [trial for trial in trials(opened) if "same_as" in trial.user_attrs]
    assert len(again) == 8 and all(trial.user_attrs["experiments"][0] in ("s-t0000", "s-t0001", "s-t0002") for trial in again)
    assert len(finished_trials(opened.study)) == 2


def test_a_grid_runs_each_point_once_and_ends(root: Path, clone: type[FakeClone]) -> None:
    plan = plan_of({BEAMS: {"choices": [1, 2]}, LENGTH: {"choices": [0.5, 1.0, 1.5]}}, None, sampler={"name": "grid"})
    opened = run(root, plan)
    # With one beam length_penalty has no effect, so that its three values are one point.
    assert len(clone.runs) == 4 == len({tuple(sorted(trial.params.items())) for trial in trials(opened)})
    run(root, plan)
    assert len(clone.runs) == 4


def test_a_grid_that_was_enqueued_in_part_is_completed(root: Path, clone: type[FakeClone]) -> None:
    plan = plan_of({BEAMS: {"choices": [1, 2, 3]}}, None, sampler={"name": "grid"})
    opened = open_only(root, plan)
    opened.study.enqueue_trial({BEAMS: 2})
    assert sorted(trial.params[BEAMS] for trial in trials(run(root, plan))) == [1, 2, 3]


def test_no_trial_begins_after_the_hours_of_the_budget(root: Path, clone: type[FakeClone], monkeypatch: Any) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    def an_hour(name: str, changes: dict[str, Any]) -> ExperimentOutcome:
        now[0] += 3600
        return ExperimentOutcome(0)

    clone.behaviour = staticmethod(an_hour)
    run(root, plan_of(CONTINUOUS, budget={"trials": 50, "hours": 2.5}))
    assert len(clone.runs) == 3


def test_adaptive_ranges_narrow_around_the_best(root: Path, clone: type[FakeClone]) -> None:
    clone.score = staticmethod(lambda changes: 100.0 - abs(changes.get(LENGTH, 1.0) - 1.0) / 100)
    opened = run(root, plan_of(CONTINUOUS, trials=18, adaptive={"every": 4}))
    values = [trial.params[LENGTH] for trial in trials(opened)]
    assert max(values[:8]) - min(values[:8]) > 1.0
    late = values[16:]
    assert all(abs(value - 1.0) <= 1.5 / 8 / 2 + 0.01 for value in late), late


def test_a_plan_with_around_stays_near_the_starting_params(root: Path, clone: type[FakeClone]) -> None:
    opened = run(root, plan_of(CONTINUOUS, trials=8, around=0.2), fixed={LENGTH: 1.8})
    values = [trial.params[LENGTH] for trial in trials(opened)]
    assert values[0] == 1.8 and all(1.65 - 1e-9 <= value <= 1.95 + 1e-9 for value in values) and len(set(values)) == 8

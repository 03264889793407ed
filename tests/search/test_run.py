"""The loop of a search, and search files with stages."""

from pathlib import Path
from typing import Any

import pytest

from tests.search.fakes import (
    BEAMS,
    CONTINUOUS,
    LENGTH,
    FakeClone,
    plan_of,
    run,
)
from yoyak.search.experiments import ExperimentOutcome
from yoyak.search.plan import SearchPlan
from yoyak.search.run import run_search_file
from yoyak.search.trials import finished_trials
from yoyak.system.errors import YoyakError


def test_a_database_that_fails_is_reported_and_nothing_is_lost(root: Path, clone: type[FakeClone]) -> None:
    database = root / ".searches/studies.db"
    kept: list[bytes] = []

    def fail(name: str, changes: dict[str, Any]) -> ExperimentOutcome:
        if name == "s-t0001":
            kept.append(database.read_bytes())
            database.write_bytes(b"this is no database any more, " * 2000)
        return ExperimentOutcome(0)

    clone.behaviour = staticmethod(fail)
    with pytest.raises(YoyakError, match=r"study s: the database failed .* the same command continues"):
        run(root, plan_of(CONTINUOUS))
    database.write_bytes(kept[0])
    clone.behaviour = staticmethod(lambda name, changes: ExperimentOutcome(0))
    assert len(finished_trials(run(root, plan_of(CONTINUOUS)).study)) == 4


def run_stages(root: Path, only_stage: str | None = None) -> None:
    base = {"sampler": {"name": "grid"}}
    plans = {
        "one": SearchPlan.model_validate({**base, "parameters": {BEAMS: {"choices": [2, 6]}}}),
        "two": SearchPlan.model_validate({**base, "parameters": {LENGTH: {"choices": [0.8, 1.2]}}}),
    }
    run_search_file(plans, name="st", only_stage=only_stage, root=root, source="file")


def test_each_stage_starts_from_the_best_trial_of_the_previous_one(root: Path, clone: type[FakeClone]) -> None:
    run_stages(root)
    assert [(name, changes) for name, changes, _ in clone.runs][2:] == [
        ("st-two-t0000", {BEAMS: 6, LENGTH: 0.8}),
        ("st-two-t0001", {BEAMS: 6, LENGTH: 1.2}),
    ]
    run_stages(root)
    assert len(clone.runs) == 4, "finished stages are not run again"


def test_a_single_stage_starts_from_the_stages_that_were_run(root: Path, clone: type[FakeClone]) -> None:
    run_stages(root, only_stage="one")
    assert len(clone.runs) == 2
    run_stages(root, only_stage="two")
    assert clone.runs[-1][1] == {BEAMS: 6, LENGTH: 1.2}


def test_a_single_stage_can_run_first(root: Path, clone: type[FakeClone]) -> None:
    run_stages(root, only_stage="two")
    assert [changes for _, changes, _ in clone.runs] == [{LENGTH: 0.8}, {LENGTH: 1.2}]


def test_a_stage_continues_with_the_params_it_began_with(root: Path, clone: type[FakeClone]) -> None:
    def stop(name: str, changes: dict[str, Any]) -> ExperimentOutcome:
        if name == "st-two-t0001" and len(clone.runs) == 4:
            raise KeyboardInterrupt
        return ExperimentOutcome(0)

    clone.behaviour = staticmethod(stop)
    with pytest.raises(KeyboardInterrupt):
        run_stages(root)
    clone.behaviour = staticmethod(lambda name, changes: ExperimentOutcome(0))
    run_stages(root)
    assert [name for name, *_ in clone.runs] == ["st-one-t0000", "st-one-t0001", "st-two-t0000", "st-two-t0001", "st-two-t0001"]


@pytest.mark.parametrize("name", ["a b", "a/b", "", "-x", "가"])
def test_a_name_that_no_experiment_can_have_is_refused(name: str, root: Path) -> None:
    with pytest.raises(YoyakError, match="a name consists of ASCII letters, digits"):
        run_search_file({"": plan_of(CONTINUOUS)}, name=name, only_stage=None, root=root, source="file")

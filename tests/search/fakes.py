"""A stand-in for the clones in which trials run, and helpers to run a search with it."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from yoyak.config.params import parse_params
from yoyak.config.yaml_files import read_yaml
from yoyak.search.base_params import apply_changes, flatten
from yoyak.search.experiments import ExperimentOutcome
from yoyak.search.plan import SearchPlan
from yoyak.search.proposals import Proposals
from yoyak.search.run import StudyRun
from yoyak.search.running_trials import RunningTrials
from yoyak.search.study_setup import OpenedStudy, open_study
from yoyak.search.workers import Worker

BEAMS, RATE, LENGTH = "generation.num_beams", "training.learning_rate", "generation.length_penalty"
Behaviour = Callable[[str, dict[str, Any]], ExperimentOutcome]
CONTINUOUS = {LENGTH: {"low": 0.5, "high": 2.0}}  # No two trials have the same params.


def scores(rouge_sum: float, low: float, content: float = 50.0) -> dict[str, Any]:
    """metrics/scores.json with an interval from `low`."""
    return {
        "rouge_sum": rouge_sum,
        "content": {"rouge_sum": content},
        "interval": {"rouge_sum": [low, rouge_sum + 5], "content": {"rouge_sum": [content - 1, content + 1]}},
    }


class FakeClone:
    """Takes the place of an ExperimentClone: `behaviour` decides how a run ends, `runs` lists the runs."""

    runs: list[tuple[str, dict[str, Any], dict[str, str]]]
    behaviour: Behaviour
    score: Callable[[dict[str, Any]], float]

    def __init__(self, root: Path, folder: Path, snapshot: object) -> None:
        self.changes: dict[str, Any] = {}

    def run(self, name: str, overlay: Mapping[str, Any], *, log: Path, environment: Mapping[str, str]) -> ExperimentOutcome:
        self.changes = flatten(overlay)
        values = read_yaml(Path("params.yaml"))
        assert isinstance(values, dict)
        parse_params(apply_changes(self.changes, values), source=name)  # A real run checks the params too.
        type(self).runs.append((name, self.changes, dict(environment)))
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text("output of the run\n", encoding="utf-8")
        outcome = type(self).behaviour(name, self.changes)
        outcome.log = log
        return outcome

    def scores(self) -> dict[str, Any]:
        value = type(self).score(self.changes)
        return scores(value, value - 2, content=value / 2)

    def row_scores(self, column: str) -> list[float]:
        value = type(self).score(self.changes)
        sign = 1 if int(value) % 2 else -1
        return [(value if column == "rouge_sum" else value / 2) + 3 * sign * (-1) ** row for row in range(20)]

    def dev_curve(self, family: str, metric: str) -> dict[int, float]:
        return {1: 10.0, 2: 20.0}

    def kill(self) -> None:
        pass

    def model_bytes(self, family: str) -> int:
        return 5_000_000

    def seconds_per_dialogue(self, rows: int) -> float:
        return 0.25


def plan_of(parameters: dict[str, Any], trials: int | None = 4, **more: Any) -> SearchPlan:
    return SearchPlan.model_validate(
        {"parameters": parameters, "sampler": {"name": "random"}, "budget": {"trials": trials}, **more}
    )


def open_only(root: Path, plan: SearchPlan, name: str = "s", fixed: dict[str, Any] | None = None) -> OpenedStudy:
    return open_study(name, plan, fixed=fixed or {}, snapshot=None, root=root, source="file")


def enqueue_points(opened: OpenedStudy) -> None:
    Proposals(opened, RunningTrials(opened), worker_name="test", deadline=None).enqueue_points()


def run(root: Path, plan: SearchPlan, name: str = "s", fixed: dict[str, Any] | None = None) -> OpenedStudy:
    worker = Worker()
    try:
        opened = open_only(root, plan, name, fixed)
        StudyRun(opened, worker).run()
        return opened
    finally:
        worker.close()


def states(opened: OpenedStudy) -> list[str]:
    return [trial.state.name for trial in opened.trials()]


def trials(opened: OpenedStudy) -> list[FrozenTrial]:
    return opened.trials()


def add_trial(
    study: optuna.Study, values: list[float] | None, state: TrialState = TrialState.COMPLETE, **attributes: Any
) -> None:
    study.add_trial(optuna.trial.create_trial(values=values, state=state, user_attrs=attributes))

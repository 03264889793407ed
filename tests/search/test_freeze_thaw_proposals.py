"""Freeze-thaw searches: what is trained next, also after kills. A fake takes the place of DVC and of the training."""

import json
import math
import re
from collections import Counter
from pathlib import Path
from typing import Any

import optuna
import pytest

from tests.search.fakes import RATE, FakeClone, plan_of, run, states, trials
from yoyak.reports.search_page import count_states
from yoyak.search.experiments import ExperimentOutcome
from yoyak.search.plan import SearchPlan
from yoyak.search.results import rank_trials
from yoyak.search.study_setup import OpenedStudy
from yoyak.search.trials import is_paused

EPOCHS = 3
GRID = [1e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 1e-1]  # params.yaml has 1e-3; 3e-3 is best


def value_of(rate: float, epoch: int) -> float:
    return 100 - 10 * abs(math.log10(rate / 3e-3)) - 20 / epoch


class FakeTraining:
    """Trains epoch by epoch in a fake clone; pauses where the search wants it. It stops in place of what `stops` names."""

    def __init__(self, clone: type[FakeClone]) -> None:
        self.clone, self.trained = clone, Counter[float]()
        self.slices: list[tuple[str, int]] = []  # trial and last epoch of each run
        self.stops: set[tuple[str, int, str]] = set()  # trial, epoch, and "report", "pause" or "end"
        clone.behaviour = staticmethod(self.run)
        clone.score = staticmethod(lambda changes: value_of(changes.get(RATE, 1e-3), EPOCHS) + 5)

    def run(self, name: str, changes: dict[str, Any]) -> ExperimentOutcome:
        if "search.pruned" in changes:
            self.stop(name, 0, "prune")
            return ExperimentOutcome(0)
        rate, about = changes.get(RATE, 1e-3), json.loads(self.clone.runs[-1][2]["YOYAK_TRIAL"])
        study = optuna.load_study(study_name="s", storage=about["storage"])
        trial = optuna.trial.Trial(study, about["trial"])
        while self.trained[rate] < EPOCHS:
            if self.trained[rate] >= about["until"]:
                self.stop(name, self.trained[rate], "pause")
                trial.set_user_attr("checkpoints", f"train-{rate}")
                trial.set_user_attr("paused", self.trained[rate])
                self.slices.append((name, self.trained[rate]))
                return ExperimentOutcome(1)
            self.stop(name, self.trained[rate] + 1, "report")
            self.trained[rate] += 1
            trial.report(value_of(rate, self.trained[rate]), self.trained[rate])
        self.stop(name, EPOCHS, "end")
        self.slices.append((name, EPOCHS))
        return ExperimentOutcome(0, ["train_kobart"])

    def stop(self, name: str, epoch: int, where: str) -> None:
        if (name, epoch, where) in self.stops:
            self.stops.remove((name, epoch, where))
            raise KeyboardInterrupt


def freeze_thaw(epochs: int = 12, **more: Any) -> SearchPlan:
    return plan_of(
        {RATE: {"choices": GRID}},
        sampler={"name": "freeze_thaw", "n_startup_trials": 3},
        budget={"epochs": epochs},
        set={"training.num_train_epochs": EPOCHS},
        **more,
    )


def outcome(opened: OpenedStudy) -> list[tuple[str, dict[int, float], float | None]]:
    return [(trial.state.name, trial.intermediate_values, trial.value) for trial in trials(opened)]


def test_paused_trials_go_on_and_the_best_one_is_found(root: Path, clone: type[FakeClone]) -> None:
    training = FakeTraining(clone)
    for rate in GRID:
        folder = root / f".checkpoints/train-{rate}"
        folder.mkdir(parents=True)
    opened = run(root, freeze_thaw())
    assert training.slices[:3] == [("s-t0000", 1), ("s-t0001", 1), ("s-t0002", 1)], "first, three are begun"
    assert len(training.slices) == len(set(training.slices)), "no epoch is trained twice"
    assert sum(training.trained.values()) <= 12, "the budget counts epochs"
    assert trials(opened)[0].params == {RATE: 1e-3}, "the first one is params.yaml"
    assert rank_trials(opened.study, ["rouge_sum"])[0].params == {RATE: 3e-3}
    pruned = [trial for trial in trials(opened) if trial.state.name == "PRUNED"]
    assert pruned and set(states(opened)) == {"COMPLETE", "PRUNED"}, "what was not chosen again is pruned"
    for trial in pruned:
        epoch = len(trial.intermediate_values)
        assert trial.user_attrs["pruned"].startswith(f"paused after epoch {epoch} of 3 (rouge_sum ")
        assert not (root / f".checkpoints/train-{trial.params[RATE]}").exists(), "its checkpoints are deleted"
    ended = [changes for _, changes, _ in clone.runs if "search.pruned" in changes]
    assert len(ended) == len(pruned), "each leaves an experiment with the reason"
    before = len(clone.runs)
    run(root, freeze_thaw())
    assert len(clone.runs) == before, "the same command adds nothing"


@pytest.mark.parametrize(
    "where", ["pause", *(pytest.param(name, marks=pytest.mark.very_slow) for name in ("report", "end", "prune"))]
)
def test_a_search_that_is_stopped_anywhere_goes_on_as_if_it_had_not(
    where: str, root: Path, clone: type[FakeClone], capsys: pytest.CaptureFixture[str]
) -> None:
    whole = FakeTraining(clone)
    expected = run(root, freeze_thaw(), name="s")
    slices, result = whole.slices, outcome(expected)
    optuna.delete_study(study_name="s", storage=expected.url)
    stopped = FakeTraining(clone)
    if where == "prune":
        names = [name for name, changes, _ in clone.runs if "search.pruned" in changes]
        stopped.stops = {(name, 0, "prune") for name in names}
    else:
        stopped.stops = {(name, epoch, where) for name, epoch in slices[1::3] if (epoch == EPOCHS) == (where == "end")}
    count = len(stopped.stops)
    for _ in range(count):
        with pytest.raises(KeyboardInterrupt):
            run(root, freeze_thaw())
    opened = run(root, freeze_thaw())
    assert count and not stopped.stops and stopped.slices == slices and outcome(opened) == result


def test_a_paused_trial_is_shown_as_paused(root: Path, clone: type[FakeClone], capsys: pytest.CaptureFixture[str]) -> None:
    training = FakeTraining(clone)
    training.stops = {("s-t0002", 1, "report")}
    with pytest.raises(KeyboardInterrupt):
        run(root, freeze_thaw())
    study = optuna.load_study(study_name="s", storage=f"sqlite:///{root}/.searches/studies.db")
    assert [is_paused(trial) for trial in study.trials] == [True, True, False]
    assert count_states(study) == "2 paused, 1 running"
    assert re.search(r"t0000: paused after epoch 1: rouge_sum 75\.23 \(\d+ s\); epoch 1 of 12", capsys.readouterr().out)
    run(root, freeze_thaw())
    assert "goes on after epoch 1 with" in capsys.readouterr().out


def test_a_crash_counts_as_the_lowest_value_and_is_not_tried_again(root: Path, clone: type[FakeClone]) -> None:
    training = FakeTraining(clone)

    def crash(name: str, changes: dict[str, Any]) -> ExperimentOutcome:
        return ExperimentOutcome(1) if changes.get(RATE) == 3e-3 else training.run(name, changes)

    clone.behaviour = staticmethod(crash)
    opened = run(root, freeze_thaw(epochs=21))
    assert states(opened).count("FAIL") == 1 and len(trials(opened)) == len(GRID), "all other points are tried"


def test_without_a_finished_trial_the_best_is_finished_after_the_time(
    root: Path, clone: type[FakeClone], monkeypatch: pytest.MonkeyPatch
) -> None:
    from yoyak.search.proposals import Proposals

    FakeTraining(clone)
    monkeypatch.setattr(Proposals, "time_is_over", property(lambda self: self.opened.count_epochs() >= 2))
    opened = run(root, freeze_thaw())
    assert sorted(states(opened)) == ["COMPLETE", "PRUNED"]


def test_no_more_settings_are_begun_than_the_budget_allows(root: Path, clone: type[FakeClone]) -> None:
    FakeTraining(clone)
    plan = freeze_thaw(epochs=21)
    opened = run(root, plan.model_copy(update={"budget": plan.budget.model_copy(update={"trials": 4})}))
    assert states(opened) == ["COMPLETE"] * 4

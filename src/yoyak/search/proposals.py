"""Which params a study tries next."""

import time
import uuid
import warnings
from collections.abc import Sequence
from typing import Any

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState

from yoyak.search.objectives import HIGHER_IS_BETTER
from yoyak.search.plan import SearchPlan
from yoyak.search.points import adaptive_share, grid_points, narrowed_plan, starting_point, suggest_point
from yoyak.search.progress import print_line
from yoyak.search.results import rank_trials
from yoyak.search.running_trials import RunningTrials
from yoyak.search.study_setup import OpenedStudy
from yoyak.search.trials import (
    CHANGES,
    EXPERIMENTS,
    PRUNED,
    SAME_AS,
    SCORES,
    WORKER,
    enqueued_params,
    finished_trials,
    trial_id,
    trial_label,
    was_interrupted,
)

MAX_SEED = 2**31


def make_sampler(plan: SearchPlan, seed: int) -> optuna.samplers.BaseSampler:
    """Optuna's sampler with the settings of the plan. A grid needs none, because its points are enqueued."""
    settings = plan.sampler
    if settings.name == "tpe":
        return optuna.samplers.TPESampler(
            seed=seed, n_startup_trials=settings.n_startup_trials, n_ei_candidates=settings.n_ei_candidates
        )
    if settings.name == "gp":
        return optuna.samplers.GPSampler(seed=seed, n_startup_trials=settings.n_startup_trials)
    return optuna.samplers.RandomSampler(seed=seed)


class Proposals:
    """Chooses the next trial of a study. Only one worker at a time may call its methods."""

    def __init__(self, opened: OpenedStudy, running: RunningTrials, *, worker_name: str, deadline: float | None) -> None:
        self.opened, self.running = opened, running
        self.worker_name, self.deadline = worker_name, deadline

    @property
    def time_is_over(self) -> bool:
        return self.deadline is not None and time.monotonic() > self.deadline

    @property
    def total(self) -> int:
        """The number of trials of the whole study."""
        return self.opened.plan.budget.trials or len(grid_points(self.opened.plan, self.opened.base))

    def most_models(self, left: int) -> int:
        """How many models can come into being while `left` of `total` are worked off."""
        return left

    def enqueue_points(self) -> None:
        """Enqueue the points of a grid; of another search the starting point, so that no search ends below it."""
        opened = self.opened
        trials = opened.trials()
        if opened.plan.is_grid:
            known = [enqueued_params(trial) for trial in trials]
            for point in grid_points(opened.plan, opened.base)[: opened.plan.budget.trials]:
                if point not in known:
                    opened.study.enqueue_trial(point)
        elif not trials and (start := starting_point(opened.plan, opened.base)) is not None:
            opened.study.enqueue_trial(start)

    def next_trial(self) -> tuple[Trial | None, bool]:
        """Take the next trial.

        Returns:
            The trial with its params, or None if it needs no run, and whether the study has more trials. A trial with the
            same params as an earlier one ends at once with the earlier result.
        """
        self.enqueue_points()
        counted = [trial for trial in self.opened.trials() if not was_interrupted(trial)]
        has_waiting = any(trial.state == TrialState.WAITING for trial in counted)
        is_spent = self.opened.plan.is_grid or len(counted) >= (self.opened.plan.budget.trials or 0)
        if self.time_is_over or (is_spent and not has_waiting):
            return None, False
        trial = self._ask(len(counted))
        changes = self._choose_changes(trial)
        if is_spent and enqueued_params(self.opened.storage.get_trial(trial_id(trial))) is None:
            self.running.fail(trial, "another worker has used up the budget")
        elif not self._ends_as_duplicate(trial, changes, counted):
            return trial, True
        return None, True

    def _ask(self, count: int) -> Trial:
        opened = self.opened
        # The seed depends on the number of trials, so that a search continues after a kill as it would have continued
        # without it. Workers on other machines need seeds of their own.
        own = uuid.uuid5(uuid.NAMESPACE_URL, self.worker_name).int if opened.is_shared else 0
        opened.study.sampler = make_sampler(opened.plan, (opened.plan.sampler.seed + count + own) % MAX_SEED)
        with warnings.catch_warnings():
            # Optuna warns that heartbeats need Study.optimize. This package sends its own.
            warnings.simplefilter("ignore", UserWarning)
            trial = opened.study.ask()
        trial.set_user_attr(WORKER, self.worker_name)
        self.running.add(trial)
        return trial

    def _choose_changes(self, trial: Trial) -> dict[str, Any]:
        base = self.opened.base
        with warnings.catch_warnings():
            # Optuna warns if an enqueued value lies outside a narrowed range. Such a value is tried all the same.
            warnings.simplefilter("ignore", UserWarning)
            point = suggest_point(trial, self._current_plan(), base)
        changes = base.changes_of(point)
        trial.set_user_attr(CHANGES, changes)
        return changes

    def _current_plan(self) -> SearchPlan:
        """The plan with its ranges as narrow as they are now."""
        opened, plan = self.opened, self.opened.plan
        center, share = opened.base.with_fixed(), plan.around or 1.0
        if plan.adaptive:
            sign = 1 if HIGHER_IS_BETTER[plan.objectives[0]] else -1
            share = adaptive_share([sign * (trial.value or 0) for trial in finished_trials(opened.study)], plan.adaptive)
            if share < 1:
                best = rank_trials(opened.study, plan.objectives)[0]
                center = opened.base.with_changes(best.user_attrs[CHANGES])
        return narrowed_plan(plan, center=center, share=share)

    def _ends_as_duplicate(self, trial: Trial, changes: dict[str, Any], counted: Sequence[FrozenTrial]) -> bool:
        """End the trial if an earlier one has the same changes, with the result of that one if it has a result."""
        for earlier in counted:
            if earlier.number >= trial.number or earlier.user_attrs.get(CHANGES) != changes:
                continue
            if earlier.state in (TrialState.COMPLETE, TrialState.PRUNED):
                for attribute in (EXPERIMENTS, SCORES, PRUNED):
                    if attribute in earlier.user_attrs:
                        trial.set_user_attr(attribute, earlier.user_attrs[attribute])
                trial.set_user_attr(SAME_AS, earlier.number)
                if earlier.state == TrialState.COMPLETE:
                    self.running.complete(trial, list(earlier.values))
                else:
                    self.running.prune(trial)
                print_line(f"{trial_label(trial)}: has the params of {trial_label(earlier)} and gets its result")
                return True
            if earlier.state == TrialState.RUNNING:
                self.running.fail(trial, f"{trial_label(earlier)}, which runs now, has the same params")
                return True
        return False

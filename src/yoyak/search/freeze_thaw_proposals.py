"""Which trial of a freeze-thaw search is trained next: a new one, or one whose training was paused.

A paused trial stays open (RUNNING) in the study, without a worker. All that decides is in the study, so that a search that was
killed goes on as it would have gone on without the kill.
"""

from collections.abc import Sequence
from typing import Any

from optuna.trial import FrozenTrial, Trial, TrialState

from yoyak.search.constraints import invalid_params, violated_constraint
from yoyak.search.freeze_thaw import Curve, ranking
from yoyak.search.freeze_thaw_checks import training_epochs
from yoyak.search.freeze_thaw_space import candidate_points, place_of
from yoyak.search.proposals import Proposals
from yoyak.search.trials import (
    CHANGES,
    FAILED,
    PAUSED,
    PRUNED,
    UNTIL,
    WORKER,
    finished_trials,
    is_paused,
    is_resumable,
    trial_id,
    was_interrupted,
)


class FreezeThawProposals(Proposals):
    """Chooses what a freeze-thaw search trains next. Only one worker at a time trains."""

    @property
    def total(self) -> int:
        """The epochs of the whole study."""
        return self.opened.plan.budget.epochs or 0

    def most_models(self, left: int) -> int:
        """Only trainings that end leave a model: those that are paused now, and new ones."""
        return sum(map(is_paused, self.opened.trials())) + left // self._epochs

    @property
    def _epochs(self) -> int:
        """The epochs of a whole training."""
        return training_epochs(self.opened.base)

    def next_trial(self) -> tuple[Trial | None, bool]:
        """Take the trial that is trained next, or one of those that are pruned at the end. Returns as the base class."""
        self.enqueue_points()
        trials = self.opened.trials()
        running = [trial for trial in trials if trial.state == TrialState.RUNNING]
        if any(not is_resumable(trial) for trial in running):  # another worker of this clone trains
            return None, False
        if stopped := [trial for trial in running if not is_paused(trial)]:
            return self._take(stopped[0]), True
        chosen = None if self.time_is_over else self._choose(trials)
        if chosen is None:
            return self._end([trial for trial in running if is_paused(trial)])
        if isinstance(chosen, FrozenTrial):
            return self._go_on(chosen, until=chosen.user_attrs[PAUSED] + 1), True
        if chosen:
            self.opened.study.enqueue_trial(chosen)
        return self._start(), True

    def _start(self) -> Trial | None:
        """Start the trial that was enqueued first."""
        counted = [trial for trial in self.opened.trials() if not was_interrupted(trial)]
        trial = self._ask(len(counted))
        changes = self._choose_changes(trial)
        if self._ends_as_duplicate(trial, changes, counted):
            return None
        trial.set_user_attr(UNTIL, 1)
        return trial

    def _go_on(self, trial: FrozenTrial, *, until: int) -> Trial:
        self.opened.storage.set_trial_user_attr(trial_id(trial), UNTIL, until)
        return self._take(trial)

    def _take(self, frozen: FrozenTrial) -> Trial:
        trial = Trial(self.opened.study, trial_id(frozen))
        trial.set_user_attr(WORKER, self.worker_name)
        self.running.add(trial)
        return trial

    def _end(self, paused: Sequence[FrozenTrial]) -> tuple[Trial | None, bool]:
        """The budget is used up: take a paused trial, which is pruned. If no trial has finished, finish the best one first."""
        if not paused:
            return None, False
        if not finished_trials(self.opened.study):
            curves = [self._curve(trial, 0.0) for trial in paused]
            best = ranking(curves, [], epochs=self._epochs, budget=self._epochs)[0]
            return self._go_on(paused[best], until=self._epochs), True
        trial = paused[0]
        epoch = trial.user_attrs[PAUSED]
        value = trial.intermediate_values[epoch]
        score = f"{self.opened.plan.objectives[0]} {value:.2f}"
        reason = f"paused after epoch {epoch} of {self._epochs} ({score}) until the search ended"
        self.opened.storage.set_trial_user_attr(trial_id(trial), PRUNED, reason)
        return self._take(trial), True

    def _choose(self, trials: Sequence[FrozenTrial]) -> FrozenTrial | dict[str, Any] | None:
        """What is trained next: a paused trial, a new point, {} for the point that is enqueued already, or None at the end."""
        left = self.total - self.opened.count_epochs()
        if any(trial.state == TrialState.WAITING for trial in trials):
            return {} if left >= self._epochs else None
        begun = [trial for trial in trials if UNTIL in trial.user_attrs]
        points = self._new_points(trials)
        if len(begun) < self.opened.plan.sampler.n_startup_trials and left >= self._epochs:
            chosen = next((point for point in points if self._is_acceptable(point)), None)
            if chosen:
                return chosen
        lowest = min((value for trial in begun for value in trial.intermediate_values.values()), default=0.0)
        curves = [self._curve(trial, lowest) for trial in begun]
        new = [place_of(point, self.opened.plan.parameters) for point in points]
        for index in ranking(curves, new, epochs=self._epochs, budget=left):
            if index < len(begun):
                return begun[index]
            if self._is_acceptable(points[index - len(begun)]):
                return points[index - len(begun)]
        return None

    def _new_points(self, trials: Sequence[FrozenTrial]) -> list[dict[str, Any]]:
        """Points that no trial has, in random order; none if budget.trials is used up."""
        tried = [trial.user_attrs[CHANGES] for trial in trials if CHANGES in trial.user_attrs and not was_interrupted(trial)]
        most = self.opened.plan.budget.trials
        if most is not None and len(tried) >= most:
            return []
        plan, base = self._current_plan(), self.opened.base
        points = candidate_points(plan, base, self.opened.plan.sampler.seed + self.opened.count_epochs())
        return [point for point in points if base.changes_of(point) not in tried]

    def _is_acceptable(self, point: dict[str, Any]) -> bool:
        changes, base = self.opened.base.changes_of(point), self.opened.base
        return not (invalid_params(changes, base) or violated_constraint(changes, base, self.opened.plan.constraints))

    def _curve(self, trial: FrozenTrial, lowest: float) -> Curve:
        """The curve of a trial. A trial that failed counts as one with the lowest value so far."""
        final = trial.value
        if trial.state == TrialState.PRUNED or FAILED in trial.user_attrs:
            final = lowest
        return Curve(place_of(trial.params, self.opened.plan.parameters), trial.intermediate_values, final)

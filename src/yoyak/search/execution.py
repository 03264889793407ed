"""Running a trial: one experiment per seed, their objectives, and what happens if it is pruned, paused, fails or is killed."""

import math
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optuna.trial import Trial

from yoyak.search import family_rules
from yoyak.search.base_params import get_value, nest
from yoyak.search.constraints import invalid_params, violated_constraint
from yoyak.search.experiments import ExperimentClone, ExperimentOutcome
from yoyak.search.objectives import ROW_COLUMNS
from yoyak.search.progress import Progress, print_line
from yoyak.search.results import evenly_spaced
from yoyak.search.running_trials import RunningTrials
from yoyak.search.study_setup import OpenedStudy
from yoyak.search.trial_environment import CHECKPOINTS_FOLDER, trial_environment
from yoyak.search.trials import (
    CHANGES,
    CHECKPOINTS,
    EXPERIMENTS,
    PAUSED,
    PRUNED,
    ROW_SCORES,
    SCORES,
    STAGES,
    UNTIL,
    trial_id,
    trial_label,
)
from yoyak.search.workers import SEARCH_FOLDER, Worker
from yoyak.system.resumable import delete_work

MAX_KILLS = 3  # A run that is killed so often fails: its params may be the cause (memory).
MAX_FAILURES = 5  # A search ends after so many failed trials in a row.
TIMED_ROWS = 64  # dev rows on which seconds_per_dialogue is measured


@dataclass
class StopSignal:
    """Tells all jobs of a run to stop, and keeps the reason if it is an error."""

    is_set: bool = False
    error: str | None = None


def _log(experiment: str) -> Path:
    """The file with the output of an experiment."""
    return SEARCH_FOLDER / "logs" / f"{experiment}.log"


class TrialRunner:
    """Runs the trials of this process. Each job has a clone of the repository, which it uses for one trial at a time."""

    def __init__(
        self, opened: OpenedStudy, worker: Worker, *, running: RunningTrials, progress: Progress, stop: StopSignal
    ) -> None:
        self.opened, self.worker = opened, worker
        self.running, self.progress, self.stop = running, progress, stop
        self._clones: dict[int, ExperimentClone] = {}  # by job
        self._consecutive_failures = 0

    def run(self, trial: Trial, job: int) -> None:
        """Run a trial and end it in the study. If the search stops meanwhile, the trial stays open, to be repeated."""
        start = time.monotonic()
        changes = trial.user_attrs[CHANGES]
        if reason := trial.user_attrs.get(PRUNED) or self._reason_to_reject(changes):
            trial.set_user_attr(PRUNED, reason)
            has_result = self._end_as_pruned(trial, job, reason)
        else:
            has_result = self._run_experiments(trial, job)
        if has_result:
            self._consecutive_failures = 0
            self.progress.report_trial(trial.number, seconds=time.monotonic() - start)

    def kill(self) -> None:
        """End the processes of all jobs."""
        for clone in self._clones.values():
            clone.kill()

    def _reason_to_reject(self, changes: Mapping[str, Any]) -> str | None:
        base = self.opened.base
        return invalid_params(changes, base) or violated_constraint(changes, base, self.opened.plan.constraints)

    def _run_experiments(self, trial: Trial, job: int) -> bool:
        """Run one experiment per seed; the value of the trial is their mean. Returns whether the trial has a result."""
        changes = trial.user_attrs[CHANGES]
        names: list[str] = []
        scores: list[dict[str, Any]] = []
        row_scores: list[list[float]] = []
        column = ROW_COLUMNS.get(self.opened.plan.objectives[0])
        values: list[list[float]] = []
        stages: list[str] = []
        for suffix, seed_change in self._seed_changes():
            name = f"{self.opened.name}-{trial_label(trial)}{suffix}"
            if not names:
                self.progress.report_start(trial, _log(name))
            # The pruner judges the first seed only.
            outcome = self._run_experiment(name, {**changes, **seed_change}, job, trial if not names else None)
            stages += outcome.stages
            if self.stop.is_set:
                return False
            if outcome.status:
                return self._end_without_scores(trial, job, outcome)
            clone = self._clones[job]
            if not names:
                self._report_cached_curve(trial, clone)
            names.append(name)
            scores.append(clone.scores())
            if column:
                row_scores.append(evenly_spaced(clone.row_scores(column)))
            values.append([self._measure(objective, scores[-1], clone, changes) for objective in self.opened.plan.objectives])
        trial.set_user_attr(EXPERIMENTS, names)
        trial.set_user_attr(SCORES, scores)
        if column:
            trial.set_user_attr(ROW_SCORES, [round(statistics.fmean(row), 4) for row in zip(*row_scores, strict=True)])
        trial.set_user_attr(STAGES, stages)
        self.running.complete(trial, [statistics.mean(column) for column in zip(*values, strict=True)])
        return True

    def _seed_changes(self) -> list[tuple[str, dict[str, int]]]:
        """For each experiment of a trial the suffix of its name and its change of the seed."""
        plan = self.opened.plan
        if plan.seeds == 1:
            return [("", {})]
        key = "training.seed" if plan.varies_training else "generation.seed"
        first = get_value(self.opened.base.with_fixed(), key)
        return [(f"-s{seed}", {key: seed}) for seed in range(first, first + plan.seeds)]

    def _run_experiment(self, name: str, changes: Mapping[str, Any], job: int, trial: Trial | None) -> ExperimentOutcome:
        """Run an experiment; run it again if a signal from outside killed it."""
        if job not in self._clones:
            self._clones[job] = self._make_clone(job)
        environment = trial_environment(self.opened, self.worker, job=job, trial=trial)
        for _ in range(MAX_KILLS):
            outcome = self._clones[job].run(name, nest(changes), log=_log(name), environment=environment)
            if self.stop.is_set or not outcome.was_killed:
                break
            # The killed processes may have left locks and partial files in the clone.
            self._clones[job] = self._make_clone(job)
            print_line(f"{name}: a signal killed this run; it starts again")
        return outcome

    def _make_clone(self, job: int) -> ExperimentClone:
        folder = (self.worker.folder / f"clone{job}").resolve()
        return ExperimentClone(self.opened.root, folder, self.opened.snapshot)

    def _end_without_scores(self, trial: Trial, job: int, outcome: ExperimentOutcome) -> bool:
        # Training runs in another process, so only the database knows whether it was pruned or paused.
        attributes = self.opened.storage.get_trial(trial_id(trial)).user_attrs
        if reason := attributes.get(PRUNED):
            return self._end_as_pruned(trial, job, reason)
        if attributes.get(PAUSED, 0) >= attributes.get(UNTIL, math.inf):
            self.running.pause(trial)
            return True
        self._end_as_failed(trial, outcome)
        return False

    def _end_as_pruned(self, trial: Trial, job: int, reason: str) -> bool:
        """End the trial as pruned. Returns False if the search stops meanwhile.

        The trial leaves an experiment with the reason as `search.pruned`, for which nothing is trained or scored. It leaves
        none if params.yaml does not accept its params.
        """
        name, changes = f"{self.opened.name}-{trial_label(trial)}", trial.user_attrs[CHANGES]
        if not invalid_params(changes, self.opened.base):
            outcome = self._run_experiment(name, {**changes, "search.pruned": reason}, job, None)
            if self.stop.is_set:
                return False
            if outcome.status:
                print_line(f"{name}: the experiment of this pruned trial could not be written; see {outcome.log}")
            trial.set_user_attr(EXPERIMENTS, [name])
        if folder := trial.user_attrs.get(CHECKPOINTS):
            delete_work([Path(CHECKPOINTS_FOLDER, folder)])
        self.running.prune(trial)
        return True

    def _end_as_failed(self, trial: Trial, outcome: ExperimentOutcome) -> None:
        reason = f"killed {MAX_KILLS} times" if outcome.was_killed else "failed"
        self.running.fail(trial, f"{reason}: {outcome.last_lines(4)}")
        print_line(f"{trial_label(trial)}: {reason}; the last lines of {outcome.log}:\n{outcome.last_lines()}")
        self._consecutive_failures += 1
        if self._consecutive_failures >= MAX_FAILURES:
            self.stop.error = f"{MAX_FAILURES} trials in a row failed; read the log of the last one: {outcome.log}"
            self.stop.is_set = True

    def _report_cached_curve(self, trial: Trial, clone: ExperimentClone) -> None:
        """Report the values that the pruner compares, if the training came from DVC's cache and reported nothing."""
        if not self.opened.plan.can_prune:
            return
        values = self.opened.base.with_changes(trial.user_attrs[CHANGES])
        metric = get_value(values, "training.metric_for_best_model")
        reported = self.opened.storage.get_trial(trial_id(trial)).intermediate_values
        for epoch, value in clone.dev_curve(get_value(values, "model.family"), metric).items():
            if epoch not in reported:
                trial.report(-value if metric == "loss" else value, epoch)

    def _measure(self, objective: str, scores: Mapping[str, Any], clone: ExperimentClone, changes: Mapping[str, Any]) -> float:
        if objective == "seconds_per_dialogue":
            return clone.seconds_per_dialogue(TIMED_ROWS)
        if objective == "model_megabytes":
            params = self.opened.base.params_of(changes)
            return (clone.model_bytes(params.model.family) + family_rules.base_model_bytes(params)) / 1e6
        return float(get_value(scores, objective))

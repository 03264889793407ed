"""What a search prints: a line per trial with a progress bar, and the result at the end."""

import statistics
from pathlib import Path
from typing import Self

from optuna.trial import Trial, TrialState
from tqdm import tqdm

from yoyak.search.git_dvc import git
from yoyak.search.results import apply_command, format_values, rank_trials, tied_trials
from yoyak.search.study_setup import OpenedStudy
from yoyak.search.trials import (
    CHANGES,
    EXPERIMENTS,
    PAUSED,
    PRUNED,
    ROW_SCORES,
    STAGES,
    finished_trials,
    is_paused,
    trial_label,
)
from yoyak.system.progress_bars import bars_hidden


def print_line(line: str) -> None:
    """Print a line above the progress bar."""
    tqdm.write(line)


class Progress:
    """The progress bar of a search; a context manager that closes it."""

    def __init__(self, opened: OpenedStudy, *, total: int) -> None:
        self.opened, self.total = opened, total
        self._unit = "epoch" if opened.plan.is_freeze_thaw else "trial"
        self._bar = tqdm(total=total, initial=opened.count_done(), unit=self._unit, disable=bars_hidden(None))
        self._epoch_seconds: list[float] = []  # of a freeze-thaw search

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def report_start(self, trial: Trial, log: Path) -> None:
        """Print what a trial changes and where its output goes."""
        changes = ", ".join(f"{name}={short_value(value)}" for name, value in trial.user_attrs[CHANGES].items())
        begins = f"goes on after epoch {epoch} with" if (epoch := trial.user_attrs.get(PAUSED)) else "starts with"
        print_line(f"{trial_label(trial)}: {begins} {changes or 'params.yaml as it is'}; log: {log}")

    def report_trial(self, number: int, *, seconds: float) -> None:
        """Print how a trial ended, which trial is the best so far, how many have ended, and how long the others will take."""
        opened = self.opened
        trial = opened.trials()[number]
        if is_paused(trial):
            epoch = trial.user_attrs[PAUSED]
            value = trial.intermediate_values[epoch]
            line = (
                f"{trial_label(trial)}: paused after epoch {epoch}: {opened.plan.objectives[0]} {value:.2f} ({seconds:.0f} s)"
            )
        elif trial.state == TrialState.PRUNED:
            line = f"{trial_label(trial)}: pruned after {seconds:.0f} s: {trial.user_attrs[PRUNED]}"
        else:
            stages = ", ".join(dict.fromkeys(trial.user_attrs.get(STAGES, []))) or "none, all results were cached"
            values = format_values(trial, opened.plan.objectives)
            line = f"{trial_label(trial)}: {values} ({seconds:.0f} s, stages run: {stages})"
        if not opened.plan.has_several_objectives and (ranked := rank_trials(opened.study, opened.plan.objectives)):
            best, ties = ranked[0], len(tied_trials(opened.study, opened.plan.objectives[0]))
            line += f"; best so far: {trial_label(best)} {best.value:.2f}" + (f" ({ties} tied)" if ties else "")
        self._bar.n = opened.count_done()
        self._epoch_seconds.append(seconds)
        print_line(f"{line}; {self._unit} {self._bar.n} of {self.total}{self._time_left()}")
        self._bar.refresh()

    def _time_left(self) -> str:
        """The mean time of the finished trials for each that has not ended yet, shared by the jobs. Or that of an epoch."""
        left = self.total - self._bar.n
        if self._unit == "epoch":
            durations = self._epoch_seconds
        else:
            durations = [each.duration.total_seconds() for each in finished_trials(self.opened.study) if each.duration]
        if left <= 0 or not durations:
            return ""
        minutes = statistics.mean(durations) * left / self.opened.plan.jobs / 60
        return f", about {minutes:.0f} min left" if minutes >= 1 else ", less than a minute left"


def short_value(value: object) -> str:
    """A value as text, a float with four digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def summary_lines(opened: OpenedStudy) -> list[str]:
    """The result of a study: its best trial, the trials that tie with it, and the command that applies it."""
    study, plan = opened.study, opened.plan
    finished = finished_trials(study)
    if not finished:
        return [f"study {opened.name}: no trial has finished"]
    ranked = rank_trials(study, plan.objectives)
    if plan.has_several_objectives:
        return [
            f"study {opened.name}: {len(finished)} finished trials; Pareto front ({len(ranked)} trials that no other trial "
            "beats in all objectives):",
            *(f"  {trial_label(trial)}: {format_values(trial, plan.objectives)}; {apply_command(trial)}" for trial in ranked),
        ]
    best = ranked[0]
    values = format_values(best, plan.objectives)
    lines = [f"study {opened.name}: best of {len(finished)} finished trials: {trial_label(best)}: {values}"]
    lines += [f"  {name}: {value}" for name, value in best.user_attrs[CHANGES].items()]
    if tied := tied_trials(study, plan.objectives[0]):
        why = "the paired test shows no difference" if best.user_attrs.get(ROW_SCORES) else "the difference is within ±"
        lines.append(f"  tied with the best ({why}): {', '.join(trial_label(trial) for trial in tied)}")
    lines.append(f"apply the best trial: {apply_command(best)}")
    if not git(opened.root, "for-each-ref", f"{opened.snapshot.experiments_ref}/{best.user_attrs[EXPERIMENTS][0]}"):
        lines.append(
            "  This clone does not have the experiment, because another clone ran it. First run `dvc exp push REMOTE NAME` "
            "there and `dvc exp pull REMOTE NAME` here."
        )
    return lines

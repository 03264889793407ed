"""Comparison of finished trials: the best ones, and those that are not clearly worse."""

import statistics
from collections.abc import Sequence

import optuna
from optuna.trial import FrozenTrial

from yoyak.search.base_params import get_value
from yoyak.search.objectives import HIGHER_IS_BETTER, ROUGE_OBJECTIVES
from yoyak.search.trials import EXPERIMENTS, SCORES, finished_trials


def rank_trials(study: optuna.Study, objectives: Sequence[str]) -> list[FrozenTrial]:
    """The finished trials, best first. Trials with equal values keep their order.

    With several objectives, only the trials of the Pareto front are returned, ordered by the first objective.
    """
    sign = -1 if HIGHER_IS_BETTER[objectives[0]] else 1
    trials = finished_trials(study)
    if len(objectives) > 1:
        pareto_front = {trial.number for trial in study.best_trials}
        trials = [trial for trial in trials if trial.number in pareto_front]
    return sorted(trials, key=lambda trial: (sign * trial.values[0], trial.number))


def tie_margin(trial: FrozenTrial, objective: str) -> float:
    """By how much another trial can be worse than this one and still count as a tie.

    The margin is the distance to the lower end of the 95 % interval over dialogues (the mean over seeds), or two standard
    errors of the mean over seeds, whichever is larger. It is 0 for objectives that have no interval.
    """
    scores = trial.user_attrs.get(SCORES, [])
    if not scores or objective not in ROUGE_OBJECTIVES:
        return 0.0
    values = [get_value(experiment, objective) for experiment in scores]
    intervals = [get_value(experiment["interval"], objective) for experiment in scores]  # None for too few rows
    margins = [value - ends[0] for value, ends in zip(values, intervals, strict=True) if ends]
    over_dialogues = statistics.mean(margins) if margins else 0.0
    over_seeds = 2 * statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0
    return float(max(over_dialogues, over_seeds))


def tied_trials(study: optuna.Study, objective: str) -> list[FrozenTrial]:
    """The trials that tie with the best trial of a study with one objective, best first, without the best trial itself."""
    best, *others = rank_trials(study, [objective])
    margin = tie_margin(best, objective)
    return [trial for trial in others if abs(best.values[0] - trial.values[0]) <= margin]


def format_values(trial: FrozenTrial, objectives: Sequence[str]) -> str:
    """The values of a trial with their margins, such as "rouge_sum 103.00 ± 3.00"."""
    parts = []
    for objective, value in zip(objectives, trial.values, strict=True):
        margin = tie_margin(trial, objective)
        parts.append(f"{objective} {value:.2f} ± {margin:.2f}" if margin else f"{objective} {value:.4g}")
    return ", ".join(parts)


def apply_command(trial: FrozenTrial) -> str:
    """The command that writes the params and results of the trial into the working tree."""
    return f"dvc exp apply {trial.user_attrs[EXPERIMENTS][0]}"

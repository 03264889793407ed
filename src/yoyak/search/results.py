"""Comparison of finished trials: the best ones, and those that are not clearly worse."""

import statistics
from collections.abc import Sequence

import numpy as np
import optuna
from optuna.trial import FrozenTrial

from yoyak.evaluation.paired_tests import ALPHA, SAMPLES, approximate_randomizations, holm
from yoyak.search.base_params import get_value
from yoyak.search.objectives import HIGHER_IS_BETTER, ROUGE_OBJECTIVES
from yoyak.search.trials import EXPERIMENTS, ROW_SCORES, SCORES, finished_trials

MAX_ROWS = 5000  # dialogues of a trial that are stored for the paired test


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
    """The uncertainty of a trial's value.

    It is the distance to the lower end of the 95 % interval over dialogues (the mean over seeds), or two standard errors of the
    mean over seeds, whichever is larger. It is 0 for objectives that have no interval.
    """
    scores = trial.user_attrs.get(SCORES, [])
    if not scores or objective not in ROUGE_OBJECTIVES:
        return 0.0
    values = [get_value(experiment, objective) for experiment in scores]
    intervals = [get_value(experiment["interval"], objective) for experiment in scores]  # None for too few rows
    margins = [value - ends[0] for value, ends in zip(values, intervals, strict=True) if ends]
    over_dialogues = statistics.mean(margins) if margins else 0.0
    return float(max(over_dialogues, _margin_over_seeds(values)))


def _margin_over_seeds(values: Sequence[float]) -> float:
    return 2 * statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0


def tied_trials(study: optuna.Study, objective: str) -> list[FrozenTrial]:
    """The trials that tie with the best trial of a study with one objective, best first, without the best trial itself.

    A trial ties if a paired test over the dialogues shows no difference (approximate randomization, corrected by Holm for the
    number of trials), or if the difference is within two standard errors of the mean over seeds. Without scores of each
    dialogue (objectives that are no ROUGE, studies of older versions), it ties if the difference is within `tie_margin`.
    """
    best, *others = rank_trials(study, [objective])
    margin = tie_margin(best, objective)
    p_values = _corrected_p_values(best, others)
    over_seeds = _margin_over_seeds(
        [get_value(each, objective) for each in best.user_attrs.get(SCORES, [])] if p_values else []
    )
    tied = []
    for trial in others:
        difference = abs(best.values[0] - trial.values[0])
        if trial.number in p_values:
            is_tied = p_values[trial.number] >= ALPHA or difference <= over_seeds
        else:
            is_tied = difference <= margin
        if is_tied:
            tied.append(trial)
    return tied


def _corrected_p_values(best: FrozenTrial, others: Sequence[FrozenTrial]) -> dict[int, float]:
    """The corrected p-value of each trial, by its number, that has the scores of the same number of dialogues as the best."""
    base = best.user_attrs.get(ROW_SCORES, [])
    rows = {trial.number: trial.user_attrs.get(ROW_SCORES, []) for trial in others}
    rows = {number: scores for number, scores in rows.items() if base and len(scores) == len(base)}
    if not rows:
        return {}
    differences = np.array(list(rows.values())).T - np.array(base)[:, None]
    p_values = approximate_randomizations(differences, samples=SAMPLES, seed=0)
    return {int(name): p_value for name, p_value in holm(dict(zip(map(str, rows), p_values, strict=True))).items()}


def evenly_spaced(rows: Sequence[float]) -> list[float]:
    """At most MAX_ROWS of them, because a server database limits the size of an attribute."""
    return list(rows[:: -(-len(rows) // MAX_ROWS) or 1])


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

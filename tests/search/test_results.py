"""The best trials of a study, and those that tie with the best."""

import optuna
import pytest
from optuna.trial import TrialState

from tests.search.fakes import add_trial, scores
from yoyak.search.results import format_values, rank_trials, tie_margin, tied_trials


def test_the_best_trial_comes_first_and_of_equals_the_earlier() -> None:
    study = optuna.create_study(direction="maximize")
    for value in (100.0, 120.0, 120.0, 90.0):
        add_trial(study, [value])
    add_trial(study, [120.0], same_as=1)
    add_trial(study, None, TrialState.PRUNED)
    add_trial(study, None, TrialState.FAIL)
    assert [trial.number for trial in rank_trials(study, ["rouge_sum"])] == [1, 2, 0, 3]


def test_objectives_can_be_minimized() -> None:
    study = optuna.create_study(direction="minimize")
    for value in (3.0, 1.0, 2.0):
        add_trial(study, [value])
    assert [trial.number for trial in rank_trials(study, ["model_megabytes"])] == [1, 2, 0]


def test_several_objectives_give_the_pareto_front() -> None:
    study = optuna.create_study(directions=["maximize", "minimize"])
    for values in ([100.0, 1.0], [120.0, 3.0], [110.0, 4.0], [90.0, 0.5]):
        add_trial(study, values)
    assert [trial.number for trial in rank_trials(study, ["rouge_sum", "seconds_per_dialogue"])] == [1, 0, 3]


def test_trials_within_the_interval_of_the_best_are_ties() -> None:
    study = optuna.create_study(direction="maximize")
    add_trial(study, [120.0], scores=[scores(120.0, 112.0)])
    for value in (112.0, 111.9):
        add_trial(study, [value], scores=[scores(value, value - 1)])
    assert [trial.number for trial in tied_trials(study, "rouge_sum")] == [1]
    assert tie_margin(study.trials[0], "rouge_sum") == 8.0


def test_the_margin_over_seeds_counts_if_it_is_larger() -> None:
    study = optuna.create_study(direction="maximize")
    add_trial(study, [100.0], scores=[scores(90.0, 89.0), scores(110.0, 109.0)])
    assert tie_margin(study.trials[0], "rouge_sum") == pytest.approx(2 * 14.142135 / 2**0.5)
    assert tie_margin(study.trials[0], "content.rouge_sum") == 1.0


def test_an_objective_without_interval_has_no_margin() -> None:
    study = optuna.create_study(direction="minimize")
    add_trial(study, [3.0], scores=[scores(120.0, 112.0)])
    assert tie_margin(study.trials[0], "model_megabytes") == 0.0
    assert format_values(study.trials[0], ["model_megabytes"]) == "model_megabytes 3"

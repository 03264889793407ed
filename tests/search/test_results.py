"""The best trials of a study, and those that tie with the best."""

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState

from tests.search.fakes import add_trial, scores
from yoyak.search.results import evenly_spaced, format_values, rank_trials, tie_margin, tied_trials


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


def rows(mean: float, seed: int, spread: float = 30.0) -> list[float]:
    """Scores of 200 dialogues, which differ much from each other and little between two trials."""
    dialogues = np.random.default_rng(0).normal(0, spread, 200)
    noise = np.random.default_rng(seed).normal(0, 2, 200)
    return [float(value) for value in dialogues + noise - noise.mean() + mean]


def test_the_paired_test_decides_where_dialogues_have_scores() -> None:
    """All differences are far within the interval of the mean, but the trials were scored on the same dialogues."""
    study = optuna.create_study(direction="maximize")
    for seed, value in enumerate((120.0, 119.9, 118.5)):
        add_trial(study, [value], scores=[scores(value, value - 5)], row_scores=rows(value, seed))
    add_trial(study, [116.0], scores=[scores(116.0, 111.0)])  # of an older version: only its interval is known
    assert tie_margin(study.trials[0], "rouge_sum") == 5.0
    assert [trial.number for trial in tied_trials(study, "rouge_sum")] == [1, 3]


def test_many_trials_are_corrected_for() -> None:
    def study_of(trials: int) -> list[int]:
        study = optuna.create_study(direction="maximize")
        for number in range(trials):
            value = 120.0 if number == 0 else 119.5
            add_trial(study, [value], scores=[scores(value, value - 5)], row_scores=rows(value, number))
        return [trial.number for trial in tied_trials(study, "rouge_sum")]

    assert study_of(2) == []
    assert study_of(60) == list(range(1, 60))


def test_seeds_that_differ_more_than_the_trials_are_a_tie() -> None:
    study = optuna.create_study(direction="maximize")
    add_trial(study, [120.0], scores=[scores(119.0, 110.0), scores(121.0, 110.0)], row_scores=rows(120.0, 0))
    add_trial(study, [118.5], scores=[scores(118.5, 110.0)], row_scores=rows(118.5, 1))
    add_trial(study, [117.0], scores=[scores(117.0, 110.0)], row_scores=rows(117.0, 2))
    assert [trial.number for trial in tied_trials(study, "rouge_sum")] == [1]


def test_stored_rows_are_limited() -> None:
    assert evenly_spaced([1.0, 2.0]) == [1.0, 2.0]
    assert len(evenly_spaced([0.5] * 12_001)) == 4001

"""What the attributes of a trial say."""

import optuna
from optuna.trial import TrialState

from tests.search.fakes import add_trial
from yoyak.search.trials import trial_label, was_interrupted


def test_a_repeated_trial_keeps_the_label_of_the_first_attempt() -> None:
    study = optuna.create_study()
    add_trial(study, None, TrialState.FAIL)
    add_trial(study, [1.0], retry_of=0, after=0)
    assert [trial_label(trial) for trial in study.trials] == ["t0000", "t0000"]
    assert [was_interrupted(trial) for trial in study.trials] == [True, False]


def test_a_crash_is_no_interruption() -> None:
    study = optuna.create_study()
    add_trial(study, None, TrialState.FAIL, failed="it raised")
    add_trial(study, None, TrialState.PRUNED, pruned="it was behind")
    assert not any(map(was_interrupted, study.trials))

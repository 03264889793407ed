"""Trials as Optuna stores them: the attributes that yoyak adds, and what they say about a trial.

The names of the attributes are part of every stored study. A study continues only if they stay the same.
"""

from typing import Any

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState

# Attributes of a trial.
WORKER = "worker"  # name of the worker that runs it
CHANGES = "changes"  # its changes to params.yaml, by dotted name
EXPERIMENTS = "experiments"  # names of its DVC experiments
SCORES = "scores"  # metrics/scores.json of each experiment
ROW_SCORES = "row_scores"  # the objective of each dev dialogue, the mean over the experiments (`objectives.ROW_COLUMNS`)
STAGES = "stages"  # names of the stages that ran
PRUNED = "pruned"  # why it was pruned
FAILED = "failed"  # why it failed
SAME_AS = "same_as"  # number of the earlier trial with the same changes, whose result it has
RETRY_OF = "retry_of"  # number of the first interrupted trial that it repeats
AFTER = "after"  # number of the last interrupted trial that it repeats
# Attributes of the trials of a freeze-thaw search, whose trainings are paused and go on later.
UNTIL = "until"  # the epoch after which the training is paused
PAUSED = "paused"  # the epoch after which it was paused last
CHECKPOINTS = "checkpoints"  # the name of the folder in .checkpoints from which it goes on

# Attributes of a study. START is written last: a study that has it is complete.
START = "start"  # the commit and the tree that all trials start from
FIXED = "fixed"  # changes to params.yaml that all trials share
PLAN = "plan"  # the search plan

_ENQUEUED_PARAMS = "fixed_params"  # Optuna's system attribute for the params of an enqueued trial


def trial_label(trial: FrozenTrial | Trial) -> str:
    """The label of a trial, such as t0007. A trial that repeats an interrupted one has the label of the first attempt."""
    return f"t{trial.user_attrs.get(RETRY_OF, trial.number):04d}"


def trial_id(trial: FrozenTrial | Trial) -> int:
    """The id of a trial in the database."""
    return trial._trial_id


def enqueued_params(trial: FrozenTrial) -> dict[str, Any] | None:
    """The params with which the trial was enqueued; None if Optuna's sampler chooses them."""
    params: dict[str, Any] | None = trial.system_attrs.get(_ENQUEUED_PARAMS)
    return params


def was_interrupted(trial: FrozenTrial) -> bool:
    """Whether the trial ended because its worker stopped, not because of its params."""
    return trial.state == TrialState.FAIL and FAILED not in trial.user_attrs


def is_resumable(trial: FrozenTrial) -> bool:
    """Whether a freeze-thaw search has begun the trial, not ended it, and no worker has it now."""
    attributes = trial.user_attrs
    return trial.state == TrialState.RUNNING and UNTIL in attributes and attributes.get(WORKER) is None


def is_paused(trial: FrozenTrial) -> bool:
    """Whether the training of the trial waits until a freeze-thaw search chooses it again."""
    attributes = trial.user_attrs
    return is_resumable(trial) and PRUNED not in attributes and attributes.get(PAUSED, 0) >= attributes[UNTIL]


def finished_trials(study: optuna.Study) -> list[FrozenTrial]:
    """The completed trials in their order, without those that have the result of an earlier trial."""
    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return [trial for trial in trials if SAME_AS not in trial.user_attrs]

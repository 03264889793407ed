"""Recovery of trials whose worker has stopped: they are ended as interrupted and enqueued again, or they go on."""

import contextlib
import time
import warnings

import optuna
from optuna.trial import FrozenTrial, TrialState

from yoyak.search.running_trials import ALREADY_ENDED
from yoyak.search.study_setup import OpenedStudy
from yoyak.search.trials import AFTER, PRUNED, RETRY_OF, UNTIL, WORKER, enqueued_params, trial_id, was_interrupted
from yoyak.search.workers import Worker

UNOWNED_SECONDS = 60  # After this time, a trial in a shared database that names no worker counts as abandoned.


class Recovery:
    """Finds the trials of a study whose worker has stopped, and has each of them repeated."""

    def __init__(self, opened: OpenedStudy, worker: Worker) -> None:
        self.opened, self.worker = opened, worker
        self._unowned_since: dict[int, float] = {}  # by number of the trial

    def recover_trials(self) -> None:
        """End abandoned trials, and enqueue each interrupted trial again with its params. Those of freeze-thaw stay open."""
        for trial in self.opened.trials(TrialState.RUNNING):
            if UNTIL in trial.user_attrs:
                self._release(trial)
            elif self._is_abandoned(trial):
                with contextlib.suppress(*ALREADY_ENDED):
                    self.opened.study.tell(trial.number, state=TrialState.FAIL)
        if self.opened.is_shared:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                optuna.storages.fail_stale_trials(self.opened.study)
        trials = self.opened.trials()
        repeated = {trial.user_attrs.get(AFTER) for trial in trials}
        for trial in trials:
            if was_interrupted(trial) and trial.number not in repeated:
                self._enqueue_again(trial)

    def _release(self, trial: FrozenTrial) -> None:
        """Note that no worker has the trial, if its worker has stopped."""
        owner = trial.user_attrs.get(WORKER)
        if owner and self.worker.is_dead(owner):
            self.opened.storage.set_trial_user_attr(trial_id(trial), WORKER, None)

    def _is_abandoned(self, trial: FrozenTrial) -> bool:
        if owner := trial.user_attrs.get(WORKER):
            return self.worker.is_dead(owner)
        # The worker was killed before it wrote its name. In a shared database, another worker may be about to write it.
        now = time.monotonic()
        return not self.opened.is_shared or now - self._unowned_since.setdefault(trial.number, now) > UNOWNED_SECONDS

    def _enqueue_again(self, trial: FrozenTrial) -> None:
        kept = {PRUNED: trial.user_attrs[PRUNED]} if PRUNED in trial.user_attrs else {}
        first_attempt = trial.user_attrs.get(RETRY_OF, trial.number)
        self.opened.study.enqueue_trial(
            {**(enqueued_params(trial) or {}), **trial.params},
            user_attrs={**kept, RETRY_OF: first_attempt, AFTER: trial.number},
        )

"""The trials that this process runs now, and how each of them ends in the study."""

import contextlib
import threading
from collections.abc import Iterator

import optuna
from optuna.trial import Trial, TrialState

from yoyak.search.progress import print_line
from yoyak.search.storage import STORAGE_ERRORS
from yoyak.search.study_setup import OpenedStudy
from yoyak.search.trials import FAILED, UNTIL, WORKER, trial_id, trial_label

# Optuna raises these if another worker has ended the trial already.
ALREADY_ENDED = (ValueError, RuntimeError, optuna.exceptions.UpdateFinishedTrialError)


class RunningTrials:
    """The trials that this process runs now. The jobs of the process, which are threads, share it."""

    def __init__(self, opened: OpenedStudy) -> None:
        self.opened = opened
        self._ids: dict[int, int] = {}  # ids in the database, by number

    def __contains__(self, number: int) -> bool:
        return number in self._ids

    def add(self, trial: Trial) -> None:
        self._ids[trial.number] = trial_id(trial)
        if self.opened.is_shared:
            self.opened.storage.record_heartbeat(trial_id(trial))

    def complete(self, trial: Trial, values: list[float]) -> None:
        self._end(trial, TrialState.COMPLETE, values)

    def prune(self, trial: Trial) -> None:
        self._end(trial, TrialState.PRUNED)

    def fail(self, trial: Trial, reason: str) -> None:
        """End the trial as failed because of its params; it is not repeated."""
        trial.set_user_attr(FAILED, reason)
        self._end(trial, TrialState.FAIL)

    def pause(self, trial: Trial) -> None:
        """Leave the trial open for later; no worker has it then."""
        self._ids.pop(trial.number, None)
        trial.set_user_attr(WORKER, None)

    def _end(self, trial: Trial, state: TrialState, values: list[float] | None = None) -> None:
        self._ids.pop(trial.number, None)
        try:
            self.opened.study.tell(trial, values, state=state)
        except ALREADY_ENDED:
            print_line(
                f"{trial_label(trial)}: this result is dropped: another worker missed heartbeats of this trial and repeats it"
            )

    def interrupt_all(self) -> None:
        """End all trials as interrupted, so that the next run of the search repeats them or lets them go on."""
        for number, id_ in list(self._ids.items()):
            with contextlib.suppress(*ALREADY_ENDED, *STORAGE_ERRORS):
                if UNTIL in self.opened.storage.get_trial(id_).user_attrs:
                    self.opened.storage.set_trial_user_attr(id_, WORKER, None)
                else:
                    self.opened.study.tell(number, state=TrialState.FAIL)

    @contextlib.contextmanager
    def sending_heartbeats(self) -> Iterator[None]:
        """Tell workers on other machines, in a thread, that the trials of this process are alive."""
        interval = self.opened.storage.get_heartbeat_interval()
        if interval is None:
            yield
            return
        stopped = threading.Event()

        def send_heartbeats() -> None:
            while not stopped.wait(interval / 2):
                for id_ in list(self._ids.values()):
                    with contextlib.suppress(*STORAGE_ERRORS):
                        self.opened.storage.record_heartbeat(id_)

        threading.Thread(target=send_heartbeats, daemon=True).start()
        try:
            yield
        finally:
            stopped.set()

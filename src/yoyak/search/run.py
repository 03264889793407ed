"""Running a search: its jobs in threads, and the stages of a search file one after the other.

Optuna chooses the params of each trial, and DVC runs the trial as an ordinary experiment. Several processes, also on several
machines, can work on one study. A kill loses nothing: the same command continues the study.
"""

import contextlib
import re
import signal
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import Trial, TrialState

from yoyak.search.disk_need import disk_lines
from yoyak.search.execution import StopSignal, TrialRunner
from yoyak.search.git_dvc import git
from yoyak.search.plan import SearchPlan
from yoyak.search.progress import Progress, print_line, summary_lines
from yoyak.search.proposals import Proposals
from yoyak.search.recovery import Recovery
from yoyak.search.results import rank_trials
from yoyak.search.running_trials import RunningTrials
from yoyak.search.snapshots import Snapshot
from yoyak.search.storage import STORAGE_ERRORS, find_study, storage_url
from yoyak.search.study_setup import OpenedStudy, open_study
from yoyak.search.trials import CHANGES, START, is_resumable, trial_label
from yoyak.search.workers import Worker, exclusive_access
from yoyak.system.errors import YoyakError

POLL_SECONDS = 2  # between two looks at the trials of other workers


class StudyRun:
    """The work of this process on one study, until its budget is used up."""

    def __init__(self, opened: OpenedStudy, worker: Worker) -> None:
        hours = opened.plan.budget.hours
        deadline = time.monotonic() + hours * 3600 if hours else None
        self.opened = opened
        self.stop = StopSignal()
        self.running = RunningTrials(opened)
        self.recovery = Recovery(opened, worker)
        self.proposals = proposals_of(opened.plan)(opened, self.running, worker_name=worker.name, deadline=deadline)
        self.progress = Progress(opened, total=self.proposals.total)
        self.runner = TrialRunner(opened, worker, running=self.running, progress=self.progress, stop=self.stop)
        self._has_said_that_it_waits = False

    def run(self) -> None:
        """Run trials until the budget is used up.

        Raises:
            YoyakError: if the search cannot continue.
            KeyboardInterrupt: if the user stops the search.
        """
        self._print_start()
        jobs = self.opened.plan.jobs
        with self.running.sending_heartbeats(), self.progress, ThreadPoolExecutor(jobs) as pool:
            try:
                for future in [pool.submit(self._work, job) for job in range(jobs)]:
                    future.result()
            except KeyboardInterrupt:
                print_line("the search stops; the same command continues it")
                raise
            finally:
                self.stop.is_set = True
                self.runner.kill()
                pool.shutdown()
                self.running.interrupt_all()
        if self.stop.error:
            raise YoyakError(f"study {self.opened.name}: {self.stop.error}")

    def _print_start(self) -> None:
        opened = self.opened
        if git(opened.root, "rev-parse", "HEAD") != opened.snapshot.commit:
            print_line(
                f"study {opened.name} continues with the files of commit {opened.snapshot.commit[:10]}, with which it began; "
                "`dvc exp show -A` lists its experiments"
            )
        left = self.proposals.total - opened.count_done()
        done = "epochs are trained" if opened.plan.is_freeze_thaw else "trials have ended"
        print_line(
            f"study {opened.name}: {opened.count_done()} of {self.proposals.total} {done} "
            f"(sampler: {opened.plan.sampler.name}, pruner: {opened.plan.pruner.name})"
        )
        if left > 0:
            print_line("\n".join(disk_lines(opened, self.proposals.most_models(left))))

    def _work(self, job: int) -> None:
        """Run trials until there are none left or the search stops. The first error stops all jobs."""
        try:
            while not self.stop.is_set:
                with exclusive_access():  # The lock also excludes the other threads of this process.
                    trial = self._next_trial()
                if trial is not None:
                    self.runner.run(trial, job)
                elif not self._wait_for_other_workers():
                    return
        except BaseException as error:
            was_stopping, self.stop.is_set = self.stop.is_set, True
            self.runner.kill()
            if isinstance(error, STORAGE_ERRORS):
                message = " ".join(str(error).split())[:300]
                self.stop.error = f"the database failed ({message}); when it works again, the same command continues the study"
            elif isinstance(error, YoyakError):
                if not was_stopping:  # Otherwise the stop itself is the cause, because it kills processes.
                    self.stop.error = str(error)
            else:
                raise

    def _next_trial(self) -> Trial | None:
        has_more = True
        while has_more and not self.stop.is_set:
            self.recovery.recover_trials()
            trial, has_more = self.proposals.next_trial()
            if trial is not None:
                return trial
        return None

    def _wait_for_other_workers(self) -> bool:
        """Wait a moment if other processes run trials: if one of these is killed, its trial must be repeated.

        Returns:
            Whether there are such trials.
        """
        running = self.opened.trials(TrialState.RUNNING)
        others = [trial for trial in running if trial.number not in self.running and not is_resumable(trial)]
        if not others or self.proposals.time_is_over:
            return False
        if not self._has_said_that_it_waits:
            print_line(f"waiting for trials that other workers run: {', '.join(map(trial_label, others))}")
            self._has_said_that_it_waits = True
        time.sleep(POLL_SECONDS)
        return True


def proposals_of(plan: SearchPlan) -> type[Proposals]:
    """The class that chooses the trials of a plan."""
    if plan.is_freeze_thaw:
        from yoyak.search.freeze_thaw_proposals import FreezeThawProposals  # It imports scipy, which takes a second.

        return FreezeThawProposals
    return Proposals


def run_search_file(plans: Mapping[str, SearchPlan], *, name: str, only_stage: str | None, root: Path, source: str) -> None:
    """Run a search file: one study per stage. Each stage starts from the best trial of the stages before it.

    Args:
        plans: The plan of each stage, as `load_search_file` returns them.
        name: The name of the study. The study of a stage is named NAME-STAGE.
        only_stage: Run only this stage; None: run all of them.
        root: The user's repository.
        source: The name of the search file, for messages.

    Raises:
        YoyakError: if the name or a plan is not valid, or if the search cannot continue.
        KeyboardInterrupt: if the user stops the search.
    """
    check_name(name)
    best_changes: dict[str, Any] = {}
    snapshot: Snapshot | None = None
    with working() as worker:
        for stage, plan in plans.items():
            study_name = f"{name}-{stage}" if stage else name
            study: optuna.Study | None
            if only_stage and stage != only_stage:
                study = find_study(study_name, storage_url(plan))
            else:
                opened = open_study(study_name, plan, fixed=best_changes, snapshot=snapshot, root=root, source=source)
                StudyRun(opened, worker).run()
                print("\n".join(summary_lines(opened)))
                study = opened.study
            if study and START in study.user_attrs:
                snapshot = snapshot or Snapshot(**study.user_attrs[START])
                if ranked := rank_trials(study, plan.objectives):
                    best_changes = ranked[0].user_attrs[CHANGES]
            if stage == only_stage:
                break


def run_plan(plan: SearchPlan, *, name: str, root: Path, source: str) -> OpenedStudy:
    """Run one plan to its end, for callers that print a result of their own.

    Args:
        plan: The plan.
        name: The name of the study.
        root: The user's repository.
        source: What the plan comes from, for messages.

    Returns:
        The study, whose trials have ended.

    Raises:
        YoyakError: if the name or the plan is not valid, or if the search cannot continue.
        KeyboardInterrupt: if the user stops the search.
    """
    check_name(name)
    with working() as worker:
        opened = open_study(name, plan, fixed={}, snapshot=None, root=root, source=source)
        StudyRun(opened, worker).run()
    return opened


def check_name(name: str) -> None:
    """Check the name of a study or of an experiment. YoyakError if DVC would not take it."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
        raise YoyakError(f"{name!r}: a name consists of ASCII letters, digits, - and _, because DVC experiments get it")


@contextlib.contextmanager
def working() -> Iterator[Worker]:
    """The worker of this process. Both signals that end a program become KeyboardInterrupt."""
    worker = Worker()
    # SIGINT is included because a shell script starts its background commands with SIGINT ignored.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        yield worker
    finally:
        worker.close()

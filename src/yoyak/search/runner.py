"""Searches: Optuna chooses the params of each trial, DVC runs it as an ordinary experiment, and a kill loses nothing."""

import contextlib
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import threading
import time
import uuid
import warnings
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState
from ruamel.yaml import YAML
from tqdm import tqdm

from yoyak.config.params import parse_params
from yoyak.search import space
from yoyak.search.experiments import Clone, Outcome, Start, file_at, git, has, keep, lacks, start_of
from yoyak.search.space import OBJECTIVES, Plan
from yoyak.search.study import STATE, apply_command, best_first, finished, interrupted, known_as, storage_url, ties, values_of
from yoyak.search.workers import Worker, locked
from yoyak.system.errors import YoyakError
from yoyak.training import search_reporting, study_storage

HEARTBEAT = 20  # seconds; a worker elsewhere that is silent for three of them is given up
KILLS = 3  # that one run may suffer while the search lives on, before its params are held responsible
FAILURES = 5  # trials in a row that fail end a search
TIMED_ROWS = 64
FIXED = "fixed_params"  # where Optuna keeps what was enqueued

State = TrialState
STORAGE_ERRORS = (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError)


def make_sampler(plan: Plan, seed: int) -> optuna.samplers.BaseSampler:
    settings = plan.sampler
    if settings.name == "tpe":
        return optuna.samplers.TPESampler(
            seed=seed, n_startup_trials=settings.n_startup_trials, n_ei_candidates=settings.n_ei_candidates
        )
    if settings.name == "gp":
        return optuna.samplers.GPSampler(seed=seed, n_startup_trials=settings.n_startup_trials)
    return optuna.samplers.RandomSampler(seed=seed)  # a grid's points are enqueued


class Search:
    """One study. Several of these, in threads, processes or on other machines, may work on it together."""

    def __init__(
        self, name: str, plan: Plan, *, fixed: Mapping[str, Any], start: Start | None, root: Path, source: str
    ) -> None:
        """Begin the study, or go on with it. `fixed` are changes of params that all trials begin with.

        Raises:
            YoyakError: if params.yaml does not take what the plan would try, or if the study was begun otherwise.
        """
        self.name, self.root = name, root
        url = storage_url(plan)
        self.shared = not url.startswith("sqlite")
        self.storage = study_storage.open_study_storage(url, heartbeat=HEARTBEAT if self.shared else None)
        self.url, self.plan = url, plan
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        with locked():
            try:
                self.study = optuna.load_study(study_name=name, storage=self.storage)
                begun = "start" in self.study.user_attrs
            except KeyError:
                begun = False
            if not begun:
                self.study = self._begin(fixed, start, source)
        known = self.study.user_attrs
        self.start, self.fixed = Start(**known["start"]), known["fixed"]
        self._same_as_begun(json.loads(plan.model_dump_json()), known["plan"])
        if not has(root, self.start):
            raise YoyakError(
                f"study {name} began with commit {self.start.commit[:10]}, or changes to it, that this clone has not: "
                "commit, push and pull before several clones work on one study"
            )
        keep(root, name, self.start)
        self.base = YAML(typ="safe", pure=True).load(file_at(root, self.start, "params.yaml"))
        self.objective = plan.objectives[0]
        self.limit = plan.budget.trials
        self.until = time.monotonic() + plan.budget.hours * 3600 if plan.budget.hours else None
        self.stopping = self.waited = False
        self.clones: dict[int, Clone] = {}
        self.running: dict[int, int] = {}  # number of the trial: its id
        self.unowned: dict[int, float] = {}
        self.failures = 0
        self.error: str | None = None

    def _begin(self, fixed: Mapping[str, Any], start: Start | None, source: str) -> optuna.Study:
        start = start or start_of(self.root)
        base = YAML(typ="safe", pure=True).load(file_at(self.root, start, "params.yaml"))
        parse_params(base, source="params.yaml")
        fixed = {**fixed, **self.plan.set}
        space.check_plan(self.plan, base, fixed=fixed, folder=Path("presets"), source=source)
        params = parse_params(space.applied(fixed, base), source="params.yaml")
        for key, place in (
            ("data.dir", params.data.dir),
            (f"model.{params.model.family}.checkpoint", params.model.chosen.checkpoint),
        ):
            if lacks(self.root, start, place):
                raise YoyakError(
                    f"{key}: {place} is in neither git nor DVC, so the clones that trials run in would not have it: "
                    f"dvc add {place}, then git add {place}.dvc (or name it by its absolute path)"
                )
        self._check_lengths(base, fixed, source)
        up, down = StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE
        directions = [up if OBJECTIVES[name] else down for name in self.plan.objectives]
        study = optuna.create_study(study_name=self.name, storage=self.storage, directions=directions, load_if_exists=True)
        if study.get_trials(deepcopy=False):
            raise YoyakError(f"study {self.name} in this storage is not one of yoyak's; give another --name")
        if git(self.root, "for-each-ref", f"{start.ref}/{self.name}-t[0-9]*"):
            raise YoyakError(f"there are experiments {self.name}-t… of another study already; give another --name")
        # `start` last: a study that has it has all.
        study.set_user_attr("fixed", fixed)
        study.set_user_attr("plan", json.loads(self.plan.model_dump_json()))
        study.set_user_attr("start", {"commit": start.commit, "tree": start.tree})
        return study

    def _check_lengths(self, base: Mapping[str, Any], fixed: Mapping[str, Any], source: str) -> None:
        """That what is read and written fits the model's positions, at its longest."""
        lengths = ("tokenizer.max_input_length", "tokenizer.max_target_length", "generation.max_new_tokens")
        searched = {name: parameter for name, parameter in self.plan.parameters.items() if name in lengths}
        if not searched or {"model.family", space.PRESET} & set(self.plan.parameters):
            return
        from yoyak.models import checkpoints

        longest = {name: max(parameter.extremes()) for name, parameter in searched.items()}
        params = parse_params(space.applied({**fixed, **longest}, base), source=source)
        chosen = params.model.chosen
        needed = checkpoints.lengths_of(params.model.family, params.tokenizer, params.generation)
        checkpoints.check_lengths(chosen.checkpoint, chosen.revision, needed)

    def _same_as_begun(self, now: dict[str, Any], begun: dict[str, Any]) -> None:
        for key in ("objectives", "parameters", "set", "seeds"):
            if now[key] != begun[key]:
                raise YoyakError(
                    f"study {self.name} was begun with other {key}, and its results could not be compared; "
                    "give another --name, or put the file back"
                )

    # What to try next

    def _recover(self) -> None:
        """Find trials whose worker is gone, and have each of them tried again."""
        for trial in self.study.get_trials(deepcopy=False, states=(State.RUNNING,)):
            owner = trial.user_attrs.get("worker")
            if owner:
                gone = self.worker.is_dead(owner)
            else:  # killed between two writes; elsewhere somebody may be between them now
                gone = not self.shared or time.monotonic() - self.unowned.setdefault(trial.number, time.monotonic()) > 60
            if gone:
                with contextlib.suppress(ValueError, RuntimeError, optuna.exceptions.UpdateFinishedTrialError):
                    self.study.tell(trial.number, state=State.FAIL)
        if self.shared:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                optuna.storages.fail_stale_trials(self.study)
        trials = self.study.get_trials(deepcopy=False)
        again = {trial.user_attrs.get("after") for trial in trials}
        for trial in trials:
            if interrupted(trial) and trial.number not in again:
                kept = {key: trial.user_attrs[key] for key in ("pruned",) if key in trial.user_attrs}
                first = trial.user_attrs.get("retry_of", trial.number)
                self.study.enqueue_trial(
                    {**trial.system_attrs.get(FIXED, {}), **trial.params},
                    user_attrs={**kept, "retry_of": first, "after": trial.number},
                )

    def _enqueue(self) -> None:
        """A grid's points; else, to begin with, what params.yaml says now: a search never ends below where it started."""
        trials = self.study.get_trials(deepcopy=False)
        if self.plan.sampler.name == "grid":
            points = space.grid(self.plan, self.base, fixed=self.fixed, folder=Path("presets"))
            known = [trial.system_attrs.get(FIXED) for trial in trials]
            for point in points[: self.limit]:
                if point not in known:
                    self.study.enqueue_trial(point)
        elif not trials:
            here = space.where_it_stands(self.plan, self.base, fixed=self.fixed)
            if here is not None:
                self.study.enqueue_trial(here)

    def _now(self) -> Plan:
        """The plan with the ranges as narrow as they are by now."""
        plan, centre = self.plan, space.applied(self.fixed, self.base)
        share = plan.around or 1.0
        if plan.adaptive:
            sign = 1 if OBJECTIVES[self.objective] else -1
            share = space.width([sign * (trial.value or 0) for trial in finished(self.study)], plan.adaptive)
            if share < 1:
                centre = space.applied(best_first(self.study, self.plan.objectives)[0].user_attrs["changes"], self.base)
        near = {
            name: parameter if name == space.PRESET else parameter.around(space.look_up(centre, name), share)
            for name, parameter in plan.parameters.items()
        }
        return plan.model_copy(update={"parameters": near})

    def _ask(self) -> Trial | None:
        """The next trial, its params chosen; None if there is none. One that was run already is told its values at once."""
        while not self.stopping:
            self._recover()
            self._enqueue()
            trials = self.study.get_trials(deepcopy=False)
            counted = [trial for trial in trials if not interrupted(trial)]
            waiting = any(trial.state == State.WAITING for trial in trials)
            over = self.until is not None and time.monotonic() > self.until
            full = self.plan.sampler.name == "grid" or len(counted) >= (self.limit or 0)
            if over or (full and not waiting):
                return None
            # By how many there are, so that a search that was killed goes on as it would have; workers elsewhere differ.
            other = uuid.UUID(int=0) if not self.shared else uuid.uuid5(uuid.NAMESPACE_URL, self.worker.name)
            self.study.sampler = make_sampler(self.plan, (self.plan.sampler.seed + len(counted) + other.int) % 2**31)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # that heartbeats are for Study.optimize; we send our own
                trial = self.study.ask()
            trial.set_user_attr("worker", self.worker.name)
            self.running[trial.number] = trial._trial_id
            if self.shared:
                self.storage.record_heartbeat(trial._trial_id)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # a value that was enqueued may lie outside a narrowed range
                chosen = space.suggest(trial, self._now(), self.base, fixed=self.fixed, folder=Path("presets"))
            changes = space.settle(chosen, self.base, fixed=self.fixed, folder=Path("presets"))
            trial.set_user_attr("changes", changes)
            before = [other for other in counted if other.number < trial.number and other.user_attrs.get("changes") == changes]
            enqueued = FIXED in self.storage.get_trial(trial._trial_id).system_attrs
            if full and not enqueued:  # a worker elsewhere was faster
                self._fail(trial, "the budget was spent by another worker")
            elif not self._told_by(before, trial):
                return trial
        return None

    def _wait_for_others(self) -> bool:
        """A moment, if trials run in other processes: one whose worker dies must be tried again."""
        trials = self.study.get_trials(deepcopy=False, states=(State.RUNNING,))
        others = [trial for trial in trials if trial.number not in self.running]
        if not others or (self.until is not None and time.monotonic() > self.until):
            return False
        if not self.waited:
            self._say(f"waiting for {', '.join(map(known_as, others))}, which other workers run")
            self.waited = True
        time.sleep(2)
        return True

    def _told_by(self, before: list[FrozenTrial], trial: Trial) -> bool:
        """Tell a trial the result of an earlier one with the same changes, if there is one."""
        for other in before:
            if other.state in (State.COMPLETE, State.PRUNED):
                for key in ("experiments", "scores", "pruned"):
                    if key in other.user_attrs:
                        trial.set_user_attr(key, other.user_attrs[key])
                trial.set_user_attr("same_as", other.number)
                values = list(other.values) if other.state == State.COMPLETE else None
                self._tell(trial, values=values, state=other.state)
                self._say(f"{known_as(trial)}  the same as {known_as(other)}")
                return True
            if other.state == State.RUNNING:
                self._fail(trial, f"{known_as(other)} runs the same now")
                return True
        return False

    # Running it

    def _tell(self, trial: Trial, *, values: list[float] | None, state: TrialState) -> None:
        self.running.pop(trial.number, None)
        try:
            self.study.tell(trial, values, state=state)
        except (ValueError, RuntimeError, optuna.exceptions.UpdateFinishedTrialError):
            self._say(
                f"{known_as(trial)}  was given up as stale by another worker, which tries it again; this result is left out"
            )

    def _fail(self, trial: Trial, reason: str) -> None:
        trial.set_user_attr("failed", reason)
        self._tell(trial, values=None, state=State.FAIL)

    def _say(self, line: str) -> None:
        tqdm.write(line)

    def _environment(self, job: int, trial: Trial | None) -> dict[str, str]:
        told = {"YOYAK_SEARCH": str(self.worker.path), "YOYAK_CHECKPOINTS": str(Path(".checkpoints").resolve())}
        if trial and self.plan.pruner.name != "none" and self.plan.trains:
            about = {"storage": self.url, "study": self.name, "trial": trial._trial_id, "pruner": self.plan.pruner.arguments()}
            told[search_reporting.TRIAL_VARIABLE] = json.dumps(about)
        if self.plan.jobs > 1 and (gpus := _gpus()):
            told["CUDA_VISIBLE_DEVICES"] = gpus[job % len(gpus)]
        return told

    def _run(self, trial: Trial, job: int) -> None:
        """Run a trial and tell the study what came of it."""
        changes, began = trial.user_attrs["changes"], time.monotonic()
        if reason := trial.user_attrs.get("pruned") or self._broken(changes):
            trial.set_user_attr("pruned", reason)
            self._prune(trial, job, reason, began)
            return
        names: list[str] = []
        scores: list[dict[str, Any]] = []
        values: list[list[float]] = []
        stages: list[str] = []
        for seed in self._seeds():
            name = f"{self.name}-{known_as(trial)}" + ("" if seed is None else f"-s{seed[1]}")
            overlay = dict([seed]) if seed else {}
            outcome = self._attempt(name, {**changes, **overlay}, job, trial if not names else None)
            stages += outcome.stages
            if self.stopping:
                return  # left as interrupted, to be tried again
            if outcome.status:
                if reason := self.storage.get_trial(trial._trial_id).user_attrs.get("pruned"):
                    self._prune(trial, job, reason, began)
                else:
                    self._crash(trial, outcome)
                return
            clone = self.clones[job]
            found = clone.scores()
            family = space.look_up(space.applied(changes, self.base), "model.family")
            if not names:
                self._report_curve(trial, clone, changes)
            names.append(name)
            scores.append(found)
            values.append([self._value(objective, found, clone, family, changes) for objective in self.plan.objectives])
        trial.set_user_attr("experiments", names)
        trial.set_user_attr("scores", scores)
        trial.set_user_attr("stages", stages)
        self._tell(trial, values=[statistics.mean(column) for column in zip(*values, strict=True)], state=State.COMPLETE)
        self.failures = 0
        self._report(trial.number, began)

    def _report_curve(self, trial: Trial, clone: Clone, changes: Mapping[str, Any]) -> None:
        """Give the pruner what a training that came from the cache could not report itself."""
        if self.plan.pruner.name == "none" or not self.plan.trains:
            return
        values = space.applied(changes, self.base)
        metric = space.look_up(values, "training.metric_for_best_model")
        known = self.storage.get_trial(trial._trial_id).intermediate_values
        for epoch, value in clone.curve(space.look_up(values, "model.family"), metric).items():
            if epoch not in known:
                trial.report(-value if metric == "loss" else value, epoch)

    def _seeds(self) -> list[tuple[str, int] | None]:
        if self.plan.seeds == 1:
            return [None]
        key = "training.seed" if self.plan.trains else "generation.seed"
        first = space.look_up(space.applied(self.fixed, self.base), key)
        return [(key, first + at) for at in range(self.plan.seeds)]

    def _clone(self, job: int) -> Clone:
        return Clone(self.root, (self.worker.folder / f"clone{job}").resolve(), self.start)

    def _attempt(self, name: str, changes: Mapping[str, Any], job: int, trial: Trial | None) -> Outcome:
        """Run it, again if something killed it from outside."""
        if job not in self.clones:
            self.clones[job] = self._clone(job)
        log = STATE / "logs" / f"{name}.log"
        for _ in range(KILLS):
            outcome = self.clones[job].run(name, space.nested(changes), log=log, environment=self._environment(job, trial))
            if self.stopping or not outcome.killed:
                break
            self.clones[job] = self._clone(job)  # anew: who knows what locks and halves are in the old one
            self._say(f"{name}  was killed; it is tried again")
        return outcome

    def _prune(self, trial: Trial, job: int, reason: str, began: float) -> None:
        """Leave an experiment that says so, in which nothing was trained or scored; none where params.yaml cannot be so."""
        name, changes = f"{self.name}-{known_as(trial)}", trial.user_attrs["changes"]
        if not space.invalid(changes, self.base):
            outcome = self._attempt(name, {**changes, "search.pruned": reason}, job, None)
            if self.stopping:
                return
            if outcome.status:
                self._say(f"{name}  could not be written as a pruned experiment: {outcome.log}")
            trial.set_user_attr("experiments", [name])
        self._tell(trial, values=None, state=State.PRUNED)
        self.failures = 0
        self._report(trial.number, began)

    def _crash(self, trial: Trial, outcome: Outcome) -> None:
        why = f"killed {KILLS} times" if outcome.killed else "failed"
        self._fail(trial, f"{why}: {outcome.tail(4)}")
        self._say(f"{known_as(trial)}  {why}; {outcome.log} ends:\n{outcome.tail()}")
        self.failures += 1
        if self.failures >= FAILURES:
            self.error = f"{FAILURES} trials in a row failed; the last one's log is {outcome.log}"
            self.stopping = True

    def _broken(self, changes: Mapping[str, Any]) -> str | None:
        """Why a trial need not be trained at all."""
        if reason := space.broken(changes, self.base, self.plan.constraints):
            return reason
        if (limit := self.plan.constraints.memory_gib) is not None:
            from yoyak.models import memory_estimate

            peak = (
                memory_estimate.peak_of(parse_params(space.applied(changes, self.base), source="trial")) / memory_estimate.GIB
            )
            if peak > limit:
                return f"memory: an estimated peak of {peak:.2f} GiB is above {limit:g}"
        return None

    def _value(self, objective: str, scores: dict[str, Any], clone: Clone, family: str, changes: Mapping[str, Any]) -> float:
        if objective == "seconds_per_dialogue":
            return clone.seconds_per_dialogue(TIMED_ROWS)
        if objective == "model_megabytes":
            base = 0
            if family == "qlora":
                from yoyak.models import memory_estimate

                base = memory_estimate.base_bytes(parse_params(space.applied(changes, self.base), source="trial"))
            return (clone.model_bytes(family) + base) / 1e6
        return float(space.look_up(scores, objective))

    # Working through it

    def _work(self, job: int) -> None:
        try:
            while not self.stopping:
                with locked():  # threads too: each opens the file anew
                    trial = self._ask()
                if trial is not None:
                    self._run(trial, job)
                elif not self._wait_for_others():
                    return
        except BaseException as error:
            ended, self.stopping = self.stopping, True
            for clone in self.clones.values():
                clone.kill()
            if isinstance(error, STORAGE_ERRORS):
                self.error = f"its storage failed ({' '.join(str(error).split())[:300]}); the same command goes on from here"
            elif isinstance(error, YoyakError):
                if not ended:  # else it tells of its end alone
                    self.error = str(error)
            else:
                raise

    def _beat(self) -> None:
        while not self.done.wait(HEARTBEAT / 2):
            for trial_id in list(self.running.values()):
                with contextlib.suppress(*STORAGE_ERRORS):
                    self.storage.record_heartbeat(trial_id)

    def run(self, worker: Worker) -> None:
        """Work on the study until its budget is spent. YoyakError if it cannot go on; KeyboardInterrupt passes."""
        self.worker, self.done = worker, threading.Event()
        before = self._ended()
        total = self.limit or len(space.grid(self.plan, self.base, fixed=self.fixed, folder=Path("presets")))
        if git(self.root, "rev-parse", "HEAD") != self.start.commit:
            self._say(
                f"it goes on from commit {self.start.commit[:10]}, where it began (dvc exp show -A lists its experiments)"
            )
        self._say(
            f"study {self.name}: {before} of {total} trials done, {self.plan.sampler.name}, {self.plan.pruner.name} pruner"
        )
        if self.shared:
            threading.Thread(target=self._beat, daemon=True).start()
        with (
            tqdm(total=total, initial=before, unit="trial", disable=None) as self.bar,
            ThreadPoolExecutor(self.plan.jobs) as pool,
        ):
            try:
                for future in [pool.submit(self._work, job) for job in range(self.plan.jobs)]:
                    future.result()
            except KeyboardInterrupt:
                self._say("stopping; the same command goes on from here")
                raise
            finally:
                self.stopping = True
                self.done.set()
                for clone in self.clones.values():
                    clone.kill()
                pool.shutdown()
                for number in list(self.running):  # begun and not ended: to be tried again
                    with contextlib.suppress(ValueError, RuntimeError, *STORAGE_ERRORS):
                        self.study.tell(number, state=State.FAIL)
        if self.error:
            raise YoyakError(f"study {self.name}: {self.error}")

    def _ended(self) -> int:
        """How many trials are over, for good."""
        return sum(trial.state.is_finished() and not interrupted(trial) for trial in self.study.get_trials(deepcopy=False))

    def _report(self, number: int, began: float) -> None:
        trial = self.study.get_trials(deepcopy=False)[number]
        took = f"{time.monotonic() - began:.0f} s"
        ran = ", ".join(dict.fromkeys(trial.user_attrs.get("stages", []))) or "nothing"
        if trial.state == State.PRUNED:
            line = f"{known_as(trial)}  pruned: {trial.user_attrs['pruned']}  ({took})"
        else:
            line = f"{known_as(trial)}  {values_of(trial, self.plan.objectives)}  ({took}; ran {ran})"
        if not self.plan.several and (order := best_first(self.study, self.plan.objectives)):
            best = order[0]
            tied = len(ties(self.study, self.objective))
            line += f"  best: {known_as(best)} {best.value:.2f}" + (f", {tied} tied" if tied else "")
        self.bar.n = self._ended()
        self._say(line)
        self.bar.refresh()


def _gpus() -> list[str]:
    """What CUDA_VISIBLE_DEVICES may say: what it says, or every GPU that nvidia-smi lists."""
    if (given := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:  # empty: none, whatever is there
        return [gpu for gpu in given.split(",") if gpu]
    if not shutil.which("nvidia-smi"):
        return []
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False).stdout.splitlines()
    return [str(at) for at, _ in enumerate(line for line in listed if line.startswith("GPU "))]


def result(search: Search) -> list[str]:
    """What to tell at the end: the best, its ties, and the command that takes it over."""
    study, plan = search.study, search.plan
    done = finished(study)
    if not done:
        return [f"study {search.name}: no trial has been completed"]
    if plan.several:
        front = best_first(study, plan.objectives)
        lines = [f"study {search.name}: {len(done)} completed; none is better in everything than these {len(front)}:"]
        lines += [f"  {known_as(trial)}  {values_of(trial, plan.objectives)}   {apply_command(trial)}" for trial in front]
        return lines
    best = best_first(study, plan.objectives)[0]
    lines = [f"study {search.name}: best of {len(done)} completed: {known_as(best)}  {values_of(best, plan.objectives)}"]
    lines += [f"  {name}: {value}" for name, value in best.user_attrs["changes"].items()]
    if tied := ties(study, search.objective):
        lines.append(f"  within the noise of it: {', '.join(known_as(trial) for trial in tied)}")
    lines.append(f"take it over: {apply_command(best)}")
    if not git(search.root, "for-each-ref", f"{search.start.ref}/{best.user_attrs['experiments'][0]}"):
        lines.append("  (it ran in another clone: there `dvc exp push REMOTE NAME`, here `dvc exp pull REMOTE NAME` before)")
    return lines


def run_file(plans: Mapping[str, Plan], *, name: str, only: str | None, root: Path, source: str) -> None:
    """Run a search file: one study, or one for each stage, which starts from the best of the stage before."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
        raise YoyakError(f"study {name!r}: letters, digits, - and _ alone; experiments are named after it")
    previous: dict[str, Any] = {}
    start: Start | None = None
    worker = Worker()
    for number in (signal.SIGINT, signal.SIGTERM):  # SIGINT too: what a script starts in the background ignores it
        signal.signal(number, signal.default_int_handler)
    try:
        for stage, plan in plans.items():
            title = f"{name}-{stage}" if stage else name
            if only and stage != only:
                found = _study(title, plan)
            else:
                search = Search(title, plan, fixed=previous, start=start, root=root, source=source)
                search.run(worker)
                print("\n".join(result(search)))
                found = search.study
            if found and "start" in found.user_attrs:
                start = start or Start(**found.user_attrs["start"])
                if order := best_first(found, plan.objectives):
                    previous = order[0].user_attrs["changes"]
            if stage == only:
                break
    finally:
        worker.close()


def _study(name: str, plan: Plan) -> optuna.Study | None:
    try:
        return optuna.load_study(study_name=name, storage=study_storage.open_study_storage(storage_url(plan)))
    except KeyError:
        return None

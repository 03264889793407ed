"""Passes the metrics of a training to its trackers, which are DVCLive and those that YOYAK_TRACKERS names."""

import math
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from yoyak.evaluation import rouge
from yoyak.training.trackers.base import Tracker
from yoyak.training.trackers.lookup import ALWAYS_ON, tracker_named

TRAIN_METRICS = ("loss", "learning_rate", "grad_norm")
DEV_METRICS = ("loss", *rouge.KEYS, "rouge_sum")


class TrackingCallback(TrainerCallback):  # type: ignore[misc]
    """Logs `train/...` by the optimizer's step and `dev/...` by the epoch. It leaves out times, which differ from run to run.

    A resumed training logs the whole curve again, from its first step.
    """

    def __init__(self, trackers: Sequence[Tracker]) -> None:
        self.trackers = trackers

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        for logs in state.log_history:  # not empty after a kill
            self._log(logs, step=logs["step"], epoch=logs["epoch"])

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self._log(kwargs["logs"], step=state.global_step, epoch=state.epoch or 0)

    def _log(self, logs: Mapping[str, float], *, step: int, epoch: float) -> None:
        train = {f"train/{name}": logs[name] for name in TRAIN_METRICS if name in logs}
        dev = {f"dev/{name}": logs[f"eval_{name}"] for name in DEV_METRICS if f"eval_{name}" in logs}
        for tracker in self.trackers:
            if train:
                tracker.log(train, step=step)
            if dev:
                tracker.log(dev, step=math.ceil(epoch))


class BackgroundTracker(Tracker):
    """Runs a further tracker in a thread of its own, so that the tracker can neither stop nor slow the training.

    A tracker that raises is switched off with one warning. At the end the training waits END_SECONDS for one that is slow.
    """

    END_SECONDS = 30.0

    def __init__(self, name: str, tracker: Tracker) -> None:
        self.name, self.tracker = name, tracker
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run_calls, name=f"tracker {name}", daemon=True)
        self._is_on = True

    def start(self, folder: Path, facts: Mapping[str, Any]) -> None:
        def make_folder_and_start() -> None:
            folder.mkdir(parents=True, exist_ok=True)
            self.tracker.start(folder, facts)

        self._calls.put(make_folder_and_start)
        try:
            self._thread.start()
        except RuntimeError as error:  # no memory for a thread, or too many of them
            self._switch_off(error)

    def log(self, metrics: Mapping[str, float], *, step: int) -> None:
        if self._is_on:
            self._calls.put(partial(self.tracker.log, dict(metrics), step=step))

    def end(self) -> None:
        if not self._is_on:
            return
        self._calls.put(self.tracker.end)
        self._calls.put(None)
        self._thread.join(self.END_SECONDS)
        if self._thread.is_alive():
            print(f"WARNING: tracker {self.name} did not end within {self.END_SECONDS:g} s; it may be incomplete", flush=True)

    def _run_calls(self) -> None:
        try:
            while call := self._calls.get():
                call()
        except BaseException as error:  # also SystemExit: whatever a tracker raises, the training continues
            self._switch_off(error)

    def _switch_off(self, error: BaseException) -> None:
        self._is_on = False
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        print(f"WARNING: tracker {self.name} is switched off, the training continues: {reason}", flush=True)


def start_trackers(
    further: Mapping[str, Tracker], *, facts: Mapping[str, Any], metrics_folder: Path, private_folder: Path
) -> list[Tracker]:
    """Start DVCLive and the further trackers.

    Args:
        further: trackers by name, from `lookup.further_trackers`.
        facts: what the run is, as `Tracker.start` takes it.
        metrics_folder: an output of the stage. DVCLive alone writes into it, so that further trackers change no output.
        private_folder: each further tracker has a folder of its name in here. It is not an output, and a resumed run finds it.
    """
    dvclive = tracker_named(ALWAYS_ON)
    dvclive.start(metrics_folder, facts)
    trackers = [dvclive]
    for name, tracker in further.items():
        background = BackgroundTracker(name, tracker)
        background.start(private_folder / name, facts)
        trackers.append(background)
    return trackers

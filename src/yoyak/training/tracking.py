"""Passes the metrics of a training and the scores of a run to its trackers: DVCLive, and those that YOYAK_TRACKERS names."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from yoyak.evaluation import rouge
from yoyak.training.trackers import background
from yoyak.training.trackers.base import RunDescription, Tracker
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


def start_trackers(
    further: Mapping[str, Tracker], run: RunDescription, *, metrics_folder: Path, private_folder: Path
) -> list[Tracker]:
    """Start DVCLive and the further trackers.

    Args:
        further: trackers by name, from `lookup.further_trackers`.
        run: what the run is.
        metrics_folder: an output of the stage. DVCLive alone writes into it, so that further trackers change no output.
        private_folder: each further tracker has a folder of its name in here. It is not an output, and a resumed run finds it.
    """
    dvclive = tracker_named(ALWAYS_ON)
    dvclive.start(metrics_folder, run)
    return [dvclive, *background.start_all(further, run, private_folder)]

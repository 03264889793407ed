"""The interface of a tracker."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class Tracker(ABC):
    """Records the metrics of one training run.

    To add a tracker called NAME:

    1. Write `src/yoyak/training/trackers/NAME.py` with a subclass of Tracker, and the line `TRACKER = ThatSubclass`.
       Import the service's package at the top of that file: it is imported only when the tracker is used.
    2. Add "NAME" to `TRACKERS` in `trackers/lookup.py`.
    3. Run `yoyak deps --write`. Train with `YOYAK_TRACKERS=NAME dvc repro`.

    The calls come in this order: `start` once, `log` many times, `end` once. After an error in the training, or after a kill,
    `end` is not called. A training that resumes after a kill starts a new tracker and logs the whole curve again, from its
    first step.

    DVCLive is always on. If it raises, the training stops, because its files are outputs of the stage. A further tracker runs
    in a thread of its own, which makes its calls one after another. If it raises, it is switched off with one warning. If it is
    slow, it delays the end of the training by at most `tracking.BackgroundTracker.END_SECONDS`. Addresses and passwords come
    from the environment, under the names that the service's own package uses.
    """

    @abstractmethod
    def start(self, folder: Path, facts: Mapping[str, Any]) -> None:
        """Begin to record a run.

        Args:
            folder: an existing folder for this tracker alone. A resumed training passes the same one, so a tracker can keep
                the id of its service's run in it and continue that run. DVCLive's is the stage's output, new for each run.
            facts: what the run is: model_type, parameters (their number), and every argument of the trainer by its name.
        """

    @abstractmethod
    def log(self, metrics: Mapping[str, float], *, step: int) -> None:
        """Record metrics of one moment.

        Args:
            metrics: either `train/loss`, `train/learning_rate` and `train/grad_norm` (those that are known), or `dev/loss` and,
                where ROUGE is measured, `dev/rouge1`, `dev/rouge2`, `dev/rougeL` and `dev/rouge_sum` (F1 x 100).
            step: the optimizer's step for `train/...`, the number of the epoch for `dev/...`. So it does not always grow.
        """

    @abstractmethod
    def end(self) -> None:
        """Finish the record after a complete training."""

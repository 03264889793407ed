"""The interface of a tracker, and the description of a run that it receives."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class RunDescription:
    """What a tracker shows about a run.

    Attributes:
        name: the name of the run, such as `kobart_kobart-tiny_sample_lr0.001_bs16_ep6`.
        group: runs that belong together, such as the trials of a search; empty for none.
        tags: what the run can be filtered by: experiment, family, training, architecture, size, dtype, commit.
        settings: every value of params.yaml by its dotted name.
    """

    name: str
    group: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)


class Tracker(ABC):
    """Records one run: the metrics of its training, and its scores.

    To add a tracker called NAME:

    1. Write `src/yoyak/training/trackers/NAME.py` with a subclass of Tracker, and the line `TRACKER = ThatSubclass`.
       Import the service's package at the top of that file: it is imported only when the tracker is used.
    2. Add "NAME" to `TRACKERS` in `trackers/lookup.py`.
    3. Run `yoyak deps --write`. Train with `YOYAK_TRACKERS=NAME dvc repro`.

    In a training the calls come in this order: `start` once, `log` many times, `end` once. After an error in the training, or
    after a kill, `end` is not called. A training that resumes after a kill starts a new tracker and logs the whole curve again,
    from its first step. `logged.LoggedPoints` leaves out what the service already has.

    The stage score starts a new tracker too, with the folder of the training, logs the curve again, and calls `add_results`
    before `end`. A training that DVC's run cache restores has logged nothing before.

    DVCLive is always on. If it raises, the training stops, because its files are outputs of the stage. A further tracker runs
    in a thread of its own, which makes its calls one after another. If it raises, it is switched off with one warning. If it is
    slow, it delays the end of the stage by at most `background.BackgroundTracker.END_SECONDS`. Addresses and passwords come
    from the environment, under the names that the service's own package uses.
    """

    @abstractmethod
    def start(self, folder: Path, run: RunDescription) -> None:
        """Begin to record a run, or continue to.

        Args:
            folder: an existing folder for this tracker and this run alone. A resumed training and the stage score pass the same
                one, so a tracker can keep the id of its service's run in it. DVCLive's is the stage's output, new for each run.
            run: what the run is.
        """

    @abstractmethod
    def log(self, metrics: Mapping[str, float], *, step: int) -> None:
        """Record metrics of one moment.

        Args:
            metrics: either `train/loss`, `train/learning_rate` and `train/grad_norm` (those that are known), or `dev/loss` and,
                where ROUGE is measured, `dev/rouge1`, `dev/rouge2`, `dev/rougeL` and `dev/rouge_sum` (F1 x 100).
            step: the optimizer's step for `train/...`, the number of the epoch for `dev/...`. So it does not always grow.
        """

    def add_results(  # noqa: B027 (a tracker may do nothing here)
        self, scores: Mapping[str, float], artifacts: Mapping[str, str]
    ) -> None:
        """Record the scores of the run. Without this method a tracker shows none.

        Args:
            scores: the numbers of metrics/summary.json by their names.
            artifacts: the outputs of the run by their paths, each as DVC's hash (`md5:...`). They stay in DVC's cache.
        """

    @abstractmethod
    def end(self) -> None:
        """Finish the record after a complete training or scoring."""

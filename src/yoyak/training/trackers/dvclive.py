"""DVCLive's files: one table for each metric, which `dvc plots` shows, and metrics.json with the last values."""

from collections.abc import Mapping
from pathlib import Path

from dvclive import Live

from yoyak.training.trackers.base import RunDescription, Tracker


class DvcLiveTracker(Tracker):
    """Writes plots/metrics/{train,dev}/NAME.tsv and metrics.json. The description is left out: params.yaml holds it."""

    def start(self, folder: Path, run: RunDescription) -> None:
        self.live = Live(str(folder), save_dvc_exp=False, dvcyaml=None)
        self.last_step = 0

    def log(self, metrics: Mapping[str, float], *, step: int) -> None:
        self.live.step = step
        for name, value in metrics.items():
            self.live.log_metric(name, value)
        # metrics.json names the optimizer's step. The epoch, which is the step of dev metrics, is never larger.
        self.last_step = self.live.step = max(self.last_step, step)

    def end(self) -> None:
        self.live.end()


TRACKER = DvcLiveTracker

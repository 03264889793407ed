"""TensorBoard: event files in `.trackers/tensorboard`, or in the folder TENSORBOARD_LOGGING_DIR."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from yoyak.training.trackers.base import RunDescription, Tracker
from yoyak.training.trackers.logged import LoggedPoints
from yoyak.training.trackers.stores import stores_folder


class TensorboardTracker(Tracker):
    """Curves, the settings as text, and settings with scores on the page HPARAMS. A group is a folder of its runs."""

    def start(self, folder: Path, run: RunDescription) -> None:
        self.settings, self.logged = run.settings, LoggedPoints(folder)
        store = Path(os.environ.get("TENSORBOARD_LOGGING_DIR") or stores_folder() / "tensorboard")
        key = folder.parent.name[:8]  # two runs may have the same name
        self.writer = SummaryWriter(str(store / run.group / f"{run.name}-{key}"))
        about = {"name": run.name, "group": run.group} | dict(run.tags) | dict(run.settings)
        table = ["| | |", "| --- | --- |", *(f"| {name} | {_cell(value)} |" for name, value in about.items())]
        self.writer.add_text("run", "\n".join(table))

    def log(self, metrics: Mapping[str, float], *, step: int) -> None:
        new = self.logged.new(metrics, step=step)
        for name, value in new.items():
            self.writer.add_scalar(name, value, step)
        self.writer.flush()
        self.logged.add(new, step=step)

    def add_results(self, scores: Mapping[str, float], artifacts: Mapping[str, str]) -> None:
        settings = {name: _hyperparameter(value) for name, value in self.settings.items()}
        shown = {f"score/{name}": value for name, value in scores.items()}
        writer: Any = self.writer
        for summary in hparams(settings, shown):  # type: ignore[no-untyped-call]
            writer._get_file_writer().add_summary(summary)
        for name, value in shown.items():
            self.writer.add_scalar(name, value)
        table = ["| output | hash |", "| --- | --- |", *(f"| {path} | {digest} |" for path, digest in artifacts.items())]
        self.writer.add_text("outputs", "\n".join(table))

    def end(self) -> None:
        self.writer.close()


def _hyperparameter(value: object) -> bool | int | float | str:
    """The page HPARAMS has no None and no lists."""
    return value if isinstance(value, bool | int | float | str) else str(value)


def _cell(value: object) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")


TRACKER = TensorboardTracker

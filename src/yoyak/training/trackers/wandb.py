"""Weights & Biases: online after `wandb login`, or offline with WANDB_MODE=offline, in `.trackers/wandb`."""

import os
import uuid
from collections.abc import Mapping
from pathlib import Path

import wandb

from yoyak.training.trackers.base import RunDescription, Tracker
from yoyak.training.trackers.logged import LoggedPoints
from yoyak.training.trackers.stores import stores_folder

PROJECT = "yoyak"


class WandbTracker(Tracker):
    """Config, curves, scores and tags. Runs of a group share W&B's group. Artifacts are config values with DVC's hashes."""

    def start(self, folder: Path, run: RunDescription) -> None:
        self.logged, id_file = LoggedPoints(folder), folder / "run_id"
        run_id = id_file.read_text(encoding="utf-8") if id_file.is_file() else uuid.uuid4().hex
        store = Path(os.environ.get("WANDB_DIR") or stores_folder())
        store.mkdir(parents=True, exist_ok=True)
        self.run = wandb.init(
            project=os.environ.get("WANDB_PROJECT") or PROJECT,
            id=run_id,
            resume="allow",
            name=run.name,
            group=run.group or None,
            tags=[f"{name}:{value}"[:64] for name, value in run.tags.items()],
            config=dict(run.settings),
            dir=str(store),
            settings=wandb.Settings(console="off", silent=True, x_disable_stats=True),
        )
        for kind in ("train", "dev"):  # an axis of its own for each, because W&B's own step may only grow
            self.run.define_metric(f"{kind}/step", hidden=True)
            self.run.define_metric(f"{kind}/*", step_metric=f"{kind}/step")
        id_file.write_text(run_id, encoding="utf-8")

    def log(self, metrics: Mapping[str, float], *, step: int) -> None:
        if new := self.logged.new(metrics, step=step):
            kind = next(iter(new)).partition("/")[0]
            self.run.log({**new, f"{kind}/step": step})
            self.logged.add(new, step=step)

    def add_results(self, scores: Mapping[str, float], artifacts: Mapping[str, str]) -> None:
        self.run.summary.update({f"score/{name}": value for name, value in scores.items()})
        self.run.config.update({f"dvc/{path}": digest for path, digest in artifacts.items()}, allow_val_change=True)

    def end(self) -> None:
        self.run.finish()


TRACKER = WandbTracker

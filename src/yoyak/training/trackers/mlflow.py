"""MLflow: a local store in `.trackers/mlflow.db`, or the server at MLFLOW_TRACKING_URI.

It uses MLflow's client, which has no state shared with the rest of the process. transformers' MLflowCallback would log times,
which differ from run to run, and an error in it would stop the training.
"""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from mlflow.utils.validation import MAX_PARAM_VAL_LENGTH

from yoyak.system.locks import exclusive_lock
from yoyak.training.trackers.base import RunDescription, Tracker
from yoyak.training.trackers.logged import LoggedPoints
from yoyak.training.trackers.stores import stores_folder

BATCH = 100  # params and tags that one request may carry, by MLflow's limits
EXPERIMENT = "yoyak"
GROUP_TAG = "yoyak.group"  # of the parent run of a group
PARENT_TAG = "mlflow.parentRunId"  # by which MLflow's pages nest runs


class MlflowTracker(Tracker):
    """Params, curves, scores and tags. Runs of a group are the children of one run. Artifacts are tags with DVC's hashes."""

    def start(self, folder: Path, run: RunDescription) -> None:
        uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{stores_folder() / 'mlflow.db'}"
        self.client, self.logged = MlflowClient(tracking_uri=uri), LoggedPoints(folder)
        id_file = folder / "run_id"
        if id_file.is_file():
            self.run_id = id_file.read_text(encoding="utf-8")
            self.client.update_run(self.run_id, status="RUNNING")
            return
        with exclusive_lock(folder.parents[1]):  # two trials at once make one experiment and one parent
            experiment = self._experiment_id()
            parent = self._parent_id(experiment, run.group) if run.group else None
        created = self.client.create_run(experiment, run_name=run.name, tags={PARENT_TAG: parent} if parent else {})
        self.run_id = created.info.run_id
        params = [Param(name, str(value)[:MAX_PARAM_VAL_LENGTH]) for name, value in run.settings.items()]
        for some in _batches(params):
            self.client.log_batch(self.run_id, params=some)
        self.client.log_batch(self.run_id, tags=[RunTag(f"yoyak.{name}", value) for name, value in run.tags.items()])
        id_file.write_text(self.run_id, encoding="utf-8")  # last: a run without its params is not continued

    def log(self, metrics: Mapping[str, float], *, step: int) -> None:
        if new := self.logged.new(metrics, step=step):
            now = int(time.time() * 1000)
            self.client.log_batch(self.run_id, metrics=[Metric(name, value, now, step) for name, value in new.items()])
            self.logged.add(new, step=step)

    def add_results(self, scores: Mapping[str, float], artifacts: Mapping[str, str]) -> None:
        now = int(time.time() * 1000)
        metrics = [Metric(f"score/{name}", value, now, 0) for name, value in scores.items()]
        for some in _batches(metrics):
            self.client.log_batch(self.run_id, metrics=some)
        self.client.log_batch(self.run_id, tags=[RunTag(f"dvc.{path}", digest) for path, digest in artifacts.items()])

    def end(self) -> None:
        self.client.set_terminated(self.run_id)

    def _experiment_id(self) -> str:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT
        found = self.client.get_experiment_by_name(name)
        return found.experiment_id if found else self.client.create_experiment(name)  # type: ignore[no-any-return]

    def _parent_id(self, experiment: str, group: str) -> str:
        quoted = group.replace("'", "")
        found = self.client.search_runs([experiment], f"tags.`{GROUP_TAG}` = '{quoted}'", max_results=1)
        if not found:
            found = [self.client.create_run(experiment, run_name=group, tags={GROUP_TAG: quoted})]
            self.client.set_terminated(found[0].info.run_id)
        return found[0].info.run_id  # type: ignore[no-any-return]


def _batches(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), BATCH):
        yield items[start : start + BATCH]


TRACKER = MlflowTracker

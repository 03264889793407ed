"""Passes the scores of a run to its trackers, after the stage score has them."""

import csv
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from yoyak.config.sections import Params
from yoyak.training.trackers import background
from yoyak.training.trackers.base import Tracker
from yoyak.training.trackers.description import describe_run, kept_description, run_folder

OUTPUTS = (
    "data/processed",
    "data/augmented",
    "data/predictions",
)  # and the model: what DVC has stored before the stage score ends


def track_results(
    trackers: Mapping[str, Tracker], params: Params, *, processed: Path, scores: Mapping[str, Any], curves: Path | None = None
) -> None:
    """Give the scores to each tracker, with the curve of the training and DVC's hashes of the outputs.

    Whatever fails here is a warning: the scores are already written, and a tracker does not stop a stage.

    Args:
        trackers: by name, from `lookup.further_trackers`.
        params: all sections.
        processed: folder of the processed rows.
        scores: the content of metrics/summary.json. Values that are no numbers are left out.
        curves: folder of DVCLive's files, which a family that is not trained lacks; None: metrics/train/FAMILY.
    """
    family = params.model.family
    try:
        folder = run_folder(params, processed)
        run = kept_description(folder) or describe_run(params, {})
        points = read_curves(curves or Path("metrics/train", family))
        hashes = output_hashes(Path("dvc.lock"), (f"models/{family}", *OUTPUTS))
    except Exception as error:
        print(f"WARNING: the trackers get no scores: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        return
    numbers = {name: float(value) for name, value in scores.items() if isinstance(value, int | float)}
    for tracker in background.start_all(trackers, run, folder):
        for step, metrics in points:
            tracker.log(metrics, step=step)
        tracker.add_results(numbers, hashes)
        tracker.end()


def read_curves(folder: Path) -> list[tuple[int, dict[str, float]]]:
    """The curves of a training from DVCLive's tables, each as the step and the metrics of a call of `Tracker.log`.

    Those of `train` come before those of `dev`, because their steps mean other things.
    """
    moments: dict[tuple[str, int], dict[str, float]] = {}
    tables = folder / "plots" / "metrics"
    for path in sorted(tables.rglob("*.tsv")):
        name = path.relative_to(tables).with_suffix("").as_posix()
        with open(path, encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file, delimiter="\t"):
                kind = name.partition("/")[0]
                moments.setdefault((kind, int(row["step"])), {})[name] = float(row[path.stem])
    return [(step, moments[kind, step]) for kind, step in sorted(moments, key=lambda key: (key[0] != "train", *key))]


def output_hashes(lock: Path, paths: tuple[str, ...]) -> dict[str, str]:
    """DVC's hashes of these outputs, as "md5:...", without those that dvc.lock does not have."""
    import yaml

    content: Any = yaml.safe_load(lock.read_text(encoding="utf-8")) if lock.is_file() else {}
    outputs = [out for stage in (content or {}).get("stages", {}).values() for out in stage.get("outs", [])]
    return {out["path"]: f"md5:{out['md5']}" for out in outputs if out["path"] in paths and "md5" in out}

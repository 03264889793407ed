"""Finds trackers by their names, and those that the environment variable YOYAK_TRACKERS chooses.

A tracker changes no result. So it is chosen by the environment and not by params.yaml, and no stage retrains when one is
switched on or off.
"""

import os
from importlib import import_module

from yoyak.system.errors import YoyakError
from yoyak.training.trackers.base import Tracker

TRACKERS = ("dvclive", "mlflow", "tensorboard", "wandb")
EXTRAS = ("mlflow", "tensorboard", "wandb")  # of pyproject.toml
ALWAYS_ON = "dvclive"
VARIABLE = "YOYAK_TRACKERS"  # names, separated by commas


def tracker_named(name: str) -> Tracker:
    """A new tracker of that name.

    Raises:
        YoyakError: if a package that the tracker needs is not installed.
    """
    try:
        tracker: Tracker = import_module(f"yoyak.training.trackers.{name}").TRACKER()
    except ModuleNotFoundError as error:
        command = f"pip install 'yoyak[{name}]'" if name in EXTRAS else f"install {error.name}"
        raise YoyakError(
            f"tracker {name}: the package {error.name} is not installed; {command}, or remove {name} from {VARIABLE}"
        ) from None
    return tracker


def further_trackers() -> dict[str, Tracker]:
    """A new tracker for each name in the environment variable YOYAK_TRACKERS, without DVCLive, which is always on.

    Raises:
        YoyakError: if a name is unknown, or if a package that a tracker needs is not installed.
    """
    names = [name.strip() for name in os.environ.get(VARIABLE, "").split(",") if name.strip()]
    for name in names:
        if name not in TRACKERS:
            raise YoyakError(f"{VARIABLE}: there is no tracker {name!r}; choose from {', '.join(TRACKERS)}")
    return {name: tracker_named(name) for name in names if name != ALWAYS_ON}

"""What a training run that is a trial of a search tells its study, and whether the study lets it go on."""

import json
import math
import os
import time
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from yoyak.system.errors import YoyakError
from yoyak.system.locks import exclusive_lock

if TYPE_CHECKING:
    import optuna

# The search sets it for the runs that it may prune: {"storage", "study", "trial" (its id), "pruner"}. The storage's
# address can hold a password, so it travels in the environment and stands in no file.
VARIABLE = "YOYAK_TRIAL"


def make_pruner(settings: dict[str, Any]) -> "optuna.pruners.BasePruner":
    """Optuna's pruner of that name; the other settings are its arguments."""
    import optuna

    kinds: dict[str, Callable[..., optuna.pruners.BasePruner]] = {
        "median": optuna.pruners.MedianPruner,
        "hyperband": optuna.pruners.HyperbandPruner,
        "none": optuna.pruners.NopPruner,
    }
    return kinds[settings["name"]](**{key: value for key, value in settings.items() if key != "name"})


class PrunedError(YoyakError):
    """The study gave this run up."""


class Report(TrainerCallback):  # type: ignore[misc]
    """After each evaluation, the metric that chooses the best model goes to the study (a loss as its negative)."""

    def __init__(self, trial: "optuna.Trial") -> None:
        self.trial = trial

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        for logs in state.log_history:  # of a run that was killed, which goes on as another trial
            if f"eval_{args.metric_for_best_model}" in logs:
                self._tell(args, logs["epoch"], logs[f"eval_{args.metric_for_best_model}"])

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self._tell(args, state.epoch or 0, kwargs["metrics"][f"eval_{args.metric_for_best_model}"])

    def _tell(self, args: TrainingArguments, at: float, value: float) -> None:
        import optuna
        import sqlalchemy

        name, epoch = args.metric_for_best_model, math.ceil(at)
        reason = f"{name} {value:.2f} after epoch {epoch} of {math.ceil(args.num_train_epochs)}"
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a run that was killed and begins again has reported this step: the same value
                self.trial.report(-value if name == "loss" else value, epoch)
            if not self.trial.should_prune():
                return
            self.trial.set_user_attr("pruned", reason)
        except (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
            print(f"WARNING: the study cannot be told of epoch {epoch}, training goes on: {type(error).__name__}", flush=True)
            return
        raise PrunedError(f"pruned: {reason}")


def reports() -> list[TrainerCallback]:
    """The callback of this run, if it is a trial that may be pruned."""
    if VARIABLE not in os.environ:
        return []
    import optuna

    given = json.loads(os.environ[VARIABLE])
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.load_study(
        study_name=given["study"],
        storage=connect(given["storage"]),
        sampler=optuna.samplers.RandomSampler(),  # it is never asked
        pruner=make_pruner(given["pruner"]),
    )
    return [Report(optuna.trial.Trial(study, given["trial"]))]


def connect(url: str, *, heartbeat: int | None = None) -> "optuna.storages.RDBStorage":
    """The database of studies; `url` is as study.storage_url gives it. With `heartbeat` seconds, a trial whose worker has been
    silent for three of them is stale.

    Raises:
        YoyakError: if it cannot be reached; a password in `url` is not shown.
    """
    import optuna
    import sqlalchemy

    address = sqlalchemy.engine.make_url(url)
    local = address.database if address.get_backend_name() == "sqlite" else None
    # Several workers write to one SQLite file; each waits for the others.
    engine = {"connect_args": {"timeout": 120}} if local else {"pool_pre_ping": True}
    deadline = time.monotonic() + 30
    while True:
        try:
            with warnings.catch_warnings(), exclusive_lock(Path(local).parent) if local else nullcontext():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                return optuna.storages.RDBStorage(
                    url, engine_kwargs=engine, heartbeat_interval=heartbeat, grace_period=3 * heartbeat if heartbeat else None
                )
        except (sqlalchemy.exc.SQLAlchemyError, ImportError) as error:
            reason = " ".join(str(getattr(error, "orig", error)).split())
            # A worker elsewhere, begun at the same moment, is making the tables, one after the other.
            if not ("already exists" in reason or "duplicate key" in reason) or time.monotonic() > deadline:
                shown = address.render_as_string(hide_password=True)
                raise YoyakError(f"storage {shown}: {reason}") from None
            time.sleep(0.2)

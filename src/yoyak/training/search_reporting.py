"""A training run that is a trial of a search reports each evaluation to its Optuna study, which may end or pause it.

The search sets the environment variable YOYAK_TRIAL for such a run (`TRIAL_VARIABLE`). Without it nothing is reported.
"""

import json
import math
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from yoyak.system import resumable
from yoyak.system.errors import YoyakError
from yoyak.training.study_storage import TRIAL_VARIABLE, open_study_storage

if TYPE_CHECKING:
    import optuna


class TrialPrunedError(YoyakError):
    """The study ended this trial early, because its evaluations are worse than those of other trials."""


class TrialPausedError(YoyakError):
    """The study paused this trial. Its training goes on from its checkpoint if the study chooses it again."""


def make_pruner(settings: dict[str, Any]) -> "optuna.pruners.BasePruner":
    """Optuna's pruner.

    Args:
        settings: `name` (median, hyperband or none); the other items are the arguments of Optuna's class.
    """
    import optuna

    classes: dict[str, Callable[..., optuna.pruners.BasePruner]] = {
        "median": optuna.pruners.MedianPruner,
        "hyperband": optuna.pruners.HyperbandPruner,
        "none": optuna.pruners.NopPruner,
    }
    return classes[settings["name"]](**{key: value for key, value in settings.items() if key != "name"})


class ReportToStudy(TrainerCallback):  # type: ignore[misc]
    """Reports the metric that selects the best model to the study after each evaluation. A loss is reported as its negative,
    because the study maximizes.

    Raises:
        TrialPrunedError: from an evaluation, if the study's pruner ends this trial.
        TrialPausedError: when the checkpoint of epoch `until` is written, unless the training ends there.
    """

    def __init__(self, trial: "optuna.Trial", *, until: int | None = None) -> None:
        self.trial, self.until = trial, until
        self._last_epoch = 0  # the last epoch that was evaluated

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        for logs in state.log_history:  # not empty after a kill: the run continues as another trial, which has no reports yet
            if f"eval_{args.metric_for_best_model}" in logs:
                self._report(args, logs["epoch"], logs[f"eval_{args.metric_for_best_model}"])
        if self.until:
            resumable.unmark_paused(Path(args.output_dir))
            self._pause_if_due(args, control)  # a kill may have come between the checkpoint and the pause

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self._report(args, state.epoch or 0, kwargs["metrics"][f"eval_{args.metric_for_best_model}"])

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self._pause_if_due(args, control)

    def _pause_if_due(self, args: TrainingArguments, control: TrainerControl) -> None:
        """Pause the training after epoch `until`. Its last checkpoint is complete now."""
        is_last = control.should_training_stop or self._last_epoch >= math.ceil(args.num_train_epochs)
        if not self.until or self._last_epoch < self.until or is_last:
            return
        folder = Path(args.output_dir)
        resumable.mark_paused(folder)
        if self._answers(lambda: self._note_pause(folder)):
            raise TrialPausedError(f"paused after epoch {self._last_epoch}")

    def _report(self, args: TrainingArguments, epochs_done: float, value: float) -> None:
        name, epoch = args.metric_for_best_model, math.ceil(epochs_done)
        self._last_epoch = epoch
        reason = f"{name} {value:.2f} after epoch {epoch} of {math.ceil(args.num_train_epochs)}"
        if self._answers(lambda: self._is_pruned(-value if name == "loss" else value, epoch, reason)):
            raise TrialPrunedError(f"pruned: {reason}")

    def _is_pruned(self, value: float, epoch: int, reason: str) -> bool:
        with warnings.catch_warnings():
            # A run that starts again after a kill reports the same value for the same epoch; Optuna warns of that.
            warnings.simplefilter("ignore")
            self.trial.report(value, epoch)
        if not self.trial.should_prune():
            return False
        self.trial.set_user_attr("pruned", reason)
        return True

    def _note_pause(self, folder: Path) -> bool:
        self.trial.set_user_attr("checkpoints", folder.name)
        self.trial.set_user_attr("paused", self._last_epoch)
        return True

    def _answers(self, ask: Callable[[], bool]) -> bool:
        """What the study answers. False, with a warning, if its database fails: then the training continues."""
        import optuna
        import sqlalchemy

        try:
            return ask()
        except (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
            print(
                f"WARNING: the search's database does not answer ({type(error).__name__}); "
                f"epoch {self._last_epoch} is not reported to the study, training continues",
                flush=True,
            )
            return False


def trial_callbacks() -> list[TrainerCallback]:
    """The callback that reports this run to its study, or no callback if the run is not a trial that a study may stop."""
    if TRIAL_VARIABLE not in os.environ:
        return []
    import optuna

    trial = json.loads(os.environ[TRIAL_VARIABLE])
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.load_study(
        study_name=trial["study"],
        storage=open_study_storage(trial["storage"]),
        sampler=optuna.samplers.RandomSampler(),  # never used here: the search has already chosen the params
        pruner=make_pruner(trial["pruner"]),
    )
    return [ReportToStudy(optuna.trial.Trial(study, trial["trial"]), until=trial["until"])]

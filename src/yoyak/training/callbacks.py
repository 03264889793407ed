"""Callbacks of the trainer: stop on a loss that is not a number, and make a resumed run equal to one that was never killed."""

import math
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from yoyak.system.errors import YoyakError
from yoyak.training.row_order import RowOrder


class StopOnInvalidLoss(TrainerCallback):  # type: ignore[misc]
    """Ends a run whose dev loss is not a number. The training loss cannot show that: the trainer leaves such steps out of it.

    Raises:
        YoyakError: from the evaluation that finds it.
    """

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        loss = kwargs["logs"].get("eval_loss", 0.0)
        if not math.isfinite(loss):
            raise YoyakError(
                f"training: the loss became {loss}; lower training.learning_rate"
                + (", or choose training.precision: float32" if args.fp16 else "")
            )


class ResumeExactly(TrainerCallback):  # type: ignore[misc]
    """Makes a resumed run give the same weights and logs as a run that was never killed."""

    def __init__(self, row_order: RowOrder) -> None:
        self.row_order = row_order

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if state.best_global_step:  # the folder may have another path than when the checkpoint was written
            state.best_model_checkpoint = str(Path(args.output_dir, f"checkpoint-{state.best_global_step}"))

    def on_epoch_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self.row_order.epoch = int(state.epoch or 0)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        # At the end of an epoch or of the training, an evaluation and a checkpoint follow in any case.
        is_end = control.should_training_stop or (state.epoch or 0) % 1 == 0
        if args.save_steps and state.global_step % args.save_steps == 0 and not is_end:
            # A checkpoint does not hold the sum of losses since the last log, so a log must come with it.
            control.should_save = control.should_log = True

    def on_epoch_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        control.should_log = True

"""Callbacks of the trainer: stop on a loss that is not a number, and make a resumed run equal to one that was never killed."""

import math
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments, set_seed

from yoyak.system.errors import YoyakError
from yoyak.training.row_order import RowOrder

# With float16, a single batch can exceed the range of numbers. The trainer then skips the step and goes on.
INVALID_LOSSES_IN_A_ROW, INVALID_LOSSES_IN_A_ROW_OF_FLOAT16 = 1, 10


class LossCheck:
    """Ends a run whose training loss is not a number. The trainer itself would leave such losses out of its log and go on."""

    def __init__(self, args: TrainingArguments) -> None:
        self.float16 = bool(args.fp16)
        self.allowed = INVALID_LOSSES_IN_A_ROW_OF_FLOAT16 if self.float16 else INVALID_LOSSES_IN_A_ROW
        self.in_a_row = 0

    def check(self, loss: float, *, step: int) -> None:
        """Look at the loss of a batch.

        Raises:
            YoyakError: if it is not a finite number, with float16 for the tenth time in a row.
        """
        self.in_a_row = 0 if math.isfinite(loss) else self.in_a_row + 1
        if self.in_a_row >= self.allowed:
            raise invalid_loss(f"the loss became {loss} in step {step}", float16=self.float16)


class StopOnInvalidLoss(TrainerCallback):  # type: ignore[misc]
    """Ends a run whose dev loss, or norm of the gradient, is not a number.

    Raises:
        YoyakError: from the log entry that shows it.
    """

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        names = {"eval_loss": "dev loss"} if args.fp16 else {"eval_loss": "dev loss", "grad_norm": "norm of the gradient"}
        for key, name in names.items():
            value = float(kwargs["logs"].get(key, 0.0))
            if not math.isfinite(value):
                raise invalid_loss(f"the {name} became {value} after step {state.global_step}", float16=bool(args.fp16))


def invalid_loss(what: str, *, float16: bool) -> YoyakError:
    advice = ", or choose training.precision: float32" if float16 else ""
    return YoyakError(f"training: {what}; lower training.learning_rate{advice}")


class ResumeExactly(TrainerCallback):  # type: ignore[misc]
    """Makes a resumed run give the same weights and logs as a run that was never killed."""

    def __init__(self, row_order: RowOrder) -> None:
        self.row_order = row_order

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if state.best_global_step:  # the folder may have another path than when the checkpoint was written
            state.best_model_checkpoint = str(Path(args.output_dir, f"checkpoint-{state.best_global_step}"))
        if args.process_index:  # each process draws its own dropout; a checkpoint has the state of each
            set_seed(args.seed + args.process_index)

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

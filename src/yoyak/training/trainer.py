"""The trainer of both families: transformers' Trainer with another loss, order of rows, evaluation and checkpoints."""

import math
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, Trainer

from yoyak.data.collation import IGNORED_LABEL, Batch
from yoyak.training import host_checkpoints, packing, training_checkpoints
from yoyak.training.batch_splitting import split_packed, split_padded
from yoyak.training.callbacks import LossCheck
from yoyak.training.objectives import ObjectiveLoss
from yoyak.training.row_order import RowOrder
from yoyak.training.row_sharing import Division, Order, SharedBatches, has_targets, shared_loader
from yoyak.training.weight_averaging import FILE, MovingAverage, set_weights, steps_to_average


def smoothed_loss(
    outputs: Any, labels: torch.Tensor, num_items_in_batch: torch.Tensor, *, label_smoothing: float
) -> torch.Tensor:
    """Cross-entropy in nats, summed over the targets and divided by the number of targets in the whole step.

    A sum weighs every target the same, whether the step reads its rows in one batch or in several parts.

    Args:
        outputs: of the model; `logits` are (rows, targets, vocabulary).
        labels: (rows, targets); -100 is no target.
        num_items_in_batch: targets in all batches of the step.
        label_smoothing: the share of the target that is spread evenly over the vocabulary.
    """
    logits = outputs["logits"].float()
    losses = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), labels.flatten(), label_smoothing=label_smoothing, reduction="sum"
    )
    return losses / num_items_in_batch


class SummaryTrainer(Trainer):  # type: ignore[misc]
    """transformers' Trainer with nine changes.

    - The order of the rows depends on seed and epoch alone (`RowOrder`).
    - The loss of an evaluation is the mean over all targets of the split. transformers takes the mean of the means of batches,
      which depends on the batch size.
    - An evaluation adds metrics of the model, such as ROUGE of what it writes, to the loss.
    - On a CPU an encoder-decoder reads a batch in parts with little or no padding. The gradient is the same.
    - A loss that is not a number ends the training at once (`LossCheck`).
    - A checkpoint is complete or not there. Old ones are deleted only after the next one is complete. With
      `args.save_total_limit`, the Trainer would delete them before, and the last one at the end of the training.
    - Training can minimize another loss than cross-entropy (`ObjectiveLoss`). Evaluations measure the cross-entropy.
    - With a moving average of the weights, evaluations and the result have the averaged weights.
    - Processes that train together read each row once, in the steps in which one process reads it (`row_sharing`).
    """

    def __init__(
        self,
        *,
        keep_checkpoints: int,
        dev_metrics: Callable[[PreTrainedModel], dict[str, float]] | None = None,
        objective: ObjectiveLoss | None = None,
        moving_average: MovingAverage | None = None,
        averaged: tuple[int, str] = (0, "best"),
        **kwargs: Any,
    ) -> None:
        """
        Args:
            keep_checkpoints: how many checkpoints stay, the newest and the best included.
            dev_metrics: gives further metrics of the model at each evaluation.
            objective: the loss of training; None for cross-entropy.
            moving_average: of the weights over the steps; None for none.
            averaged: how many checkpoints will be averaged at the end, and which: "best" or "last". They stay.
            kwargs: arguments of transformers' Trainer. `train_dataset` has a column `length`, the source tokens of each row.
        """
        super().__init__(**kwargs)
        self.keep_checkpoints, self.dev_metrics = keep_checkpoints, dev_metrics
        self.objective, self.moving_average, self.averaged = objective, moving_average, averaged
        if moving_average:
            self.add_callback(moving_average)
        self.loss_check = LossCheck(self.args)
        self._evaluated: list[tuple[float, int]] = []  # the sum of losses and the number of targets of each evaluated batch
        args, is_encoder_decoder = self.args, self.model.config.is_encoder_decoder
        if is_encoder_decoder:
            self.compute_loss_func = partial(smoothed_loss, label_smoothing=args.label_smoothing_factor)
        self.splits_batches = is_encoder_decoder and args.device.type == "cpu"
        rows_per_step = args.train_batch_size * args.gradient_accumulation_steps * args.world_size
        self.division = Division(rows_per_step, args.train_batch_size, args.world_size)
        self.row_order = RowOrder(
            self.train_dataset["length"][:],
            rows_per_step=rows_per_step,
            group_by_length=args.train_sampling_strategy == "group_by_length",
            seed=args.seed,
        )

    def _get_train_sampler(self, train_dataset: Any = None) -> RowOrder:
        return self.row_order

    def get_train_dataloader(self) -> Any:
        if self.args.world_size == 1:
            return super().get_train_dataloader()
        return self._shared_loader(self.train_dataset, self.row_order, self.division)

    def get_eval_dataloader(self, eval_dataset: Any = None) -> Any:
        if self.args.world_size == 1:
            return super().get_eval_dataloader(eval_dataset)
        rows = self.eval_dataset if eval_dataset is None else eval_dataset
        batch, processes = self.args.eval_batch_size, self.args.world_size
        return self._shared_loader(rows, range(len(rows)), Division(batch * processes, batch, processes))

    def _shared_loader(self, rows: Any, order: Order, division: Division) -> Any:
        batches = SharedBatches(order, division, rank=self.args.process_index)
        return shared_loader(rows, batches, self.data_collator, pin_memory=self.args.dataloader_pin_memory)

    def training_step(self, model: PreTrainedModel, inputs: Batch, num_items_in_batch: Any = None) -> torch.Tensor:
        """Adds the gradients of one batch to the model's, and returns the share of the step's loss that the batch has."""
        loss = self._train_on(model, inputs, num_items_in_batch)
        self.loss_check.check(loss.item(), step=self.state.global_step + 1)  # the Trainer looks at each loss too
        return loss

    def compute_loss(
        self,
        model: PreTrainedModel,
        inputs: Batch,
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """As the Trainer's. In training it is the loss of `objective`, if there is one."""
        if self.objective is None or not model.training or num_items_in_batch is None:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        loss = self.objective(
            model,
            inputs,
            targets=num_items_in_batch,
            progress=self.state.global_step / max(self.state.max_steps, 1),
            inner=self.accelerator.unwrap_model(model),
        )
        if self.args.world_size > 1 and not has_targets(inputs):
            loss = loss * 0  # a reward does not depend on the targets, but this row does not count
        # Processes that train together take the mean of their gradients, but `num_items_in_batch` counts the targets of all.
        return loss * self.accelerator.num_processes if self.args.average_tokens_across_devices else loss

    def _train_on(self, model: PreTrainedModel, inputs: Batch, num_items_in_batch: Any) -> torch.Tensor:
        train_on: Callable[..., torch.Tensor] = super().training_step
        if not self.splits_batches or (self.args.world_size > 1 and not has_targets(inputs)):
            return train_on(model, inputs, num_items_in_batch)
        # Rewards need the rows of a batch one by one, as it is padded.
        packs = packing.can_pack(self.model) and not (self.objective and self.objective.reward_loss)
        parts = list((split_packed if packs else split_padded)(inputs))
        losses: list[torch.Tensor] = []
        for number, part in enumerate(parts, 1):
            # Processes exchange gradients once in a step. With each part, they would wait forever for one with fewer parts.
            exchange = nullcontext() if number == len(parts) else self.accelerator.no_sync(model)
            with exchange, packing.packed_attention(self.model, part["lengths"]) if packs else nullcontext():
                losses.append(train_on(model, part, num_items_in_batch))
        return torch.stack(losses).sum()

    def _save_checkpoint(self, model: PreTrainedModel, trial: Any) -> None:
        super()._save_checkpoint(model, trial)
        host_checkpoints.gather_at_first_host(self.args, self.state)
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            if self.moving_average:
                self.moving_average.save(Path(self.args.output_dir, f"checkpoint-{self.state.global_step}"))
            training_checkpoints.complete_newest(
                Path(self.args.output_dir),
                step=self.state.global_step,
                needed_steps={self.state.best_global_step, *self.steps_to_average(self.state.log_history)} - {None, 0},
                keep=self.keep_checkpoints,
            )

    def steps_to_average(self, log_history: list[dict[str, Any]]) -> list[int]:
        """The steps of the checkpoints that would be averaged if the training ended with this log."""
        count, which = self.averaged
        return steps_to_average(log_history, metric=self.args.metric_for_best_model, count=count, which=which)

    def _load_best_model(self) -> None:
        host_checkpoints.copy_to_hosts(Path(self.args.output_dir), [self.state.best_global_step])
        super()._load_best_model()
        if self.moving_average:
            self.moving_average.load(Path(self.state.best_model_checkpoint, FILE), self.model)
            set_weights(self.model, self.moving_average.average)

    def prediction_step(
        self, model: PreTrainedModel, inputs: Batch, prediction_loss_only: bool, ignore_keys: list[str] | None = None
    ) -> Any:
        """As the Trainer's. It remembers the loss and the number of targets of the batch for `evaluation_loop`."""
        labels = inputs["labels"] if self.model.config.is_encoder_decoder else inputs["labels"][..., 1:]  # as the loss shifts
        targets = (labels != IGNORED_LABEL).sum().to(self.args.device)
        step = super().prediction_step(model, inputs, prediction_loss_only, ignore_keys)
        # The loss is a mean over the targets of the batch, with several processes over those of all their batches.
        total = int(self.accelerator.gather(targets).sum())
        self._evaluated.append((float(self.accelerator.gather(step[0]).double().mean()) * total, total))
        return step

    def evaluation_loop(self, *args: Any, metric_key_prefix: str = "eval", **kwargs: Any) -> Any:
        """As the Trainer's, with a loss in which every target weighs the same, and with `dev_metrics`."""
        with self.moving_average.in_place_of(self.model) if self.moving_average else nullcontext():
            return self._evaluate_weights(*args, metric_key_prefix=metric_key_prefix, **kwargs)

    def _evaluate_weights(self, *args: Any, metric_key_prefix: str, **kwargs: Any) -> Any:
        self._evaluated.clear()
        output = super().evaluation_loop(*args, metric_key_prefix=metric_key_prefix, **kwargs)
        loss = math.fsum(loss for loss, _ in self._evaluated) / sum(targets for _, targets in self._evaluated)
        output.metrics[f"{metric_key_prefix}_loss"] = loss
        if self.dev_metrics:
            metrics = self.dev_metrics(self.model)
            output.metrics.update({f"{metric_key_prefix}_{name}": value for name, value in metrics.items()})
        return output

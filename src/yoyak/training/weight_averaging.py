"""Averages of weights over a training: a moving average over the steps, and the mean of several checkpoints."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch.optim.swa_utils import get_ema_multi_avg_fn
from transformers import PreTrainedModel, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

FILE = "moving_average.safetensors"  # in a training checkpoint


def trained_weights(model: PreTrainedModel) -> dict[str, torch.nn.Parameter]:
    """The weights that are trained, by name: all of an encoder-decoder, the adapter of a LoRA model."""
    return {name: weight for name, weight in model.named_parameters() if weight.requires_grad}


class MovingAverage(TrainerCallback):  # type: ignore[misc]
    """The exponential moving average of the trained weights: average = d * average + (1 - d) * weight after each step.

    d is `decay`, but at most (1 + step) / (10 + step), so that the first steps do not hold the average back. Source of this
    limit: TensorFlow's `ExponentialMovingAverage`, argument num_updates.
    """

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self.average: dict[str, torch.Tensor] = {}

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, *, model: PreTrainedModel, **kwargs: Any
    ) -> None:
        saved = Path(args.output_dir, f"checkpoint-{state.global_step}", FILE)
        if state.global_step and saved.is_file():
            self.load(saved, model)
        else:
            self.average = {name: weight.detach().clone() for name, weight in trained_weights(model).items()}

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, *, model: PreTrainedModel, **kwargs: Any
    ) -> None:
        decay = min(self.decay, (1 + state.global_step) / (10 + state.global_step))
        weights = trained_weights(model)
        update = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        update([self.average[name] for name in weights], list(weights.values()), None)

    @contextmanager
    def in_place_of(self, model: PreTrainedModel) -> Iterator[None]:
        """Inside this context `model` has the averaged weights."""
        weights = trained_weights(model)
        before = {name: weight.detach().clone() for name, weight in weights.items()}
        set_weights(model, self.average)
        try:
            yield
        finally:
            set_weights(model, before)

    def save(self, checkpoint: Path) -> None:
        save_file({name: weight.contiguous() for name, weight in self.average.items()}, checkpoint / FILE)

    def load(self, file: Path, model: PreTrainedModel) -> None:
        """Read the averages that `save` wrote, to where the weights of `model` are."""
        values = load_file(file)
        self.average = {name: values[name].to(weight.device) for name, weight in trained_weights(model).items()}


def set_weights(model: PreTrainedModel, values: dict[str, torch.Tensor]) -> None:
    """Copy `values` into the weights of `model` with the same names."""
    weights = dict(model.named_parameters())
    with torch.no_grad():
        for name, value in values.items():
            weights[name].copy_(value)


class MeanOfWeights:
    """The mean of the trained weights of a model in several states."""

    def __init__(self) -> None:
        self.count = 0
        self.sums: dict[str, torch.Tensor] = {}

    def add(self, model: PreTrainedModel) -> None:
        self.count += 1
        for name, weight in trained_weights(model).items():
            value = weight.detach().double()
            self.sums[name] = self.sums[name] + value if name in self.sums else value

    def put_into(self, model: PreTrainedModel) -> None:
        set_weights(model, {name: total / self.count for name, total in self.sums.items()})


def steps_to_average(log_history: Sequence[dict[str, Any]], *, metric: str, count: int, which: str) -> list[int]:
    """The steps of the checkpoints to average, in rising order.

    Args:
        log_history: of the trainer's state. Entries with `eval_METRIC` are evaluations, after which a checkpoint is written.
        metric: `training.metric_for_best_model`.
        count: how many checkpoints at most.
        which: "last", or "best" by the metric.
    """
    values = {entry["step"]: entry[f"eval_{metric}"] for entry in log_history if f"eval_{metric}" in entry}
    sign = 1 if metric == "loss" else -1
    order = sorted(values, key=lambda step: (sign * values[step], step)) if which == "best" else sorted(values, reverse=True)
    return sorted(order[:count])

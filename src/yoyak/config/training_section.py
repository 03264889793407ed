"""The section `training` of params.yaml. Its section `objective` has a module of its own."""

import math
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from yoyak.config.fields import Count, CountOrZero, NotNegative, Positive, PositiveShare, Section, Seed, Share, ShareBelowOne
from yoyak.config.objective_section import Objective

SchedulerName = Literal[
    "linear",
    "cosine",
    "cosine_with_restarts",
    "polynomial",
    "constant",
    "constant_with_warmup",
    "inverse_sqrt",
    "reduce_lr_on_plateau",
    "cosine_with_min_lr",
    "warmup_stable_decay",
]
OptimizerName = Literal[
    "adamw_torch", "adamw_torch_fused", "adafactor", "sgd", "adamw_bnb_8bit", "paged_adamw_32bit", "paged_adamw_8bit"
]
PORTABLE_OPTIMIZERS = ("adamw_torch_fused", "sgd")  # with `hardware.portable`; why: yoyak.system.portable_kernels

# For each scheduler: the keys that lr_scheduler_kwargs may have, and the keys of which it needs at least one.
# Source: the functions get_*_schedule* of transformers.optimization.
_PLATEAU_KEYS = {"cooldown", "eps", "factor", "min_lr", "mode", "patience", "threshold", "threshold_mode"}
_DECAY_KEYS = {"decay_type", "min_lr_ratio", "num_cycles", "num_decay_steps", "num_stable_steps", "warmup_type"}
_SCHEDULER_KWARGS: dict[SchedulerName, tuple[set[str], set[str]]] = {
    "linear": (set(), set()),
    "cosine": ({"num_cycles"}, set()),
    "cosine_with_restarts": ({"num_cycles"}, set()),
    "polynomial": ({"lr_end", "power"}, set()),
    "constant": (set(), set()),
    "constant_with_warmup": (set(), set()),
    "inverse_sqrt": ({"timescale"}, set()),
    "reduce_lr_on_plateau": (_PLATEAU_KEYS, set()),
    "cosine_with_min_lr": ({"min_lr", "min_lr_rate", "num_cycles"}, {"min_lr", "min_lr_rate"}),
    "warmup_stable_decay": (_DECAY_KEYS, {"num_decay_steps"}),
}


class Training(Section):
    """Training, with the names and meanings of transformers' TrainingArguments.

    `objective`, `precision`, `early_stopping_patience`, `ema_decay`, `average_checkpoints`, `average_choice` and `debug` are
    additions of yoyak.
    """

    objective: Objective
    num_train_epochs: Positive = Field(
        description="Number of passes over the train split. A fraction ends within an epoch. Early stopping may end training "
        "sooner."
    )
    per_device_train_batch_size: Count = Field(
        description="Rows per device in one forward and backward pass. It is the main lever on memory: halve it and double "
        "`gradient_accumulation_steps` for the same training with less memory."
    )
    per_device_eval_batch_size: Count = Field(
        description="Rows per device in one evaluation pass. It changes speed and memory, and the score only by rounding."
    )
    gradient_accumulation_steps: Count = Field(
        description="Batches whose gradients are added up for one optimizer step. The rows of a step are this number times "
        "`per_device_train_batch_size` times the number of devices."
    )
    learning_rate: PositiveShare = Field(
        description="Highest learning rate of the schedule. The default, 1e-3, is measured for the tiny models in "
        "models/base; larger models need less: 1e-5 to 5e-5 for KoBART, 2e-5 to 2e-4 for LoRA.",
    )
    lr_scheduler_type: SchedulerName = Field(
        description="Shape of the learning rate over the steps. `linear` and `cosine` fall to 0 at the last step."
    )
    lr_scheduler_kwargs: dict[str, Any] = Field(
        description="Further arguments of the schedule. Example: `{min_lr_rate: 0.1}` for `cosine_with_min_lr`, which needs "
        "`min_lr` or `min_lr_rate`. `warmup_stable_decay` needs `num_decay_steps`. `{}` means none."
    )
    warmup_steps: NotNegative = Field(
        description="Steps in which the learning rate rises from 0; a value below 1 is a share of all steps. From 1 on, it "
        "must be a whole number. The schedule `constant` has no warm-up."
    )
    weight_decay: Share = Field(description="Weight decay of the optimizer. It is not applied to biases and layer norms.")
    label_smoothing_factor: ShareBelowOne = Field(
        description="Share of the target probability that is spread over all tokens. 0 is the plain cross-entropy; 0.1 is "
        "from Vaswani et al. 2017, section 5.4.",
    )
    max_grad_norm: NotNegative = Field(
        description="Largest norm of the gradient, to which a larger one is scaled down; 0 switches it off."
    )
    optim: OptimizerName = Field(
        description="Optimizer. `adamw_torch_fused` is AdamW in one kernel; the `paged_` ones keep their state in GPU memory "
        "that can move to RAM; those with `8bit` store the state in 8 bits (bitsandbytes)."
    )
    adam_beta1: ShareBelowOne = Field(description="Decay of AdamW's mean of gradients. PyTorch's default is 0.9.")
    adam_beta2: ShareBelowOne = Field(description="Decay of AdamW's mean of squared gradients. PyTorch's default is 0.999.")
    adam_epsilon: Positive = Field(description="Constant in AdamW's denominator. PyTorch's default is 1e-8.")
    train_sampling_strategy: Literal["group_by_length", "random"] = Field(
        description="Order of the train rows. `group_by_length` puts rows of similar length into one step: less padding, but "
        "the loss was higher when it was measured."
    )
    gradient_checkpointing: bool = Field(
        description="Compute the activations again in the backward pass: less memory, more time. The result is the same."
    )
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        description="Number format of training. `auto` chooses the fastest safe format for the hardware and prints why. "
        "`float16` needs a GPU."
    )
    metric_for_best_model: Literal["rouge_sum", "rouge1", "rouge2", "rougeL", "loss"] = Field(
        description="Measure on the dev split that chooses the best epoch. A ROUGE measure needs `predict_with_generate: true`."
    )
    predict_with_generate: bool = Field(
        description="Write summaries of the dev split after each epoch and measure ROUGE. Without it, only the loss is "
        "measured, which is faster."
    )
    generation_num_beams: Count = Field(
        description="Beams for the summaries after each epoch; 1 is greedy decoding, which is enough to compare epochs. The "
        "predict stage uses `generation.num_beams`."
    )
    early_stopping_patience: CountOrZero = Field(
        description="Epochs without a better value of `metric_for_best_model` before training stops; 0 never stops early."
    )
    ema_decay: ShareBelowOne = Field(
        description="Decay of the moving average of the weights, which becomes the model; 0 switches it off. Evaluations "
        "measure the average. 0.999 averages about the last 1,000 steps."
    )
    average_checkpoints: CountOrZero = Field(
        description="Checkpoints at the ends of epochs whose weights are averaged at the end; 0 takes the best one alone. "
        "With a constant learning rate and `average_choice: last`, this is stochastic weight averaging (Izmailov et al. 2018, "
        "arXiv:1803.05407)."
    )
    average_choice: Literal["best", "last"] = Field(
        description="Which checkpoints are averaged. `best` are those with the best `metric_for_best_model`."
    )
    save_steps: CountOrZero = Field(
        description="Steps between the checkpoints within an epoch; 0 saves only at its end. After a kill, training continues "
        "from the newest one."
    )
    save_total_limit: Count = Field(
        description="Number of checkpoints that are kept, the newest and the best included (at least these two)."
    )
    logging_steps: Count = Field(description="Steps between two entries of loss and learning rate in the training log.")
    seed: Seed = Field(description="Seed of the order of rows, of dropout and of new weights.")
    full_determinism: bool = Field(
        description="Give the same bytes on a GPU too; slower. On a CPU the bytes are the same anyway."
    )
    debug: bool = Field(description="Train on 50 rows, evaluate on 10, 1 epoch, batches of 2; predict and score use all rows.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.metric_for_best_model != "loss" and not self.predict_with_generate:
            raise ValueError(
                "metric_for_best_model: a ROUGE measure needs training.predict_with_generate: true; or choose loss"
            )
        if self.ema_decay and self.average_checkpoints:
            raise ValueError("ema_decay: cannot be combined with training.average_checkpoints; set one of them to 0")
        if self.objective.name == "minimum_risk" and self.objective.reward_samples < 2:
            raise ValueError("objective.reward_samples: minimum_risk compares at least 2 summaries of a row")
        self._check_scheduler()
        if self.warmup_steps > 1 and self.warmup_steps != int(self.warmup_steps):
            raise ValueError("warmup_steps: must be below 1 (a share of all steps) or a whole number of steps")
        return self

    def _check_scheduler(self) -> None:
        known, needed = _SCHEDULER_KWARGS[self.lr_scheduler_type]
        if unknown := set(self.lr_scheduler_kwargs) - known:
            raise ValueError(
                f"lr_scheduler_kwargs: {self.lr_scheduler_type} takes {', '.join(sorted(known)) or 'none'}, "
                f"not {', '.join(sorted(unknown))}"
            )
        if needed and not needed & set(self.lr_scheduler_kwargs):
            raise ValueError(f"lr_scheduler_kwargs: {self.lr_scheduler_type} needs {' or '.join(sorted(needed))}")
        for key, value in self.lr_scheduler_kwargs.items():
            finite = not isinstance(value, float) or math.isfinite(value)
            if not (value is None or (isinstance(value, str | int | float) and finite)):
                raise ValueError(f"lr_scheduler_kwargs: {key} must be a finite number or a text")

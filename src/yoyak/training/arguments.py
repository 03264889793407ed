"""transformers' TrainingArguments, made from the section `training` of params.yaml, and the record of them."""

from pathlib import Path
from typing import Any

import torch
from transformers import TrainingArguments

from yoyak.config.batch_division import divide_batch
from yoyak.config.training_section import Training
from yoyak.system import hardware
from yoyak.system.processes import world_size

# They say where a run took place, not what it computes. The record must be the same on every machine and hold no token.
NOT_RECORDED = {"output_dir", "logging_dir", "run_name", "local_rank", "hub_token", "push_to_hub", "disable_tqdm"}

# Of processes that train together. Each step uses all trained weights, and no buffer of the models changes.
_TOGETHER = {"ddp_find_unused_parameters": False, "ddp_broadcast_buffers": False}


def training_arguments(training: Training, *, folder: Path, precision: str) -> TrainingArguments:
    """The arguments of the trainer.

    Some keys of `training` are not arguments of the trainer but of its evaluation and checkpoints: `fit.train` reads them.

    Args:
        training: the section of params.yaml.
        folder: where the trainer writes its checkpoints.
        precision: "float32", "bfloat16" or "float16"; `auto` is resolved before (`hardware.choose_precision`).

    Raises:
        ValueError: if the rows of a step cannot be divided among the processes; params are checked before (`sections.Params`).
    """
    warmup, processes = training.warmup_steps, world_size()
    batch = divide_batch(
        2 if training.debug else training.per_device_train_batch_size, training.gradient_accumulation_steps, processes
    )
    args = TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=1 if training.debug else training.num_train_epochs,
        per_device_train_batch_size=batch.rows,
        per_device_eval_batch_size=training.per_device_eval_batch_size,
        gradient_accumulation_steps=batch.batches,
        learning_rate=training.learning_rate,
        lr_scheduler_type=training.lr_scheduler_type,
        lr_scheduler_kwargs=training.lr_scheduler_kwargs or None,
        warmup_steps=int(warmup) if warmup >= 1 else warmup,
        weight_decay=training.weight_decay,
        label_smoothing_factor=training.label_smoothing_factor,
        max_grad_norm=training.max_grad_norm,
        optim=training.optim,
        adam_beta1=training.adam_beta1,
        adam_beta2=training.adam_beta2,
        adam_epsilon=training.adam_epsilon,
        train_sampling_strategy=training.train_sampling_strategy,
        activation_checkpointing=training.gradient_checkpointing,
        activation_checkpointing_kwargs={"use_reentrant": False} if training.gradient_checkpointing else None,
        use_cpu=not torch.accelerator.is_available(),  # without it transformers refuses bfloat16 on a CPU
        bf16=precision == "bfloat16",
        fp16=precision == "float16",
        metric_for_best_model=training.metric_for_best_model,
        greater_is_better=training.metric_for_best_model != "loss",
        load_best_model_at_end=True,
        eval_strategy="epoch",
        save_strategy="epoch",
        save_steps=training.save_steps,  # `callbacks.ResumeExactly` saves within an epoch
        restore_callback_states_from_checkpoint=True,
        full_determinism=training.full_determinism,
        dataloader_pin_memory=torch.cuda.is_available(),
        prediction_loss_only=True,  # the logits of all rows would fill the memory; ROUGE is computed from generated text
        tf32=True if hardware.supports_tf32() else None,
        logging_steps=training.logging_steps,
        logging_first_step=True,
        remove_unused_columns=False,  # `length` is needed to group rows; the collator drops it
        seed=training.seed,
        report_to="none",
        disable_tqdm=False,
        **(_TOGETHER if processes > 1 else {}),
    )
    # One process uses one GPU. With more, transformers multiplies the batch by their number; `accelerate launch` uses all GPUs.
    if args.n_gpu > 1:
        args._n_gpu = 1
    return args


def recorded_arguments(args: TrainingArguments) -> dict[str, Any]:
    """Every argument of the trainer by name, sorted, without those that only say where it ran (`NOT_RECORDED`)."""
    return {key: value for key, value in sorted(args.to_dict().items()) if key not in NOT_RECORDED}

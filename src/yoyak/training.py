"""Fine-tuning an encoder-decoder with the Hugging Face trainer."""

import logging
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from dvclive import Live
from transformers import (
    DataCollatorForSeq2Seq,
    EarlyStoppingCallback,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Seq2SeqTrainer,
    Seq2SeqTrainingArguments,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from yoyak import encoding, rouge
from yoyak.errors import YoyakError
from yoyak.params import Training

# Below this, bf16 on a CPU gains little or loses, from machine to machine (docs/log.md).
BF16_PAYS_FROM = 50_000_000
DEBUG_ROWS = {"train": 50, "dev": 10}


def choose_precision(precision: str, *, parameters: int) -> tuple[str, str]:
    """("float32" | "bfloat16" | "float16", why): what `training.precision` comes to on this hardware.

    Raises:
        YoyakError: if the hardware cannot do what was asked for.
    """
    gpu = torch.cuda.is_available()
    gpu_bf16 = gpu and torch.cuda.is_bf16_supported(including_emulation=False)
    cpu_bf16 = not gpu and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    if precision == "auto":
        if gpu:
            return ("bfloat16", "this GPU has it") if gpu_bf16 else ("float16", "this GPU has no bfloat16")
        if cpu_bf16 and parameters >= BF16_PAYS_FROM:
            return "bfloat16", "this CPU has it, and the model is large enough to gain"
        return "float32", "a small model on a CPU" if cpu_bf16 else "a CPU without bfloat16"
    if precision == "float16" and not gpu:
        raise YoyakError("training.precision: float16 needs a GPU; choose auto, bfloat16 or float32")
    if precision == "bfloat16" and gpu and not gpu_bf16:
        raise YoyakError("training.precision: this GPU has no bfloat16; choose auto or float16")
    return precision, "training.precision says so"


def arguments(training: Training, *, folder: Path, precision: str, max_target_length: int) -> Seq2SeqTrainingArguments:
    """What the trainer is really given. Every key of params.yaml's `training` arrives here, in `train`, or in both."""
    warmup = training.warmup_steps
    return Seq2SeqTrainingArguments(
        output_dir=str(folder),
        num_train_epochs=1 if training.debug else training.num_train_epochs,
        per_device_train_batch_size=2 if training.debug else training.per_device_train_batch_size,
        per_device_eval_batch_size=training.per_device_eval_batch_size,
        gradient_accumulation_steps=training.gradient_accumulation_steps,
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
        use_cpu=not torch.accelerator.is_available(),  # transformers takes bf16 on a CPU only when told that it is one
        bf16=precision == "bfloat16",
        fp16=precision == "float16",
        metric_for_best_model=training.metric_for_best_model,
        greater_is_better=training.metric_for_best_model != "loss",
        load_best_model_at_end=True,
        eval_strategy="epoch",
        save_strategy="epoch",
        save_total_limit=training.save_total_limit,
        save_only_model=True,
        dataloader_pin_memory=torch.cuda.is_available(),
        predict_with_generate=training.predict_with_generate,
        generation_num_beams=training.generation_num_beams,
        generation_max_length=max_target_length,
        logging_steps=training.logging_steps,
        logging_first_step=True,
        remove_unused_columns=False,  # `length` is needed for grouping; the collator drops it
        seed=training.seed,
        report_to="none",
        disable_tqdm=False,
    )


class LiveLog(TrainerCallback):  # type: ignore[misc]
    """Training logs by step, evaluation by epoch, into DVCLive. Nothing that differs from run to run (times) is kept."""

    def __init__(self, live: Live) -> None:
        self.live = live

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        logs: Mapping[str, float] = kwargs["logs"]
        self.live.step = state.global_step
        for name in ("loss", "learning_rate", "grad_norm"):
            if name in logs:
                self.live.log_metric(f"train/{name}", logs[name])
        if any(name.startswith("eval_") for name in logs):
            self.live.step = math.ceil(state.epoch or 0)
            for name in ("loss", *rouge.KEYS, "rouge_sum"):
                if f"eval_{name}" in logs:
                    self.live.log_metric(f"dev/{name}", logs[f"eval_{name}"])


class StopOnNan(TrainerCallback):  # type: ignore[misc]
    """End a run whose dev loss is no number. The training loss would not tell: the trainer leaves such steps out of it."""

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        loss = kwargs["logs"].get("eval_loss", 0.0)
        if not math.isfinite(loss):
            raise YoyakError(
                f"training: the loss became {loss}; lower training.learning_rate"
                + (", or choose training.precision: float32" if args.fp16 else "")
            )


def rouge_of_ids(tokenizer: PreTrainedTokenizerBase) -> Callable[[Any], dict[str, float]]:
    """ROUGE of generated ids against label ids, for the trainer's evaluation."""
    morphemes = rouge.Morphemes()

    def decode(ids: np.ndarray) -> list[str]:
        return encoding.decode(tokenizer, np.where(ids == -100, tokenizer.pad_token_id, ids).tolist())

    def measure(evaluation: Any) -> dict[str, float]:
        rows = rouge.score_rows(
            predictions=decode(evaluation.predictions),
            references=[[text] for text in decode(evaluation.label_ids)],
            tokenizer=morphemes,
        )
        return rouge.summarize(rows)

    return measure


def _rows(split: datasets.Dataset, name: str, debug: bool) -> datasets.Dataset:
    columns = split.select_columns(["input_ids", "labels", "length"])
    return columns.select(range(min(len(columns), DEBUG_ROWS[name]))) if debug else columns


def train(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    splits: datasets.DatasetDict,
    *,
    args: Seq2SeqTrainingArguments,
    training: Training,
    live: Live,
) -> dict[str, Any]:
    """Fine-tune `model` in place; it ends with the weights of its best evaluation. Returns what was resolved and reached.

    `splits` has train and dev with input_ids, labels and length. Dropout and the order of rows follow args.seed.

    Raises:
        YoyakError: if the loss is not a number.
    """
    collate = DataCollatorForSeq2Seq(tokenizer, model=model)
    callbacks: list[TrainerCallback] = [LiveLog(live), StopOnNan()]
    if training.early_stopping_patience:
        callbacks.append(EarlyStoppingCallback(training.early_stopping_patience))
    # What the checkpoint says of decoding (beams, penalties) must not choose the best: params.yaml is the whole truth.
    names = ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id", "forced_bos_token_id")
    model.generation_config = GenerationConfig(**{name: getattr(model.generation_config, name, None) for name in names})
    trainer = Seq2SeqTrainer(
        model=model,
        args=args,
        train_dataset=_rows(splits["train"], "train", training.debug),
        eval_dataset=_rows(splits["dev"], "dev", training.debug),
        data_collator=lambda rows: collate([{k: row[k] for k in ("input_ids", "labels")} for row in rows]),
        processing_class=tokenizer,
        compute_metrics=rouge_of_ids(tokenizer) if training.predict_with_generate else None,
        callbacks=callbacks,
    )
    # The best checkpoint has each tied weight once, under one of its names; transformers reports the other names as missing.
    logging.getLogger("transformers.trainer").addFilter(
        lambda record: "missing keys in the checkpoint" not in record.getMessage()
    )
    trainer.train()
    best = trainer.state.best_metric
    return {
        "steps": trainer.state.global_step,
        "epochs": round(trainer.state.epoch or 0, 4),
        "best_step": trainer.state.best_global_step,
        f"best_{training.metric_for_best_model}": None if best is None else round(best, 4),
    }


def resolved(args: Seq2SeqTrainingArguments) -> dict[str, Any]:
    """Every argument that the trainer had, but those that only say where it ran."""
    local = {"output_dir", "logging_dir", "run_name", "local_rank", "hub_token", "push_to_hub", "disable_tqdm"}
    return {key: value for key, value in sorted(args.to_dict().items()) if key not in local}

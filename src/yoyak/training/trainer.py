"""Fine-tuning either family with the Hugging Face trainer."""

import logging
import math
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import datasets
import torch
from dvclive import Live
from torch.utils.data import Sampler
from transformers import (
    EarlyStoppingCallback,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.trainer_pt_utils import get_length_grouped_indices

from yoyak.config.sections import Generation, Training
from yoyak.data import tokenization
from yoyak.evaluation import rouge
from yoyak.inference import decoding
from yoyak.system import hardware, resumable
from yoyak.system.atomic import atomic_folder
from yoyak.system.errors import YoyakError
from yoyak.system.text_files import read_json, write_json
from yoyak.training import packing, search_reporting
from yoyak.training.packing import Batch

DEBUG_ROWS = {"train": 50, "dev": 10}


def arguments(training: Training, *, folder: Path, precision: str) -> TrainingArguments:
    """What the trainer is really given. Every key of params.yaml's `training` arrives here, in `train`, or in both."""
    warmup = training.warmup_steps
    made = TrainingArguments(
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
        save_steps=training.save_steps,  # see `KeepGoing`
        restore_callback_states_from_checkpoint=True,
        full_determinism=training.full_determinism,
        dataloader_pin_memory=torch.cuda.is_available(),
        prediction_loss_only=True,  # logits of all rows would fill the memory; ROUGE is measured on what is written
        tf32=True if hardware.supports_tf32() else None,
        logging_steps=training.logging_steps,
        logging_first_step=True,
        remove_unused_columns=False,  # `length` is needed for grouping; the collator drops it
        seed=training.seed,
        report_to="none",
        disable_tqdm=False,
    )
    if made.n_gpu > 1:  # one process takes one GPU, or its batch would grow with their number; accelerate launch takes all
        made._n_gpu = 1
    return made


class LiveLog(TrainerCallback):  # type: ignore[misc]
    """Training logs by step, evaluation by epoch, into DVCLive. Nothing that differs from run to run (times) is kept."""

    def __init__(self, live: Live) -> None:
        self.live = live

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        for logs in state.log_history:  # of a run that was killed
            self._log(logs, step=logs["step"], epoch=logs["epoch"])

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self._log(kwargs["logs"], step=state.global_step, epoch=state.epoch or 0)

    def _log(self, logs: Mapping[str, float], *, step: int, epoch: float) -> None:
        self.live.step = step
        for name in ("loss", "learning_rate", "grad_norm"):
            if name in logs:
                self.live.log_metric(f"train/{name}", logs[name])
        if any(name.startswith("eval_") for name in logs):
            self.live.step = math.ceil(epoch)
            for name in ("loss", *rouge.KEYS, "rouge_sum"):
                if f"eval_{name}" in logs:
                    self.live.log_metric(f"dev/{name}", logs[f"eval_{name}"])
            self.live.step = step


class StopOnNan(TrainerCallback):  # type: ignore[misc]
    """End a run whose dev loss is no number. The training loss would not tell: the trainer leaves such steps out of it."""

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        loss = kwargs["logs"].get("eval_loss", 0.0)
        if not math.isfinite(loss):
            raise YoyakError(
                f"training: the loss became {loss}; lower training.learning_rate"
                + (", or choose training.precision: float32" if args.fp16 else "")
            )


class KeepGoing(TrainerCallback):  # type: ignore[misc]
    """What makes a run that is resumed the same as one that never stopped."""

    def __init__(self, order: "Order") -> None:
        self.order = order

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if state.best_global_step:  # the folder may be elsewhere by now
            state.best_model_checkpoint = str(Path(args.output_dir, f"checkpoint-{state.best_global_step}"))

    def on_epoch_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self.order.epoch = int(state.epoch or 0)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        ends = control.should_training_stop or (state.epoch or 0) % 1 == 0  # an evaluation and a checkpoint follow anyway
        if args.save_steps and state.global_step % args.save_steps == 0 and not ends:
            control.should_save = control.should_log = True  # the loss since the last log is in no checkpoint

    def on_epoch_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        control.should_log = True


class Order(Sampler[int]):
    """Which rows come when: a function of seed and epoch alone, so that a resumed run goes on in the same order."""

    def __init__(self, lengths: Sequence[int], *, step: int, like_length: bool, seed: int) -> None:
        """`step` rows make a step of the optimizer: drawn at random, or with others of `like_length`. They come from long to
        short, so that the batches that a step accumulates need little padding; its gradient does not depend on that."""
        self.lengths, self.step, self.like_length, self.seed, self.epoch = lengths, step, like_length, seed, 0

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        if self.like_length:
            rows = get_length_grouped_indices(self.lengths, self.step, generator=generator)
        else:
            rows = torch.randperm(len(self.lengths), generator=generator).tolist()
        steps = [rows[start : start + self.step] for start in range(0, len(rows), self.step)]
        if self.like_length:  # they come from long to short, some 50 at a time, which costs loss (docs/log.md)
            ragged = steps.pop() if len(steps[-1]) < self.step else []
            steps = [steps[at] for at in torch.randperm(len(steps), generator=generator)] + [ragged]
        return iter([row for each in steps for row in sorted(each, key=lambda row: -self.lengths[row])])


# Source positions that a CPU takes at once where it must pad: of fewer, steps cost more; of more, padding (docs/log.md).
PART = 1024


def parts(batch: Batch) -> Iterator[Batch]:
    """A padded batch of pairs in parts of like length, each of at most PART source positions (or one row) and cut to its own
    longest source and target. Gradients of sums over the parts add up to that over the batch."""
    lengths = batch["attention_mask"].sum(1)
    groups: list[list[int]] = []
    for row in lengths.argsort(descending=True, stable=True).tolist():
        if groups and int(lengths[groups[-1][0]]) * (len(groups[-1]) + 1) <= PART:
            groups[-1].append(row)
        else:
            groups.append([row])
    for rows in groups:
        part = {name: values[rows] for name, values in batch.items()}
        source, target = part["attention_mask"].any(0), (part["labels"] != -100).any(0)
        yield {name: values[:, source if name in ("input_ids", "attention_mask") else target] for name, values in part.items()}


def smoothed_loss(
    outputs: Any, labels: torch.Tensor, num_items_in_batch: torch.Tensor, *, label_smoothing: float
) -> torch.Tensor:
    """Nats, summed over the targets (labels but -100), by the number of targets in the whole step."""
    logits = outputs["logits"].float()
    losses = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), labels.flatten(), label_smoothing=label_smoothing, reduction="sum"
    )
    return losses / num_items_in_batch


class SummaryTrainer(Trainer):  # type: ignore[misc]
    """A Trainer whose evaluation adds what `measure` says of the model (ROUGE of what it writes) to the loss. On a CPU, an
    encoder-decoder takes a batch without padding, or in parts of like length: the same gradient, whatever the order of the
    rows.

    Its checkpoints are whole or not there. The last `keep` stay, and the best among them; with args.save_total_limit, the
    Trainer would delete one before the next is whole, and the last one when training ends."""

    def __init__(self, measure: Callable[[PreTrainedModel], dict[str, float]] | None, *, keep: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.measure, self.keep = measure, keep
        args = self.args
        pairs = self.model.config.is_encoder_decoder
        if pairs:
            self.compute_loss_func = partial(smoothed_loss, label_smoothing=args.label_smoothing_factor)
        # Of several processes, those with fewer parts would wait for the others' gradients for ever.
        self.in_parts = pairs and args.device.type == "cpu" and args.world_size == 1
        self.order = Order(
            self.train_dataset["length"][:],
            step=args.train_batch_size * args.gradient_accumulation_steps,
            like_length=args.train_sampling_strategy == "group_by_length",
            seed=args.seed,
        )

    def _get_train_sampler(self, train_dataset: Any = None) -> Order:
        return self.order

    def training_step(self, model: PreTrainedModel, inputs: Batch, num_items_in_batch: Any = None) -> torch.Tensor:
        """The loss of one batch, a share of its step's; its gradients are added to the model's."""
        step: Callable[..., torch.Tensor] = super().training_step
        if not self.in_parts:
            return step(model, inputs, num_items_in_batch)
        losses: list[torch.Tensor] = []
        if packing.can_pack(self.model):
            for part in packing.parts(inputs):
                with packing.packed(self.model, part["lengths"]):
                    losses.append(step(model, part, num_items_in_batch))
        else:
            losses = [step(model, part, num_items_in_batch) for part in parts(inputs)]
        return torch.stack(losses).sum()

    def _save_checkpoint(self, model: PreTrainedModel, trial: Any) -> None:
        super()._save_checkpoint(model, trial)
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            folder = Path(self.args.output_dir)
            newest = folder / f"checkpoint-{self.state.global_step}"
            (newest / "training_args.bin").unlink(missing_ok=True)  # a pickle, which nobody reads
            resumable.mark_complete(newest)
            needed = {f"checkpoint-{step}" for step in (self.state.global_step, self.state.best_global_step)}
            for old in [path for path in _checkpoints(folder) if path.name not in needed][max(0, self.keep - len(needed)) :]:
                shutil.rmtree(old)

    def evaluation_loop(self, *args: Any, metric_key_prefix: str = "eval", **kwargs: Any) -> Any:
        output = super().evaluation_loop(*args, metric_key_prefix=metric_key_prefix, **kwargs)
        if self.measure:
            output.metrics.update({f"{metric_key_prefix}_{name}": value for name, value in self.measure(self.model).items()})
        return output


def measure_rouge(
    dev: datasets.Dataset, tokenizer: PreTrainedTokenizerBase, training: Training, *, max_target_length: int
) -> Callable[[PreTrainedModel], dict[str, float]]:
    """ROUGE of what a model writes for the rows of `dev`, against their decoded labels."""
    morphemes = rouge.Morphemes()
    # A decoder-only model's rows hold prompt and target; the labels tell where the target starts.
    ids = [
        row[: labels.count(-100)] if -100 in labels else row
        for row, labels in zip(dev["input_ids"], dev["labels"], strict=True)
    ]
    references = tokenization.decode(tokenizer, [[id_ for id_ in labels if id_ != -100] for labels in dev["labels"]])
    settings = Generation(
        max_new_tokens=max_target_length,
        min_new_tokens=0,
        num_beams=training.generation_num_beams,
        do_sample=False,
        temperature=1.0,
        top_p=1.0,
        top_k=0,
        repetition_penalty=1.0,
        length_penalty=1.0,
        no_repeat_ngram_size=0,
        early_stopping=True,
        blocked_scripts=[],
        seed=training.seed,
        batch_size=training.per_device_eval_batch_size,
        backend="auto",
        postprocess="never",
    )

    def measure(model: PreTrainedModel) -> dict[str, float]:
        before = model.generation_config
        with torch.random.fork_rng():  # dropout goes on where it was
            # Converted, an encoder-decoder stays as it is; a decoder-only model would not.
            writer = model
            if model.config.is_encoder_decoder:
                writer, _ = decoding.choose_writer(model, tokenizer, settings=settings, threads=None)
            outputs = decoding.generate(writer, tokenizer, ids, [""] * len(ids), settings=settings, progress="write dev")
        model.generation_config = before
        rows = rouge.score_rows(
            predictions=[output.text for output in outputs],
            references=[[text] for text in references],
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
    collate: Callable[[list[Batch]], Batch],
    args: TrainingArguments,
    training: Training,
    max_target_length: int,
    callbacks: Sequence[TrainerCallback],
) -> dict[str, Any]:
    """Fine-tune `model` in place; it ends with the weights of its best evaluation. Returns what was resolved and reached.

    `splits` has train and dev with input_ids, labels and length. Dropout and the order of rows follow args.seed. A whole
    checkpoint in args.output_dir is gone on from, to the same end.

    Raises:
        YoyakError: if the loss is not a number.
    """
    stop = [EarlyStoppingCallback(training.early_stopping_patience)] if training.early_stopping_patience else []
    if model.config.is_encoder_decoder:
        # What the checkpoint says of decoding (beams, penalties) must not choose the best: params.yaml is the whole truth.
        names = ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id", "forced_bos_token_id")
        model.generation_config = GenerationConfig(**{name: getattr(model.generation_config, name, None) for name in names})
    dev = _rows(splits["dev"], "dev", training.debug)
    trainer = SummaryTrainer(
        measure_rouge(dev, tokenizer, training, max_target_length=max_target_length)
        if training.predict_with_generate
        else None,
        keep=training.save_total_limit,
        model=model,
        args=args,
        train_dataset=_rows(splits["train"], "train", training.debug),
        eval_dataset=dev,
        data_collator=collate,
        processing_class=tokenizer,
        callbacks=[*callbacks, StopOnNan(), *stop],
    )
    # The best checkpoint has each tied weight once, under one of its names; transformers reports the other names as missing.
    logging.getLogger("transformers.trainer").addFilter(
        lambda record: "missing keys in the checkpoint" not in record.getMessage()
    )
    with args.main_process_first(local=False):  # it deletes what is damaged
        goes_on = _last_whole(Path(args.output_dir))
    trainer.add_callback(KeepGoing(trainer.order))
    if goes_on and _had_ended(goes_on):
        print(f"training had ended at step {_step(goes_on)}; its best model is taken from its checkpoint", flush=True)
        trainer.state = TrainerState.load_from_json(str(goes_on / "trainer_state.json"))
        trainer.callback_handler.on_train_begin(args, trainer.state, trainer.control)
        trainer._load_best_model()
        trainer.callback_handler.on_train_end(args, trainer.state, trainer.control)
    else:
        if goes_on:
            print(f"training goes on from its checkpoint at step {_step(goes_on)}", flush=True)
        trainer.train(resume_from_checkpoint=str(goes_on) if goes_on else None)
    best = trainer.state.best_metric
    return {
        "steps": trainer.state.global_step,
        "epochs": round(trainer.state.epoch or 0, 4),
        "best_step": trainer.state.best_global_step,
        f"best_{training.metric_for_best_model}": None if best is None else round(best, 4),
    }


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.partition("-")[2])


def _checkpoints(folder: Path) -> list[Path]:
    """The newest first, by their steps: clocks jump."""
    return sorted((path for path in folder.glob("checkpoint-*") if path.name[11:].isdigit()), key=_step, reverse=True)


def _last_whole(folder: Path) -> Path | None:
    """The last checkpoint to go on from: it and the best one until then are whole. Damaged ones are named and deleted."""
    for checkpoint in _checkpoints(folder):
        if why := resumable.why_unusable(checkpoint):
            print(f"a checkpoint is of no use and goes: {why}", flush=True)
            shutil.rmtree(checkpoint)
    for checkpoint in _checkpoints(folder):
        best = read_json(checkpoint / "trainer_state.json")["best_global_step"]
        if not best or (folder / f"checkpoint-{best}").is_dir():
            return checkpoint
    return None


def _had_ended(checkpoint: Path) -> bool:
    """Whether training was over when this was saved, by its number of steps or by early stopping."""
    state = read_json(checkpoint / "trainer_state.json")
    return bool(state["stateful_callbacks"]["TrainerControl"]["args"]["should_training_stop"])


def fit(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    splits: datasets.DatasetDict,
    *,
    collate: Callable[[list[Batch]], Batch],
    training: Training,
    max_target_length: int,
    precision: str,
    checkpoints: Path,
    metrics: Path,
    output: Path,
    save: Callable[[Path], None],
) -> None:
    """Train, log into the folder `metrics`, and let `save` write the best model into the folder `output`.

    `checkpoints` is this very work's own (`resume.work`): what is there is gone on from. Under `accelerate launch` all
    processes train, and the first one writes.
    """
    args = arguments(training, folder=checkpoints, precision=precision)
    todo = partial(
        train,
        model,
        tokenizer,
        splits,
        collate=collate,
        args=args,
        training=training,
        max_target_length=max_target_length,
    )
    if args.process_index:
        todo(callbacks=[])
        return
    with atomic_folder(output) as model_folder, atomic_folder(metrics) as metrics_folder:
        live = Live(str(metrics_folder), save_dvc_exp=False, dvcyaml=None)
        try:
            reached = todo(callbacks=[LiveLog(live), *search_reporting.trial_callbacks()])
        except search_reporting.TrialPrunedError:
            shutil.rmtree(checkpoints, ignore_errors=True)
            raise
        live.end()  # not after a fault: it starts a thread, for which Python waits forever where memory is full
        save(model_folder)
        write_json(metrics_folder / "arguments.json", {**reached, **resolved(args)})


def resolved(args: TrainingArguments) -> dict[str, Any]:
    """Every argument that the trainer had, but those that only say where it ran."""
    local = {"output_dir", "logging_dir", "run_name", "local_rank", "hub_token", "push_to_hub", "disable_tqdm"}
    return {key: value for key, value in sorted(args.to_dict().items()) if key not in local}

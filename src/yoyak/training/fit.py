"""Runs a training: builds the trainer, resumes an unfinished run, tracks the metrics, and saves the best model."""

import logging
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
from transformers import (
    EarlyStoppingCallback,
    GenerationConfig,
    PreTrainedModel,
    TrainerCallback,
    TrainerState,
    TrainingArguments,
)

from yoyak.config.training_section import Training
from yoyak.models.families.base import TrainingSetup
from yoyak.system.atomic import atomic_folder
from yoyak.system.debug_note import mark_debug
from yoyak.system.text_files import write_json
from yoyak.training import search_reporting
from yoyak.training.arguments import recorded_arguments, training_arguments
from yoyak.training.callbacks import ResumeExactly, StopOnInvalidLoss
from yoyak.training.dev_rouge import DevReferences, dev_rouge_function
from yoyak.training.folder_sharing import receive_outputs, send_outputs
from yoyak.training.host_checkpoints import copy_to_hosts
from yoyak.training.objectives import ObjectiveLoss
from yoyak.training.process_group import from_first
from yoyak.training.rewards import RewardLoss
from yoyak.training.trackers.base import RunDescription
from yoyak.training.trackers.lookup import further_trackers
from yoyak.training.tracking import TrackingCallback, start_trackers
from yoyak.training.trainer import SummaryTrainer
from yoyak.training.training_checkpoints import checkpoint_to_resume, is_last_of_training, step_of
from yoyak.training.weight_averaging import MeanOfWeights, MovingAverage

DEBUG_ROWS = {"train": 50, "dev": 10}  # of a run with training.debug


@dataclass(frozen=True)
class TrainingData:
    """What a model is trained and evaluated on.

    Attributes:
        splits: train and dev with columns input_ids, labels and length.
        references: what the summaries of dev are compared with.
        max_target_length: tokens of a summary that the evaluation writes at most.
        columns: what the collator reads of a row. The trainer needs `length`.
        callbacks: further callbacks of the trainer, in all processes that train together.
    """

    splits: datasets.DatasetDict
    references: DevReferences
    max_target_length: int
    columns: tuple[str, ...] = ("input_ids", "labels", "length")
    callbacks: tuple[TrainerCallback, ...] = ()


@dataclass(frozen=True)
class TrackedRun:
    """What trackers show about a training, and the folder where each has a folder of its own."""

    description: RunDescription
    folder: Path


def fit(
    setup: TrainingSetup,
    data: TrainingData,
    training: Training,
    *,
    checkpoints: Path,
    metrics: Path,
    output: Path,
    tracked: TrackedRun | None = None,
    is_trial: bool = True,
    write_report: Callable[[Path, dict[str, Any]], None] | None = None,
) -> None:
    """Train the model as a stage does, and write the outputs of the stage.

    Of several processes all train, and the first one writes. Other hosts get a copy of what it writes.

    Args:
        setup: the model, which is changed in place, and what belongs to it.
        data: what it is trained and evaluated on.
        training: the section of params.yaml.
        checkpoints: the folder of this work alone (`resumable.work_folder`). An unfinished training in it is resumed.
        metrics: output folder for DVCLive's files and arguments.json.
        output: output folder for the model.
        tracked: what trackers show; None: the run has no name, and they keep their files with the checkpoints.
        is_trial: whether a search may look at this training, and end it.
        write_report: writes further files into the folder of metrics; it is called with what `train` returns.

    Raises:
        YoyakError: if the dev loss is not a number, if YOYAK_TRACKERS names an unknown tracker, or (TrialPrunedError) if the
            run is a trial that its search ends.
    """
    args = training_arguments(training, folder=checkpoints, precision=setup.precision)
    further = further_trackers()  # a wrong name ends the run before any work

    if args.process_index:
        train(setup, data, training, args, callbacks=[])
        receive_outputs([output, metrics])
        return
    with atomic_folder(output) as model_folder, atomic_folder(metrics) as metrics_folder:
        tracked = tracked or TrackedRun(RunDescription("training"), checkpoints / "trackers")
        trackers = start_trackers(further, tracked.description, metrics_folder=metrics_folder, private_folder=tracked.folder)
        try:
            callbacks = [TrackingCallback(trackers), *(search_reporting.trial_callbacks() if is_trial else [])]
            result = train(setup, data, training, args, callbacks=callbacks)
        except search_reporting.TrialPrunedError:
            shutil.rmtree(checkpoints, ignore_errors=True)
            raise
        # Not after an error: DVCLive starts a thread at its end, for which Python waits forever if the memory is full.
        for tracker in trackers:
            tracker.end()
        setup.save(model_folder)
        if training.debug:
            mark_debug(model_folder)
        write_json(metrics_folder / "arguments.json", {**result, **recorded_arguments(args)})
        if write_report:
            write_report(metrics_folder, result)
        send_outputs([model_folder, metrics_folder])


def train(
    setup: TrainingSetup,
    data: TrainingData,
    training: Training,
    args: TrainingArguments,
    *,
    callbacks: Sequence[TrainerCallback],
) -> dict[str, Any]:
    """Fine-tune the model of `setup` in place. At the end it has the weights of its best evaluation.

    A complete checkpoint in `args.output_dir` is resumed. The result is the same as without the interruption.

    Args:
        args: those of transformers, from the section training.
        callbacks: further callbacks of the trainer. The other arguments are those of `fit`.

    Returns:
        steps and epochs of the training, best_step, and best_METRIC, the best value of `training.metric_for_best_model`.

    Raises:
        YoyakError: if the dev loss is not a number.
    """
    trainer = _make_trainer(setup, data, training, args, callbacks)
    checkpoint = _checkpoint_to_resume(trainer)
    if checkpoint and is_last_of_training(checkpoint):
        print(f"the training ended before at step {step_of(checkpoint)}; its best checkpoint is used", flush=True)
        _load_result(trainer, checkpoint)
    else:
        if checkpoint:
            print(f"the training resumes from its checkpoint at step {step_of(checkpoint)}", flush=True)
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    best = trainer.state.best_metric
    result = {
        "steps": trainer.state.global_step,
        "epochs": round(trainer.state.epoch or 0, 4),
        "best_step": trainer.state.best_global_step,
        f"best_{training.metric_for_best_model}": None if best is None else round(best, 4),
    }
    return result | _average_checkpoints(trainer) if training.average_checkpoints else result


def _checkpoint_to_resume(trainer: SummaryTrainer) -> Path | None:
    """The checkpoint that the first process chooses, which each process can read."""
    folder = Path(trainer.args.output_dir)
    own = checkpoint_to_resume(folder, also_needed=trainer.steps_to_average) if trainer.args.process_index == 0 else None
    step = from_first(step_of(own) if own else None)
    if step is None:
        return None
    copy_to_hosts(folder, [step])
    return folder / f"checkpoint-{step}"


def _make_trainer(
    setup: TrainingSetup,
    data: TrainingData,
    training: Training,
    args: TrainingArguments,
    callbacks: Sequence[TrainerCallback],
) -> SummaryTrainer:
    if setup.model.config.is_encoder_decoder:
        _forget_generation_settings(setup.model)
    dev = _training_columns(data, "dev", debug=training.debug)
    patience = training.early_stopping_patience
    trainer = SummaryTrainer(
        keep_checkpoints=training.save_total_limit,
        objective=_objective(setup, data, training),
        moving_average=MovingAverage(training.ema_decay) if training.ema_decay else None,
        averaged=(training.average_checkpoints, training.average_choice),
        dev_metrics=_dev_rouge(dev, setup, data, training) if training.predict_with_generate else None,
        model=setup.model,
        args=args,
        train_dataset=_training_columns(data, "train", debug=training.debug),
        eval_dataset=dev,
        data_collator=setup.collate,
        processing_class=setup.tokenizer,
        callbacks=[*callbacks, *data.callbacks, StopOnInvalidLoss(), *([EarlyStoppingCallback(patience)] if patience else [])],
    )
    trainer.add_callback(ResumeExactly(trainer.row_order))
    # A checkpoint holds tied weights once, under one of their names. transformers warns that the other names are missing.
    logging.getLogger("transformers.trainer").addFilter(
        lambda record: "missing keys in the checkpoint" not in record.getMessage()
    )
    return trainer


def _objective(setup: TrainingSetup, data: TrainingData, training: Training) -> ObjectiveLoss | None:
    """The loss of training, or None for cross-entropy with the same weight for all tokens."""
    settings, has_encoder = training.objective, setup.model.config.is_encoder_decoder
    if settings.is_plain:
        return None
    reward_loss = None
    if settings.uses_rewards:
        reward_loss = RewardLoss(
            settings, setup.tokenizer, setup.collate, is_encoder_decoder=has_encoder, max_target_length=data.max_target_length
        )
    return ObjectiveLoss(
        settings,
        setup.tokenizer,
        is_encoder_decoder=has_encoder,
        label_smoothing=training.label_smoothing_factor,
        reward_loss=reward_loss,
    )


def _average_checkpoints(trainer: SummaryTrainer) -> dict[str, Any]:
    """Give the trainer's model the mean of the weights of the chosen checkpoints.

    Returns:
        averaged_steps, and if the evaluations write summaries, averaged_METRIC for each metric of the averaged model on dev.
    """
    mean, steps = MeanOfWeights(), trainer.steps_to_average(trainer.state.log_history)
    copy_to_hosts(Path(trainer.args.output_dir), steps)
    for step in steps:
        trainer._load_from_checkpoint(str(Path(trainer.args.output_dir, f"checkpoint-{step}")))
        mean.add(trainer.model)
    mean.put_into(trainer.model)
    measured = trainer.dev_metrics(trainer.model) if trainer.dev_metrics else {}
    print(f"the model is the mean of its checkpoints at the steps {', '.join(map(str, steps))}", flush=True)
    return {"averaged_steps": steps, **{f"averaged_{name}": round(value, 4) for name, value in measured.items()}}


def _dev_rouge(dev: datasets.Dataset, setup: TrainingSetup, data: TrainingData, training: Training) -> Any:
    return dev_rouge_function(
        dev, setup.tokenizer, training, references=data.references, max_target_length=data.max_target_length
    )


def _forget_generation_settings(model: PreTrainedModel) -> None:
    """Keep only the ids of special tokens: the checkpoint's beams and penalties must not influence which evaluation is best."""
    names = ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id", "forced_bos_token_id")
    model.generation_config = GenerationConfig(**{name: getattr(model.generation_config, name, None) for name in names})


def _training_columns(data: TrainingData, name: str, *, debug: bool) -> datasets.Dataset:
    rows = data.splits[name].select_columns(list(data.columns))
    return rows.select(range(min(len(rows), DEBUG_ROWS[name]))) if debug else rows


def _load_result(trainer: SummaryTrainer, checkpoint: Path) -> None:
    """Bring `trainer` into the state after a training that ended with `checkpoint`, and its model to the best weights.

    transformers cannot resume such a run: after early stopping it would train one more step.
    """
    trainer.state = TrainerState.load_from_json(str(checkpoint / "trainer_state.json"))
    trainer.callback_handler.on_train_begin(trainer.args, trainer.state, trainer.control)
    trainer._load_best_model()
    trainer.callback_handler.on_train_end(trainer.args, trainer.state, trainer.control)

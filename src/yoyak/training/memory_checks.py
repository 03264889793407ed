"""Checks whether the memory and the disk of this machine suffice for a training. `preflight` runs them."""

import shutil

import torch
from transformers import PreTrainedModel

from yoyak.config.sections import Params
from yoyak.models import checkpoints, memory_estimate
from yoyak.models.memory_estimate import GIB
from yoyak.system import hardware
from yoyak.system.errors import SMALLER_BATCHES, YoyakError


def available_memory_bytes() -> int:
    """Free memory of the GPU, or of the machine if it has no GPU."""
    if torch.cuda.is_available():
        return int(torch.cuda.mem_get_info()[0])
    return hardware.memory_bytes().available


def full_training_bytes(parameters: int) -> int:
    """Memory for training all weights in float32, without activations: weights, gradients and two Adam moments."""
    return parameters * 4 * 4


def most_checkpoints(save_total_limit: int) -> int:
    """Checkpoints that exist at the same time: the newest and the best stay, and the oldest is deleted after the next."""
    return max(save_total_limit, 2) + 1


def full_training_disk_bytes(parameters: int, save_total_limit: int) -> int:
    """Disk for a training of all weights in float32.

    A checkpoint holds the weights and two Adam moments. In addition there are the model and its copy in DVC's cache.
    """
    return parameters * 4 * (3 * most_checkpoints(save_total_limit) + 2)


def check_full_training(model: PreTrainedModel, params: Params) -> str:
    """Memory and disk for training all weights of an encoder-decoder.

    Returns:
        What is needed and what is free, in one line.

    Raises:
        YoyakError: if one of them does not suffice.
    """
    parameters = model.num_parameters()
    needed, free = full_training_bytes(parameters), available_memory_bytes()
    if needed > free:
        raise YoyakError(
            f"training needs {needed / GIB:.1f} GiB of memory without activations, {free / GIB:.1f} GiB are free; "
            "choose a smaller checkpoint, or train an adapter with model.family: qlora"
        )
    # On a CPU a batch is read in parts, so its peak is lower than the estimate.
    if torch.cuda.is_available() and (peak := memory_estimate.estimate_for_params(params).peak) > free:
        raise YoyakError(
            f"training or prediction needs about {peak / GIB:.1f} GiB of memory, {free / GIB:.1f} GiB are free; "
            f"{SMALLER_BATCHES}, or lower generation.batch_size"
        )
    disk = _check_disk(full_training_disk_bytes(parameters, params.training.save_total_limit))
    return f"{parameters:,} parameters; {needed / GIB:.2f} GiB of {free / GIB:.1f} GiB memory without activations, {disk}"


def check_adapter_training(params: Params) -> str:
    """Memory and disk for training an adapter on a quantized model. The config of the checkpoint suffices for the estimate.

    Returns:
        The estimate and what is free, in one line.

    Raises:
        YoyakError: if one of them does not suffice. The message says which params to change.
    """
    chosen = params.model.qlora
    config = checkpoints.load_config(checkpoints.from_pretrained_arguments(chosen.checkpoint, chosen.revision))
    precision, _ = hardware.choose_precision(params.training.precision, parameters=0, quantized=True)
    layers, free = memory_estimate.layer_sizes(config), available_memory_bytes()
    estimate = memory_estimate.estimate_causal_lm(config, params, precision=precision, sizes=layers)
    line = _describe(estimate)
    if advice := memory_estimate.advise(config, params, precision=precision, free=free, sizes=layers):
        raise YoyakError(f"{line}; {free / GIB:.1f} GiB are free; {advice}")
    disk = _check_disk(estimate.adapter * (most_checkpoints(params.training.save_total_limit) + 1))
    return f"{line} of {free / GIB:.1f} GiB free, {disk}"


def check_pretraining(params: Params) -> str:
    """Memory for the stage pretrain, in which every token of a dialogue is a target.

    Args:
        params: all params; the stage is on.

    Raises:
        YoyakError: if it does not suffice.
    """
    chosen, settings, whole = params.model.chosen, params.pretrain, params.tokenizer.max_input_length
    config = checkpoints.load_config(checkpoints.from_pretrained_arguments(chosen.checkpoint, chosen.revision))
    has_encoder = config.is_encoder_decoder
    lengths = {"max_target_length": whole} if has_encoder else {"max_target_length": whole, "max_input_length": 0}
    same = params.model_copy(
        update={"training": settings.as_training(), "tokenizer": params.tokenizer.model_copy(update=lengths)}
    )
    if has_encoder:
        estimate = memory_estimate.estimate_encoder_decoder(config, same)
        # On a CPU a batch is read in parts, so its peak is lower than the estimate.
        needed = estimate.training if torch.cuda.is_available() else full_training_bytes(estimate.parameters)
    else:
        is_lora = settings.method == "lora"
        precision, _ = hardware.choose_precision(settings.precision, parameters=0, quantized=is_lora)
        estimate = memory_estimate.estimate_causal_lm(config, same, precision=precision)
        weights = estimate.weights + estimate.adapter if is_lora else full_training_bytes(estimate.parameters)
        needed = weights + estimate.activations + estimate.logits
    free = available_memory_bytes()
    if needed > free:
        advice = "lower pretrain.per_device_train_batch_size and raise pretrain.gradient_accumulation_steps, set "
        advice += "pretrain.gradient_checkpointing: true" + ("" if has_encoder else ", or set pretrain.method: lora")
        raise YoyakError(f"pre-training needs {needed / GIB:.1f} GiB of memory, {free / GIB:.1f} GiB are free; {advice}")
    return f"{needed / GIB:.2f} GiB of {free / GIB:.1f} GiB memory"


def _check_disk(needed: int) -> str:
    free = shutil.disk_usage(".").free
    if needed > free:
        raise YoyakError(
            f"checkpoints and model need {needed / GIB:.1f} GiB of disk, {free / GIB:.1f} GiB are free; "
            "lower training.save_total_limit, or free space (dvc gc)"
        )
    return f"{needed / GIB:.2f} GiB of {free / GIB:.1f} GiB disk"


def _describe(estimate: memory_estimate.Estimate) -> str:
    parts = [f"{part} {getattr(estimate, part) / GIB:.2f}" for part in ("weights", "adapter", "activations", "logits")]
    return (
        f"{estimate.parameters:,} parameters; training {estimate.training / GIB:.2f} GiB ({', '.join(parts)}), "
        f"prediction {estimate.prediction / GIB:.2f} GiB; estimated peak {estimate.peak / GIB:.2f} GiB"
    )

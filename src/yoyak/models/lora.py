"""LoRA on decoder-only models: adding it to a frozen base, and training the embedding rows of new tokens at low cost."""

import logging
import warnings
from collections.abc import Sequence
from functools import partial
from types import MethodType
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.trainable_tokens.layer import TrainableTokensLayer
from transformers import PreTrainedModel

from yoyak.config.sections import Lora, QuantizedCheckpoint
from yoyak.system.errors import YoyakError


def silence_known_warnings() -> None:
    """Hide two messages of libraries that a user can do nothing about."""
    # peft calls a function of transformers by its deprecated name. Nothing is wrong.
    warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated", category=FutureWarning)
    # transformers reports the precision of dequantized weights, which is the one that we asked for.
    logging.getLogger("transformers.integrations.bitsandbytes").addFilter(
        lambda record: "are dequantized" not in record.getMessage()
    )


def keep_trainable_on_cpu(model: PreTrainedModel) -> None:
    """Keep 4-bit layers trainable on a CPU after an evaluation.

    In eval mode bitsandbytes repacks their weights for a CPU kernel that has no gradient. When training goes on, the loss is
    right but the gradients of the adapter are wrong. Prediction runs in a process of its own, so it may repack.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def add_lora(model: PreTrainedModel, lora: Lora, *, new_tokens: Sequence[int], settings: QuantizedCheckpoint) -> PeftModel:
    """Freeze a model and add a LoRA to all linear layers except the output layer.

    The embeddings of `new_tokens` become trainable too. Trainable weights are float32.

    Args:
        model: a decoder-only model from `causal_lm.load`.
        lora: section `lora` of params.yaml.
        new_tokens: ids of the tokens that the checkpoint did not have.
        settings: section `model.qlora` of params.yaml.

    Raises:
        YoyakError: if parts of the model are offloaded to RAM or disk. Such a model can write summaries but not train.
    """
    names = {module: name.rpartition(".")[2] for name, module in model.named_modules()}
    heads = [model.get_input_embeddings(), model.get_output_embeddings()]
    tied = heads[0].weight is heads[1].weight
    offloaded = {str(place) for place in (getattr(model, "hf_device_map", None) or {}).values()} & {"cpu", "disk"}
    if offloaded and torch.cuda.is_available():
        raise YoyakError(
            f"model.qlora.offload_folder: parts of {settings.checkpoint} are on {' and '.join(sorted(offloaded))}. That is "
            "enough to write summaries, but not to train. `yoyak doctor` says what fits"
        )
    rows = {names[module]: list(new_tokens) for module in (heads[:1] if tied else heads)}
    config = LoraConfig(
        r=lora.r,
        lora_alpha=lora.lora_alpha,
        lora_dropout=lora.lora_dropout,
        target_modules="all-linear",
        trainable_token_indices=rows if new_tokens else None,
        task_type="CAUSAL_LM",
        base_model_name_or_path=settings.checkpoint,
        revision=settings.revision,
    )
    keep_trainable_on_cpu(model)
    silence_known_warnings()
    tuned = get_peft_model(model, config)
    for parameter in tuned.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    # By default, peft writes a whole resized embedding into each checkpoint, and asks a hub for the base without its revision.
    tuned.save_pretrained = partial(tuned.save_pretrained, save_embedding_layers=False)  # type: ignore[method-assign]
    compute_trained_rows_only(tuned)
    return tuned


def describe(model: PeftModel) -> str:
    """One line: the numbers of all and of trained parameters, and the names of the layers that have a LoRA."""
    trained, total = model.get_nb_trainable_parameters()
    layers = sorted({name.rpartition(".")[2] for name in model.peft_config["default"].target_modules})
    return f"{total:,} parameters, {trained:,} trained ({trained / total:.2%}), LoRA on {', '.join(layers)}"


def compute_trained_rows_only(model: PeftModel) -> None:
    """Replace peft's forward for trained token rows, in place. It copies the whole embedding and its gradient at every step."""
    layers: list[Any] = [module for module in model.modules() if isinstance(module, TrainableTokensLayer)]
    for layer in layers:
        device = layer.base_layer.weight.device
        layer.ids_of = {name: torch.tensor(ids, device=device) for name, ids in layer.token_indices.items()}
        layer.forward_adapters = MethodType(_forward_rows, layer)


def _forward_rows(
    layer: TrainableTokensLayer, x: torch.Tensor, active: Sequence[str], *args: Any, **kwargs: Any
) -> torch.Tensor:
    """Return the output of the base layer with the values of the trained rows. The result is that of peft's own forward."""
    result: torch.Tensor = layer.base_layer(x, *args, **kwargs)
    if layer.disable_adapters or layer.merged or not active:
        return result
    for name in active:
        ids = layer.ids_of[name].to(result.device)  # type: ignore[index]
        rows = layer.trainable_tokens_delta[name].to(result.dtype)
        if isinstance(layer.base_layer, torch.nn.Embedding):
            scale = layer._get_embed_scale()  # type: ignore[no-untyped-call]
            rows = rows if scale is None else rows * scale.to(rows.dtype)
            same = x[..., None] == ids
            result = torch.where(same.any(-1, keepdim=True), rows[same.int().argmax(-1)], result)
        else:
            result = result.index_copy_(-1, ids, torch.nn.functional.linear(x, rows))
    return result

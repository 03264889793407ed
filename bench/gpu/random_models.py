"""Models of a preset's shape with random weights, made on the device itself: no file of many gigabytes is written or read."""

from typing import Any

import torch

from bench.gpu import models
from bench.gpu.outcomes import CannotRunError


def preset_of(name: str, *, small: bool) -> tuple[Any, dict[str, Any]]:
    """The params and the shape of a preset; in small form one narrow layer and short rows."""
    from bench import ROOT
    from yoyak.config import presets

    params = presets.params_with_preset(name, folder=ROOT / "presets", params=ROOT / "params.yaml")
    shape = dict(presets.read_preset(name, ROOT / "presets")[1]["shape"])
    lengths: dict[str, Any] = {"special_tokens": []}
    changes = {}
    if small:
        narrow = {
            "hidden_size": 64,
            "intermediate_size": 64,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "head_dim": 32,
        }
        shape |= {key: value for key, value in narrow.items() if key in shape} | {"num_hidden_layers": 1, "vocab_size": 9000}
        lengths |= {"max_input_length": 12, "max_target_length": 4}
        changes["generation"] = params.generation.model_copy(update={"batch_size": 2})
    return params.model_copy(update={"tokenizer": params.tokenizer.model_copy(update=lengths), **changes}), shape


def causal_lm(shape: dict[str, Any], settings: Any, *, precision: str) -> Any:
    """A decoder-only model in evaluation mode, with its linear layers quantized as `settings` say.

    Args:
        shape: `about.shape` of a preset.
        settings: section model.qlora.
        precision: number format of everything that is not quantized.
    """
    from accelerate import init_empty_weights
    from transformers import AutoModelForCausalLM, GenerationConfig

    from yoyak.models import memory_estimate

    config = memory_estimate.config_from_shape(shape)
    dtype, place = getattr(torch, precision), models.device()
    torch.manual_seed(0)
    with init_empty_weights(include_buffers=False):
        model = AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation="sdpa")
    head = model.get_output_embeddings()
    for name, module in list(model.named_modules()):
        if isinstance(module, torch.nn.Linear) and module is not head and settings.quantization != "none":
            parent = model.get_submodule(name.rpartition(".")[0])
            setattr(parent, name.rpartition(".")[2], _quantized(module, settings, dtype, place))
    for module in model.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            if parameter.is_meta:
                setattr(module, name, torch.nn.Parameter(_random(parameter.shape, dtype, place), requires_grad=False))
    model.tie_weights()
    model.to(place)
    model.generation_config = GenerationConfig(eos_token_id=1, pad_token_id=2)
    setattr(model, {"nf4": "is_loaded_in_4bit", "int8": "is_loaded_in_8bit"}.get(settings.quantization, "is_whole"), True)
    return model.eval()


def _random(shape: torch.Size, dtype: torch.dtype, place: torch.device) -> torch.Tensor:
    values = torch.randn(shape, dtype=dtype, device=place).mul_(0.02)
    return values.add_(1) if len(shape) == 1 else values  # the weights of norms are near 1


def _quantized(linear: Any, settings: Any, dtype: torch.dtype, place: torch.device) -> Any:
    from bench.gpu.quantization import needed_bitsandbytes

    layers: Any = needed_bitsandbytes().nn
    values = _random(torch.Size((linear.out_features, linear.in_features)), dtype, place)
    has_bias = linear.bias is not None
    if settings.quantization != "nf4":
        raise CannotRunError(f"random weights are made in nf4 only, not in {settings.quantization}")
    with torch.device("meta"):
        layer = layers.Linear4bit(
            linear.in_features,
            linear.out_features,
            bias=has_bias,
            compute_dtype=dtype,
            compress_statistics=settings.double_quantization,
            quant_type="nf4",
        )
    layer.weight = layers.Params4bit(
        values, requires_grad=False, quant_type="nf4", compress_statistics=settings.double_quantization, module=layer
    ).to(place)
    if has_bias:
        layer.bias = torch.nn.Parameter(torch.zeros(linear.out_features, dtype=dtype, device=place), requires_grad=False)
    return layer

"""Quantized bases: the gradients of a LoRA on NF4 and int8, and the optimizers that bitsandbytes keeps in pages."""

import copy
from collections.abc import Callable
from typing import Any

import torch

from bench.gpu import models
from bench.gpu.outcomes import CannotRunError, Figures, require_at_most


def needed_bitsandbytes() -> Any:
    """bitsandbytes. CannotRunError if it cannot be imported, or has no compiled library for this device."""
    try:
        import bitsandbytes
        from bitsandbytes import cextension
    except Exception as error:  # a broken CUDA installation raises exceptions of any class
        raise CannotRunError(f"bitsandbytes cannot be imported: {error}") from error
    if isinstance(cextension.lib, getattr(cextension, "ErrorHandlerMockBNBNativeLibrary", ())):
        raise CannotRunError("bitsandbytes has no compiled library for this device")
    return bitsandbytes


def nf4(small: bool) -> Figures:
    """llama-tiny in NF4: loss and gradients of the LoRA beside the dequantized weights in float64 on the CPU."""
    precision = "bfloat16" if torch.cuda.is_available() else "float32"
    return _beside_dequantized("nf4", small, precision, limit=0.1 if precision == "bfloat16" else 1e-3)


def int8(small: bool) -> Figures:
    """llama-tiny in int8, which also quantizes the inputs of its products: beside the dequantized weights in float64."""
    precision = "float16" if torch.cuda.is_available() else "float32"
    return _beside_dequantized("int8", small, precision, limit=0.25)


def _beside_dequantized(quantization: str, small: bool, precision: str, *, limit: float) -> Figures:
    needed_bitsandbytes()
    model, tokenizer, rows = models.llama(2 if small else 16, quantization, precision=precision)
    batch = models.batch_of(model, tokenizer, rows)
    loss, found = models.loss_and_gradients(model, batch, precision=precision)
    original, _, _ = models.llama(1)
    whole, _, _ = models.llama(1, quantization, precision=precision)
    base: Any = whole.unload().dequantize(dtype=torch.float32)
    exact = models.in_float64(original)
    _copy_base(exact, base)
    expected_loss, expected = models.loss_and_gradients(exact, batch)
    figures: Figures = {
        "loss": loss,
        "loss difference": abs(loss - expected_loss) / expected_loss,
        "gradient difference": models.difference(found, expected),
        "loss of the unquantized model": models.loss_and_gradients(models.in_float64(original), batch)[0],
    }
    return require_at_most(figures, {"loss difference": limit / 2, "gradient difference": limit})


def _copy_base(tuned: Any, base: Any) -> None:
    """Give `tuned` the weights of `base` in its frozen layers."""
    values = {name: value for name, value in base.named_parameters() if "lora_" not in name}
    with torch.no_grad():
        for name, parameter in tuned.get_base_model().named_parameters():
            source = values.get(name.replace(".base_layer", ""))
            if source is not None:
                parameter.copy_(source)


def optimizers(small: bool) -> Figures:
    """Paged AdamW in 32 and in 8 bits beside torch's own, on the same gradients."""
    bitsandbytes = needed_bitsandbytes()
    if not torch.cuda.is_available():
        raise CannotRunError("the paged optimizers of bitsandbytes need CUDA")
    torch.manual_seed(0)
    start = torch.nn.Linear(512, 512, bias=False, device="cuda")  # from 4,096 numbers on, 8-bit states are really in 8 bits
    made: dict[str, Callable[[Any], Any]] = {
        "adamw": lambda weights: torch.optim.AdamW(weights, lr=1e-3, weight_decay=0.01),
        "paged_adamw_32bit": lambda weights: bitsandbytes.optim.PagedAdamW32bit(weights, lr=1e-3, weight_decay=0.01),
        "paged_adamw_8bit": lambda weights: bitsandbytes.optim.PagedAdamW8bit(weights, lr=1e-3, weight_decay=0.01),
    }
    steps = 5 if small else 50
    inputs = torch.randn(steps, 64, 512, device="cuda")
    weights = {}
    for name, make in made.items():
        layer = copy.deepcopy(start)
        optimizer = make(layer.parameters())
        for step in range(steps):
            layer(inputs[step]).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
        weights[name] = layer.weight.detach()
    moved = (weights["adamw"] - start.weight).norm()
    figures: Figures = {name: float((weights[name] - weights["adamw"]).norm() / moved) for name in made if name != "adamw"}
    return require_at_most(figures, {"paged_adamw_32bit": 1e-3, "paged_adamw_8bit": 0.2})

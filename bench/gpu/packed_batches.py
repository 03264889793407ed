"""Batches without padding: the loss and the gradients of a batch must be those of the padded batch, for both families."""

import torch

from bench.gpu import models
from bench.gpu.outcomes import Figures, require_at_most


def encoder_decoder(small: bool) -> Figures:
    """kobart-tiny: rows one after another, with each kernel for attention within rows that runs here."""
    from yoyak.training import packing
    from yoyak.training.batch_splitting import split_packed

    model, tokenizer, rows = models.kobart(4 if small else 16)
    batch = models.batch_of(model, tokenizer, rows)
    expected_loss, expected = models.loss_and_gradients(models.in_float64(model), batch)
    model = model.to(models.device())
    figures: Figures = {}
    limits: dict[str, float] = {}
    targets = int((batch["labels"] != -100).sum())
    for kernel in packing.KERNELS:
        precision = "bfloat16" if kernel == "varlen" else "float32"
        if reason := packing.why_not(kernel, model, models.device(), training=True, sixteen_bits=precision == "bfloat16"):
            figures[kernel] = f"skipped: {reason}"
            continue
        loss, found = 0.0, dict.fromkeys(expected, torch.zeros(()).double())
        for part in split_packed(batch):
            with packing.packed_attention(model, part["lengths"], kernel=kernel):
                own, gradients = models.loss_and_gradients(model, part, precision=precision)
            share = int((part["labels"] != -100).sum()) / targets  # the model's loss is the mean over the targets of the part
            loss += own * share
            found = {name: found[name] + gradients[name] * share for name in found}
        limit = 0.1 if precision == "bfloat16" else 1e-3
        figures |= {
            f"{kernel} loss": abs(loss - expected_loss) / expected_loss,
            f"{kernel} gradients": models.difference(found, expected),
        }
        limits |= {f"{kernel} loss": limit, f"{kernel} gradients": limit}
    return require_at_most(figures, limits)


def decoder_only(small: bool) -> Figures:
    """llama-tiny with a LoRA: all examples of a batch in one row, with SDPA, and with FlashAttention where it is installed."""
    from yoyak.system import hardware

    model, tokenizer, rows = models.llama(2 if small else 8)
    loss, expected = models.loss_and_gradients(models.in_float64(model), models.batch_of(model, tokenizer, rows))
    flat = models.batch_of(model, tokenizer, rows, padding_free=True)
    kinds = {"sdpa": "float32"}
    if hardware.choose_attention("auto", precision="bfloat16")[0] == "flash_attention_2":
        kinds["flash_attention_2"] = "bfloat16"
    figures: Figures = (
        {} if len(kinds) > 1 else {"flash_attention_2": "skipped: flash-attn is not installed, or there is no GPU"}
    )
    limits: dict[str, float] = {}
    for name, precision in kinds.items():
        model.get_base_model().set_attn_implementation(name)
        own, found = models.loss_and_gradients(model, flat, precision=precision)
        limit = 0.1 if precision == "bfloat16" else 1e-3
        figures |= {f"{name} loss": abs(own - loss) / loss, f"{name} gradients": models.difference(found, expected)}
        limits |= {f"{name} loss": limit, f"{name} gradients": limit}
    return require_at_most(figures, limits)

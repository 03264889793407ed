"""Losses and gradients of both families in each number format beside float64 on the CPU, and training in fp16 with a scaler."""

import copy
from typing import Any

import torch

from bench.gpu import models
from bench.gpu.outcomes import CannotRunError, Figures, require, require_at_most

# Relative differences of the gradients that each format may have: a few times its rounding (2^-24, 2^-11, 2^-9, 2^-11).
LIMITS = {"float32": 1e-3, "tf32": 3e-2, "bfloat16": 0.1, "float16": 3e-2}


def gradients(small: bool) -> Figures:
    """kobart-tiny and llama-tiny with a LoRA: gradients in float32, TF32, bfloat16 and float16 beside float64 on the CPU."""
    figures: Figures = {}
    limits: dict[str, float] = {}
    for name, make in (("kobart", models.kobart), ("llama", models.llama)):
        model, tokenizer, rows = make(2 if small else 16)
        batch = models.batch_of(model, tokenizer, rows)
        loss, expected = models.loss_and_gradients(models.in_float64(model), batch)
        model = model.to(models.device())
        for precision, limit in LIMITS.items():
            if precision == "tf32" and not torch.cuda.is_available():
                figures[f"{name} tf32"] = "skipped: TF32 needs a GPU"
                continue
            with models.tf32(precision == "tf32"):
                own, found = models.loss_and_gradients(model, batch, precision=precision.replace("tf32", "float32"))
            figures |= {f"{name} {precision} gradients": models.difference(found, expected)}
            figures |= {f"{name} {precision} loss": abs(own - loss) / loss}
            limits |= {f"{name} {precision} gradients": limit, f"{name} {precision} loss": limit}
    return require_at_most(figures, limits)


def scaler(small: bool) -> Figures:
    """Steps in fp16 with GradScaler: they must end near those in float32, and a step that overflows must be left out."""
    model, tokenizer, rows = models.kobart(4 if small else 16)
    model = model.to(models.device())
    batch = models.moved(models.batch_of(model, tokenizer, rows), models.device())
    steps = 3 if small else 20
    figures: Figures = {"float32 loss": _train(copy.deepcopy(model), batch, steps, torch.float32)[0]}
    figures["float16 loss"], grad_scaler = _train(model, batch, steps, torch.float16)
    figures["difference"] = abs(figures["float16 loss"] - figures["float32 loss"]) / figures["float32 loss"]
    before = [parameter.detach().clone() for parameter in model.parameters()]
    scale = grad_scaler.get_scale()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    with torch.autocast(models.device().type, torch.float16):
        loss = model(**batch).loss
    (grad_scaler.scale(loss) * float("inf")).backward()
    grad_scaler.step(optimizer)
    grad_scaler.update()
    figures |= {"scale before": scale, "scale after an overflow": grad_scaler.get_scale()}
    same = all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    require(same and grad_scaler.get_scale() < scale, "a step that overflowed changed the weights or kept the scale", figures)
    return require_at_most(figures, {"difference": 0.05})


def _train(model: Any, batch: dict[str, Any], steps: int, dtype: torch.dtype) -> tuple[float, torch.amp.GradScaler]:
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    place = next(model.parameters()).device.type
    grad_scaler = torch.amp.GradScaler(place, enabled=dtype == torch.float16)
    for _ in range(steps):
        with torch.autocast(place, dtype, enabled=dtype != torch.float32):
            loss = model(**batch).loss
        grad_scaler.scale(loss).backward()
        grad_scaler.step(optimizer)
        grad_scaler.update()
        optimizer.zero_grad()
    return float(loss.detach()), grad_scaler


def trainer(small: bool) -> Figures:
    """yoyak's trainer in each precision of this device, from the same weights: the losses must end near that of float32."""
    from bench.gpu.training_run import train_kobart
    from yoyak.system import hardware
    from yoyak.system.errors import YoyakError

    figures: Figures = {}
    for precision in ("float32", "bfloat16", "float16"):
        try:
            hardware.choose_precision(precision, parameters=0)
        except YoyakError as error:
            figures[precision] = f"skipped: {error}"
            continue
        figures[precision] = train_kobart(4 if small else 64, precision=precision, batch=4 if small else 16)
    if not isinstance(figures["float32"], float):
        raise CannotRunError(str(figures["float32"]))
    figures |= {
        f"{name} difference": abs(figures[name] - figures["float32"]) / figures["float32"]
        for name in ("bfloat16", "float16")
        if isinstance(figures[name], float)
    }
    return require_at_most(figures, {name: 0.03 for name in figures if name.endswith("difference")})

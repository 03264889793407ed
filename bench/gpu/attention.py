"""Attention kernels beside attention that is written out in float64: SDPA's backends, FlexAttention, variable lengths.

Rows of different lengths stand one after another. Each row looks only at itself, forward and backward.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from bench.gpu import models
from bench.gpu.outcomes import CannotRunError, Figures, require_at_most

Lengths = tuple[list[int], list[int]]
Kernel = Callable[..., torch.Tensor]
# (heads, size of a head): KoBART's 16 heads of 48, and Llama's heads of 128.
SHAPES = {"kobart": (16, 48), "llama": (8, 128)}


def sdpa(small: bool) -> Figures:
    """Each backend of scaled_dot_product_attention that this device has."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    def attend(backend: Any, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, *, causal: bool, **_: Any) -> torch.Tensor:
        with sdpa_kernel(backend):
            return torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=causal)

    names = ("MATH", "EFFICIENT_ATTENTION", "FLASH_ATTENTION", "CUDNN_ATTENTION")
    figures: Figures = {}
    for name in names:
        figures |= _compared(name.lower(), partial(attend, getattr(SDPBackend, name)), small, rows=1)
    return _within(figures)


def flex(small: bool) -> Figures:
    """FlexAttention with a mask of blocks, as packed batches use it: compiled on a GPU, plain on a CPU."""
    from yoyak.training import packing

    return _within(_compared("flex", partial(_packed, packing.attend_by_blocks), small, rows=3))


def varlen(small: bool) -> Figures:
    """torch.nn.attention.varlen, which needs a GPU and 16 bits."""
    from yoyak.training import packing

    if reason := packing.why_not_varlen():
        raise CannotRunError(reason)
    return _within(_compared("varlen", partial(_packed, packing.attend_by_lengths), small, rows=3))


def in_models(small: bool) -> Figures:
    """llama-tiny's loss and gradients with SDPA and, on a GPU, FlexAttention beside those with eager attention."""
    model, tokenizer, rows = models.llama(2 if small else 8)
    batch = models.batch_of(model, tokenizer, rows)
    figures: Figures = {}
    model.get_base_model().set_attn_implementation("eager")
    loss, expected = models.loss_and_gradients(model, batch)
    for name in ("sdpa", "flex_attention", "flash_attention_2"):
        try:
            if name == "flex_attention" and not torch.cuda.is_available():
                raise CannotRunError("transformers compiles it for a GPU")
            model.get_base_model().set_attn_implementation(name)
            precision = "bfloat16" if name == "flash_attention_2" else "float32"
            own, found = models.loss_and_gradients(model, batch, precision=precision)
        except (CannotRunError, ImportError, ValueError) as error:
            figures[name] = f"skipped: {str(error).splitlines()[0]}"
            continue
        figures |= {f"{name} loss": abs(own - loss) / loss, f"{name} gradients": models.difference(found, expected)}
    limits = {key: 0.1 if "flash" in key else 2e-3 for key, value in figures.items() if isinstance(value, float)}
    return require_at_most(figures, limits)


def _packed(
    kernel: Kernel, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, *, causal: bool, lengths: Lengths
) -> torch.Tensor:
    return kernel(q, k, v, lengths=lengths, causal=causal)


def _written_out(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, *, causal: bool, lengths: Lengths) -> torch.Tensor:
    attended = []
    for a, b, c in zip(
        torch.split(q, lengths[0], 2), torch.split(k, lengths[1], 2), torch.split(v, lengths[1], 2), strict=True
    ):
        scores = a @ b.transpose(2, 3) / math.sqrt(q.shape[-1])
        if causal:
            scores = scores + torch.full_like(scores[0, 0], -torch.inf).triu(1)
        attended.append(scores.softmax(-1) @ c)
    return torch.cat(attended, 2)


def _compared(name: str, kernel: Kernel, small: bool, *, rows: int) -> Figures:
    """For each shape and number format the largest difference of the output, and on a GPU of the gradients."""
    gpu = torch.cuda.is_available()
    longest = 40 if small else 512
    figures: Figures = {}
    for dtype in (torch.bfloat16, torch.float16) if gpu else (torch.float32,):
        for shape, (heads, size) in SHAPES.items():
            what = f"{name} {shape} {str(dtype).removeprefix('torch.')}"
            worst = [0.0, 0.0]
            try:
                for causal in (False, True):
                    torch.manual_seed(heads)
                    sources = torch.randint(longest // 4, longest, (rows,)).tolist()
                    lengths = (sources, sources if causal or rows == 1 else [length // 3 + 1 for length in sources])
                    found = _difference(kernel, dtype, (heads, size), lengths, causal=causal, backward=gpu)
                    worst = [max(pair) for pair in zip(worst, found, strict=True)]
            except (RuntimeError, NotImplementedError, ValueError) as error:  # this kernel does not take this shape or device
                figures[what] = f"skipped: {str(error).splitlines()[0][:150]}"
                continue
            figures[what] = worst[0]
            if gpu:
                figures[f"{what} gradients"] = worst[1]
    return figures


def _difference(
    kernel: Kernel, dtype: torch.dtype, shape: tuple[int, int], lengths: Lengths, *, causal: bool, backward: bool
) -> tuple[float, float]:
    inputs = [
        torch.randn(1, shape[0], sum(count), shape[1], dtype=torch.float64) for count in (lengths[0], lengths[1], lengths[1])
    ]
    exact = [value.clone().requires_grad_() for value in inputs]
    expected = _written_out(*exact, causal=causal, lengths=lengths)
    own = [value.to(models.device(), dtype).requires_grad_(backward) for value in inputs]
    found = kernel(*own, causal=causal, lengths=lengths)
    gap = float(((found.double().cpu() - expected).norm() / expected.norm()).detach())
    if not backward:
        return gap, 0.0
    toward = torch.randn_like(expected)
    totals: list[Any] = [(expected * toward).sum(), (found.float() * toward.to(found.device).float()).sum()]
    for total in totals:
        total.backward()
    gaps = [float((a.grad.double().cpu() - b.grad).norm() / b.grad.norm()) for a, b in zip(own, exact, strict=True)]  # type: ignore[union-attr, operator]
    return gap, max(gaps)


def _within(figures: Figures) -> Figures:
    limits = {key: 1e-4 if "float32" in key else 0.03 for key, value in figures.items() if isinstance(value, float)}
    if not limits:
        raise CannotRunError("; ".join(f"{key}: {value}" for key, value in figures.items()))
    return require_at_most(figures, limits)

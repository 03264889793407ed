"""Lets BART read rows that stand one after another in a single row without padding (`batch_splitting.split_packed`).

Attention keeps to the bounds of each row, and the positions start again at 0 for each row. Everything else in the model works
on single tokens. transformers itself can do this for decoder-only models only.

Three kernels attend within rows. `loop` takes one row after the other and runs everywhere. `blocks` is FlexAttention with a
mask, `varlen` is FlashAttention with lengths; both are for GPUs, where they do all rows at once. They have no dropout.
"""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, lru_cache, partial
from typing import Any, Literal

import torch
from transformers import AttentionInterface, PreTrainedModel

Lengths = tuple[list[int], list[int]]  # for each row: source tokens, target tokens
KernelName = Literal["loop", "blocks", "varlen"]
KERNELS: tuple[KernelName, ...] = ("loop", "blocks", "varlen")


def can_pack(model: PreTrainedModel) -> bool:
    """Whether the model adds an embedding of the position to each token, so that the positions of each row can be set.

    BART and mBART do. T5 has its positions in the attention.
    """
    return model.config.model_type in ("bart", "mbart")


def why_not_varlen() -> str | None:
    """Why torch.nn.attention.varlen cannot run here, or None."""
    try:
        from torch.nn.attention import varlen  # noqa: F401
    except ImportError:
        return f"torch {torch.__version__} has no torch.nn.attention.varlen"
    return None if torch.cuda.is_available() else "torch.nn.attention.varlen needs an NVIDIA GPU"


def why_not(
    kernel: KernelName, model: PreTrainedModel, device: torch.device, *, training: bool, sixteen_bits: bool
) -> str | None:
    """Why `kernel` cannot attend in this model here, or None. `sixteen_bits`: whether it computes in bfloat16 or float16."""
    if kernel == "loop":
        return None
    if training and model.config.to_dict().get("attention_dropout"):
        return "the kernel has no attention dropout"
    if kernel == "blocks":
        return "FlexAttention has no backward pass on a CPU" if device.type == "cpu" and training else None
    return "the kernel needs 16 bits" if not sixteen_bits else why_not_varlen()


def choose_kernel(query: torch.Tensor, *, dropout: float) -> KernelName:
    """The kernel for these queries: `varlen` where it can run, or else `loop`."""
    sixteen_bits = query.dtype in (torch.bfloat16, torch.float16)
    return "varlen" if query.is_cuda and sixteen_bits and not dropout and not why_not_varlen() else "loop"


def attend_in_turn(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    *,
    lengths: Lengths,
    causal: bool,
    scaling: float | None = None,
    dropout: float = 0.0,
) -> torch.Tensor:
    """Attention within each row, one row after the other.

    It is written out because torch's fused attention is slower here: 4.48 s a step against 3.96 s (docs/log/speed.md).

    Args:
        query: (1, heads, tokens, size); `key` and `value` have their own number of tokens.
        lengths: tokens of each row, of queries and of keys.
        causal: whether a token looks at itself and those before it only.
        scaling: factor of the scores; None for 1 / sqrt(size).

    Returns:
        (1, heads, tokens, size)
    """
    scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
    splits = zip(
        torch.split(query, lengths[0], 2), torch.split(key, lengths[1], 2), torch.split(value, lengths[1], 2), strict=True
    )
    attended = []
    for q, k, v in splits:
        scores = q @ k.transpose(2, 3) * scaling
        if causal:
            scores = scores + torch.full_like(scores[0, 0], -torch.inf).triu(1)
        weights = torch.nn.functional.dropout(scores.softmax(-1), dropout)
        attended.append(weights @ v)
    return torch.cat(attended, 2)


def attend_by_blocks(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    *,
    lengths: Lengths,
    causal: bool,
    scaling: float | None = None,
    dropout: float = 0.0,  # noqa: ARG001
) -> torch.Tensor:
    """FlexAttention with a mask of the rows. Arguments and result as `attend_in_turn`, without dropout."""
    mask = _block_mask(tuple(lengths[0]), tuple(lengths[1]), causal, query.device)
    attended: torch.Tensor = _flex_attention(query.is_cuda)(query, key, value, block_mask=mask, scale=scaling)
    return attended


def attend_by_lengths(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    *,
    lengths: Lengths,
    causal: bool,
    scaling: float | None = None,  # noqa: ARG001
    dropout: float = 0.0,  # noqa: ARG001
) -> torch.Tensor:
    """torch.nn.attention.varlen. Arguments and result as `attend_in_turn`, in 16 bits, with the usual scaling, no dropout."""
    from torch.nn.attention.varlen import varlen_attn

    q, k, v = (tensor[0].transpose(0, 1) for tensor in (query, key, value))
    starts_q, starts_k = (_starts(tuple(counts), query.device) for counts in lengths)
    attended: Any = varlen_attn(q, k, v, starts_q, starts_k, max(lengths[0]), max(lengths[1]), **_causal_argument(causal))
    return attended.transpose(0, 1)[None]  # type: ignore[no-any-return]


@cache
def _flex_attention(compiled: bool) -> Callable[..., Any]:
    from torch.nn.attention.flex_attention import flex_attention

    kernel: Any = torch.compile(flex_attention, dynamic=True) if compiled else flex_attention
    return kernel  # type: ignore[no-any-return]


@lru_cache(maxsize=16)  # all layers of a part have the same mask
def _block_mask(queries: tuple[int, ...], keys: tuple[int, ...], causal: bool, device: torch.device) -> Any:
    from torch.nn.attention.flex_attention import create_block_mask

    row_of_query, row_of_key = (
        torch.arange(len(counts), device=device).repeat_interleave(torch.tensor(counts, device=device))
        for counts in (queries, keys)
    )

    def allowed(_batch: Any, _head: Any, query: Any, key: Any) -> Any:
        same = row_of_query[query] == row_of_key[key]
        return same & (query >= key) if causal else same

    return create_block_mask(allowed, None, None, sum(queries), sum(keys), device=device)


@lru_cache(maxsize=16)
def _starts(counts: tuple[int, ...], device: torch.device) -> torch.Tensor:
    return torch.tensor([0, *counts], device=device).cumsum(0).int()


@cache
def _causal_argument(causal: bool) -> dict[str, Any]:
    """torch 2.10 has `is_causal`; later versions have a window."""
    from torch.nn.attention.varlen import varlen_attn

    if "is_causal" in inspect.signature(varlen_attn).parameters:
        return {"is_causal": causal}
    return {"window_size": (-1, 0) if causal else (-1, -1)}


def _attend(
    kernel: KernelName | None,
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    _mask: None,
    *,
    lengths: Lengths,
    scaling: float,
    dropout: float,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """What transformers calls. `query`, `key` and `value` are (1, heads, tokens, size), the result (1, tokens, heads, size)."""
    sources, targets = lengths
    query_lengths = targets if module.is_decoder else sources
    key_lengths = targets if module.is_causal else sources  # cross-attention: queries of the target, keys of the source
    attend = _ATTEND[kernel or choose_kernel(query, dropout=dropout)]
    attended = attend(
        query, key, value, lengths=(query_lengths, key_lengths), causal=bool(module.is_causal), scaling=scaling, dropout=dropout
    )
    return attended.transpose(1, 2), None


_ATTEND: dict[KernelName, Callable[..., torch.Tensor]] = {
    "loop": attend_in_turn,
    "blocks": attend_by_blocks,
    "varlen": attend_by_lengths,
}
ATTENTION_NAMES: dict[KernelName | None, str] = {None: "packed"} | {kernel: f"packed_{kernel}" for kernel in KERNELS}
for _kernel, _name in ATTENTION_NAMES.items():
    AttentionInterface.register(_name, partial(_attend, _kernel))


@contextmanager
def packed_attention(model: PreTrainedModel, lengths: Lengths, *, kernel: KernelName | None = None) -> Iterator[None]:
    """Inside this context `model` reads a packed part, forward and backward.

    Args:
        model: a model that `can_pack`. It is as before after the context, also after an exception.
        lengths: the `lengths` of the part.
        kernel: how attention stays within rows; None for `choose_kernel`.
    """
    device = model.device

    def set_positions(row_lengths: list[int]) -> Callable[..., Any]:
        positions = torch.cat([torch.arange(length) for length in row_lengths]).to(device)
        return lambda _module, args, kwargs: (args, kwargs | {"position_ids": positions})

    stacks = zip((model.get_encoder(), model.get_decoder()), lengths, strict=True)
    hooks = [
        stack.embed_positions.register_forward_pre_hook(set_positions(row_lengths), with_kwargs=True)
        for stack, row_lengths in stacks
    ]
    before = model.config._attn_implementation
    model.config._attn_implementation = ATTENTION_NAMES[kernel]
    try:
        yield
    finally:
        model.config._attn_implementation = before
        for hook in hooks:
            hook.remove()

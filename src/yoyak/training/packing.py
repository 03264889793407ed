"""Lets BART read rows that stand one after another in a single row without padding (`batch_splitting.split_packed`).

Attention keeps to the bounds of each row, and the positions start again at 0 for each row. Everything else in the model works
on single tokens. transformers itself can do this for decoder-only models only.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import AttentionInterface, PreTrainedModel

Lengths = tuple[list[int], list[int]]  # for each row: source tokens, target tokens


def can_pack(model: PreTrainedModel) -> bool:
    """Whether the model adds an embedding of the position to each token, so that the positions of each row can be set.

    BART and mBART do. T5 has its positions in the attention.
    """
    return model.config.model_type in ("bart", "mbart")


def _attend(
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
    """Attention within each row. `query`, `key` and `value` are (1, heads, tokens, size), the result (1, tokens, heads, size).

    It is written out because torch's fused attention is slower here: 4.48 s a step against 3.96 s (docs/log/speed.md).
    """
    sources, targets = lengths
    query_lengths = targets if module.is_decoder else sources
    key_lengths = targets if module.is_causal else sources  # cross-attention: queries of the target, keys of the source
    splits = zip(
        torch.split(query, query_lengths, 2), torch.split(key, key_lengths, 2), torch.split(value, key_lengths, 2), strict=True
    )
    attended = []
    for q, k, v in splits:
        scores = q @ k.transpose(2, 3) * scaling
        if module.is_causal:
            scores = scores + torch.full_like(scores[0, 0], -torch.inf).triu(1)
        weights = torch.nn.functional.dropout(scores.softmax(-1), dropout)
        attended.append(weights @ v)
    return torch.cat(attended, 2).transpose(1, 2), None


ATTENTION_NAME = "packed"
AttentionInterface.register(ATTENTION_NAME, _attend)


@contextmanager
def packed_attention(model: PreTrainedModel, lengths: Lengths) -> Iterator[None]:
    """Inside this context `model` reads a packed part, forward and backward.

    Args:
        model: a model that `can_pack`. It is as before after the context, also after an exception.
        lengths: the `lengths` of the part.
    """

    def set_positions(row_lengths: list[int]) -> Callable[..., Any]:
        positions = torch.cat([torch.arange(length) for length in row_lengths])
        return lambda _module, args, kwargs: (args, kwargs | {"position_ids": positions})

    stacks = zip((model.get_encoder(), model.get_decoder()), lengths, strict=True)
    hooks = [
        stack.embed_positions.register_forward_pre_hook(set_positions(row_lengths), with_kwargs=True)
        for stack, row_lengths in stacks
    ]
    before = model.config._attn_implementation
    model.config._attn_implementation = ATTENTION_NAME
    try:
        yield
    finally:
        model.config._attn_implementation = before
        for hook in hooks:
            hook.remove()

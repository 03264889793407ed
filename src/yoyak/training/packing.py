"""Pairs end to end, without padding: how BART reads a batch on a CPU when it trains.

All rows stand in one: attention keeps to the bounds of each, and positions start anew; all else works on single tokens.
transformers can do so for decoder-only models alone.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import AttentionInterface, PreTrainedModel

Batch = dict[str, Any]
Lengths = tuple[list[int], list[int]]  # tokens of each row's source and of its target

# Source tokens that are taken at once: of fewer, steps cost more; of more, memory (docs/log.md).
PART = 4096


def can_pack(model: PreTrainedModel) -> bool:
    """Whether a model's positions are an embedding of their own, so that each row's can be told. T5's lie in its attention."""
    return model.config.model_type in ("bart", "mbart")


def parts(batch: Batch) -> Iterator[Batch]:
    """A padded batch in parts of at most PART source tokens (or one row): ids and labels (1, tokens), and `lengths`.
    Gradients of sums over the parts add up to that over the batch."""
    source, target = batch["attention_mask"].bool(), batch["labels"] != -100
    lengths = source.sum(1).tolist()
    groups: list[list[int]] = []
    for row, length in enumerate(lengths):
        if groups and sum(lengths[other] for other in groups[-1]) + length <= PART:
            groups[-1].append(row)
        else:
            groups.append([row])
    for rows in groups:
        read, written = source[rows], target[rows]
        yield {
            "input_ids": batch["input_ids"][rows][read][None],
            "decoder_input_ids": batch["decoder_input_ids"][rows][written][None],
            "labels": batch["labels"][rows][written][None],
            "lengths": (read.sum(1).tolist(), written.sum(1).tolist()),
        }


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
    """(1, heads, tokens, size) of each to (1, tokens, heads, size): each row's queries to the same row's keys."""
    sources, targets = lengths
    asking, asked = targets if module.is_decoder else sources, targets if module.is_causal else sources
    attended = []
    for q, k, v in zip(torch.split(query, asking, 2), torch.split(key, asked, 2), torch.split(value, asked, 2), strict=True):
        scores = q @ k.transpose(2, 3) * scaling
        if module.is_causal:
            scores = scores + torch.full_like(scores[0, 0], -torch.inf).triu(1)
        shares = torch.nn.functional.dropout(scores.softmax(-1), dropout)
        attended.append(shares @ v)
    return torch.cat(attended, 2).transpose(1, 2), None


NAME = "packed"
AttentionInterface.register(NAME, _attend)


@contextmanager
def packed(model: PreTrainedModel, lengths: Lengths) -> Iterator[None]:
    """In here `model` reads the part that has these `lengths`, forwards and backwards."""

    def positions(each: list[int]) -> Callable[..., Any]:
        told = torch.cat([torch.arange(length) for length in each])
        return lambda _module, args, kwargs: (args, kwargs | {"position_ids": told})

    stacks = zip((model.get_encoder(), model.get_decoder()), lengths, strict=True)
    hooks = [stack.embed_positions.register_forward_pre_hook(positions(each), with_kwargs=True) for stack, each in stacks]
    before = model.config._attn_implementation
    model.config._attn_implementation = NAME
    try:
        yield
    finally:
        model.config._attn_implementation = before
        for hook in hooks:
            hook.remove()

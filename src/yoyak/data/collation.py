"""Collators: functions that make one batch of tensors from a list of tokenized rows."""

from collections.abc import Callable
from typing import Any

import torch
from transformers import DataCollatorForSeq2Seq, PreTrainedModel, PreTrainedTokenizerBase

Batch = dict[str, Any]
Collator = Callable[[list[Batch]], Batch]

IGNORED_LABEL = -100  # the loss functions of PyTorch and transformers ignore positions with this label


def collate_pairs(tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel) -> Collator:
    """Collator for an encoder-decoder. It pads input_ids and labels on the right to the longest row of the batch.

    Returns:
        A function from rows with input_ids and labels to input_ids, attention_mask (rows, source), labels and
        decoder_input_ids (rows, target).
    """
    collate = DataCollatorForSeq2Seq(tokenizer, model=model)
    return lambda rows: dict(collate([{key: row[key] for key in ("input_ids", "labels")} for row in rows]))


def collate_chats(pad_token_id: int, *, padding_free: bool) -> Collator:
    """Collator for a decoder-only model. It asks for logits only at the positions that have a label.

    Padded batches (`padding_free` is false) have their padding on the left. All targets then end at the same position, so
    `logits_to_keep` is one number, and labels have the shape (rows, logits_to_keep).

    A padding-free batch is one row that holds all rows end to end, with `position_ids` that start at 0 in each. Attention finds
    the boundaries by these positions: FlashAttention directly, SDPA by a block mask that transformers builds when there is no
    other mask and no cache. `logits_to_keep` is then a tensor of positions.
    """
    if padding_free:
        return _join_end_to_end
    return lambda rows: _pad_left(rows, pad_token_id)


def _first_prediction(row: Batch) -> int:
    """The position before the first label: its logits predict the first target token."""
    return next(index for index, label in enumerate(row["labels"]) if label != IGNORED_LABEL) - 1


def _join_end_to_end(rows: list[Batch]) -> Batch:
    kept: list[int] = []
    start = 0
    for row in rows:
        kept += range(start + _first_prediction(row), start + len(row["input_ids"]))
        start += len(row["input_ids"])
    return {
        "input_ids": torch.tensor([[id_ for row in rows for id_ in row["input_ids"]]]),
        "position_ids": torch.tensor([[position for row in rows for position in range(len(row["input_ids"]))]]),
        "labels": torch.tensor([[label for row in rows for label in row["labels"][_first_prediction(row) :]]]),
        "logits_to_keep": torch.tensor(kept),
        "use_cache": False,
    }


def _pad_left(rows: list[Batch], pad_token_id: int) -> Batch:
    longest = max(len(row["input_ids"]) for row in rows)
    keep = max(len(row["labels"]) - _first_prediction(row) for row in rows)
    ids = torch.tensor([[pad_token_id] * (longest - len(row["input_ids"])) + row["input_ids"] for row in rows])
    mask = torch.tensor([[0] * (longest - len(row["input_ids"])) + [1] * len(row["input_ids"]) for row in rows])
    labels = torch.tensor([([IGNORED_LABEL] * longest + row["labels"])[-keep:] for row in rows])
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    return {
        "input_ids": ids,
        "attention_mask": mask,
        "position_ids": positions,
        "labels": labels,
        "logits_to_keep": keep,
        "use_cache": False,
    }

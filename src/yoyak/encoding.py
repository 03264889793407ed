"""Processed rows to token ids: what the encoder-decoder sees, and what it is taught to write."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from transformers import PreTrainedTokenizerBase

from yoyak.errors import YoyakError


def encode_inputs(tokenizer: PreTrainedTokenizerBase, dialogues: Sequence[str], max_length: int) -> list[list[int]]:
    """Ids of each dialogue, at most `max_length` with the final EOS; what is over is cut from the dialogue's end."""
    return [_with_eos(tokenizer, ids, max_length) for ids in tokenizer(list(dialogues)).input_ids]


def encode_targets(tokenizer: PreTrainedTokenizerBase, summaries: Sequence[str], max_length: int) -> list[list[int]]:
    """Ids of each summary, at most `max_length`; EOS stands at the end also when the summary was cut."""
    return [_with_eos(tokenizer, ids, max_length) for ids in tokenizer(text_target=list(summaries)).input_ids]


def _with_eos(tokenizer: PreTrainedTokenizerBase, ids: list[int], max_length: int) -> list[int]:
    """KoBART's tokenizer adds no EOS, T5's does. Without one in the labels a model never learns to stop."""
    eos = tokenizer.eos_token_id
    body = ids[:-1] if ids and ids[-1] == eos else ids
    return [*body[: max_length - 1], eos]


def encode_split(
    rows: datasets.Dataset, tokenizer: PreTrainedTokenizerBase, *, max_input_length: int, max_target_length: int, workers: int
) -> datasets.Dataset:
    """Columns fname, input_ids, length, and where there is a summary labels and summary. Memory-mapped in and out."""

    def encode(batch: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
        inputs = encode_inputs(tokenizer, batch["dialogue"], max_input_length)
        columns: dict[str, list[Any]] = {
            "fname": batch["fname"],
            "input_ids": inputs,
            "length": [len(ids) for ids in inputs],
            "uncut_length": [len(ids) for ids in encode_inputs(tokenizer, batch["dialogue"], 10**9)],
        }
        if "summary" in batch:
            columns["labels"] = encode_targets(tokenizer, batch["summary"], max_target_length)
            columns["uncut_labels"] = [len(ids) for ids in encode_targets(tokenizer, batch["summary"], 10**9)]
            columns["summary"] = batch["summary"]
        return columns

    # One fixed order and shard count whatever the number of workers, so that the files come out the same.
    return rows.map(
        encode,
        batched=True,
        batch_size=500,
        num_proc=workers if len(rows) >= 20_000 and workers > 1 else None,
        remove_columns=rows.column_names,
        new_fingerprint="encoded",
        desc="tokenize",
    )

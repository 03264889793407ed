"""What both ways of encoding count and refuse."""

from collections.abc import Sequence
from typing import Any

from transformers import PreTrainedTokenizerBase

from yoyak.system.errors import YoyakError

Columns = dict[str, list[Any]]  # a batch of rows by column


def count_unknown(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> int:
    """The number of unknown tokens. A tokenizer that uses its end of text as the unknown token knows every text."""
    return 0 if tokenizer.unk_token_id == tokenizer.eos_token_id else ids.count(tokenizer.unk_token_id)


def require_targets(fnames: Sequence[str], targets: Sequence[Sequence[int]]) -> None:
    """YoyakError naming the row, if a summary has no token besides its end: there is nothing to learn from it."""
    for fname, ids in zip(fnames, targets, strict=True):
        if len(ids) < 2:
            raise YoyakError(f"{fname}: its summary has no token that the model could learn")

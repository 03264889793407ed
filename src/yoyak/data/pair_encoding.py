"""Rows as token ids for encoder-decoders: the dialogue is the source, the summary is the target."""

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

from yoyak.config.sections import Tokenizer
from yoyak.data.encoding_checks import Columns, count_unknown, require_targets

NO_LIMIT = 10**9


def encode_sources(tokenizer: PreTrainedTokenizerBase, dialogues: Sequence[str], max_length: int) -> list[list[int]]:
    """Token ids of each dialogue, at most `max_length` with the final EOS. Longer ones lose their end."""
    return [_cut(tokenizer, ids, max_length) for ids in tokenizer(list(dialogues)).input_ids]


def encode_targets(tokenizer: PreTrainedTokenizerBase, summaries: Sequence[str], max_length: int) -> list[list[int]]:
    """Token ids of each summary, at most `max_length` with the final EOS, which also ends summaries that are cut."""
    return [_cut(tokenizer, ids, max_length) for ids in tokenizer(text_target=list(summaries)).input_ids]


def _cut(tokenizer: PreTrainedTokenizerBase, ids: list[int], max_length: int) -> list[int]:
    """Cut a row and end it with EOS. T5's tokenizer adds EOS, KoBART's does not. Without EOS in its labels, a model never
    learns to stop."""
    body = ids[:-1] if ids and ids[-1] == tokenizer.eos_token_id else ids
    return [*body[: max_length - 1], tokenizer.eos_token_id]


def encode_pairs(batch: Columns, tokenizer: PreTrainedTokenizerBase, lengths: Tokenizer) -> Columns:
    """Encode a batch of rows.

    Args:
        batch: columns fname, dialogue and, except for test, summary.
        tokenizer: the model's tokenizer.
        lengths: section tokenizer of params.yaml: max_input_length and max_target_length.

    Returns:
        Columns fname, input_ids, length (of input_ids) and labels where there are summaries. Columns that begin with an
        underscore hold lengths before cutting, whether a row was cut, and unknown tokens.

    Raises:
        YoyakError: naming the row, if a summary has no token.
    """
    columns: Columns = {"fname": batch["fname"]}
    kinds = (
        ("dialogue", "input_ids", encode_sources, lengths.max_input_length),
        ("summary", "labels", encode_targets, lengths.max_target_length),
    )
    for kind, name, encode, limit in kinds:
        if kind in batch:
            whole = encode(tokenizer, batch[kind], NO_LIMIT)
            columns[name] = [_cut(tokenizer, ids, limit) for ids in whole]
            columns[f"_{kind}_tokens"] = [len(ids) for ids in whole]
            columns[f"_{kind}_truncated"] = [len(ids) > limit for ids in whole]
            columns[f"_{kind}_unknown_tokens"] = [count_unknown(tokenizer, ids) for ids in whole]
    columns["length"] = [len(ids) for ids in columns["input_ids"]]
    if "labels" in columns:
        require_targets(columns["fname"], columns["labels"])
    return columns

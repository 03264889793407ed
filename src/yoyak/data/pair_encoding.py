"""Rows as token ids for encoder-decoders: the dialogue is the source, the summary is the target."""

from collections.abc import Sequence
from dataclasses import replace

from transformers import PreTrainedTokenizerBase

from yoyak.config.sections import Tokenizer
from yoyak.data.encoding_checks import Columns, neutralize, require_targets, text_columns
from yoyak.data.truncation import EncodedDialogue, Truncation, count_turns, cut_columns, cut_summary_columns, shorten

NO_LIMIT = 10**9


def encode_dialogues(
    tokenizer: PreTrainedTokenizerBase, dialogues: Sequence[str], max_length: int, truncation: Truncation
) -> list[EncodedDialogue]:
    """Token ids of each dialogue, at most `max_length` with the final EOS. Longer ones lose turns (`truncation.shorten`)."""

    def encode(dialogue: str) -> list[int]:
        return _end(tokenizer, tokenizer(dialogue).input_ids)

    rows = []
    dialogues = [neutralize(tokenizer, dialogue) for dialogue in dialogues]
    for dialogue, tokens in zip(dialogues, tokenizer(dialogues).input_ids, strict=True):
        ids = _end(tokenizer, tokens)
        row = EncodedDialogue(ids, len(ids), count_turns(dialogue))
        if len(ids) > max_length:
            row = shorten(dialogue, encode=encode, tokens=len(ids), max_length=max_length, truncation=truncation)
            if len(row.ids) > max_length:  # not even a speaker fits
                row = replace(row, ids=[*row.ids[: max_length - 1], row.ids[-1]])
        rows.append(row)
    return rows


def encode_sources(
    tokenizer: PreTrainedTokenizerBase, dialogues: Sequence[str], max_length: int, truncation: Truncation = "middle"
) -> list[list[int]]:
    """The token ids alone of `encode_dialogues`."""
    return [row.ids for row in encode_dialogues(tokenizer, dialogues, max_length, truncation)]


def encode_targets(tokenizer: PreTrainedTokenizerBase, summaries: Sequence[str], max_length: int) -> list[list[int]]:
    """Token ids of each summary, at most `max_length` with the final EOS, which also ends summaries that are cut."""
    texts = [neutralize(tokenizer, summary) for summary in summaries]
    whole = (_end(tokenizer, ids) for ids in tokenizer(text_target=texts).input_ids)
    return [_cut(ids, max_length) for ids in whole]


def _end(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> list[int]:
    """End a row with EOS. T5's tokenizer adds EOS, KoBART's does not. Without EOS in its labels, a model never learns to
    stop."""
    return ids if ids and ids[-1] == tokenizer.eos_token_id else [*ids, tokenizer.eos_token_id]


def _cut(ids: list[int], max_length: int) -> list[int]:
    """Cut a row, and keep the EOS at its end."""
    return ids if len(ids) <= max_length else [*ids[: max_length - 1], ids[-1]]


def encode_pairs(batch: Columns, tokenizer: PreTrainedTokenizerBase, lengths: Tokenizer) -> Columns:
    """Encode a batch of rows.

    Args:
        batch: columns fname, dialogue and, except for test, summary.
        tokenizer: the model's tokenizer.
        lengths: section tokenizer of params.yaml: max_input_length, max_target_length and truncation.

    Returns:
        Columns fname, input_ids, length (of input_ids) and labels where there are summaries. Columns that begin with an
        underscore hold lengths before cutting, what was left out, and unknown tokens.

    Raises:
        YoyakError: naming the row, if a summary has no token.
    """
    columns: Columns = {"fname": batch["fname"]}
    dialogues = encode_dialogues(tokenizer, batch["dialogue"], lengths.max_input_length, lengths.truncation)
    columns["input_ids"] = [row.ids for row in dialogues]
    columns |= cut_columns("dialogue", dialogues)
    columns |= text_columns("dialogue", tokenizer, batch["dialogue"], columns["input_ids"])
    if "summary" in batch:
        limit = lengths.max_target_length
        whole = encode_targets(tokenizer, batch["summary"], NO_LIMIT)
        columns["labels"] = [_cut(ids, limit) for ids in whole]
        columns |= cut_summary_columns([len(ids) for ids in whole], limit)
        columns |= text_columns("summary", tokenizer, batch["summary"], whole, is_target=True)
    columns["length"] = [len(ids) for ids in columns["input_ids"]]
    if "labels" in columns:
        require_targets(columns["fname"], columns["labels"])
    return columns

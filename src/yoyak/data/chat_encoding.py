"""Rows as token ids for decoder-only models: the prompt and the summary in one row, the prompt masked in the labels."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from transformers import PreTrainedTokenizerBase

from yoyak.config.generation_section import INSTRUCTIONS
from yoyak.data.encoding_checks import Columns, neutralize, require_targets, text_columns
from yoyak.data.truncation import cut_columns, cut_summary_columns

if TYPE_CHECKING:
    from yoyak.data.prompts import PromptBuilder


def encode_answers(
    tokenizer: PreTrainedTokenizerBase, summaries: Sequence[str], max_length: int
) -> tuple[list[list[int]], list[int]]:
    """Token ids of each summary, at most `max_length` with the final EOS; and how many tokens it had before cutting."""
    texts = [neutralize(tokenizer, summary) for summary in summaries]
    ids = tokenizer(texts, add_special_tokens=False).input_ids
    return [[*row[: max_length - 1], tokenizer.eos_token_id] for row in ids], [len(row) + 1 for row in ids]


def encode_chats(batch: Columns, prompt_builder: "PromptBuilder", max_target_length: int) -> Columns:
    """Encode a batch of rows.

    Args:
        batch: columns fname, dialogue, topic and, except for test, summary. Added rows of train may have the column
            instruction: an index into INSTRUCTIONS, as text.
        prompt_builder: makes the prompts.
        max_target_length: tokens of a summary with its EOS.

    Returns:
        Columns fname, input_ids, length (of input_ids) and, where there are summaries, labels. Without summaries, input_ids
        is the prompt alone. Labels are as long as input_ids and have -100 for the prompt. Columns that begin with an
        underscore hold lengths before shortening, what was left out, and unknown tokens.

    Raises:
        YoyakError: naming the row, if a summary has no token.
    """
    tokenizer = prompt_builder.tokenizer
    rows = [dict(zip(batch, cells, strict=True)) for cells in zip(*batch.values(), strict=True)]
    columns: Columns = {"fname": batch["fname"]}
    instructions = [INSTRUCTIONS[int(index)] if int(index) else None for index in batch.get("instruction", [])]
    prompts = prompt_builder.encode(rows, instructions=instructions or None)
    columns |= cut_columns("prompt", prompts)
    if prompt_builder.chooser is not None:
        columns["_prompt_examples"] = [prompt.examples for prompt in prompts]
        columns["_prompt_examples_left_out"] = [prompt.examples_left_out for prompt in prompts]
    columns["input_ids"] = [prompt.ids for prompt in prompts]
    texts = [f"{row['dialogue']}\n{row.get('topic') or ''}" for row in rows]
    columns |= text_columns("prompt", tokenizer, texts, columns["input_ids"])
    if "summary" in batch:
        targets, tokens = encode_answers(tokenizer, batch["summary"], max_target_length)
        require_targets(batch["fname"], targets)
        columns |= cut_summary_columns(tokens, max_target_length)
        columns |= text_columns("summary", tokenizer, batch["summary"], targets, is_target=True)
        columns["labels"] = [[-100] * len(prompt.ids) + ids for prompt, ids in zip(prompts, targets, strict=True)]
        columns["input_ids"] = [prompt.ids + ids for prompt, ids in zip(prompts, targets, strict=True)]
    columns["length"] = [len(ids) for ids in columns["input_ids"]]
    return columns

"""What the limits of params leave out of dialogues and summaries, as sentences, with the value that would keep all."""

from collections.abc import Mapping
from typing import Any

from yoyak.config.sections import Tokenizer
from yoyak.data.truncation import describe_cut_summaries, describe_cuts
from yoyak.models.checkpoints import largest_length


def describe_lengths(
    counts: Mapping[str, Any],
    *,
    lengths: Tokenizer,
    limits: Mapping[str, int],
    positions: int | None,
    for_training: bool = False,
) -> list[str]:
    """Describe the texts of one split that are too long.

    Args:
        counts: of a split in metrics/tokenize.json (`column_counts.count_tokens`).
        lengths: section tokenizer of params.yaml.
        limits: of `Family.token_limits`.
        positions: of the model (`checkpoints.check_token_limits`).
        for_training: the split is train.

    Returns:
        A sentence on dialogues and one on summaries, each only if some are too long.
    """
    longest_input, longest_target = (
        largest_length(name, getattr(lengths, name), limits, positions) for name in ("max_input_length", "max_target_length")
    )
    rows, found = counts["rows"], []
    if texts := counts.get("dialogue", counts.get("prompt")):
        length, truncation = lengths.max_input_length, lengths.truncation
        found.append(
            describe_cuts(
                texts,
                rows=rows,
                truncation=truncation,
                max_length=length,
                largest=longest_input,
                for_training=for_training,
            )
        )
    if summaries := counts.get("summary"):
        length = lengths.max_target_length
        found.append(describe_cut_summaries(summaries, rows=rows, max_length=length, largest=longest_target))
    return [sentence for sentence in found if sentence]

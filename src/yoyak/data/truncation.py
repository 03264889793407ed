"""Dialogues that are too long for a model: whole turns are left out until they fit, and what was left out is counted.

Every family uses this, for training and for prediction.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Truncation = Literal["middle", "start", "end"]
_FROM = {"middle": "from the middle", "start": "from the start", "end": "from the end"}


@dataclass(frozen=True)
class EncodedDialogue:
    """What a model reads for a dialogue as token ids, and what was left out so that it fits."""

    ids: list[int]
    tokens: int  # before anything was left out
    turns: int  # of the whole dialogue
    turns_left_out: int = 0
    turn_cut: bool = False  # one turn alone is too long, so a part of its utterance was left out
    examples: int = 0  # in the prompt
    examples_left_out: int = 0  # because the prompt would be too long with them

    @property
    def is_shortened(self) -> bool:
        return self.turns_left_out > 0 or self.turn_cut or len(self.ids) < self.tokens


def count_turns(dialogue: str) -> int:
    return dialogue.count("\n") + 1


def shorten(
    dialogue: str, *, encode: Callable[[str], list[int]], tokens: int, max_length: int, truncation: Truncation
) -> EncodedDialogue:
    """Leave out whole turns of a dialogue that is too long, until it fits.

    As many turns as possible stay. If the next one would not fit even alone, a part of its utterance fills the room that is
    left: its end, or its beginning if the end of the dialogue is what is left out.

    Args:
        dialogue: one turn on each line.
        encode: the token ids of what the model reads for a dialogue.
        tokens: `len(encode(dialogue))`.
        max_length: the number of tokens that fit.
        truncation: where turns are left out. With `middle` and `start` the last turn always stays, with `end` the first.

    Returns:
        The shortened dialogue. It is longer than `max_length` only if not even a speaker without an utterance fits.
    """
    turns = dialogue.split("\n")
    order = _order_of_keeping(len(turns), truncation)

    def with_turns(count: int, further: str | None = None) -> list[int]:
        texts = {index: turns[index] for index in order[:count]}
        if further is not None:
            texts[order[count]] = further
        return encode("\n".join(texts[index] for index in sorted(texts)))

    # A turn has at least one token, so more turns than tokens never fit.
    kept, best = _largest(0, min(len(turns), max_length + 1), with_turns, max_length)
    speaker, _, utterance = turns[order[kept]].partition(": ")
    if kept and len(encode(turns[order[kept]])) <= max_length:
        return EncodedDialogue(best, tokens, len(turns), turns_left_out=len(turns) - kept)

    def with_part(characters: int) -> list[int]:
        part = utterance[:characters] if truncation == "end" else utterance[len(utterance) - characters :]
        return with_turns(kept, f"{speaker}: {part}")

    characters, ids = _largest(0, len(utterance), with_part, max_length)
    if kept and not characters:  # no room for any part of it
        return EncodedDialogue(best, tokens, len(turns), turns_left_out=len(turns) - kept)
    return EncodedDialogue(ids, tokens, len(turns), turns_left_out=len(turns) - kept - 1, turn_cut=True)


def _order_of_keeping(turns: int, truncation: Truncation) -> list[int]:
    """The order in which turns are kept as long as they fit."""
    forwards, backwards = list(range(turns)), list(reversed(range(turns)))
    if truncation == "middle":  # from both ends to the middle, the last turn first
        return [index for pair in zip(backwards, forwards, strict=True) for index in pair][:turns]
    return forwards if truncation == "end" else backwards


def _largest(fits: int, too_many: int, encode: Callable[[int], list[int]], max_length: int) -> tuple[int, list[int]]:
    """The largest number from `fits` on, below `too_many`, whose ids fit, and these ids. `fits` is taken without a check."""
    best: list[int] | None = None
    while too_many - fits > 1:  # binary search
        middle = (fits + too_many) // 2
        ids = encode(middle)
        if len(ids) <= max_length:
            fits, best = middle, ids
        else:
            too_many = middle
    return fits, encode(fits) if best is None else best


def cut_columns(kind: str, encoded: Sequence[EncodedDialogue]) -> dict[str, list[Any]]:
    """Columns for metrics/tokenize.json (`tokenized_data.encode_files`): what was left out of each row."""
    return {
        f"_{kind}_tokens": [row.tokens for row in encoded],
        f"_{kind}_truncated": [row.is_shortened for row in encoded],
        f"_{kind}_tokens_left_out": [max(0, row.tokens - len(row.ids)) for row in encoded],
        f"_{kind}_turns": [row.turns for row in encoded],
        f"_{kind}_turns_left_out": [row.turns_left_out for row in encoded],
        f"_{kind}_turns_cut": [row.turn_cut for row in encoded],
    }


def cut_summary_columns(tokens: Sequence[int], max_length: int) -> dict[str, list[Any]]:
    """As `cut_columns`, for summaries, which lose their end. `tokens` are those of each whole summary with its EOS."""
    return {
        "_summary_tokens": list(tokens),
        "_summary_truncated": [count > max_length for count in tokens],
        "_summary_tokens_left_out": [max(0, count - max_length) for count in tokens],
    }


def count_cuts(encoded: Sequence[Any], truncation: Truncation) -> dict[str, Any]:
    """What was left out of all dialogues together.

    Args:
        encoded: what a family gives for each row (`Family.encode`). Items that are no EncodedDialogue are whole.
        truncation: tokenizer.truncation.

    Returns:
        Numbers of dialogues, turns and tokens, of those left out, and their shares; the longest dialogue in tokens.
    """
    rows = [row for row in encoded if isinstance(row, EncodedDialogue)]
    columns = cut_columns("", rows)
    examples, left_out = sum(row.examples for row in rows), sum(row.examples_left_out for row in rows)
    sums = {name.removeprefix("__"): sum(cells) for name, cells in columns.items()}
    return {
        "truncation": truncation,
        "dialogues": len(encoded),
        "truncated": sums["truncated"],
        "truncated_share": share(sums["truncated"], len(encoded)),
        **{name: sums[name] for name in ("turns", "turns_left_out", "turns_cut", "tokens", "tokens_left_out")},
        "tokens_left_out_share": share(sums["tokens_left_out"], sums["tokens"]),
        "tokens_max": max((row.tokens for row in rows), default=0),
        **({"examples": examples, "examples_left_out": left_out} if examples or left_out else {}),
    }


def share(part: int, whole: int) -> float:
    return round(part / whole, 6) if whole else 0.0


def describe_cuts(
    counts: Mapping[str, Any],
    *,
    rows: int,
    truncation: Truncation,
    max_length: int,
    largest: int | None,
    for_training: bool = False,
) -> str | None:
    """One sentence on dialogues that were shortened, or None if all of them fit.

    Args:
        counts: of `count_cuts`, or of a split in metrics/tokenize.json.
        rows: the number of dialogues.
        truncation: tokenizer.truncation.
        max_length: tokenizer.max_input_length.
        largest: the largest max_input_length that the model's positions allow. None means any.
        for_training: the dialogues are those of train, which are never read in windows.
    """
    if not counts["truncated"]:
        return None
    cut = f"; turns cut because they do not fit even alone: {counts['turns_cut']:,}" if counts["turns_cut"] else ""
    return (
        f"{counts['truncated']:,} of {rows:,} dialogues ({counts['truncated'] / rows:.1%}) are longer than "
        f"tokenizer.max_input_length ({max_length:,} tokens): {counts['turns_left_out']:,} of {counts['turns']:,} turns are "
        f"left out {_FROM[truncation]}{cut}; in all {counts['tokens_left_out']:,} of {counts['tokens']:,} tokens "
        f"({counts['tokens_left_out'] / counts['tokens']:.1%}). {_what_keeps_all(counts['tokens_max'], largest)}"
        + ("" if for_training else "; or generation.long_dialogues: windows reads them whole")
    )


def describe_cut_summaries(counts: Mapping[str, Any], *, rows: int, max_length: int, largest: int | None) -> str | None:
    """The same as `describe_cuts` for summaries, which lose their end at tokenizer.max_target_length."""
    if not counts["truncated"]:
        return None
    return (
        f"{counts['truncated']:,} of {rows:,} summaries ({counts['truncated'] / rows:.1%}) are longer than "
        f"tokenizer.max_target_length ({max_length:,} tokens) and lose their end: {counts['tokens_left_out']:,} of "
        f"{counts['tokens']:,} tokens ({counts['tokens_left_out'] / counts['tokens']:.1%}). "
        f"{_what_keeps_all(counts['tokens_max'], largest)}"
    )


def _what_keeps_all(tokens: int, largest: int | None) -> str:
    if largest is None or tokens <= largest:
        limit = "" if largest is None else f"; the model allows up to {largest:,}"
        return f"{tokens:,} would keep all{limit}"
    return f"{tokens:,} would keep all, but the model allows only {largest:,}"

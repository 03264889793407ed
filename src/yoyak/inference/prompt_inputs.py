"""What a model reads for a dialogue with several instructions (`generation.consensus.source: prompts`).

Source: Heineman, Dou and Xu 2024, arXiv:2407.15343: minimum Bayes risk decoding with the candidates of several prompts.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from yoyak.config.generation_section import Consensus
from yoyak.data.truncation import EncodedDialogue


@dataclass(frozen=True)
class PromptInputs:
    """What a model reads for one dialogue: an input for each instruction. The length is that of the longest."""

    inputs: tuple[Any, ...]

    def __len__(self) -> int:
        return max(map(len, self.inputs))


def input_of(item: Any, number: int) -> Any:
    """What the model reads for a candidate, counted from 0. All candidates read the same unless there are PromptInputs."""
    return item.inputs[number % len(item.inputs)] if isinstance(item, PromptInputs) else item


def encode_each(consensus: Consensus, encode: Callable[[str | None], Sequence[EncodedDialogue]]) -> list[EncodedDialogue]:
    """The encoded dialogues with PromptInputs as `ids`. What was left out is that of the longest prompt.

    Args:
        consensus: generation.consensus.
        encode: encodes the dialogues with an instruction (`Family.encode_asking`).
    """
    different = dict.fromkeys(consensus.instruction_of(number) for number in range(consensus.candidates))
    merged = []
    for variants in zip(*map(encode, different), strict=True):
        longest = max(variants, key=lambda one: (one.is_shortened, one.tokens))
        inputs: Any = PromptInputs(tuple(one.ids for one in variants))
        merged.append(replace(longest, ids=inputs))
    return merged

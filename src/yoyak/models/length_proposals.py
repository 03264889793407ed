"""Values for tokenizer.max_input_length and tokenizer.max_target_length, from the lengths of the data and the model's limit."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from yoyak.config.sections import Tokenizer
from yoyak.data.exploration.lengths import above, percentile
from yoyak.models.checkpoints import largest_length

ENOUGH = 99.0  # percent of the texts that a proposed length keeps whole; the longest one percent would cost most of the memory
STEP = 8  # lengths that are a multiple of 8 are faster on a GPU
SHOWN = (95.0, 99.0, 100.0)  # percentiles
# What metrics/tokenize.json calls the texts, the param that limits them, and their name in messages.
TEXTS = {
    "dialogue": ("max_input_length", "dialogues"),
    "prompt": ("max_input_length", "prompts"),
    "summary": ("max_target_length", "summaries"),
}


def proposed_length(needed: float, largest: int | None) -> int:
    """`needed` rounded up to a multiple of STEP, but not more than the model allows."""
    rounded = math.ceil(needed / STEP) * STEP
    return rounded if largest is None else min(rounded, largest)


@dataclass(frozen=True)
class LengthProposal:
    """What one of the two lengths cuts, and what it should be.

    Attributes:
        param: max_input_length or max_target_length.
        value: its present value.
        texts: what it cuts: "dialogues", "prompts" or "summaries".
        rows, cut: all rows, and those that are longer than `value`.
        percentiles: for each of SHOWN, the tokens that so many percent of the rows need.
        largest: the largest value that the model's positions allow, or None if any is possible.
    """

    param: str
    value: int
    texts: str
    rows: int
    cut: int
    percentiles: dict[float, int]
    largest: int | None

    @classmethod
    def from_lengths(cls, param: str, value: int, texts: str, lengths: Iterable[int], largest: int | None) -> "LengthProposal":
        """The proposal for texts with these lengths in tokens, as they are before cutting."""
        counts: Counter[float] = Counter(int(length) for length in lengths)
        found = {share: int(percentile(counts, share)) for share in SHOWN}
        return cls(param, value, texts, counts.total(), above(counts, value), found, largest)

    @property
    def proposal(self) -> int | None:
        """The value to set, or None if the present one keeps ENOUGH percent whole, or no larger one is possible."""
        proposed = proposed_length(self.percentiles[ENOUGH], self.largest)
        return proposed if self.percentiles[ENOUGH] > self.value and proposed > self.value else None

    @property
    def change(self) -> str:
        """What to write behind `dvc exp run`, such as "-S tokenizer.max_input_length=640", or an empty text."""
        return "" if self.proposal is None else f"-S tokenizer.{self.param}={self.proposal}"

    def __str__(self) -> str:
        needs = ", ".join(
            f"{'all' if share == 100 else f'{share:g} %'} need {tokens:,}" for share, tokens in self.percentiles.items()
        )
        limit = "" if self.largest is None else f"; the model allows up to {self.largest:,}"
        share = f" ({self.cut / self.rows:.1%})" if self.cut else ""
        cut = f"{self.cut:,}" if self.cut else "none"
        return f"tokenizer.{self.param} {self.value:,} cuts {cut} of {self.rows:,} {self.texts}{share}; {needs}{limit}"


def propose_lengths(
    lengths: Mapping[str, Sequence[int]], settings: Tokenizer, limits: Mapping[str, int], positions: int | None
) -> list[LengthProposal]:
    """A proposal for each kind of text that there is.

    Args:
        lengths: for each kind of TEXTS the lengths in tokens before cutting.
        settings: section tokenizer of params.yaml.
        limits: of `Family.token_limits`.
        positions: of the model (`checkpoints.check_token_limits`).
    """
    proposals = []
    for kind, (param, texts) in TEXTS.items():
        if lengths.get(kind):
            value = getattr(settings, param)
            largest = largest_length(param, value, limits, positions)
            proposals.append(LengthProposal.from_lengths(param, value, texts, lengths[kind], largest))
    return proposals


def describe_proposals(proposals: Iterable[LengthProposal], *, max_new_tokens: int) -> list[str]:
    """A sentence for each length, and the command that sets better values, if there are any.

    Args:
        proposals: one for each length.
        max_new_tokens: generation.max_new_tokens. It limits what the model writes, so it must not be below the longest target.
    """
    proposals = list(proposals)
    lines, changes = [str(each) for each in proposals], [each.change for each in proposals if each.change]
    targets = [each.proposal for each in proposals if each.param == "max_target_length" and each.proposal is not None]
    if targets and targets[0] > max_new_tokens:
        changes.append(f"-S generation.max_new_tokens={targets[0]}")
    if changes:
        lines.append(f"to cut at most {100 - ENOUGH:g} %, or as little as the model allows: dvc exp run {' '.join(changes)}")
    return lines


def tokenize_advice(
    report: Mapping[str, Mapping[str, Any]], settings: Tokenizer, limits: Mapping[str, int], positions: int | None
) -> list[str]:
    """A command for each length that cuts more than 100 - ENOUGH percent, from the content of metrics/tokenize.json.

    The file has the 95th percentile and the longest text of each split. The longest of all splits counts.
    """
    lines = []
    for kind, (param, texts) in TEXTS.items():
        splits = [counts for counts in report.values() if kind in counts]
        rows, cut = sum(each["rows"] for each in splits), sum(each[kind]["truncated"] for each in splits)
        value = getattr(settings, param)
        if cut <= rows * (100 - ENOUGH) / 100:
            continue
        largest = largest_length(param, value, limits, positions)
        most, longest = (max(each[kind][name] for each in splits) for name in ("tokens_p95", "tokens_max"))
        proposal = proposed_length(longest, largest)
        if proposal <= value:
            lines.append(f"tokenizer.{param} {value:,} is all that the model allows, and cuts {cut:,} of {rows:,} {texts}")
            continue
        rest = "" if largest is None or longest <= largest else f" (the model allows no more; {longest:,} would keep all)"
        lines.append(
            f"tokenizer.{param} {value:,} cuts {cut:,} of {rows:,} {texts} ({cut / rows:.1%}); 95 % need at most {most:,} "
            f"tokens. To keep more: dvc exp run -S tokenizer.{param}={proposal}{rest}"
        )
    return lines

"""How much of a summary is copied from its dialogue: coverage, density, compression, and novel n-grams. Tokens are morphemes.

Sources: Grusky, Naaman and Artzi, "Newsroom", NAACL 2018, section 4; for novel n-grams Narayan, Cohen and Lapata, EMNLP 2018.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True)
class Extractiveness:
    """Measures of one summary.

    Attributes:
        coverage: share of the summary's tokens that belong to a fragment of the dialogue, from 0 to 1.
        density: mean length of the fragment that a token of the summary belongs to (the sum of squared lengths through the
            number of tokens), from 0 to the length of the summary.
        compression: tokens of the dialogue for each token of the summary.
    """

    coverage: float
    density: float
    compression: float


class Fragment(NamedTuple):
    """A sequence of tokens that a summary shares with its dialogue: where it starts in each, and its number of tokens."""

    start: int
    place: int
    length: int


def shared_fragments(summary: Sequence[str], dialogue: Sequence[str]) -> list[Fragment]:
    """The fragments that a summary shares with its dialogue, in the order of the summary.

    This is the greedy algorithm of figure 3 of the paper: at each token of the summary, the longest sequence that the dialogue
    has too. As there, the search goes on behind a sequence that matched, and not inside it.
    """
    places: dict[str, list[int]] = {}
    for place, token in enumerate(dialogue):
        places.setdefault(token, []).append(place)
    found, start = [], 0
    while start < len(summary):
        longest, at, resume = 0, 0, 0
        for place in places.get(summary[start], ()):
            if place < resume:
                continue
            length = _common_length(summary, start, dialogue, place)
            if length > longest:
                longest, at = length, place
            resume = place + length
        if longest:
            found.append(Fragment(start, at, longest))
        start += max(longest, 1)
    return found


def fragments(summary: Sequence[str], dialogue: Sequence[str]) -> list[int]:
    """The lengths of the fragments that `shared_fragments` finds."""
    return [each.length for each in shared_fragments(summary, dialogue)]


def _common_length(summary: Sequence[str], start: int, dialogue: Sequence[str], place: int) -> int:
    length = 0
    while (
        start + length < len(summary) and place + length < len(dialogue) and summary[start + length] == dialogue[place + length]
    ):
        length += 1
    return length


def extractiveness(summary: Sequence[str], dialogue: Sequence[str]) -> Extractiveness | None:
    """The measures of a summary; None for a summary without tokens."""
    if not summary:
        return None
    lengths = fragments(summary, dialogue)
    return Extractiveness(
        sum(lengths) / len(summary), sum(length**2 for length in lengths) / len(summary), len(dialogue) / len(summary)
    )


def novel_ngrams(summary: Sequence[str], dialogue: Sequence[str], n: int) -> float | None:
    """The share of the different n-grams of a summary that its dialogue does not have; None if the summary has none."""
    stated = {tuple(summary[start : start + n]) for start in range(len(summary) - n + 1)}
    if not stated:
        return None
    source = {tuple(dialogue[start : start + n]) for start in range(len(dialogue) - n + 1)}
    return len(stated - source) / len(stated)

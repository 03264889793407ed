"""A dialogue that is longer than a model reads, as overlapping windows of whole turns that together are the whole dialogue."""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate


@dataclass(frozen=True)
class Window:
    """A part of a dialogue.

    Attributes:
        text: its turns, one on each line.
        first: the index of its first turn, overlap included.
        end: the index after its last turn.
    """

    text: str
    first: int
    end: int


def split_long_turns(dialogue: str, *, fits: Callable[[str], bool]) -> list[str]:
    """The turns of a dialogue. A turn that does not fit alone becomes several turns of the same speaker.

    It is cut at a space where there is one. A turn whose first character alone does not fit stays as it is.

    Args:
        dialogue: one turn on each line.
        fits: whether the model reads a text whole.
    """
    turns = []
    for turn in dialogue.split("\n"):
        speaker, separator, utterance = turn.partition(": ")
        while separator and len(utterance) > 1 and not fits(f"{speaker}: {utterance}"):
            length = _longest_part(utterance, partial(_fits_as_turn, speaker, fits))
            if not length:
                break
            space = utterance.rfind(" ", 1, length + 1)
            length = space if space > 0 else length
            turns.append(f"{speaker}: {utterance[:length].rstrip()}")
            utterance = utterance[length:].lstrip()
        turns.append(f"{speaker}{separator}{utterance}")
    return turns


def _fits_as_turn(speaker: str, fits: Callable[[str], bool], utterance: str) -> bool:
    return fits(f"{speaker}: {utterance}")


def _longest_part(utterance: str, fits: Callable[[str], bool]) -> int:
    """The number of characters of the longest beginning that fits, but not all of them; 0 if not even one fits."""
    low, high = 0, len(utterance)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(utterance[:middle]) else (low, middle)
    return low


def split_into_windows(turns: Sequence[str], *, fits: Callable[[str], bool], overlap: int, least: int) -> list[Window]:
    """Windows of similar length, as few as possible. Each repeats the last turns of the window before it.

    The overlap is smaller where up to twice as many windows as needed have no room for it.

    Args:
        turns: of a dialogue that does not fit, each of which fits alone (`split_long_turns`).
        fits: whether the model reads a text whole.
        overlap: the number of turns that two neighbouring windows share.
        least: no smaller number of windows can fit.
    """
    least = max(2, least)
    for shared in range(overlap, -1, -1):
        for count in range(least, min(len(turns), 2 * least if shared else len(turns)) + 1):
            windows = _windows(turns, count, shared)
            if all(fits(window.text) for window in windows):
                return windows
    return _windows(turns, len(turns), 0)  # a turn of it does not fit alone


def _windows(turns: Sequence[str], count: int, overlap: int) -> list[Window]:
    """Cut where the share of the characters so far is nearest to 1/count, 2/count and so on."""
    lengths = list(accumulate(map(len, turns), initial=0))
    ends: list[int] = []
    for number in range(1, count):
        wanted = lengths[-1] * number / count
        after = bisect_left(lengths, wanted)
        nearest = after - (wanted - lengths[after - 1] < lengths[after] - wanted)
        ends.append(min(max(nearest, (ends[-1] if ends else 0) + 1), len(turns) - count + number))
    starts = [0, *(max(0, end - overlap) for end in ends)]
    return [Window("\n".join(turns[first:end]), first, end) for first, end in zip(starts, [*ends, len(turns)], strict=True)]

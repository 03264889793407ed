"""What the second pass reads for a long dialogue, made of the summaries of its windows (`generation.window_merge`)."""

import re
from collections.abc import Callable, Sequence

from yoyak.data.dialogue import without_tags
from yoyak.data.windows import Window
from yoyak.evaluation.morphemes import Morphemes

# Parts of speech that carry content: nouns, verbs and adjectives, roots, foreign words, numbers, general adverbs.
_CONTENT = ("NN", "NR", "VV", "VA", "XR", "SL", "SN", "MAG")
_SENTENCE = re.compile(r"(?<=[.!?…])\s+")


def relevant_turns(
    turns: Sequence[str],
    windows: Sequence[Window],
    summaries: Sequence[str],
    *,
    morphemes: Morphemes,
    fits: Callable[[str], bool],
) -> str:
    """The turns that the summaries of the windows speak of, in the order of the dialogue: as many as the model reads.

    The windows choose in turn, so that each part of the dialogue is heard. A window chooses the turn with the most content
    morphemes of its summary that its earlier choices do not have. This is the extract-then-summarize of Zhang et al. 2021
    (arXiv:2109.04609), with the window summaries as queries: the model reads a dialogue with speaker tags, as in training.

    Args:
        turns: of the whole dialogue.
        windows: of the dialogue.
        summaries: of each window.
        morphemes: splits texts.
        fits: whether the model reads a text whole.
    """
    words = [_content(turn.partition(": ")[2], morphemes) for turn in turns]
    order = _order_of_choice(words, windows, [_content(without_tags(text), morphemes) for text in summaries])
    low, high = 0, len(turns)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(_in_order(turns, order[:middle])) else (low, middle)
    return _in_order(turns, order[: max(1, low)])


def _in_order(turns: Sequence[str], chosen: Sequence[int]) -> str:
    return "\n".join(turns[index] for index in sorted(chosen))


def _content(text: str, morphemes: Morphemes) -> frozenset[str]:
    return frozenset(surface for surface, tag in morphemes.with_tags(text) if tag.startswith(_CONTENT))


def _order_of_choice(words: Sequence[frozenset[str]], windows: Sequence[Window], wanted: Sequence[frozenset[str]]) -> list[int]:
    """All turns, the first chosen first. Of equal turns, a window chooses its first."""
    order: dict[int, None] = {}  # an ordered set
    missing = list(wanted)
    while len(order) < len(words):
        for number, window in enumerate(windows):
            left = [index for index in range(window.first, window.end) if index not in order]
            if not left:
                continue
            if not any(missing[number] & words[index] for index in left):
                missing[number] = wanted[number]  # all that can be found is found: choose by all of it again
            best = max(left, key=lambda index: len(missing[number] & words[index]))
            order[best] = None
            missing[number] = missing[number] - words[best]
    return list(order)


def as_dialogue(summaries: Sequence[str], speaker: re.Pattern[str], other: str) -> str:
    """The sentences of the summaries as turns: each is said by the speaker whom it names first.

    Args:
        summaries: of the windows.
        speaker: finds the tag of a speaker as the model writes it.
        other: the tag for sentences before the first one that names a speaker.
    """
    turns = []
    for sentence in sentences(summaries):
        named = speaker.search(sentence)
        other = named[0] if named else other
        turns.append(f"{other}: {sentence}")
    return "\n".join(turns)


def sentences(summaries: Sequence[str]) -> list[str]:
    """The sentences of all summaries in order, each once: windows overlap, so that two summaries may say the same."""
    return list(dict.fromkeys(part for text in summaries for part in _SENTENCE.split(text.strip()) if part))

"""Places in a text that a page marks: copied from the dialogue, not stated in the dialogue, different from another text.

Places count characters of the composed text (NFC). `shown_text` turns them into what a browser needs.
"""

import unicodedata
from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher
from typing import NamedTuple

from yoyak.data.dialogue import TAG
from yoyak.evaluation.extractiveness import shared_fragments
from yoyak.evaluation.facts import FactFinder, Number, fold
from yoyak.evaluation.morphemes import Morphemes
from yoyak.evaluation.unsupported_facts import unsupported_facts
from yoyak.reports.page.markup import UNSEEN, visible

COPIED, NAME, NUMBER, UNKNOWN_TAG, DIFFERENT = range(5)  # kinds of marks, as rows.js knows them
MIN_COPIED = 3  # morphemes in a row; shorter sequences, such as an ending with its full stop, are in every dialogue
MAX_NUMBER_WORDS = 4  # "3만 5천 원 정도"


class Mark(NamedTuple):
    """A place in a text: first character, character behind the last, kind."""

    start: int
    end: int
    kind: int


class Token(NamedTuple):
    """A morpheme or a whole tag, and where it stands."""

    text: str
    start: int
    end: int
    is_tag: bool


class Unsupported(NamedTuple):
    """A fact of a summary that its dialogue does not state: what it says, its kind, and where it stands (None: not found)."""

    text: str
    kind: int
    place: Mark | None


def tokens_of(text: str, morphemes: Morphemes) -> list[Token]:
    """The morphemes of a composed text with their places. A tag is one token."""
    tags = [match.span() for match in TAG.finditer(text)]
    tokens: list[Token] = []
    position, tag = 0, 0
    for surface in morphemes.tokenize(text):
        start = text.find(surface, position)
        if start < 0:
            continue
        position = start + len(surface)
        while tag < len(tags) and tags[tag][1] <= start:
            tag += 1
        if tag < len(tags) and tags[tag][0] <= start:
            if not (tokens and tokens[-1].start == tags[tag][0]):
                tokens.append(Token(text[slice(*tags[tag])], *tags[tag], True))
        else:
            tokens.append(Token(surface, start, position, False))
    return tokens


def copied_marks(summary: Sequence[Token], dialogue: Sequence[Token]) -> tuple[list[Mark], list[Mark]]:
    """Where the summary has MIN_COPIED or more morphemes in a row that the dialogue has too, in both texts.

    Tags are no part of a copy, because every summary has the tags of its dialogue.
    """
    words = [["\0summary" if each.is_tag else each.text for each in summary]]
    words.append(["\0dialogue" if each.is_tag else each.text for each in dialogue])
    here, there = [], []
    for start, place, length in shared_fragments(*words):
        kept = [at for at in range(length) if summary[start + at].text[0].isalnum()]
        if kept and kept[-1] - kept[0] + 1 >= MIN_COPIED:
            first, last = kept[0], kept[-1]
            here.append(Mark(summary[start + first].start, summary[start + last].end, COPIED))
            there.append(Mark(dialogue[place + first].start, dialogue[place + last].end, COPIED))
    return here, sorted(set(there))


def find_unsupported(summary: str, dialogue: str, finder: FactFinder) -> list[Unsupported]:
    """Names, numbers and tags of the summary that the dialogue lacks, as the metric facts counts them, in a stable order."""
    facts = unsupported_facts(summary, dialogue, finder)
    found = [Unsupported(*_name_place(name, summary)) for name in sorted(facts.names)]
    for number in sorted(facts.numbers, key=lambda each: (each.value, each.unit)):
        found.append(Unsupported(f"{number.value:g}{number.unit}", NUMBER, _number_place(number, summary, finder)))
    for tag in sorted(facts.tags):
        place = summary.find(tag)
        found.append(Unsupported(tag, UNKNOWN_TAG, Mark(place, place + len(tag), UNKNOWN_TAG) if place >= 0 else None))
    return found


def _name_place(name: str, text: str) -> tuple[str, int, Mark | None]:
    """A folded name as the text writes it, and its first place."""
    letters, places = [], []
    for place, character in enumerate(text):
        folded = fold(character)
        letters.append(folded)
        places += [place] * len(folded)
    at = "".join(letters).find(name)
    if at < 0:
        return name, NAME, None
    mark = Mark(places[at], places[at + len(name) - 1] + 1, NAME)
    return text[mark.start : mark.end], NAME, mark


def _number_place(number: Number, text: str, finder: FactFinder) -> Mark | None:
    """The shortest sequence of words of the text that states the number."""
    words, position = [], 0
    for word in text.split():
        start = text.index(word, position)
        position = start + len(word)
        words.append((start, position))
    for size in range(1, MAX_NUMBER_WORDS + 1):
        for first in range(len(words) - size + 1):
            start, end = words[first][0], words[first + size - 1][1]
            if number in finder.facts(text[start:end]).numbers:
                return Mark(start, start + len(text[start:end].rstrip(".,!?…")), NUMBER)
    return None


def without_overlap(marks: Iterable[Mark], others: Sequence[Mark]) -> list[Mark]:
    """The parts of `marks` outside `others`."""
    parts = []
    for mark in marks:
        place = mark.start
        for other in sorted(others):
            if place < other.end and other.start < mark.end:
                if place < other.start:
                    parts.append(Mark(place, other.start, mark.kind))
                place = max(place, other.end)
        if place < mark.end:
            parts.append(Mark(place, mark.end, mark.kind))
    return parts


def different_marks(one: Sequence[Token], other: Sequence[Token]) -> tuple[list[Mark], list[Mark]]:
    """The morphemes that only one of two texts has at this place of it (difflib), as marks of each. Neighbours are one mark."""
    matcher = SequenceMatcher(None, [each.text for each in one], [each.text for each in other], autojunk=False)
    here, there = [], []
    for name, start, end, other_start, other_end in matcher.get_opcodes():
        if name != "equal":
            if end > start:
                here.append(Mark(one[start].start, one[end - 1].end, DIFFERENT))
            if other_end > other_start:
                there.append(Mark(other[other_start].start, other[other_end - 1].end, DIFFERENT))
    return here, there


def composed(text: str) -> str:
    """`text` in the form that marks count in (NFC), without halves of surrogate pairs, which Mecab cannot read."""
    return unicodedata.normalize("NFC", text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace"))


def shown_text(text: str, marks: Iterable[Mark]) -> tuple[str, list[Mark]]:
    """A composed text with its unseen characters as codes, and the marks in UTF-16 units, as JavaScript counts."""
    ordered = sorted(marks)
    if not UNSEEN.search(text) and text.isascii() | (max(text, default="") <= "\uffff"):
        return text, ordered
    places, at = [], 0
    for character in text:
        places.append(at)
        at += len(visible(character).encode("utf-16-le")) // 2
    places.append(at)
    return visible(text), [Mark(places[start], places[end], kind) for start, end, kind in ordered]

"""A word cloud as SVG text: words are placed on a spiral from the middle, the largest first, so that none overlap."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from yoyak.reports.exploration.terms import Term
from yoyak.reports.page.markup import escape

SMALLEST, LARGEST = 15.0, 58.0  # sizes of letters, in units of the picture
WIDE, NARROW = (900, 400), (380, 460)  # pictures for a wide screen and for a phone
COLORS = 5  # classes c0 … c4 of the style
_STEPS = 1500
_WIDE_LETTER, _NARROW_LETTER = (
    0.95,
    0.6,
)  # widths of a Hangul and of a Latin letter in the embedded font, in sizes of the letter


class Placed(NamedTuple):
    """A word with its middle, its size, and its number among the terms."""

    text: str
    x: float
    y: float
    size: float
    number: int


def place_words(terms: Sequence[Term], width: float, height: float, *, scale: float = 1) -> list[Placed]:
    """Places for the words, the most frequent in the middle. Words without room are left out.

    Args:
        terms: the most frequent first.
        width, height: of the picture.
        scale: of all sizes.
    """
    placed: list[Placed] = []
    boxes: list[tuple[float, float, float, float]] = []
    most = max((term.weight for term in terms), default=1)
    least = min((term.weight for term in terms), default=0)
    for index, term in enumerate(terms):
        share = (term.weight - least) / (most - least) if most > least else 1
        size = scale * (SMALLEST + (LARGEST - SMALLEST) * share**0.7)
        half_width, half_height = _width(term.text) * size / 2 + 3 * scale, size * 0.6
        for x, y in _spiral(width, height):
            box = (x - half_width, y - half_height, x + half_width, y + half_height)
            inside = box[0] >= 0 and box[1] >= 0 and box[2] <= width and box[3] <= height
            if inside and not any(_overlap(box, other) for other in boxes):
                boxes.append(box)
                placed.append(Placed(term.text, x, y, size, index))
                break
    return placed


def _spiral(width: float, height: float) -> list[tuple[float, float]]:
    """Points on a spiral that is as wide as the picture: an Archimedean spiral, stretched."""
    points = []
    for step in range(_STEPS):
        radius = step / _STEPS
        angle = 40 * math.pi * math.sqrt(radius)
        points.append((width / 2 * (1 + radius * math.cos(angle)), height / 2 * (1 + radius * math.sin(angle))))
    return points


def _overlap(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _width(text: str) -> float:
    return sum(_NARROW_LETTER if ord(letter) < 0x250 else _WIDE_LETTER for letter in text)


def cloud_svg(terms: Sequence[Term], chart: str, *, title: str) -> str:
    """The cloud in two shapes; the style shows the one that fits the screen. A word refers to its bar in `chart`."""
    pictures = []
    for class_name, (width, height), scale in (("wide-cloud", WIDE, 1.0), ("narrow", NARROW, 0.78)):
        words = "".join(
            f'<text class="c{word.number % COLORS}" x="{word.x:.1f}" y="{word.y:.1f}" font-size="{word.size:.1f}" '
            f'data-chart="{escape(chart)}" data-bar="{word.number}">{escape(word.text)}</text>'
            for word in place_words(terms, width, height, scale=scale)
        )
        pictures.append(
            f'<svg class="{class_name}" viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}">{words}</svg>'
        )
    return f'<div class="cloud">{"".join(pictures)}</div>'

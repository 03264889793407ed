"""Charts of a run as SVG: lines, columns, differences with intervals. They need no script, and tables have their numbers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from yoyak.reports.page.markup import escape

WIDTH, HEIGHT = 360, 210
LEFT, RIGHT, TOP, BOTTOM = 46, 10, 22, 30
LINES = ("", " dashed", " dotted")  # so that colour alone tells no lines apart
MAX_NAME = 13  # characters of a line's name; three names fit above a chart
MAX_POINTS = 400  # of a line; a screen shows no more


@dataclass(frozen=True)
class Line:
    """A line of a chart: its name and its points."""

    name: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Whisker:
    """A difference with its interval."""

    name: str
    value: float
    low: float
    high: float


def line_chart(title: str, lines: Sequence[Line], *, whole_x: bool = True) -> str:
    """Lines over a number, such as a step.

    Args:
        title: of the chart.
        lines: at most three, each with at least one point.
        whole_x: whether the axis has whole numbers only.
    """
    points = [point for line in lines for point in line.points]
    across = _scale([x for x, _ in points], LEFT, WIDTH - RIGHT)
    up = _scale([y for _, y in points], HEIGHT - BOTTOM, TOP, padding=0.06)
    parts = [_axis_y(up), _axis_x(across, whole=whole_x)]
    for number, line in enumerate(lines):
        shown = _thinned(line.points)
        path = " ".join(f"{across.at(x):.1f},{up.at(y):.1f}" for x, y in shown)
        parts.append(f'<polyline class="curve k{number % 3}{LINES[number % 3]}" points="{path}"/>')
        if len(shown) <= 30:
            parts += [_dot(number, across.at(x), up.at(y), f"{x:g}: {y:g}") for x, y in shown]
    return _figure(title, "".join(parts), HEIGHT, [line.name for line in lines] if len(lines) > 1 else [])


def column_chart(title: str, values: Sequence[float], *, bins: int = 20, axis: str = "") -> str:
    """How often values occur, in columns."""
    low, high = min(values), max(values)
    width = (high - low) / bins or 1
    counts = [0] * bins
    for value in values:
        counts[min(int((value - low) / width), bins - 1)] += 1
    across = _Scale(low, low + bins * width, LEFT, WIDTH - RIGHT)
    up = _scale([0, max(counts)], HEIGHT - BOTTOM, TOP)
    parts = [_axis_y(up), _axis_x(across, whole=False)]
    for place, count in enumerate(counts):
        start, end = across.at(low + place * width), across.at(low + (place + 1) * width)
        about = f"{low + place * width:.1f}–{low + (place + 1) * width:.1f}: {count}"
        parts.append(
            f'<rect class="f0" x="{start + 0.5:.1f}" y="{up.at(count):.1f}" width="{end - start - 1:.1f}" '
            f'height="{up.at(0) - up.at(count):.1f}"><title>{about}</title></rect>'
        )
    label = f'<text x="{LEFT}" y="13">{escape(axis)}</text>' if axis else ""
    return _figure(title, label + "".join(parts), HEIGHT, [])


def whisker_chart(title: str, groups: Sequence[tuple[str, Sequence[Whisker]]]) -> str:
    """Differences with intervals beside a line at 0.

    Args:
        title: of the chart.
        groups: for each group, such as "with tags", its name and its differences, in the same order everywhere.
    """
    names = [each.name for each in groups[0][1]]
    step, left = 17 * len(groups) + 10, 78
    height = TOP + step * len(names) + BOTTOM
    ends = [end for _, whiskers in groups for each in whiskers for end in (each.low, each.high, each.value)]
    across = _scale([0, *ends], left, WIDTH - RIGHT, padding=0.04)
    parts = [_axis_x(across, whole=False, height=height)]
    parts.append(f'<line class="zero" x1="{across.at(0):.1f}" x2="{across.at(0):.1f}" y1="{TOP - 4}" y2="{height - BOTTOM}"/>')
    for row, name in enumerate(names):
        middle = TOP + step * row + step / 2
        parts.append(f'<text x="{left - 8}" y="{middle + 4:.1f}" text-anchor="end">{escape(name)}</text>')
        for number, (group, whiskers) in enumerate(groups):
            each, y = whiskers[row], middle + 17 * (number - (len(groups) - 1) / 2)
            about = f"{group}: {each.value:+.2f} ({each.low:+.2f} – {each.high:+.2f})"
            parts.append(_stroke(number, across.at(each.low), across.at(each.high), y))
            parts.append(_dot(number, across.at(each.value), y, about))
    return _figure(title, "".join(parts), height, [name for name, _ in groups] if len(groups) > 1 else [])


def _dot(series: int, x: float, y: float, about: str) -> str:
    return f'<circle class="f{series % 3}" cx="{x:.1f}" cy="{y:.1f}" r="3.5"><title>{escape(about)}</title></circle>'


def _stroke(series: int, start: float, end: float, y: float) -> str:
    kind = f"k{series % 3}{LINES[series % 3]}"
    return f'<line class="curve {kind}" x1="{start:.1f}" x2="{end:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>'


@dataclass(frozen=True)
class _Scale:
    """Values to places: `low` to `start`, `high` to `end`."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def ticks(self, *, most: int, whole: bool) -> list[float]:
        """At most `most` round values."""
        rough = (self.high - self.low) / max(most - 1, 1)
        power = 10 ** math.floor(math.log10(rough))
        size = next((factor * power for factor in (1, 2, 5, 10) if factor * power >= rough), 10 * power)
        if whole:
            size = max(1, math.ceil(size))
        first = math.ceil(self.low / size - 1e-9)
        last = math.floor(self.high / size + 1e-9)
        return [number * size for number in range(first, last + 1)]


def _scale(values: Sequence[float], start: float, end: float, *, padding: float = 0.0) -> _Scale:
    low, high = min(values), max(values)
    margin = (high - low) * padding if high > low else (abs(low) or 1) * 0.1
    return _Scale(low - margin, high + margin, start, end)


def _axis_y(scale: _Scale) -> str:
    parts = []
    for tick in scale.ticks(most=5, whole=False):
        y = scale.at(tick)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{_tick(tick)}</text>')
    return "".join(parts)


def _axis_x(scale: _Scale, *, whole: bool, height: float = HEIGHT) -> str:
    parts = [
        f'<text x="{scale.at(tick):.1f}" y="{height - BOTTOM + 16}" text-anchor="middle">{_tick(tick)}</text>'
        for tick in scale.ticks(most=6, whole=whole)
    ]
    return "".join(parts)


def _tick(value: float) -> str:
    if value and (abs(value) < 0.001 or abs(value) >= 100_000):
        return f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e+")
    return f"{value:.6g}"


def _thinned(points: Sequence[tuple[float, float]]) -> Sequence[tuple[float, float]]:
    """At most MAX_POINTS of the points, the first and the last among them."""
    if len(points) <= MAX_POINTS:
        return points
    step = (len(points) - 1) / (MAX_POINTS - 1)
    return [points[round(place * step)] for place in range(MAX_POINTS)]


def _figure(title: str, content: str, height: float, names: Sequence[str]) -> str:
    keys, x = [], float(LEFT)
    for number, full_name in enumerate(names):
        name = full_name if len(full_name) <= MAX_NAME else full_name[: MAX_NAME - 1] + "…"
        keys.append(f'{_stroke(number, x, x + 18, 9)}<text class="key" x="{x + 23:.0f}" y="13">{escape(name)}</text>')
        x += 36 + 11 * sum(1 if ord(letter) > 0x2E80 else 0.58 for letter in name)
    svg = f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(title)}">{content}{"".join(keys)}</svg>'
    return f'<figure class="chart"><figcaption>{escape(title)}</figcaption>{svg}</figure>'

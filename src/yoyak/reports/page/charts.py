"""A chart as HTML: its data for plotly.js, and the same numbers as a table, whose labels show the rows of a bar."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from yoyak.reports.page.markup import data_script, escape, series_name, table


@dataclass(frozen=True)
class ChartBar:
    """One bar.

    Attributes:
        label: what the bar is.
        values: for each series the length of the bar, in percent.
        texts: for each series the value for people, such as "1,234 (12.3 %)".
        rows: the rows behind it (`RowPool.refer`).
        at: of columns, the place on the axis: the middle of a bin.
    """

    label: str
    values: Sequence[float]
    texts: Sequence[str]
    rows: list[list[Any]]
    at: float = 0


@dataclass(frozen=True)
class Mark:
    """A line across the columns at a value. What lies between it and the end is shaded."""

    at: float
    label: str
    start: float
    end: float


@dataclass(frozen=True)
class Chart:
    """A chart: columns over a number, or horizontal bars with labels.

    Attributes:
        name: its id on the page.
        title, about: what it shows, as text.
        series, colors: names of the series, and the indexes of their colours.
        bars: the bars.
        kind: columns or bars.
        value_title, label_title: of the axes.
        label_head: the head of the table's first column.
        marks: lines.
        badge: a short remark beside the title, such as "sample of 10,000 rows".
        below: HTML below chart and table.
    """

    name: str
    title: str
    about: str
    series: Sequence[str]
    colors: Sequence[int]
    bars: Sequence[ChartBar]
    kind: Literal["columns", "bars"]
    value_title: str
    label_head: str
    label_title: str = ""
    marks: Sequence[Mark] = field(default_factory=tuple)
    badge: str = ""
    below: str = ""


def chart_html(chart: Chart) -> str:
    """The panel of a chart."""
    data = {
        "title": chart.title,
        "series": list(chart.series),
        "colors": list(chart.colors),
        "kind": chart.kind,
        "value_title": chart.value_title,
        "label_title": chart.label_title,
        "marks": [vars(mark) for mark in chart.marks],
        "bars": [{**vars(bar), "values": list(bar.values), "texts": list(bar.texts)} for bar in chart.bars],
    }
    name = escape(chart.name)
    badge = f'<span class="badge">{escape(chart.badge)}</span>' if chart.badge else ""
    return (
        f'<figure class="panel" id="figure-{name}" style="margin-inline:0"><figcaption><h3>{escape(chart.title)}{badge}</h3>'
        f'<p class="about">{escape(chart.about)}</p></figcaption><div class="panel-body">'
        f'<div class="plot" data-plot="{name}" role="img" aria-label="{escape(chart.title)}"></div>{_numbers(chart)}</div>'
        f"{chart.below}{data_script(f'chart-{chart.name}', data)}</figure>"
    )


def rows_button(chart: str, bar: int, label: str) -> str:
    """A button that shows the rows of a bar."""
    return f'<button class="rows" data-chart="{escape(chart)}" data-bar="{bar}">{escape(label)}</button>'


def series_heads(series: Sequence[str], colors: Sequence[int]) -> list[str]:
    """The heads of columns for series, each with the colour that its bars have."""
    if len(series) == 1:
        return [escape(series[0])]
    return [series_name(name, color) for name, color in zip(series, colors, strict=True)]


def _numbers(chart: Chart) -> str:
    rows = [[rows_button(chart.name, index, bar.label), *map(escape, bar.texts)] for index, bar in enumerate(chart.bars)]
    tall = "tall" if chart.kind == "bars" else ""
    return table(
        [escape(chart.label_head), *series_heads(chart.series, chart.colors)], rows, label=chart.title, class_name=tall
    )

"""The figures of an exploration: what the page draws, and what `--json` writes."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from yoyak.data.exploration.lengths import above, bin_counts, bin_edges, bin_labels, bin_of, mean, percentile
from yoyak.data.exploration.sampling import LowestSample
from yoyak.data.exploration.tally import EXAMPLES, Record, Tally

PERCENTILES = (5, 50, 95, 99, 100)


@dataclass(frozen=True)
class Bar:
    """One bar of a figure.

    Attributes:
        label: what it counts: a key, or the range of a bin.
        counts: rows of each series.
        rows: examples of these rows, of all series together.
        totals: rows of each series that were looked at, where these are others than those of the figure.
        sampled: whether this bar alone counts rows of the sample.
    """

    label: str
    counts: Sequence[float]
    rows: list[Record]
    totals: list[int] | None = None
    sampled: bool = False


@dataclass(frozen=True)
class Figure:
    """Bars for one or more series (the splits of a corpus, or two corpora).

    Attributes:
        name: its key, such as dialogue_characters.
        series: names of the series.
        totals: rows of each series that were looked at, for shares.
        bars: the bars.
        unit: what the bars count: "rows", or "percent" for means of a share.
        is_histogram: whether the bars are bins of a number, in order.
        sampled: whether the rows are a sample.
        statistics: of a histogram, for each series: mean, and the percentiles p5, p50, p95, p99 and p100.
        limits: values of params with their names, drawn as lines, with the rows of each series above them.
        edges: of a histogram, the lower ends of its bins.
        whole: whether its values are whole numbers.
        used: the indexes of `series` among all series, if some are left out.
        dropped: rows of keys that were not counted because there are too many keys.
        keys: of other figures, how many different keys there are; more than `bars` may show.
    """

    name: str
    series: list[str]
    totals: list[int]
    bars: list[Bar]
    unit: Literal["rows", "percent"] = "rows"
    is_histogram: bool = False
    sampled: bool = False
    statistics: list[dict[str, float]] = field(default_factory=list)
    limits: dict[str, tuple[float, list[int]]] = field(default_factory=dict)
    edges: list[float] = field(default_factory=list)
    whole: bool = True
    used: list[int] | None = None
    dropped: int = 0
    keys: int = 0

    @property
    def is_empty(self) -> bool:
        return not any(sum(bar.counts) for bar in self.bars)

    @property
    def colors(self) -> list[int]:
        """The index of the colour of each series, which does not depend on what is left out."""
        return list(range(len(self.series))) if self.used is None else self.used

    def without_empty_series(self) -> "Figure":
        """The figure without series that have no rows, such as the summaries of test."""
        used = [index for index, total in enumerate(self.totals) if total]
        if not used or len(used) == len(self.totals):
            return self

        def of_used(values: Sequence[Any]) -> list[Any]:
            return [values[index] for index in used]

        return replace(
            self,
            series=of_used(self.series),
            used=used,
            totals=of_used(self.totals),
            bars=[
                replace(bar, counts=of_used(bar.counts), totals=None if bar.totals is None else of_used(bar.totals))
                for bar in self.bars
            ],
            statistics=of_used(self.statistics) if self.statistics else [],
            limits={name: (value, of_used(counts)) for name, (value, counts) in self.limits.items()},
        )

    def to_json(self) -> dict[str, Any]:
        """The figure without its rows."""
        values: dict[str, Any] = {
            "rows": dict(zip(self.series, self.totals, strict=True)),
            "sampled": self.sampled,
            "unit": self.unit,
            "bars": {bar.label: dict(zip(self.series, bar.counts, strict=True)) for bar in self.bars},
        }
        if others := {bar.label: bar.totals for bar in self.bars if bar.totals is not None}:
            values["rows_of_bar"] = {key: dict(zip(self.series, totals, strict=True)) for key, totals in others.items()}
        if self.is_histogram:
            values["statistics"] = dict(zip(self.series, self.statistics, strict=True))
        if self.limits:
            values["limits"] = {
                name: {"value": value, "rows_above": dict(zip(self.series, counts, strict=True))}
                for name, (value, counts) in self.limits.items()
            }
        return values


@dataclass(frozen=True)
class NumberSeries:
    """The values of one number in one series.

    Attributes:
        name: of the series.
        counts: rows by value.
        rows: rows with their values, from which examples are taken, in the order of preference.
    """

    name: str
    counts: Mapping[float, int]
    rows: Sequence[tuple[float, Record]]


def histogram(
    name: str,
    series: Sequence[NumberSeries],
    *,
    whole: bool = True,
    sampled: bool = False,
    limits: Mapping[str, float] | None = None,
) -> Figure:
    """A histogram with common bins for all series."""
    edges = bin_edges([each.counts for each in series], whole=whole)
    binned = [bin_counts(each.counts, edges) for each in series]
    examples: list[list[Record]] = [[] for _ in edges]
    for each in series:
        taken = Counter[int]()
        for value, record in each.rows:
            index = bin_of(value, edges)
            if taken[index] < EXAMPLES:
                taken[index] += 1
                examples[index].append(record)
    largest = max((max(each.counts) for each in series if each.counts), default=0)
    labels = bin_labels(edges, largest=largest, whole=whole)
    return Figure(
        name,
        [each.name for each in series],
        [sum(each.counts.values()) for each in series],
        [Bar(labels[index], [counts[index] for counts in binned], examples[index]) for index in range(len(edges))],
        is_histogram=True,
        sampled=sampled,
        statistics=[statistics(each.counts) for each in series],
        limits={key: (value, [above(each.counts, value) for each in series]) for key, value in (limits or {}).items()},
        edges=edges,
        whole=whole,
    )


def statistics(counts: Mapping[float, int]) -> dict[str, float]:
    """Mean and percentiles of a distribution."""
    return {"mean": round(mean(counts), 4)} | {f"p{share}": percentile(counts, share) for share in PERCENTILES}


def bars(
    name: str,
    tallies: Sequence[tuple[str, Tally, int]],
    *,
    most: int = 20,
    sampled: bool = False,
    keys: Sequence[str] | None = None,
    rows_of: Callable[[str], list[Record]] | None = None,
) -> Figure:
    """Bars for the most frequent keys.

    Args:
        name: of the figure.
        tallies: for each series its name, its tally and its rows.
        most: bars at most.
        sampled: whether the rows are a sample.
        keys: the bars in this order, also those without rows; by default the most frequent keys.
        rows_of: examples of a key, if the tally has none.
    """
    together = Counter[str]()
    for _, tally, _ in tallies:
        together.update(tally.counts)
    shown = (
        keys if keys is not None else [key for key, _ in sorted(together.items(), key=lambda item: (-item[1], item[0]))[:most]]
    )
    found = []
    for key in shown:
        examples = [record for _, tally, _ in tallies for record in tally.examples.get(key, LowestSample[Record](0))]
        found.append(Bar(key, [tally.counts[key] for _, tally, _ in tallies], rows_of(key) if rows_of else examples))
    return Figure(
        name,
        [series for series, _, _ in tallies],
        [rows for _, _, rows in tallies],
        found,
        sampled=sampled,
        dropped=sum(tally.dropped for _, tally, _ in tallies),
        keys=len(together),
    )

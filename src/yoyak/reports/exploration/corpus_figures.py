"""All figures of an exploration, from the scans and the measured samples."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from yoyak.data.dialogue import SPEAKER_TAG
from yoyak.data.exploration.row_measures import NUMBERS, SUMMARY_SIGNS
from yoyak.data.exploration.scan import CorpusScan, Scan
from yoyak.data.exploration.tally import EXAMPLES, Record, Tally
from yoyak.reports.exploration.figures import Bar, Figure, NumberSeries, bars, histogram
from yoyak.reports.exploration.near_rows import near_rows
from yoyak.reports.exploration.sample_measures import NOVEL_SIZES, SampledRow
from yoyak.reports.exploration.tokens import TokenLimits

WHOLE_NUMBERS = ("dialogue_morphemes", "summary_morphemes", "dialogue_tokens", "summary_tokens")
RATIOS = ("coverage", "density", "compression")
TALLIES = ("tags", "summary_tags", "masks", "dirt", "rejected")
REPEATS = ("same_split", "other_split", "near_other_split")
REPEATED_SUMMARIES, TOPICS = 12, 15  # bars


@dataclass
class Series:
    """What the charts compare: a split of the one corpus, or one of two corpora.

    Attributes:
        name: of the split or corpus.
        scan: counts of all its rows.
        rows: the measured rows of its sample.
    """

    name: str
    scan: Scan
    rows: list[SampledRow] = field(default_factory=list)

    @property
    def is_sampled(self) -> bool:
        """Whether some rows are not in the sample."""
        return len(self.rows) < self.scan.usable


def corpus_figures(
    scans: Sequence[CorpusScan],
    series: Sequence[Series],
    rows: Sequence[Sequence[SampledRow]],
    tokens: TokenLimits | None,
) -> dict[str, Figure]:
    """All figures by name.

    Args:
        scans: one or two corpora.
        series: what the charts compare.
        rows: the measured rows of each corpus.
        tokens: the limits of params.yaml, if there is one.
    """
    limits: dict[str, dict[str, float]] = {}
    if tokens is not None:
        limits["dialogue_tokens"] = {"tokenizer.max_input_length": tokens.max_input_length}
        limits["summary_tokens"] = {"tokenizer.max_target_length": tokens.max_target_length}
    figures = [_exact_numbers(name, series) for name in NUMBERS]
    figures += [_sampled_numbers(name, series, limits=limits.get(name)) for name in WHOLE_NUMBERS]
    figures += [_sampled_numbers(name, series, whole=False) for name in RATIOS]
    figures.append(_novel(series))
    for name in TALLIES:
        figures.append(bars(name, [(each.name, getattr(each.scan, name), _total(name, each.scan)) for each in series]))
    figures += [_topics(series), _repeats(scans, rows), _signs(series), _repeated_summaries(scans)]
    return {figure.name: figure for figure in figures}


def _total(name: str, scan: Scan) -> int:
    return {"rejected": scan.rows, "summary_tags": scan.with_summary}.get(name, scan.usable)


def _exact_numbers(name: str, series: Sequence[Series]) -> Figure:
    found = []
    for each in series:
        ends = [*each.scan.longest.get(name, ()), *each.scan.shortest.get(name, ())]
        records = dict.fromkeys([*ends, *(row.record for row in each.rows)])
        values = [(_value(name, record), record) for record in records]
        found.append(NumberSeries(each.name, each.scan.numbers.get(name, Counter()), [pair for pair in values if pair[0]]))
    return histogram(name, found)


def _value(name: str, record: Record) -> int:
    """One of `row_measures.NUMBERS` of the row that a record shows."""
    if name == "summary_characters":
        return len(record.summary)
    if name == "dialogue_characters":
        return len(record.dialogue)
    return record.dialogue.count("\n") + 1 if name == "turns" else len(set(SPEAKER_TAG.findall(record.dialogue)))


def _sampled_numbers(
    name: str, series: Sequence[Series], *, whole: bool = True, limits: dict[str, float] | None = None
) -> Figure:
    found = []
    for each in series:
        values = [(row.numbers[name], row.record) for row in each.rows if name in row.numbers]
        found.append(NumberSeries(each.name, Counter(value for value, _ in values), values))
    return histogram(name, found, whole=whole, sampled=any(each.is_sampled for each in series), limits=limits)


def _novel(series: Sequence[Series]) -> Figure:
    """The mean share of n-grams that the dialogue does not have, in percent, and the rows with most of them."""
    found = []
    for size in NOVEL_SIZES:
        name, means, ranked = f"novel_{size}", [], []
        for each in series:
            pairs = [(row.numbers[name], row.record) for row in each.rows if name in row.numbers]
            means.append(round(100 * sum(value for value, _ in pairs) / len(pairs), 2) if pairs else 0)
            ranked += pairs
        examples = [record for _, record in sorted(ranked, key=lambda pair: -pair[0])[:EXAMPLES]]
        found.append(Bar(name, means, examples))
    totals = [sum("coverage" in row.numbers for row in each.rows) for each in series]
    names = [each.name for each in series]
    return Figure("novel_ngrams", names, totals, found, unit="percent", sampled=any(each.is_sampled for each in series))


def _topics(series: Sequence[Series]) -> Figure:
    def rows_of(topic: str) -> list[Record]:
        found = [row.record for each in series for row in each.rows if row.record.topic == topic]
        return found[:EXAMPLES]

    return bars("topics", [(each.name, each.scan.topics, each.scan.usable) for each in series], most=TOPICS, rows_of=rows_of)


def _repeats(scans: Sequence[CorpusScan], rows: Sequence[Sequence[SampledRow]]) -> Figure:
    figure = bars(
        "repeats",
        [(scan.corpus.name, scan.repeats, sum(each.usable for each in scan.splits.values())) for scan in scans],
        keys=REPEATS,
    )
    near = [near_rows([row.record for row in sampled]) for sampled in rows]
    examples = [record for found in near for record in found[:EXAMPLES]]
    in_sample = Bar("near_sample", [len(found) for found in near], examples, totals=[len(sampled) for sampled in rows])
    return replace(figure, bars=[*figure.bars, in_sample])


def _signs(series: Sequence[Series]) -> Figure:
    """Signs that a summary may be wrong. Facts need Mecab, so they are looked for in the sample."""
    figure = bars("signs", [(each.name, each.scan.signs, each.scan.with_summary) for each in series], keys=SUMMARY_SIGNS)
    # An empty summary makes the row unusable, so its share is that of all rows.
    found = [replace(bar, totals=[each.scan.rows for each in series]) if bar.label == "empty" else bar for bar in figure.bars]
    is_sampled = any(each.is_sampled for each in series)
    for sign, facts in (("names_not_in_dialogue", "names"), ("numbers_not_in_dialogue", "figures")):
        flagged = [[row for row in each.rows if getattr(row, facts)] for each in series]
        examples = [replace(row.record, note=", ".join(getattr(row, facts))) for rows in flagged for row in rows[:EXAMPLES]]
        totals = [sum("coverage" in row.numbers for row in each.rows) for each in series]
        found.append(Bar(sign, [len(rows) for rows in flagged], examples, totals=totals, sampled=is_sampled))
    return replace(figure, bars=found)


def _repeated_summaries(scans: Sequence[CorpusScan]) -> Figure:
    """The summaries that most rows share. A tally has every row but the first, which is counted here."""
    tallies = []
    for scan in scans:
        tally = Tally(counts=Counter({text: count + 1 for text, count in scan.summaries.counts.items()}))
        tally.examples = scan.summaries.examples
        tallies.append((scan.corpus.name, tally, sum(each.with_summary for each in scan.splits.values())))
    return bars("repeated_summaries", tallies, most=REPEATED_SUMMARIES)

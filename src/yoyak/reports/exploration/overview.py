"""The top of the page: the numbers that a reader should see first, and what was found, worst first."""

from collections.abc import Sequence

from yoyak.reports.exploration.exploration import Exploration
from yoyak.reports.exploration.findings import findings_of
from yoyak.reports.exploration.numbers import number
from yoyak.reports.exploration.texts import text
from yoyak.reports.page.frame import Language
from yoyak.reports.page.markup import CardLine, cards, escape


def overview_html(found: Exploration, language: Language) -> str:
    """The main numbers of each series, the findings, and what was sampled."""
    findings = findings_of(found, language)
    items = "".join(
        f'<li class="{each.kind}"><a href="#{each.section}">{escape(each.sentence)}</a>'
        f"{''.join(f' <code>{escape(change)}</code>' for change in each.changes)}</li>"
        for each in findings
    )
    note = escape(sample_note(found, language))
    return f'{cards(_cards(found, language))}<ul class="findings">{items}</ul><p class="about">{note}</p>'


def sample_note(found: Exploration, language: Language) -> str:
    """Which numbers come from a sample, and how large it is."""
    if not found.is_sampled:
        return text("whole_note", language)
    parts = [
        text("sample_of", language, name=each.name, sample=number(len(each.rows)), rows=number(each.scan.usable))
        for each in found.series
    ]
    return text("sample_note", language, rows=", ".join(parts), seed=found.sample.seed)


def _cards(found: Exploration, language: Language) -> list[tuple[str, list[CardLine]]]:
    """For each main number its name, and its value in each series."""

    def lines(values: Sequence[tuple[str, str]]) -> list[CardLine]:
        names = [each.name if len(found.series) > 1 else "" for each in found.series]
        return [CardLine(name, *value) for name, value in zip(names, values, strict=True)]

    rows = [(number(each.scan.rows), text("usable", language, usable=number(each.scan.usable))) for each in found.series]
    items = [(text("rows", language), lines(rows))]
    for name, words in (
        ("dialogue_characters", "dialogue_card"),
        ("summary_characters", "summary_card"),
        ("turns", "turns_card"),
    ):
        figure, values = found.figures[name], []
        for total, each in zip(figure.totals, figure.statistics, strict=True):
            detail = text("range_detail", language, p95=number(each["p95"]), p100=number(each["p100"]))
            values.append((number(each["p50"]), detail) if total else ("–", text("no_summary", language)))
        items.append((text(words, language), lines(values)))
    coverage = found.figures["coverage"]
    means = [
        (f"{each['mean']:.2f}", "") if total else ("–", "")
        for total, each in zip(coverage.totals, coverage.statistics, strict=True)
    ]
    items.append((text("coverage_card", language), lines(means)))
    if any(each.scan.topics.counts for each in found.series):
        # Rare topics are dropped where there are too many; then the number is a lower bound.
        topics = [
            (("≥ " if each.scan.topics.dropped else "") + number(len(each.scan.topics.counts)), "") for each in found.series
        ]
        items.append((text("topics_card", language), lines(topics)))
    return items

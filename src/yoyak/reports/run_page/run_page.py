"""The page of one run: data in, `Page` out. It reads no file."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from yoyak.reports.page.frame import Language, Page, Section
from yoyak.reports.page.markup import escape, table
from yoyak.reports.run_page.browser import Browser, browser_data, run_browser
from yoyak.reports.run_page.controls import controls_html
from yoyak.reports.run_page.dev_rows import ExplainedRow, worst_metric, worst_rows
from yoyak.reports.run_page.fact_sections import (
    curves_section,
    data_section,
    decoding_section,
    environment_section,
    params_section,
)
from yoyak.reports.run_page.files import RunFacts
from yoyak.reports.run_page.problems import KINDS, RULES
from yoyak.reports.run_page.row_html import legend_html, row_html
from yoyak.reports.run_page.score_sections import overview_section, scores_section
from yoyak.reports.run_page.texts import text, words_of

FIRST_ROWS = 50  # rows that a reader without JavaScript sees
STATIC = ("rows.css", "rows.js")


def page_path(name: str, folder: Path = Path("reports")) -> Path:
    """The file of a run's page. A name such as feature/a or HEAD~1 becomes one file name."""
    safe = "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in name).strip(".-")
    return folder / f"{safe or 'run'}.html"


def run_page(facts: RunFacts, rows: Sequence[ExplainedRow], language: Language) -> Page:
    """The page of a run.

    Args:
        facts: of the run (`files.collect_run`).
        rows: its dev dialogues with marks and problems (`dev_rows.explain_rows`).
        language: of the page.
    """
    metric = worst_metric([each.row for each in rows]) or ""
    browser = run_browser(facts.name, rows, sort=metric)
    sections = [
        overview_section(facts, language),
        scores_section(facts, language),
        _worst_section(browser, rows, metric, language),
        dialogues_section(browser, language, "dialogues_about"),
        curves_section(facts, language),
        params_section(facts, language),
        data_section(facts, language),
        decoding_section(facts, language),
        environment_section(facts, language),
    ]
    when = facts.commit or text("workspace", language)
    family = facts.family or text("no_family", language)
    return Page(
        text("title", language, name=facts.name),
        text("lead", language, family=family, rows=f"{len(rows):,}", when=when),
        language,
        sections,
        footer=text("footer", language),
        charts=False,
        static=STATIC,
        data=browser_data(browser, words_of("browser", language)) if rows else {},
        no_script=text("no_script", language, count=min(FIRST_ROWS, len(rows))),
    )


def _worst_section(browser: Browser, rows: Sequence[ExplainedRow], metric: str, language: Language) -> Section:
    title, words = text("worst", language, "sections"), words_of("browser", language)
    numbers = worst_rows(rows)
    if not numbers:
        return Section("worst", title, f"<p>{escape(text('no_worst', language))}</p>")
    html = _rules_table([rows[number] for number in numbers], rows, language)
    html += legend_html(words, differences=False)
    html += f'<div class="dev-rows">{"".join(row_html(browser, number, words) for number in numbers)}</div>'
    return Section("worst", title, html, text("worst_about", language, count=len(numbers), metric=metric))


def _rules_table(worst: Sequence[ExplainedRow], rows: Sequence[ExplainedRow], language: Language) -> str:
    counts, all_counts = (Counter(problem.kind for each in part for problem in each.problems) for part in (worst, rows))
    lines = [
        [
            escape(text(kind, language, "browser")),
            str(counts[kind]),
            f"{all_counts[kind]:,}",
            escape(text(kind, language, "rules", **RULES[kind])),
        ]
        for kind in KINDS
    ]
    without = [sum(not each.problems for each in part) for part in (worst, rows)]
    lines.append(
        [escape(text("no_rule", language)), *(f"{count:,}" for count in without), escape(text("no_rule_about", language))]
    )
    heads = [escape(text(key, language)) for key in ("kind", "among_worst", "among_all", "rule")]
    return table(heads, lines, label=text("rule", language), class_name="wide text rules")


def dialogues_section(browser: Browser, language: Language, about: str, name: str = "dialogues") -> Section:
    """All rows with their controls, and the first ones as a table for readers without JavaScript."""
    title, words = text(name, language, "sections"), words_of("browser", language)
    if not browser.rows:
        return Section("dialogues", title, f"<p>{escape(text('no_rows', language))}</p>")
    count = min(FIRST_ROWS, len(browser.rows))
    label = text("first_rows", language, count=count, all=f"{len(browser.rows):,}")
    plain = "".join(row_html(browser, number, words) for number in range(count))
    html = (
        f"{legend_html(words, differences=len(browser.runs) > 1)}{controls_html(browser, words)}"
        f'<noscript><p class="count">{escape(label)}</p><div class="dev-rows">{plain}</div></noscript>'
    )
    return Section("dialogues", title, html, text(about, language))

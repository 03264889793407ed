"""The page of `yoyak compare --html`: tests, params, costs and every dialogue. Data in, `Page` out; it reads no file."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from yoyak.evaluation.paired_table import MIN_ROWS
from yoyak.evaluation.paired_tests import ALPHA, PairedResult
from yoyak.reports.comparison import Comparison
from yoyak.reports.page.frame import Language, Page, Section
from yoyak.reports.page.markup import escape, table
from yoyak.reports.run_page.browser import Browser, browser_data
from yoyak.reports.run_page.charts import Whisker, whisker_chart
from yoyak.reports.run_page.fact_sections import shown_cost, shown_value
from yoyak.reports.run_page.run_page import FIRST_ROWS, STATIC, dialogues_section, page_path
from yoyak.reports.run_page.texts import text, words_of

VERDICTS = {"better": "better", "worse": "worse", "no difference shown": "no_difference"}
CLASSES = {"better": "good-text", "worse": "bad-text"}
CHARTS = (("rouge_sum", "content_sum"), ("rouge1", "rouge2", "rougeL"))  # metrics of one scale share a chart


def compare_path(names: Sequence[str]) -> Path:
    """The file of a compare page."""
    return page_path("-".join(["compare", *names]))


def compare_page(comparison: Comparison, browser: Browser, language: Language, missing: Mapping[str, str]) -> Page:
    """The page of a comparison.

    Args:
        comparison: tests, params and costs (`comparison.compare_runs`). Without params and costs, as of two files of
            predictions, these sections are left out.
        browser: the dialogues (`pair_rows.pairs_browser`).
        language: of the page.
        missing: for each run whose summaries are not there, why.
    """
    others = [name for name in browser.runs if name != comparison.base]
    sections = [
        _tests_section(comparison, language, missing),
        *([_params_section(comparison, language), _costs_section(comparison, language)] if comparison.costs else []),
        dialogues_section(browser, language, "pairs_about", "pairs"),
    ]
    return Page(
        text("compare_title", language, base=comparison.base, others=", ".join(others)),
        text("compare_lead", language, rows=f"{comparison.rows:,}", base=comparison.base),
        language,
        sections,
        footer=text("compare_footer", language),
        charts=False,
        static=STATIC,
        data=browser_data(browser, words_of("browser", language)) if browser.rows else {},
        no_script=text("compare_no_script", language, count=min(FIRST_ROWS, len(browser.rows))),
    )


def _tests_section(comparison: Comparison, language: Language, missing: Mapping[str, str]) -> Section:
    notes = [text("few_rows", language, rows=comparison.rows)] if comparison.rows < MIN_ROWS else []
    counts = {metric: next(iter(results.values())).rows for metric, results in comparison.results.items()}
    notes += [
        text("fewer_rows", language, metric=metric, rows=f"{count:,}")
        for metric, count in counts.items()
        if count != comparison.rows
    ]
    notes += [text("pairs_missing", language, name=name, why=why) for name, why in missing.items()]
    html = f'<ul class="notes">{"".join(f"<li class=warn>{escape(note)}</li>" for note in notes)}</ul>' if notes else ""
    heads = ["metric", "run", "mean", "base_mean", "diff", "verdict", "interval_head", "p", "outcomes"]
    rows = [cells for metric, results in comparison.results.items() for cells in _metric_rows(metric, results, language)]
    title = text("tests", language, "sections")
    html += table(
        [escape(text(head, language, base=comparison.base)) for head in heads], rows, label=title, class_name="wide tests"
    )
    html += f'<div class="charts">{"".join(_charts(comparison, language))}</div>'
    return Section("tests", title, html, text("tests_about", language, base=comparison.base, alpha=ALPHA))


def _metric_rows(metric: str, results: Mapping[str, PairedResult], language: Language) -> list[list[str]]:
    rows = []
    for name, result in results.items():
        low, high = result.interval
        verdict = escape(text(VERDICTS[result.verdict], language))
        shown = f'<span class="{CLASSES[result.verdict]}">{verdict}</span>' if result.verdict in CLASSES else verdict
        rows.append(
            [
                escape(metric),
                escape(name),
                f"{result.mean:.2f}",
                f"{result.other_mean:.2f}",
                f"{result.difference:+.2f}",
                shown,
                f"{low:+.2f} – {high:+.2f}",
                f"{result.p_corrected:.4f}",
                f"{result.wins:,} / {result.losses:,} / {result.ties:,}",
            ]
        )
    return rows


def _charts(comparison: Comparison, language: Language) -> list[str]:
    charts = []
    for names in CHARTS:
        metrics = [name for name in names if name in comparison.results]
        groups = [
            (
                run,
                [
                    Whisker(name, each.difference, *each.interval)
                    for name in metrics
                    for each in [comparison.results[name][run]]
                ],
            )
            for run in next(iter(comparison.results.values()), {})
        ]
        if metrics and groups:
            title = f"{text('diff', language)}: {', '.join(metrics)} ({text('interval_head', language)})"
            charts += [whisker_chart(title, groups[start : start + 3]) for start in range(0, len(groups), 3)]
    return charts


def _params_section(comparison: Comparison, language: Language) -> Section:
    title = text("params", language, "sections")
    if not comparison.params:
        return Section("params", title, "", text("params_all_equal", language))
    rows = [[f"<code>{escape(name)}</code>", *map(shown_value, values)] for name, values in comparison.params.items()]
    heads = [escape(text("param", language)), *map(escape, comparison.costs)]
    html = table(heads, rows, label=title, class_name="wide text params")
    return Section("params", title, html, text("params_differ", language))


def _costs_section(comparison: Comparison, language: Language) -> Section:
    title = text("costs", language, "sections")
    keys = list(next(iter(comparison.costs.values())))
    rows = [[escape(text(key, language)), *(shown_cost(cost.get(key)) for cost in comparison.costs.values())] for key in keys]
    html = table([escape(text("cost", language)), *map(escape, comparison.costs)], rows, label=title)
    return Section("costs", title, html, text("costs_about", language))

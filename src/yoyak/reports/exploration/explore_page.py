"""The page of `yoyak explore`: sections with charts, tables and the word cloud."""

from collections.abc import Sequence
from pathlib import Path

from yoyak.reports.exploration.cloud import cloud_svg
from yoyak.reports.exploration.exploration import Exploration
from yoyak.reports.exploration.figures import Figure
from yoyak.reports.exploration.numbers import number, share
from yoyak.reports.exploration.overview import overview_html
from yoyak.reports.exploration.terms import Term
from yoyak.reports.exploration.texts import heading, label, text
from yoyak.reports.page.charts import Chart, ChartBar, Mark, chart_html, rows_button, series_heads
from yoyak.reports.page.frame import Language, Page, Section, write_page
from yoyak.reports.page.markup import data_script, escape, table
from yoyak.reports.page.rows import RowPool

# Figures of each section, in the order of the page.
LAYOUT = {
    "lengths": (
        "dialogue_characters",
        "dialogue_morphemes",
        "dialogue_tokens",
        "summary_characters",
        "summary_morphemes",
        "summary_tokens",
    ),
    "speech": ("turns", "speakers"),
    "marks": ("tags", "summary_tags", "masks"),
    "content": ("topics",),
    "copying": ("coverage", "density", "compression", "novel_ngrams"),
    "repeats": ("repeats",),
    "dirt": ("dirt", "rejected"),
    "summaries": ("signs", "repeated_summaries"),
}
# Values of the two lengths for which the page says what they would cut.
CUT_VALUES = {
    "dialogue_tokens": (256, 512, 768, 1024, 1536, 2048),
    "summary_tokens": (64, 100, 128, 200, 256, 384, 512),
}
MAX_LABEL = 48  # characters of a label; a repeated summary is longer


def write_explore_page(path: Path, found: Exploration, language: Language) -> None:
    """Write the page as one file that needs no network."""
    write_page(path, explore_page(found, language))


def explore_page(found: Exploration, language: Language) -> Page:
    """The page of an exploration."""
    pool = RowPool()
    sections = [Section("overview", heading("sections", "overview", language)[0], overview_html(found, language))]
    for name, figures in LAYOUT.items():
        (title, about), html = (
            heading("sections", name, language),
            [_figure_html(found, each, pool, language) for each in figures],
        )
        if name == "content":
            html += [_terms_html(found, pool, language), _clouds_html(found, pool, language)]
        if name == "repeats":
            html.append(_near_note(found, language))
        sections.append(Section(name, title, "".join(html), about))
    names = " · ".join(each.corpus.name for each in found.corpora)
    files = [path for each in found.corpora for path in each.corpus.files.values()]
    rows = sum(each.scan.rows for each in found.series)
    counted = text("one_file", language) if len(files) == 1 else text("files", language, count=len(files))
    return Page(
        text("title", language, names=names),
        text("lead", language, rows=number(rows), files=counted),
        language,
        sections,
        pool,
        text("footer", language),
    )


def _figure_html(found: Exploration, name: str, pool: RowPool, language: Language) -> str:
    figure = found.figures[name]
    title, about = heading("figures", name, language)
    if name in CUT_VALUES:
        problem = text("no_params", language) if found.tokens is None else found.tokens.problem
        if problem:
            reason = problem if found.tokens is None else text("no_tokens", language, problem=problem)
            return _empty_panel(title, about, reason)
        about = f"{about} {_token_note(found, name, language)}"
    figure = figure.without_empty_series()
    if figure.is_empty:
        return _empty_panel(title, about, text("none_found", language))
    chart = Chart(
        name=name,
        title=title,
        about=about + _missing_note(figure, language),
        series=figure.series,
        colors=figure.colors,
        bars=[_bar(figure, index, pool, language) for index in range(len(figure.bars))],
        kind="columns" if figure.is_histogram else "bars",
        value_title=text("percent_axis" if figure.unit == "percent" else "share_axis", language),
        label_head=text("bin" if figure.is_histogram else "kind", language),
        marks=_marks(figure),
        badge=text("sampled", language) if figure.sampled else "",
        below=_statistics_html(found, figure, title, language) if figure.is_histogram else "",
    )
    return chart_html(chart)


def _empty_panel(title: str, about: str, reason: str) -> str:
    texts = f'<h3>{escape(title)}</h3><p class="about">{escape(about)}</p><p><strong>{escape(reason)}</strong></p>'
    return f'<div class="panel">{texts}</div>'


def _token_note(found: Exploration, name: str, language: Language) -> str:
    assert found.tokens is not None
    note = text("tokens_of", language, model=found.tokens.model)
    return f"{note} {text('with_prompt', language)}" if found.tokens.counts_prompt and name == "dialogue_tokens" else note


def _missing_note(figure: Figure, language: Language) -> str:
    parts = []
    if figure.keys > len(figure.bars):
        parts.append(text("more_keys", language, shown=len(figure.bars), all=number(figure.keys)))
    if figure.dropped:
        parts.append(text("dropped", language, rows=number(figure.dropped)))
    return "".join(f" {part}" for part in parts)


def _bar(figure: Figure, index: int, pool: RowPool, language: Language) -> ChartBar:
    bar = figure.bars[index]
    totals = figure.totals if bar.totals is None else bar.totals
    if figure.unit == "percent":
        values = list(bar.counts)
        texts = [f"{value:.1f}%" if total else "–" for value, total in zip(values, totals, strict=True)]
    else:
        values = [100 * count / total if total else 0 for count, total in zip(bar.counts, totals, strict=True)]
        texts = [
            f"{number(count)} ({share(count, total)})" if total else "–"
            for count, total in zip(bar.counts, totals, strict=True)
        ]
    name = label(bar.label, language) + (f" ({text('sampled', language)})" if bar.sampled else "")
    shown = name if len(name) <= MAX_LABEL else name[: MAX_LABEL - 1] + "…"
    return ChartBar(shown, [round(value, 4) for value in values], texts, pool.refer(bar.rows), at=_middle(figure, index))


def _middle(figure: Figure, index: int) -> float:
    if not figure.is_histogram:
        return index
    width = _bin_width(figure)
    return figure.edges[index] + (width - 1 if figure.whole else width) / 2


def _bin_width(figure: Figure) -> float:
    return figure.edges[1] - figure.edges[0] if len(figure.edges) > 1 else 1


def _marks(figure: Figure) -> list[Mark]:
    if not figure.edges:
        return []
    start, end = figure.edges[0], figure.edges[-1] + _bin_width(figure)
    return [Mark(value, f"{name.partition('.')[2]} {value:g}", start, end) for name, (value, _) in figure.limits.items()]


def _statistics_html(found: Exploration, figure: Figure, title: str, language: Language) -> str:
    """A table with mean and percentiles of each series, and one with what limits cut."""
    keys = ("mean", "p5", "p50", "p95", "p99", "p100")
    heads = series_heads(figure.series, figure.colors)
    rows = [[head, *(number(values[key]) for key in keys)] for head, values in zip(heads, figure.statistics, strict=True)]
    head = [escape(text("statistic", language)), *(escape(text(key, language)) for key in keys)]
    tables = table(head, rows, label=title, class_name="wide")
    for name, (value, _) in figure.limits.items():
        needed = max(values["p100"] for values in figure.statistics)
        others = [other for other in CUT_VALUES[figure.name] if other != value]
        # One value that cuts nothing is enough.
        values = sorted(
            {value, *(other for other in others if other < needed), *[other for other in others if other >= needed][:1]}
        )
        head = [escape(text("cut", language)), *(_limit_head(each, value, name) for each in values)]
        rows = [
            [name_html, *(_share_above(found, figure, index, each) for each in values)] for index, name_html in enumerate(heads)
        ]
        tables += table(head, rows, label=f"{title}: {text('cut', language)}", class_name="wide")
    return f'<div class="statistics">{tables}</div>'


def _limit_head(value: float, present: float, name: str) -> str:
    return f"<strong>{escape(name.partition('.')[2])} = {number(value)}</strong>" if value == present else number(value)


def _share_above(found: Exploration, figure: Figure, index: int, value: float) -> str:
    cut = _above(found, figure.name, figure.series[index], value)
    return f"{number(cut)} ({share(cut, figure.totals[index])})"


def _above(found: Exploration, name: str, series: str, value: float) -> int:
    rows = next(each.rows for each in found.series if each.name == series)
    return sum(row.numbers.get(name, 0) > value for row in rows)


def _terms_html(found: Exploration, pool: RowPool, language: Language) -> str:
    """For each corpus a table of topics with their typical words; a word shows dialogues with it."""
    panels = []
    for index, (corpus, terms) in enumerate(zip(found.corpora, found.terms, strict=True)):
        name = f"terms-{index}"
        words = [term for each in terms.values() for term in each]
        title = _title("terms_title", corpus.corpus.name, found, language)
        if not words:
            panels.append(_empty_panel(title, text("terms_about", language), text("no_topics", language)))
            continue
        rows, place = [], 0
        for topic, each in terms.items():
            buttons = "".join(
                rows_button(name, place + offset, term.text).replace('class="rows" ', "") for offset, term in enumerate(each)
            )
            rows.append([escape(topic), f'<div class="terms">{buttons}</div>'])
            place += len(each)
        head = [escape(text("topic", language)), escape(text("typical", language))]
        data = _word_data(title, words, found, pool, language)
        panels.append(
            f'<div class="panel">{_heading(title, found, language)}<p class="about">{escape(text("terms_about", language))}</p>'
            f"{table(head, rows, label=title, class_name='wide text')}{data_script(f'chart-{name}', data)}</div>"
        )
    return f'<div class="pair">{"".join(panels)}</div>'


def _clouds_html(found: Exploration, pool: RowPool, language: Language) -> str:
    panels = []
    for index, (corpus, terms) in enumerate(zip(found.corpora, found.cloud, strict=True)):
        if not terms:
            continue
        name, title = f"cloud-{index}", _title("cloud_title", corpus.corpus.name, found, language)
        rows = [[rows_button(name, place, term.text), f"{number(term.dialogues)}"] for place, term in enumerate(terms)]
        head = [escape(text("word", language)), escape(text("dialogues", language))]
        data = _word_data(title, terms, found, pool, language)
        single = " single" if len(found.corpora) > 1 else ""
        panels.append(
            f'<div class="panel">{_heading(title, found, language)}<p class="about">{escape(text("cloud_about", language))}</p>'
            f'<div class="panel-body{single}">{cloud_svg(terms, name, title=title)}{table(head, rows, label=title)}</div>'
            f"{data_script(f'chart-{name}', data)}</div>"
        )
    return f'<div class="pair" style="margin-top:1rem">{"".join(panels)}</div>'


def _heading(title: str, found: Exploration, language: Language) -> str:
    """The heading of a panel without a chart of plotly.js, with the remark that its rows are a sample."""
    badge = f'<span class="badge">{escape(text("sampled", language))}</span>' if found.is_sampled else ""
    return f"<h3>{escape(title)}{badge}</h3>"


def _title(key: str, corpus: str, found: Exploration, language: Language) -> str:
    title = text(key, language)
    return title if len(found.corpora) == 1 else f"{title} — {corpus}"


def _word_data(title: str, terms: Sequence[Term], found: Exploration, pool: RowPool, language: Language) -> dict[str, object]:
    bars = [
        {
            "label": term.text,
            "texts": [f"{number(term.dialogues)} {text('dialogues', language)}"],
            "rows": pool.refer(found.term_rows[term.text]),
        }
        for term in terms
    ]
    return {"title": title, "series": [""], "bars": bars}


def _near_note(found: Exploration, language: Language) -> str:
    compared = [each.near_compared for each in found.corpora if each.near_compared is not None]
    return f'<p class="about">{escape(text("near_note", language, rows=number(sum(compared))))}</p>' if compared else ""

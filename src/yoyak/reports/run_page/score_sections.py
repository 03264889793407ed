"""The sections of a run about its scores: main numbers, warnings, the table beside the baselines, and charts."""

from collections.abc import Mapping, Sequence
from typing import Any

from yoyak.reports.page.frame import Language, Section
from yoyak.reports.page.markup import CardLine, cards, escape, table
from yoyak.reports.run_page.charts import Whisker, column_chart, whisker_chart
from yoyak.reports.run_page.dev_rows import worst_metric
from yoyak.reports.run_page.files import RunFacts
from yoyak.reports.run_page.texts import text

KEYS = ("rouge1", "rouge2", "rougeL", "rouge_sum")
PARTS = (("all", "with_tags"), ("content", "without_tags"))
MIN_DISTINCT_SHARE = 0.5


def overview_section(facts: RunFacts, language: Language) -> Section:
    """The main numbers, and what a reader must know beside them."""
    notes = [f'<li class="{kind}">{escape(line)}</li>' for kind, line in notes_of(facts, language)]
    html = _cards(facts.scores, language) if facts.scores else f"<p>{escape(text('no_scores', language))}</p>"
    if notes:
        html += f'<ul class="notes">{"".join(notes)}</ul>'
    if facts.missing:
        lines = "".join(f"<li>{escape(why)}</li>" for why in facts.missing.values())
        html += f'<details class="more" open><summary>{escape(text("missing", language))}</summary><ul>{lines}</ul></details>'
    return Section("overview", text("overview", language, "sections"), html)


def notes_of(facts: RunFacts, language: Language) -> list[tuple[str, str]]:
    """(kind, sentence) of warnings and remarks, the most important first."""
    found = [("warn", text("debug", language))] if facts.is_debug else []
    if facts.pruned:
        found.append(("warn", text("pruned", language, why=facts.pruned)))
    if facts.stale:
        found.append(("warn", text("stale", language, names=", ".join(facts.stale))))
    if facts.scores:
        found += [("warn", line) for line in _score_warnings(facts.scores, language)]
    found += [("warn" if "fail" in line.casefold() else "", text("gate", language, line=line)) for line in facts.gates]
    if facts.params.get("data.folds"):
        values = {"fold": facts.params.get("data.fold"), "folds": facts.params["data.folds"]}
        found.append(("", text("fold", language, **values)))
    return found


def _score_warnings(scores: Mapping[str, Any], language: Language) -> list[str]:
    """What `yoyak show` warns of, in the language of the page."""
    lines = []
    for name, beaten in (scores.get("beaten") or {}).items():
        for key, part in PARTS:
            if beaten.get(key) is not False:
                continue
            ends = ((scores.get("difference") or {}).get(name) or {}).get(key)
            kind = "worse_than" if ends and ends[1] < 0 else "not_beaten"
            lines.append(text(kind, language, name=name, part=text(part, language)))
    rows = scores.get("distinct_dialogues") or scores.get("rows") or 0
    if scores.get("distinct", rows) < MIN_DISTINCT_SHARE * rows:
        lines.append(text("collapsed", language, distinct=scores["distinct"], rows=scores["rows"]))
    return lines


def _cards(scores: Mapping[str, Any], language: Language) -> str:
    intervals = scores.get("interval") or {}
    items = [
        ("rouge_sum", [CardLine("", _number(scores.get("rouge_sum")), _interval(intervals.get("rouge_sum"), language))]),
        (
            f"rouge_sum ({text('without_tags', language)})",
            [
                CardLine(
                    "",
                    _number((scores.get("content") or {}).get("rouge_sum")),
                    _interval((intervals.get("content") or {}).get("rouge_sum"), language),
                )
            ],
        ),
    ]
    baselines = scores.get("baselines") or {}
    if baselines:
        name, best = max(baselines.items(), key=lambda item: item[1]["rouge_sum"])
        items.append((text("best_baseline", language), [CardLine("", _number(best["rouge_sum"]), name)]))
    if facts := scores.get("facts"):
        ends = (facts.get("interval") or {}).get("unsupported")
        items.append(
            (text("unsupported", language), [CardLine("", f"{facts['unsupported']:.2f} %", _interval(ends, language))])
        )
    if "distinct" in scores:
        about = text("of_rows", language, rows=f"{scores['rows']:,}")
        items.append((text("distinct", language), [CardLine("", f"{scores['distinct']:,}", about)]))
    return cards(items)


def _interval(ends: Sequence[float] | None, language: Language) -> str:
    if not ends:
        return text("no_interval", language)
    return text("interval", language, low=_number(ends[0]), high=_number(ends[1]))


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def scores_section(facts: RunFacts, language: Language) -> Section:
    """The table of model and baselines, the differences, and the distribution over the dialogues."""
    title = text("scores", language, "sections")
    if not facts.scores:
        return Section("scores", title, f"<p>{escape(text('no_scores', language))}</p>")
    scores = facts.scores
    html = _systems_table(scores, language) + _differences_table(scores, language)
    charts = [*_difference_chart(scores, language), *_distribution(facts, language)]
    html += f'<div class="charts">{"".join(charts)}</div>' if charts else ""
    html += _further_metrics(scores, language)
    html += f'<p class="about">{escape(text("signature", language))}: <code>{escape(scores.get("signature", "–"))}</code></p>'
    return Section("scores", title, html, text("scores_about", language))


def _systems_table(scores: Mapping[str, Any], language: Language) -> str:
    heads = [escape(text("system", language))]
    heads += [f"{key}<br><small>{escape(text(part, language))}</small>" for _, part in PARTS for key in KEYS]
    intervals = scores.get("interval") or {}
    rows = [_system_cells(text("model", language), scores, intervals)]
    rows += [_system_cells(name, each, {}) for name, each in (scores.get("baselines") or {}).items()]
    return table(heads, rows, label=text("scores", language, "sections"), class_name="wide")


def _system_cells(name: str, values: Mapping[str, Any], intervals: Mapping[str, Any]) -> list[str]:
    cells = [escape(name)]
    for part, ends in ((values, intervals), (values.get("content") or {}, intervals.get("content") or {})):
        for key in KEYS:
            interval = f'<br><span class="share">{ends[key][0]:.1f}–{ends[key][1]:.1f}</span>' if ends.get(key) else ""
            cells.append(f"{_number(part.get(key))}{interval}")
    return cells


def _differences_table(scores: Mapping[str, Any], language: Language) -> str:
    rows = []
    for name, parts in (scores.get("difference") or {}).items():
        for key, part in PARTS:
            ends = parts.get(key)
            shown = f"{ends[0]:+.2f} – {ends[1]:+.2f}" if ends else "–"
            rows.append(
                [escape(name), escape(text(part, language)), _difference(scores, name, key), shown, _verdict(ends, language)]
            )
    if not rows:
        return ""
    heads = ["system", "metric", "difference", "interval_head", "verdict"]
    return "<br>" + table(
        [escape(text(head, language)) for head in heads], rows, label=text("against_baselines", language), class_name="wide"
    )


def _difference(scores: Mapping[str, Any], name: str, key: str) -> str:
    return f"{_difference_value(scores, name, key):+.2f}"


def _difference_value(scores: Mapping[str, Any], name: str, key: str) -> float:
    mine, other = (each if key == "all" else each["content"] for each in (scores, scores["baselines"][name]))
    return float(mine["rouge_sum"] - other["rouge_sum"])


def _verdict(ends: Sequence[float] | None, language: Language) -> str:
    if not ends:
        return escape(text("too_few", language))
    if ends[0] > 0:
        return f'<span class="good-text">{escape(text("better", language))}</span>'
    if ends[1] < 0:
        return f'<span class="bad-text">{escape(text("worse", language))}</span>'
    return escape(text("no_difference", language))


def _difference_chart(scores: Mapping[str, Any], language: Language) -> list[str]:
    differences = scores.get("difference") or {}
    groups = []
    for key, part in PARTS:
        found = [
            Whisker(name, _difference_value(scores, name, key), *each[key])
            for name, each in differences.items()
            if each.get(key)
        ]
        if found and len(found) == len(differences):
            groups.append((text(part, language), found))
    return [whisker_chart(text("against_baselines", language), groups)] if groups else []


def _distribution(facts: RunFacts, language: Language) -> list[str]:
    metric = worst_metric(facts.rows)
    names = [name for name in ("rouge_sum", "content_sum") if metric and name in facts.rows[0].scores]
    return [
        column_chart(
            text("distribution", language, metric=name),
            [row.scores[name] for row in facts.rows],
            axis=text("dialogues_axis", language),
        )
        for name in names
    ]


def _further_metrics(scores: Mapping[str, Any], language: Language) -> str:
    """The metrics beside ROUGE: those under their own name, with a signature."""
    rows = []
    for name, part in scores.items():
        if isinstance(part, dict) and "signature" in part:
            for key, ends in (part.get("interval") or {}).items():
                if not isinstance(ends, dict) and isinstance(part.get(key), int | float):
                    rows.append(
                        [escape(f"{name}.{key}"), f"{part[key]:.2f}", f"{ends[0]:.2f} – {ends[1]:.2f}" if ends else "–"]
                    )
    if not rows:
        return ""
    heads = [escape(text(key, language)) for key in ("metric", "value", "interval_head")]
    return table(heads, rows, label=text("metric", language))

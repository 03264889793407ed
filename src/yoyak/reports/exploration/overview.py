"""The top of the page: the numbers that a reader should see first, and what was found, worst first."""

from collections.abc import Sequence

from yoyak.models.length_proposals import proposed_length
from yoyak.reports.exploration.exploration import Exploration
from yoyak.reports.exploration.figures import Figure
from yoyak.reports.exploration.texts import text
from yoyak.reports.page.frame import Language
from yoyak.reports.page.markup import CardLine, cards, escape

CUT_SHARE = 0.01  # of the rows; fewer cut rows are no finding


def number(value: float) -> str:
    """A number for people: 1,234 or 0.64."""
    return f"{value:,.0f}" if float(value).is_integer() or abs(value) >= 100 else f"{value:.3g}"


def share(part: float, whole: float) -> str:
    """A share in percent; more digits for small ones."""
    if not whole:
        return "–"
    percent = 100 * part / whole
    return f"{percent:.0f}%" if percent in (0, 100) else f"{percent:.1f}%" if percent >= 0.1 else f"{percent:.2g}%"


def overview_html(found: Exploration, language: Language) -> str:
    """The main numbers of each series, the findings, and what was sampled."""
    findings = sorted(_findings(found, language), key=lambda finding: finding[0] != "warn")
    items = "".join(
        f'<li class="{kind}">{escape(sentence)}{"".join(f" <code>{escape(each)}</code>" for each in codes)}</li>'
        for kind, sentence, codes in findings
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
        topics = [(number(len(each.scan.topics.counts)), "") for each in found.series]
        items.append((text("topics_card", language), lines(topics)))
    return items


def _findings(found: Exploration, language: Language) -> list[tuple[str, str, list[str]]]:
    """Kind (warn or good), sentence and commands of each finding."""
    figures = found.figures
    findings: list[tuple[str, str, list[str]]] = []
    rows = sum(each.scan.rows for each in found.series)
    unusable = rows - sum(each.scan.usable for each in found.series)
    if unusable:
        findings.append(("warn", text("find_unusable", language, rows=number(unusable), share=share(unusable, rows)), []))
    repeats = {bar.label: sum(bar.counts) for bar in figures["repeats"].bars}
    for name, key in (("other_split", "find_leak"), ("near_other_split", "find_near"), ("same_split", "find_repeats")):
        if repeats[name]:
            findings.append(("warn", text(key, language, rows=number(repeats[name])), []))
    findings += _length_findings(found, language)
    facts = [bar for bar in figures["signs"].bars if bar.label in ("names_not_in_dialogue", "numbers_not_in_dialogue")]
    checked = sum(facts[0].totals or [])
    if flagged := sum(sum(bar.counts) for bar in facts):
        findings.append(("warn", text("find_signs", language, rows=number(flagged), share=share(flagged, checked)), []))
    different, repeated = (sum(each.repeated_summaries[index] for each in found.corpora) for index in (0, 1))
    if different:
        findings.append(("warn", text("find_repeated", language, rows=number(repeated), different=number(different)), []))
    if not unusable:
        findings.append(("good", text("find_usable", language), []))
    if any(each.near_compared is not None for each in found.corpora) and not repeats["other_split"]:
        findings.append(("good", text("find_no_leak", language), []))
    return findings


def _length_findings(found: Exploration, language: Language) -> list[tuple[str, str, list[str]]]:
    """What the two lengths of params.yaml cut, with the value that cuts at most 1 %."""
    tokens, findings = found.tokens, []
    if tokens is None or tokens.problem:
        return []
    for name, key, param, largest in (
        ("dialogue_tokens", "find_input", "max_input_length", tokens.largest_input),
        ("summary_tokens", "find_target", "max_target_length", tokens.largest_target),
    ):
        cut, total, needed = _cut(found.figures[name])
        if cut <= CUT_SHARE * total:
            continue
        proposal = proposed_length(needed, largest)
        value = found.figures[name].limits[f"tokenizer.{param}"][0]
        sentence = text(key, language, share=share(cut, total), value=number(value), needed=number(needed))
        if largest is not None:
            sentence = f"{sentence[:-1]}. {text('find_limit', language, largest=number(largest))}"
        changes = [f"-S tokenizer.{param}={proposal}"]
        if param == "max_target_length" and proposal > tokens.max_new_tokens:
            changes.append(f"-S generation.max_new_tokens={proposal}")
        findings.append(("warn", sentence, changes))
    if not findings and any(found.figures[name].totals for name in ("dialogue_tokens", "summary_tokens")):
        findings.append(("good", text("find_fit", language), []))
    return findings


def _cut(figure: Figure) -> tuple[int, int, int]:
    """Rows that the limit cuts, all rows, and the largest of the series' 99th percentiles."""
    (_, counts), *_ = figure.limits.values()
    needed: Sequence[float] = [values["p99"] for values in figure.statistics]
    return sum(counts), sum(figure.totals), int(max(needed))

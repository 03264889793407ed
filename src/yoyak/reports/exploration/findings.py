"""What a reader should know first about a corpus: one sentence for each finding, with what to do."""

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from yoyak.models.length_proposals import proposed_length
from yoyak.reports.exploration.exploration import Exploration
from yoyak.reports.exploration.figures import Figure
from yoyak.reports.exploration.numbers import number, share
from yoyak.reports.exploration.texts import text
from yoyak.reports.page.frame import Language

CUT_SHARE = 0.01  # of the rows; fewer cut rows are no finding
_REPEATS = (("other_split", "find_leak"), ("near_other_split", "find_near"), ("same_split", "find_repeats"))


class Finding(NamedTuple):
    """A sentence, `warn` or `good`, with the section of the page to look at, and changes of params to paste."""

    kind: Literal["warn", "good"]
    section: str
    sentence: str
    changes: Sequence[str] = ()


def findings_of(found: Exploration, language: Language) -> list[Finding]:
    """All findings, those that need work first."""
    findings = [*_rows(found, language), *_repeats(found, language), *_lengths(found, language), *_summaries(found, language)]
    return sorted(findings, key=lambda finding: finding.kind != "warn")


def _rows(found: Exploration, language: Language) -> Iterator[Finding]:
    rows = sum(each.scan.rows for each in found.series)
    unusable = rows - sum(each.scan.usable for each in found.series)
    if unusable:
        sentence = text("find_unusable", language, rows=number(unusable), share=share(unusable, rows))
        yield Finding("warn", "dirt", sentence)
    else:
        yield Finding("good", "dirt", text("find_usable", language))


def _repeats(found: Exploration, language: Language) -> Iterator[Finding]:
    repeats = {bar.label: sum(bar.counts) for bar in found.figures["repeats"].bars}
    for name, key in _REPEATS:
        if repeats[name]:
            yield Finding("warn", "repeats", text(key, language, rows=number(repeats[name])))
    if any(each.near_compared is not None for each in found.corpora) and not repeats["other_split"]:
        yield Finding("good", "repeats", text("find_no_leak", language))


def _summaries(found: Exploration, language: Language) -> Iterator[Finding]:
    rows = [row for each in found.series for row in each.rows if row.record.summary]
    if flagged := sum(bool(row.names or row.figures) for row in rows):
        sentence = text("find_signs", language, rows=number(flagged), share=share(flagged, len(rows)))
        yield Finding("warn", "summaries", sentence)
    different, repeated = (sum(each.repeated_summaries[index] for each in found.corpora) for index in (0, 1))
    if different:
        sentence = text("find_repeated", language, rows=number(repeated), different=number(different))
        yield Finding("warn", "summaries", sentence)


def _lengths(found: Exploration, language: Language) -> Iterator[Finding]:
    """What the two lengths of params.yaml cut, with the value that cuts at most 1 %."""
    tokens = found.tokens
    if tokens is None or tokens.problem:
        return
    all_fit = True
    for name, key, param, largest in (
        ("dialogue_tokens", "find_input", "max_input_length", tokens.largest_input),
        ("summary_tokens", "find_target", "max_target_length", tokens.largest_target),
    ):
        value, cut, total, needed = _cut(found.figures[name])
        if cut <= CUT_SHARE * total:
            continue
        all_fit = False
        sentence = text(key, language, share=share(cut, total), value=number(value), needed=number(needed))
        if largest is not None:
            sentence += f" {text('find_limit', language, largest=number(largest))}"
        yield Finding(
            "warn", "lengths", sentence, _changes(param, value, proposed_length(needed, largest), tokens.max_new_tokens)
        )
    if all_fit:
        yield Finding("good", "lengths", text("find_fit", language))


def _changes(param: str, value: float, proposal: int, max_new_tokens: int) -> list[str]:
    if proposal <= value:
        return []
    changes = [f"-S tokenizer.{param}={proposal}"]
    if param == "max_target_length" and proposal > max_new_tokens:
        changes.append(f"-S generation.max_new_tokens={proposal}")
    return changes


def _cut(figure: Figure) -> tuple[float, int, int, int]:
    """The limit, the rows that it cuts, all rows, and the largest of the series' 99th percentiles."""
    (value, counts), *_ = figure.limits.values()
    return value, sum(counts), sum(figure.totals), int(max(values["p99"] for values in figure.statistics))

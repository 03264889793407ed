"""The rows that a page can sort, filter and search, as compact JSON for rows.js. The texts lie in chunks that are read late."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from yoyak.evaluation.metrics.lookup import lower_is_better
from yoyak.reports.page.markup import visible
from yoyak.reports.run_page.dev_rows import ExplainedRow
from yoyak.reports.run_page.marks import Mark, shown_text
from yoyak.reports.run_page.problems import KINDS

CHUNK = 500  # rows whose texts a browser reads at a time
Shown = tuple[str, Sequence[Mark]]


@dataclass(frozen=True)
class BrowserRow:
    """One dialogue of a page.

    Attributes:
        fname, topic: as text.
        dialogue, references: texts with marks.
        summaries: for each run its summary with marks; None if it has none.
        pairs: for each run behind the first one the marks of the first run's summary and of its own, where the two differ.
        problems: (kind, evidence) of the rules that apply.
    """

    fname: str
    topic: str
    dialogue: Shown
    references: Sequence[Shown]
    summaries: Sequence[Shown | None]
    pairs: Sequence[tuple[Sequence[Mark], Sequence[Mark]]] = ()
    problems: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True)
class Browser:
    """All rows of a page.

    Attributes:
        runs: names of the runs; with several, the first is what the others are compared with.
        rows: the dialogues.
        values: for each run the values of each metric, by its name, in the order of the rows.
        sort: the metric that sorts at first; empty for the order of the data.
    """

    runs: Sequence[str]
    rows: Sequence[BrowserRow]
    values: Sequence[Mapping[str, Sequence[float | None]]]
    sort: str = ""
    problems: Sequence[str] = field(default_factory=tuple)

    @property
    def metrics(self) -> list[str]:
        """The metrics that every run has."""
        return [name for name in self.values[0] if all(name in each for each in self.values)]


def run_browser(name: str, rows: Sequence[ExplainedRow], *, sort: str) -> Browser:
    """The rows of one run.

    Args:
        name: of the run.
        rows: its dev dialogues.
        sort: the metric that sorts at first.
    """
    metrics = dict.fromkeys(metric for each in rows for metric in each.row.scores)
    values = {metric: [each.row.scores.get(metric) for each in rows] for metric in metrics}
    kinds = {problem.kind for each in rows for problem in each.problems}
    return Browser([name], [_row(each) for each in rows], [values], sort, [kind for kind in KINDS if kind in kinds])


def _row(each: ExplainedRow) -> BrowserRow:
    row = each.row
    return BrowserRow(
        fname=visible(row.fname),
        topic=visible(row.topic),
        dialogue=shown_text(row.dialogue, each.dialogue_marks),
        references=[shown_text(text, ()) for text in row.references],
        summaries=[None if row.summary is None else shown_text(row.summary, each.summary_marks)],
        problems=[(problem.kind, visible(problem.evidence)) for problem in each.problems],
    )


def browser_data(browser: Browser, words: Mapping[str, str]) -> dict[str, object]:
    """The JSON of a page by the id of its element: `browser` (all that sorting needs) and chunks `texts-0`, `texts-1` …

    A text is a string, or [string, [start, length, kind, …]] with its marks.
    """
    lower = lower_is_better()
    rows = browser.rows
    index = {
        "runs": [visible(name) for name in browser.runs],
        "metrics": [{"key": name, "lower": name in lower} for name in browser.metrics],
        "values": [[_short(values[name]) for name in browser.metrics] for values in browser.values],
        "fnames": [row.fname for row in rows],
        "topics": [row.topic for row in rows] if any(row.topic for row in rows) else None,
        "kinds": list(browser.problems),
        "problems": [sum(1 << browser.problems.index(kind) for kind, _ in row.problems) for row in rows],
        "sort": browser.sort,
        "chunk": CHUNK,
        "words": dict(words),
    }
    chunks = [[_texts(row, browser) for row in rows[start : start + CHUNK]] for start in range(0, len(rows), CHUNK)]
    return {"browser": index, **{f"texts-{number}": chunk for number, chunk in enumerate(chunks)}}


def _texts(row: BrowserRow, browser: Browser) -> dict[str, Any]:
    found: dict[str, Any] = {
        "d": _text(row.dialogue),
        "r": [_text(each) for each in row.references],
        "s": [None if each is None else _text(each) for each in row.summaries],
    }
    if row.pairs:
        found["p"] = [[_flat(one), _flat(other)] for one, other in row.pairs]
    if row.problems:
        found["e"] = [[browser.problems.index(kind), evidence] for kind, evidence in row.problems]
    return found


def _text(shown: Shown) -> object:
    text, marks = shown
    return [text, _flat(marks)] if marks else text


def _flat(marks: Sequence[Mark]) -> list[int]:
    return [number for start, end, kind in marks for number in (start, end - start, kind)]


def _short(values: Sequence[float | None]) -> list[float | None]:
    return [None if value is None else int(value) if value == int(value) else round(value, 4) for value in values]

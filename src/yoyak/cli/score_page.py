"""The page of `yoyak score --html`: of one file of predictions, or of two beside each other."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from yoyak.evaluation.paired_tests import PairedResult
from yoyak.reports.comparison import Comparison
from yoyak.reports.page.frame import Language, write_page
from yoyak.reports.run_page.compare_page import compare_page
from yoyak.reports.run_page.dev_rows import DevRow, explain_rows
from yoyak.reports.run_page.files import RunFacts
from yoyak.reports.run_page.pair_rows import pairs_browser
from yoyak.reports.run_page.run_page import run_page

RowScores = Sequence[Mapping[str, float | None]]


def write_score_page(
    path: Path,
    *,
    scores: dict[str, Any],
    texts: Sequence[tuple[str, str, str, list[str]]],
    summaries: Mapping[str, tuple[Sequence[str], RowScores]],
    results: dict[str, dict[str, PairedResult]] | None,
    language: Language,
) -> None:
    """Write the page.

    Args:
        path: the page.
        scores: of the last file.
        texts: fname, topic, dialogue and references of each row.
        summaries: for each file its texts and their scores; of two files the first is what the other is compared with.
        results: the paired tests; None for one file.
        language: of the page.
    """
    runs = {
        name: [DevRow(*row, text, _measured(cells)) for row, text, cells in zip(texts, *each, strict=True)]
        for name, each in summaries.items()
    }
    if results is None:
        name, rows = next(iter(runs.items()))
        page = run_page(RunFacts(name=name, scores=scores, rows=rows), explain_rows(rows), language)
    else:
        comparison = Comparison(base=next(iter(runs)), results=results, params={}, costs={}, rows=len(texts))
        page = compare_page(comparison, pairs_browser(runs), language, {})
    write_page(path, page)


def _measured(cells: Mapping[str, float | None]) -> dict[str, float]:
    """The values of one row that a metric measured."""
    return {name: value for name, value in cells.items() if value is not None}

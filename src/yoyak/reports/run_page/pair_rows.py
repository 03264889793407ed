"""The dev dialogues of several runs beside each other, with the morphemes in which two summaries differ."""

from collections.abc import Mapping, Sequence

from yoyak.evaluation.morphemes import Morphemes
from yoyak.reports.page.markup import visible
from yoyak.reports.run_page.browser import Browser, BrowserRow
from yoyak.reports.run_page.dev_rows import DevRow
from yoyak.reports.run_page.marks import Mark, composed, different_marks, shown_text, tokens_of

SORT = ("content_sum", "rouge_sum")


def pairs_browser(runs: Mapping[str, Sequence[DevRow]], morphemes: Morphemes | None = None) -> Browser:
    """The rows of a compare page.

    Args:
        runs: for each run its dev dialogues. The first run is what the others are compared with; its dialogues are the rows.
        morphemes: the tokenizer; by default a new one.

    Raises:
        YoyakError: if Mecab cannot load.
    """
    morphemes = morphemes or Morphemes()
    base, *others = runs.values()
    by_name = [{row.fname: row for row in rows} for rows in others]
    together = [[row, *(each.get(row.fname) for each in by_name)] for row in base]
    names = dict.fromkeys(name for row in base for name in row.scores)
    metrics = [name for name in names if all(_has(rows, name) for rows in runs.values())]
    values = [
        {metric: [None if row is None else row.scores.get(metric) for row in column] for metric in metrics}
        for column in zip(*together, strict=True)
    ] or [{} for _ in runs]
    sort = next((name for name in SORT if name in metrics), "")
    return Browser(list(runs), [_row(rows, morphemes) for rows in together], values, sort)


def _has(rows: Sequence[DevRow], metric: str) -> bool:
    return any(metric in row.scores for row in rows)


def _row(rows: Sequence[DevRow | None], morphemes: Morphemes) -> BrowserRow:
    base = rows[0]
    assert base is not None
    texts = [None if row is None or row.summary is None else composed(row.summary) for row in rows]
    return BrowserRow(
        fname=visible(base.fname),
        topic=visible(composed(base.topic)),
        dialogue=shown_text(composed(base.dialogue), ()),
        references=[shown_text(composed(text), ()) for text in base.references],
        summaries=[None if text is None else shown_text(text, ()) for text in texts],
        pairs=[_differences(texts[0], other, morphemes) for other in texts[1:]],
    )


def _differences(one: str | None, other: str | None, morphemes: Morphemes) -> tuple[Sequence[Mark], Sequence[Mark]]:
    if one is None or other is None or one == other:
        return (), ()
    here, there = different_marks(tokens_of(one, morphemes), tokens_of(other, morphemes))
    return shown_text(one, here)[1], shown_text(other, there)[1]

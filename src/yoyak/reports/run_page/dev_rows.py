"""The dev dialogues of a run with their references, summaries and scores, and what a page says about each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from yoyak.evaluation.facts import FactFinder
from yoyak.evaluation.morphemes import Morphemes
from yoyak.reports.run_page.marks import Mark, composed, copied_marks, find_unsupported, tokens_of, without_overlap
from yoyak.reports.run_page.problems import Problem, Texts, find_problems

WORST_BY = ("content_sum", "rouge_sum")  # the worst rows have the lowest value of the first of these that a run has
WORST = 20


@dataclass(frozen=True)
class DevRow:
    """One dev dialogue.

    Attributes:
        fname, topic: of the data; the topic may be empty.
        dialogue: with the original tags.
        references: with the original tags.
        summary: what the model wrote; None if the run has no prediction of it.
        scores: the columns of metrics/per_dialogue.csv; empty if the run has none.
    """

    fname: str
    topic: str
    dialogue: str
    references: Sequence[str]
    summary: str | None
    scores: Mapping[str, float]


@dataclass(frozen=True)
class ExplainedRow:
    """A dev dialogue in composed form (NFC) with the places to mark.

    Attributes:
        row: the dialogue with composed texts.
        summary_marks: copied, and not in the dialogue.
        dialogue_marks: what the summary copies.
        problems: the rules that apply.
    """

    row: DevRow
    summary_marks: Sequence[Mark]
    dialogue_marks: Sequence[Mark]
    problems: Sequence[Problem]


def explain_rows(rows: Sequence[DevRow], morphemes: Morphemes | None = None) -> list[ExplainedRow]:
    """Marks and problems of each row. A row without a summary has neither.

    Raises:
        YoyakError: if Mecab cannot load.
    """
    if not any(row.summary for row in rows):
        return [ExplainedRow(_composed(row), (), (), ()) for row in rows]
    morphemes = morphemes or Morphemes()
    plain = [_composed(row) for row in rows]
    morphemes.preload(text for row in plain for text in (row.dialogue, row.summary or "", *row.references))
    finder = FactFinder(morphemes)
    found = [_marks(row, morphemes, finder) for row in plain]
    with_summary = [number for number, row in enumerate(plain) if row.summary is not None]
    problems = find_problems([found[number][2] for number in with_summary], morphemes)
    by_number = dict(zip(with_summary, problems, strict=True))
    return [
        ExplainedRow(row, marks, copied, by_number.get(number, []))
        for number, (row, (marks, copied, _)) in enumerate(zip(plain, found, strict=True))
    ]


def worst_metric(rows: Sequence[DevRow]) -> str | None:
    """The metric by which the worst rows are chosen; None without scores."""
    return next((name for name in WORST_BY if rows and all(name in row.scores for row in rows)), None)


def worst_rows(rows: Sequence[ExplainedRow]) -> list[int]:
    """The numbers of the WORST rows with the lowest value of `worst_metric`, the lowest first."""
    metric = worst_metric([each.row for each in rows])
    if metric is None:
        return []
    return sorted(range(len(rows)), key=lambda number: (rows[number].row.scores[metric], number))[:WORST]


def _composed(row: DevRow) -> DevRow:
    summary = None if row.summary is None else composed(row.summary)
    return DevRow(
        row.fname, composed(row.topic), composed(row.dialogue), tuple(map(composed, row.references)), summary, row.scores
    )


def _marks(row: DevRow, morphemes: Morphemes, finder: FactFinder) -> tuple[list[Mark], list[Mark], Texts]:
    summary = row.summary or ""
    tokens = tokens_of(summary, morphemes)
    copied, places = copied_marks(tokens, tokens_of(row.dialogue, morphemes))
    unsupported = find_unsupported(summary, row.dialogue, finder) if summary and row.dialogue else []
    references = [tokens_of(text, morphemes) for text in row.references]
    texts = Texts(summary, row.references, tokens, references, unsupported)
    facts = [each.place for each in unsupported if each.place]
    return [*without_overlap(copied, facts), *facts], places, texts

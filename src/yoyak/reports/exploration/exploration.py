"""An exploration: scans of one or two corpora, the measures of their samples, and all figures made from both."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from yoyak.config.sections import Params
from yoyak.data.exploration.corpus import Corpus
from yoyak.data.exploration.scan import CorpusScan, ScanSettings, scan_corpus
from yoyak.data.exploration.tally import EXAMPLES, Record
from yoyak.reports.exploration.corpus_figures import Series, corpus_figures
from yoyak.reports.exploration.figures import Figure
from yoyak.reports.exploration.sample_measures import SampledRow, measure_rows
from yoyak.reports.exploration.terms import Term, frequent_terms, terms_by_topic
from yoyak.reports.exploration.tokens import TokenLimits, add_tokens

Progress = Callable[[int], object]


@dataclass
class Exploration:
    """Everything that the page shows.

    Attributes:
        corpora: the scans.
        series: what the charts compare.
        figures: by name.
        terms: for each corpus the typical terms of its topics.
        cloud: for each corpus its most frequent terms.
        tokens: limits of params.yaml and of the model; None without params.yaml.
        sample: the settings of the sample.
    """

    corpora: list[CorpusScan]
    series: list[Series]
    figures: dict[str, Figure]
    terms: list[dict[str, list[Term]]]
    cloud: list[list[Term]]
    term_rows: dict[str, list[Record]]
    tokens: TokenLimits | None
    sample: ScanSettings

    @property
    def is_sampled(self) -> bool:
        """Whether some rows are not in the sample."""
        return any(len(series.rows) < series.scan.usable for series in self.series)

    def to_json(self) -> dict[str, Any]:
        """All figures, without texts of rows."""
        return {
            "corpora": [
                {
                    "name": each.corpus.name,
                    "files": {split: str(path) for split, path in each.corpus.files.items()},
                    "rows": {split: scan.rows for split, scan in each.splits.items()},
                    "usable": {split: scan.usable for split, scan in each.splits.items()},
                    "repeated_summaries": dict(zip(("different", "rows"), each.repeated_summaries, strict=True)),
                    "topics": {"different": len(topics.counts), "rows_not_counted": topics.dropped},
                }
                for each, topics in ((each, each.whole().topics) for each in self.corpora)
            ],
            "sample": {
                "size": self.sample.sample,
                "seed": self.sample.seed,
                "rows": {series.name: len(series.rows) for series in self.series},
            },
            "tokens": None if self.tokens is None else vars(self.tokens),
            "figures": {name: figure.to_json() for name, figure in self.figures.items()},
            "terms_by_topic": [
                {topic: {term.text: round(term.weight, 4) for term in terms} for topic, terms in each.items()}
                for each in self.terms
            ],
            "frequent_terms": [{term.text: term.dialogues for term in terms} for terms in self.cloud],
        }


def explore(
    corpora: Sequence[Corpus],
    settings: ScanSettings,
    params: Params | None,
    *,
    scanned: Progress = lambda _: None,
    measured: Progress = lambda _: None,
) -> Exploration:
    """Explore one corpus, with its splits side by side, or two corpora.

    Args:
        corpora: one or two.
        settings: the cleaning, and the size and seed of the sample.
        params: for the tokens of the model; None leaves tokens out.
        scanned: called with numbers of rows that were read.
        measured: called with numbers of sampled rows that were measured.

    Raises:
        YoyakError: if a file cannot be read, or Mecab cannot load.
    """
    scans = [scan_corpus(corpus, settings, progress=scanned) for corpus in corpora]
    series = (
        [Series(split, scan) for split, scan in scans[0].splits.items()]
        if len(scans) == 1
        else [Series(each.corpus.name, each.whole()) for each in scans]
    )
    for each in series:
        each.rows = measure_rows(list(each.scan.sample), progress=measured)
    tokens = add_tokens([row for each in series for row in each.rows], params) if params else None
    # The rows of each corpus: with one corpus, those of its splits together.
    rows = [each.rows for each in series] if len(scans) == 2 else [[row for each in series for row in each.rows]]
    cloud, terms = [frequent_terms(each) for each in rows], [terms_by_topic(each) for each in rows]
    figures = corpus_figures(scans, series, rows, tokens)
    shown = {term.text for each in cloud for term in each} | {
        term.text for each in terms for found in each.values() for term in found
    }
    return Exploration(scans, series, figures, terms, cloud, _rows_with(shown, rows), tokens, settings)


def _rows_with(terms: set[str], rows: Sequence[Sequence[SampledRow]]) -> dict[str, list[Record]]:
    found: dict[str, list[Record]] = {term: [] for term in sorted(terms)}
    for row in (row for each in rows for row in each):
        for term in row.terms:
            if term in found and len(found[term]) < EXAMPLES:
                found[term].append(row.record)
    return found

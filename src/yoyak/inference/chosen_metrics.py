"""The metrics of a score: those of every score, and BERTScore, the cosine of embeddings and the judge if params choose them.

Nothing is imported or loaded for a metric that is not chosen.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from yoyak.config.score_section import Score
from yoyak.evaluation.metrics.base import Metric, MetricSettings
from yoyak.evaluation.metrics.lookup import build_metrics
from yoyak.evaluation.morphemes import Morphemes
from yoyak.evaluation.rouge import Aggregation
from yoyak.system.errors import YoyakError


def score_metrics(
    settings: Score, *, tokenizer: Morphemes, aggregation: Aggregation | None = None, threads: int | None = None
) -> list[Metric]:
    """The metrics of every score, and then those of `chosen_metrics`, which has the same arguments and errors."""
    aggregation = aggregation or settings.references
    always = build_metrics(tokenizer=tokenizer, aggregation=aggregation)
    return [*always, *chosen_metrics(settings, tokenizer=tokenizer, aggregation=aggregation, threads=threads)]


def chosen_metrics(
    settings: Score, *, tokenizer: Morphemes, aggregation: Aggregation | None = None, threads: int | None = None
) -> list[Metric]:
    """An instance of each metric that section score chooses, with its model loaded.

    Args:
        settings: section score.
        tokenizer: of ROUGE.
        aggregation: over several references; by default that of the section.
        threads: `hardware.cpu_threads`.

    Raises:
        YoyakError: if a model cannot be loaded. The message begins with the section of the params.
    """
    common = MetricSettings(tokenizer=tokenizer, aggregation=aggregation or settings.references)
    metrics: list[Metric] = []
    if settings.bert_score.checkpoint or settings.embedding.checkpoint:
        metrics += _model_metrics(settings, common, threads)
    if settings.judge.votes:
        from yoyak.inference.endpoint.judge import JudgeMetric

        metrics.append(JudgeMetric(common, settings.judge))
    return metrics


def _model_metrics(settings: Score, common: MetricSettings, threads: int | None) -> Iterator[Metric]:
    from yoyak.evaluation.semantic_metrics import BertScore, EmbeddingCosine
    from yoyak.models.text_encoder import TextEncoder
    from yoyak.system.hardware import configure_cpu

    configure_cpu(threads)
    bert, embedding = settings.bert_score, settings.embedding
    if bert.checkpoint:
        with _named("score.bert_score"):
            encoder = TextEncoder(bert.checkpoint, bert.revision, layer=bert.layer)
        yield BertScore(common, encoder, layer=bert.layer, idf=bert.idf)
    if embedding.checkpoint:
        with _named("score.embedding"):
            encoder = TextEncoder(embedding.checkpoint, embedding.revision, pooling=embedding.pooling)
        yield EmbeddingCosine(common, encoder, pooling=embedding.pooling)


@contextmanager
def _named(section: str) -> Iterator[None]:
    try:
        yield
    except YoyakError as error:
        raise YoyakError(f"{section}: {error}") from error.__cause__

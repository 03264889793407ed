"""The classes of the metrics that METRICS names, and instances of them."""

from importlib import import_module

from yoyak.evaluation import metrics
from yoyak.evaluation.metrics.base import Metric, MetricSettings
from yoyak.evaluation.morphemes import Morphemes
from yoyak.evaluation.rouge import Aggregation


def metric_classes() -> list[type[Metric]]:
    """The class of each metric in the order of METRICS."""
    return [import_module(f"yoyak.evaluation.metrics.{name}").METRIC for name in metrics.METRICS]


def lower_is_better() -> set[str]:
    """The columns of metrics/per_dialogue.csv of which a smaller value is better."""
    return {key for metric in metric_classes() for key in metric.lower_is_better}


def build_metrics(*, tokenizer: Morphemes, aggregation: Aggregation) -> list[Metric]:
    """An instance of each metric. `aggregation` ("mean" or "max") combines the scores against several references."""
    settings = MetricSettings(tokenizer=tokenizer, aggregation=aggregation)
    return [metric(settings) for metric in metric_classes()]

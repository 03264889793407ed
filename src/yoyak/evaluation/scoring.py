"""The content of metrics/scores.json and metrics/per_dialogue.csv: every metric of predictions and baselines."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any

import numpy as np

from yoyak.evaluation import bootstrap
from yoyak.evaluation.metrics.base import Metric, Rows
from yoyak.evaluation.metrics.lookup import metric_classes

NOT_MAIN = ("surface",)  # metrics that describe summaries and do not rank experiments: they are not in metrics/summary.json
TOP_LEVEL = "rouge"  # the metric whose values are at the top level of scores.json; those of the others are under their names


def per_dialogue_columns(metrics: Sequence[Metric] | None = None) -> tuple[str, ...]:
    """Columns of metrics/per_dialogue.csv with these metrics, by default those of METRICS."""
    return ("fname", *chain.from_iterable(metric.row_keys() for metric in (metric_classes() if metrics is None else metrics)))


def score(
    *,
    predictions: Sequence[str],
    references: Sequence[Sequence[str]],
    dialogues: Sequence[str] | None,
    baselines: Mapping[str, Sequence[str]],
    metrics: Sequence[Metric],
    bootstrap_samples: int,
    seed: int,
    decoding: str,
) -> tuple[dict[str, Any], list[dict[str, float | None]]]:
    """Score predictions and baselines with every metric.

    Args:
        predictions: one text for each row.
        references: at least one text for each row.
        dialogues: one text for each row, or None if unknown; metrics that need them are then left out.
        baselines: predictions of each baseline by its name (`baseline_predictions`), one for each row.
        metrics: see `build_metrics`; the metric rouge must be among them.
        bootstrap_samples: number of resamplings for intervals and paired comparisons.
        seed: of the resampling.
        decoding: how the predictions were made, for the signature.

    Returns:
        The content of scores.json, and for each row the content of per_dialogue.csv (without fname; None: not measured).

        `difference` has for each baseline the 95 % interval of the paired difference in rouge_sum over resampled rows, with
        tags (`all`) and without (`content`). `beaten` says whether that interval lies above 0.

        With fewer than bootstrap.MIN_ROWS rows, intervals, `difference` and `beaten` have None in place of each value.

    Raises:
        ValueError: if the lengths differ, or a row has no reference.
    """
    scored = {
        metric.name: _score_metric(
            metric,
            predictions=predictions,
            references=references,
            dialogues=dialogues,
            baselines=baselines,
            bootstrap_samples=bootstrap_samples,
            seed=seed,
        )
        for metric in metrics
        if dialogues is not None or not metric.needs_dialogues
    }
    per_row = [dict(chain.from_iterable(cells)) for cells in zip(*(_cells(each) for each in scored.values()), strict=True)]
    rouge = scored.pop(TOP_LEVEL)
    differences = {name: _difference(rouge.metric, means, rows=len(predictions)) for name, means in rouge.differences.items()}
    result = {
        **rouge.summary,
        "baselines": {
            name: {**values, **{other: each.baselines[name] for other, each in scored.items() if name in each.baselines}}
            for name, values in rouge.baselines.items()
        },
        "rows": len(predictions),
        "distinct": len(set(predictions)),
        "distinct_dialogues": None if dialogues is None else len(set(dialogues)),
        "beaten": {
            name: {part: ends and bootstrap.is_above_zero(ends) for part, ends in parts.items()}
            for name, parts in differences.items()
        },
        "difference": differences,
        "signature": f"{rouge.metric.signature()}|decoding:{decoding}",
        **{
            name: {**each.summary, **each.metric.details(), "signature": each.metric.signature()}
            for name, each in scored.items()
        },
    }
    return result, per_row


def facts_of_run(predicted: Mapping[str, Any]) -> dict[str, Any]:
    """What scores.json repeats from metrics/predict.json: a debug run, a pre-trained base, the price of answers."""
    facts: dict[str, Any] = {"debug_run": True} if predicted.get("debug_run") else {}
    if "pretrained" in predicted:
        facts["pretrained"] = predicted["pretrained"]
    if (price := predicted.get("endpoint", {}).get("price")) is not None:
        facts["price"] = price  # beside the score in `dvc exp show`
    return facts


def main_scores(scores: Mapping[str, Any]) -> dict[str, Any]:
    """The content of metrics/summary.json: the numbers of scores.json by which experiments are compared.

    These are ROUGE, rouge_sum without tags, the values of each further metric (but NOT_MAIN) without its nested parts, and the
    price of an API's answers.
    """
    main = {key: scores[key] for key in ("rouge1", "rouge2", "rougeL", "rouge_sum", "rouge_mean")}
    further = {
        name: part for name, part in scores.items() if isinstance(part, dict) and "signature" in part and name not in NOT_MAIN
    }
    return {
        **main,
        "content": {"rouge_sum": scores["content"]["rouge_sum"]},
        **{
            name: {key: part[key] for key in part["interval"] if not isinstance(part.get(key, {}), dict)}
            for name, part in further.items()
        },
        **({"debug_run": True} if scores.get("debug_run") else {}),
        **({"price": scores["price"]} if "price" in scores else {}),
    }


@dataclass(frozen=True)
class _Scored:
    """What one metric gives."""

    metric: Metric
    rows: Rows  # (rows, keys) of the predictions
    summary: dict[str, Any]  # of the predictions, with `interval`
    baselines: dict[str, dict[str, Any]]  # summary of each baseline
    differences: dict[str, Rows]  # (samples, keys) for each baseline: resampled means of the predictions minus its own


def _score_metric(
    metric: Metric,
    *,
    predictions: Sequence[str],
    references: Sequence[Sequence[str]],
    dialogues: Sequence[str] | None,
    baselines: Mapping[str, Sequence[str]],
    bootstrap_samples: int,
    seed: int,
) -> _Scored:
    metric.prepare([*predictions, *chain(*references), *chain(*baselines.values())])

    def score_rows(texts: Sequence[str]) -> Rows:
        rows = metric.score_rows(predictions=texts, references=references, dialogues=dialogues)
        if rows.shape != (expected := (len(texts), len(metric.keys))):
            raise ValueError(f"metric {metric.name}: score_rows returned shape {rows.shape}; expected {expected}")
        return rows

    def resampled(rows: Rows) -> Rows:
        return bootstrap.resampled_means(rows, samples=bootstrap_samples, seed=seed)

    rows = score_rows(predictions)
    measured = _measured(metric, rows)
    means = resampled(measured)
    chosen = {name: texts for name, texts in baselines.items() if metric.baselines is None or name in metric.baselines}
    baseline_rows = {name: _measured(metric, score_rows(texts)) for name, texts in chosen.items()}
    return _Scored(
        metric=metric,
        rows=rows,
        summary=_summary(metric, measured)
        | {"interval": _map_values(partial(_interval, rows=len(measured)), metric.summarize(means))},
        baselines={name: _summary(metric, values) for name, values in baseline_rows.items()},
        differences={name: means - resampled(values) for name, values in baseline_rows.items()},
    )


def _measured(metric: Metric, rows: Rows) -> Rows:
    """`rows` without those of NaN."""
    found = rows[~np.isnan(rows).all(axis=1)]
    if not len(found):
        raise ValueError(f"metric {metric.name}: no row was measured")
    return found


def _cells(scored: _Scored) -> list[list[tuple[str, float | None]]]:
    """The cells of per_dialogue.csv for each row, as (column, value)."""
    columns = scored.metric.row_keys()
    return [
        [(column, None if np.isnan(value) else round(float(value), 4)) for column, value in zip(columns, row, strict=True)]
        for row in scored.metric.row_values(scored.rows)
    ]


def _interval(means: Rows, *, rows: int) -> list[float] | None:
    """The 95 % interval of resampled means (samples,) over `rows` rows, or None for too few rows."""
    return bootstrap.interval(means) if rows >= bootstrap.MIN_ROWS else None


def _difference(metric: Metric, means: Rows, *, rows: int) -> dict[str, list[float] | None]:
    """The 95 % intervals of resampled differences (samples, keys) of ROUGE in rouge_sum, with and without tags."""
    values = metric.summarize(means)
    return {
        "all": _interval(values["rouge_sum"], rows=rows),
        "content": _interval(values["content"]["rouge_sum"], rows=rows),
    }


def _summary(metric: Metric, rows: Rows) -> dict[str, Any]:
    """The metric's summary of `rows` (rows, keys), rounded to 4 decimal places."""
    return _map_values(lambda value: round(float(value), 4), metric.summarize(rows.mean(axis=0)))


def _map_values(function: Callable[[Any], Any], values: dict[str, Any]) -> dict[str, Any]:
    """`function` of each array in nested dicts."""
    return {key: _map_values(function, value) if isinstance(value, dict) else function(value) for key, value in values.items()}

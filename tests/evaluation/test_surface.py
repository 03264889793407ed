"""Lengths and repetition, counted by hand."""

import numpy as np
import pytest

from tests.evaluation.conftest import Spaces
from yoyak.evaluation.metrics.base import MetricSettings
from yoyak.evaluation.metrics.surface import Surface, repetition


def test_repetition_by_hand() -> None:
    assert repetition(["a", "b", "c", "d"]) == 0
    assert repetition(["a", "b", "c", "a", "b", "c"]) == pytest.approx(1 / 4)  # abc bca cab abc
    assert repetition(["a", "a", "a", "a", "a"]) == pytest.approx(2 / 3)  # aaa three times
    assert repetition(["a", "b"]) == 0


def test_lengths_by_hand() -> None:
    metric = Surface(MetricSettings(tokenizer=Spaces(), aggregation="mean"))
    rows = metric.score_rows(
        predictions=["a b c a b c", "", "a b"], references=[["a b c"], ["a b"], ["a", "a b c"]], dialogues=None
    )
    assert rows.tolist() == [[6, 3, 100, pytest.approx(25)], [0, 2, 100, 0], [2, 2, 0, 0]]
    summary = metric.summarize(rows.mean(axis=0))
    assert {key: float(value) for key, value in summary.items()} == {
        "length_ratio": pytest.approx(8 / 7),
        "length_gap": pytest.approx(200 / 3),
        "repetition": pytest.approx(25 / 3),
    }
    assert metric.row_values(rows).tolist() == [[100, pytest.approx(25)], [100, 0], [0, 0]]
    assert float(metric.summarize(np.zeros(4))["length_ratio"]) == 0

"""Spearman's correlation against SciPy, and the dialogues that ROUGE overlooks."""

import numpy as np
import pytest

from yoyak.evaluation.correlations import agreement_table, agreements, spearman


def test_spearman_is_that_of_scipy() -> None:
    from scipy.stats import spearmanr  # type: ignore[import-untyped]

    generator = np.random.default_rng(3)
    for size in (5, 40):
        one = generator.integers(0, 6, size).astype(float)  # many ties
        other = one + generator.normal(0, 2, size).round()
        assert spearman(one, other) == pytest.approx(spearmanr(one, other).statistic)
    assert spearman(np.ones(5), np.arange(5.0)) is None


def test_what_rouge_overlooks() -> None:
    rouge = np.arange(20.0)
    facts = np.zeros(20)
    facts[[2, 18, 19]] = 1, 2, 1  # two in the better half
    judge = np.where(np.arange(20) < 10, np.nan, 5 - rouge / 10)  # against ROUGE, of ten dialogues
    found = agreements(
        [f"dev_{place}" for place in range(20)],
        {"rouge_sum": rouge, "content_sum": -rouge, "facts_unsupported": facts, "judge_mean": judge},
        lower_is_better={"facts_unsupported"},
        samples=50,
        seed=1,
    )
    assert set(found) == {"facts_unsupported", "judge_mean"}
    assert found["facts_unsupported"].worst == ["dev_2", "dev_18", "dev_19"]
    assert found["facts_unsupported"].overlooked == ["dev_19", "dev_18"], "the highest ROUGE first"
    assert found["judge_mean"].rows == 10
    value, ends = found["judge_mean"].correlations["rouge_sum"]
    assert value == pytest.approx(-1) and ends == [-1, -1]
    assert found["judge_mean"].correlations["content_sum"][0] == pytest.approx(1)
    assert found["judge_mean"].worst == found["judge_mean"].overlooked == ["dev_19"]
    table = "\n".join(agreement_table(found, lower_is_better={"facts_unsupported"}))
    assert "facts_unsupported*" in table and "2 of 3" in table
    assert "overlooked by ROUGE, worst by judge_mean: dev_19" in table


def test_a_metric_without_any_difference_says_so() -> None:
    found = agreements(
        ["a", "b", "c"],
        {"rouge_sum": np.arange(3.0), "content_sum": np.arange(3.0), "x": np.zeros(3)},
        lower_is_better=(),
        samples=10,
        seed=1,
    )
    assert found["x"].correlations["rouge_sum"] == (None, None)
    assert found["x"].worst == []
    assert "- (all values equal)" in "\n".join(agreement_table(found, lower_is_better=()))

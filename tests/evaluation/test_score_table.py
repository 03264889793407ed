"""The table for a terminal and its warnings."""

from typing import Any

import pytest

from tests.conftest import DIALOGUES, SUMMARIES
from yoyak.evaluation.baselines import BASELINES, baseline_predictions
from yoyak.evaluation.metrics.lookup import build_metrics
from yoyak.evaluation.morphemes import Morphemes
from yoyak.evaluation.score_table import score_table, score_warnings
from yoyak.evaluation.scoring import score

LOST = {"lead1": {"all": False, "content": True}}


def with_numbers(**changes: Any) -> dict[str, Any]:
    numbers = {"rouge1": 40.0, "rouge2": 20.0, "rougeL": 30.0, "rouge_sum": 90.0, "rouge_mean": 30.0}
    return {
        **numbers,
        "content": numbers,
        "interval": {**{key: [1.0, 2.0] for key in numbers}, "content": {key: [1.0, 2.0] for key in numbers}},
        "baselines": {"lead1": {**numbers, "content": numbers}},
        "beaten": {"lead1": {"all": True, "content": True}},
        "difference": {"lead1": {"all": [1.0, 2.0], "content": [1.0, 2.0]}},
        "rows": 10,
        "distinct": 10,
        "signature": "signature",
    } | changes


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        (
            {"beaten": LOST, "difference": {"lead1": {"all": [-1.0, 2.0]}}},
            ["NO DIFFERENCE SHOWN to the baseline lead1 in rouge_sum: no difference shown with tags (90.00 against 90.00"],
        ),
        ({"beaten": LOST, "difference": {"lead1": {"all": [-3.0, -2.0]}}}, ["WORSE than the baseline lead1 in rouge_sum"]),
        ({"beaten": LOST, "difference": {}}, ["NO DIFFERENCE SHOWN"]),  # a file of an earlier version
        ({"beaten": {"lead1": {"all": True, "content": False}}}, ["without tags"]),
        ({"rougeL": 19.9}, ["ROUGE-L is below ROUGE-2"]),
        ({"distinct": 5}, []),
        ({"distinct": 4}, ["only 4 distinct outputs in 10 rows"]),
        ({"distinct": 1, "rougeL": 1.0}, ["ROUGE-L is below", "only 1 distinct"]),
    ],
)
def test_warnings(changes: dict[str, Any], expected: list[str]) -> None:
    scores = with_numbers(**changes)
    warnings = score_warnings(scores)
    assert len(warnings) == len(expected)
    for line, part in zip(warnings, expected, strict=True):
        assert part in line
        assert f"WARNING: {line}" in score_table(scores)


def test_a_debug_run_is_named_above_the_table() -> None:
    assert score_table(with_numbers(debug_run=True)).startswith("WARNING: DEBUG RUN: ")
    assert "DEBUG" not in score_table(with_numbers())


def test_table_shows_model_and_baselines(mecab: Morphemes) -> None:
    result, _ = score(
        predictions=SUMMARIES,
        references=[[text] for text in SUMMARIES],
        dialogues=DIALOGUES,
        baselines=baseline_predictions(DIALOGUES, medoid=SUMMARIES[0]),
        metrics=build_metrics(tokenizer=mecab, aggregation="mean"),
        bootstrap_samples=200,
        seed=1,
        decoding="num_beams=4",
    )
    lines = score_table(result).split("\n")
    names = [line.split()[0] for line in lines[2:8]]
    assert names == ["model", *BASELINES]
    assert lines[2].split()[1:] == ["100.00"] * 3 + ["300.00"] + ["100.00"] * 3 + ["300.00"]
    assert any(result["signature"] in line for line in lines)


def test_the_base_of_a_pretrained_model_is_named() -> None:
    assert "base:" not in score_table(with_numbers())
    base = {"from": "models/base/kobart-tiny", "revision": None, "num_train_epochs": 2.0, "texts": "train"}
    expected = "base: models/base/kobart-tiny, pre-trained further as models/pretrained (2 epochs, dialogues: train)"
    assert expected in score_table(with_numbers(pretrained=base)).splitlines()

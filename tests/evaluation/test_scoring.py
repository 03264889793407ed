"""The content of scores.json and per_dialogue.csv."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import DIALOGUES, SUMMARIES
from yoyak.evaluation import bootstrap
from yoyak.evaluation.baselines import BASELINES, baseline_predictions, medoid
from yoyak.evaluation.metrics.lookup import build_metrics
from yoyak.evaluation.morphemes import Morphemes
from yoyak.evaluation.rouge import Aggregation
from yoyak.evaluation.score_table import score_table, score_warnings
from yoyak.evaluation.scoring import score


@pytest.fixture(autouse=True)
def _eight_rows_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "MIN_ROWS", 8)


KEYS = {"rouge1", "rouge2", "rougeL", "rouge_sum", "rouge_mean"}


def scored(
    mecab: Morphemes, predictions: list[str], *, aggregation: Aggregation = "mean", **changes: Any
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    settings: dict[str, Any] = {
        "dialogues": DIALOGUES,
        "metrics": build_metrics(tokenizer=mecab, aggregation=aggregation),
        "references": [[text] for text in SUMMARIES],
        "bootstrap_samples": 200,
        "seed": 1,
        "baselines": baseline_predictions(DIALOGUES, medoid=SUMMARIES[0]),
        "decoding": "num_beams=4",
    }
    return score(predictions=predictions, **(settings | changes))


def test_shape_of_the_scores(mecab: Morphemes) -> None:
    result, per_row = scored(mecab, list(SUMMARIES))
    assert set(result) == KEYS | {
        *("content", "interval", "baselines", "rows", "distinct", "distinct_dialogues", "beaten", "difference", "signature"),
        *("facts", "surface"),
    }
    assert set(result["surface"]) == {"length_ratio", "length_gap", "repetition", "interval", "signature"}
    assert set(result["facts"]) == {"unsupported", "recall", "names", "numbers", "tags", "interval", "signature"}
    assert set(result["content"]) == KEYS
    assert set(result["interval"]) == KEYS | {"content"}
    assert set(result["interval"]["content"]) == KEYS
    assert set(result["baselines"]) == {"lead1", "lead2", "lead3", "constant", "medoid"} == set(result["beaten"])
    for name, row in result["baselines"].items():
        assert set(row) == KEYS | {"content", "facts", "surface"}
        assert set(row["content"]) == KEYS
        assert set(result["beaten"][name]) == {"all", "content"}
    assert result["rows"] == len(SUMMARIES)
    assert all(len(pair) == 2 for key, pair in result["interval"].items() if key != "content")
    assert [set(row) for row in per_row] == [
        {"rouge1", "rouge2", "rougeL", "rouge_sum", "content_sum", "facts_unsupported", "facts_recalled"}
        | {"surface_length_gap", "surface_repetition"}
    ] * len(SUMMARIES)


def test_a_perfect_model(mecab: Morphemes) -> None:
    result, per_row = scored(mecab, list(SUMMARIES))
    assert (result["rouge1"], result["rouge_sum"], result["rouge_mean"], result["content"]["rouge_sum"]) == (100, 300, 100, 300)
    assert result["interval"]["rouge_sum"] == [300, 300]
    assert all(beaten == {"all": True, "content": True} for beaten in result["beaten"].values())
    assert result["baselines"]["constant"]["content"]["rouge_sum"] == 0
    rouge = {"rouge1": 100, "rouge2": 100, "rougeL": 100, "rouge_sum": 300, "content_sum": 300}
    assert per_row[0] == {
        **rouge,
        "facts_unsupported": 0,
        "facts_recalled": 0,
        "surface_length_gap": 0,
        "surface_repetition": 0,
    }
    assert score_warnings(result) == []


def test_the_interval_holds_the_score_and_rows_average_to_it(mecab: Morphemes) -> None:
    result, per_row = scored(mecab, [*SUMMARIES[:4], *SUMMARIES[:4]])
    for key in ("rouge1", "rouge_sum"):
        low, high = result["interval"][key]
        assert low < result[key] < high
        assert sum(row[key] for row in per_row) / len(per_row) == pytest.approx(result[key], abs=1e-3)
    low, high = result["interval"]["content"]["rouge_sum"]
    assert low < result["content"]["rouge_sum"] < high
    assert per_row[5]["rouge_sum"] < per_row[0]["rouge_sum"] == 300  # rows in the predictions' order


def test_scores_follow_the_seed(mecab: Morphemes) -> None:
    mixed = [*SUMMARIES[:4], *SUMMARIES[:4]]
    first, again, other = (scored(mecab, mixed, seed=seed)[0] for seed in (1, 1, 2))
    assert first == again
    assert first["interval"] != other["interval"]
    assert first["rouge_sum"] == other["rouge_sum"]


@pytest.mark.parametrize("name", BASELINES)
def test_a_model_that_is_a_baseline_does_not_beat_it(mecab: Morphemes, name: str) -> None:
    baselines = baseline_predictions(DIALOGUES, medoid=SUMMARIES[0])
    result, _ = scored(mecab, baselines[name])
    assert result["beaten"][name] == {"all": False, "content": False}
    assert result["baselines"][name]["rouge_sum"] == result["rouge_sum"]
    told = [line for line in score_warnings(result) if name in line]
    assert len(told) == 1
    assert told[0].startswith("NO DIFFERENCE SHOWN to the baseline")
    assert "no difference shown with tags" in told[0]
    assert "no difference shown without tags" in told[0]
    assert result["difference"][name] == {"all": [0, 0], "content": [0, 0]}


def test_a_difference_within_the_noise_is_not_beaten(mecab: Morphemes) -> None:
    weak = ["#Person1#은 말합니다."] * len(SUMMARIES)
    slightly_better = [SUMMARIES[0], *weak[1:]]  # one row of eight: resampling misses it often
    result, _ = scored(mecab, slightly_better, baselines={"medoid": weak})
    assert result["rouge_sum"] > result["baselines"]["medoid"]["rouge_sum"]
    assert result["beaten"]["medoid"] == {"all": False, "content": False}
    low, high = result["difference"]["medoid"]["all"]
    assert low == 0 < high
    (told,) = score_warnings(result)[:1]
    assert told.startswith("NO DIFFERENCE SHOWN") and "95 % interval of the difference +0.00 to +" in told


def test_a_model_that_loses_is_worse(mecab: Morphemes) -> None:
    result, _ = scored(mecab, ["비"] * len(SUMMARIES), baselines={"medoid": list(SUMMARIES)})
    assert result["difference"]["medoid"]["all"][1] < 0
    assert score_warnings(result)[0].startswith("WORSE than the baseline medoid in rouge_sum: worse with tags (")


def test_few_rows_have_neither_interval_nor_verdict(mecab: Morphemes) -> None:
    """One row would have an interval of width zero."""
    few: dict[str, Any] = {"references": [[SUMMARIES[0]]], "dialogues": DIALOGUES[:1], "baselines": {"lead1": ["비"]}}
    result, _ = scored(mecab, [SUMMARIES[0]], **few)
    leaves = [*result["interval"].values(), *result["interval"]["content"].values()]
    assert all(leaf is None for leaf in leaves if not isinstance(leaf, dict))
    assert result["beaten"] == result["difference"] == {"lead1": {"all": None, "content": None}}
    table = score_table(result)
    assert "95 % interval of rouge_sum: none (too few rows, at least 8 are needed) (1 rows" in table
    assert [line for line in table.split("\n") if line.startswith("WARNING")] == [
        "WARNING: nothing shows whether the model is better than a baseline: too few rows, at least 8 are needed"
    ]


def test_rows_are_paired_when_compared(mecab: Morphemes) -> None:
    """A little better in every row is better, however much the rows differ among themselves."""
    base = [text if index % 2 else "축하" for index, text in enumerate(SUMMARIES)]
    better = [text if index % 2 else f"축하 {text[-7:]}" for index, text in enumerate(SUMMARIES)]
    less = [text[:-6] if index % 2 else "축하" for index, text in enumerate(SUMMARIES)]
    assert scored(mecab, base, baselines={"lead1": less})[0]["beaten"]["lead1"]["all"]
    assert scored(mecab, better, baselines={"lead1": base})[0]["beaten"]["lead1"]["all"]


def test_tags_alone_beat_nothing_in_content(mecab: Morphemes) -> None:
    """A model that learns only the tags beats a lead by the competition's count. `content` shows that it is empty."""
    tags = [" ".join(sorted({part for part in text.split() if part.startswith("#")})) for text in SUMMARIES]
    result, _ = scored(mecab, tags, baselines={"lead1": ["좋은 아침"] * len(SUMMARIES)})
    assert result["beaten"]["lead1"]["all"]
    assert result["content"]["rouge_sum"] < result["rouge_sum"] / 2


def test_several_references_reach_every_part(mecab: Morphemes) -> None:
    references = [[text, "비가 온다"] for text in SUMMARIES]
    mean = scored(mecab, list(SUMMARIES), references=references)[0]
    best = scored(mecab, list(SUMMARIES), references=references, aggregation="max")[0]
    assert best["rouge_sum"] == 300 > mean["rouge_sum"]
    assert best["content"]["rouge_sum"] == 300 > mean["content"]["rouge_sum"]
    assert best["baselines"]["medoid"]["rouge_sum"] > mean["baselines"]["medoid"]["rouge_sum"]
    assert "references:max" in best["signature"]


def test_signature_has_the_decoding(mecab: Morphemes) -> None:
    assert scored(mecab, list(SUMMARIES))[0]["signature"].endswith("|decoding:num_beams=4")


@pytest.mark.parametrize("count", [7, 9])
def test_another_number_of_predictions_raises(mecab: Morphemes, count: int) -> None:
    with pytest.raises(ValueError, match=r"shorter|longer"):
        scored(mecab, (list(SUMMARIES) * 2)[:count])


def test_a_collapsed_model_is_seen(mecab: Morphemes) -> None:
    result, _ = scored(mecab, [SUMMARIES[0]] * len(SUMMARIES))
    assert result["distinct"] == 1
    assert any("collapsed" in line for line in score_warnings(result))


def test_equal_dialogues_do_not_make_a_collapsed_model(mecab: Morphemes) -> None:
    result, _ = scored(mecab, [SUMMARIES[0]] * len(SUMMARIES), dialogues=DIALOGUES[:1] * len(SUMMARIES))
    assert (result["distinct"], result["distinct_dialogues"]) == (1, 1)
    assert not any("collapsed" in line for line in score_warnings(result))


@pytest.mark.parametrize("aggregation", ["mean", "max"])
def test_scores_are_byte_for_byte_those_of_the_first_release(mecab: Morphemes, aggregation: Aggregation) -> None:
    """golden_scores.json was written by the code before metrics became a seam (commit 6cdf5e8)."""
    predictions = [*SUMMARIES[:3], SUMMARIES[3][:20], "비가 온다.", "", SUMMARIES[0], "#Person1#은 #Person2#를 축하합니다"]
    result, per_row = score(
        predictions=predictions,
        references=[[text] if row % 3 else [text, f"{text[:12]} 그렇습니다."] for row, text in enumerate(SUMMARIES)],
        dialogues=DIALOGUES,
        baselines=baseline_predictions(DIALOGUES, medoid=medoid(SUMMARIES, tokenizer=mecab)),
        metrics=build_metrics(tokenizer=mecab, aggregation=aggregation)[:1],  # ROUGE alone; metrics that came later follow it
        bootstrap_samples=300,
        seed=7,
        decoding="num_beams=4",
    )
    del result["distinct_dialogues"], result["difference"]  # added later
    golden = json.loads((Path(__file__).parent / "golden_scores.json").read_text(encoding="utf-8"))[aggregation]
    assert json.dumps(result, indent=2) == json.dumps(golden["scores"], indent=2)  # also the order of the keys
    assert json.dumps(per_row) == json.dumps(golden["per_dialogue"])

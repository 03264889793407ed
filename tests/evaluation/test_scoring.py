from typing import Any

import pytest

from tests.conftest import DIALOGUES, SUMMARIES
from yoyak.evaluation import rouge, scoring

KEYS = {"rouge1", "rouge2", "rougeL", "rouge_sum", "rouge_mean"}


@pytest.fixture(scope="module")
def mecab() -> rouge.Morphemes:
    return rouge.Morphemes()


def scored(mecab: rouge.Morphemes, predictions: list[str], **changes: Any) -> tuple[dict[str, Any], list[dict[str, float]]]:
    settings: dict[str, Any] = {
        "references": [[text] for text in SUMMARIES],
        "how": "mean",
        "bootstrap_samples": 200,
        "seed": 1,
        "tokenizer": mecab,
        "against": scoring.baselines(DIALOGUES, medoid=SUMMARIES[0]),
        "decoding": "num_beams=4",
    }
    return scoring.score(predictions=predictions, **(settings | changes))


def test_baselines() -> None:
    dialogues = ["#Person1#: 가\n#Person2#: 나\n#Person1#: 다\n#Person2#: 라", "#Person1#: 하나"]
    assert scoring.baselines(dialogues, medoid="중앙") == {
        "lead1": ["#Person1#: 가", "#Person1#: 하나"],
        "lead2": ["#Person1#: 가\n#Person2#: 나", "#Person1#: 하나"],
        "lead3": ["#Person1#: 가\n#Person2#: 나\n#Person1#: 다", "#Person1#: 하나"],
        "constant": ["#Person1# #Person2#"] * 2,
        "medoid": ["중앙"] * 2,
    }


def test_shape_of_the_scores(mecab: rouge.Morphemes) -> None:
    result, per_row = scored(mecab, list(SUMMARIES))
    assert set(result) == KEYS | {"content", "interval", "baselines", "rows", "distinct", "beaten", "signature"}
    assert set(result["content"]) == KEYS
    assert set(result["interval"]) == KEYS | {"content"}
    assert set(result["interval"]["content"]) == KEYS
    assert set(result["baselines"]) == {"lead1", "lead2", "lead3", "constant", "medoid"} == set(result["beaten"])
    for name, row in result["baselines"].items():
        assert set(row) == KEYS | {"content"}
        assert set(row["content"]) == KEYS
        assert set(result["beaten"][name]) == {"all", "content"}
    assert result["rows"] == len(SUMMARIES)
    assert all(len(pair) == 2 for key, pair in result["interval"].items() if key != "content")
    assert [set(row) for row in per_row] == [{"rouge1", "rouge2", "rougeL", "rouge_sum", "content_sum"}] * len(SUMMARIES)


def test_a_perfect_model(mecab: rouge.Morphemes) -> None:
    result, per_row = scored(mecab, list(SUMMARIES))
    assert (result["rouge1"], result["rouge_sum"], result["rouge_mean"], result["content"]["rouge_sum"]) == (100, 300, 100, 300)
    assert result["interval"]["rouge_sum"] == [300, 300]
    assert all(beaten == {"all": True, "content": True} for beaten in result["beaten"].values())
    assert result["baselines"]["constant"]["content"]["rouge_sum"] == 0
    assert per_row[0] == {"rouge1": 100, "rouge2": 100, "rougeL": 100, "rouge_sum": 300, "content_sum": 300}
    assert scoring.warnings(result) == []


def test_the_interval_holds_the_score_and_rows_average_to_it(mecab: rouge.Morphemes) -> None:
    result, per_row = scored(mecab, [*SUMMARIES[:4], *SUMMARIES[:4]])
    for key in ("rouge1", "rouge_sum"):
        low, high = result["interval"][key]
        assert low < result[key] < high
        assert sum(row[key] for row in per_row) / len(per_row) == pytest.approx(result[key], abs=1e-3)
    low, high = result["interval"]["content"]["rouge_sum"]
    assert low < result["content"]["rouge_sum"] < high
    assert per_row[5]["rouge_sum"] < per_row[0]["rouge_sum"] == 300  # rows in the predictions' order


def test_scores_follow_the_seed(mecab: rouge.Morphemes) -> None:
    mixed = [*SUMMARIES[:4], *SUMMARIES[:4]]
    first, again, other = (scored(mecab, mixed, seed=seed)[0] for seed in (1, 1, 2))
    assert first == again
    assert first["interval"] != other["interval"]
    assert first["rouge_sum"] == other["rouge_sum"]


@pytest.mark.parametrize("name", scoring.BASELINES)
def test_a_model_that_is_a_baseline_does_not_beat_it(mecab: rouge.Morphemes, name: str) -> None:
    against = scoring.baselines(DIALOGUES, medoid=SUMMARIES[0])
    result, _ = scored(mecab, against[name])
    assert result["beaten"][name] == {"all": False, "content": False}
    assert result["baselines"][name]["rouge_sum"] == result["rouge_sum"]
    told = [line for line in scoring.warnings(result) if name in line]
    assert len(told) == 1
    assert told[0].startswith("NOT BETTER")
    assert "with tags" in told[0]
    assert "without tags" in told[0]


def test_a_difference_within_the_noise_is_not_beaten(mecab: rouge.Morphemes) -> None:
    weak = ["#Person1#은 말합니다."] * len(SUMMARIES)
    slightly_better = [SUMMARIES[0], *weak[1:]]  # one row of eight: resampling misses it often
    result, _ = scored(mecab, slightly_better, against={"medoid": weak})
    assert result["rouge_sum"] > result["baselines"]["medoid"]["rouge_sum"]
    assert result["beaten"]["medoid"] == {"all": False, "content": False}
    assert any("within the noise" in line for line in scoring.warnings(result))


def test_rows_are_paired_when_compared(mecab: rouge.Morphemes) -> None:
    """A little better in every row is better, however much the rows differ among themselves."""
    base = [text if at % 2 else "축하" for at, text in enumerate(SUMMARIES)]
    better = [text if at % 2 else f"축하 {text[-7:]}" for at, text in enumerate(SUMMARIES)]
    less = [text[:-6] if at % 2 else "축하" for at, text in enumerate(SUMMARIES)]
    assert scored(mecab, base, against={"lead1": less})[0]["beaten"]["lead1"]["all"]
    assert scored(mecab, better, against={"lead1": base})[0]["beaten"]["lead1"]["all"]


def test_tags_alone_beat_nothing_in_content(mecab: rouge.Morphemes) -> None:
    """What learned only the tags looks better than a lead by the competition's count: `content` tells."""
    tags = [" ".join(sorted({part for part in text.split() if part.startswith("#")})) for text in SUMMARIES]
    result, _ = scored(mecab, tags, against={"lead1": ["좋은 아침"] * len(SUMMARIES)})
    assert result["beaten"]["lead1"]["all"]
    assert result["content"]["rouge_sum"] < result["rouge_sum"] / 2


def test_several_references_reach_every_part(mecab: rouge.Morphemes) -> None:
    references = [[text, "비가 온다"] for text in SUMMARIES]
    mean = scored(mecab, list(SUMMARIES), references=references)[0]
    best = scored(mecab, list(SUMMARIES), references=references, how="max")[0]
    assert best["rouge_sum"] == 300 > mean["rouge_sum"]
    assert best["content"]["rouge_sum"] == 300 > mean["content"]["rouge_sum"]
    assert best["baselines"]["medoid"]["rouge_sum"] > mean["baselines"]["medoid"]["rouge_sum"]
    assert "references:max" in best["signature"]


def test_signature_has_the_decoding(mecab: rouge.Morphemes) -> None:
    assert scored(mecab, list(SUMMARIES))[0]["signature"].endswith("|decoding:num_beams=4")


@pytest.mark.parametrize("count", [7, 9])
def test_another_number_of_predictions_raises(mecab: rouge.Morphemes, count: int) -> None:
    with pytest.raises(ValueError, match=r"shorter|longer"):
        scored(mecab, (list(SUMMARIES) * 2)[:count])


def with_numbers(**changes: Any) -> dict[str, Any]:
    numbers = {"rouge1": 40.0, "rouge2": 20.0, "rougeL": 30.0, "rouge_sum": 90.0, "rouge_mean": 30.0}
    return {
        **numbers,
        "content": numbers,
        "interval": {**{key: [1.0, 2.0] for key in numbers}, "content": {key: [1.0, 2.0] for key in numbers}},
        "baselines": {"lead1": {**numbers, "content": numbers}},
        "beaten": {"lead1": {"all": True, "content": True}},
        "rows": 10,
        "distinct": 10,
        "signature": "signature",
    } | changes


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"beaten": {"lead1": {"all": False, "content": True}}}, ["NOT BETTER than the baseline lead1"]),
        ({"beaten": {"lead1": {"all": True, "content": False}}}, ["without tags"]),
        ({"rougeL": 19.9}, ["ROUGE-L is below ROUGE-2"]),
        ({"distinct": 5}, []),
        ({"distinct": 4}, ["only 4 distinct outputs in 10 rows"]),
        ({"distinct": 1, "rougeL": 1.0}, ["ROUGE-L is below", "only 1 distinct"]),
    ],
)
def test_warnings(changes: dict[str, Any], expected: list[str]) -> None:
    scores = with_numbers(**changes)
    told = scoring.warnings(scores)
    assert len(told) == len(expected)
    for line, part in zip(told, expected, strict=True):
        assert part in line
        assert f"WARNING: {line}" in scoring.table(scores)


def test_a_collapsed_model_is_seen(mecab: rouge.Morphemes) -> None:
    result, _ = scored(mecab, [SUMMARIES[0]] * len(SUMMARIES))
    assert result["distinct"] == 1
    assert any("collapsed" in line for line in scoring.warnings(result))


def test_table_shows_model_and_baselines(mecab: rouge.Morphemes) -> None:
    result, _ = scored(mecab, list(SUMMARIES))
    lines = scoring.table(result).split("\n")
    names = [line.split()[0] for line in lines[2:8]]
    assert names == ["model", *scoring.BASELINES]
    assert lines[2].split()[1:] == ["100.00"] * 3 + ["300.00"] + ["100.00"] * 3 + ["300.00"]
    assert any(result["signature"] in line for line in lines)

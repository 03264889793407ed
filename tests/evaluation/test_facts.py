"""Facts of Korean texts: names, numbers in every spelling, tags; and the metric that counts those a dialogue does not state."""

import numpy as np
import pytest

from yoyak.evaluation.facts import FactFinder, Number
from yoyak.evaluation.metrics.base import MetricSettings
from yoyak.evaluation.metrics.facts import FactsMetric
from yoyak.evaluation.morphemes import Morphemes


@pytest.fixture(scope="module")
def finder() -> FactFinder:
    return FactFinder(Morphemes())


@pytest.mark.parametrize(
    ("text", "value", "unit"),
    [
        ("세 시에 만난다", 3, "시"),
        ("3시에 만난다", 3, "시"),
        ("삼십 분 걸린다", 30, "분"),
        ("열두 명이 왔다", 12, "명"),
        ("스물다섯 살이다", 25, "살"),
        ("25세이다", 25, "살"),
        ("3만 5천 원을 냈다", 35_000, "원"),
        ("35,000원을 냈다", 35_000, "원"),
        ("삼만 오천 원을 냈다", 35_000, "원"),
        ("백만 원을 냈다", 1_000_000, "원"),
        ("만원을 냈다", 10_000, "원"),
        ("1억 2천만 원이다", 120_000_000, "원"),
        ("이천이십삼 년이다", 2023, "년"),
        ("3.5점을 받았다", 3.5, "점"),
        ("50퍼센트 할인", 50, "%"),
        ("50% 할인", 50, "%"),
        ("오십 달러", 50, "달러"),
        ("십이월에 간다", 12, "월"),
        ("유월에 간다", 6, "월"),
        ("5월에 간다", 5, "월"),
        ("무게는 25kg이다", 25, "kg"),
    ],
)
def test_numbers_are_read_in_every_spelling(finder: FactFinder, text: str, value: float, unit: str) -> None:
    assert finder.facts(text).numbers == {Number(value, unit)}


@pytest.mark.parametrize(
    "text", ["한 친구가 왔다", "둘 다 좋다", "한 번 해 보자", "몇 시에 갈까", "수백 명이 왔다", "이 일은 다 오래 간다"]
)
def test_words_that_only_look_like_numbers_are_none(finder: FactFinder, text: str) -> None:
    assert finder.facts(text).numbers == frozenset()


def test_half_past_is_thirty_minutes(finder: FactFinder) -> None:
    assert finder.facts("세 시 반에 보자").numbers == {Number(3, "시"), Number(30, "분")}


@pytest.mark.parametrize(
    ("one", "other", "agree"),
    [
        (Number(3, "시"), Number(15, "시"), True),
        (Number(3, "시"), Number(4, "시"), False),
        (Number(3, "명"), Number(3, ""), True),
        (Number(3, "명"), Number(3, "개"), False),
        (Number(3, "시"), Number(3, "시간"), False),
    ],
)
def test_when_numbers_agree(one: Number, other: Number, agree: bool) -> None:
    assert one.agrees_with(other) == agree == other.agrees_with(one)


def test_names_are_proper_nouns_and_foreign_words(finder: FactFinder) -> None:
    text = "김지훈 씨는 스타벅스에서 BTS 노래를 듣고 월요일에 제주도로 간다"
    assert finder.facts(text).names == {"김지훈", "스타벅스", "bts", "월요일", "제주도"}


def test_a_particle_after_a_tag_is_no_name(finder: FactFinder) -> None:
    facts = finder.facts("#Person1#은 #Person2#에게 #Person3#의 #PhoneNumber#를 알립니다")
    assert facts.names == frozenset() and facts.numbers == frozenset()
    assert facts.tags == {"#Person1#", "#Person2#", "#Person3#", "#PhoneNumber#"}


DIALOGUE = "#Person1#: 민수랑 세 시에 강남역에서 보자.\n#Person2#: 좋아, 만 원 가져갈게."


def rows(*predictions: str, references: list[list[str]] | None = None) -> tuple[FactsMetric, np.ndarray]:
    metric = FactsMetric(MetricSettings(Morphemes(), "mean"))
    wanted = references or [["민수를 3시에 강남역에서 만난다"]] * len(predictions)
    return metric, metric.score_rows(predictions=predictions, references=wanted, dialogues=[DIALOGUE] * len(predictions))


def test_what_the_dialogue_does_not_state_is_counted() -> None:
    metric, counted = rows(
        "#Person1#은 민수를 3시에 강남역에서 만난다", "#Person3#은 영희를 네 시에 강남역에서 만난다", "만난다"
    )
    column = {key: counted[:, index].tolist() for index, key in enumerate(metric.keys)}
    assert column["names_stated"] == [2, 2, 0] and column["names_unsupported"] == [0, 1, 0]
    assert column["numbers_stated"] == [1, 1, 0] and column["numbers_unsupported"] == [0, 1, 0]
    assert column["tags_unsupported"] == [0, 1, 0]
    assert column["names_expected"] == [2, 2, 2] and column["names_recalled"] == [2, 1, 0]
    assert column["numbers_recalled"] == [1, 0, 0]
    summary = metric.summarize(counted.mean(axis=0))
    assert summary["unsupported"] == pytest.approx(100 * 2 / 6) and summary["recall"] == pytest.approx(100 * 4 / 9)
    assert summary["tags"]["unsupported"] == pytest.approx(50)
    assert metric.row_values(counted).tolist() == [[0, 3], [2, 1], [0, 0]]


def test_spelling_does_not_matter() -> None:
    metric, counted = rows("민수를 오후 15시에 강 남역에서 만나 10,000원을 받는다")
    assert counted[0, metric.keys.index("numbers_unsupported")] == 0


def test_several_references_count_as_their_mean() -> None:
    metric, counted = rows("민수를 만난다", references=[["민수를 만난다", "영희를 3시에 만난다"]])
    column = dict(zip(metric.keys, counted[0].tolist(), strict=True))
    assert (column["names_expected"], column["names_recalled"], column["numbers_expected"]) == (1, 0.5, 0.5)


def test_no_facts_at_all_give_zero_and_not_nan() -> None:
    metric, counted = rows("", references=[["만난다"]])
    summary = metric.summarize(counted.mean(axis=0))
    assert (summary["unsupported"], summary["recall"], summary["tags"]["recall"]) == (0, 0, 0)

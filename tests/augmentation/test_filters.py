"""The filters reject for the right reason, and keep what is good."""

import pytest

from tests.augmentation.runs import filters
from yoyak.augmentation.base import Candidate, FilterName
from yoyak.augmentation.filters import REASONS

SOURCE = {
    "fname": "train_1",
    "dialogue": "#Person1#: 내일 아침에 서울역 앞에서 만나 같이 기차를 타고 부산에 가자.\n#Person2#: 그래, 표는 미리 살게.",
    "summary": "#Person1#은 #Person2#와 내일 기차로 부산에 가기로 합니다.",
    "topic": "여행",
}


def candidate(dialogue: str = "", summary: str = "") -> Candidate:
    return Candidate(dialogue or SOURCE["dialogue"], summary or SOURCE["summary"], "여행")


GOOD = SOURCE["dialogue"].replace("내일 아침에 ", "오전에 ").replace("같이 ", "")
CASES: dict[str, tuple[Candidate, tuple[FilterName, ...]]] = {
    "unchanged": (candidate(), ()),
    "broken_dialogue": (candidate("기차를 타자."), ()),
    "other_tags": (candidate(GOOD.replace("그래", "그래 #Person1#")), ("same_tags",)),
    "unknown_tag": (candidate(SOURCE["dialogue"].split("\n")[0]), ("known_tags",)),
    "foreign_script": (candidate(GOOD.replace("기차", "KTX")), ("foreign",)),
    "other_language": (candidate(summary="#Person1# and #Person2# take the train to 부산."), ("language",)),
    "length_low": (candidate(summary="부산에 갑니다."), ("length",)),
    "length_high": (candidate(SOURCE["dialogue"].replace("표는", "표도")), ("length",)),
    "rouge_low": (candidate(summary="두 사람이 여행 계획을 세우고 누가 예매할지도 정합니다."), ("rouge",)),
    "rouge_high": (candidate(SOURCE["dialogue"].replace("미리 ", "")), ("rouge",)),
}


@pytest.mark.parametrize("reason", CASES)
def test_a_row_is_rejected_for_this_reason_and_only_by_this_filter(reason: str) -> None:
    row, names = CASES[reason]
    check = filters()
    assert check.check(row, [SOURCE], names).reason == reason
    if names:
        assert check.check(row, [SOURCE], ()).reason is None


def test_a_good_row_is_kept_with_its_scores() -> None:
    verdict = filters().check(candidate(GOOD), [SOURCE], ("same_tags", "foreign", "language", "length", "rouge"))
    assert verdict.reason is None
    assert verdict.scores == {
        "dialogue_language": 1.0,
        "dialogue_length": pytest.approx(0.92, abs=0.03),
        "dialogue_rouge": pytest.approx(0.8, abs=0.15),
        "near_duplicate": 0.0,
    }


def test_an_example_of_rouge_by_hand() -> None:
    """나/는/어제/밥/을/먹/었/다 without 어제: 7 of 7 and of 8 morphemes for ROUGE-1 and -L, 5 of 6 and of 7 bigrams."""
    source = SOURCE | {"summary": "나는 어제 밥을 먹었다"}
    check = filters("rouge_min=0", "rouge_max=1")
    scores = check.check(candidate(summary="나는 밥을 먹었다"), [source], ("rouge",)).scores
    f1, f2 = 2 * (7 / 8) / (1 + 7 / 8), 2 * (5 / 6) * (5 / 7) / (5 / 6 + 5 / 7)
    assert scores["summary_rouge"] == pytest.approx((2 * f1 + f2) / 3, abs=1e-4)


def test_a_word_of_any_source_is_not_foreign() -> None:
    further = SOURCE | {"dialogue": "#Person1#: KTX 타자."}
    row = candidate(GOOD.replace("기차", "ktx"))
    assert filters().check(row, [SOURCE, further], ("foreign",)).reason is None


@pytest.mark.parametrize(
    "copy",
    [
        SOURCE["dialogue"],
        SOURCE["dialogue"].replace("#Person1#", "#Person3#"),  # with other speakers
        SOURCE["dialogue"].replace(" ", "").replace(",", " ,"),  # with other spaces
        SOURCE["dialogue"].replace("미리 ", ""),  # without a word
    ],
)
def test_what_is_like_a_row_of_dev_or_test_is_rejected(copy: str) -> None:
    row, elsewhere = candidate(summary="둘은 여행을 갑니다."), SOURCE | {"dialogue": "#Person1#: 전혀 다른 이야기입니다."}
    guard = filters(evaluation=[{"dialogue": copy}])
    assert guard.check(row, [elsewhere], ()).reason == "near_duplicate"
    assert guard.check(candidate("#Person1#: 알아볼 수 없게 바뀐 말."), [SOURCE], ()).reason == "near_duplicate", (
        "its source is"
    )
    assert guard.check(candidate("#Person1#: 바뀐 말."), [elsewhere], ()).reason is None


def test_equal_dialogues_are_rejected_whatever_the_limit() -> None:
    row = candidate(summary="둘은 여행을 갑니다.")
    for copy, reason in ((SOURCE["dialogue"], "near_duplicate"), (GOOD, None)):
        assert filters("near_duplicate=1", evaluation=[{"dialogue": copy}]).check(row, [SOURCE], ()).reason == reason


def test_every_reason_is_explained() -> None:
    assert set(CASES) | {"near_duplicate", "repeated"} == set(REASONS)

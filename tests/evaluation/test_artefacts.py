"""What chat models write around a summary is removed; a summary itself stays as it is."""

import csv

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import ROOT
from yoyak.data.cleaning import clean_summary
from yoyak.evaluation.artefacts import RULES, is_no_text, remove_artefacts

SUMMARY = "#Person1#은 #Person2#에게 내일 3시에 만나자고 한다."

CASES = {
    f"<think>대화를 보자.\n두 사람…</think>\n\n{SUMMARY}": ["reasoning"],
    f"대화를 보자.</think>{SUMMARY}": ["reasoning"],
    f"<Thinking>음</Thinking>{SUMMARY}": ["reasoning"],
    f"```\n{SUMMARY}\n```": ["code_fence"],
    f"```text\n{SUMMARY}\n```": ["code_fence"],
    f"```markdown\n{SUMMARY}": ["code_fence"],
    f"요약: {SUMMARY}": ["prefix"],
    f"요약문：{SUMMARY}": ["prefix"],
    f"**요약:** {SUMMARY}": ["prefix"],
    f"**요약**: {SUMMARY}": ["prefix"],
    f"[요약] {SUMMARY}": ["prefix"],
    f"## 요약\n{SUMMARY}": ["prefix"],
    f"### 대화 요약:\n{SUMMARY}": ["prefix"],
    f"Summary: {SUMMARY}": ["prefix"],
    f"다음은 대화 요약입니다: {SUMMARY}": ["prefix"],
    f"다음은 위 대화를 요약한 내용입니다:\n\n{SUMMARY}": ["prefix"],
    f'"{SUMMARY}"': ["quotes"],
    f"“{SUMMARY}”": ["quotes"],
    f"'{SUMMARY}'": ["quotes"],
    f'요약: "{SUMMARY}"': ["prefix", "quotes"],
    f'"요약: {SUMMARY}"': ["quotes", "prefix"],
    SUMMARY.replace("에게 ", "에게\n"): ["line_breaks"],
    f"**{SUMMARY}**": ["emphasis"],
    SUMMARY.replace("내일", "**내일**"): ["emphasis"],
    f"<think>음</think>\n```\n요약: {SUMMARY}\n```": ["reasoning", "code_fence", "prefix"],
}


@pytest.mark.parametrize("text", CASES)
def test_an_artefact_is_removed_and_named(text: str) -> None:
    assert remove_artefacts(text) == (SUMMARY, tuple(CASES[text]))


def test_a_list_becomes_running_text() -> None:
    text, rules = remove_artefacts("- 민수는 회의에 간다.\n- 영희는 집에 간다.")
    assert text == "민수는 회의에 간다. 영희는 집에 간다." and rules == ("bullets", "line_breaks")
    assert remove_artefacts("1. 민수는 간다.\n2. 영희는 온다.")[0] == "민수는 간다. 영희는 온다."


@pytest.mark.parametrize(
    "text",
    [
        SUMMARY,
        '#Person1#은 "가자"고 말하고, #Person2#는 "싫다"고 답한다.',
        '"가자"고 #Person1#이 말하고 #Person2#는 "싫다"',
        "요약 보고서를 #Person1#이 제출한다.",
        "#Person1#은 보고서의 요약: 세 쪽을 읽는다.",
        "다음은 없다고 #Person1#은 말한다.",
        "- 5도의 날씨에 #Person1#은 외출한다.",
        "2 * 3 * 4를 계산한다.",
        "snake__case__name을 #Person1#이 고친다",
        "1. FC 서울 경기를 #Person1#이 본다.",
        "",
    ],
)
def test_a_summary_stays_as_it_is(text: str) -> None:
    assert remove_artefacts(text)[0] == text


def test_a_thought_without_an_end_leaves_nothing() -> None:
    assert remove_artefacts("<think>이 대화는") == ("", ("reasoning",))


def test_no_cleaned_summary_of_the_sample_is_changed() -> None:
    for split in ("train", "dev"):
        with open(ROOT / f"data/sample/{split}.csv", encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                text, _ = clean_summary(row["summary"], "moderate")
                assert remove_artefacts(text) == (text, ())


@given(st.text(alphabet="가나 .\n\"'`*-#<>/think요약:1“”_", max_size=40))
def test_a_second_pass_changes_nothing(text: str) -> None:
    once, _ = remove_artefacts(text)
    assert remove_artefacts(once) == (once, ())
    assert set(remove_artefacts(text)[1]) <= set(RULES)


@pytest.mark.parametrize("text", ["nan", "NaN", " None ", "null", "N/A", "undefined", "NULL.", "<NA>"])
def test_missing_values_are_no_text(text: str) -> None:
    assert is_no_text(text)


@pytest.mark.parametrize("text", ["", "난", "nano", "None of them", SUMMARY])
def test_other_texts_are_texts(text: str) -> None:
    assert not is_no_text(text)

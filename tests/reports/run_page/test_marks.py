"""Places that a page marks, and how a browser counts them."""

import pytest

from yoyak.evaluation.facts import FactFinder
from yoyak.evaluation.morphemes import Morphemes
from yoyak.reports.run_page.marks import (
    COPIED,
    DIFFERENT,
    NAME,
    NUMBER,
    UNKNOWN_TAG,
    Mark,
    composed,
    copied_marks,
    different_marks,
    find_unsupported,
    shown_text,
    tokens_of,
    without_overlap,
)

DIALOGUE = "#Person1#: 내일 저녁 세 시에 강남역 앞에서 만나요.\n#Person2#: 네, 표는 제가 살게요."


@pytest.fixture(scope="module")
def morphemes() -> Morphemes:
    return Morphemes()


def texts(text: str, marks: list[Mark]) -> list[str]:
    return [text[mark.start : mark.end] for mark in marks]


def test_a_tag_is_one_token_and_every_token_stands_where_it_says(morphemes: Morphemes) -> None:
    text = composed("#Person1#과 #PhoneNumber# 이야기")
    tokens = tokens_of(text, morphemes)
    assert [token.text for token in tokens if token.is_tag] == ["#Person1#", "#PhoneNumber#"]
    assert all(text[token.start : token.end] == token.text for token in tokens)


def test_three_morphemes_in_a_row_are_copied_and_tags_never(morphemes: Morphemes) -> None:
    summary = "#Person1#은 내일 저녁 세 시에 만나고, 표는 #Person2#가 삽니다."
    here, there = copied_marks(tokens_of(summary, morphemes), tokens_of(DIALOGUE, morphemes))
    assert texts(summary, here) == ["내일 저녁 세 시에"] and texts(DIALOGUE, there) == ["내일 저녁 세 시에"]
    assert {mark.kind for mark in here} == {COPIED}


def test_names_numbers_and_tags_that_the_dialogue_lacks(morphemes: Morphemes) -> None:
    summary = "#Person3#은 내일 3시에 부산에서 표 12장을 삽니다."
    found = find_unsupported(summary, DIALOGUE, FactFinder(morphemes))
    places = {each.kind: summary[each.place.start : each.place.end] for each in found if each.place}
    assert places == {NAME: "부산", NUMBER: "12장을", UNKNOWN_TAG: "#Person3#"}  # 3시 is 세 시
    assert [each.text for each in found] == ["부산", "12장", "#Person3#"]


def test_differences_are_marked_in_both_texts(morphemes: Morphemes) -> None:
    one, other = "#Person1#은 표를 삽니다.", "#Person2#는 표를 팝니다."
    here, there = different_marks(tokens_of(one, morphemes), tokens_of(other, morphemes))
    assert texts(one, here)[0].startswith("#Person1#") and texts(other, there)[0].startswith("#Person2#")
    assert "표" not in "".join(texts(one, here)) and {mark.kind for mark in here + there} == {DIFFERENT}
    assert different_marks(tokens_of(one, morphemes), tokens_of(one, morphemes)) == ([], [])


def test_a_fact_cuts_the_copy_around_it() -> None:
    parts = without_overlap([Mark(0, 10, COPIED)], [Mark(6, 8, NUMBER), Mark(2, 4, NAME)])
    assert parts == [Mark(0, 2, COPIED), Mark(4, 6, COPIED), Mark(8, 10, COPIED)]


def test_marks_count_utf16_units_and_unseen_characters_are_codes() -> None:
    text = "😀a\u202eb"
    shown, marks = shown_text(text, [Mark(1, 2, COPIED), Mark(3, 4, NAME)])
    assert shown == "😀a[U+202E]b"
    units = shown.encode("utf-16-le")
    assert [units[2 * mark.start : 2 * mark.end].decode("utf-16-le") for mark in marks] == ["a", "b"]
    assert shown_text("가나", [Mark(1, 2, NAME)]) == ("가나", [Mark(1, 2, NAME)])

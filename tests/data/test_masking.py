"""Personal data is masked before a text leaves this machine, and put back."""

import csv

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import DIALOGUES, ROOT
from yoyak.data.masking import Masker, count_masked, restore

FOUND = {
    "010-1234-5678": "PhoneNumber",
    "01012345678": "PhoneNumber",
    "010 1234 5678": "PhoneNumber",
    "010.1234.5678": "PhoneNumber",
    "(02) 123-4567": "PhoneNumber",
    "02-1234-5678": "PhoneNumber",
    "031-123-4567": "PhoneNumber",
    "070-1234-5678": "PhoneNumber",
    "0507-1234-5678": "PhoneNumber",
    "+82 10-1234-5678": "PhoneNumber",
    "+82-10-1234-5678": "PhoneNumber",
    "1588-1234": "PhoneNumber",
    "０１０-１２３４-５６７８": "PhoneNumber",
    "minsu.kim@example.co.kr": "Email",
    "a+b@x.io": "Email",
    "900101-1234567": "SSN",
    "9001011234567": "SSN",
    "900101 - 2234567": "SSN",
    "1234-5678-9012-3456": "CardNumber",
    "1234 5678 9012 3456": "CardNumber",
    "1234567890123456": "CardNumber",
    "3782-822463-10005": "CardNumber",
    "110-123-456789": "AccountNumber",
    "123456-01-123456": "AccountNumber",
    "3333-01-1234567": "AccountNumber",
    "12345678901234": "AccountNumber",
}


@pytest.mark.parametrize("number", FOUND)
def test_personal_data_is_masked_by_kind_and_restored(number: str) -> None:
    text = f"#Person1#: 제 것은 {number}입니다.\n#Person2#: {number}, 맞죠?"
    masker = Masker()
    masked = masker.mask(text)
    name = f"#{FOUND[number]}1#"
    assert masked == f"#Person1#: 제 것은 {name}입니다.\n#Person2#: {name}, 맞죠?"
    assert count_masked(masker.originals) == {FOUND[number]: 1}
    assert restore(f"답: {name}", masker.originals) == (f"답: {number}", 1)


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-26에 만나요",
        "10,000원",
        "1,234,567원이에요",
        "3.5km",
        "오후 12:30",
        "버스 1234번",
        "2024년 10월 9일",
        "방 번호는 1203-4",
        "100-200쪽",
        "#PhoneNumber#로 전화하세요",
        "#Person1#: 0번",
    ],
)
def test_other_numbers_stay(text: str) -> None:
    assert Masker().mask(text) == text


def test_each_number_has_a_placeholder_of_its_own_in_all_texts_of_a_request() -> None:
    masker = Masker()
    assert masker.mask("010-1111-2222, 010-3333-4444") == "#PhoneNumber1#, #PhoneNumber2#"
    assert masker.mask("다시 010-3333-4444와 a@b.kr") == "다시 #PhoneNumber2#와 #Email1#"
    assert count_masked(masker.originals) == {"PhoneNumber": 2, "Email": 1}


def test_a_number_needs_no_space_around_it() -> None:
    assert Masker().mask("번호는010-1234-5678이고 메일은a@b.kr로") == "번호는#PhoneNumber1#이고 메일은#Email1#로"


def test_a_placeholder_that_the_text_already_has_is_not_used() -> None:
    masker = Masker()
    text = "#PhoneNumber1#과 010-1234-5678"
    masked = masker.mask(text)
    assert masked == "#PhoneNumber1#과 #PhoneNumber2#"
    assert restore(masked, masker.originals) == (text, 1)


def test_the_sample_has_nothing_to_mask() -> None:
    """Its numbers are tags, so that masking does not change what the models read."""
    with open(ROOT / "data/sample/dev.csv", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            assert Masker().mask(row["dialogue"]) == row["dialogue"]
    for text in DIALOGUES:
        assert Masker().mask(text) == text


@given(st.text(alphabet="0123456789- @.ab가#PhoneNumber+()", max_size=60))
def test_restoring_gives_the_text_back(text: str) -> None:
    masker = Masker()
    assert restore(masker.mask(text), masker.originals)[0] == text

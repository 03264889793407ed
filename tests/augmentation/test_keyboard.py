"""The Korean keyboard: keys and syllables are inverse to each other, and errors are near the right key."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yoyak.augmentation.keyboard import keys_of, mistype, neighbors, word_of


@pytest.mark.parametrize(
    ("word", "keys"),
    [
        ("과일", "ㄱㅗㅏㅇㅣㄹ"),
        ("닭이", "ㄷㅏㄹㄱㅇㅣ"),
        ("없었어", "ㅇㅓㅂㅅㅇㅓㅆㅇㅓ"),
        ("의사!", "ㅇㅡㅣㅅㅏ!"),
        ("꼈어", "ㄲㅕㅆㅇㅓ"),
    ],
)
def test_the_keys_of_a_word(word: str, keys: str) -> None:
    assert "".join(keys_of(word)) == keys
    assert word_of(list(keys)) == word


def test_letters_that_fit_into_no_syllable_stand_alone() -> None:
    assert word_of(list("ㅇㅏㅏ")) == "아ㅏ"
    assert word_of(list("ㅇㅇㅏ")) == "ㅇ아"
    assert word_of(list("ㅏㄴㅏ")) == "ㅏ나"


@given(st.text(st.characters(min_codepoint=0xAC00, max_codepoint=0xD7A3), max_size=6))
@settings(max_examples=300, deadline=None)
def test_every_word_is_typed_by_its_keys(word: str) -> None:
    assert word_of(keys_of(word)) == word


def test_keys_beside_a_key_are_of_the_same_kind() -> None:
    assert set(neighbors("ㅛ")) == {"ㅕ", "ㅗ"}
    assert set(neighbors("ㅂ")) == {"ㅈ", "ㅁ"}
    assert neighbors("ㅆ") == "ㅅ"  # without shift
    assert neighbors("A") == ""


def test_a_typing_error_changes_one_key() -> None:
    generator = random.Random(1)
    words = [mistype("안녕하세요", generator) for _ in range(300)]
    assert {"안녕하세여", "아녕하세요", "안녕핫세요"} & set(words)
    assert all(abs(len(keys_of(word)) - len(keys_of("안녕하세요"))) <= 1 and word != "안녕하세요" for word in words)
    assert mistype("Hello!", generator) == "Hello!"

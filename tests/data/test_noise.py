"""Levels of cleaning: laughter, tears, fillers, emoji, repeated marks."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.data.random_texts import NOISES, QUICK, TEXTS
from yoyak.data.noise import Noise, as_substitutions, reduce_noise


@pytest.mark.parametrize(
    ("text", "moderate", "aggressive"),
    [
        ("잘 가.", "잘 가.", "잘 가."),
        ("좋아ㅋㅋㅋ 가자", "좋아 웃음 가자", "좋아 웃음 가자"),
        ("ㅋ", "웃음", "웃음"),
        ("ㅎㅎㅋㅋ", "웃음", "웃음"),
        ("미안ㅠㅜㅠ.", "미안 슬픔.", "미안 슬픔."),
        ("ㅋㅋㅠㅠ", "웃음 슬픔", "웃음 슬픔"),
        ("ㅇㅋ 이따 봐ㅋㅋ", "ㅇㅋ 이따 봐 웃음", "ㅇㅋ 이따 봐 웃음"),  # 오케이, not laughter
        ("ㅊㅋㅊㅋ! ㅎㄷ", "ㅊㅋㅊㅋ! ㅎㄷ", "ㅊㅋㅊㅋ! ㅎㄷ"),
        ("ㅋㅋㅇㅋ", "ㅋㅋㅇㅋ", "ㅋㅇㅋ"),
        ("ㅇㅋㅋㅋㅋ", "ㅇㅋ 웃음", "ㅇㅋ 웃음"),
        ("ㅋㅋㄷ ㅇㅋㅋㄷ ㅋㅠㅋ", "ㅋㅋㄷ ㅇㅋㅋㄷ 웃음 슬픔 웃음", "ㅋㄷ ㅇㅋㄷ 웃음 슬픔 웃음"),
        ("음... 어, 그래!!", "음... 어, 그래!!", "그래!"),
        ("음식 좋다", "음식 좋다", "음식 좋다"),
        ("음...", "음...", "음..."),  # an utterance of nothing but noise stays
        ("진짜?? 와~~~ 대박…… ㄷㄷㄷ", "진짜?? 와~~~ 대박…… ㄷㄷㄷ", "진짜? 와~ 대박… ㄷ"),
        ("좋아😀👍!", "좋아😀👍!", "좋아!"),
        ("오전 9시 ~ 10시 .NET 과정", "오전 9시 ~ 10시 .NET 과정", "오전 9시 ~ 10시 .NET 과정"),
        ("😀", "😀", "😀"),
        ("3.5점", "3.5점", "3.5점"),
        ("", "", ""),
    ],
)
def test_clean_by_noise_level(text: str, moderate: str, aggressive: str) -> None:
    assert reduce_noise(text, "minimal") == text
    assert reduce_noise(text, "moderate") == moderate
    assert reduce_noise(text, "aggressive") == aggressive


@QUICK
@given(TEXTS, st.sampled_from(NOISES))
def test_clean_of_any_text_keeps_something(text: str, noise: Noise) -> None:
    cleaned = reduce_noise(text, noise)
    assert bool(cleaned.strip()) == bool(text.strip())
    assert set(cleaned) - set(text) <= set("웃음슬픔. ")


@given(
    st.text(st.sampled_from("가나 ㅋㅎㅠㅜㅇㅊㄷ.,!?~…#Person1: 웃음슬픔"), max_size=40),
    st.sampled_from(["minimal", "moderate"]),
)
def test_the_substitutions_do_the_same_without_yoyak(text: str, noise: Noise) -> None:
    line = f"#Person1#: {' '.join(text.split()) or '네'}"
    expected = f"#Person1#: {reduce_noise(line.removeprefix('#Person1#: '), noise)}"
    substitutions = as_substitutions(noise)
    assert substitutions is not None
    for pattern, replacement in substitutions:
        line = re.sub(pattern, replacement, line)
    assert line == expected


def test_aggressive_cleaning_has_no_such_form() -> None:
    assert as_substitutions("aggressive") is None

"""Masks of other corpora: kept, replaced by a word, or dropped, and always counted."""

import pytest

from yoyak.data.masks import MaskMode, apply_masks

TEXT = "#@이름#한테 &name1& 사진 #@시스템#사진# 보냈어 {laughing} [NAME] xx"


@pytest.mark.parametrize(
    ("mode", "result"),
    [
        ("keep", TEXT),
        ("replace", "이름한테 이름1 사진 사진 보냈어 웃음 이름 xx"),
        ("drop", "한테 사진 보냈어"),
    ],
)
def test_masks(mode: MaskMode, result: str) -> None:
    text, found = apply_masks(TEXT, mode)
    assert text == result
    assert set(found) == {"#@이름#", "&name1&", "#@시스템#사진#", "{laughing}", "[NAME]", "xx"}


def test_tags_of_ours_entities_and_ordinary_brackets_are_no_masks() -> None:
    text = "#Person1#: R&D & A&B [참고] {1} name xbox #PhoneNumber#"
    assert apply_masks(text, "drop") == (text, {})

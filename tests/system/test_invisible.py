"""Invisible characters: what a text can lose, and which texts are blank."""

import unicodedata

import pytest

from yoyak.data.character_forms import without_full_width_tags, without_half_width
from yoyak.system.invisible import FILLER, has_rare_characters, is_blank, without_invisible

FAMILY = "👨\u200d👩\u200d👧"
FLAG = "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f"


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \t\n\u3000\u00a0",
        "\u3164",
        "\u2800",
        "\u115f\u1160\uffa0",
        "\u200b" * 12,
        "\u00ad\u034f\u061c\u180e\u200c\u200d\u200e\u2060\u2066\ufeff\ufff9",
        "\ufe0f\U000e0101",
        "\U000e0041\U0001d173",
    ],
)
def test_a_text_that_nobody_sees_is_blank(text: str) -> None:
    assert is_blank(text)


@pytest.mark.parametrize("text", ["a", "가", ".", "\u3164가", FAMILY, "☺", "\u0301", "\x00"])
def test_any_sign_makes_a_text_not_blank(text: str) -> None:
    assert not is_blank(text)


@pytest.mark.parametrize("text", [FAMILY, "❤️\u200d🔥", "👍🏽", FLAG, "1️⃣ #️⃣", "☺️ ☺︎", "葛\U000e0101", "∩\ufe00"])
def test_what_belongs_to_a_sign_stays(text: str) -> None:
    assert without_invisible(text) == text


@pytest.mark.parametrize(
    ("text", "visible"),
    [
        ("가\u200d나", "가나"),
        ("😀\u200d가", "😀가"),
        ("😀\u200d\u200d😀", "😀😀"),
        ("#Person1#\ufe0f:\ufe0f", "#Person1#:"),
        ("가\U000e0067나", "가나"),
        ("\ufeff가\u00ad\u180e\u206a", "가"),
    ],
)
def test_what_belongs_to_nothing_is_removed(text: str, visible: str) -> None:
    assert without_invisible(text) == visible


def test_the_fast_search_knows_every_character_that_a_repair_changes() -> None:
    letters = set("#0123456789") | {chr(code) for code in range(65, 123)}
    missed = [
        f"U+{code:04X}"
        for code in range(128, 0x110000)
        if not has_rare_characters(char := chr(code))
        and (
            without_invisible(f"가{char}") != f"가{char}"
            or FILLER.search(char)
            or without_half_width(char) != char
            or (unicodedata.normalize("NFKC", char) in letters and without_full_width_tags(f"#{char}#") != f"#{char}#")
        )
    ]
    assert missed == []

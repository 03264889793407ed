"""Noise of chats: laughter, tears, fillers, emoji and repeated marks (param preprocess.noise)."""

import re
from typing import Literal

Noise = Literal["minimal", "moderate", "aggressive"]

# ㅇㅋ, ㅊㅋ and ㅎㄷㄷ are words, not laughter. In ㅇㅋㅋㅋ the laughter begins after the word ㅇㅋ. The pattern matches only
# at the start of a run. A long run before ㄷ would otherwise be scanned again from each of its letters.
_LAUGHTER = re.compile(r"(?:(?<![ㄱ-ㅎ])|(?<=[ㄱ-ㅊㅌㅍ][ㅋㅎ]))[ㅋㅎ]++(?![ㄱ-ㅊㅌㅍ])")
_TEARS = re.compile(r"[ㅠㅜ]+")
_REPEATED = re.compile(r"([!?~,…])\1+|\.{2,}|([ㄱ-ㅎㅏ-ㅣ])\2+")
# With what joins the parts of an emoji: U+200D, variation selectors, the frame of a keycap, the letters of a flag.
_EMOJI = re.compile(
    r"[\u2190-\u21ff\u2300-\u27bf\u2b00-\u2bff\u200d\u20e3\ufe0e\ufe0f\U0001f000-\U0001faff\U000e0020-\U000e007f]+([.,!?~…])?"
)
_FILLER = re.compile(r"^(?:(?:음|어|아|저기|저|그|뭐|에|흠|글쎄)(?:[,~…]|\.{2,})+[ \t]*)+")
_SPACE_BEFORE_MARK = re.compile(r"(?<=웃음|슬픔) (?=[.,!?~…])")


def reduce_noise(text: str, noise: Noise) -> str:
    """One utterance or summary at a level of cleaning.

    Args:
        text: on one line.
        noise: `minimal` changes nothing. `moderate` writes laughter and tears as words (ㅋㅋ → 웃음, ㅠㅠ → 슬픔). `aggressive`
            also removes fillers at the start (음, 어…), emoji, and all but one of repeated marks.

    Returns:
        The cleaned text; a text that is nothing but noise stays as it is.
    """
    if noise == "minimal":
        return text
    cleaned = _TEARS.sub(" 슬픔 ", text)
    if "ㅋ" in cleaned or "ㅎ" in cleaned:  # this test is much faster than the pattern, and most texts have neither
        cleaned = _LAUGHTER.sub(" 웃음 ", cleaned)
    if noise == "aggressive":
        cleaned = _EMOJI.sub(lambda match: match[1] or " ", cleaned)
        cleaned = _FILLER.sub("", cleaned.strip())
        cleaned = _REPEATED.sub(lambda match: match[1] or match[2] or ".", cleaned)
    cleaned = _SPACE_BEFORE_MARK.sub("", re.sub(r"\s+", " ", cleaned).strip())
    return cleaned or text


def as_substitutions(noise: Noise) -> list[tuple[str, str]] | None:
    """The same cleaning as pairs of a regular expression and its replacement, for programs without yoyak.

    Each is replaced everywhere in a line, one after the other. None for `aggressive`, which needs more than that.
    """
    if noise == "aggressive":
        return None
    if noise == "minimal":
        return []
    return [
        (_TEARS.pattern, " 슬픔 "),
        (_LAUGHTER.pattern, " 웃음 "),
        (r"\s+", " "),
        (r"^ | $", ""),
        (_SPACE_BEFORE_MARK.pattern, ""),
    ]

"""Letters of scripts that Korean summaries do not use: how many of them a model wrote.

Tags, and words that occur in the dialogue itself (KTX, Netflix), do not count as foreign.
"""

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache

from yoyak.config.generation_section import Script
from yoyak.data.dialogue import TAG

# Letters by Unicode block. "other" is every letter that is in none of these and is not Hangul.
RANGES = {
    "latin": "A-Za-zªºÀ-ÖØ-öø-ɏḀ-ỿＡ-Ｚａ-ｚ",
    "han": "々〆〇⺀-⿕㐀-䶿一-鿿\uf900-\ufad9\U00020000-\U000323af",
    "kana": "ぁ-ゖゝ-ヺー-ヿㇰ-ㇿｦ-ﾟ",
}
HANGUL = "ᄀ-ᇿㄱ-ㆎꥠ-ꥼ가-힣ힰ-ퟻﾠ-ￜ"
ALL_SCRIPTS: tuple[Script, ...] = ("latin", "han", "kana", "other")


@lru_cache
def _all_letters() -> str:
    """All letters of Unicode as ranges of a character class. Python's \\w also matches numbers (², Ⅲ), so it cannot be used."""
    points = [point for point in range(0x110000) if unicodedata.category(chr(point))[0] == "L"]
    starts = [point for i, point in enumerate(points) if not i or points[i - 1] != point - 1]
    ends = [point for i, point in enumerate(points) if i + 1 == len(points) or points[i + 1] != point + 1]
    return "".join(f"\\U{start:08x}-\\U{end:08x}" for start, end in zip(starts, ends, strict=True))


@lru_cache
def script_pattern(scripts: tuple[Script, ...]) -> re.Pattern[str]:
    """A pattern that matches one run of letters of the given scripts."""
    classes = [f"[{RANGES[name]}]" for name in scripts if name != "other"]
    if "other" in scripts:
        classes.append(rf"(?![{HANGUL}{''.join(RANGES.values())}])[{_all_letters()}]")
    return re.compile(f"(?:{'|'.join(classes)})+")


def count_foreign_letters(texts: Sequence[str], dialogues: Sequence[str]) -> dict[str, float]:
    """Count foreign letters in summaries.

    Args:
        texts: the summaries.
        dialogues: the dialogue of each summary. Its own foreign words may be repeated in the summary.

    Returns:
        `foreign_share`: foreign letters divided by all characters except spaces and tags (0 to 1, six decimals);
        `with_foreign`: the number of summaries that have at least one.
    """
    pattern = script_pattern(ALL_SCRIPTS)
    letters = characters = with_foreign = 0
    for text, dialogue in zip(texts, dialogues, strict=True):
        allowed = {word.casefold() for word in pattern.findall(TAG.sub(" ", dialogue))}
        bare = TAG.sub(" ", text)
        foreign = [word for word in pattern.findall(bare) if word.casefold() not in allowed]
        letters += sum(map(len, foreign))
        characters += sum(not char.isspace() for char in bare)
        with_foreign += bool(foreign)
    return {"foreign_share": round(letters / max(1, characters), 6), "with_foreign": with_foreign}

"""Characters that nobody sees: which ones a text can lose, and whether a text has anything else."""

import re

# Characters that show nothing and have no width: joiners, marks of direction, fillers of other scripts, byte order marks.
_ZERO_WIDTH = (
    r"\u00ad\u034f\u061c\u17b4\u17b5\u180b-\u180f\u200b\u200c\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    r"\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
)
_TAG_CHARACTERS = r"\U000e0000-\U000e00ff"
_VARIATION_SELECTORS = r"\ufe00-\ufe0f\U000e0100-\U000e01ef"
# Characters that look like a space but are letters or signs: the fillers of Hangul, and the empty Braille pattern.
_FILLERS = r"\u115f\u1160\u3164\uffa0\u2800"
# What may stand beside a zero-width joiner in an emoji of several parts (👨‍👩‍👧): emoji, their colours and selectors.
_EMOJI = (
    r"\u00a9\u00ae\u203c\u2049\u20e3\u2122\u2139\u2190-\u21ff\u2300-\u27bf\u2900-\u297f\u2b00-\u2bff\u3030\u303d\u3297\u3299"
    r"\ufe0f\U0001f000-\U0001faff"
)

# What a variation selector can vary: symbols, emoji, and Han characters.
_VARIED = r"\u00a9\u00ae\u2010-\u2bff\u3000-\u303f\u3200-\u9fff\uf900-\ufaff\U00010000-\U0003ffff"

FILLER = re.compile(f"[{_FILLERS}]")
_INVISIBLE = re.compile(
    rf"(\U0001f3f4[\U000e0020-\U000e007e]+\U000e007f)"  # a flag such as 🏴󠁧󠁢󠁥󠁮󠁧󠁿, which stays
    rf"|(?<![{_EMOJI}])\u200d|\u200d(?![{_EMOJI}])|[{_ZERO_WIDTH}{_TAG_CHARACTERS}]"
    rf"|(?<![{_VARIED}])[{_VARIATION_SELECTORS}](?!\u20e3)"  # before U+20E3 it belongs to a keycap such as 1️⃣
)
# Characters that Korean texts rarely have: all those above, characters of half and full width, emoji and whatever comes after
# them. This one search is many times faster than the patterns for each of them.
_RARE = re.compile(
    r"[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u2800\u3164\ufe00-\ufe0f"
    r"\ufe5f\ufeff\uff03\uff10-\uff19\uff21-\uff3a\uff41-\uff5a\uff61-\uffdc\ufff9-\ufffb]|[\U00010000-\U0010ffff]"
)
_VISIBLE = re.compile(rf"[^\s\u200d{_ZERO_WIDTH}{_TAG_CHARACTERS}{_VARIATION_SELECTORS}{_FILLERS}]")


def has_rare_characters(text: str) -> bool:
    """Whether a text may have invisible characters, fillers, or letters of half or full width."""
    return _RARE.search(text) is not None


def without_invisible(text: str) -> str:
    """`text` without characters of zero width. Those that belong to an emoji, a symbol or a Han character stay."""
    return text if text.isascii() else _INVISIBLE.sub(r"\1", text)


def is_blank(text: str) -> bool:
    """Whether a text has nothing that a reader could see: it is empty, or white space, fillers and invisible characters."""
    return not _VISIBLE.search(text)

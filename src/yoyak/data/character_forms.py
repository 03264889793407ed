"""Other forms of the same characters: HTML entities, half-width letters, and full-width letters in tags."""

import html
import html.entities
import re
import unicodedata

MAX_NESTED_ENTITIES = 5  # `&amp;amp;lt;` was escaped several times; without a limit, a crafted text takes quadratic time

_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z][A-Za-z0-9]{1,30});")
_HALF_WIDTH_HANGUL = re.compile(r"[\uffa1-\uffbe\uffc2-\uffc7\uffca-\uffcf\uffd2-\uffd7\uffda-\uffdc]+")
# A lone voiced mark (ﾟ) is part of a face such as (*ﾟ▽ﾟ*) and stays.
_HALF_WIDTH_KANA = re.compile(r"[\uff61-\uff9d][\uff9e\uff9f]?")
_HASH, _LETTER, _DIGIT = "[#＃﹟]", "[A-Za-zＡ-Ｚａ-ｚ]", "[0-9０-９]"
# A tag, or a speaker without hashes, in letters of any width: ＃Person1＃, #사람１#, Ｐｅｒｓｏｎ１.
_TAG_OF_ANY_WIDTH = re.compile(
    rf"{_HASH}[ \t]?(?:{_LETTER}+|사람|화자|인물)[ \t]?{_DIGIT}*[ \t]?{_HASH}"
    rf"|(?:{_HASH}[ \t]?)?(?<!{_LETTER})(?<!{_DIGIT})[PpＰｐ][EeＥｅ][RrＲｒ][SsＳｓ][OoＯｏ][NnＮｎ][ \t]?{_DIGIT}{{1,2}}"
    rf"(?!{_DIGIT}|{_LETTER}){_HASH}?"
)
_INITIALS = "ㄱㄲㄴㄷㄸㄹㅁㅂㅃㅅㅆㅇㅈㅉㅊㅋㅌㅍㅎ"
_FINALS = "ㄱㄲㄳㄴㄵㄶㄷㄹㄺㄻㄼㄽㄾㄿㅀㅁㅂㅄㅅㅆㅇㅈㅊㅋㅌㅍㅎ"
_SYLLABLE = re.compile(rf"([{_INITIALS}])([ㅏ-ㅣ])([{_FINALS}](?![ㅏ-ㅣ]))?")


def without_entities(text: str) -> str:
    """`text` with the character of each HTML entity (`&lt;`, `&#44032;`). Unknown ones and control characters stay."""
    for _ in range(MAX_NESTED_ENTITIES):
        if "&" not in text or (new := _ENTITY.sub(_unescaped, text)) == text:
            break
        text = new
    return text


def _unescaped(match: re.Match[str]) -> str:
    entity = match[0]
    # html.unescape would also read the start of an unknown name: "&notit;" as "¬it;".
    if entity[1] != "#" and entity[1:] not in html.entities.html5:
        return entity
    text = html.unescape(entity)
    is_damage = any(unicodedata.category(char) in ("Cc", "Cn", "Cs") and char not in "\t\n\r" for char in text)
    return entity if not text or is_damage or "\ufffd" in text else text


def without_half_width(text: str) -> str:
    """`text` with ordinary letters for half-width Hangul (ﾡￂ → 가) and half-width kana (ｶﾞ → ガ)."""
    text = _HALF_WIDTH_HANGUL.sub(_composed, text)
    return _HALF_WIDTH_KANA.sub(lambda match: unicodedata.normalize("NFKC", match[0]), text)


def _composed(match: re.Match[str]) -> str:
    letters = "".join(chr(int(unicodedata.decomposition(char).split()[1], 16)) for char in match[0])
    return _SYLLABLE.sub(_syllable, letters)


def _syllable(match: re.Match[str]) -> str:
    initial, vowel, final = _INITIALS.index(match[1]), ord(match[2]) - ord("ㅏ"), _FINALS.find(match[3] or "-") + 1
    return chr(0xAC00 + (initial * 21 + vowel) * 28 + final)


def without_full_width_tags(text: str) -> str:
    """`text` with ordinary letters in tags that are written in full-width letters (＃Ｐｅｒｓｏｎ１＃ → #Person1#)."""
    return _TAG_OF_ANY_WIDTH.sub(lambda match: unicodedata.normalize("NFKC", match[0]), text)

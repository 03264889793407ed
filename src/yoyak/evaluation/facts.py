"""Names, numbers and tags that a text states, in a form in which two texts can be compared (`세 시` and `3시` are one fact).

Mecab's tags find them: proper nouns (NNP) and foreign words (SL) are names; digits (SN) and numerals (NR, MM) with their unit
(NNBC) are numbers. The rules are a heuristic. docs/reference/scores.md says what they find in human references.
"""

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

from yoyak.data.dialogue import TAG
from yoyak.evaluation.morphemes import Morphemes

_DIGITS = {name: value for value, name in enumerate("영일이삼사오육칠팔구")} | {"공": 0, "륙": 6}
_NATIVE = {
    **dict(zip(["하나", "둘", "셋", "넷", "다섯", "여섯", "일곱", "여덟", "아홉"], range(1, 10), strict=True)),
    **{"한": 1, "두": 2, "세": 3, "네": 4, "석": 3, "넉": 4, "스무": 20, "스물": 20},
    **dict(zip(["열", "서른", "마흔", "쉰", "예순", "일흔", "여든", "아흔"], (10, 30, 40, 50, 60, 70, 80, 90), strict=True)),
}
_TENS = {"십": 10, "백": 100, "천": 1000}
_MYRIADS = {"만": 10**4, "억": 10**8, "조": 10**12}
_SYMBOL = re.compile(
    "|".join(["[0-9]+(?:[.][0-9]+)?", *sorted([*_DIGITS, *_NATIVE, *_TENS, *_MYRIADS], key=len, reverse=True)])
)
_MONTH = re.compile("(유|시|일|이|삼|사|오|육|칠|팔|구|십|십일|십이)월")
_WEEKDAY = re.compile("[월화수목금토일]요일")
# Different words for one unit.
_UNITS = {
    "퍼센트": "%", "프로": "%", "킬로그램": "kg", "킬로": "kg", "그램": "g", "킬로미터": "km", "미터": "m", "센티미터": "cm",
    "센티": "cm", "리터": "l", "불": "달러", "$": "달러", "달": "개월", "세": "살", "주일": "주", "등": "위",
}  # fmt: skip
_FOREIGN_UNITS = {"kg", "g", "km", "m", "cm", "mm", "l", "ml", "gb", "mb", "tb", "am", "pm"}
_CLOCK = 12  # "15시" is "3시"


@dataclass(frozen=True)
class Number:
    """A number with its unit. An empty unit means that the text has none."""

    value: float
    unit: str

    def agrees_with(self, other: "Number") -> bool:
        """Whether both state the same. A missing unit agrees with any unit, and hours agree on a clock of 12."""
        if self.unit and other.unit and self.unit != other.unit:
            return False
        if "시" in (self.unit, other.unit):
            return self.value % _CLOCK == other.value % _CLOCK
        return self.value == other.value


@dataclass(frozen=True)
class Facts:
    """What one text states. Names are folded: no spaces, small letters."""

    names: frozenset[str]
    numbers: frozenset[Number]
    tags: frozenset[str]


class FactFinder:
    """Finds facts with Mecab. Each text is analysed once and kept."""

    def __init__(self, morphemes: Morphemes) -> None:
        self._find = lru_cache(maxsize=None)(lambda text: _find(text, morphemes))

    def facts(self, text: str) -> Facts:
        """The facts of a summary or a dialogue with original tags."""
        found: Facts = self._find(text)
        return found


def fold(text: str) -> str:
    """`text` as names are compared: composed, without spaces, in small letters."""
    return "".join(unicodedata.normalize("NFKC", text).casefold().split())


def _find(text: str, morphemes: Morphemes) -> Facts:
    tokens = _tokens_outside_tags(text, morphemes)
    names, numbers = set(), set()
    index = 0
    while index < len(tokens):
        token = tokens[index]
        if _is_number(token):
            end = _number_end(tokens, index)
            found, index = _read_number(tokens, index, end)
            numbers |= found
            continue
        if _is_name(token):
            end = index + 1
            while end < len(tokens) and _is_name(tokens[end]) and tokens[end].start == tokens[end - 1].end:
                end += 1
            names |= _name_of(tokens, index, end)
            index = end
            continue
        if match := _MONTH.fullmatch(token.surface):
            numbers.add(Number({"유": 6, "시": 10}.get(match[1]) or _value(match[1]) or 0, "월"))
        elif _WEEKDAY.fullmatch(token.surface):
            names.add(token.surface)
        index += 1
    return Facts(frozenset(names), frozenset(numbers), frozenset(TAG.findall(text)))


@dataclass(frozen=True)
class _Token:
    surface: str
    tag: str
    start: int
    end: int


def _tokens_outside_tags(text: str, morphemes: Morphemes) -> list[_Token]:
    """Mecab reads the tags too, because a particle without its noun (`에게`) looks like a name."""
    text = unicodedata.normalize("NFC", text)
    in_tag = {place for match in TAG.finditer(text) for place in range(*match.span())}
    tokens, position = [], 0
    for surface, tag in morphemes.with_tags(text):
        start = text.index(surface, position)
        position = start + len(surface)
        if start not in in_tag:
            tokens.append(_Token(surface, tag, start, position))
    return tokens


def _is_name(token: _Token) -> bool:
    return token.tag == "NNP" or (token.tag == "SL" and len(token.surface) > 1)


def _name_of(tokens: list[_Token], start: int, end: int) -> set[str]:
    """The name in tokens[start:end], with the nouns that stand before it in the same word (스타 + 벅스).

    A "name" in the middle of a word that begins otherwise is a word that Mecab does not know (알립니다: 알 + 립니 + 다).
    """
    while start and tokens[start - 1].end == tokens[start].start and tokens[start - 1].tag == "NNG":
        start -= 1
    touches = start and tokens[start - 1].end == tokens[start].start and not tokens[start - 1].tag.startswith("S")
    return set() if touches else {fold("".join(token.surface for token in tokens[start:end]))}


def _is_number(token: _Token) -> bool:
    return token.tag in ("SN", "NR") or (token.tag == "MM" and token.surface in _NATIVE)


def _number_end(tokens: list[_Token], start: int) -> int:
    """The index after the last token of the number that begins at `start`."""
    end = start + 1
    while end < len(tokens):
        if _is_number(tokens[end]):
            if tokens[end].tag == tokens[end - 1].tag == "SN":
                break  # two numbers beside each other
            end += 1
        elif _joins_digits(tokens, end):
            end += 2
        else:
            break
    return end


def _joins_digits(tokens: list[_Token], index: int) -> bool:
    """Whether the token at `index` is the comma of 10,000 or the point of 3.5."""
    if index + 1 >= len(tokens) or tokens[index].surface not in (",", "."):
        return False
    before, sign, after = tokens[index - 1 : index + 2]
    touching = before.end == sign.start and sign.end == after.start
    is_thousands = sign.surface == "." or len(after.surface) == 3
    return touching and before.tag == after.tag == "SN" and is_thousands


def _read_number(tokens: list[_Token], start: int, end: int) -> tuple[set[Number], int]:
    """The number of tokens[start:end] with its unit, and the index after both."""
    text = "".join(token.surface for token in tokens[start:end]).replace(",", "")
    value = _value(text)
    has_digits = any(token.tag == "SN" for token in tokens[start:end])
    following = tokens[end] if end < len(tokens) else None
    unit = _unit(following) if following else ""
    if unit:
        end += 1
    # "한 친구", "둘 다" and "한 번" state no number that one could check.
    if value is None or not (has_digits or (unit and text != "한")):
        return set(), end
    numbers = {Number(value, unit)}
    if unit == "시" and end < len(tokens) and tokens[end].surface == "반":
        numbers.add(Number(30, "분"))
        end += 1
    return numbers, end


def _unit(token: _Token) -> str:
    surface = token.surface.lower()
    if token.tag == "NNBC" or surface in ("%", "$") or surface in _FOREIGN_UNITS:
        return _UNITS.get(surface, surface)
    return ""


def _value(text: str) -> float | None:
    """The value of a number in digits, Sino-Korean or native words, or a mixture ("3만 5천"); None if it is none."""
    symbols = _SYMBOL.findall(text)
    if "".join(symbols) != text:
        return None
    total, section = 0.0, 0.0
    digit: float | None = None
    for symbol in symbols:
        if symbol in _TENS:
            section += (1 if digit is None else digit) * _TENS[symbol]
            digit = None
        elif symbol in _MYRIADS:
            total += ((section + (digit or 0)) or 1) * _MYRIADS[symbol]
            section, digit = 0.0, None
        elif symbol in _DIGITS:
            digit = (digit or 0) * 10 + _DIGITS[symbol]  # "일이삼" is read digit by digit
        elif symbol in _NATIVE:
            section += _NATIVE[symbol]
        else:
            digit = float(symbol)
    return total + section + (digit or 0)

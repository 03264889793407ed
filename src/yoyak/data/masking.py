"""Masking personal data in texts that leave this machine, and putting it back into what comes back.

Numbers count as personal data by their form: Korean phone numbers, e-mail addresses, resident registration numbers, numbers of
cards and of accounts. Names and addresses of places have no form by which they could be recognized; they stay.
"""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

# Full-width characters and other hyphens are compared as their usual forms. The translation keeps the length of a text.
_USUAL_FORMS = str.maketrans("０１２３４５６７８９＠．‐‑‒–—−－（）＋", "0123456789@.-------()+")
_BEFORE, _AFTER = r"(?<![0-9A-Za-z])(?<![0-9]-)", r"(?![0-9]|-[0-9])"
# The order matters: a card number contains what looks like an account number.
PATTERNS: dict[str, re.Pattern[str]] = {
    "Email": re.compile(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}"),
    "CardNumber": re.compile(
        rf"{_BEFORE}(?:[0-9]{{4}}[-.\s]?){{3}}[0-9]{{4}}{_AFTER}|{_BEFORE}[0-9]{{4}}-[0-9]{{6}}-[0-9]{{5}}{_AFTER}"
    ),
    "SSN": re.compile(rf"{_BEFORE}[0-9]{{2}}[01][0-9][0-3][0-9]\s?-?\s?[1-8][0-9]{{6}}{_AFTER}"),
    "PhoneNumber": re.compile(
        rf"(?:\+\s?82[-.\s]?(?:\(0\)\s?)?|{_BEFORE})\(?(?:0?1[016789]|02|0?[3-6][0-9]|070|050[0-9])\)?"
        rf"[-.·\s]?[0-9]{{3,4}}[-.·\s]?[0-9]{{4}}{_AFTER}|{_BEFORE}1[568][0-9]{{2}}[-.\s]?[0-9]{{4}}{_AFTER}"
    ),
    "AccountNumber": re.compile(
        rf"{_BEFORE}[0-9]{{2,6}}-[0-9]{{2,6}}-[0-9]{{2,8}}(?:-[0-9]{{1,4}})?{_AFTER}|{_BEFORE}[0-9]{{10,14}}{_AFTER}"
    ),
}
MIN_ACCOUNT_DIGITS = 10


@dataclass
class Masker:
    """Replaces personal data in the texts of one request. The same data gets the same placeholder in all of them.

    Attributes:
        originals: what each placeholder stands for, such as "#PhoneNumber1#". Placeholders have the form of the data's own
            tags, with a number, so that a model treats them as it treats tags.
    """

    originals: dict[str, str] = field(default_factory=dict)
    _placeholders: dict[str, str] = field(default_factory=dict)
    _taken: set[str] = field(default_factory=set)

    def mask(self, text: str) -> str:
        """The text with placeholders for personal data."""
        self._taken.update(re.findall(r"#[A-Za-z]+\d+#", text))
        for kind, pattern in PATTERNS.items():
            parts, end = [], 0
            for match in pattern.finditer(text.translate(_USUAL_FORMS)):
                parts += [text[end : match.start()], self._placeholder(kind, text[match.start() : match.end()])]
                end = match.end()
            text = "".join([*parts, text[end:]])
        return text

    def _placeholder(self, kind: str, found: str) -> str:
        if kind == "AccountNumber" and sum(map(str.isdigit, found)) < MIN_ACCOUNT_DIGITS:
            return found  # a date, a range of pages
        if found not in self._placeholders:
            number = 1
            while (name := f"#{kind}{number}#") in self._taken or name in self.originals:
                number += 1
            self._placeholders[found] = name
            self.originals[name] = found
        return self._placeholders[found]


def count_masked(originals: Mapping[str, str]) -> Counter[str]:
    """How many different pieces of personal data of each kind are masked."""
    return Counter(re.sub(r"[#\d]", "", placeholder) for placeholder in originals)


def restore(text: str, originals: Mapping[str, str]) -> tuple[str, int]:
    """The text with the personal data in place of the placeholders, and how many placeholders it had."""
    count = 0
    for placeholder, original in originals.items():
        count += text.count(placeholder)
        text = text.replace(placeholder, original)
    return text, count

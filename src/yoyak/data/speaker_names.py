"""Speakers of other corpora as tags, in dialogue and summaries alike, and back.

A name in a text is replaced only where the morphemes of Mecab and the particle after it say that it is the name. Every doubtful
place stays as it is and is reported.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Literal

from yoyak.data.dialogue import MASK, SPEAKER_TAG, TAG
from yoyak.data.name_words import EVERYDAY_WORDS, FAMILY_NAMES, is_common_word, morphemes_at
from yoyak.data.particles import AFTER_I, AGREEING, FOLLOWING, PERSONAL, SPACED_TITLE, VOCATIVE, agree, ends_with_consonant

Reason = Literal["common_word", "two_speakers", "part_of_word", "other_word", "single_letter", "number", "tag_or_mask"]

_CODE = re.compile(r"[A-Za-z_-]*[0-9]+|(?:화자|참여자|발화자|참가자|speaker|spk)[ _-]?(?:[0-9]+|[A-Za-z])", re.IGNORECASE)
_TITLE_AT_END = re.compile(r"\s*(?:\([^()]*\)|님|씨)$")
_HANGUL_RUN = re.compile(r"[가-힣]*")
_EXCERPT = 20  # characters on each side of a doubtful name
_NOMINAL = ("N", "SL", "SN", "SH", "XR", "UNKNOWN", "XS", "XP")


class TooManySpeakersError(ValueError):
    """A dialogue with more speakers than there are tags."""


def assign_tags(labels: Iterable[str], *, most: int) -> dict[str, str]:
    """A tag for each speaker, in order of appearance. A label that is a tag already keeps its number.

    Raises:
        TooManySpeakersError: if there are more than `most`.
    """
    labels = list(dict.fromkeys(labels))
    tags = {label: label for label in labels if SPEAKER_TAG.fullmatch(label)}
    free = (f"#Person{number}#" for number in range(1, most + 1) if f"#Person{number}#" not in tags)
    for label in labels:
        if label not in tags:
            tag = next(free, None)
            if tag is None:
                raise TooManySpeakersError
            tags[label] = tag
    return {label: tags[label] for label in labels}


@dataclass(frozen=True)
class Doubt:
    """A place in a text that may be a speaker's name or not.

    Attributes:
        name: the word.
        reason: `common_word`: an everyday word too. `two_speakers`: the name of two speakers. `part_of_word`: part
            of a longer word. `other_word`: Mecab reads another word here. `single_letter`, `number`: in an utterance, such a
            label may be anything. `tag_or_mask`: a speaker is called #PhoneNumber# or #@이름#, which may stand for anything.
        excerpt: the text around it.
    """

    name: str
    reason: Reason
    excerpt: str


@dataclass
class NameFinder:
    """Finds the names of the speakers of one dialogue.

    Args:
        tags: the tag of each speaker label, as `assign_tags` gives them.
        map_doubtful: replace doubtful names too, except those that are part of a longer word or that two speakers have.
    """

    tags: Mapping[str, str]
    map_doubtful: bool = False
    counts: Counter[str] = field(default_factory=Counter)
    _owners: dict[str, set[str]] = field(init=False)
    _pattern: re.Pattern[str] | None = field(init=False)

    def __post_init__(self) -> None:
        self._owners = {}
        for label, tag in self.tags.items():
            for name in _forms(label):
                self._owners.setdefault(name, set()).add(tag)
        # A whole label belongs to its speaker, even if it is the given name of another one.
        self._owners |= {label: {tag} for label, tag in self.tags.items() if label in self._owners}
        names = sorted(self._owners, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(_bounded, names))) if names else None

    def replace(self, text: str, *, is_summary: bool) -> tuple[str, list[Doubt]]:
        """`text` with a tag for each name of a speaker.

        Args:
            text: an utterance or a summary.
            is_summary: in a summary a single letter is a speaker, in an utterance it may be anything.

        Returns:
            The text, and the places that stay as they are because they are doubtful.
        """
        if self._pattern is None:
            return text, []
        parts: list[str] = []
        doubts: list[Doubt] = []
        position = 0
        for match in self._pattern.finditer(text):
            if match.start() < position:
                continue
            start, end, reason = self._judge(text, match, is_summary=is_summary)
            if reason is not None and not (self.map_doubtful and reason in ("common_word", "other_word")):
                if reason in ("part_of_word", "other_word") and len(match[0]) == 1:
                    continue  # one syllable stands in very many words
                excerpt = " ".join(text[max(0, match.start() - _EXCERPT) : match.end() + _EXCERPT].split())
                doubts.append(Doubt(match[0], reason, excerpt))
                continue
            parts += [text[position:start], next(iter(self._owners[match[0]]))]
            position = end
            self.counts["name_replaced"] += 1
        return "".join([*parts, text[position:]]), doubts

    def _judge(self, text: str, match: re.Match[str], *, is_summary: bool) -> tuple[int, int, Reason | None]:
        """What to replace (start and end), and why it is doubtful, if it is."""
        start, end, name = match.start(), match.end(), match[0]
        if TAG.fullmatch(name) or MASK.fullmatch(name):
            return start, end, "tag_or_mask"
        if len(self._owners[name]) > 1:
            return start, end, "two_speakers"
        rest = (_HANGUL_RUN.match(text, end) or match)[0]
        if _CODE.fullmatch(name) or not "가" <= name[-1] <= "힣":
            return start, end, _doubt_of_code(text, start, end, rest, is_summary=is_summary)
        if start and "가" <= text[start - 1] <= "힣":
            before = _HANGUL_RUN_BACK.search(text, 0, start)
            family = before[0] if before else ""
            # 김민수 is the speaker 민수, but 박민수 is not the speaker 김민수.
            if family not in FAMILY_NAMES or len(name) != 2 or name not in self.tags:
                return start, end, "part_of_word"
            self.counts["family_name_added"] += 1
            start -= len(family)
        personal = PERSONAL.match(rest) is not None or (not rest and SPACED_TITLE.match(text, end) is not None)
        if AFTER_I.fullmatch(rest) and ends_with_consonant(name):
            self.counts["i_after_name"] += 1
            return start, end + 1, None
        fits = FOLLOWING.fullmatch(rest) is not None
        if personal or (VOCATIVE.match(text, end) and len(name) > 1):
            return start, end, None if fits else "part_of_word"
        before_end, after = morphemes_at(text, start, end)
        if not fits and not (before_end and after and after[0].startswith(("J", "VCP", "XSN", "E"))):
            return start, end, "part_of_word"
        if start == match.start() and is_common_word(name):
            return start, end, "common_word"
        # Several morphemes within a name mean that Mecab does not know it. One that is no noun is another word: 지우-고.
        if len(before_end) == 1 and not before_end[0].startswith(_NOMINAL):
            return start, end, "other_word"
        return start, end, None


_HANGUL_RUN_BACK = re.compile(r"[가-힣]+$")


def _doubt_of_code(text: str, start: int, end: int, rest: str, *, is_summary: bool) -> Reason | None:
    """Why a label such as A, P01 or Amanda is doubtful in a text, or None."""
    name = text[start:end]
    if name.isdigit():
        return "number"
    if len(name) == 1:
        if not is_summary:
            return "single_letter"
        neighbours = text[start - 1 : start] + text[end : end + 1]
        return "single_letter" if not FOLLOWING.fullmatch(rest) or any(sign in "/-+.&'" for sign in neighbours[:2]) else None
    return None


def _bounded(name: str) -> str:
    """A pattern for a name. Latin letters and digits do not touch others of their kind."""
    before = r"(?<![A-Za-z0-9])" if name[0].isascii() else ""
    after = r"(?![A-Za-z0-9])" if name[-1].isascii() or name[-1].isdigit() else ""
    return f"{before}{re.escape(name)}{after}"


@cache
def _forms(label: str) -> tuple[str, ...]:
    """The forms in which texts may write the name of a speaker. A tag has none."""
    if SPEAKER_TAG.fullmatch(label) or not label.strip():
        return ()
    forms = {label}
    plain = _TITLE_AT_END.sub("", label).strip()
    if plain:
        forms.add(plain)
    first, _, second = plain.partition(" ")
    if re.fullmatch(r"[가-힣]{2,4}|[A-Za-z]{3,}", first) and second and not _CODE.fullmatch(plain):
        forms.add(first)
    if _CODE.fullmatch(plain):
        forms |= {plain.replace(" ", ""), plain.replace(" ", "").upper()} if re.search(r"[0-9]", plain) else {plain}
    for form in tuple(forms):
        if re.fullmatch(r"[가-힣]{3}", form) and form[0] in FAMILY_NAMES and form not in EVERYDAY_WORDS:
            forms.add(form[1:])
        elif re.fullmatch(r"[가-힣]{4}", form) and form[:2] in FAMILY_NAMES:
            forms.add(form[2:])
    return tuple(sorted(forms))


def restore_names(text: str, labels: Mapping[str, str]) -> str:
    """`text` with the name of each tag, and the particle after it in the form that agrees with the name.

    Args:
        text: a summary that a model wrote.
        labels: the name of each tag. A tag without a name stays.
    """

    def restored(match: re.Match[str]) -> str:
        name = labels.get(match["tag"])
        return match[0] if name is None else name + agree(name, match["particle"] or "")

    return _TAG_AND_PARTICLE.sub(restored, text)


_TAG_AND_PARTICLE = re.compile(rf"(?P<tag>{SPEAKER_TAG.pattern})(?P<particle>{AGREEING.pattern})?")

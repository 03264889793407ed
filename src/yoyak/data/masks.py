"""Masks of other corpora: what stands for a name, a picture or a sound, such as #@이름#, &name1&, {laughing} and [NAME]."""

import re
from collections import Counter
from typing import Literal

from yoyak.data.dialogue import MASK

MaskMode = Literal["keep", "replace", "drop"]

# AI Hub: #@이름#, #@시스템#사진#. NIKL: &name1&, &company-name&, {laughing}, and name1 and xx as words. Others: [NAME].
MASKS = re.compile(
    rf"{MASK.pattern}|&[A-Za-z]+(?:[-_][A-Za-z]+)*[0-9]*&|\{{[a-z가-힣][a-z가-힣 _-]{{0,20}}\}}"
    r"|\[[A-Z]{2,}(?:_[A-Z]+)*[0-9]*\]"
    r"|(?<![A-Za-z0-9])(?:(?:company|account|card|tel|social)-)?(?:name|num|address|affiliation|others)[0-9]+(?![A-Za-z0-9])"
    r"|(?<![A-Za-z0-9])x{2,}(?![A-Za-z0-9])"
)
# One of these is in every mask. Looking for them is much faster than the pattern, and most texts have none.
_SIGNS = ("#@", "&", "{", "[", "name", "num", "address", "affiliation", "others", "xx")
_WORDS = {
    "name": "이름",
    "company-name": "회사",
    "address": "주소",
    "affiliation": "소속",
    "others": "기타",
    "account-num": "계좌번호",
    "card-num": "카드번호",
    "tel-num": "전화번호",
    "social-security-num": "주민등록번호",
    "laughing": "웃음",
    "clearing": "목청",
    "singing": "노래",
    "applauding": "박수",
    "phone": "전화번호",
    "email": "이메일",
    "url": "링크",
    "location": "장소",
    "date": "날짜",
}


def apply_masks(text: str, mode: MaskMode) -> tuple[str, Counter[str]]:
    """Treat the masks of a text.

    Args:
        text: an utterance or a summary.
        mode: `keep` changes nothing, `replace` writes each mask as a word (#@이모티콘# → 이모티콘, &name1& → 이름1), `drop`
            removes it.

    Returns:
        The text, and how often it has each mask.
    """
    found = Counter(MASKS.findall(text) if any(sign in text for sign in _SIGNS) else [])
    if not found or mode == "keep":
        return text, found
    text = MASKS.sub(_as_word if mode == "replace" else " ", text)
    return re.sub(r" {2,}", " ", text).strip(), found


def _as_word(match: re.Match[str]) -> str:
    mask = match[0]
    if mask.strip("xX") == "":
        return mask  # a word that nobody understood
    word = mask.strip("#@&{}[]").rpartition("#")[2]
    name = word.rstrip("0123456789")
    return _WORDS.get(name.lower().replace("_", "-"), name) + word[len(name) :]

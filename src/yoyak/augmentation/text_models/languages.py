"""The languages of multilingual translators: their codes, and how a translator is asked for one."""

import difflib
import re
from dataclasses import dataclass
from typing import Any, Literal

from yoyak.system.errors import YoyakError

MAX_NAMED = 5  # codes that a message offers
# NLLB: kor_Hang. mBART-50: ko_KR. M2M100: __ko__. Marian with several targets: >>kor<<. MADLAD: <2ko>.
_FORCED = re.compile(r"[a-z]{3}_[A-Z][a-z]{3}|[a-z]{2}_[A-Z]{2}|__([a-z]{2,3})__")
_PREFIX = re.compile(r">>([A-Za-z_-]{2,12})<<|<2([a-z]{2,3}(?:_[A-Z][a-z]{3})?)>")


@dataclass(frozen=True)
class Languages:
    """How a tokenizer names languages.

    Attributes:
        kind: `forced` translators start their text with the token of the language; `prefix` ones read it before the text;
            `bilingual` ones know one pair of languages and need no code.
        tokens: the token of each code.
    """

    kind: Literal["forced", "prefix", "bilingual"]
    tokens: dict[str, str]

    @classmethod
    def of(cls, tokenizer: Any) -> "Languages":
        codes = getattr(tokenizer, "lang_code_to_token", None)  # M2M100, whose vocabulary lacks them
        if codes:
            return cls("forced", dict(codes))
        vocabulary = set(tokenizer.get_vocab()) | set(getattr(tokenizer, "supported_language_codes", ()))
        if hasattr(tokenizer, "src_lang"):
            found = {match[1] or match[0]: match[0] for match in filter(None, map(_FORCED.fullmatch, sorted(vocabulary)))}
            return cls("forced", found)
        found = {match[1] or match[2]: match[0] for match in filter(None, map(_PREFIX.fullmatch, sorted(vocabulary)))}
        return cls("prefix" if found else "bilingual", found)

    def check(self, code: str, *, param: str, checkpoint: str) -> None:
        """Check that the translator knows a language.

        Raises:
            YoyakError: naming the param, with near codes.
        """
        if self.kind == "bilingual" or code in self.tokens:
            return
        start = [known for known in self.tokens if known[:2].lower() == code[:2].lower()]
        near = list(dict.fromkeys([*difflib.get_close_matches(code, self.tokens, n=MAX_NAMED, cutoff=0.6), *start]))[:MAX_NAMED]
        offered = ", ".join(near or sorted(self.tokens)[:MAX_NAMED]) or "none"
        raise YoyakError(f"{param}: {checkpoint} does not know the language {code!r}; near codes: {offered}")

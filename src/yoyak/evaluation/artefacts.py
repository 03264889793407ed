"""What chat models write around a summary: reasoning, code fences, "요약:", quotation marks, lists and line breaks.

The rules are applied in the order of RULES. Each rule has a name, which stands in metrics/predict.json with the number of texts
that it changed.
"""

import re
from collections.abc import Callable

_THOUGHT = re.compile(r"<(think|thinking|reasoning|thought)>.*?(</\1>|\Z)", re.S | re.I)
# Some chat templates write the opening tag into the prompt, so that the answer has only the closing one.
_END_OF_THOUGHT = re.compile(r"\A.*</(?:think|thinking|reasoning|thought)>", re.S | re.I)
_FENCE = re.compile(r"```[\w+-]*[ \t]*\n?(.*?)(?:```|\Z)", re.S)
_LABEL = (
    r"(?:최종\s*|간단\s*|한\s*줄\s*|대화\s*|전체\s*)*(?:요약문|요약\s*결과|요약\s*내용|요약)|(?:final\s+|dialogue\s+)?summary"
)
_ANNOUNCEMENT = r"(?:다음은|아래는|네[,.]?)[^:.\n]{0,30}요약[^:.\n]{0,12}"
_PREFIX = re.compile(
    rf"\A\s*(?:#+\s+)?(?:\*\*)?"
    rf"(?:\[\s*(?:{_LABEL})\s*\]\s*[:：]?|(?:{_LABEL}|{_ANNOUNCEMENT})\s*(?:\*\*)?\s*[:：])(?:\*\*)?\s*"
    rf"|\A\s*#+\s+(?:{_LABEL})\s*\n+\s*",
    re.I,
)
_BULLET = re.compile(r"(?m)^[ \t]*(?:[-*•·▪‣][ \t]+|\d{1,2}[.)][ \t]+)")
_EMPHASIS = re.compile(r"\*\*(?=\S)(.+?)(?<=\S)\*\*")
_QUOTES = {'"': '"', "'": "'", "“": "”", "‘": "’", "「": "」", "『": "』", "`": "`", "«": "»"}
_NO_TEXT = re.compile(r"\A\s*(?:nan|none|null|n/a|na|undefined|<na>)\s*[.]?\s*\Z", re.I)


def _without_thoughts(text: str) -> str:
    return _END_OF_THOUGHT.sub("", _THOUGHT.sub("", text))


def _without_quotes(text: str) -> str:
    """The text without a pair of quotation marks around the whole of it; a quotation within it stays."""
    inner = text.strip()
    end = _QUOTES.get(inner[:1])
    if end is None or len(inner) < 2 or not inner.endswith(end):
        return text
    inside = inner[1:-1]
    return text if inner[0] in inside or end in inside else inside


def _without_bullets(text: str) -> str:
    """A list as running text. Only lists are changed: a single line that starts with a hyphen or a number stays."""
    return _BULLET.sub("", text) if len(_BULLET.findall(text)) > 1 else text


RULES: dict[str, Callable[[str], str]] = {
    "reasoning": _without_thoughts,
    "code_fence": lambda text: _FENCE.sub(lambda match: match[1], text),
    "prefix": lambda text: _PREFIX.sub("", text),
    "bullets": _without_bullets,
    "emphasis": lambda text: _EMPHASIS.sub(r"\1", text),
    "quotes": _without_quotes,
    "line_breaks": lambda text: " ".join(text.split()) if re.search(r"[\n\r\u2028\u2029]", text) else text,
}


def remove_artefacts(text: str) -> tuple[str, tuple[str, ...]]:
    """Return the summary alone, and the names of the rules that changed something.

    A rule is repeated while an earlier one uncovers something for it, for example "요약:" within quotation marks.
    """
    applied: dict[str, None] = {}
    text = text.strip()
    while True:
        before = text
        for name, rule in RULES.items():
            after = rule(text).strip()
            if after != text:
                applied[name] = None
                text = after
        if text == before:
            return text, tuple(applied)


def is_no_text(text: str) -> bool:
    """Whether a text is what programs write for a missing value: nan, None, null, N/A."""
    return bool(_NO_TEXT.match(text))

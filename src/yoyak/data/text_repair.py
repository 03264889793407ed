"""Repair of raw text: what exports, editors and translators broke, and what they made invisible."""

import itertools
import re
import unicodedata
from collections import Counter

from yoyak.data.character_forms import without_entities, without_full_width_tags, without_half_width
from yoyak.data.dialogue import COLON, MASK, BadDialogueError
from yoyak.system.invisible import FILLER, has_rare_characters, without_invisible

MAX_CHARACTERS = 50_000  # of a text; the longest real dialogue has 2,275. A longer one is a lost quote or another file
MAX_COMBINING_MARKS = 30  # in a row; the Stream-Safe Text Format of Unicode (UAX #15) allows 30

_BACKSPACE = re.compile(r"\x08")
_LINE_BREAK = re.compile(r"\r\n?|[\x0b\x0c\x85\u2028\u2029]")
_HTML_BREAK = re.compile(r"</?(?i:br|p|div)(?:[ \t/][^<>\n]{0,100})?>")
_LITERAL_NEWLINE = re.compile(r"(?:\\r)?\\n")
_SPACES = re.compile(r"[^\S\n]+")
_CONTROL_CHARACTER = re.compile(r"[\x00-\x07\x0e-\x1f\x7f-\x84\x86-\x9f\ufffd]")
# Runs that may contain too many combining marks. Normalization of such a run takes quadratic time.
_LONG_RUN_OF_SIGNS = re.compile(rf"[^\w\s!-~][^\w\s!-~]{{{MAX_COMBINING_MARKS},}}")

_CORRECT_TAG = r"#Person[1-9][0-9]?#"  # matches first, so that its hashes are not taken for those of a neighbour
_TRANSLATED_TAG = re.compile(rf"{_CORRECT_TAG}|#(?:사람|화자|인물)[ \t]?([1-9][0-9]?)#")
_LOOSE_TAG = re.compile(
    rf"{_CORRECT_TAG}|{MASK.pattern}|#(?!(?i:person)[ \t]?[0-9])[A-Za-z]+[0-9]*#"
    r"|(?i:(?:(?<![0-9A-Za-z])#[ \t]?)?(?<![0-9A-Za-z])person[ \t]?([1-9][0-9]?)(?![0-9A-Za-z])"
    r"(?:#|[ \t]#(?![0-9A-Za-z가-힣]))?)"
)
# A bar or slash between two turns on one line. Within an utterance it is text.
_TURN_SEPARATOR = re.compile(rf"[ \t]*(?:(?<![|｜¦])[|｜¦]+|(?<= )/+|(?i:<sep>|\[sep\]))[ \t]*(?={_CORRECT_TAG}[ \t]?{COLON})")
_SEPARATOR_SIGN = re.compile(r"[|｜¦/<\[]")
_LAST_SEPARATOR = re.compile(r"(?: [|｜¦]+| /+)$")


def repair(text: str) -> tuple[str, Counter[str]]:
    """Undo the damage that raw files have.

    Repaired are, under these names: html_entity (&lt;), backspace, invisible_character, invisible_filler (U+3164 and others
    that look like a space), decomposed_hangul, half_width (ﾡￂ), html_break (<br>), line_break (CRLF and others),
    literal_newline (a backslash and n), spaces (no-break, doubled, at the ends of lines), full_width_tag (＃Person1＃),
    translated_tag (#사람1#), tag_without_hashes (Person1, #person1#) and turn_separator (a bar between two turns on a line).

    Returns:
        The text, and which kinds of damage it had.

    Raises:
        BadDialogueError: too_long (more than MAX_CHARACTERS), control_character (any other, and U+FFFD, which shows that
            a part of the text is lost), or combining_marks (more than MAX_COMBINING_MARKS in a row).
    """
    changed: Counter[str] = Counter()

    def apply(kind: str, new: str) -> None:
        nonlocal text
        changed[kind] += new != text
        text = new

    if len(text) > MAX_CHARACTERS:
        raise BadDialogueError("too_long")
    # These come first, because they can stand in the middle of what the others look for.
    apply("html_entity", without_entities(text))
    if match := _CONTROL_CHARACTER.search(text):
        raise BadDialogueError("control_character", found=f"U+{ord(match[0]):04X}")
    apply("backspace", _BACKSPACE.sub("", text))
    has_rare = has_rare_characters(text)
    if has_rare:
        apply("invisible_character", without_invisible(text))
        apply("invisible_filler", FILLER.sub(" ", text))
    if any(_has_too_many_marks(signs) for signs in _LONG_RUN_OF_SIGNS.findall(text)):
        raise BadDialogueError("combining_marks")
    apply("decomposed_hangul", unicodedata.normalize("NFC", text))
    if has_rare:
        apply("half_width", without_half_width(text))
    if "<" in text:
        apply("html_break", _HTML_BREAK.sub("\n", text))
    apply("line_break", _LINE_BREAK.sub("\n", text))
    apply("literal_newline", _LITERAL_NEWLINE.sub("\n", text))
    apply("spaces", "\n".join(line.strip() for line in _SPACES.sub(" ", text).split("\n")).strip())
    if has_rare:
        apply("full_width_tag", without_full_width_tags(text))
    apply("translated_tag", _TRANSLATED_TAG.sub(_correct_tag, text))
    apply("tag_without_hashes", _LOOSE_TAG.sub(_correct_tag, text))
    if _SEPARATOR_SIGN.search(text) and (separated := _TURN_SEPARATOR.sub("\n", text)) != text:
        apply("turn_separator", _LAST_SEPARATOR.sub("", separated).strip())
    return text, +changed


def _correct_tag(match: re.Match[str]) -> str:
    return f"#Person{match[1]}#" if match[1] else match[0]


def _has_too_many_marks(signs: str) -> bool:
    runs = itertools.groupby(signs, lambda sign: unicodedata.combining(sign) > 0)
    return any(is_mark and len(list(run)) > MAX_COMBINING_MARKS for is_mark, run in runs)

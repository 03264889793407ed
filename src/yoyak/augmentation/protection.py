"""Tags and masks through a rewriting: placeholders that translators keep, and the check that nothing was lost.

No placeholder survives every translator: NLLB drops or changes XML tags, brackets and bare numbers (OpenNMT/CTranslate2, issue
1798). A capitalized word with a digit stands where a name would stand, and translators copy names. What comes back is compared
with what was sent, and a text that lost or gained a tag is refused. The tags at the start of turns never reach a translator.
"""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from yoyak.data.dialogue import SPEAKER_TAG, TAG, BadDialogueError, parse
from yoyak.data.masks import MASKS
from yoyak.data.particles import AGREEING, agree

PROTECTED = re.compile(rf"{TAG.pattern}|{MASKS.pattern}")
# Translators write the words of a placeholder also in Korean or with an ending of the pivot language ("Persona 1").
_WRITTEN = {"Person": "person[a-z]{0,3}|퍼슨|펄슨|사람|인물", "Code": "cod[a-z]{1,3}|kod[a-z]{0,2}|코드|암호|부호"}
_PLACEHOLDER = re.compile(
    "|".join(
        rf"(?P<{word}>(?<![A-Za-z가-힣])(?:{forms})[ -]?(?P<{word}N>[0-9]{{1,2}})(?![0-9]))" for word, forms in _WRITTEN.items()
    ),
    re.I,
)

REASONS: Mapping[str, str] = {
    "placeholder_in_text": "the text has words such as Person1 or 코드 1 beside its tags, so these could not be found again",
    "other_tags": "a tag or mask was lost, added or changed",
    "other_speakers": "the turns have other speakers, or another order of speakers",
    "not_a_dialogue": "the answer has lines without a speaker, or no speaker at all",
}


@dataclass
class Placeholders:
    """The placeholders of one text or of several that belong together.

    Attributes:
        originals: the tag or mask that each placeholder stands for, such as {"Person1": "#Person1#", "Code1": "&name1&"}.
    """

    originals: dict[str, str] = field(default_factory=dict)

    def protect(self, text: str) -> str:
        """`text` with a placeholder for each tag and mask; equal ones get the same.

        Raises:
            BadDialogueError: placeholder_in_text.
        """
        protected = PROTECTED.sub(lambda match: self._placeholder(match[0]), text)
        for match in _PLACEHOLDER.finditer(PROTECTED.sub(" | ", text)):
            if _canonical(match) in self.originals:
                raise BadDialogueError("placeholder_in_text", found=match[0])
        return protected

    def _placeholder(self, tag: str) -> str:
        for placeholder, original in self.originals.items():
            if original == tag:
                return placeholder
        if speaker := SPEAKER_TAG.fullmatch(tag):
            placeholder = f"Person{speaker[1]}"
        else:
            placeholder = f"Code{1 + sum(name.startswith('Code') for name in self.originals)}"
        self.originals[placeholder] = tag
        return placeholder

    def normalize(self, written: str) -> str:
        """What a translator wrote, with each placeholder as it was sent: "퍼슨 1" and "person 1" become "Person1".

        A form that was not sent stays as it is: it is a word of the text.
        """

        return _PLACEHOLDER.sub(lambda match: name if (name := _canonical(match)) in self.originals else match[0], written)

    def restore(self, text: str) -> str:
        """The text with tags and masks in place of the placeholders. Particles agree with the tags: 일은, 이는."""
        text = self.normalize(text)
        names = sorted(self.originals, key=len, reverse=True)
        if not names:
            return text
        pattern = rf"({'|'.join(names)})(?![0-9])({AGREEING.pattern})?"
        return re.sub(pattern, lambda match: self._tag(match[1], match[2] or ""), text)

    def _tag(self, placeholder: str, particle: str) -> str:
        tag = self.originals[placeholder]
        speaker = SPEAKER_TAG.fullmatch(tag)
        return f"#Person{speaker[1]}#{agree(speaker[1], particle)}" if speaker else tag + particle


def _canonical(match: re.Match[str]) -> str:
    word = next(word for word in _WRITTEN if match[word])
    return f"{word}{int(match[f'{word}N'])}"


def tags_of(text: str) -> Counter[str]:
    """The tags and masks of a text with their numbers."""
    return Counter(PROTECTED.findall(text))


def check_text(source: str, written: str) -> None:
    """Check that a rewritten text has the tags and masks of its source, each as often.

    Raises:
        BadDialogueError: other_tags.
    """
    before, after = tags_of(source), tags_of(written)
    if before != after:
        changed = [*(before - after), *(after - before)]
        raise BadDialogueError("other_tags", found=" ".join(changed))


def check_dialogue(source: str, written: str) -> None:
    """Check that a rewritten dialogue has the speakers of its source in the same order, and the same tags and masks.

    Raises:
        BadDialogueError: not_a_dialogue, other_speakers or other_tags.
    """
    try:
        turns, unusual = parse(written)
    except BadDialogueError as error:
        raise BadDialogueError("not_a_dialogue", found=error.found) from None
    if unusual:
        raise BadDialogueError("not_a_dialogue", found=next(iter(unusual)))
    if [turn.speaker for turn in turns] != [turn.speaker for turn in parse(source)[0]]:
        raise BadDialogueError("other_speakers")
    check_text(source, written)

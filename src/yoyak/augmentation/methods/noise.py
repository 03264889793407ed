"""Noise in dialogues: punctuation, missing and exchanged words, spacing and typing errors. Summaries stay as they are."""

import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from yoyak.augmentation.base import Candidate, Method, Refusal, Task
from yoyak.augmentation.keyboard import mistype
from yoyak.config.augment_section import Noise as NoiseSettings
from yoyak.data.dialogue import Turn, parse, to_text
from yoyak.data.masks import MASKS

MARKS = ".;?!,"  # of AEDA, without its colon: behind a tag that would be a speaker
ENDS = (".", "?", "!", "…", ",", "~", ";")  # of a word that ends a sentence or a part of it
# Without a negation a sentence says the opposite.
NEGATION = re.compile("안|못|없|않|아니|말|마[.!?]?$|.*(?:밖에|없이|지마)")
NUMERAL = re.compile(
    "(?:하나|둘|셋|넷|한|두|세|네|다섯|여섯|일곱|여덟|아홉|열.*|스무|스물.*|서른.*|마흔.*|쉰.*|몇|첫.*|[일이삼사오육칠팔구십백천만억]+)$"
)
MIN_SPLIT = 4  # letters of a word that may get a space inside


class Noise(Method):
    """Each kind of noise strikes each word of the dialogue with its own rate, independently.

    Words with a tag, a mask, a digit or a Latin letter, and numerals, are never changed, moved or deleted. Negations, ends of
    sentences, what is counted, and words of the summary are never deleted. No word leaves its part of a sentence.
    """

    name = "noise"
    filters = ("same_tags", "foreign")

    def write(self, tasks: Sequence[Task]) -> list[Candidate | Refusal]:
        return [self._disturb(task) for task in tasks]

    def _disturb(self, task: Task) -> Candidate:
        row = task.source
        needed = self.workspace.morphemes.content_words(row["summary"])
        disturber = Disturber(self.settings, self.random_of(task), needed)
        turns, _ = parse(row["dialogue"])
        dialogue = to_text([Turn(turn.speaker, disturber.disturb(turn.utterance)) for turn in turns])
        return Candidate(dialogue, row["summary"], row["topic"], details=dict(sorted((+disturber.done).items())))


@dataclass
class Disturber:
    """Disturbs utterances.

    Attributes:
        settings: section augment.noise.
        random: where the random numbers come from.
        needed: content words of the summary.
        done: how often each kind of noise was applied.
    """

    settings: NoiseSettings
    random: random.Random
    needed: frozenset[str] = frozenset()
    done: Counter[str] = field(default_factory=Counter)

    def disturb(self, utterance: str) -> str:
        """An utterance with noise, on one line as before."""
        words = self._without_some(utterance.split(" "))
        words = self._with_some_swapped(words)
        words = self._punctuated([self._mistyped(word) for word in words])
        return " ".join(self._spaced(words))

    def _strikes(self, kind: str) -> bool:
        rate: float = getattr(self.settings, kind)
        return self.random.random() < rate

    def _without_some(self, words: list[str]) -> list[str]:
        kept = []
        for index, word in enumerate(words):
            is_counted = index > 0 and NUMERAL.match(words[index - 1])
            if is_counted or self._is_needed(word) or not self._strikes("deletion"):
                kept.append(word)
        if not kept:
            return words
        self.done["deletion"] += len(words) - len(kept)
        return kept

    def _is_needed(self, word: str) -> bool:
        """Whether the sentence, or the summary, could be wrong without the word."""
        if is_protected(word) or word.endswith(ENDS) or NEGATION.match(word):
            return True
        return any(needed in word for needed in self.needed)

    def _with_some_swapped(self, words: list[str]) -> list[str]:
        words, place = list(words), 0
        while place + 1 < len(words):
            pair = words[place : place + 2]
            stays = any(is_protected(word) or word.endswith(ENDS) for word in pair)
            if not stays and self._strikes("swap"):
                words[place : place + 2] = reversed(pair)
                self.done["swap"] += 1
                place += 1  # a word moves only once
            place += 1
        return words

    def _mistyped(self, word: str) -> str:
        if is_protected(word) or not self._strikes("typo"):
            return word
        typed = mistype(word, self.random)
        self.done["typo"] += typed != word
        return typed

    def _spaced(self, words: list[str]) -> list[str]:
        """Some words are joined with the next one, some are split."""
        result: list[str] = []
        joins = False
        for index, word in enumerate(words):
            strikes = not is_protected(word) and self._strikes("spacing")
            letters = len(word.rstrip("".join(ENDS)))  # no mark stands alone behind the space
            splits = strikes and letters >= MIN_SPLIT and self.random.random() < 0.5
            will_join = strikes and not splits and index + 1 < len(words) and not is_protected(words[index + 1])
            self.done["spacing"] += splits or will_join
            parts = [word]
            if splits:
                place = self.random.randrange(1, letters)
                parts = [word[:place], word[place:]]
            if joins:
                parts[0] = result.pop() + parts[0]
            result += parts
            joins = will_join
        return result

    def _punctuated(self, words: list[str]) -> list[str]:
        result: list[str] = []
        for word in words:
            if not (result and result[-1].endswith(ENDS)) and self._strikes("punctuation"):
                result.append(self.random.choice(MARKS))
                self.done["punctuation"] += 1
            result.append(word)
        return result


def is_protected(word: str) -> bool:
    """Whether a word has a tag, a mask, a digit or a Latin letter (often a name), is a numeral, or has no letter at all."""
    plain = all(not letter.isdigit() and not (letter.isascii() and letter.isalpha()) for letter in word)
    has_letter = any(map(str.isalpha, word))
    return not plain or not has_letter or "#" in word or bool(MASKS.search(word) or NUMERAL.match(word))


METHOD = Noise

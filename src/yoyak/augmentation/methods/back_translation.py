"""The same dialogue or summary in other words, by translating it into another language and back."""

import random
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from yoyak.augmentation import korean_prompts
from yoyak.augmentation.base import Task
from yoyak.augmentation.protection import check_dialogue, check_text
from yoyak.augmentation.rewriting import Failed, Part, Rewriting
from yoyak.augmentation.text_models.answers import dialogue_of, without_heading
from yoyak.augmentation.text_models.chat import ChatModel, ask
from yoyak.augmentation.text_models.writer import check_writer, open_chat_model
from yoyak.data.dialogue import BadDialogueError, Turn, parse, to_text

if TYPE_CHECKING:
    from yoyak.augmentation.text_models.round_trip import Rewritten, RoundTrip


class BackTranslation(Rewriting):
    """Rewrites texts by way of a pivot language.

    A translator (`by: translator`) gets single sentences without the speaker tags of the turns, and placeholders for the tags
    and masks within them. A language model (`by: writer`) gets the whole text.
    """

    name = "back_translation"

    def pivot_of(self, task: Task) -> str:
        """Copies of a row go by different pivots; which one is the first depends on the row."""
        pivots: list[str] = self.settings.pivots
        first = random.Random(f"{self.workspace.seed} {self.name} {task.source['fname']}").randrange(len(pivots))
        return pivots[(first + task.copy) % len(pivots)]

    def details_of(self, task: Task) -> dict[str, Any]:
        return {"pivot": self.pivot_of(task)}

    def rewrite(self, parts: Sequence[Part]) -> list[str | Failed]:
        one_way = self._by_translator if self.settings.by == "translator" else self._by_writer
        results: dict[int, str | Failed] = {}
        for pivot in self.settings.pivots:
            places = [place for place, part in enumerate(parts) if self.pivot_of(part.task) == pivot]
            results |= dict(zip(places, one_way([parts[place] for place in places], pivot), strict=True))
        return [results[place] for place in range(len(parts))]

    def check(self) -> str:
        if self.settings.by == "translator":
            return f"({self.translators.report()['model']})"
        for pivot in self.settings.pivots:
            korean_prompts.language_name(pivot)
        return check_writer(self.workspace)

    def report(self) -> dict[str, Any]:
        if self.settings.by == "writer":
            return {"writer": self.writer.report()}  # of all methods together
        return {"translator": self.translators.report()}

    # By a translator

    @cached_property
    def translators(self) -> "RoundTrip":
        from yoyak.augmentation.text_models.round_trip import RoundTrip

        return RoundTrip.open(self.workspace, self.settings.pivots)

    def _by_translator(self, parts: Sequence[Part], pivot: str) -> list[str | Failed]:
        turns = [parse(part.text)[0] if part.kind == "dialogue" else [Turn("", part.text)] for part in parts]
        rewritten = iter(self.translators.rewrite([turn.utterance for one in turns for turn in one], pivot))
        return [_rebuild(part, one, [next(rewritten) for _ in one]) for part, one in zip(parts, turns, strict=True)]

    # By a language model

    @cached_property
    def writer(self) -> ChatModel:
        return open_chat_model(self.workspace)

    def _by_writer(self, parts: Sequence[Part], pivot: str) -> list[str | Failed]:
        language = korean_prompts.language_name(pivot)
        there = self._ask(korean_prompts.INTO_PIVOT, parts, [part.text for part in parts], language)
        kept = [
            text if isinstance(text, Failed) else _checked_pivot(part, text) for part, text in zip(parts, there, strict=True)
        ]
        places = [place for place, text in enumerate(kept) if not isinstance(text, Failed)]
        texts = [str(kept[place]) for place in places]
        back = self._ask(korean_prompts.INTO_KOREAN, [parts[place] for place in places], texts, language)
        results = dict(zip(places, back, strict=True))
        return [results.get(place, text) for place, text in enumerate(kept)]

    def _ask(self, prompt: str, parts: Sequence[Part], texts: Sequence[str], language: str) -> list[str | Failed]:
        questions = [
            ask(
                part.task.source["fname"],
                prompt.format(
                    kind=korean_prompts.KINDS[part.kind],
                    style=korean_prompts.STYLES[part.kind],
                    language=language,
                    text=text,
                ),
                seed=f"{self.workspace.seed} back_translation {part.task.copy} {text}",
            )
            for part, text in zip(parts, texts, strict=True)
        ]
        return [Failed(one.fault) if one.fault else one.text for one in self.writer.answer(questions)]


def _rebuild(part: Part, turns: Sequence[Turn], rewritten: Sequence["Rewritten"]) -> str | Failed:
    """A dialogue with the same speakers, or a summary."""
    for one in rewritten:
        if one.failed:
            return Failed(one.failed)
    if part.kind == "summary":
        return rewritten[0].text
    return to_text([Turn(turn.speaker, one.text) for turn, one in zip(turns, rewritten, strict=True)])


def _checked_pivot(part: Part, written: str) -> str | Failed:
    """A text in the pivot language, if it has the tags of its source."""
    try:
        if part.kind == "dialogue":
            written = dialogue_of(written)
            check_dialogue(part.text, written)
        else:
            written = without_heading(written)
            check_text(part.text, written)
    except BadDialogueError as error:
        return Failed(str(error))
    return written


METHOD = BackTranslation

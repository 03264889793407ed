"""The same dialogue or summary in other words, by a language model."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from yoyak.augmentation import korean_prompts
from yoyak.augmentation.rewriting import Failed, Part, Rewriting
from yoyak.augmentation.text_models.chat import ChatModel, ask
from yoyak.augmentation.text_models.writer import check_writer, open_chat_model

PROMPTS = {"dialogue": korean_prompts.PARAPHRASE_DIALOGUE, "summary": korean_prompts.PARAPHRASE_SUMMARY}


class Paraphrase(Rewriting):
    """Asks `augment.writer` to say the same in other words. The whole dialogue is in one question, so that the model sees what
    each turn answers."""

    name = "paraphrase"

    @cached_property
    def writer(self) -> ChatModel:
        return open_chat_model(self.workspace)

    def rewrite(self, parts: Sequence[Part]) -> list[str | Failed]:
        questions = [
            ask(
                part.task.source["fname"],
                PROMPTS[part.kind].format(text=part.text),
                seed=f"{self.workspace.seed} paraphrase {part.task.copy} {part.text}",
            )
            for part in parts
        ]
        return [Failed(one.fault) if one.fault else one.text for one in self.writer.answer(questions)]

    def check(self) -> str:
        return check_writer(self.workspace)

    def report(self) -> dict[str, Any]:
        return {"writer": self.writer.report()}  # of all methods together


METHOD = Paraphrase

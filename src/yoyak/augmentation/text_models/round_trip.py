"""Sentences into another language and back by translators, with placeholders for tags and masks."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from yoyak.augmentation.protection import Placeholders
from yoyak.augmentation.text_models.translator import Translator, open_translator, sentences_of
from yoyak.augmentation.text_models.written import Written
from yoyak.augmentation.workspace import Workspace
from yoyak.data.dialogue import BadDialogueError
from yoyak.system import hardware
from yoyak.system.errors import YoyakError

PARAM = "augment.translator"


@dataclass
class _Utterance:
    """A text on its way.

    Attributes:
        sentences: in the language that they are in now, with placeholders.
        failed: why the text is given up; None if it is not.
    """

    sentences: list[str] = field(default_factory=list)
    placeholders: Placeholders = field(default_factory=Placeholders)
    failed: str | None = None

    @classmethod
    def of(cls, text: str) -> "_Utterance":
        utterance = cls()
        try:
            utterance.sentences = sentences_of(utterance.placeholders.protect(text))
        except BadDialogueError as error:
            utterance.failed = str(error)
        return utterance

    def advance(self, translated: Iterator[Written]) -> None:
        """Take the translations of the sentences, and check that they have the same placeholders."""
        written = [next(translated) for _ in self.sentences]
        self.failed = next((one.fault for one in written if one.fault), None)
        if self.failed is None:
            sentences = [self.placeholders.normalize(one.text) for one in written]
            if self._count(sentences) != self._count(self.sentences):
                self.failed = "other_tags"
            self.sentences = sentences

    def _count(self, sentences: Sequence[str]) -> Counter[str]:
        names = self.placeholders.originals
        return Counter(name for name in re.findall(r"[A-Z][a-z]+[0-9]+", " ".join(sentences)) if name in names)


@dataclass(frozen=True)
class Rewritten:
    """A text in other words, or the reason why there is none."""

    text: str
    failed: str | None


class RoundTrip:
    """A translator from Korean, and one back."""

    def __init__(self, there: Translator, back: Translator, *, korean: str) -> None:
        self.there, self.back, self.korean = there, back, korean
        self.sentences = 0

    @classmethod
    def open(cls, workspace: Workspace, pivots: Sequence[str]) -> "RoundTrip":
        """The translators of section augment.translator.

        Raises:
            YoyakError: if a checkpoint is missing or not pinned, or does not know a language or the direction.
        """
        hardware.configure_cpu(workspace.params.hardware.cpu_threads)
        settings = workspace.params.augment.translator
        kept = workspace.kept("translator")
        options: dict[str, Any] = {"num_beams": settings.num_beams, "batch_size": settings.batch_size, "kept": kept}
        there = back = open_translator(settings.checkpoint, settings.revision, param=f"{PARAM}.checkpoint", **options)
        if settings.back_checkpoint:
            back = open_translator(
                settings.back_checkpoint, settings.back_revision, param=f"{PARAM}.back_checkpoint", **options
            )
        elif there.languages.kind == "bilingual":
            raise YoyakError(
                f"{PARAM}.back_checkpoint: is empty, but {there.checkpoint} translates in one direction only; name the "
                "model that translates back into Korean"
            )
        trip = cls(there, back, korean=settings.korean)
        trip._check_languages(pivots)
        return trip

    def _check_languages(self, pivots: Sequence[str]) -> None:
        pivots_param = "augment.back_translation.pivots"
        for model, wrong in ((self.there, "target_lang"), (self.back, "source_lang")):
            if model.languages.kind == "bilingual" and len(pivots) > 1:
                raise YoyakError(f"{pivots_param}: {model.checkpoint} knows one pair of languages; name one pivot")
            if model.languages.kind == "bilingual" and str(getattr(model.tokenizer, wrong, None) or "").startswith("ko"):
                way = f"{model.tokenizer.source_lang} → {model.tokenizer.target_lang}"
                raise YoyakError(f"{model.param}: {model.checkpoint} translates {way}, which is the other direction")
            if model.languages.kind == "forced" or model is self.back:
                model.languages.check(self.korean, param=f"{PARAM}.korean", checkpoint=model.checkpoint)
            if model.languages.kind == "forced" or model is self.there:
                for pivot in pivots:
                    model.languages.check(pivot, param=pivots_param, checkpoint=model.checkpoint)

    def rewrite(self, texts: Sequence[str], pivot: str) -> list[Rewritten]:
        """Each text in Korean again, or why it is given up."""
        utterances = [_Utterance.of(text) for text in texts]
        for model, source, target in ((self.there, self.korean, pivot), (self.back, pivot, self.korean)):
            going = [utterance for utterance in utterances if utterance.failed is None]
            sentences = [sentence for utterance in going for sentence in utterance.sentences]
            self.sentences += len(sentences)
            translated = iter(model.translate(sentences, source=source, target=target))
            for utterance in going:
                utterance.advance(translated)
        return [
            Rewritten(utterance.placeholders.restore(" ".join(utterance.sentences)), utterance.failed)
            for utterance in utterances
        ]

    def report(self) -> dict[str, Any]:
        models = dict.fromkeys((self.there.checkpoint, self.back.checkpoint))
        return {"model": " and ".join(models), "sentences": self.sentences}

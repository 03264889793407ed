"""A language model behind an OpenAI-compatible API (`model.endpoint`) that answers messages."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from tqdm import tqdm

from yoyak.augmentation.text_models.answers import without_reasoning
from yoyak.augmentation.text_models.chat import Question
from yoyak.augmentation.text_models.written import Written
from yoyak.config.augment_models_section import Writer
from yoyak.config.endpoint_section import Endpoint
from yoyak.config.generation_section import Generation
from yoyak.data.masking import Masker, count_masked, restore
from yoyak.data.token_counts import TokenCounter
from yoyak.inference.endpoint import asking
from yoyak.inference.endpoint.answer_store import Answer, AnswerStore
from yoyak.inference.endpoint.budget import Budget, price_of
from yoyak.inference.endpoint.request import make_request

LOWEST_TEMPERATURE = 1e-3  # that section generation accepts
_CONTROL_TOKEN = re.compile(r"<(?=\||/?s>|/?think>)")  # must not end a text on the server


class EndpointChat:
    """The model of section `model.endpoint`. Each answer is stored before it is used, and never paid twice."""

    def __init__(self, settings: Writer, endpoint: Endpoint, *, mask: bool, store: AnswerStore | None = None) -> None:
        """Prepare; nothing is sent yet.

        Args:
            settings: section augment.writer.
            endpoint: section model.endpoint.
            mask: `prompt.mask`: whether personal data is replaced before a text leaves.
            store: by default the store of the repository.
        """
        self.endpoint, self.mask, self.store = endpoint, mask, store
        self.name = endpoint.model
        sampling = {
            "do_sample": settings.temperature > 0,
            "temperature": max(settings.temperature, LOWEST_TEMPERATURE),
            "top_p": settings.top_p,
        }
        plain = Generation.plain(max_new_tokens=settings.max_new_tokens, num_beams=1)
        self.generation = plain.model_copy(update=sampling)
        self.counter = TokenCounter.load(endpoint.tokenizer)
        self.budget = Budget(endpoint.budget)  # of the whole run
        self.answers: dict[str, Answer] = {}
        self.masked: Counter[str] = Counter()

    def answer(self, questions: Sequence[Question]) -> list[Written]:
        prepared = [self._prepare(question) for question in questions]
        with tqdm(total=len(prepared), desc="answers", unit="text", mininterval=1) as bar:
            answers = asking.ask_all(
                [question for question, _ in prepared],
                self.endpoint,
                most_output_tokens=self.generation.max_new_tokens,
                budget=self.budget,
                store=self.store,
                progress=bar.update,
                keep_faults=True,
            )
        self.answers |= answers
        return [self._written(answers[question.request.hash], originals) for question, originals in prepared]

    def report(self) -> dict[str, Any]:
        tokens = {
            "input_tokens": sum(answer.input_tokens for answer in self.answers.values()),
            "output_tokens": sum(answer.output_tokens for answer in self.answers.values()),
        }
        priced = self.endpoint.price_per_million_input is not None or self.endpoint.price_per_million_output is not None
        return {
            "model": self.name,
            "url": self.endpoint.url,
            "questions": len(self.answers),
            **tokens,
            "price": round(price_of(self.endpoint, **tokens), 6) if priced else None,
            "masked": dict(sorted(self.masked.items())),
        }

    def _prepare(self, question: Question) -> tuple[asking.Question, dict[str, str]]:
        masker = Masker()
        messages = []
        for message in question.messages:
            text = _CONTROL_TOKEN.sub("< ", message["content"])
            messages.append({**message, "content": masker.mask(text) if self.mask else text})
        self.masked.update(count_masked(masker.originals))
        request = make_request(self.endpoint, self.generation, messages, seed=question.seed)
        tokens, most = self.counter.count(messages), self.counter.at_most(messages)
        return asking.Question(question.name, request, input_tokens=tokens, most_input_tokens=most), masker.originals

    def _written(self, answer: Answer, originals: dict[str, str]) -> Written:
        if answer.fault:
            return Written("", "answer_refused")
        text, _ = restore(without_reasoning(answer.text), originals)
        return Written.of(text, finished=answer.finish_reason != "length")

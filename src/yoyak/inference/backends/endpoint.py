"""The backend `endpoint`: a model behind an OpenAI-compatible API writes the summaries."""

import sys
from collections import Counter
from collections.abc import Sequence
from statistics import fmean
from typing import Any

from tqdm import tqdm

from yoyak.config.endpoint_section import Endpoint
from yoyak.config.generation_section import Generation
from yoyak.data.masking import count_masked, restore
from yoyak.inference.backends.base import Backend
from yoyak.inference.endpoint.answer_store import Answer
from yoyak.inference.endpoint.asking import Question, ask_all
from yoyak.inference.endpoint.budget import Budget, price_of
from yoyak.inference.endpoint.request import make_request
from yoyak.inference.outputs import Output, output_of
from yoyak.models.families.base import LoadedModel
from yoyak.models.families.endpoint import ChatInput

# Settings that the API has no counterpart of, with the values that switch them off.
NOT_SENT: dict[str, Any] = {
    "min_new_tokens": 0,
    "num_beams": 1,
    "repetition_penalty": 1.0,
    "no_repeat_ngram_size": 0,
    "blocked_scripts": [],
}


def questions(settings: Endpoint, generation: Generation, encoded: Sequence[ChatInput], *, seed: int) -> list[Question]:
    """The request of each dialogue."""
    return [
        Question(
            item.name,
            make_request(settings, generation, item.messages, seed=seed),
            input_tokens=item.tokens,
            most_input_tokens=item.most_tokens,
        )
        for item in encoded
    ]


class EndpointWriter:
    """Asks for the summaries, several at a time. Answers that are stored already cost nothing."""

    rows_at_once = sys.maxsize  # `max_in_flight` limits the requests, not generation.batch_size

    def __init__(self, settings: Endpoint, generation: Generation) -> None:
        self.settings, self.generation = settings, generation
        self.budget = Budget(settings.budget)
        self.answers: dict[str, Answer] = {}
        self.rows, self.masked, self.restored = 0, Counter[str](), 0
        ignored = [f"{name}={getattr(generation, name)}" for name, off in NOT_SENT.items() if getattr(generation, name) != off]
        if ignored:
            print(f"generation: {', '.join(ignored)}: the API has no such setting, so it has no effect", file=sys.stderr)

    def write(self, encoded: Sequence[Any], dialogues: Sequence[str], *, seed: int) -> list[Output]:
        asked = questions(self.settings, self.generation, encoded, seed=seed)
        with tqdm(total=len(asked), desc="answers", unit="dialogue", mininterval=1) as bar:
            answers = ask_all(
                asked,
                self.settings,
                most_output_tokens=self.generation.max_new_tokens,
                budget=self.budget,
                progress=bar.update,
            )
        self.answers |= answers
        outputs = []
        for item, question in zip(encoded, asked, strict=True):
            answer = answers[question.request.hash]
            text, restored = restore(answer.text, item.originals)
            self.rows += 1
            self.masked.update(count_masked(item.originals))
            self.restored += restored
            outputs.append(output_of(text, hit_limit=answer.finish_reason == "length"))
        return outputs

    def report(self) -> dict[str, Any]:
        """For metrics/predict.json: what all answers together took, those from the store included."""
        tokens = {
            "input_tokens": sum(answer.input_tokens for answer in self.answers.values()),
            "output_tokens": sum(answer.output_tokens for answer in self.answers.values()),
        }
        priced = self.settings.price_per_million_input is not None or self.settings.price_per_million_output is not None
        return {
            "url": self.settings.url,
            "model": self.settings.model,
            "requests": len(self.answers),
            **tokens,
            "price": round(price_of(self.settings, **tokens), 6) if priced else None,
            "seconds_a_dialogue": round(fmean(answer.seconds for answer in self.answers.values()), 3) if self.answers else 0.0,
            "masked": dict(sorted(self.masked.items())),
            "restored": self.restored,
        }


class EndpointBackend(Backend):
    name = "endpoint"
    is_exact = True

    def why_not(self, loaded: LoadedModel, settings: Generation) -> str | None:
        if not isinstance(loaded.model, Endpoint):
            return f"the family {loaded.family} has no API"
        consensus = settings.consensus
        return f"generation.consensus.{problem}" if (problem := consensus.why_not_by("endpoint")) else None

    def open(self, loaded: LoadedModel, settings: Generation, *, threads: int | None, processes: int = 1) -> EndpointWriter:
        return EndpointWriter(loaded.model, settings)


BACKEND = EndpointBackend()

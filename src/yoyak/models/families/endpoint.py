"""The family `endpoint`: a model behind an OpenAI-compatible API (Upstage Solar, OpenAI, vLLM, Ollama), not trained here."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from yoyak.config.sections import Params
from yoyak.data.examples import Example
from yoyak.data.masking import Masker
from yoyak.data.prompts import MIN_DIALOGUE_TOKENS, PromptTexts, fit_prompt
from yoyak.data.token_counts import TokenCounter
from yoyak.data.truncation import EncodedDialogue
from yoyak.models.families.base import Family, LoadedModel, Row
from yoyak.system.errors import YoyakError

MARKER = "endpoint.txt"  # in models/endpoint, which is in git: the model itself is on the server
_CONTROL_TOKEN = re.compile(r"<(?=\||/?s>|/?think>)")


@dataclass(frozen=True)
class ChatInput:
    """What is sent for a dialogue. Its length is its number of tokens.

    Attributes:
        name: of the row, for messages.
        messages: role and content of each.
        tokens: counted or estimated.
        most_tokens: no tokenizer counts more.
        originals: the personal data that each placeholder in `messages` stands for.
    """

    name: str
    messages: list[dict[str, str]]
    tokens: int
    most_tokens: int
    originals: dict[str, str]

    def __len__(self) -> int:
        return self.tokens


def _cleaner(masker: Masker, params: Params) -> Callable[[str], str]:
    """What is done to each text before it is sent. A control token in it, such as "</s>", must not end it on the server."""

    def safe(text: str) -> str:
        text = _CONTROL_TOKEN.sub("< ", text)
        return masker.mask(text) if params.prompt.mask else text

    return safe


class EndpointFamily(Family):
    name = "endpoint"
    is_trained = False
    unread_params = (
        *("model.kobart.", "model.qlora.", "training.", "lora.", "augment.", "pretrain."),
        *("tokenizer.max_target_length", "tokenizer.special_tokens", "tokenizer.new_tokens"),
        *("generation.min_new_tokens", "generation.num_beams", "generation.top_k", "generation.repetition_penalty"),
        *("generation.length_penalty", "generation.no_repeat_ngram_size", "generation.early_stopping"),
        *("generation.blocked_scripts", "generation.batch_size", "generation.consensus.weights"),
    )

    def recognizes(self, folder: Path) -> bool:
        return (folder / MARKER).is_file()

    def load_trained(self, folder: Path, params: Params | None = None) -> LoadedModel:
        if params is None:
            raise YoyakError(f"{folder}: the family endpoint has no model here; it needs section model of params.yaml")
        if not self.recognizes(folder):
            raise YoyakError(f"{folder / MARKER}: no such file; restore it: git checkout {folder / MARKER}")
        return self.load_untrained(params)

    def load_untrained(self, params: Params) -> LoadedModel:
        """Nothing is loaded but the tokenizer that counts tokens, if params name one."""
        settings = params.model.endpoint
        return LoadedModel(self.name, settings, TokenCounter.load(settings.tokenizer))

    def encode(self, rows: Sequence[Row], loaded: LoadedModel, params: Params, *, names_topic: bool) -> list[EncodedDialogue]:
        return self.encode_asking(None, rows, loaded, params, names_topic=names_topic)

    def encode_asking(
        self, instruction: str | None, rows: Sequence[Row], loaded: LoadedModel, params: Params, *, names_topic: bool
    ) -> list[EncodedDialogue]:
        ask = partial(PromptTexts(params.prompt, names_topic).messages, instruction=instruction)
        return [
            self._encode(row, ask, loaded, params, name=row.get("fname") or f"dialogue {number}")
            for number, row in enumerate(rows, 1)
        ]

    def _encode(
        self, row: Row, ask: Callable[..., list[dict[str, str]]], loaded: LoadedModel, params: Params, *, name: str
    ) -> EncodedDialogue:
        counter: TokenCounter = loaded.tokenizer
        masker = Masker()
        mask = _cleaner(masker, params)
        topic = mask(row.get("topic", ""))
        chosen = loaded.examples.choose(row["dialogue"]) if loaded.examples else []
        examples = [Example(mask(item.dialogue), mask(item.summary), mask(item.topic)) for item in chosen]

        def encode(dialogue: str, shown: Sequence[Example]) -> ChatInput:
            messages = ask(dialogue, topic, examples=shown)
            return ChatInput(name, messages, counter.count(messages), counter.at_most(messages), {})

        limit = params.tokenizer.max_input_length
        if (tokens := len(encode("", ()))) + MIN_DIALOGUE_TOKENS > limit:
            raise YoyakError(
                f"tokenizer.max_input_length: {limit} is too small. The prompt without a dialogue takes {tokens} tokens, and a "
                f"dialogue needs at least {MIN_DIALOGUE_TOKENS} more"
            )
        encoded = fit_prompt(
            mask(row["dialogue"]), examples, encode=encode, max_length=limit, truncation=params.tokenizer.truncation
        )
        sent: Any = encoded.ids
        # Only what is sent counts: an example that was left out has no placeholder.
        text = "\n".join(message["content"] for message in sent.messages)
        originals = {placeholder: value for placeholder, value in masker.originals.items() if placeholder in text}
        with_originals: Any = replace(sent, originals=originals)
        return replace(encoded, ids=with_originals)


FAMILY = EndpointFamily()

"""OpenAI's chat API: the last message of the user is the dialogue, and the answer is its summary."""

import json
import time
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from yoyak.app.errors import ApiError
from yoyak.app.schema import EXAMPLE, MOST_CHARACTERS, GenerationChanges
from yoyak.config.generation_section import Generation
from yoyak.inference.shared_model import Written

MOST_MESSAGES = 64


class _ChatInput(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)


class TextPart(_ChatInput):
    """A part of a message."""

    type: Literal["text"]
    text: str = Field(max_length=MOST_CHARACTERS)


class Message(_ChatInput):
    """A message. Only the last one of the user is read."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[str, Field(max_length=MOST_CHARACTERS)] | Annotated[list[TextPart], Field(min_length=1, max_length=100)]
    name: str | None = Field(default=None, max_length=200)

    @property
    def text(self) -> str:
        return self.content if isinstance(self.content, str) else "\n".join(part.text for part in self.content)


class StreamOptions(_ChatInput):
    """Options of a stream."""

    include_usage: bool = Field(default=False, description="Whether the last chunk has the counts of tokens.")
    include_obfuscation: bool | None = Field(default=None, description="Has no effect.")


class ChatRequest(_ChatInput):
    """A request of OpenAI's chat API."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"messages": [{"role": "user", "content": EXAMPLE}]}]})

    messages: list[Message] = Field(min_length=1, max_length=MOST_MESSAGES, description="The user's last one is the dialogue.")
    model: str | None = Field(default=None, max_length=200, description="Name of the model in /v1/models.")
    stream: bool | None = Field(
        default=None, description="Whether the answer comes as server-sent events, the text in one piece."
    )
    stream_options: StreamOptions | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="Longest summary, in tokens. More than the server's generation.max_new_tokens has no effect."
    )
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = Field(default=None, description="The newer name of max_tokens.")
    temperature: Annotated[float, Field(ge=0, le=2)] | None = Field(
        default=None,
        description="0, or nothing: the settings of the server, mostly beam search. Above 0: one sample, without beams.",
    )
    top_p: Annotated[float, Field(gt=0, le=1)] | None = Field(default=None, description="Only for samples.")
    seed: Annotated[int, Field(ge=0, lt=2**32)] | None = Field(default=None, description="Only for samples.")
    generation: GenerationChanges = Field(default=GenerationChanges(), description="Further settings; they take precedence.")
    n: Literal[1] | None = None
    frequency_penalty: float | None = Field(default=None, ge=0, le=0, description="Not supported, except 0.")
    presence_penalty: float | None = Field(default=None, ge=0, le=0, description="Not supported, except 0.")
    logprobs: Literal[False] | None = None
    response_format: dict[Literal["type"], Literal["text"]] | None = None
    # These do not change the text.
    user: str | None = Field(default=None, max_length=200)
    safety_identifier: str | None = Field(default=None, max_length=200)
    prompt_cache_key: str | None = Field(default=None, max_length=200)
    metadata: dict[str, str] | None = Field(default=None, max_length=16)
    store: bool | None = None
    service_tier: Literal["auto", "default"] | None = None

    def dialogue(self) -> tuple[str, str]:
        """The field and the text of the dialogue.

        Raises:
            ApiError: if no message is of the user.
        """
        for place, message in reversed(list(enumerate(self.messages))):
            if message.role == "user":
                if len(message.text) > MOST_CHARACTERS:
                    raise ApiError(
                        400, "invalid_value", f"more than {MOST_CHARACTERS:,} characters", param=f"messages[{place}].content"
                    )
                return f"messages[{place}].content", message.text
        raise ApiError(400, "invalid_value", "no message has the role user; its content is the dialogue", param="messages")

    def changes(self, server: Generation) -> dict[str, Any]:
        """Settings of generation that differ from the server's."""
        changes: dict[str, Any] = {}
        longest = self.max_completion_tokens or self.max_tokens
        if longest is not None and longest < server.max_new_tokens:
            changes |= {"max_new_tokens": longest, "min_new_tokens": min(server.min_new_tokens, longest)}
        if self.temperature:
            changes |= {"do_sample": True, "num_beams": 1, "temperature": max(self.temperature, 0.01)}
            changes |= {"top_p": self.top_p} if self.top_p is not None else {}
            changes |= {"seed": self.seed} if self.seed is not None else {}
        elif self.temperature == 0:
            changes["do_sample"] = False
        return changes | self.generation.values()


class ChatAnswerMessage(BaseModel):
    """The summary."""

    role: Literal["assistant"] = "assistant"
    content: str


class ChatChoice(BaseModel):
    """The only choice."""

    index: Literal[0] = 0
    message: ChatAnswerMessage
    finish_reason: Literal["stop", "length"]
    logprobs: None = None


class Usage(BaseModel):
    """Counts of tokens: that the model read, and of the summary."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class ChatCompletion(BaseModel):
    """An answer of OpenAI's chat API."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[ChatChoice]
    usage: Usage


class ModelCard(BaseModel):
    """The model of this server."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: Literal["yoyak"] = "yoyak"


class ModelList(BaseModel):
    """The models of this server: one."""

    object: Literal["list"] = "list"
    data: list[ModelCard]


def completion(written: Written, *, model: str, request_id: str) -> ChatCompletion:
    """The answer for a summary."""
    usage = Usage(
        prompt_tokens=written.input_tokens,
        completion_tokens=written.output_tokens,
        total_tokens=written.input_tokens + written.output_tokens,
    )
    choice = ChatChoice(
        message=ChatAnswerMessage(content=written.summary), finish_reason="length" if written.cut_off else "stop"
    )
    return ChatCompletion(id=f"chatcmpl-{request_id}", created=int(time.time()), model=model, choices=[choice], usage=usage)


def events(answer: ChatCompletion, *, with_usage: bool) -> Iterator[str]:
    """The same answer as server-sent events."""
    choice = answer.choices[0]
    head = {"id": answer.id, "object": "chat.completion.chunk", "created": answer.created, "model": answer.model}

    def chunk(delta: dict[str, str], finish: str | None = None) -> str:
        choices = [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]
        return _event({**head, "choices": choices, **({"usage": None} if with_usage else {})})

    yield chunk({"role": "assistant", "content": ""})
    yield chunk({"content": choice.message.content})
    yield chunk({}, choice.finish_reason)
    if with_usage:
        yield _event({**head, "choices": [], "usage": answer.usage.model_dump()})
    yield "data: [DONE]\n\n"


def _event(value: dict[str, Any]) -> str:
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n"

"""A request to an OpenAI-compatible API, and the key under which its answer is stored."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from yoyak.config.endpoint_section import Endpoint
from yoyak.config.generation_section import Generation

Messages = Sequence[Mapping[str, str]]


def canonical(value: object) -> str:
    """JSON that is the same for equal values."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


@dataclass(frozen=True)
class Request:
    """All that an answer depends on, without the key of the API.

    Attributes:
        url: the address of the API.
        body: what is sent.
        seed: of sampling; None for greedy decoding. Not every server accepts it, so it is sent only where it is known.
    """

    url: str
    body: Mapping[str, Any]
    seed: int | None = None

    @cached_property
    def hash(self) -> str:
        """64 hexadecimal digits."""
        return hashlib.sha256(canonical(self.as_dict()).encode()).hexdigest()

    def as_dict(self) -> dict[str, Any]:
        return {"url": self.url, "body": dict(self.body), "seed": self.seed}


def make_request(settings: Endpoint, generation: Generation, messages: Messages, *, seed: int) -> Request:
    """The request for one dialogue.

    Greedy decoding is temperature 0. Beam search, penalties and top_k have no place in this API.
    """
    # OpenAI's newer models refuse max_tokens; other servers know only that.
    limit = "max_completion_tokens" if settings.provider == "openai" else "max_tokens"
    body: dict[str, Any] = {
        "model": settings.model,
        "messages": [dict(message) for message in messages],
        limit: generation.max_new_tokens,
        "temperature": generation.temperature if generation.do_sample else 0.0,
    }
    if generation.do_sample:
        body["top_p"] = generation.top_p
        if settings.provider != "upstage":
            body["seed"] = seed
    return Request(settings.url, body | settings.extra_body, seed if generation.do_sample else None)

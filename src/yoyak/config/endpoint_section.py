"""Section model.endpoint of params.yaml: a model behind an OpenAI-compatible API."""

import re
from typing import Any, ClassVar, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from yoyak.config.fields import Count, CountOrZero, NonEmpty, NotNegative, Positive, Section

Provider = Literal["upstage", "openai", "local"]
BASE_URLS: dict[str, str] = {
    "upstage": "https://api.upstage.ai/v1",
    "openai": "https://api.openai.com/v1",
    "local": "http://localhost:8000/v1",  # vLLM and `transformers serve`
}
# Each provider's key has a variable of its own, so that no key goes to another server than its own.
KEY_VARIABLES: dict[str, str] = {
    "upstage": "UPSTAGE_API_KEY",
    "openai": "OPENAI_API_KEY",
    "local": "YOYAK_ENDPOINT_KEY",
}
SET_ELSEWHERE = {
    "model": "model.endpoint.model",
    "messages": "prompt",
    "max_tokens": "generation.max_new_tokens",
    "max_completion_tokens": "generation.max_new_tokens",
    "temperature": "generation.temperature",
    "top_p": "generation.top_p",
    "seed": "generation.seed",
}
NOT_SUPPORTED = ("stream", "n", "tools", "functions")
LOOKS_SECRET = re.compile(r"key|token$|secret|password|authorization", re.I)


class Endpoint(Section):
    """The model of the family `endpoint`, which runs behind an OpenAI-compatible API."""

    param: ClassVar[str] = "model.endpoint"  # the name of the section, for messages
    set_elsewhere: ClassVar[dict[str, str]] = SET_ELSEWHERE  # keys of a request that extra_body must not have

    provider: Provider = Field(
        description="Server with the model. `upstage` reads the key UPSTAGE_API_KEY from the environment, `openai` "
        "OPENAI_API_KEY. `local` is any other server; it reads YOYAK_ENDPOINT_KEY if that is set."
    )
    base_url: str | None = Field(
        description="Address of the API, which mostly ends with /v1; empty for that of the provider. Only `provider: local` "
        "may have another one than its own, http://localhost:8000/v1."
    )
    model: NonEmpty = Field(description="Name of the model on the server.")
    tokenizer: str | None = Field(
        description="Folder with the model's tokenizer.json, to count tokens; empty for an estimate. The estimate is one "
        "token for every three bytes of UTF-8, which is one for each Korean letter."
    )
    extra_body: dict[str, Any] = Field(
        description="Further keys of each request, with the server's names. For example {reasoning_effort: low}, or for "
        "vLLM {chat_template_kwargs: {enable_thinking: false}}."
    )
    price_per_million_input: NotNegative | None = Field(
        description="Price of a million tokens of input, in your currency; empty if it costs nothing."
    )
    price_per_million_output: NotNegative | None = Field(
        description="Price of a million tokens of output, in your currency; empty if it costs nothing."
    )
    budget: Positive | None = Field(
        description="Highest price of all answers of a run together, in the currency of the prices; empty for no limit. "
        "Predict stops before a call that could exceed it, and keeps the answers."
    )
    requests_per_minute: Count | None = Field(description="Most requests that start in a minute; empty for no limit.")
    max_in_flight: Count = Field(description="Most requests at the same time.")
    timeout: Positive = Field(description="Seconds until a try without a complete answer is given up.")
    max_retries: CountOrZero = Field(
        description="Further tries after a fault that may pass: 429, 5xx, a lost connection, an unreadable answer."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.base_url is not None:
            self._check_url(self.base_url)
        if self.budget is not None and (self.price_per_million_input is None or self.price_per_million_output is None):
            raise ValueError("budget: needs price_per_million_input and price_per_million_output")
        for name in self.extra_body:
            if name in self.set_elsewhere:
                raise ValueError(f"extra_body: {name} must not be here; it comes from {self.set_elsewhere[name]}")
            if name in NOT_SUPPORTED:
                raise ValueError(f"extra_body: {name} is not supported")
            if LOOKS_SECRET.search(name):
                raise ValueError(f"extra_body: {name} looks like a key; put keys into {self.key_variable}, never into params")
        return self

    def _check_url(self, url: str) -> None:
        if self.provider != "local":
            raise ValueError(
                f"base_url: provider {self.provider} has its own address and key; for another address set provider: local "
                "and the key in YOYAK_ENDPOINT_KEY"
            )
        try:
            parts = urlsplit(url)
            valid = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
        except ValueError:
            valid = False
        if not valid:
            raise ValueError("base_url: expected an address such as http://localhost:8000/v1")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError(
                "base_url: must not contain a password or anything behind ? or #; put the key into YOYAK_ENDPOINT_KEY"
            )

    @property
    def url(self) -> str:
        """The address of the API, without a slash at its end."""
        return (self.base_url or BASE_URLS[self.provider]).rstrip("/")

    @property
    def key_variable(self) -> str:
        """The environment variable that holds the key."""
        return KEY_VARIABLES[self.provider]

    @property
    def is_loopback(self) -> bool:
        """Whether the address is on this machine, so that no text leaves it."""
        host = urlsplit(self.url).hostname or ""
        return host in ("localhost", "::1") or host.startswith("127.")

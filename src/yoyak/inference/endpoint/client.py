"""One call to an OpenAI-compatible API: sending it, and telling faults that pass from those that do not."""

import asyncio
import email.utils
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from yoyak.config.endpoint_section import Endpoint
from yoyak.inference.endpoint.answer_store import Answer
from yoyak.inference.endpoint.request import Request
from yoyak.system.errors import YoyakError
from yoyak.system.text_files import printable

MAX_WORDS = 300  # characters of a server's message that are shown
NO_KEY = "none"  # what is sent where the server needs no key
# Codes of errors that come with status 429 but do not pass.
_NO_MONEY = ("insufficient_quota", "billing_hard_limit_reached", "insufficient_balance", "payment_required")


class CallFailedError(Exception):
    """A call without a usable answer.

    Attributes:
        passes: another try may succeed.
        stops_all: no other request can succeed either, such as with a wrong key.
        wait: seconds that the server asks to wait; None if it does not say.
        may_cost: the server may have written an answer, which is then paid.
    """

    def __init__(
        self, message: str, *, passes: bool, stops_all: bool = False, wait: float | None = None, may_cost: bool = False
    ) -> None:
        super().__init__(message)
        self.passes, self.stops_all, self.wait, self.may_cost = passes, stops_all, wait, may_cost


@dataclass(frozen=True)
class Key:
    """The key of an API, from the environment. It has no `repr`, so that no message or traceback shows it."""

    variable: str
    _value: str

    def __repr__(self) -> str:
        return f"Key({self.variable})"

    @property
    def is_set(self) -> bool:
        return bool(self._value)

    def reveal(self) -> str:
        return self._value or NO_KEY

    def hide_in(self, text: str) -> str:
        """The text without the key, which a server may repeat."""
        return text.replace(self._value, f"<{self.variable}>") if self._value else text


def read_key(settings: Endpoint) -> Key:
    """The key of the chosen provider.

    Raises:
        YoyakError: if the provider needs one and its variable is not set, or if no key can look like the value.
    """
    value = os.environ.get(settings.key_variable, "").strip()
    if not value and settings.provider != "local":
        raise YoyakError(
            f"{settings.key_variable}: not set; it holds the key of provider {settings.provider}: "
            f"export {settings.key_variable}=…"
        )
    if not value.isascii() or not value.isprintable() or " " in value:
        raise YoyakError(f"{settings.key_variable}: has characters that no key has; copy the key again")
    return Key(settings.key_variable, value)


def offered_models(settings: Endpoint) -> list[str]:
    """The names of the models that a server offers. Nothing else is asked.

    Raises:
        YoyakError: if the key is missing, or the server does not answer.
    """

    async def names() -> list[str]:
        async with Client(settings, read_key(settings)) as api:
            return await api.model_names()

    try:
        return asyncio.run(names())
    except CallFailedError as error:
        raise YoyakError(str(error)) from None


class Client:
    """A connection to one API. Use it within `async with`."""

    def __init__(self, settings: Endpoint, key: Key) -> None:
        """Prepare the connection; nothing is sent yet.

        Raises:
            YoyakError: if the package openai is not installed.
        """
        try:
            import openai
        except ImportError:
            raise YoyakError(
                "the package openai is not installed; a model behind an API needs it: pip install 'yoyak[endpoint]'"
            ) from None
        self.settings, self.key = settings, key
        # A redirect would send the dialogues to another server. Proxies of the environment are not asked for this machine.
        http = openai.DefaultAsyncHttpxClient(follow_redirects=False, trust_env=not settings.is_loopback)
        other_server = {"OpenAI-Organization": openai.omit, "OpenAI-Project": openai.omit}
        self.api = openai.AsyncOpenAI(
            api_key=key.reveal(),
            base_url=settings.url,
            max_retries=0,  # the caller repeats, so that every call is counted
            timeout=settings.timeout,
            http_client=http,
            default_headers={} if settings.provider == "openai" else other_server,
        )

    async def __aenter__(self) -> "Client":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.api.close()

    async def ask(self, request: Request) -> Answer:
        """Send a request once.

        Raises:
            CallFailedError: if there is no answer, or it cannot be read.
        """
        start = time.perf_counter()
        status, headers, text = await self._send(request)
        seconds = time.perf_counter() - start
        if not 200 <= status < 300:
            raise self._status_fault(status, headers, text)
        return self._read_answer(request, text, seconds)

    async def _send(self, request: Request) -> tuple[int, Mapping[str, str], str]:
        """Status, headers and text of the server's answer."""
        import openai

        body = dict(request.body)
        model, messages = body.pop("model"), body.pop("messages")
        try:
            # The timeout of the library counts from byte to byte, so that a slow trickle would never end.
            async with asyncio.timeout(self.settings.timeout):
                response = await self.api.chat.completions.with_raw_response.create(
                    model=model, messages=messages, extra_body=body
                )
            return response.status_code, response.headers, response.http_response.text
        except openai.APIStatusError as error:
            return error.response.status_code, error.response.headers, error.response.text
        except (TimeoutError, openai.APITimeoutError):
            raise CallFailedError(
                f"no complete answer within {self.settings.timeout:g} s ({self.settings.param}.timeout)",
                passes=True,
                may_cost=True,
            ) from None
        except openai.APIConnectionError as error:
            cause = error.__cause__ or error
            words = self._words(str(cause) or type(cause).__name__)
            refused = type(cause).__name__ == "ConnectError"
            raise CallFailedError(
                f"{self.settings.url}: the connection failed: {words}", passes=True, may_cost=not refused
            ) from None

    def _status_fault(self, status: int, headers: Mapping[str, str], text: str) -> CallFailedError:
        words, code = self._server_words(text)
        said = f"HTTP {status}: {words}"
        if status in (401, 403):
            variable = self.key.variable
            hint = f"the key in {variable} is not accepted" if self.key.is_set else f"it needs a key: export {variable}=…"
            return CallFailedError(f"{self.settings.url}: {hint} ({said})", passes=False, stops_all=True)
        if status == 402 or code in _NO_MONEY:
            return CallFailedError(f"{self.settings.url}: no credit left ({said})", passes=False, stops_all=True)
        if status == 404:
            return CallFailedError(said, passes=False, stops_all=True)
        if status == 429 or status in (408, 409) or status >= 500:
            return CallFailedError(said, passes=True, wait=_retry_after(headers))
        if 300 <= status < 400:
            return CallFailedError(
                f"{said}; the server sends to another address, which is not followed; correct {self.settings.param}.base_url",
                passes=False,
                stops_all=True,
            )
        lowered = words.lower()
        if "context" in lowered or "too long" in lowered or "maximum length" in lowered:
            said += "; the context of the model is too short: lower tokenizer.max_input_length or prompt.examples"
        elif "temperature" in lowered:
            said += "; the model may refuse greedy decoding: set generation.do_sample: true and generation.temperature: 1.0"
        return CallFailedError(said, passes=False)

    def _server_words(self, text: str) -> tuple[str, str]:
        """The message and the code of a server's error."""
        try:
            error = json.loads(text)
            error = error.get("error", error)
            message = error.get("message") or error.get("detail") or text if isinstance(error, dict) else error
            code = error.get("code") or error.get("type") if isinstance(error, dict) else ""
        except (ValueError, AttributeError):
            message, code = text, ""
        return self._words(str(message)), str(code)

    def _words(self, text: str) -> str:
        return printable(" ".join(self.key.hide_in(text).split()) or "no message", MAX_WORDS)

    def _read_answer(self, request: Request, text: str, seconds: float) -> Answer:
        unreadable = "the server's answer cannot be read: "
        try:
            raw: Any = json.loads(self.key.hide_in(text))
            # Half of a surrogate pair, which JSON can contain, cannot be written into a file.
            raw = json.loads(json.dumps(raw, ensure_ascii=False).encode("utf-8", "replace"))
        except (ValueError, RecursionError):
            raise CallFailedError(f"{unreadable}not JSON: {self._words(text)}", passes=True, may_cost=True) from None
        if isinstance(raw, dict) and raw.get("error"):
            words, _ = self._server_words(text)
            raise CallFailedError(f"the server answers with an error: {words}", passes=True, may_cost=True)
        try:
            choice = raw["choices"][0]
            content, reason = choice["message"].get("content"), str(choice.get("finish_reason") or "stop")
            refusal = choice["message"].get("refusal")
        except (KeyError, IndexError, TypeError, AttributeError):
            raise CallFailedError(f"{unreadable}no choices: {self._words(text)}", passes=True, may_cost=True) from None
        if content is not None and not isinstance(content, str):
            raise CallFailedError(f"{unreadable}content is no text: {self._words(text)}", passes=True, may_cost=True)
        written = (content or "").strip()
        fault = None
        if reason == "content_filter" or (refusal and not written):
            fault = f"the server's content filter refuses: {self._words(str(refusal or reason))}"
        elif not written and reason == "length":
            fault = "the model wrote no text within the limit, perhaps only reasoning; raise generation.max_new_tokens"
        elif not written:
            raise CallFailedError("the answer is empty", passes=True, may_cost=True)
        usage = raw.get("usage") if isinstance(raw.get("usage"), dict) else {}
        return Answer(
            request=request.as_dict(),
            text=written,
            finish_reason=reason,
            input_tokens=_count(usage.get("prompt_tokens")),
            output_tokens=_count(usage.get("completion_tokens")),
            seconds=round(seconds, 3),
            raw=raw,
            fault=fault,
        )

    async def model_names(self) -> list[str]:
        """The models that the server offers (`/models`).

        Raises:
            CallFailedError: if it does not say.
        """
        import openai

        try:
            async with asyncio.timeout(self.settings.timeout):
                response = await self.api.models.with_raw_response.list()
            entries = json.loads(response.http_response.text)["data"]
            return sorted(self._words(str(entry["id"])) for entry in entries)
        except openai.APIStatusError as error:
            raise self._status_fault(error.response.status_code, error.response.headers, error.response.text) from None
        except (TimeoutError, openai.APIConnectionError, ValueError, KeyError, TypeError) as error:
            words = self._words(str(error.__cause__ or error) or type(error).__name__)
            raise CallFailedError(f"{self.settings.url}/models: {words}", passes=True) from None


def _count(value: object) -> int:
    """A number of tokens; -1 if the server does not say."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else -1


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a server asks to wait: a number, or a date."""
    value = headers.get("retry-after")
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (TypeError, ValueError):
        return None

"""What stands before the API: key, host, size of the body, request id, access log, counts. It reads no dialogue."""

import asyncio
import hmac
import logging
import time
import traceback
import uuid
from collections.abc import Awaitable
from contextlib import suppress
from dataclasses import dataclass

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from yoyak.app.errors import ApiError, error_response
from yoyak.app.metrics import Metrics

LOG = logging.getLogger("yoyak.serve")
PATHS = ("/v1/summaries", "/v1/chat/completions", "/v1/models", "/healthz", "/livez", "/metrics", "/docs", "/openapi.json")
JSON_PATHS = PATHS[:2]  # read a body
OPEN_PATHS = ("/healthz", "/livez", "/docs", "/openapi.json")  # need no key
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")
BODY_SECONDS = 30.0
CLOSED_BY_CLIENT = 499  # nginx's status for the log: the client went away before the answer
SAFE_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"),
]


@dataclass(frozen=True)
class Access:
    """Who may send what.

    Attributes:
        key: what clients must send as `Authorization: Bearer KEY`; None lets everybody in.
        most_bytes: of a body.
        only_loopback: whether requests must name this machine as their host. Otherwise a page in a browser could reach a server
            without a key by a name of its own (DNS rebinding).
    """

    key: str | None
    most_bytes: int
    only_loopback: bool


class Guard:
    """An ASGI application around another one."""

    def __init__(self, app: ASGIApp, access: Access, metrics: Metrics) -> None:
        self.app, self.access, self.metrics = app, access, metrics
        self.running = 0  # requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1000})
                return
            await self.app(scope, receive, send)
            return
        self.running += 1
        self.metrics.running.inc()
        try:
            await _Exchange(self, scope, receive, send).run()
        finally:
            self.running -= 1
            self.metrics.running.dec()


class _Exchange:
    """One request and its answer."""

    def __init__(self, guard: Guard, scope: Scope, receive: Receive, send: Send) -> None:
        self.guard, self.scope, self.receive, self._send = guard, scope, receive, send
        self.id = uuid.uuid4().hex
        self.path = scope["path"] if scope["path"] in PATHS else "other"
        self.start = time.perf_counter()
        self.status = 0
        self.headers = {name.lower(): value for name, value in scope["headers"]}
        scope.setdefault("state", {})["request_id"] = self.id

    async def run(self) -> None:
        try:
            self._check_access()
            body = await self._body()
            await self._answer(body)
        except ApiError as error:
            await error_response(error, self.id)(self.scope, self.receive, self.send)
        except Exception as error:
            _log_failure(error, self.id)
            if not self.status:
                internal = ApiError(500, "internal_error", "an error in the server; its log has more under the request id")
                await error_response(internal, self.id)(self.scope, self.receive, self.send)
        finally:
            seconds = time.perf_counter() - self.start
            status = self.status or CLOSED_BY_CLIENT
            self.guard.metrics.request(self.path, status, seconds)
            LOG.info("%s %s %d %.1fms %s", self.scope["method"], self.path, status, seconds * 1000, self.id)

    async def send(self, message: Message) -> None:
        """Send a part of the answer, with headers that every answer has."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            names = {name.lower() for name, _ in message.get("headers", [])}
            more = [(b"x-request-id", self.id.encode()), *(pair for pair in SAFE_HEADERS if pair[0] not in names)]
            message = {**message, "headers": [*message.get("headers", []), *more]}
        with suppress(OSError):  # the client has gone
            await self._send(message)

    def _check_access(self) -> None:
        access = self.guard.access
        host = self.headers.get(b"host", b"").decode("latin-1")
        if access.only_loopback and _without_port(host).lower() not in LOOPBACK_NAMES:
            raise ApiError(403, "wrong_host", "this server answers only to localhost; set a key to serve other names")
        if access.key is None or self.path in OPEN_PATHS:
            return
        scheme, _, sent = self.headers.get(b"authorization", b"").partition(b" ")
        if scheme.lower() != b"bearer" or not hmac.compare_digest(sent.strip(), access.key.encode()):
            raise ApiError(
                401,
                "invalid_api_key",
                "send the server's key as: Authorization: Bearer KEY",
                headers={"WWW-Authenticate": "Bearer"},
            )

    async def _body(self) -> bytes:
        """The whole body.

        Raises:
            ApiError: 413 if it is too large, 408 if it comes too slowly, 415 if it is not JSON.
        """
        most = self.guard.access.most_bytes
        too_large = ApiError(
            413, "too_large", f"the body has more than {most:,} bytes; send fewer dialogues", headers={"Connection": "close"}
        )
        stated = self.headers.get(b"content-length", b"0")
        if not stated.isdigit() or int(stated[:20]) > most:
            raise too_large
        parts: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(BODY_SECONDS):
                while True:
                    message = await self.receive()
                    if message["type"] == "http.disconnect":
                        break
                    parts.append(message.get("body", b""))
                    size += len(parts[-1])
                    if size > most:
                        raise too_large
                    if not message.get("more_body"):
                        break
        except TimeoutError:
            raise ApiError(
                408, "slow_body", f"the body was not complete after {BODY_SECONDS:.0f} s", headers={"Connection": "close"}
            ) from None
        kind = self.headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
        if self.scope["method"] == "POST" and self.path in JSON_PATHS and kind != b"application/json":
            raise ApiError(415, "not_json", "send the body as Content-Type: application/json")
        return b"".join(parts)

    async def _answer(self, body: bytes) -> None:
        """Run the application. It is cancelled if the client goes away, so that nobody writes a summary for nobody."""
        sent = False

        async def receive() -> Message:
            nonlocal sent
            if sent:  # an answer that streams asks whether the client has gone; below, that cancels it
                await asyncio.get_running_loop().create_future()
            sent = True
            return {"type": "http.request", "body": body, "more_body": False}

        work = asyncio.ensure_future(_run(self.guard.app(self.scope, receive, self.send)))
        gone = asyncio.ensure_future(self._wait_until_gone())
        try:
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                work.result()
        finally:
            for task in (work, gone):
                task.cancel()
            await asyncio.gather(work, gone, return_exceptions=True)

    async def _wait_until_gone(self) -> None:
        while (await self.receive())["type"] != "http.disconnect":
            pass


async def _run(answer: Awaitable[None]) -> None:
    await answer


def _without_port(host: str) -> str:
    return host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() and not host.endswith("]") else host


def _log_failure(error: BaseException, request_id: str) -> None:
    """Where an error of the server happened. Its message may have text of a dialogue, so it is left out."""
    frames = "".join(traceback.format_tb(error.__traceback__))
    LOG.error("%s: %s\n%s", request_id, type(error).__name__, frames)

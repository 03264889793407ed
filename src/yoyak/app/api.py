"""The API over HTTP: /v1/summaries, OpenAI's chat API, health, metrics and the description of it all."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import Body, Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response
from fastapi.security import HTTPBearer
from pydantic import BaseModel
from starlette.exceptions import HTTPException

import yoyak
from yoyak.app import chat, schema
from yoyak.app.docs_page import docs_page
from yoyak.app.engine import Answer, Engine, RefusedError
from yoyak.app.errors import ApiError, ErrorBody, error_response, invalid_request
from yoyak.app.metrics import CONTENT_TYPE, Metrics
from yoyak.config.generation_section import Generation
from yoyak.config.sections import Preprocess
from yoyak.data.cleaning import REASONS
from yoyak.data.dialogue import BadDialogueError
from yoyak.data.raw_dialogues import prepare_dialogue
from yoyak.evaluation.facts import Facts
from yoyak.system.errors import YoyakError
from yoyak.system.text_files import counted

DESCRIPTION = (
    "Summaries of Korean dialogues by one trained model. Errors have the form of OpenAI's API. Every answer has the header "
    "X-Request-Id."
)
RETRY_SECONDS = 1  # a full queue is a second's work
LOADING_SECONDS = 5
INLINE_CHARACTERS = 10_000  # more are cleaned in another thread, so that others do not wait
_MEANINGS = {
    400: "The body is not JSON, or a value is wrong (chat).",
    401: "The key is missing or wrong.",
    403: "The host is not localhost, although the server has no key.",
    404: "No such path, or no such model.",
    405: "The path has another method.",
    408: "The body came too slowly.",
    413: "The body is too large.",
    415: "The body is not application/json.",
    422: "A value is wrong, or a text is not a dialogue; `param` names the field.",
    429: "The queue is full; Retry-After says when to try again.",
    500: "An error in the server.",
    503: "The model loads, or the server stops.",
    504: "No summary in time.",
}


@dataclass(frozen=True)
class Service:
    """What the API serves.

    Attributes:
        engine: writes.
        metrics: counts.
        name: of the model.
        timeout: seconds that a request may take.
        needs_key: whether the description says that clients send a key. `Guard` checks it.
        created: Unix time.
    """

    engine: Engine
    metrics: Metrics
    name: str
    timeout: float
    needs_key: bool = False
    created: int = field(default_factory=lambda: int(time.time()))

    @property
    def key(self) -> list[Any]:
        """For the description: the operation needs the key."""
        return [Depends(HTTPBearer(auto_error=False, description="The server's key."))] if self.needs_key else []

    async def ask(
        self,
        dialogues: Sequence[tuple[str, str]],
        topics: Sequence[str],
        changes: Mapping[str, Any],
        *,
        facts: bool,
        status: int,
    ) -> tuple[Answer, list[list[str]]]:
        """The engine's answer, and notes on the text of each dialogue.

        Args:
            dialogues: field and raw text of each.
            topics: of each; empty if it has none.
            changes: of the settings of generation.
            facts: whether to look for facts that the dialogues lack.
            status: of an answer to wrong values.

        Raises:
            ApiError: if a text is not a dialogue, the settings are not possible, or the engine refuses or takes too long.
        """
        try:
            async with asyncio.timeout(self.timeout):
                model = self.engine.check()
                settings = self._settings(changes, status=status)
                prepare = (dialogues, model.base.params.preprocess, status)
                if sum(len(text) for _, text in dialogues) > INLINE_CHARACTERS:
                    cleaned = await asyncio.to_thread(_prepare, *prepare)
                else:
                    cleaned = _prepare(*prepare)
                rows = [
                    {"dialogue": text, "topic": " ".join(topic.split())}
                    for (text, _), topic in zip(cleaned, topics, strict=True)
                ]
                answer = await asyncio.wrap_future(self.engine.submit(rows, settings, facts=facts))
        except TimeoutError:
            raise ApiError(504, "timeout", f"no summary after {self.timeout:g} s; send fewer or shorter dialogues") from None
        except RefusedError as error:
            raise _refusal(error) from None
        return answer, [notes for _, notes in cleaned]

    def _settings(self, changes: Mapping[str, Any], *, status: int) -> Generation:
        try:
            return self.engine.check().change(changes)
        except YoyakError as error:
            raise ApiError(status, "invalid_value", str(error), param="generation") from None


def _prepare(dialogues: Sequence[tuple[str, str]], settings: Preprocess, status: int) -> list[tuple[str, list[str]]]:
    """The cleaned text of each dialogue, and notes on it. ApiError names the field of a text that is not a dialogue."""
    prepared = []
    for place, text in dialogues:
        try:
            cleaned, changed = prepare_dialogue(text, settings)
        except BadDialogueError as error:
            raise ApiError(status, str(error), f"{place}: {REASONS[str(error)]}", param=place) from None
        notes = []
        if lines := changed["line_without_speaker"]:
            notes.append(f"{counted(lines, 'line has', 'lines have')} no speaker tag and joined the turn above")
        if lines := changed["line_with_another_name"]:
            start = counted(lines, "of these lines starts", "of these lines start")
            notes.append(f"{start} with a name and a colon; write a tag such as #Person2#: in its place")
        prepared.append((cleaned, notes))
    return prepared


def _refusal(error: RefusedError) -> ApiError:
    if error.reason == "full":
        return ApiError(429, "queue_full", "the queue is full; try again", headers={"Retry-After": str(RETRY_SECONDS)})
    words = {
        "loading": "the model is still loading",
        "stopping": "the server stops",
        "failed": "the model cannot be used; see the server's log",
    }
    return ApiError(503, error.reason, words[error.reason], headers={"Retry-After": str(LOADING_SECONDS)})


class Health(BaseModel):
    """Whether the server takes requests."""

    status: str
    model: str
    backend: str | None


def _responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": ErrorBody, "description": _MEANINGS[status]} for status in statuses}


_REFUSALS = (401, 403, 408, 413, 415, 429, 500, 503, 504)


def create_api(service: Service) -> FastAPI:
    """The application, without what stands before it (`guard`)."""
    api = FastAPI(
        title="yoyak", version=yoyak.__version__, description=DESCRIPTION, docs_url=None, redoc_url=None, redirect_slashes=False
    )
    _add_errors(api)
    _add_summaries(api, service)
    _add_chat(api, service)
    _add_pages(api, service)
    return api


def _add_errors(api: FastAPI) -> None:
    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        status = 400 if request.url.path == "/v1/chat/completions" else 422
        return error_response(invalid_request(error.errors(), status=status), request.state.request_id)

    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, ApiError)
        return error_response(error, request.state.request_id)

    async def other(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        status = error.status_code
        message = _MEANINGS.get(status, "the request cannot be answered")
        return error_response(ApiError(status, "http_error", message, headers=error.headers), request.state.request_id)

    async def failed(request: Request, _: Exception) -> Response:
        return error_response(
            ApiError(500, "internal_error", "an error in the server; its log has more under the request id"),
            request.state.request_id,
        )

    api.add_exception_handler(RequestValidationError, invalid)
    api.add_exception_handler(ApiError, refused)
    api.add_exception_handler(HTTPException, other)
    api.add_exception_handler(Exception, failed)


def _add_summaries(api: FastAPI, service: Service) -> None:
    @api.post("/v1/summaries", responses=_responses(400, 422, *_REFUSALS), dependencies=service.key)
    async def summaries(sent: Annotated[schema.SummariesRequest, Body()], request: Request) -> schema.SummariesResponse:
        """Summarize one or many dialogues. The summaries are in the order of the dialogues."""
        start = time.perf_counter()
        dialogues = [(f"dialogues[{place}]", text) for place, text in enumerate(sent.dialogues)]
        topics = sent.topics or [""] * len(dialogues)
        answer, notes = await service.ask(dialogues, topics, sent.generation.values(), facts=sent.facts, status=422)
        facts: Sequence[Facts | None] = answer.facts or [None] * len(dialogues)
        return schema.SummariesResponse(
            model=service.name,
            summaries=[schema.Summary.of(*item) for item in zip(answer.written, facts, notes, strict=True)],
            timings=schema.Timings(
                queued_ms=round(answer.queued * 1000, 2),
                writing_ms=round(answer.writing * 1000, 2),
                total_ms=round((time.perf_counter() - start) * 1000, 2),
                batch=answer.batch,
            ),
            request_id=request.state.request_id,
        )


def _add_chat(api: FastAPI, service: Service) -> None:
    @api.post(
        "/v1/chat/completions",
        response_model=chat.ChatCompletion,
        responses={200: {"content": {"text/event-stream": {}}}, **_responses(400, 404, *_REFUSALS)},
        dependencies=service.key,
    )
    async def completions(sent: Annotated[chat.ChatRequest, Body()], request: Request) -> Any:
        """OpenAI's chat API. The last message of the user is the dialogue; messages before it are not read."""
        if sent.model not in (None, service.name):
            raise ApiError(
                404, "model_not_found", f"this server has the model {service.name}; GET /v1/models lists it", param="model"
            )
        field, text = sent.dialogue()
        changes = sent.changes(service.engine.model.settings) if service.engine.model else {}
        answer, _ = await service.ask([(field, text)], [""], changes, facts=False, status=400)
        done = chat.completion(answer.written[0], model=service.name, request_id=request.state.request_id)
        if not sent.stream:
            return done
        with_usage = sent.stream_options is not None and sent.stream_options.include_usage
        return Response("".join(chat.events(done, with_usage=with_usage)), media_type="text/event-stream")

    @api.get("/v1/models", responses=_responses(401, 403, 500), dependencies=service.key)
    async def models() -> chat.ModelList:
        """The model of this server, for clients of OpenAI's API."""
        return chat.ModelList(data=[chat.ModelCard(id=service.name, created=service.created)])


def _add_pages(api: FastAPI, service: Service) -> None:
    @api.get("/healthz", response_model=Health, responses={503: {"model": Health, "description": "It does not take requests."}})
    async def healthz() -> Response:
        """Whether the server takes requests: 503 while the model loads and when the server stops."""
        engine = service.engine
        health = Health(status=engine.state, model=service.name, backend=engine.model.choice.backend if engine.model else None)
        ready = engine.state == "ready"
        headers = {} if ready else {"Retry-After": str(LOADING_SECONDS)}
        return JSONResponse(health.model_dump(), 200 if ready else 503, headers)

    @api.get("/livez")
    async def livez() -> dict[str, str]:
        """Whether the process answers."""
        return {"status": "alive"}

    @api.get(
        "/metrics",
        response_class=Response,
        responses={200: {"content": {CONTENT_TYPE: {}}, "description": "In the text format."}, **_responses(401, 403)},
        dependencies=service.key,
    )
    async def metrics() -> Response:
        """Counts for Prometheus."""
        return Response(service.metrics.text(), media_type=CONTENT_TYPE)

    @api.get("/docs", response_class=HTMLResponse, include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(docs_page(api.openapi()))

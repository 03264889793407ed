"""The routes of the app."""

import hmac
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import parse_qs

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from yoyak.app.errors import invalid_request
from yoyak.app.metrics import Metrics
from yoyak.app.site import logs, report_pages
from yoyak.app.site.access import COOKIE, cookie_value
from yoyak.app.site.augmentation_page import augmentation_body
from yoyak.app.site.board import Board, has_searches
from yoyak.app.site.bodies import board_body, compare_body, login_body, logs_body, searches_body, try_body
from yoyak.app.site.model_pool import ModelPool
from yoyak.app.site.models import ModelList
from yoyak.app.site.page_jobs import MadePage, PageJobs
from yoyak.app.site.shell import app_page, message_page, text, words_of
from yoyak.app.site.static_files import static_files
from yoyak.app.site.try_models import TryRequest, rows_of, try_models
from yoyak.reports.page.frame import Language
from yoyak.system.errors import YoyakError

LOG = logging.getLogger("yoyak.serve")
MOST_COMPARED = 6
WAIT_SECONDS = 2.5  # for a page, before the reader sees that it is being made


@dataclass
class Site:
    """What the routes need."""

    root: Path
    language: Language
    board: Board
    pages: PageJobs
    models: ModelList
    pool: ModelPool
    metrics: Metrics
    key: str | None = None
    wait: float = WAIT_SECONDS

    def html(self, body: str, status: int = 200) -> HTMLResponse:
        return HTMLResponse(body.encode("utf-8", "replace"), status)

    def message(self, section: str, words: str, status: int = 200, *, refresh: int = 0) -> HTMLResponse:
        words = words.replace(f"{self.root}/", "")  # where the repository is concerns nobody
        return self.html(message_page(section, words, self.language, refresh=refresh), status)

    async def made(self, section: str, find_key: Callable[[], str], name: str, make: Callable[[], MadePage]) -> Response:
        """The page that `make` makes, or one that says that it is being made, or what went wrong."""
        try:
            state = await run_in_threadpool(find_key)
        except YoyakError as error:
            return self.message(section, str(error), 404)
        key = (section, name, state, self.language)
        try:
            page = await run_in_threadpool(partial(self.pages.get, key, make, wait=self.wait))
        except YoyakError as error:
            return self.message(section, str(error), 404)
        except Exception as error:  # a run can be damaged in ways that nobody thought of; the app stays
            LOG.exception("the page %s cannot be made", name)
            return self.message(section, text("failed", self.language, error=type(error).__name__), 500)
        if page is None:
            return self.message(section, text("making", self.language), 202, refresh=2)
        headers = {"Content-Security-Policy": page.policy}
        return Response(page.body, media_type="text/html; charset=utf-8", headers=headers)


def create_site(site: Site) -> Starlette:
    """The application, without what stands before it (`access`, `guard`)."""
    routes = [
        *_board_routes(site),
        *_report_routes(site),
        *_log_routes(site),
        *_try_routes(site),
        Route("/login", partial(_login, site), methods=["GET", "POST"]),
        Route("/static/{name}", _static),
        Route("/favicon.ico", lambda _: RedirectResponse("/static/icon.svg")),
        Route("/healthz", lambda _: JSONResponse({"status": "ready", "app": "yoyak"})),
    ]

    async def http_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        if request.url.path.startswith("/api/"):
            return JSONResponse({"error": str(error.detail)}, error.status_code)
        return site.message("board", text("not_found", site.language), error.status_code)

    return Starlette(routes=routes, exception_handlers={HTTPException: http_error})


async def _static(request: Request) -> Response:
    found = static_files().get(request.path_params["name"])
    if found is None:
        raise HTTPException(404, "no such file")
    headers = {"ETag": found.etag, "Cache-Control": "no-cache"}
    if request.headers.get("if-none-match") == found.etag:
        return Response(status_code=304, headers=headers)
    return Response(found.body, media_type=found.kind, headers=headers)


async def _login(site: Site, request: Request) -> Response:
    """The form for the key. The cookie is for this app alone and ends with the browser."""
    target = request.query_params.get("next", "/")
    if not target.startswith("/") or target[1:2] in ("/", "\\"):  # another site
        target = "/"
    if site.key is None:
        return RedirectResponse(target, 303)
    if request.method == "POST":
        form = parse_qs((await request.body()).decode("utf-8", "replace"))
        if hmac.compare_digest(form.get("key", [""])[0].strip().encode("utf-8", "replace"), site.key.encode()):
            answer = RedirectResponse(target, 303)
            answer.set_cookie(COOKIE, cookie_value(site.key), httponly=True, samesite="strict")
            return answer
    wrong = request.method == "POST"
    body = app_page("board", login_body(site.language, wrong=wrong), site.language, title=text("sign_in", site.language))
    return site.html(body, 401 if wrong else 200)


def _board_routes(site: Site) -> Sequence[Route]:
    async def board(_: Request) -> Response:
        snapshot = await run_in_threadpool(site.board.snapshot)
        body = board_body(snapshot.body, site.root, site.language)
        data = {"words": words_of("board", site.language)}
        return site.html(app_page("board", body, site.language, scripts=("plots.js", "board.js"), data=data))

    async def experiments(request: Request) -> Response:
        snapshot = await run_in_threadpool(site.board.snapshot)
        etag = f'"{snapshot.etag}"'
        headers = {"ETag": etag, "Cache-Control": "no-cache"}
        if request.headers.get("if-none-match") == etag:
            return Response(status_code=304, headers=headers)
        return Response(snapshot.body, media_type="application/json", headers=headers)

    return [Route("/", board), Route("/api/experiments", experiments)]


def _report_routes(site: Site) -> Sequence[Route]:
    root, language = site.root, site.language

    async def run(request: Request) -> Response:
        name = request.path_params["name"]
        make = partial(report_pages.make_run_page, root, name, language)
        return await site.made("board", partial(report_pages.run_key, root, name), f"run {name}", make)

    async def compare(request: Request) -> Response:
        listed = request.query_params.get("runs", "")
        names = [*request.query_params.getlist("run"), *filter(None, listed.split(","))]
        if not 2 <= len(names) <= MOST_COMPARED or len(set(names)) < len(names):
            body = compare_body(language, MOST_COMPARED)
            return site.html(app_page("board", body, language, title=text("compare", language)), 400 if names else 200)

        def key() -> str:
            return " ".join(report_pages.run_key(root, name) for name in names)

        make = partial(report_pages.make_compare_page, root, names, language)
        return await site.made("board", key, f"compare {names}", make)

    async def searches(_: Request) -> Response:
        lines: list[str] = []
        if has_searches(root):
            from yoyak.reports.search_page import list_studies

            try:
                lines = await run_in_threadpool(list_studies)
            except Exception as error:  # the database can be damaged, of a newer Optuna, or locked
                return site.message("searches", f"{text('bad_searches', language)} {type(error).__name__}", 500)
        return site.html(app_page("searches", searches_body(lines, language), language))

    async def search(request: Request) -> Response:
        name = request.path_params["name"]
        if not has_searches(root):
            return site.message("searches", text("no_searches", language), 404)
        make = partial(report_pages.make_search_page, name, language)
        return await site.made("searches", partial(report_pages.studies_key, root), f"search {name}", make)

    async def explore(_: Request) -> Response:
        make = partial(report_pages.make_explore_page, root, language)
        return await site.made("explore", partial(report_pages.data_key, root), "explore", make)

    async def augmentation(request: Request) -> Response:
        method, number = request.query_params.get("method", ""), request.query_params.get("page", "")
        page = int(number) if number.isascii() and number.isdecimal() and len(number) < 9 else 0
        body = await run_in_threadpool(partial(augmentation_body, root, language, method=method, page=page))
        return site.html(app_page("augmentation", body, language))

    return [
        Route("/augmentation", augmentation),
        Route("/runs/{name:path}", run),
        Route("/compare", compare),
        Route("/searches", searches),
        Route("/searches/{name:path}", search),
        Route("/explore", explore),
    ]


def _log_routes(site: Site) -> Sequence[Route]:
    def listed() -> list[dict[str, object]]:
        return [logs.describe_log(log) for log in logs.list_logs(site.root)]

    async def page(_: Request) -> Response:
        body = logs_body(await run_in_threadpool(listed), site.language)
        data = {"words": words_of("logs", site.language)}
        return site.html(app_page("logs", body, site.language, scripts=("logs.js",), data=data))

    async def api(_: Request) -> Response:
        return JSONResponse({"logs": await run_in_threadpool(listed)})

    async def end(request: Request) -> Response:
        def read() -> list[str] | None:
            found = [log for log in logs.list_logs(site.root) if log.id == request.path_params["id"]]
            return logs.tail(found[0]) if found else None

        lines = await run_in_threadpool(read)
        if lines is None:
            raise HTTPException(404, text("no_log", site.language, "logs"))
        return JSONResponse({"lines": lines})

    return [Route("/logs", page), Route("/api/logs", api), Route("/api/logs/{id}", end)]


def _try_routes(site: Site) -> Sequence[Route]:
    async def page(_: Request) -> Response:
        offers = await run_in_threadpool(site.models.offers)
        data = {"words": words_of("try", site.language)}
        body = try_body(offers, site.pool.names, site.language)
        return site.html(app_page("try", body, site.language, scripts=("try.js",), data=data))

    async def start(request: Request) -> Response:
        if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            return JSONResponse({"error": "send the body as Content-Type: application/json"}, 415)
        try:
            sent = TryRequest.model_validate_json(await request.body())
            rows = await run_in_threadpool(rows_of, sent)
        except ValidationError as error:
            faults = error.errors(include_url=False, include_input=False)
            words = invalid_request([{**each, "loc": ("body", *each["loc"])} for each in faults], status=422)
            return JSONResponse({"error": words.message}, 422)
        except YoyakError as error:
            return JSONResponse({"error": str(error)}, 422)
        known = {offer.id: offer for offer in await run_in_threadpool(site.models.offers)}
        if any(each not in known for each in sent.models):
            return JSONResponse({"error": text("gone", site.language, "try")}, 404)
        chosen = [known[each] for each in dict.fromkeys(sent.models)]
        events = try_models(site.pool, chosen, rows, site.metrics)
        return StreamingResponse(events, media_type="application/x-ndjson", headers={"X-Rows": str(len(rows))})

    with suppress(YoyakError):
        _ = site.models.cache  # asked now, so that no reader waits for it
    return [Route("/try", page), Route("/api/try", start, methods=["POST"])]

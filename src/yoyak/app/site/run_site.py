"""The app's process."""

import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import uvicorn

from yoyak.app.address import MOST_CONNECTIONS, is_loopback, listen
from yoyak.app.guard import Access, Guard
from yoyak.app.metrics import Metrics
from yoyak.app.site.access import Door
from yoyak.app.site.board import Board
from yoyak.app.site.model_pool import ModelPool
from yoyak.app.site.models import ModelList
from yoyak.app.site.page_jobs import PageJobs
from yoyak.app.site.site import Site, create_site
from yoyak.reports.page.frame import Language
from yoyak.system.errors import YoyakError

MOST_BYTES = 2_000_000  # of a request
NEXT_PORTS = 20


def check_port(host: str, port: int) -> None:
    """Refuse a port that is in use, and name one that is free.

    Raises:
        YoyakError: if the app cannot listen there.
    """
    if port == 0:
        return
    try:
        listen(host, port).close()
        return
    except YoyakError as error:
        if "in use" not in str(error):
            raise
    for other in range(port + 1, min(port + NEXT_PORTS, 65535) + 1):
        try:
            listen(host, other).close()
        except YoyakError:
            continue
        raise YoyakError(
            f"--port {port}: in use on {host}, perhaps by another `yoyak app` or `yoyak serve`; free: yoyak app --port {other}"
        )
    raise YoyakError(f"--port {port}: in use on {host}, and so are the next {NEXT_PORTS}; take a free one with --port 0")


class _Server(uvicorn.Server):
    """Closes pages that still stream at the first signal, so that Ctrl-C ends the app at once."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.force_exit = self.should_exit or sig == signal.SIGINT
        self.should_exit = True


def build_app(root: Path, language: Language, *, key: str | None, host: str, models: int) -> tuple[Guard, Site]:
    """The whole application, and what it uses."""
    metrics = Metrics(waiting=lambda: 0, is_ready=lambda: 1)
    site = Site(
        root, language, Board(root), PageJobs(), ModelList(root), ModelPool(root, most=models), metrics, key=key
    )  # fmt: skip
    access = Access(None, MOST_BYTES, only_loopback=key is None and is_loopback(host))
    return Guard(Door(create_site(site), key), access, metrics), site


def run_site(
    root: Path, language: Language, *, host: str, port: int, key: str | None, models: int, ready: Callable[[str], None]
) -> None:
    """Serve the app until a signal comes.

    Raises:
        YoyakError: if the address cannot be used.
    """
    with listen(host, port) as opened:
        app, site = build_app(root, language, key=key, host=host, models=models)
        site.board.snapshot()  # DVC starts to read before the first reader comes
        config = uvicorn.Config(
            app, access_log=False, log_config=None, lifespan="off", server_header=False, proxy_headers=False, ws="none",
            limit_concurrency=MOST_CONNECTIONS, timeout_graceful_shutdown=1,
        )  # fmt: skip
        shown = f"[{host}]" if ":" in host else host
        ready(f"http://{shown}:{opened.getsockname()[1]}/")
        try:
            _Server(config).run(sockets=[opened])
        finally:
            site.pages.close()
            site.pool.close()
            print("yoyak app: stopped", file=sys.stderr)

"""The server's process: its port, its signals, and its end."""

import asyncio
import logging
import math
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType

import uvicorn

from yoyak.app.address import MOST_CONNECTIONS, is_loopback, listen
from yoyak.app.api import Service, create_api
from yoyak.app.engine import Engine
from yoyak.app.guard import Access, Guard
from yoyak.app.metrics import Metrics
from yoyak.inference.shared_model import SharedModel
from yoyak.system.errors import YoyakError

CHECK_SECONDS = 0.05  # between two looks at what is still running when the server stops


@dataclass(frozen=True)
class Options:
    """How a model is served.

    Attributes:
        host, port: the address. Port 0 takes a free one.
        key: what clients must send; None lets everybody in.
        batch: the most dialogues that are written together.
        wait: seconds that a batch waits for more dialogues.
        queue: the most dialogues that wait.
        timeout: seconds that a request may take.
        grace: seconds to finish what was taken, when the server stops.
        most_bytes: of a body.
    """

    host: str
    port: int
    key: str | None
    batch: int
    wait: float
    queue: int
    timeout: float
    grace: float
    most_bytes: int


class _Server(uvicorn.Server):
    """Stops in two steps: first new requests are refused and the others finish, then the connections close."""

    def __init__(self, config: uvicorn.Config, guard: Guard, engine: Engine, grace: float, hello: str) -> None:
        super().__init__(config)
        self.guard, self.engine, self.grace, self.hello = guard, engine, grace, hello
        self.is_stopping = False
        self.end = math.inf  # of the grace period, on the clock of time.monotonic

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        _tell(self.hello)  # not earlier, because from now on signals come here
        self.engine.start()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.is_stopping:
            self.should_exit = self.force_exit = True
            return
        self.is_stopping = True
        self.end = time.monotonic() + self.grace
        self.engine.refuse()
        _tell(f"{signal.Signals(sig).name}: finishing what was taken; a second signal ends at once")
        asyncio.get_running_loop().create_task(self._finish())

    async def _finish(self) -> None:
        while self.guard.running and time.monotonic() < self.end:
            await asyncio.sleep(CHECK_SECONDS)
        self.should_exit = True


def serve(
    load: Callable[[], SharedModel], name: str, options: Options, *, ready: Callable[[str], None] = lambda _: None
) -> bool:
    """Serve a model until a signal comes.

    Args:
        load: loads the model. The server answers meanwhile, with 503.
        name: of the model for clients.
        options: how it is served.
        ready: gets the address when the model is loaded.

    Returns:
        Whether everything is finished. If not, a thread still loads or writes: end the process with os._exit, because Python
        aborts if a thread is inside a library when the interpreter ends.

    Raises:
        YoyakError: if the address cannot be used, or the model cannot be loaded.
    """
    with listen(options.host, options.port) as opened:
        host = f"[{options.host}]" if ":" in options.host else options.host
        address = f"http://{host}:{opened.getsockname()[1]}"
        server: _Server

        def changed(state: str) -> None:
            if state == "ready" and engine.model is not None:
                choice = engine.model.choice
                _tell(f"{address}: ready; backend {choice.backend} ({choice.why})")
                ready(address)
            if state == "failed":
                server.should_exit = True

        metrics = Metrics(waiting=lambda: engine.waiting, is_ready=lambda: engine.state == "ready")
        engine = Engine(
            load, batch=options.batch, wait=options.wait, queue=options.queue, observe=metrics.batch, changed=changed
        )
        access = Access(options.key, options.most_bytes, only_loopback=options.key is None and is_loopback(options.host))
        service = Service(engine, metrics, name, options.timeout, needs_key=options.key is not None)
        guard = Guard(create_api(service), access, metrics)
        config = uvicorn.Config(
            guard, access_log=False, log_config=None, lifespan="off", server_header=False, proxy_headers=False, ws="none",
            limit_concurrency=MOST_CONNECTIONS, timeout_graceful_shutdown=1,
        )  # fmt: skip
        server = _Server(config, guard, engine, options.grace, f"{address}: the model {name} loads")
        _log_to_stderr()
        server.run(sockets=[opened])
        is_finished = engine.stop(timeout=0 if server.force_exit else _left(server.end))
    if isinstance(engine.failure, YoyakError):
        raise engine.failure
    if engine.failure is not None:
        raise YoyakError(f"the model {name} cannot be used") from engine.failure
    return is_finished


def _left(end: float) -> float:
    """Seconds until `end`, at least a moment. Without a signal the server ends because of a failure, which takes a moment."""
    return CHECK_SECONDS if end == math.inf else max(CHECK_SECONDS, end - time.monotonic())


def _log_to_stderr() -> None:
    """One line for each request: method, path, status, time, id. No text of a dialogue."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log = logging.getLogger("yoyak.serve")
    if not log.handlers:
        log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False


def _tell(message: str) -> None:
    print(message, file=sys.stderr, flush=True)

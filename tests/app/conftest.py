"""What the tests of the server share: a tiny model behind an engine, and a client without a network."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from yoyak.app.api import Service, create_api
from yoyak.app.engine import Engine
from yoyak.app.guard import Access, Guard
from yoyak.app.metrics import Metrics
from yoyak.config.params import parse_params
from yoyak.config.sections import Params
from yoyak.inference.shared_model import SharedModel
from yoyak.inference.summarizer import Summarizer

Client = TestClient
Loader = Callable[[], SharedModel]


@pytest.fixture(scope="session")
def served_params(_tiny: Path) -> Params:
    from tests.conftest import _values

    values = {
        **_values(),
        "model": {**_values()["model"], "kobart": {"checkpoint": str(_tiny), "revision": None, "decoder_layers": None}},
    }
    values["generation"] = {**values["generation"], "num_beams": 2, "max_new_tokens": 12}
    return parse_params(values, source="test")


@pytest.fixture(scope="session")
def shared(_tiny: Path, served_params: Params) -> SharedModel:
    """The tiny model with its backend open. Tests do not change it."""
    return SharedModel(Summarizer.load(_tiny, params=served_params))


@pytest.fixture
def engine(shared: SharedModel) -> Iterator[Engine]:
    engine = Engine(lambda: shared, wait=0.001)
    engine.start()
    wait_for(lambda: engine.state == "ready")
    yield engine
    engine.stop(10)


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Wait until something is so."""
    import time

    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def client_of(engine: Engine, *, timeout: float = 30.0, **access: Any) -> Client:
    """A client of the whole application, which sends localhost as its host."""
    metrics = Metrics(waiting=lambda: engine.waiting, is_ready=lambda: engine.state == "ready")
    engine._observe = metrics.batch
    stated = Access(**{"key": None, "most_bytes": 100_000, "only_loopback": True, **access})
    guard = Guard(create_api(Service(engine, metrics, "tiny", timeout, needs_key=stated.key is not None)), stated, metrics)
    return TestClient(guard, base_url="http://localhost", raise_server_exceptions=False)


@pytest.fixture
def client(engine: Engine) -> Client:
    return client_of(engine)

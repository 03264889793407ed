"""A server of the tests' own, settings that lead to it, and a store in a temporary folder."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.inference.endpoint.server import Server, running
from yoyak.config.endpoint_section import Endpoint
from yoyak.inference.endpoint import asking
from yoyak.inference.endpoint.answer_store import AnswerStore

SETTINGS: dict[str, Any] = {
    "provider": "local",
    "base_url": None,
    "model": "test-model",
    "tokenizer": None,
    "extra_body": {},
    "price_per_million_input": None,
    "price_per_million_output": None,
    "budget": None,
    "requests_per_minute": None,
    "max_in_flight": 4,
    "timeout": 5.0,
    "max_retries": 3,
}


def endpoint(server: Server | None = None, **changes: Any) -> Endpoint:
    url = {"base_url": server.url} if server else {}
    return Endpoint(**(SETTINGS | url | changes))


@pytest.fixture
def server() -> Iterator[Server]:
    with running() as server:
        yield server


@pytest.fixture
def store(tmp_path: Path) -> AnswerStore:
    return AnswerStore(tmp_path / "answers", tmp_path / "answers.jsonl")


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "FIRST_WAIT", 0.01)
    for name in ("UPSTAGE_API_KEY", "OPENAI_API_KEY", "YOYAK_ENDPOINT_KEY"):
        monkeypatch.delenv(name, raising=False)

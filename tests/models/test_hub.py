"""The model hub: what needs it, and a short wait for one that does not answer."""

import socket
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub import constants

from yoyak.models import hub
from yoyak.system.errors import YoyakError

COMMIT = "0" * 40


@pytest.fixture(autouse=True)
def _online(monkeypatch: pytest.MonkeyPatch) -> None:
    hub._ask_hub.cache_clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_ETAG_TIMEOUT", 0.2)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)


def test_a_hub_that_does_not_answer_is_given_up_soon(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:  # it accepts and says nothing
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}")
        start = time.monotonic()
        with pytest.raises(YoyakError) as caught:
            hub.check_hub("some/model", COMMIT)
        assert time.monotonic() - start < 2
    for text in ("some/model", COMMIT, "does not answer", "hf download", "HF_ENDPOINT", "yoyak use kobart-tiny"):
        assert text in str(caught.value)
    assert f"some/model at {COMMIT}: not in the cache; waiting for http://127.0.0.1" in capsys.readouterr().err


def test_a_hub_that_refuses_is_left_to_the_loader(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(request: Any, timeout: float) -> None:
        raise urllib.error.HTTPError(request.full_url, 401, "Unauthorized", request.headers, None)

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    hub.check_hub("some/model", COMMIT)


def test_nothing_is_asked_for_a_folder_a_cached_checkpoint_or_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(urllib.request, "urlopen", None)
    hub.check_hub(str(tmp_path), None)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    hub.check_hub("some/model", COMMIT)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_, **__: "config.json")
    hub.check_hub("some/model", COMMIT)
    assert hub.place_of("some/model", COMMIT) == "cache"


def test_names_on_the_hub_and_paths() -> None:
    assert all(map(hub.can_be_hub_name, ("gpt2", "Qwen/Qwen3-4B", "a_b/c.d-e")))
    assert not any(map(hub.can_be_hub_name, ("models/base/mine", "./mine", "/mine", "../a", "a/b/", "")))


def test_places(tmp_path: Path) -> None:
    assert hub.place_of(str(tmp_path), None) == "folder"
    assert hub.place_of("some/model", None) == "no revision"
    assert hub.place_of("some/model", COMMIT) == "hub"

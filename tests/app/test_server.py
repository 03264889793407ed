"""The server's process: its messages, its port, its signals, its end."""

import asyncio
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bench.serving import measure
from tests.conftest import DIALOGUES, ROOT
from yoyak.app.address import is_loopback, listen, read_key
from yoyak.cli.main import main
from yoyak.inference.summarizer import Summarizer
from yoyak.system.errors import YoyakError

SECONDS = 300  # on a machine that others use too
KEY = "a-key-of-more-than-16-characters"


def environment(key: str | None) -> dict[str, str]:
    variables = {name: value for name, value in os.environ.items() if name != "YOYAK_SERVE_KEY"}
    return variables | {"OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT / 'src'}"} | ({"YOYAK_SERVE_KEY": key} if key else {})


def test_a_short_key_and_one_that_no_header_carries_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for key in ("", "short", "x" * 15, "한국어로 된 긴 열쇠입니다 아주 길게", "with spaces in it, many", "line\n" * 5):
        monkeypatch.setenv("YOYAK_SERVE_KEY", key)
        with pytest.raises(YoyakError, match="YOYAK_SERVE_KEY: must have at least 16"):
            read_key()
    monkeypatch.setenv("YOYAK_SERVE_KEY", KEY)
    assert read_key() == KEY
    monkeypatch.delenv("YOYAK_SERVE_KEY")
    assert read_key() is None


def test_which_hosts_only_this_machine_reaches() -> None:
    assert [is_loopback(host) for host in ("127.0.0.1", "localhost", "::1", "0.0.0.0", "::", "10.0.0.1")] == [True] * 3 + [
        False
    ] * 3


def test_a_port_in_use_and_a_host_that_is_not_here() -> None:
    with listen("127.0.0.1", 0) as opened:
        port = opened.getsockname()[1]
        with pytest.raises(YoyakError, match=rf"--port {port}: cannot listen on 127\.0\.0\.1 .*choose another port"):
            listen("127.0.0.1", port)
    with pytest.raises(YoyakError, match="--port 0: cannot listen"):
        listen("192.0.2.1", 0)  # of nobody, by RFC 5737


def test_small_answers_are_sent_at_once() -> None:
    """Otherwise each answer but the first of a connection waits 40 ms for an acknowledgement."""
    nodelay: list[int] = []

    async def exchange() -> None:
        async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nodelay.append(writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        with listen("127.0.0.1", 0) as opened:
            server = await asyncio.start_server(answer, sock=opened)
            reader, writer = await asyncio.open_connection("127.0.0.1", opened.getsockname()[1])
            await reader.read()
            writer.close()
            server.close()

    asyncio.run(exchange())
    assert nodelay and nodelay[0]


def test_mistakes_are_named_with_the_option(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.delenv("YOYAK_SERVE_KEY", raising=False)
    with listen("127.0.0.1", 0) as opened:
        port = str(opened.getsockname()[1])
        for words, message in (
            (
                ("models/base/kobart-tiny", "--host", "0.0.0.0"),
                "error: --host 0.0.0.0: others can reach it; set YOYAK_SERVE_KEY",
            ),
            (("models/base/kobart-tiny", "--port", port), f"error: --port {port}: cannot listen"),
            (("models/base/kobart-tiny", "--port", "70000"), "expected a port from 0 to 65535"),
            (("models/nowhere", "--port", "0"), "error: models/nowhere: no such folder or archive"),
            (("nothing-such", "--port", "0"), "no experiment, branch, tag or commit of this name"),
            (("models/base/kobart-tiny", "--queue", "0"), "expected a whole number of at least 1"),
        ):
            with pytest.raises(SystemExit) as ended:
                main(["serve", *words])
            assert message in f"{ended.value} {capsys.readouterr().err}"


def examples(page: str, language: str, address: str) -> list[str]:
    """The examples of a page, for another address."""
    text = (ROOT / "docs/how-to" / page).read_text(encoding="utf-8")
    return [
        block.replace("http://127.0.0.1:8000", address) for block in re.findall(rf"```{language}\n(.*?)```", text, flags=re.S)
    ]


def test_both_pages_have_the_same_examples() -> None:
    for language in ("bash", "python"):
        assert examples("serve.md", language, "") == examples("serve.ko.md", language, "") != []


@contextmanager
def serving(folder: Path, *words: str, key: str | None = None) -> Iterator[tuple[str, "subprocess.Popen[str]", list[str]]]:
    """A server of a model. Yields its address, its process and the lines that it prints."""
    process = subprocess.Popen(
        [sys.executable, "-m", "yoyak", "serve", str(folder), "--port", "0", *words],
        cwd=ROOT, env=environment(key), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    lines: list[str] = []
    ready = threading.Event()

    def read() -> None:
        assert process.stderr
        for line in process.stderr:
            lines.append(line)
            if ": ready; backend" in line:
                ready.set()

    reader = threading.Thread(target=read)
    reader.start()
    try:
        end = time.monotonic() + SECONDS
        while not ready.wait(0.05):
            assert process.poll() is None and time.monotonic() < end, lines
        yield next(line for line in lines if ": ready" in line).split(": ready")[0], process, lines
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        reader.join()


def post(address: str, dialogues: list[str], key: str | None = None, **generation: Any) -> tuple[int, Any]:
    body = json.dumps({"dialogues": dialogues, "generation": generation}).encode()
    headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {key}"} if key else {})
    request = urllib.request.Request(f"{address}/v1/summaries", body, headers)
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


@pytest.fixture(scope="module")
def folder(_tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model in a repository."""
    root = tmp_path_factory.mktemp("served")
    shutil.copytree(_tiny, root / "models/tiny")
    text = (ROOT / "params.yaml").read_text(encoding="utf-8").replace("max_input_length: 512", "max_input_length: 128")
    (root / "params.yaml").write_text(text, encoding="utf-8")
    return root / "models/tiny"


@pytest.mark.slow
def test_a_server_from_its_start_to_its_end(folder: Path) -> None:
    """One process for all that needs one: the examples of the documents, a load, a signal."""
    expected = Summarizer.load(folder).summarize_many(DIALOGUES)
    with serving(folder, "--batch-size", "4", "--timeout", str(SECONDS), "--grace", str(SECONDS)) as (address, process, lines):
        _run_examples(address)
        port = int(address.rpartition(":")[2])
        pairs = list(zip(DIALOGUES, expected, strict=True)) * 3
        found = measure(port, pairs, clients=8, rounds=1, requests=8)
        loads = [found["further"], found["rounds"][0]["8 clients"], found["rounds"][0]["one at a time"]]
        assert all(load["wrong"] == load["lost"] == 0 for load in loads) and found["dialogues_a_batch"] >= 1
        assert _stop_under_load(address, process) == 0
    log = "".join(lines)
    assert "SIGTERM: finishing what was taken" in log and "Traceback" not in log
    assert "점심" not in log and not any(dialogue in log for dialogue in DIALOGUES)


def _run_examples(address: str) -> None:
    pytest.importorskip("openai")
    variables = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    for code in examples("serve.md", "python", address):
        done = subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True, text=True, check=True)
        answer, streamed = done.stdout.split("\n")
        assert re.search(r"\S \d+$", answer) and streamed.strip()
    for code in examples("serve.md", "bash", address) if shutil.which("curl") else ():
        done = subprocess.run(["bash", "-c", code], env=variables, capture_output=True, text=True, check=True)
        assert '"error"' not in done.stdout and ('"summary"' in done.stdout or '"content"' in done.stdout)


def _stop_under_load(address: str, process: "subprocess.Popen[str]") -> int:
    """Send a signal while two requests are written; both must be answered, and others refused. The exit status."""
    slow: list[tuple[int, Any]] = []
    work: dict[str, Any] = {
        "num_beams": 4,
        "max_new_tokens": 100,
        "min_new_tokens": 100,
        "no_repeat_ngram_size": 3,
    }  # takes a second
    threads = [threading.Thread(target=lambda: slow.append(post(address, list(DIALOGUES) * 2, **work))) for _ in range(2)]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    statuses = set()
    while process.poll() is None:
        try:
            statuses.add(post(address, [DIALOGUES[0]])[0])
        except (OSError, ValueError):
            break
    for thread in threads:
        thread.join(SECONDS)
    assert [status for status, _ in slow] == [200, 200]
    assert all(len(body["summaries"]) == 16 for _, body in slow)
    assert 503 in statuses and statuses <= {200, 503}
    return process.wait(SECONDS)


def test_a_model_that_cannot_be_loaded_ends_the_server_with_a_message(
    _tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("YOYAK_SERVE_KEY", raising=False)
    broken = Path(shutil.copytree(_tiny, tmp_path / "broken"))
    (broken / "model.safetensors").write_bytes(b"\x00" * 100)
    shutil.copyfile(ROOT / "params.yaml", tmp_path / "params.yaml")
    with pytest.raises(SystemExit, match=r"error: .*broken"):
        main(["serve", str(broken), "--port", "0"])


@pytest.mark.very_slow
@pytest.mark.parametrize("signals", [1, 2])
def test_a_server_that_still_loads_ends_after_it_or_at_once(folder: Path, signals: int) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "yoyak", "serve", str(folder), "--port", "0"],
        cwd=ROOT, env=environment(None), stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr
    while "loads" not in (line := process.stderr.readline()):
        assert line, "the server ended"
    process.send_signal(signal.SIGINT)
    while signals > 1 and process.poll() is None:  # signals that come before the first is handled are one
        time.sleep(0.05)
        process.send_signal(signal.SIGINT)
    assert process.wait(SECONDS) == {1: 0, 2: 130}[signals]
    assert "Traceback" not in process.stderr.read()

"""The server's process: its messages, its port, its signals, its end."""

import json
import os
import re
import shutil
import signal
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

from tests.conftest import DIALOGUES, ROOT
from yoyak.app.address import is_loopback, listen, read_key
from yoyak.cli.main import main
from yoyak.inference.summarizer import Summarizer
from yoyak.system.errors import YoyakError

SECONDS_TO_START = 300  # on a machine that others use too
KEY = "a-key-of-more-than-16-characters"


def run_serve(*words: str, key: str | None = None) -> subprocess.CompletedProcess[str]:
    """`yoyak serve` that should end by itself."""
    return subprocess.run(
        [sys.executable, "-m", "yoyak", "serve", *words],
        check=False,
        cwd=ROOT,
        env=environment(key),
        capture_output=True,
        text=True,
        timeout=120,
    )


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
        end = time.monotonic() + SECONDS_TO_START
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
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


@pytest.mark.slow
def test_a_signal_lets_the_server_finish_what_it_took(_tiny: Path, tmp_path: Path) -> None:
    folder = tmp_path / "repository/models/tiny"
    shutil.copytree(_tiny, folder)
    text = (ROOT / "params.yaml").read_text(encoding="utf-8").replace("max_input_length: 512", "max_input_length: 128")
    (tmp_path / "repository/params.yaml").write_text(text, encoding="utf-8")
    expected = Summarizer.load(folder).summarize_many(DIALOGUES)
    with serving(folder, "--batch-size", "4", key=KEY) as (address, process, lines):
        assert post(address, ["x"])[0] == 401
        assert post(address, list(DIALOGUES), key=KEY)[1]["summaries"][0]["summary"] == expected[0]
        slow: list[tuple[int, Any]] = []
        # Eight beams and long summaries: these are still being written when the signal comes.
        work = {"num_beams": 8, "max_new_tokens": 200, "min_new_tokens": 200, "no_repeat_ngram_size": 3}
        threads = [
            threading.Thread(target=lambda: slow.append(post(address, list(DIALOGUES) * 2, key=KEY, **work))) for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        time.sleep(0.5)
        process.send_signal(signal.SIGTERM)
        statuses = set()
        while process.poll() is None:
            try:
                statuses.add(post(address, [DIALOGUES[0]], key=KEY)[0])
            except (OSError, ValueError):
                break
        for thread in threads:
            thread.join(60)
        assert [status for status, _ in slow] == [200, 200]
        assert all(len(body["summaries"]) == 16 for _, body in slow)
        assert 503 in statuses and statuses <= {200, 503}
        assert process.wait(30) == 0
        log = "".join(lines)
        assert "SIGTERM: finishing what was taken" in log and "Traceback" not in log and KEY not in log
        assert not re.search(r"[가-힣]", log.replace("".join(line for line in lines if "WARNING" in line), ""))


@pytest.mark.slow
def test_a_model_that_cannot_be_loaded_ends_the_server_with_a_message(_tiny: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(_tiny, tmp_path / "broken"))
    (folder / "model.safetensors").write_bytes(b"\x00" * 100)
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    done = run_serve(str(folder), "--port", "0")
    assert done.returncode == 1 and re.search(r"error: .*broken", done.stderr) and "Traceback" not in done.stderr

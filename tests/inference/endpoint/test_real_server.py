"""A real server: `transformers serve` on loopback writes with a model what the family `qlora` writes with it here."""

import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import DIALOGUES, ROOT
from yoyak.config.params import parse_params
from yoyak.config.yaml_files import read_yaml
from yoyak.inference.decisions import Decisions
from yoyak.inference.summarizer import Summarizer
from yoyak.models.families.lookup import family_named, family_of_folder

MODEL = ROOT / "models/base/llama-tiny"
ROWS = [{"fname": f"dev_{number}", "dialogue": text, "topic": ""} for number, text in enumerate(DIALOGUES)]
SECONDS_TO_START = 300

pytestmark = pytest.mark.very_slow


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    code = "from transformers.cli.transformers import main; main()"
    arguments = ["serve", "--host", "127.0.0.1", "--port", str(port), "--dtype", "float32"]
    with open(tmp_path / "server.log", "w", encoding="utf-8") as log:
        process = subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=log, stderr=log)
        try:
            end = time.monotonic() + SECONDS_TO_START
            while True:
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5)
                    break
                except urllib.error.HTTPError:  # it answers
                    break
                except OSError:
                    assert process.poll() is None, (tmp_path / "server.log").read_text(encoding="utf-8")
                    assert time.monotonic() < end, "the server does not start"
                    time.sleep(0.5)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.terminate()
            process.wait(timeout=30)


def test_the_same_model_writes_the_same_through_both_families(
    url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("YOYAK_ANSWERS", str(tmp_path / "answers"))
    values: Any = read_yaml(ROOT / "params.yaml")
    values["generation"] |= {"num_beams": 1, "max_new_tokens": 24, "batch_size": 1}  # padding would change the rounding
    values["hardware"]["cpu_threads"] = 1
    values["model"]["endpoint"] |= {"base_url": url, "model": str(MODEL), "max_in_flight": 2, "timeout": 300.0}
    texts = {}
    for name in ("endpoint", "qlora"):
        values["model"]["family"] = name
        values["generation"]["backend"] = "auto" if name == "endpoint" else "transformers"
        params = parse_params(values, source="this test")
        if name == "endpoint":
            family = family_named(name)
            loaded = family.load_untrained(params)
        else:  # as a merged model
            family = family_of_folder(MODEL)
            loaded = family.load_trained(MODEL)
        summarizer = Summarizer(loaded, family, params, Decisions())
        outputs = summarizer.write(summarizer.encode(ROWS), ROWS, progress=name)
        texts[name] = [(output.text, output.hit_limit) for output in outputs]
    assert texts["endpoint"] == texts["qlora"]
    assert len({text for text, _ in texts["qlora"]}) > 4 and all(text for text, _ in texts["qlora"])

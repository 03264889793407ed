"""The examples of docs/how-to/serve.md run against a server."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.app.test_server import serving
from tests.conftest import ROOT

PAGES = ("serve.md", "serve.ko.md")


def examples(page: str, language: str, address: str) -> list[str]:
    text = (ROOT / "docs/how-to" / page).read_text(encoding="utf-8")
    return [
        block.replace("http://127.0.0.1:8000", address) for block in re.findall(rf"```{language}\n(.*?)```", text, flags=re.S)
    ]


def test_both_pages_have_the_same_examples() -> None:
    for language in ("bash", "python"):
        assert examples(PAGES[0], language, "") == examples(PAGES[1], language, "") != []


@pytest.mark.slow
def test_the_examples_run(_tiny: Path, tmp_path: Path) -> None:
    pytest.importorskip("openai")
    folder = tmp_path / "repository/models/tiny"
    shutil.copytree(_tiny, folder)
    text = (ROOT / "params.yaml").read_text(encoding="utf-8").replace("max_input_length: 512", "max_input_length: 128")
    (tmp_path / "repository/params.yaml").write_text(text, encoding="utf-8")
    with serving(folder) as (address, _, _):
        variables = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        for code in examples(PAGES[0], "python", address):
            done = subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True, text=True, check=True)
            answer, streamed = done.stdout.split("\n")
            assert re.search(r"\S \d+$", answer) and streamed.strip()
        if not shutil.which("curl"):
            pytest.skip("no curl")
        for code in examples(PAGES[0], "bash", address):
            done = subprocess.run(["bash", "-c", code], env=variables, capture_output=True, text=True, check=True)
            assert '"error"' not in done.stdout and ('"summary"' in done.stdout or '"content"' in done.stdout)

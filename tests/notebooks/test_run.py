"""The notebooks run from top to bottom, and what they keep is small."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.conftest import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
MAX_BYTES = 40_000


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_keeps_small_outputs_of_each_cell(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
    assert len(text.encode()) < MAX_BYTES
    assert any(cell["outputs"] for cell in cells), "python notebooks/run.py --write"
    for cell in cells:
        assert all(output["output_type"] == "stream" for output in cell["outputs"]), "an error, or a picture"
    assert "Traceback" not in text and not re.search(r"/(tmp|home|root|work|Users)/", text)


def test_the_readme_names_every_notebook() -> None:
    readme = (ROOT / "notebooks" / "README.md").read_text(encoding="utf-8")
    assert NOTEBOOKS and all(f"({path.name})" in readme for path in NOTEBOOKS)


def first_cell(path: Path) -> str:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return "".join(next(cell for cell in cells if cell["cell_type"] == "code")["source"])


def test_the_first_cell_sets_up_on_colab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a stand-in for Colab, and a small repository whose setup only leaves a file."""
    assert len({first_cell(path) for path in NOTEBOOKS}) == 1
    source = tmp_path / "source"
    source.mkdir()
    (source / "dvc.yaml").write_text("", encoding="utf-8")
    (source / "Makefile").write_text("setup:\n\ttouch ready\n", encoding="utf-8")
    for words in (["init", "-q"], ["add", "-A"], ["-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "start"]):
        subprocess.run(["git", *words], cwd=source, check=True)
    here = tmp_path / "content"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("PATH", os.environ["PATH"])
    monkeypatch.setenv("TQDM_DISABLE", "0")
    monkeypatch.setitem(sys.modules, "google.colab", ModuleType("google.colab"))
    code = first_cell(NOTEBOOKS[0])
    with pytest.raises(SystemExit, match="ADDRESS"):
        exec(code, {})
    with pytest.raises(SystemExit, match="gone"):
        exec(code.replace('ADDRESS = ""', f'ADDRESS = "{tmp_path / "gone"}"'), {})
    exec(code.replace('ADDRESS = ""', f'ADDRESS = "{source}"'), {})
    assert Path.cwd() == here / "yoyak" and Path("ready").is_file()
    assert os.environ["PATH"].startswith(f"{here / 'yoyak'}/.venv/bin:")


@pytest.mark.very_slow
@pytest.mark.timeout(3600)
def test_the_notebooks_run() -> None:
    pytest.importorskip("nbclient")
    done = subprocess.run(
        [sys.executable, "notebooks/run.py"], cwd=ROOT, capture_output=True, text=True, encoding="utf-8", check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr

"""The notebooks run from top to bottom, and what they keep is small."""

import json
import re
import subprocess
import sys
from pathlib import Path

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


@pytest.mark.very_slow
@pytest.mark.timeout(3600)
def test_the_notebooks_run() -> None:
    pytest.importorskip("nbclient")
    done = subprocess.run(
        [sys.executable, "notebooks/run.py"], cwd=ROOT, capture_output=True, text=True, encoding="utf-8", check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr

"""The container files, as far as they can be checked where no container can be built."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from yoyak.app.address import KEY_VARIABLE

FILES = sorted((ROOT / "containers").glob("*.Dockerfile"))


def instructions(path: Path) -> list[tuple[str, str]]:
    """Name and value of each instruction, with continued lines joined."""
    text = re.sub(r"\\\n\s*", " ", path.read_text(encoding="utf-8"))
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(line.split(" ", 1)[0], line.split(" ", 1)[1]) for line in lines]


def copied(path: Path) -> list[str]:
    """What a container file copies from the repository."""
    values = [value.split() for name, value in instructions(path) if name == "COPY" and "--from" not in value]
    return [source for words in values for source in words[:-1] if source != "."]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_instructions_are_known_and_files_and_targets_exist(path: Path) -> None:
    found = instructions(path)
    assert found[0][0] == "FROM"
    known = {"FROM", "RUN", "ARG", "WORKDIR", "COPY", "USER", "ENV", "EXPOSE", "HEALTHCHECK", "STOPSIGNAL", "ENTRYPOINT", "CMD"}
    assert {name for name, _ in found} <= known
    assert all((ROOT / source).exists() for source in copied(path))
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"make ([\w./-]+)", " ".join(value for name, value in found if name == "RUN")):
        if target == ".venv/ready-serve":  # a pattern rule
            assert (ROOT / "requirements-serve.lock").is_file() and "\n.venv/ready-%:" in makefile
        else:
            assert f"\n{target}:" in makefile
    assert "HF_TOKEN" not in path.read_text(encoding="utf-8") and not re.search(
        rf"{KEY_VARIABLE}=\S", path.read_text(encoding="utf-8")
    )


def test_the_server_runs_as_nobody_and_takes_a_key_from_outside() -> None:
    values = dict(instructions(ROOT / "containers/serve.Dockerfile"))
    assert values["USER"] == "yoyak" and '"0.0.0.0"' in values["CMD"] and "--without-key" not in values["CMD"]
    allowed = (ROOT / "containers/serve.Dockerfile.dockerignore").read_text(encoding="utf-8").split()
    patterns = [line.removeprefix("!") for line in allowed if line.startswith("!")]
    for source in copied(ROOT / "containers/serve.Dockerfile"):
        assert any(Path(source).match(pattern) for pattern in patterns), source


@pytest.mark.slow
def test_what_is_copied_is_enough_to_serve(tmp_path: Path) -> None:
    for source in copied(ROOT / "containers/serve.Dockerfile"):
        place = tmp_path / source
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, place, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(ROOT / source, place)
    code = "import yoyak.app.server, yoyak.cli.main as m; print(yoyak.app.server.__file__); m.main(['serve', '--help'])"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "src")}
    done = subprocess.run([sys.executable, "-c", code], cwd="/", env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(str(tmp_path)) and "--without-key" in done.stdout

"""models/build_base.py: the same bytes each time, and checkpoints that are small and loadable."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.very_slow
def test_two_short_builds_give_the_same_bytes(tmp_path: Path) -> None:
    built = []
    for name in ("a", "b"):
        out = tmp_path / name
        command = [sys.executable, str(ROOT / "models/build_base.py"), "--out", str(out), "--steps", "3"]
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
        built.append({str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()})
    assert built[0] == built[1]
    committed = ROOT / "models/base"
    assert set(built[0]) == {str(path.relative_to(committed)) for path in committed.rglob("*") if path.is_file()}
    for name in ("kobart-tiny", "llama-tiny"):
        assert built[0][f"{name}/tokenizer.json"] == (committed / name / "tokenizer.json").read_bytes()


def test_the_committed_checkpoints_are_small() -> None:
    for folder in (ROOT / "models/base").iterdir():
        assert sum(path.stat().st_size for path in folder.iterdir()) <= 10_000_000

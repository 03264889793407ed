"""Exclusive locks between processes."""

import subprocess
import sys
from pathlib import Path

import pytest

from yoyak.system.locks import exclusive_lock

HOLDER = """
import sys, time
from pathlib import Path
from yoyak.system.locks import exclusive_lock
with exclusive_lock(Path(sys.argv[1])):
    print("locked", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_lock_keeps_others_out_until_its_process_is_killed(tmp_path: Path, kind: str) -> None:
    path = tmp_path / kind
    path.touch() if kind == "file" else path.mkdir()
    with subprocess.Popen([sys.executable, "-c", HOLDER, path], stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout and holder.stdout.readline() == "locked\n"
            with pytest.raises(BlockingIOError), exclusive_lock(path, wait=False):
                pass
        finally:
            holder.kill()
    with exclusive_lock(path, wait=False):
        pass


def test_a_missing_file_cannot_be_locked(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), exclusive_lock(tmp_path / "none"):
        pass

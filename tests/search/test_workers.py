"""worker.py: who lives and who is dead."""

import subprocess
import sys
from multiprocessing.connection import wait
from pathlib import Path

import pytest

from yoyak.search.study import STATE
from yoyak.search.workers import Worker, locked

CODE = "import time; from yoyak.search.workers import Worker; mine = Worker(); print(mine.name, flush=True); time.sleep(60)"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_worker_lives_until_it_is_killed() -> None:
    mine = Worker()
    with subprocess.Popen([sys.executable, "-c", CODE], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout
        name = other.stdout.readline().strip()
        assert name.split("-")[0] == mine.clone, "of the same clone"
        assert not mine.is_dead(name)
        (STATE / "workers" / name / "clone0").mkdir()
        other.kill()
        other.wait()
        assert mine.is_dead(name)
        assert not mine.is_dead(mine.name)
    Worker().close()
    assert not (STATE / "workers" / name).exists(), "the next one clears away what the dead one left"
    assert mine.path.exists()
    mine.close()


def test_of_another_clone_nothing_is_known() -> None:
    mine = Worker()
    assert not mine.is_dead("00000000-11111111")
    assert mine.is_dead(f"{mine.clone}-11111111"), "one of this clone that has cleared its folder away"
    mine.close()


def test_only_one_at_a_time_holds_the_lock() -> None:
    code = "from yoyak.search.workers import locked\nwith locked(): print('in', flush=True); input()"
    with (
        subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as one,
        subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as two,
    ):
        assert one.stdout and two.stdout and one.stdin and two.stdin
        ends = {one.stdout.fileno(): one, two.stdout.fileno(): two}
        found = wait(ends, 30)
        (ready,) = (end for end in ends if end in found)
        (waits,) = set(ends) - {ready}
        assert not wait([waits], 0.5)
        ends[ready].kill()
        assert wait([waits], 30), "a kill releases it"
        ends[waits].kill()
    with locked():
        pass

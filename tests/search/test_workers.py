"""Which workers are alive, and the lock that excludes the others."""

import subprocess
import sys
from multiprocessing.connection import wait
from pathlib import Path

import pytest

from yoyak.search.workers import SEARCH_FOLDER, Worker, exclusive_access

CODE = "import time; from yoyak.search.workers import Worker; worker = Worker(); print(worker.name, flush=True); time.sleep(60)"


@pytest.fixture(autouse=True)
def _current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_worker_is_alive_until_it_is_killed() -> None:
    worker = Worker()
    with subprocess.Popen([sys.executable, "-c", CODE], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout
        name = other.stdout.readline().strip()
        assert name.split("-")[0] == worker.clone_id, "it belongs to the same clone"
        assert not worker.is_dead(name)
        (SEARCH_FOLDER / "workers" / name / "clone0").mkdir()
        other.kill()
        other.wait()
        assert worker.is_dead(name)
        assert not worker.is_dead(worker.name)
    Worker().close()
    assert not (SEARCH_FOLDER / "workers" / name).exists(), "the next worker removes the folder of the dead one"
    assert worker.lock_path.exists()
    worker.close()


def test_workers_of_other_clones_are_never_reported_as_dead() -> None:
    worker = Worker()
    assert not worker.is_dead("00000000-11111111")
    assert worker.is_dead(f"{worker.clone_id}-11111111"), "a worker of this clone that removed its folder"
    worker.close()


def test_only_one_process_at_a_time_holds_the_lock() -> None:
    code = "from yoyak.search.workers import exclusive_access\nwith exclusive_access(): print('in', flush=True); input()"
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
        assert wait([waits], 30), "a kill releases the lock"
        ends[waits].kill()
    with exclusive_access():
        pass

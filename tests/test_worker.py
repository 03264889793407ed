"""worker.py: who lives and who is dead."""

import subprocess
import sys
from pathlib import Path

import pytest

from yoyak.study import STATE
from yoyak.worker import Worker, locked

CODE = "import time; from yoyak.worker import Worker; mine = Worker(); print(mine.name, flush=True); time.sleep(60)"


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
    code = "from yoyak.worker import locked\nwith locked(): print('in', flush=True); input()"
    with (
        subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as one,
        subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as two,
    ):
        import select

        assert one.stdout and two.stdout and one.stdin and two.stdin
        outputs = {one.stdout.fileno(): one, two.stdout.fileno(): two}
        (ready,), _, _ = select.select([*outputs], [], [], 30)
        (waits,) = set(outputs) - {ready}
        assert not select.select([waits], [], [], 0.5)[0]
        outputs[ready].kill()
        assert select.select([waits], [], [], 30)[0], "a kill releases it"
        outputs[waits].kill()
    with locked():
        pass

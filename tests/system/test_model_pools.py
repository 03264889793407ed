"""Pools of processes with a model: if one process ends, all end, and soon."""

import os
import signal
import time
from pathlib import Path

import pytest

from yoyak.system.errors import YoyakError
from yoyak.system.model_pools import model_pool


def wait(folder: Path) -> None:
    (folder / str(os.getpid())).touch()
    time.sleep(600)


def lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def started(folder: Path) -> list[int]:
    """The ids of two processes that wait, as soon as both do."""
    while len(list(folder.iterdir())) < 2:
        time.sleep(0.05)
    return [int(path.name) for path in folder.iterdir()]


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["kill", "interrupt"])
def test_all_processes_end_with_one(tmp_path: Path, ending: str) -> None:
    expected: dict[str, type[BaseException]] = {"kill": YoyakError, "interrupt": KeyboardInterrupt}
    with pytest.raises(expected[ending]) as error, model_pool(2, advice="run it again") as pool:
        futures = [pool.submit(wait, tmp_path) for _ in range(3)]
        processes = started(tmp_path)
        if ending == "interrupt":
            raise KeyboardInterrupt
        os.kill(processes[0], signal.SIGKILL)
        futures[1].result()
    if ending == "kill":
        assert "a process that summarizes was killed" in str(error.value) and str(error.value).endswith("run it again")
    assert not any(map(lives, processes))

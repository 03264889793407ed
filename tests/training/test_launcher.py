"""The processes that train together start and end together, and the message names the one at fault."""

import signal
import time
from pathlib import Path
from typing import Any

import pytest
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure

from tests.conftest import ROOT
from yoyak.config.sections import Hardware
from yoyak.system.errors import YoyakError
from yoyak.training import launcher

HARDWARE = Hardware.model_construct(cpu_threads=2, processes=2, hosts=1)


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that launches two processes in an empty folder, one of which has a fault."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(launcher, "check_process_count", lambda *_, **__: None)  # also where there is a single core
    for name in ("YOYAK_LAUNCHED", "OMP_NUM_THREADS", "GLOO_SOCKET_IFNAME"):
        monkeypatch.setenv(name, "lo" if name.startswith("GLOO") else "1")  # restored after the test
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}/src:{ROOT}")

    def run(what: str, victim: int, *, timeout: int = 60) -> None:
        for name, value in {"JOB": what, "VICTIM": victim, "YOYAK_PROCESS_TIMEOUT": timeout}.items():
            monkeypatch.setenv(name, str(value))
        launcher.launch("tests.training.launched_job", HARDWARE)

    return run


@pytest.mark.slow
def test_a_kill_of_one_process_ends_all(job: Any, tmp_path: Path) -> None:
    with pytest.raises(YoyakError, match=r"process 2 of 2 \(pid \d+\) was ended by the signal SIGKILL.*continues"):
        job("kill", 1)
    assert not list(tmp_path.iterdir())


def test_a_process_that_gloo_aborts_is_not_named_as_the_cause(tmp_path: Path) -> None:
    """Process 1 is seen first, because gloo aborts it when the connection to the killed process 2 breaks."""
    failures = {
        number: ProcessFailure(local_rank=number, pid=100 + number, exitcode=exitcode, error_file="none")
        for number, exitcode in enumerate((-signal.SIGABRT, -signal.SIGKILL))
    }
    error = ChildFailedError("job", failures)
    found = launcher._failure(error, HARDWARE, tmp_path, None)
    assert str(found).startswith("process 2 of 2 (pid 101) was ended by the signal SIGKILL")
    del failures[1]
    found = launcher._failure(error, HARDWARE, tmp_path, None)
    assert str(found).startswith("process 1 of 2 (pid 100) was ended by the signal SIGABRT")


@pytest.mark.very_slow
def test_two_processes_work_together(job: Any, tmp_path: Path) -> None:
    job("nothing", 0)
    assert [(tmp_path / f"done-{rank}").read_text() for rank in range(2)] == ["2.0", "2.0"]


@pytest.mark.very_slow
@pytest.mark.parametrize("victim", [0, 1])
def test_a_process_that_hangs_is_named(job: Any, victim: int, capfd: Any) -> None:
    start = time.monotonic()
    with pytest.raises((YoyakError, SystemExit)) as error:
        job("hang", victim, timeout=5)
    message = f"{error.value} {capfd.readouterr().err}"
    assert f"process {victim + 1} of 2" in message and "did not answer for 5 s" in message
    assert time.monotonic() - start < 300


@pytest.mark.very_slow
@pytest.mark.parametrize(("what", "message"), [("error", "this is wrong"), ("bug", "KeyError: 'a bug'")])
@pytest.mark.parametrize("victim", [0, 1])
def test_a_failure_is_shown_once(job: Any, victim: int, what: str, message: str, capfd: Any) -> None:
    with pytest.raises((YoyakError, SystemExit)) as error:
        job(what, victim)
    assert f"{error.value} {capfd.readouterr().err}".count(message) == 1


@pytest.mark.very_slow
def test_processes_with_other_data_do_not_train(job: Any, tmp_path: Path, capfd: Any) -> None:
    with pytest.raises((YoyakError, SystemExit)) as error:
        job("other data", 0)
    assert "differ in: data;" in f"{error.value} {capfd.readouterr().err}"
    assert not list(tmp_path.iterdir())

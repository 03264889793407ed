"""How the process of a stage starts, and how it ends when the process that started it has ended."""

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import stages
from tests.conftest import ROOT
from yoyak.config import uncommitted
from yoyak.system.errors import YoyakError


def fake_proc(folder: Path, processes: dict[int, tuple[str, int]]) -> Path:
    """A /proc folder with a name and a parent for each process."""
    for pid, (name, parent) in processes.items():
        (folder / str(pid)).mkdir(parents=True)
        (folder / str(pid) / "comm").write_text(f"{name}\n")
        (folder / str(pid) / "stat").write_text(f"{pid} ({name}) S {parent} 0 0")
    return folder


@pytest.mark.parametrize(
    ("processes", "expected"),
    [
        ({50: ("sh", 40)}, [50, 40]),
        ({50: ("bash", 1)}, [50, 1]),
        ({50: ("dvc", 40)}, [50]),
        ({50: ("odd) name", 40)}, [50]),
        ({}, [50]),  # no /proc, as on macOS
    ],
)
def test_the_starters_are_the_parent_and_the_parent_of_a_shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, processes: dict[int, tuple[str, int]], expected: list[int]
) -> None:
    monkeypatch.setattr(stages, "PROC", fake_proc(tmp_path / "proc", processes))
    monkeypatch.setattr(os, "getppid", lambda: 50)
    assert stages.starter_processes() == expected


def test_a_shell_that_has_just_ended_has_no_parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    proc = fake_proc(tmp_path / "proc", {50: ("sh", 40)})
    (proc / "50/stat").unlink()
    monkeypatch.setattr(stages, "PROC", proc)
    monkeypatch.setattr(os, "getppid", lambda: 50)
    assert stages.starter_processes() == [50, 0]


def test_a_search_has_ended_when_its_file_is_not_locked(tmp_path: Path) -> None:
    path = tmp_path / "worker"
    assert stages.search_has_ended(path)
    path.touch()
    with open(path, "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert not stages.search_has_ended(path)
    assert stages.search_has_ended(path)


STARTER = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdout=subprocess.PIPE, text=True)
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(60)
"""
STAGE = """
import pathlib, stages, time
{change}
stages.CHECK_SECONDS = 0.05
stages.end_with_starter()
print("ready", flush=True)
time.sleep(60)
"""


def running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"


def within(seconds: float, condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return condition()


@pytest.mark.parametrize("change", ["", "stages.PROC = pathlib.Path('/nowhere')"])
def test_a_stage_ends_when_the_process_that_started_it_is_killed(change: str) -> None:
    """Also without /proc, as on macOS."""
    code = STAGE.format(change=change)
    with subprocess.Popen([sys.executable, "-c", STARTER, code], stdout=subprocess.PIPE, text=True, cwd=ROOT) as starter:
        assert starter.stdout
        stage = int(starter.stdout.readline())
        try:
            assert not within(0.5, lambda: not running(stage))
            starter.kill()
            assert within(10, lambda: not running(stage))
        finally:
            starter.kill()
            if running(stage):
                os.kill(stage, signal.SIGKILL)


@pytest.mark.parametrize(
    ("error", "code", "printed"),
    [
        (YoyakError("train.csv: empty"), "error: train.csv: empty\nnote", ""),
        (KeyboardInterrupt(), 130, "\ninterrupted; the same command continues from finished work\nnote\n"),
        (SystemExit(3), 3, ""),
    ],
)
def test_a_stage_ends_with_a_message_and_the_params_that_differ(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: BaseException, code: object, printed: str
) -> None:
    monkeypatch.setattr(uncommitted, "uncommitted_note", lambda: "note")
    with pytest.raises(SystemExit) as caught, stages.exit_of_stage():
        raise error
    assert caught.value.code == code
    assert capsys.readouterr().err == printed


def test_a_bug_in_a_stage_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError), stages.exit_of_stage():
        _ = 1 / 0

"""Outcomes of runs, and timing of a model. test_search_dvc.py runs clones."""

import threading
import time
from pathlib import Path

import pytest

from yoyak.search.experiments import ExperimentClone, ExperimentOutcome
from yoyak.system.errors import YoyakError


@pytest.mark.parametrize(
    ("status", "printed", "killed"),
    [
        (0, "", False),
        (1, "ERROR: failed to run: python -m stages.train_kobart, exited with 1\n", False),
        (255, "ERROR: failed to run: python -m stages.train_kobart, exited with -9\n", True),
        (255, "a\nERROR: failed to run: x, exited with -11\nlast\n", True),
        (255, "Killed\nERROR: failed to run: python -m stages.train_kobart, exited with 137\n", True),
        (-9, "Running stage 'train_kobart'\n", True),
        (255, "it exited with -9 degrees\n", False),
    ],
)
def test_a_kill_is_distinguished_from_a_crash(status: int, printed: str, killed: bool, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text(printed, encoding="utf-8")
    assert ExperimentOutcome(status, log=log).was_killed == killed


def test_the_last_lines_are_those_that_a_terminal_shows(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("first\n 10%\r 20%\r100%\nlast\n", encoding="utf-8")
    assert ExperimentOutcome(1, log=log).last_lines(2) == "100%\nlast"


def test_an_earlier_attempt_in_the_log_is_ignored(tmp_path: Path) -> None:
    log = tmp_path / "log"
    before = "ERROR: failed to run: x, exited with -9\n"
    log.write_text(before + "ERROR: failed to run: x, exited with 1\n", encoding="utf-8")
    assert ExperimentOutcome(255, log=log).was_killed
    assert not ExperimentOutcome(255, log=log, log_offset=len(before)).was_killed


def test_a_model_is_timed_with_the_environment_of_its_run(tmp_path: Path) -> None:
    """The timing runs on the GPU of the job, and `kill` ends it."""
    clone = object.__new__(ExperimentClone)
    clone.folder, clone._environment = tmp_path, {"CUDA_VISIBLE_DEVICES": "7"}
    package = tmp_path / "src/yoyak"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text("import os; print(os.environ['CUDA_VISIBLE_DEVICES'] + '.5 seconds')")
    assert clone.seconds_per_dialogue(3) == 7.5
    (package / "__main__.py").write_text("import time; open('started', 'w').close(); time.sleep(60)")

    def kill() -> None:
        while not (tmp_path / "started").exists():
            time.sleep(0.01)
        clone.kill()

    threading.Thread(target=kill, daemon=True).start()
    with pytest.raises(YoyakError, match="yoyak time"):
        clone.seconds_per_dialogue(3)

"""experiment.py: the parts that need git alone; test_search_dvc.py runs the rest."""

import subprocess
import threading
import time
from pathlib import Path

import pytest

from yoyak.search import experiments
from yoyak.search.experiments import Outcome, Start
from yoyak.system.errors import YoyakError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "kept.txt").write_text("one\n", encoding="utf-8")
    for args in (["init", "-q"], ["config", "user.name", "t"], ["config", "user.email", "t@example.invalid"], ["add", "-A"]):
        subprocess.run(["git", *args], cwd=tmp_path, check=True)
    subprocess.run(["git", "commit", "-qm", "start"], cwd=tmp_path, check=True)
    return tmp_path


def test_the_start_is_the_commit_or_what_was_changed_since(root: Path) -> None:
    clean = experiments.start_of(root)
    assert clean.commit == experiments.git(root, "rev-parse", "HEAD")
    assert clean.tree == experiments.git(root, "rev-parse", "HEAD^{tree}")
    (root / "kept.txt").touch()
    (root / "untracked.txt").touch()
    assert experiments.start_of(root) == clean
    (root / "kept.txt").write_text("two\n", encoding="utf-8")
    (root / "new.txt").write_text("new\n", encoding="utf-8")
    experiments.git(root, "add", "new.txt")
    changed = experiments.start_of(root)
    assert changed.commit == clean.commit and changed.tree != clean.tree
    assert experiments.file_at(root, changed, "kept.txt") == "two" and experiments.file_at(root, changed, "new.txt") == "new"
    assert experiments.git(root, "stash", "list") == "", "the user's stash is left alone"
    assert experiments.git(root, "status", "--porcelain") == "M kept.txt\nA  new.txt\n?? untracked.txt"


def test_what_is_kept_outlives_gits_housekeeping(root: Path) -> None:
    (root / "kept.txt").write_text("two\n", encoding="utf-8")
    start = experiments.start_of(root)
    experiments.keep(root, "mine", start)
    experiments.git(root, "checkout", "-q", ".")
    experiments.git(root, "gc", "-q", "--prune=now")
    assert experiments.has(root, start)
    assert not experiments.has(root, Start(start.commit, "0" * 40))
    assert not experiments.has(root, Start("0" * 40, start.tree))


def test_what_git_says_is_told(root: Path) -> None:
    with pytest.raises(YoyakError, match="git rev-parse nothing: fatal"):
        experiments.git(root, "rev-parse", "nothing")


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
def test_a_kill_is_told_from_a_crash(status: int, printed: str, killed: bool, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text(printed, encoding="utf-8")
    assert Outcome(status, log=log).killed == killed


def test_the_end_of_a_log_is_what_a_terminal_would_show(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("first\n 10%\r 20%\r100%\nlast\n", encoding="utf-8")
    assert Outcome(1, log=log).tail(2) == "100%\nlast"


def test_an_earlier_attempt_in_the_log_is_not_taken_for_this_one(tmp_path: Path) -> None:
    log = tmp_path / "log"
    before = "ERROR: failed to run: x, exited with -9\n"
    log.write_text(before + "ERROR: failed to run: x, exited with 1\n", encoding="utf-8")
    assert Outcome(255, log=log).killed
    assert not Outcome(255, log=log, begins=len(before)).killed


def test_a_model_is_timed_where_it_was_trained(root: Path) -> None:
    """On the GPU of its own; and a search that ends takes the timing with it."""
    clone = object.__new__(experiments.Clone)
    clone.folder, clone.process, clone.environment = root, None, {"CUDA_VISIBLE_DEVICES": "7"}
    package = root / "src/yoyak"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text("import os; print(os.environ['CUDA_VISIBLE_DEVICES'] + '.5 seconds')")
    assert clone.seconds_per_dialogue(3) == 7.5
    (package / "__main__.py").write_text("import time; time.sleep(60)")

    def kill() -> None:
        while not (clone.process and clone.process.returncode is None):
            time.sleep(0.01)
        clone.kill()

    threading.Thread(target=kill, daemon=True).start()
    with pytest.raises(YoyakError, match="python -m yoyak time"):
        clone.seconds_per_dialogue(3)

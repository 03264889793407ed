"""Snapshots of the repository."""

import subprocess
from pathlib import Path

import pytest

from yoyak.search.git_dvc import git
from yoyak.search.snapshots import Snapshot, has_snapshot, protect_snapshot, read_snapshot_file, take_snapshot
from yoyak.system.errors import YoyakError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "kept.txt").write_text("one\n", encoding="utf-8")
    for args in (["init", "-q"], ["config", "user.name", "t"], ["config", "user.email", "t@example.invalid"], ["add", "-A"]):
        subprocess.run(["git", *args], cwd=tmp_path, check=True)
    subprocess.run(["git", "commit", "-qm", "start"], cwd=tmp_path, check=True)
    return tmp_path


def test_a_snapshot_is_the_commit_with_the_changes_since(root: Path) -> None:
    clean = take_snapshot(root)
    assert clean.commit == git(root, "rev-parse", "HEAD")
    assert clean.tree == git(root, "rev-parse", "HEAD^{tree}")
    (root / "kept.txt").touch()
    (root / "untracked.txt").touch()
    assert take_snapshot(root) == clean
    (root / "kept.txt").write_text("two\n", encoding="utf-8")
    (root / "new.txt").write_text("new\n", encoding="utf-8")
    git(root, "add", "new.txt")
    changed = take_snapshot(root)
    assert changed.commit == clean.commit and changed.tree != clean.tree
    assert read_snapshot_file(root, changed, "kept.txt") == "two" and read_snapshot_file(root, changed, "new.txt") == "new"
    assert git(root, "stash", "list") == "", "the user's stash is left alone"
    assert git(root, "status", "--porcelain") == "M kept.txt\nA  new.txt\n?? untracked.txt"


def test_a_protected_snapshot_survives_garbage_collection(root: Path) -> None:
    (root / "kept.txt").write_text("two\n", encoding="utf-8")
    snapshot = take_snapshot(root)
    protect_snapshot(root, "mine", snapshot)
    git(root, "checkout", "-q", ".")
    git(root, "gc", "-q", "--prune=now")
    assert has_snapshot(root, snapshot)
    assert not has_snapshot(root, Snapshot(snapshot.commit, "0" * 40))
    assert not has_snapshot(root, Snapshot("0" * 40, snapshot.tree))


def test_the_message_of_git_is_reported(root: Path) -> None:
    with pytest.raises(YoyakError, match="git rev-parse nothing: fatal"):
        git(root, "rev-parse", "nothing")

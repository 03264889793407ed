"""Snapshots of the repository: the files that all trials of a study start from."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from yoyak.search.git_dvc import git


@dataclass(frozen=True)
class Snapshot:
    """The files of the repository when a study begins.

    Attributes:
        commit: The commit under which `dvc exp show` lists the trials.
        tree: The git tree of the files: those of the commit, with the changes that were not committed.
    """

    commit: str
    tree: str

    @property
    def experiments_ref(self) -> str:
        """The prefix of the refs of DVC's experiments on the commit."""
        return f"refs/exps/{self.commit[:2]}/{self.commit[2:]}"


def take_snapshot(root: Path) -> Snapshot:
    """A snapshot of the tracked files as they are now. The working tree, the index and the stash stay as they are."""
    commit = git(root, "rev-parse", "HEAD")
    has_changes = git(root, "status", "--porcelain", "--untracked-files=no")
    changed_commit = git(root, "stash", "create") if has_changes else ""
    return Snapshot(commit, git(root, "rev-parse", f"{changed_commit or commit}^{{tree}}"))


def protect_snapshot(root: Path, study_name: str, snapshot: Snapshot) -> None:
    """Protect the files from `git gc` by the ref refs/yoyak/STUDY; they may be part of no commit."""
    git(root, "update-ref", f"refs/yoyak/{study_name}", snapshot.tree)


def has_snapshot(root: Path, snapshot: Snapshot) -> bool:
    """Whether this repository contains the commit and the files of the snapshot."""
    done = subprocess.run(
        ["git", "cat-file", "--batch-check"],
        cwd=root,
        input=f"{snapshot.commit}\n{snapshot.tree}\n",
        capture_output=True,
        text=True,
        check=False,
    )
    return "missing" not in done.stdout and done.returncode == 0


def read_snapshot_file(root: Path, snapshot: Snapshot, path: str) -> str:
    """The text of a file of the snapshot, without blank lines at its ends."""
    return git(root, "show", f"{snapshot.tree}:{path}")


def is_missing_from_snapshot(root: Path, snapshot: Snapshot, path: str) -> bool:
    """Whether a file or folder exists here, but neither git nor a .dvc file of the snapshot tracks it.

    A clone would not have such a file. An absolute path works in a clone too, so it is never missing.
    """
    relative = Path(path)
    if relative.is_absolute() or not (root / relative).exists():
        return False
    if ".." in relative.parts:
        return True
    tracked = set(git(root, "ls-tree", "-r", "--name-only", "-z", snapshot.tree).split("\0"))
    dvc_files = {f"{part}.dvc" for part in [relative, *relative.parents]}
    folder = f"{path.rstrip('/')}/"
    return not (dvc_files & tracked or any(name == path or name.startswith(folder) for name in tracked))

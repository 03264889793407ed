"""Calls of the git and dvc commands."""

import subprocess
import sys
from pathlib import Path

from yoyak.system.errors import YoyakError


def git(folder: Path, *args: str) -> str:
    """Run a git command in `folder` and return its standard output.

    Raises:
        YoyakError: with git's message, if the command fails.
    """
    return _run("git", ["git", *args], folder)


def dvc(folder: Path, *args: str) -> str:
    """Run a dvc command in `folder` and return its standard output.

    Raises:
        YoyakError: with DVC's message, if the command fails.
    """
    return _run("dvc", [sys.executable, "-m", "dvc", *args], folder)


def dvc_cache_folder(root: Path) -> Path:
    """The folder of the repository's DVC cache."""
    return root / dvc(root, "cache", "dir")


def _run(program: str, command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        shown = " ".join(command[command.index(program) :])
        raise YoyakError(f"{shown}: {done.stderr.strip() or f'exit status {done.returncode}'}")
    return done.stdout.strip()

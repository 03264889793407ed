"""Copies of this repository for the tests that run DVC, git and the stages."""

import csv
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.conftest import ROOT
from yoyak.system.locks import exclusive_lock

# Short runs: 12 training steps with several checkpoints, and few tokens to write. One thread, because tests run in parallel.
SMALL_PARAMS: dict[str, dict[str, object]] = {
    "tokenizer": {"max_target_length": 24},
    "training": {
        "num_train_epochs": 2,
        "per_device_train_batch_size": 4,
        "label_smoothing_factor": 0.0,
        "learning_rate": 1e-3,
        "save_steps": 3,
        "logging_steps": 5,
    },
    "generation": {"num_beams": 1, "max_new_tokens": 12, "batch_size": 8},
    "hardware": {"cpu_threads": 1},
}

PRINTED = ".git/printed.txt"  # in a finished repository: what the command that ran the pipeline printed


def environment(**variables: str) -> dict[str, str]:
    """The variables of a command: this environment's programs first, and nothing that leads to another repository."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    values = {**os.environ, "PATH": path, "DVC_NO_ANALYTICS": "1", **variables}
    for name in ("DVC_ROOT", "DVC_EXP_NAME", "PYTHONPATH"):
        values.pop(name, None)
    return values


def command(folder: Path, *args: str, fails: bool = False, **variables: str) -> str:
    """Run a command in `folder` and return its standard output and error.

    Raises:
        AssertionError: if the command fails (or succeeds, with `fails`).
    """
    done = subprocess.run(args, cwd=folder, env=environment(**variables), capture_output=True, text=True, check=False)
    assert (done.returncode != 0) == fails, f"{args}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


def commit(folder: Path, message: str) -> None:
    command(folder, "git", "add", "-A")
    command(folder, "git", "commit", "-qm", message)


def init_git(folder: Path) -> None:
    """Make `folder` a git repository with one commit."""
    command(folder, "git", "init", "-q")
    for key, value in {"user.name": "test", "user.email": "test@example.invalid"}.items():
        command(folder, "git", "config", key, value)
    commit(folder, "start")


def reset(folder: Path) -> None:
    """Bring back the files and outputs of the last commit."""
    # An experiment that fails within the same tick of the clock can leave an index that calls the changed file unchanged.
    (folder / "params.yaml").touch()
    command(folder, "git", "checkout", "-q", ".")
    command(folder, "dvc", "checkout")


def copy_tracked(folder: Path, *names: str) -> None:
    """Copy the files that git tracks or would track; with `names`, only what is in these files and folders."""
    tracked = command(ROOT, "git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *names).splitlines()
    for name in tracked:
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)


def copy_repository(folder: Path, *, rows: int = 24) -> None:
    """Make a repository with this code, the first `rows` rows of each split, and SMALL_PARAMS."""
    copy_tracked(folder)
    (folder / "dvc.lock").unlink(missing_ok=True)
    for split in ("train", "dev", "test"):
        path = folder / f"data/sample/{split}.csv"
        with open(path, encoding="utf-8", newline="") as file:
            table = list(csv.reader(file))[: rows + 1]
        with open(path, "w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(table)
    yaml = YAML()
    values = yaml.load((folder / "params.yaml").read_text(encoding="utf-8"))
    for section, changes in SMALL_PARAMS.items():
        assert set(changes) <= set(values[section])
        values[section].update(changes)
    with open(folder / "params.yaml", "w", encoding="utf-8") as file:
        yaml.dump(values, file)
    init_git(folder)


def outputs(folder: Path) -> set[str]:
    """The names of all files that the stages wrote."""
    places = (
        "data/processed",
        "data/augmented",
        "data/tokenized",
        "data/predictions",
        "models/kobart",
        "models/pretrained",
        "models/qlora",
        "metrics",
    )
    files = {str(path.relative_to(folder)) for place in places for path in (folder / place).rglob("*") if path.is_file()}
    return {name for name in files if not name.endswith(".gitignore")} | {"data/rejects/rows.jsonl"}


def build_once(tmp_path_factory: pytest.TempPathFactory, name: str, build: Callable[[Path], None]) -> Path:
    """Build a folder once a session, also where several pytest-xdist workers need it: the first one builds, the others wait."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, lock, mark = base / name, base / f"{name}.lock", base / f"{name}.built"
    lock.touch()
    with exclusive_lock(lock):
        if not mark.exists():
            shutil.rmtree(folder, ignore_errors=True)  # of another worker's failure
            folder.mkdir()
            build(folder)
            mark.touch()
    return folder

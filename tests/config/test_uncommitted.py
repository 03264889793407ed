"""Params that differ from the last commit, and the note about them."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from yoyak.config.uncommitted import MAX_SHOWN, uncommitted_note, uncommitted_params


def write(values: dict[str, Any]) -> None:
    with open("params.yaml", "w", encoding="utf-8") as file:
        YAML().dump(values, file)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, values: dict[str, Any]) -> dict[str, Any]:
    """The values of a committed params.yaml in the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.delenv("YOYAK_SEARCH", raising=False)
    write(values)
    user = ("-c", "user.name=x", "-c", "user.email=x@example.org")
    for words in (("init", "-q"), ("add", "."), (*user, "commit", "-qm", "first")):
        subprocess.run(["git", *words], check=True)
    return values


def test_the_params_that_differ_and_how_to_go_back(repository: dict[str, Any]) -> None:
    assert uncommitted_params() == []
    assert uncommitted_note() == ""
    repository["training"] |= {"debug": True, "learning_rate": "abc"}
    repository["prompt"]["system"] = "짧게"
    write(repository)
    assert uncommitted_params() == [
        "prompt.system: empty → 짧게",
        "training.learning_rate: 0.001 → abc",
        "training.debug: false → true",
    ]
    note = uncommitted_note().splitlines()
    assert note[0] == "params.yaml differs from the last commit:"
    assert note[-1].endswith("git checkout params.yaml dvc.lock metrics && dvc checkout")


def test_comments_do_not_differ_and_many_params_are_counted(repository: dict[str, Any]) -> None:
    write(repository)
    with open("params.yaml", "a", encoding="utf-8") as file:
        file.write("# a comment\n")
    assert uncommitted_note() == ""
    write({"data": {"dir": "x"}})  # all other keys are missing
    assert "more" in uncommitted_note().splitlines()[MAX_SHOWN + 1]


def test_a_copy_of_the_repository_says_nothing(
    repository: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository["training"]["debug"] = True
    write(repository)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "main"))  # a queued experiment
    assert uncommitted_note() == ""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    assert uncommitted_note()
    monkeypatch.setenv("YOYAK_SEARCH", "worker")
    assert uncommitted_note() == ""


@pytest.mark.usefixtures("repository")
def test_without_a_commit_or_a_readable_file_there_is_nothing_to_say() -> None:
    Path("params.yaml").write_text("{", encoding="utf-8")
    assert uncommitted_params() == []
    Path("params.yaml").unlink()
    assert uncommitted_params() == []
    assert uncommitted_params(Path("/params.yaml")) == []

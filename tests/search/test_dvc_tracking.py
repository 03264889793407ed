"""Which files DVC adds to git: those that git does not have yet."""

import subprocess
from pathlib import Path

import pytest
from dvc.repo import Repo

from yoyak.search import dvc_tracking


def test_only_what_git_does_not_track_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """DVC's own function also names the code that git has; what is new, and no output of DVC, is named by both."""
    monkeypatch.chdir(tmp_path)
    subprocess.run(["git", "init", "--quiet"], check=True)
    (tmp_path / "dvc.yaml").write_text(
        "stages:\n  s:\n    cmd: 'true'\n    deps: [code.py, data, new.txt]\n"
        "    metrics:\n    - scores.json:\n        cache: false\n"
        "  first:\n    cmd: 'true'\n    outs: [data]\n",
        encoding="utf-8",
    )
    for name in ("code.py", "new.txt", "data"):
        (tmp_path / name).write_text("1", encoding="utf-8")
    with Repo.init() as repo:
        subprocess.run(["git", "add", "code.py", "dvc.yaml"], check=True)
        (stage,) = repo.stage.collect("s")
        dependencies = stage.deps
        assert dvc_tracking._stage_files(stage) == ["dvc.yaml", "dvc.lock", "code.py", "new.txt", "scores.json"]
        assert dvc_tracking.stage_files(stage) == ["dvc.yaml", "dvc.lock", "new.txt", "scores.json"]
        assert stage.deps is dependencies

"""DVC's commands in forks of one server."""

import os
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from yoyak.search import dvc_process
from yoyak.search.dvc_process import DvcProcess


def test_a_command_has_its_own_folder_environment_and_group(tmp_path: Path) -> None:
    """Its stages see the environment, what they print arrives line by line, and a kill ends them with it."""
    environment = {**os.environ, "SEEN": "야호", "DVC_NO_ANALYTICS": "1"}
    (tmp_path / "dvc.yaml").write_text('stages:\n  s:\n    cmd: echo "<$SEEN>"; sleep 60\n', encoding="utf-8")
    with DvcProcess(["init", "--no-scm", "--quiet"], folder=tmp_path, environment=environment) as process:
        assert list(process.lines()) == []
        assert process.wait() == 0
    with DvcProcess(["repro"], folder=tmp_path, environment=environment) as process:
        for line in process.lines():
            if line == "<야호>\n":
                children = psutil.Process(process._process.pid).children(recursive=True)
                process.kill_group()
                assert children
                assert not psutil.wait_procs(children, timeout=5)[1]
        assert process.wait() == -9
    process.kill_group()  # there is nothing left


@pytest.mark.parametrize("start", ["forkserver", "spawn"])
def test_a_failure_has_dvcs_status_and_message(start: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dvc_process, "START", start)
    with DvcProcess(["repro"], folder=tmp_path, environment=os.environ) as process:
        assert "you are not inside of a DVC repository" in "".join(process.lines())
        assert process.wait() == 253

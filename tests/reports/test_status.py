"""What `yoyak status` says, from the answers of DVC."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from yoyak.reports import status
from yoyak.reports.experiments import Experiment
from yoyak.system.errors import YoyakError


def lines_of(
    monkeypatch: pytest.MonkeyPatch, root: Path, stages: Any = None, experiments: tuple[Experiment, ...] = ()
) -> list[str]:
    def dvc(*_: object) -> str:
        if isinstance(stages, YoyakError):
            raise stages
        return json.dumps(stages or {})

    monkeypatch.setattr(status, "dvc", dvc)
    monkeypatch.setattr(status, "read_experiments", lambda _: list(experiments))
    return status.status_lines(root)


def test_a_quiet_repository(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    running, stale, best = lines_of(monkeypatch, tmp_path)
    assert (running, best) == ("running: nothing", "best so far: nothing has a score yet")
    assert stale.startswith("stale: nothing")


def test_each_stale_stage_has_its_reasons(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    changes = {
        "train_kobart": [
            {"changed deps": {"params.yaml": {"training.seed": "modified"}, "src/yoyak/a.py": "modified"}},
            {"changed outs": {"models/kobart": "deleted"}},
            "changed command",
        ],
        "score": [{"changed deps": {f"f{index}": "modified" for index in range(7)}}],
    }
    lines = lines_of(monkeypatch, tmp_path, changes)
    assert lines[1] == "stale: `dvc repro` runs"
    assert lines[2] == (
        "  train_kobart  changed command; params: training.seed; outputs: models/kobart (deleted); code: src/yoyak/a.py"
    )
    assert lines[3].endswith("f4 (modified) and 2 more")


def test_what_runs_now(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".dvc/tmp").mkdir(parents=True)
    holder = {"pid": os.getpid(), "cmd": "/venv/bin/dvc repro"}
    dead = {"pid": 2**22 + 1, "cmd": "dvc repro"}  # above the highest process id of Linux
    write = {f"{tmp_path}/models/kobart": holder, f"{tmp_path}/data/processed": dead}
    (tmp_path / ".dvc/tmp/rwlock").write_text(json.dumps({"write": write, "read": {}}), encoding="utf-8")
    found = (Experiment("a", False, "running"), Experiment("b", False, "queued"), Experiment("c", False, "failed"))
    busy = YoyakError("dvc status --json: ERROR: 'models/kobart' is busy, it is being blocked by:")
    lines = lines_of(monkeypatch, tmp_path, busy, found)
    assert lines[1] == f"  dvc repro (process {os.getpid()}) writes models/kobart"
    assert lines[2:4] == ["  experiments running: a", "  experiments queued: b; `dvc queue start` runs them"]
    assert "stale: not known while another DVC command runs" in lines and "data/processed" not in "".join(lines)


def test_other_errors_of_dvc_are_not_hidden(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(YoyakError, match=r"dvc\.yaml is broken"):
        lines_of(monkeypatch, tmp_path, YoyakError("dvc.yaml is broken"))


def test_the_best_stands_beside_this_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    here = Experiment("workspace", True, scores={"rouge_sum": 100.0})
    best = Experiment("quick-t0003", False, scores={"rouge1": 60.0, "rouge_sum": 150.0})
    *_, first, second = lines_of(monkeypatch, tmp_path, None, (here, best))
    assert first.endswith("quick-t0003 (rouge1 60.00, rouge_sum 150.00); take it over with `dvc exp apply quick-t0003`")
    assert second == "  this folder: rouge_sum 100.00"

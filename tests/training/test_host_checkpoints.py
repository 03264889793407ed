"""Hosts without a common disk train as processes of one host do, and only the first one needs the checkpoints."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.helpers import Killed, file_contents, kill_after
from tests.training.test_together import UNEVEN, Run, train_kobart
from tests.training.together import run_together
from yoyak.config.sections import Params
from yoyak.system.processes import host, process_name, rank
from yoyak.system.resumable import work_folder
from yoyak.training import folder_sharing

CHANGES: dict[str, Any] = {**UNEVEN, "dropout": True, "save_steps": 1, "ema_decay": 0.5, "average_checkpoints": 2}


@pytest.mark.slow
def test_other_hosts_get_the_files_of_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_sharing, "CHUNK", 1000)
    files = {"a": b"", "b/c": bytes(range(256)) * 20, "d": b"x" * 1000}
    for name, content in files.items():
        (tmp_path / "0/made" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "0/made" / name).write_bytes(content)

    def work() -> str:
        made = tmp_path / str(rank()) / "made"
        (folder_sharing.send_outputs if rank() == 0 else folder_sharing.receive_outputs)([made])
        return process_name()

    names = run_together(tmp_path / "logs", work, on_hosts=True)
    found = file_contents(tmp_path / "1/made")
    assert {name: content for name, content in found.items() if name != "SHA256SUMS"} == files
    assert " on host 2 of 2 (" in names[1]


def test_another_host_starts_with_an_empty_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even if it shares the disk with the first one, it does not touch the checkpoints there."""
    monkeypatch.setenv("YOYAK_CHECKPOINTS", str(tmp_path))
    for number in range(2):
        with pytest.raises(Killed), work_folder("train", {}, []) as first:
            assert (first / "checkpoint-1").is_dir() == bool(number)
            (first / "checkpoint-1").mkdir(exist_ok=True)
            raise Killed
    monkeypatch.setenv("GROUP_RANK", "1")
    for _ in range(2):
        with pytest.raises(Killed), work_folder("train", {}, []) as second:
            assert second.name == f"{first.name}-host-2"
            assert not list(second.iterdir())
            (second / "checkpoint-1").mkdir()
            raise Killed
    assert (first / "checkpoint-1").is_dir()


@pytest.mark.very_slow
def test_hosts_resume_from_the_checkpoints_of_the_first(params: Params, tmp_path: Path) -> None:
    """The second host loses its disk. The result has the bytes of two processes on one host, which were not killed."""

    def train(name: str, **more: Any) -> Run:
        return train_kobart(params, tmp_path / name / str(host()), **CHANGES, **more)

    def killed() -> None:
        with pytest.raises(Killed):
            train("hosts", change=kill_after(3))

    whole = run_together(tmp_path / "one-logs", lambda: train("one"))
    run_together(tmp_path / "logs", killed, on_hosts=True)
    first, second = tmp_path / "hosts/0/checkpoints", tmp_path / "hosts/1/checkpoints"
    assert {path.name for path in first.glob("checkpoint-*/rng_state_*")} == {"rng_state_0.pth", "rng_state_1.pth"}
    assert not list(second.glob("checkpoint-*")), "only the first host keeps checkpoints"
    shutil.rmtree(second)
    for run in run_together(tmp_path / "logs", lambda: train("hosts"), on_hosts=True):
        assert run[0] == whole[0][0]
        for name, weights in run[1].items():
            assert torch.equal(weights, whole[0][1][name]), name

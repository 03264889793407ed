"""What a machine cannot run is an error that names the parameter or the variable."""

from typing import Any

import pytest
import torch

from yoyak.system import process_limits
from yoyak.system.errors import YoyakError


def test_a_process_needs_a_core_or_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_limits, "usable_cores", lambda: 2)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    process_limits.check_process_count(2)
    with pytest.raises(YoyakError, match=r"hardware\.processes: 3 processes, but this machine has 2 cores and no GPU"):
        process_limits.check_process_count(3)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(YoyakError, match=r"hardware\.processes: 2 processes need a GPU each, but this machine has 1"):
        process_limits.check_process_count(2)
    process_limits.check_process_count(1)


def test_gpus_need_nccl(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 8)
    monkeypatch.setattr(torch.distributed, "is_nccl_available", lambda: False)
    with pytest.raises(YoyakError, match="NCCL"):
        process_limits.check_process_count(2)


@pytest.mark.parametrize("text", ["0", "soon", "-1", "nan", "inf"])
def test_a_wrong_timeout_is_named(text: str, monkeypatch: Any) -> None:
    monkeypatch.setenv("YOYAK_PROCESS_TIMEOUT", text)
    with pytest.raises(YoyakError, match="YOYAK_PROCESS_TIMEOUT"):
        process_limits.process_timeout()


def test_the_timeout_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("YOYAK_PROCESS_TIMEOUT", raising=False)
    assert process_limits.process_timeout() == 1800
    monkeypatch.setenv("YOYAK_PROCESS_TIMEOUT", "2.5")
    assert process_limits.process_timeout() == 2.5

"""The environment variables of the processes that run a trial."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.search.fakes import (
    CONTINUOUS,
    RATE,
    FakeClone,
    plan_of,
    run,
)
from yoyak.config.sections import Hardware
from yoyak.search import trial_environment
from yoyak.search.experiments import ExperimentOutcome


def test_only_the_environment_contains_the_address_of_the_storage(root: Path, clone: type[FakeClone]) -> None:
    run(root, plan_of({RATE: {"choices": [1e-3]}}, None, sampler={"name": "grid"}, pruner={"name": "median"}))
    assert "sqlite:///" in clone.runs[0][2]["YOYAK_TRIAL"] and "sqlite" not in json.dumps(clone.runs[0][1])


def test_jobs_run_at_the_same_time_each_on_its_own_gpu(root: Path, clone: type[FakeClone], monkeypatch: Any) -> None:
    monkeypatch.setattr(trial_environment, "visible_gpus", lambda: ["4", "7"])
    both = threading.Barrier(2, timeout=20)

    def together(name: str, changes: dict[str, Any]) -> ExperimentOutcome:
        both.wait()
        return ExperimentOutcome(0)

    clone.behaviour = staticmethod(together)
    run(root, plan_of(CONTINUOUS, trials=4, jobs=2))
    assert {environment["CUDA_VISIBLE_DEVICES"] for *_, environment in clone.runs} == {"4", "7"}
    assert len({name for name, *_ in clone.runs}) == 4


@pytest.mark.parametrize(
    ("gpus", "processes", "expected"),
    [("01", 1, ["0", "1", "0"]), ("0123", 2, ["01", "23", "01"]), ("012", 2, ["01", "01", "01"]), ("0", 2, ["0", "0", "0"])],
)
def test_a_job_has_a_gpu_for_each_process(gpus: str, processes: int, expected: list[str]) -> None:
    assert ["".join(trial_environment.gpus_of_job(list(gpus), job, processes)) for job in range(3)] == expected


@pytest.mark.parametrize(("threads", "processes", "expected"), [(None, 1, "4"), (2, 1, None), (None, 2, None)])
def test_jobs_without_gpus_share_the_cores(
    threads: int | None, processes: int, expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless params.yaml says how many threads each process has."""
    monkeypatch.setattr(trial_environment, "visible_gpus", list)
    monkeypatch.setattr(trial_environment, "usable_cores", lambda: 8)
    hardware = Hardware(cpu_threads=threads, portable=False, processes=processes, hosts=1)
    assert trial_environment._share_of_job(0, 2, hardware).get("OMP_NUM_THREADS") == expected


@pytest.mark.parametrize(("given", "listed"), [("2,3", ["2", "3"]), ("", []), (None, ["0", "1"])])
def test_the_gpus_are_the_visible_ones(given: str | None, listed: list[str], monkeypatch: Any, tmp_path: Path) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if given is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\necho 'GPU 0: A (UUID: a)'\necho 'GPU 1: A (UUID: b)'\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert trial_environment.visible_gpus() == listed

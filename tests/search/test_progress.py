"""What a search prints."""

import shutil
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.search.fakes import BEAMS, RATE, FakeClone, open_only, plan_of, run
from yoyak.search import progress
from yoyak.search.disk_need import disk_lines
from yoyak.search.progress import summary_lines


def test_the_summary_names_the_best_trial_its_ties_and_the_command(root: Path, clone: type[FakeClone]) -> None:
    opened = run(root, plan_of({BEAMS: {"choices": [1, 7, 8]}}, None, sampler={"name": "grid"}))
    message = "\n".join(summary_lines(opened))
    assert "best of 3 finished trials: t0002: rouge_sum 108.00 ± 2.00" in message
    assert (
        "tied with the best (the paired test shows no difference): t0001\n" in message
        and "apply the best trial: dvc exp apply s-t0002" in message
    )
    assert "another clone ran it" in message, "the fake clone leaves no experiment"


def test_each_trial_names_its_log_its_place_the_best_and_the_time_left(
    root: Path, clone: type[FakeClone], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "finished_trials", lambda _: [SimpleNamespace(duration=timedelta(minutes=4))])
    run(root, plan_of({BEAMS: {"choices": [1, 4, 8]}}, None, sampler={"name": "grid"}))
    start, first, _, second, _, last = [line for line in capsys.readouterr().out.splitlines() if line.startswith("t000")]
    assert start == "t0000: starts with generation.num_beams=1; log: .searches/logs/s-t0000.log"
    assert first.endswith("best so far: t0000 101.00; trial 1 of 3, about 8 min left")
    assert second.endswith("trial 2 of 3, about 4 min left") and last.endswith("trial 3 of 3")


def test_the_disk_need_is_named_before_the_first_trial(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = open_only(root, plan_of({RATE: {"low": 1e-4, "high": 1e-3}}, seeds=2))
    assert "its size is not known yet" in disk_lines(opened, 10)[0]
    (root / "models/kobart").mkdir(parents=True)
    (root / "models/kobart/model.safetensors").write_bytes(b"0" * 2_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=41e6))
    assert disk_lines(opened, 10) == [f"disk: at most 20 models of 2 MB = 0.04 GB; 0.0 GB are free in {root}"]
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=39e6))
    assert disk_lines(opened, 10)[1].startswith("WARNING: the disk can become full")
    decoding = open_only(root, plan_of({BEAMS: {"low": 1, "high": 3}}), "other")
    assert disk_lines(decoding, 10) == ["disk: no trial trains, so that the trials share one model"]

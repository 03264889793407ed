"""The stage score gives the scores to the trackers, with the curve and the hashes of the outputs."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from yoyak.config.sections import Params
from yoyak.system.checksums import write_checksums
from yoyak.training import tracked_results as results
from yoyak.training.trackers import description
from yoyak.training.trackers.base import RunDescription, Tracker
from yoyak.training.trackers.dvclive import DvcLiveTracker

LOCK = """
schema: '2.0'
stages:
  preprocess:
    cmd: python -m stages.preprocess
    outs:
    - path: data/processed
      md5: aa.dir
  train_kobart:
    outs:
    - path: models/kobart
      md5: bb.dir
    - path: metrics/train/kobart
      md5: cc.dir
  train_qlora:
    outs:
    - path: models/qlora
      md5: dd.dir
"""


class ListTracker(Tracker):
    def __init__(self) -> None:
        self.calls: list[Any] = []

    def start(self, folder: Path, run: RunDescription) -> None:
        self.calls.append(("start", folder, run))

    def log(self, metrics: Mapping[str, float], *, step: int) -> None:
        self.calls.append(("log", step, dict(metrics)))

    def add_results(self, scores: Mapping[str, float], artifacts: Mapping[str, str]) -> None:
        self.calls.append(("add_results", scores, artifacts))

    def end(self) -> None:
        self.calls.append(("end",))


@pytest.fixture
def processed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with data and the curves of a training."""
    monkeypatch.setenv("YOYAK_TRACKER_FOLDER", str(tmp_path / "stores"))
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "processed"
    folder.mkdir()
    (folder / "dev.jsonl").write_text("{}\n", encoding="utf-8")
    write_checksums(folder)
    (tmp_path / "dvc.lock").write_text(LOCK, encoding="utf-8")
    live = DvcLiveTracker()
    live.start(tmp_path / "metrics" / "train" / "kobart", RunDescription("training"))
    live.log({"train/loss": 3.5, "train/grad_norm": 1.0}, step=1)
    live.log({"dev/loss": 3.25}, step=1)
    live.log({"train/loss": 2.5}, step=20)
    live.end()
    return folder


def test_scores_follow_the_curve_of_the_training(params: Params, processed: Path) -> None:
    tracker = ListTracker()
    results.track_results({"list": tracker}, params, processed=processed, scores={"rouge_sum": 231.5, "rows": 10, "note": "x"})
    start, *logs, added, end = tracker.calls
    assert start[0] == "start" and start[1] == description.run_folder(params, processed) / "list"
    assert start[2].settings["training.seed"] == params.training.seed
    assert logs == [
        ("log", 1, {"train/loss": 3.5, "train/grad_norm": 1.0}),
        ("log", 20, {"train/loss": 2.5}),
        ("log", 1, {"dev/loss": 3.25}),
    ]
    hashes = {"data/processed": "md5:aa.dir", "models/kobart": "md5:bb.dir"}
    assert added == ("add_results", {"rouge_sum": 231.5, "rows": 10.0}, hashes)
    assert end == ("end",)


def test_the_description_of_the_training_is_used_again(params: Params, processed: Path) -> None:
    """The training knows the size of the model; the stage score does not load it."""
    run = RunDescription("as it trained", tags={"size": "3.2M"})
    description.keep_description(run, description.run_folder(params, processed))
    tracker = ListTracker()
    results.track_results({"list": tracker}, params, processed=processed, scores={})
    assert tracker.calls[0][2] == run


def test_a_family_that_is_not_trained_has_scores_alone(params: Params, processed: Path) -> None:
    tracker = ListTracker()
    results.track_results({"list": tracker}, params, processed=processed, scores={"rouge1": 80}, curves=processed / "none")
    assert [call[0] for call in tracker.calls] == ["start", "add_results", "end"]


def test_a_tracker_that_fails_does_not_fail_the_stage(
    params: Params, processed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Down(ListTracker):
        def add_results(self, scores: Mapping[str, float], artifacts: Mapping[str, str]) -> None:
            raise ConnectionError("no route to the server")

    results.track_results({"down": Down()}, params, processed=processed, scores={"rouge1": 80})
    assert "tracker down is switched off, the stage continues: ConnectionError: no route" in capsys.readouterr().out


def test_a_damaged_file_of_dvc_does_not_fail_the_stage(
    params: Params, processed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (processed.parent / "dvc.lock").write_text("stages: [", encoding="utf-8")
    tracker = ListTracker()
    results.track_results({"list": tracker}, params, processed=processed, scores={"rouge1": 80})
    assert tracker.calls == [] and "WARNING: the trackers get no scores: ParserError" in capsys.readouterr().err


def test_dvc_lock_may_be_large(tmp_path: Path) -> None:
    """That of this repository has 50 kB; files of params may not."""
    deps = "".join(f"    - path: src/module{number}.py\n      md5: {number:032}\n" for number in range(2000))
    (tmp_path / "dvc.lock").write_text(LOCK + "  score:\n    deps:\n" + deps, encoding="utf-8")
    assert results.output_hashes(tmp_path / "dvc.lock", ("models/kobart",)) == {"models/kobart": "md5:bb.dir"}


def test_without_dvc_lock_there_are_no_hashes(tmp_path: Path) -> None:
    assert results.output_hashes(tmp_path / "dvc.lock", ("models/kobart",)) == {}
    (tmp_path / "dvc.lock").write_text("", encoding="utf-8")
    assert results.output_hashes(tmp_path / "dvc.lock", ("models/kobart",)) == {}
    assert json.dumps(results.read_curves(tmp_path)) == "[]"

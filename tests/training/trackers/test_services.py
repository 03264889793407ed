"""The trackers with the real packages of their services: `make test-slow` installs them."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from yoyak.training.trackers.background import BackgroundTracker
from yoyak.training.trackers.base import RunDescription, Tracker
from yoyak.training.trackers.lookup import tracker_named

pytestmark = pytest.mark.very_slow
RUN = RunDescription(
    "kobart_tiny_lr0.001",
    "search 'one'",
    {"family": "kobart", "size": "3.2M"},
    {
        "training.learning_rate": 1e-3,
        "prompt.system": None,
        "tokenizer.special_tokens": ["#PhoneNumber#"],
        "data.dir": "x" * 7000,
    },
)
CURVE = [("train/loss", 1, 3.0), ("train/loss", 2, 2.0), ("dev/loss", 1, 2.5), ("train/loss", 3, 1.5)]
SCORES = {f"score{number}": float(number) for number in range(150)}  # more than one request of MLflow
HASHES = {"models/kobart": "md5:aa.dir"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Path]:
    monkeypatch.setenv("YOYAK_TRACKER_FOLDER", str(tmp_path))
    for name in ("MLFLOW_TRACKING_URI", "WANDB_DIR", "TENSORBOARD_LOGGING_DIR"):
        monkeypatch.delenv(name, raising=False)

    def folder_of(run: str, tracker: str) -> Path:
        path = tmp_path / "runs" / run / tracker
        path.mkdir(parents=True, exist_ok=True)
        return path

    return folder_of


def log_run(tracker: Tracker, folder: Path, *, points: int = len(CURVE), results: bool = False, ends: bool = True) -> None:
    tracker.start(folder, RUN)
    for name, step, value in CURVE[:points]:
        tracker.log({name: value}, step=step)
    if results:
        tracker.add_results(SCORES, HASHES)
    if ends:
        tracker.end()


def train_kill_resume_score(name: str, folder: Path) -> None:
    """Each in a process of its own, as the stages are."""
    begin = f"import os; from pathlib import Path; from {__name__} import *; "
    begin += f"folder = Path({str(folder)!r}); new = tracker_named({name!r}); "
    for code, status in (
        ("log_run(new, folder, points=2, ends=False); time.sleep(1); os._exit(9)", 9),  # killed
        ("log_run(new, folder)", 0),  # resumed
        ("log_run(new, folder, results=True)", 0),  # the stage score
    ):
        path = f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
        done = subprocess.run([sys.executable, "-c", begin + code], env=os.environ | {"PYTHONPATH": path}, check=False)
        assert done.returncode == status


def check_mlflow(client: Any) -> None:
    experiment = client.get_experiment_by_name("yoyak").experiment_id
    runs = client.search_runs([experiment])
    (parent,) = [run for run in runs if "yoyak.group" in run.data.tags]
    first, second = (run for run in runs if run is not parent)
    for run in (first, second):
        assert (run.info.run_name, run.info.status) == (RUN.name, "FINISHED")
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert run.data.tags["yoyak.size"] == "3.2M" and run.data.tags["dvc.models/kobart"] == "md5:aa.dir"
        assert run.data.params["training.learning_rate"] == "0.001" and run.data.params["prompt.system"] == "None"
        assert run.data.params["data.dir"] == "x" * 6000
        assert {name: run.data.metrics[f"score/{name}"] for name in SCORES} == SCORES
        history = [(point.step, point.value) for point in client.get_metric_history(run.info.run_id, "train/loss")]
        assert sorted(history) == [(1, 3.0), (2, 2.0), (3, 1.5)], "each point once, in spite of the kill"


def test_mlflow_keeps_a_run_through_kill_resume_and_score(folder: Callable[[str, str], Path], tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow")
    for run in ("first", "second"):
        train_kill_resume_score("mlflow", folder(run, "mlflow"))
    check_mlflow(mlflow.MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}"))


def test_an_mlflow_server_keeps_the_same(
    folder: Callable[[str, str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLflow's server needs older packages than yoyak, so it runs from an environment of its own, which the variable names."""
    mlflow, program = pytest.importorskip("mlflow"), os.environ.get("YOYAK_TEST_MLFLOW")
    if not program:
        pytest.skip("YOYAK_TEST_MLFLOW does not name the program `mlflow` of an environment with `pip install mlflow`")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        program,
        "server",
        "--port",
        str(port),
        "--backend-store-uri",
        f"sqlite:///{tmp_path}/server.db",
        "--workers",
        "1",
    ]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    with subprocess.Popen(command, cwd=tmp_path, env=environment) as server:
        try:
            address = f"http://127.0.0.1:{port}"
            monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
            for _ in range(120):
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.5)
            for run in ("first", "second"):
                train_kill_resume_score("mlflow", folder(run, "mlflow"))
            check_mlflow(mlflow.MlflowClient(tracking_uri=address))
        finally:
            server.terminate()


def test_a_server_that_is_down_does_not_delay_the_end(
    folder: Callable[[str, str], Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")  # nothing listens there
    monkeypatch.setattr(BackgroundTracker, "END_SECONDS", 1.0)
    start = time.monotonic()
    log_run(BackgroundTracker("mlflow", tracker_named("mlflow")), folder("run", "mlflow"), results=True)
    assert time.monotonic() - start < 10
    assert "WARNING: tracker mlflow" in capsys.readouterr().out


def test_tensorboard_reads_the_curves_and_scores_back(folder: Callable[[str, str], Path], tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train_kill_resume_score("tensorboard", folder("0123456789", "tensorboard"))
    (events,) = tmp_path.glob("tensorboard/*/*")
    assert events == tmp_path / "tensorboard/search 'one'/kobart_tiny_lr0.001-01234567"
    reader = EventAccumulator(str(events))
    reader.Reload()
    assert [(point.step, point.value) for point in reader.Scalars("train/loss")] == [(1, 3.0), (2, 2.0), (3, 1.5)]
    assert [(point.step, point.value) for point in reader.Scalars("dev/loss")] == [(1, 2.5)]
    assert reader.Scalars("score/score149")[0].value == 149
    assert {"run/text_summary", "outputs/text_summary"} <= set(reader.Tags()["tensors"])
    assert "_hparams_/session_start_info" in reader.summary_metadata


def leveldb_content(data: bytes) -> bytes:
    """W&B's file is a log of LevelDB behind a header of 7 bytes: blocks of 32 KiB, in which records can be split."""
    content = b""
    for start in range(0, len(data), 32768):
        position, end = max(start, 7), min(start + 32768, len(data))
        while position + 7 <= end:
            length = int.from_bytes(data[position + 4 : position + 6], "little")
            content += data[position + 7 : position + 7 + length]
            position += 7 + length
    return content


def test_wandb_writes_one_run_offline(
    folder: Callable[[str, str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    train_kill_resume_score("wandb", folder("run", "wandb"))
    run_id = (tmp_path / "runs/run/wandb/run_id").read_text(encoding="utf-8")
    parts = sorted(path for path in tmp_path.glob("wandb/offline-run-*") if run_id in path.name)
    stored = b"".join(leveldb_content(path.read_bytes()) for part in parts for path in part.glob("*.wandb"))
    texts = (
        "train/loss",
        "dev/loss",
        "training.learning_rate",
        "md5:aa.dir",
        "size:3.2M",
        *(f"score/{name}" for name in SCORES),
    )
    assert not [text for text in texts if text.encode() not in stored]


def test_wandb_without_a_key_says_what_to_do(
    folder: Callable[[str, str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wandb = pytest.importorskip("wandb")
    wandb.teardown()  # forgets the mode of other tests
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("WANDB_MODE", "WANDB_API_KEY", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(Exception, match="wandb login"):
        tracker_named("wandb").start(folder("run", "wandb"), RUN)

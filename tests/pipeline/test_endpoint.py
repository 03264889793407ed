"""The family `endpoint` through the whole pipeline, with a server of the tests' own: an experiment like any other."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.inference.endpoint.server import Server, good, running
from tests.pipeline.repository import command, copy_repository, environment
from yoyak.config.presets import write_overlay

KEY = "-".join(("planted", "key", "5b7e2a91"))  # in parts, so that this file in the repository does not hold it
ROWS = 8  # of each split

pytestmark = pytest.mark.slow


@dataclass
class Experiment:
    """A repository after `dvc exp run` with the family, and the server that answered."""

    folder: Path
    server: Server
    printed: str

    def change(self, **values: Any) -> None:
        """Change values of section model.endpoint in params.yaml."""
        write_overlay({"model": {"endpoint": values}}, params=self.folder / "params.yaml", source="this test")

    def predict(self) -> None:
        command(self.folder, sys.executable, "-m", "stages.predict", YOYAK_ENDPOINT_KEY=KEY)


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Experiment]:
    folder = tmp_path_factory.mktemp("endpoint") / "repository"
    folder.mkdir()
    copy_repository(folder, rows=ROWS)
    with running() as server:
        changes = {
            "model.family": "endpoint",
            "model.endpoint.base_url": server.url,
            "model.endpoint.model": "test-model",
            "model.endpoint.price_per_million_input": 2.0,
            "model.endpoint.price_per_million_output": 10.0,
        }
        arguments = [word for name, value in changes.items() for word in ("-S", f"{name}={value}")]
        printed = command(folder, "dvc", "exp", "run", "-n", "api", *arguments, YOYAK_ENDPOINT_KEY=KEY)
        yield Experiment(folder, server, printed)


def test_it_is_an_experiment_with_scores_and_its_price(experiment: Experiment) -> None:
    for skipped in ("tokenize: nothing to do", "train_kobart: nothing to do", "train_qlora: nothing to do"):
        assert skipped in experiment.printed
    calls = experiment.server.calls
    assert len({call.question for call in calls}) == len(calls) == 2 * ROWS
    report = json.loads((experiment.folder / "metrics/predict.json").read_text(encoding="utf-8"))
    assert report["backend"] == "endpoint" and "num_beams" not in report["decoding"]
    price = round(2 * ROWS * (100 * 2 + 20 * 10) / 1e6, 6)  # by hand
    assert report["endpoint"]["price"] == price and report["endpoint"]["requests"] == 2 * ROWS
    with open(experiment.folder / "data/predictions/dev.csv", encoding="utf-8", newline="") as file:
        assert all("라고 말한다" in row["summary"] for row in csv.DictReader(file))
    table = command(experiment.folder, "dvc", "exp", "show", "--csv")
    (row,) = [row for row in csv.DictReader(table.splitlines()) if row["Experiment"] == "api"]
    assert float(row["price"]) == price and float(row["rouge_sum"]) > 0


@pytest.mark.very_slow
def test_the_same_requests_cost_nothing_again(experiment: Experiment) -> None:
    before = len(experiment.server.calls)
    first = (experiment.folder / "metrics/predict.json").read_bytes()
    experiment.change(max_in_flight=3, timeout=60.0)
    experiment.predict()
    assert len(experiment.server.calls) == before
    assert (experiment.folder / "metrics/predict.json").read_bytes() == first


@pytest.mark.very_slow
def test_a_clone_that_pulled_the_answers_pays_nothing(experiment: Experiment, tmp_path: Path) -> None:
    before = len(experiment.server.calls)
    code = "import sys; sys.path.insert(0, 'src'); from yoyak.cli.main import main; main(['answers', 'share'])"
    command(experiment.folder, sys.executable, "-c", code)
    answers = experiment.folder / ".answers"
    answers.rename(tmp_path / "hidden")
    try:
        experiment.predict()
    finally:
        (tmp_path / "hidden").rename(answers)
        (experiment.folder / "data/answers.jsonl").unlink()
    assert len(experiment.server.calls) == before


@pytest.mark.very_slow
def test_kills_cost_only_what_was_in_flight(experiment: Experiment) -> None:
    def slow(handler: Any, body: Any, number: int) -> None:
        time.sleep(0.2)
        good(handler, body, number)

    server, in_flight = experiment.server, 2
    experiment.change(model="killed", max_in_flight=in_flight)
    server.calls.clear()
    server.behave = slow
    for kill in range(1, 4):
        process = subprocess.Popen(
            [sys.executable, "-m", "stages.predict"],
            cwd=experiment.folder,
            env=environment(),
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while len(server.calls) < 4 * kill and process.poll() is None:
            time.sleep(0.005)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    server.behave = good
    experiment.predict()
    assert len({call.question for call in server.calls}) == 2 * ROWS
    assert 12 <= len(server.calls) <= 2 * ROWS + 3 * in_flight


def test_the_key_is_nowhere(experiment: Experiment) -> None:
    """Everything that was written: git with its experiments, DVC's cache, params, metrics, logs, answers, unfinished work."""
    assert any(call.headers.get("authorization") == f"Bearer {KEY}" for call in experiment.server.calls)
    assert KEY not in experiment.printed
    for path in experiment.folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            assert KEY.encode() not in path.read_bytes(), path
    objects = command(experiment.folder, "git", "rev-list", "--objects", "--all").split("\n")
    names = "\n".join(line.split()[0] for line in objects if line)
    packed = subprocess.run(
        ["git", "cat-file", "--batch"], cwd=experiment.folder, input=names.encode(), capture_output=True, check=True
    )
    assert len(packed.stdout) > 10_000 and KEY.encode() not in packed.stdout

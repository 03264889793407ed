"""A further tracker is one new module and one line: a toy tracker receives the metrics of short trainings."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from transformers import set_seed

from tests.training.helpers import (
    REFERENCES,
    Killed,
    file_contents,
    kill_after,
    load_tiny_tokenizer,
    read_points,
    setup_of,
    tokenized_splits,
)
from yoyak.config.sections import Params
from yoyak.models import encoder_decoder
from yoyak.system.errors import YoyakError
from yoyak.training import fit, trackers
from yoyak.training.trackers import lookup
from yoyak.training.trackers.background import BackgroundTracker

# The toy writes each call as a line of JSON into its folder. FAIL_AT names the call at which it raises.
TOY = """
import json
import os
import sys
import threading

from yoyak.training.trackers.base import Tracker


class ToyTracker(Tracker):
    def start(self, folder, run):
        self.path = folder / "calls.jsonl"
        self.write("start", name=run.name, tags=dict(run.tags), settings=dict(run.settings))

    def log(self, metrics, *, step):
        self.write("log", metrics=metrics, step=step)

    def add_results(self, scores, artifacts):
        self.write("add_results", scores=scores, artifacts=artifacts)

    def end(self):
        self.write("end")

    def write(self, call, **about):
        with open(self.path, "a") as file:
            file.write(json.dumps({"call": call, **about}) + "\\n")
        if os.environ.get("FAIL_AT") == call:
            raise ConnectionError("the service does not answer")
        if os.environ.get("EXIT_AT") == call:
            sys.exit(3)
        if os.environ.get("HANG_AT") == call:
            threading.Event().wait()


TRACKER = ToyTracker
"""


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The new module lies in another folder of the package, and its name is added to TRACKERS."""
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "toy.py").write_text(TOY, encoding="utf-8")
    monkeypatch.setattr(trackers, "__path__", [*trackers.__path__, str(tmp_path / "more")])
    monkeypatch.setattr(lookup, "TRACKERS", (*lookup.TRACKERS, "toy"))
    monkeypatch.setenv(lookup.VARIABLE, "toy")
    yield
    sys.modules.pop("yoyak.training.trackers.toy", None)


def fit_tiny(
    params: Params, folder: Path, change: Callable[[Any], None] = lambda _: None, *, rouge: bool = False
) -> dict[str, bytes]:
    """Two epochs of four steps, as the stage runs them. Returns the stage's outputs."""
    metric = "rouge_sum" if rouge else "loss"
    training = params.training.model_copy(
        update={"predict_with_generate": rouge, "metric_for_best_model": metric, "save_steps": 3}
    )
    set_seed(training.seed)
    tokenizer = load_tiny_tokenizer(params)
    model = encoder_decoder.load(params.model.kobart.checkpoint, None, tokenizer)
    change(model)
    fit.fit(
        setup_of(model, tokenizer),
        fit.TrainingData(tokenized_splits(tokenizer), REFERENCES, max_target_length=48),
        training,
        checkpoints=folder / "work",
        metrics=folder / "outputs" / "metrics",
        output=folder / "outputs" / "model",
    )
    return file_contents(folder / "outputs")


def toy_calls(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "work" / "trackers" / "toy" / "calls.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


@pytest.mark.slow
@pytest.mark.usefixtures("toy")
def test_a_further_tracker_receives_what_dvclive_receives(params: Params, tmp_path: Path) -> None:
    fit_tiny(params, tmp_path, rouge=True)
    start, *logs, end = toy_calls(tmp_path)
    assert (start["call"], end) == ("start", {"call": "end"})
    assert start["name"] == "training"
    received: dict[str, list[tuple[int, float]]] = {}
    for log in logs:
        for name, value in log["metrics"].items():
            received.setdefault(name, []).append((log["step"], value))
    tables = tmp_path / "outputs" / "metrics" / "plots" / "metrics"
    assert received == {
        path.relative_to(tables).with_suffix("").as_posix(): read_points(path) for path in tables.rglob("*.tsv")
    }
    assert {"train/loss", "train/learning_rate", "train/grad_norm", "dev/loss", "dev/rouge_sum"} <= set(received)
    assert [step for step, _ in received["train/loss"]] == list(range(1, 9))
    assert [epoch for epoch, _ in received["dev/rouge_sum"]] == [1, 2]
    assert json.loads((tmp_path / "outputs/metrics/metrics.json").read_text(encoding="utf-8"))["step"] == 8


@pytest.mark.slow
@pytest.mark.usefixtures("toy")
def test_after_a_resume_it_receives_the_whole_curve_again(params: Params, tmp_path: Path) -> None:
    whole = fit_tiny(params, tmp_path / "whole")
    with pytest.raises(Killed):
        fit_tiny(params, tmp_path / "killed", kill_after(6))
    assert not (tmp_path / "killed" / "outputs" / "metrics").exists()
    assert fit_tiny(params, tmp_path / "killed") == whole
    calls = toy_calls(tmp_path / "killed")
    second_start = max(index for index, call in enumerate(calls) if call["call"] == "start")
    assert second_start > 1, "the same folder as before the kill"
    assert calls[second_start:] == toy_calls(tmp_path / "whole")
    assert fit_tiny(params, tmp_path / "killed", kill_after(0)) == whole, "nothing trains again"
    assert toy_calls(tmp_path / "killed")[len(calls) :] == toy_calls(tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.usefixtures("toy")
@pytest.mark.very_slow
def test_a_further_tracker_that_raises_changes_nothing(
    params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(lookup.VARIABLE, "")
    alone = fit_tiny(params, tmp_path / "alone")
    assert not (tmp_path / "alone" / "work" / "trackers").exists()
    assert "WARNING" not in capsys.readouterr().out
    monkeypatch.setenv(lookup.VARIABLE, "toy")
    service, exits = "ConnectionError: the service does not answer", "SystemExit: 3"
    for variable, call, reason in (
        ("FAIL_AT", "start", service),
        ("FAIL_AT", "log", service),
        ("FAIL_AT", "end", service),
        ("EXIT_AT", "log", exits),
    ):
        folder = tmp_path / f"{variable} {call}"
        with monkeypatch.context() as patch:
            patch.setenv(variable, call)
            assert fit_tiny(params, folder) == alone
        output = capsys.readouterr().out
        assert output.count(f"WARNING: tracker toy is switched off, the stage continues: {reason}") == 1
        assert [record["call"] for record in toy_calls(folder)].count(call) == 1, "it is not called again"


@pytest.mark.slow
@pytest.mark.usefixtures("toy")
def test_a_further_tracker_that_hangs_does_not_stop_the_training(
    params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(BackgroundTracker, "END_SECONDS", 0.2)
    monkeypatch.setenv("HANG_AT", "log")
    outputs = fit_tiny(params, tmp_path)
    assert "model/model.safetensors" in outputs
    assert "WARNING: tracker toy did not end within 0.2 s; it may be incomplete" in capsys.readouterr().out


@pytest.mark.slow
def test_an_error_of_dvclive_stops_the_training(params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its files are outputs of the stage, so they must be complete."""
    from dvclive import Live

    def fail(*_: Any, **__: Any) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(Live, "log_metric", fail)
    with pytest.raises(OSError, match="the disk is full"):
        fit_tiny(params, tmp_path)
    assert not list((tmp_path / "outputs").iterdir())


@pytest.mark.usefixtures("toy")
@pytest.mark.parametrize("value", ["mlflw", "toy,mlflw", " toy , mlflw"])
def test_an_unknown_name_is_an_error_before_the_training(
    params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv(lookup.VARIABLE, value)
    with pytest.raises(YoyakError, match=r"YOYAK_TRACKERS: there is no tracker 'mlflw'; choose from dvclive, .*, toy"):
        fit_tiny(params, tmp_path, lambda model: setattr(model, "forward", lambda *_, **__: pytest.fail("it trains")))
    assert not (tmp_path / "outputs").exists()


@pytest.mark.usefixtures("toy")
def test_a_missing_package_is_named(tmp_path: Path) -> None:
    (tmp_path / "more" / "toy.py").write_text("import no_such_package\n", encoding="utf-8")
    with pytest.raises(
        YoyakError, match="tracker toy: the package no_such_package is not installed; install no_such_package, or"
    ):
        lookup.further_trackers()


@pytest.mark.usefixtures("toy")
@pytest.mark.parametrize(("value", "names"), [("", []), ("dvclive", []), (" toy,", ["toy"]), ("toy,dvclive,toy", ["toy"])])
def test_names_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch, value: str, names: list[str]) -> None:
    monkeypatch.setenv(lookup.VARIABLE, value)
    assert list(lookup.further_trackers()) == names

"""Averages of weights: by hand, in evaluations, in the result, and after a kill."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import TrainerCallback

from tests.training.helpers import train_tiny
from yoyak.config.params import parse_params
from yoyak.config.sections import Params
from yoyak.system.errors import YoyakError
from yoyak.training import fit
from yoyak.training.weight_averaging import FILE, steps_to_average

FEW: dict[str, Any] = {"num_train_epochs": 3, "learning_rate": 0.02, "early_stopping_patience": 0}


class Weights(TrainerCallback):  # type: ignore[misc]
    """Keeps one weight after each step, and what an evaluation sees."""

    def __init__(self) -> None:
        self.after_step: list[torch.Tensor] = []

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.after_step.append(weight_of(kwargs["model"]))

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.after_step.append(weight_of(kwargs["model"]))


def weight_of(model: Any) -> torch.Tensor:
    weight: torch.Tensor = model.model.encoder.layers[0].fc1.weight.detach().clone()
    return weight


def train_watched(params: Params, folder: Path, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> tuple[Any, Any, Weights]:
    """Train the tiny model. Returns what fit.train returns, the model, and the weights after each step."""
    watch = Weights()
    make = fit._make_trainer

    def make_trainer(*args: Any) -> Any:
        trainer = make(*args)
        trainer.add_callback(watch)
        return trainer

    with monkeypatch.context() as patch:
        patch.setattr(fit, "_make_trainer", make_trainer)
        result, model, _ = train_tiny(params, folder, **{**FEW, **changes})
    return result, model, watch


@pytest.mark.slow
def test_the_moving_average_is_evaluated_and_becomes_the_model(
    params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result, model, watch = train_watched(params, tmp_path / "a", monkeypatch, ema_decay=0.5)
    first, *weights = watch.after_step
    averages = [first]
    for step, weight in enumerate(weights, start=1):
        decay = min(0.5, (1 + step) / (10 + step))
        averages.append(decay * averages[-1] + (1 - decay) * weight)
    assert len(weights) == 12
    best = result["best_step"]
    assert torch.allclose(weight_of(model), averages[best], atol=1e-6)
    assert not torch.allclose(weight_of(model), weights[best - 1], atol=1e-4)
    plain, _, _ = train_watched(params, tmp_path / "b", monkeypatch)
    losses = [(tmp_path / name / "live/plots/metrics/dev/loss.tsv").read_text() for name in ("a", "b")]
    assert losses[0] != losses[1], "evaluations have the averaged weights"
    train = [(tmp_path / name / "live/plots/metrics/train/loss.tsv").read_text() for name in ("a", "b")]
    assert train[0] == train[1], "the steps have those that are trained"
    assert plain["best_step"]


@pytest.mark.slow
def test_a_killed_training_goes_on_with_its_average(params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changes = {"ema_decay": 0.9, "save_steps": 3}
    expected, whole, _ = train_watched(params, tmp_path / "whole", monkeypatch, **changes)
    train_watched(params, tmp_path / "killed", monkeypatch, **changes)
    for step in (12, 9, 8, 6):  # as if it had been killed in step 4 or 5
        shutil.rmtree(tmp_path / "killed" / "checkpoints" / f"checkpoint-{step}", ignore_errors=True)
    assert (tmp_path / "killed/checkpoints/checkpoint-4" / FILE).is_file()
    result, model, _ = train_watched(params, tmp_path / "killed", monkeypatch, **changes)
    assert result == expected
    states = whole.state_dict(), model.state_dict()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.mark.slow
@pytest.mark.parametrize("which", ["last", "best"])
def test_the_model_is_the_mean_of_its_checkpoints(
    params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, which: str
) -> None:
    changes = {"average_checkpoints": 2, "average_choice": which, "save_total_limit": 1, "metric_for_best_model": "loss"}
    result, model, _ = train_watched(params, tmp_path, monkeypatch, **changes)
    steps = result["averaged_steps"]
    assert steps == [8, 12]
    states = [load_file(tmp_path / f"checkpoints/checkpoint-{step}/model.safetensors") for step in steps]
    name = "model.encoder.layers.0.fc1.weight"
    assert torch.allclose(weight_of(model), (states[0][name] + states[1][name]) / 2, atol=1e-6)
    assert result["averaged_rouge_sum"] >= 0
    again, resumed, _ = train_watched(params, tmp_path, monkeypatch, **changes)
    assert again == result, "a run that was killed while it averaged"
    assert torch.equal(weight_of(resumed), weight_of(model))


def test_the_checkpoints_to_average() -> None:
    log = [
        {"step": 4, "loss": 1.0},
        {"step": 4, "eval_loss": 2.0},
        {"step": 8, "eval_loss": 1.0},
        {"step": 12, "eval_loss": 3.0},
    ]
    assert steps_to_average(log, metric="loss", count=2, which="best") == [4, 8]
    assert steps_to_average(log, metric="loss", count=2, which="last") == [8, 12]
    assert steps_to_average(log, metric="loss", count=9, which="best") == [4, 8, 12]
    assert steps_to_average(log, metric="loss", count=0, which="best") == []
    rouge = [{"step": step, "eval_rouge_sum": value} for step, value in ((4, 10.0), (8, 30.0), (12, 20.0))]
    assert steps_to_average(rouge, metric="rouge_sum", count=2, which="best") == [8, 12]


def test_two_kinds_of_averages_exclude_each_other(values: dict[str, Any]) -> None:
    values["training"] |= {"ema_decay": 0.9, "average_checkpoints": 2}
    with pytest.raises(YoyakError, match=r"training\.ema_decay: cannot be combined with training\.average_checkpoints"):
        parse_params(values, source="test")

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.training.helpers import TABLES, file_contents, read_points, train_tiny
from tests.training.test_tracker_seam import fit_tiny
from yoyak.config.sections import Params
from yoyak.system.debug_note import DEBUG_NOTE
from yoyak.system.errors import YoyakError
from yoyak.training import fit


@pytest.mark.slow
def test_training_learns_and_gives_the_same_bits_again(params: Params, tmp_path: Path) -> None:
    (reached, model, _), (again, model_again, _) = (
        train_tiny(params, tmp_path / name, num_train_epochs=3, learning_rate=0.02) for name in ("a", "b")
    )
    assert reached == again
    assert set(reached) == {"steps", "epochs", "best_step", "best_rouge_sum"}
    assert (reached["steps"], reached["epochs"]) == (12, 3)
    weights, weights_again = model.state_dict(), model_again.state_dict()
    assert all(torch.equal(weights[key], weights_again[key]) for key in weights)

    live = file_contents(tmp_path / "a" / "live")
    assert live == file_contents(tmp_path / "b" / "live")
    train = {f"plots/metrics/train/{name}.tsv" for name in ("loss", "learning_rate", "grad_norm")}
    dev = {f"plots/metrics/dev/{name}.tsv" for name in ("loss", "rouge1", "rouge2", "rougeL", "rouge_sum")}
    assert set(live) == train | dev | {"metrics.json"}
    for word in (b"time", b"second", b"runtime"):
        assert all(word not in data for data in live.values())
    loss = read_points(tmp_path / "a" / TABLES / "train" / "loss.tsv")
    assert [step for step, _ in loss] == list(range(1, 13))
    assert loss[-1][1] < 0.85 * loss[0][1]
    dev_loss = read_points(tmp_path / "a" / TABLES / "dev" / "loss.tsv")
    assert [epoch for epoch, _ in dev_loss] == [1, 2, 3]
    assert dev_loss[-1][1] < dev_loss[0][1]
    assert json.loads(live["metrics.json"])["dev"]["rouge_sum"] >= 0


@pytest.mark.slow
def test_another_seed_gives_another_model(params: Params, tmp_path: Path) -> None:
    _, model, _ = train_tiny(params, tmp_path / "a", num_train_epochs=1)
    _, other, _ = train_tiny(params, tmp_path / "b", num_train_epochs=1, seed=43)
    assert not torch.equal(model.model.encoder.layers[0].fc1.weight, other.model.encoder.layers[0].fc1.weight)


@pytest.mark.slow
def test_the_model_ends_with_the_weights_of_the_best_evaluation(params: Params, tmp_path: Path) -> None:
    """The learning rate grows to the end, so the last epoch is not the best."""
    reached, model, _ = train_tiny(
        params,
        tmp_path,
        num_train_epochs=4,
        learning_rate=1.0,
        warmup_steps=16,
        metric_for_best_model="loss",
        save_total_limit=2,
        early_stopping_patience=0,
    )
    dev = dict(read_points(tmp_path / TABLES / "dev" / "loss.tsv"))
    best = min(dev, key=lambda epoch: dev[epoch])
    assert best < 4
    assert reached["best_step"] == best * 4
    assert reached["best_loss"] == pytest.approx(dev[best], abs=1e-4)
    saved = load_file(tmp_path / "checkpoints" / f"checkpoint-{best * 4}" / "model.safetensors")
    weights = model.state_dict()
    assert saved
    assert all(torch.equal(weights[key], value) for key, value in saved.items())
    kept = {path.name for path in (tmp_path / "checkpoints").glob("checkpoint-*")}
    assert kept == {f"checkpoint-{best * 4}", "checkpoint-16"}


@pytest.mark.slow
def test_training_stops_early(params: Params, tmp_path: Path) -> None:
    spoil: dict[str, Any] = {"num_train_epochs": 6, "learning_rate": 1.5, "warmup_steps": 24, "metric_for_best_model": "loss"}
    stopped, _, _ = train_tiny(params, tmp_path / "a", early_stopping_patience=1, **spoil)
    whole, _, _ = train_tiny(params, tmp_path / "b", early_stopping_patience=0, **spoil)
    assert stopped["epochs"] < whole["epochs"] == 6
    assert stopped["epochs"] == stopped["best_step"] / 4 + 1


@pytest.mark.slow
def test_the_learning_rate_follows_the_schedule(params: Params, tmp_path: Path) -> None:
    """In an earlier project the schedule `cosine` had no effect: the learning rate fell linearly."""
    rates = {}
    for kind, kwargs in (("linear", {}), ("cosine", {}), ("cosine_with_restarts", {"num_cycles": 2}), ("constant", {})):
        train_tiny(
            params,
            tmp_path / kind,
            num_train_epochs=2,
            learning_rate=0.01,
            warmup_steps=0.25,
            lr_scheduler_type=kind,
            lr_scheduler_kwargs=kwargs,
            predict_with_generate=False,
            metric_for_best_model="loss",
        )
        rates[kind] = [rate for _, rate in read_points(tmp_path / kind / TABLES / "train" / "learning_rate.tsv")]
    # Eight steps, two of them for the warm-up. A step has the rate that belongs to the number of steps before it.
    done = [max(0, step - 2) / 6 for step in range(8)]
    warm = [0, 0.005]
    assert rates["linear"] == pytest.approx([*warm, *(0.01 * (1 - x) for x in done[2:])])
    assert rates["cosine"] == pytest.approx([*warm, *(0.005 * (1 + math.cos(math.pi * x)) for x in done[2:])])
    assert rates["cosine_with_restarts"] == pytest.approx(
        [*warm, *(0.005 * (1 + math.cos(math.pi * (2 * x % 1))) for x in done[2:])]
    )
    assert rates["constant"] == pytest.approx([0.01] * 8)


@pytest.mark.slow
def test_a_loss_that_is_not_a_number_is_an_error(params: Params, tmp_path: Path) -> None:
    def spoil(model: Any) -> None:
        model.model.encoder.layers[0].fc1.weight.data.fill_(float("nan"))

    with pytest.raises(YoyakError, match=r"the loss became nan in step 1; lower training\.learning_rate$"):
        train_tiny(params, tmp_path, spoil, num_train_epochs=1)


@pytest.mark.slow
def test_a_weight_that_becomes_nan_ends_the_training_at_once(params: Params, tmp_path: Path) -> None:
    def spoil_the_gradient_of_the_third_step(model: Any) -> None:
        gradients: list[torch.Tensor] = []

        def spoil(gradient: torch.Tensor) -> torch.Tensor:
            gradients.append(gradient)
            return gradient * float("inf") if len(gradients) == 3 else gradient

        model.model.encoder.layers[0].fc1.weight.register_hook(spoil)

    alone: dict[str, Any] = {"per_device_train_batch_size": 8, "max_grad_norm": 0.0}  # one gradient in each step
    with pytest.raises(YoyakError, match="the norm of the gradient became inf after step 3"):
        train_tiny(params, tmp_path, spoil_the_gradient_of_the_third_step, num_train_epochs=9, logging_steps=100, **alone)


@pytest.mark.slow
def test_generation_settings_of_the_checkpoint_do_not_select_the_best(params: Params, tmp_path: Path) -> None:
    """Only params.yaml decides. A published checkpoint can have beams and penalties of its own."""

    def set_generation(model: Any) -> None:
        model.generation_config.update(min_length=30, no_repeat_ngram_size=1, repetition_penalty=9.0, num_beams=3)

    quick: dict[str, Any] = {"num_train_epochs": 1, "learning_rate": 0.02}
    plain, _, _ = train_tiny(params, tmp_path / "a", **quick)
    other, model, _ = train_tiny(params, tmp_path / "b", set_generation, **quick)
    assert other == plain
    assert file_contents(tmp_path / "a" / "live") == file_contents(tmp_path / "b" / "live")
    assert model.generation_config.decoder_start_token_id == 1


ROUGE = {"rouge1", "rouge2", "rougeL", "rouge_sum", "rouge_mean"}


def test_with_generation_an_evaluation_adds_rouge(params: Params, tmp_path: Path, evaluated: Any, generate_calls: Any) -> None:
    train_tiny(params, tmp_path)
    ((_, metrics),) = evaluated
    assert {name.removeprefix("eval_") for name in metrics} >= ROUGE | {"loss"}
    assert len(generate_calls) == 1
    dev = {path.stem: read_points(path) for path in (tmp_path / TABLES / "dev").iterdir()}
    assert set(dev) == {"loss", "rouge1", "rouge2", "rougeL", "rouge_sum"}
    assert dev["rouge_sum"][0][1] == metrics["eval_rouge_sum"]
    assert dev["loss"][0][1] == metrics["eval_loss"]


def test_without_generation_an_evaluation_has_only_the_loss(
    params: Params, tmp_path: Path, evaluated: Any, generate_calls: Any
) -> None:
    train_tiny(params, tmp_path, predict_with_generate=False, metric_for_best_model="loss")
    ((_, metrics),) = evaluated
    assert not [name for name in metrics if "rouge" in name]
    assert "eval_loss" in metrics
    assert generate_calls == []
    assert {path.name for path in (tmp_path / TABLES / "dev").iterdir()} == {"loss.tsv"}


def test_debug_takes_few_rows(
    params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, evaluated: Any, generate_calls: Any
) -> None:
    monkeypatch.setattr(fit, "DEBUG_ROWS", {"train": 6, "dev": 3})
    for debug in (True, False):
        train_tiny(params, tmp_path / str(debug), debug=debug)
    assert [len(call["ids"]) for call in generate_calls] == [3, 8]
    assert [(len(trainer.train_dataset), len(trainer.eval_dataset)) for trainer, _ in evaluated] == [(6, 3), (8, 8)]


@pytest.mark.slow
def test_a_debug_run_marks_its_model(params: Params, tmp_path: Path) -> None:
    for debug in (True, False):
        training = params.training.model_copy(update={"debug": debug, "num_train_epochs": 1})
        outputs = fit_tiny(params.model_copy(update={"training": training}), tmp_path / str(debug))
        assert (f"model/{DEBUG_NOTE}" in outputs) == debug

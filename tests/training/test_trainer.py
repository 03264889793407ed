from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from transformers import Trainer, TrainingArguments

from tests.training.helpers import (
    load_tiny_tokenizer,
    make_arguments,
    model_without_dropout,
    padded_batch,
    tokenized_splits,
    train_tiny,
)
from yoyak.config.sections import Params
from yoyak.data.collation import collate_pairs
from yoyak.training import batch_splitting, packing
from yoyak.training.trainer import SummaryTrainer


def trainer_of(model: Any, params: Params, folder: Path, **changes: Any) -> SummaryTrainer:
    rows = tokenized_splits(load_tiny_tokenizer(params))["train"]
    args = make_arguments(params.training.model_copy(update=changes), folder)
    return SummaryTrainer(keep_checkpoints=1, model=model, args=args, train_dataset=rows, eval_dataset=rows)


def loss_by_formula(model: Any, batches: list[dict[str, torch.Tensor]], label_smoothing: float) -> torch.Tensor:
    """The summed loss of all targets, one by one, from the padded batches."""
    total = torch.zeros(())
    for batch in batches:
        logs = model(**{name: value for name, value in batch.items() if name != "labels"}).logits.log_softmax(-1)
        for row, labels in zip(logs, batch["labels"].tolist(), strict=True):
            for place, label in enumerate(labels):
                if label != -100:
                    total = total - (1 - label_smoothing) * row[place, label] - label_smoothing * row[place].mean()
    return total


def take_gradients(model: Any) -> list[torch.Tensor]:
    gradients = [weight.grad.clone() for weight in model.parameters() if weight.grad is not None]
    model.zero_grad()
    return gradients


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
@pytest.mark.parametrize("model_type", ["bart", "mbart", "t5"])
def test_parts_have_the_gradient_of_the_whole_step(
    params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model_type: str, label_smoothing: float
) -> None:
    """A step of two padded batches of different size. All its targets weigh the same."""
    model, first = padded_batch(params, model_type)
    _, second = padded_batch(params, model_type, seed=1, rows=5)
    assert packing.can_pack(model) == (model_type != "t5")
    trainer = trainer_of(model, params, tmp_path, label_smoothing_factor=label_smoothing, gradient_accumulation_steps=2)
    targets = sum((batch["labels"] != -100).sum() for batch in (first, second))
    expected_loss = loss_by_formula(model, [first, second], label_smoothing) / targets
    expected_loss.backward()  # type: ignore[no-untyped-call]
    expected = take_gradients(model)
    assert len(expected) > 20
    attention = model.config._attn_implementation
    for limit in (1, 200, 10**9):
        monkeypatch.setattr(batch_splitting, "PADDED_POSITIONS", limit)
        monkeypatch.setattr(batch_splitting, "PACKED_TOKENS", limit)
        loss = sum(trainer.training_step(model, dict(batch), targets).item() for batch in (first, second))
        assert loss == pytest.approx(expected_loss.item(), rel=1e-5)
        gradients = take_gradients(model)
        assert all(torch.allclose(a, b, rtol=1e-3, atol=1e-6) for a, b in zip(gradients, expected, strict=True)), limit
    assert model.config._attn_implementation == attention, "an evaluation reads padded batches"
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_processes_that_train_together_exchange_gradients_after_the_last_part(
    params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process with fewer parts would leave the others waiting for its gradients forever."""
    model, batch = padded_batch(params)
    alone = 0
    parts: list[bool] = []
    training_step = Trainer.training_step

    @contextmanager
    def no_sync(self: Any, model: Any) -> Iterator[None]:
        nonlocal alone
        alone += 1
        yield
        alone -= 1

    def counted(self: Any, *inputs: Any) -> Any:
        parts.append(alone == 0)
        return training_step(self, *inputs)

    monkeypatch.setattr(Trainer, "training_step", counted)
    monkeypatch.setattr(Accelerator, "no_sync", no_sync)
    monkeypatch.setattr(TrainingArguments, "world_size", 2)
    monkeypatch.setattr(batch_splitting, "PACKED_TOKENS", 1)
    trainer_of(model, params, tmp_path).training_step(model, dict(batch), (batch["labels"] != -100).sum())
    assert parts == [False] * 15 + [True]


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_dev_loss_is_the_mean_over_all_targets_for_any_batch_size(params: Params, tmp_path: Path, smoothing: float) -> None:
    """A mean of means of batches would depend on their size: the last batch is smaller, and its rows weigh more."""
    tokenizer = load_tiny_tokenizer(params)
    model = model_without_dropout("bart", params, tokenizer)
    collate = collate_pairs(tokenizer, model)
    rows = tokenized_splits(tokenizer)["train"]
    losses = []
    for batch_size in (8, 7, 3, 1):
        trainer = trainer_of(model, params, tmp_path, per_device_eval_batch_size=batch_size, label_smoothing_factor=smoothing)
        trainer.data_collator = collate
        losses += [trainer.evaluate()["eval_loss"] for _ in range(2)]
    batch = collate([dict(row) for row in rows])
    expected = loss_by_formula(model.eval(), [batch], smoothing) / (batch["labels"] != -100).sum()
    assert losses == pytest.approx([expected.item()] * len(losses), rel=1e-5)
    assert losses[0] == losses[1], "a second evaluation starts anew"


@pytest.mark.slow
def test_it_trains_in_bfloat16_without_a_gpu(params: Params, tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    result, _, args = train_tiny(params, tmp_path, num_train_epochs=1, precision="bfloat16")
    assert args.bf16
    assert result["steps"] == 4


@pytest.mark.slow
def test_a_step_accumulates_batches(params: Params, tmp_path: Path) -> None:
    changes: dict[str, Any] = {"num_train_epochs": 1, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 2}
    result, _, _ = train_tiny(params, tmp_path, **changes)
    assert result["steps"] == 2


@pytest.mark.slow
def test_gradient_checkpointing_changes_no_number(params: Params, tmp_path: Path) -> None:
    quick: dict[str, Any] = {"num_train_epochs": 1, "predict_with_generate": False, "metric_for_best_model": "loss"}
    plain, _, _ = train_tiny(params, tmp_path / "a", **quick)
    checkpointed, _, _ = train_tiny(params, tmp_path / "b", gradient_checkpointing=True, **quick)
    assert checkpointed == plain

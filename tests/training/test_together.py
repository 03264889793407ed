"""Processes that train together: the same losses and weights as one process, and one result for all."""

from pathlib import Path
from typing import Any

import datasets
import pytest
import torch
from transformers import TrainerCallback, set_seed

from tests.conftest import DIALOGUES, SUMMARIES, batch_encoders
from tests.models.test_lora import TOKENS, make_base, settings
from tests.training.helpers import (
    REFERENCES,
    Killed,
    kill_after,
    load_tiny_tokenizer,
    model_without_dropout,
    setup_of,
    tokenized_splits,
)
from tests.training.together import run_together
from yoyak.config.params import parse_params
from yoyak.config.sections import Params
from yoyak.data.collation import collate_chats
from yoyak.models import causal_lm, lora, tokenizer_loading
from yoyak.models.families.base import TrainingSetup
from yoyak.training import fit
from yoyak.training.arguments import training_arguments

Run = tuple[dict[str, Any], dict[str, torch.Tensor], list[dict[str, Any]]]  # result, weights, log
# With so large a constant, AdamW's steps are nearly the gradients. Otherwise it turns rounding errors of a gradient that is
# nearly 0 (the biases of keys) into full steps.
PLAIN: dict[str, Any] = {"learning_rate": 0.1, "adam_epsilon": 1.0, "logging_steps": 1}
# Three of the eight dialogues in a step: the last step of an epoch has two.
UNEVEN: dict[str, Any] = {"num_train_epochs": 2, "per_device_train_batch_size": 3, "gradient_accumulation_steps": 2}


def train_kobart(params: Params, folder: Path, *, dropout: bool = False, change: Any = None, **changes: Any) -> Run:
    training = params.training.model_copy(update=PLAIN | changes)
    tokenizer = load_tiny_tokenizer(params)
    model = model_without_dropout("bart", params, tokenizer)
    if dropout:
        for module in model.modules():
            if isinstance(getattr(module, "dropout", None), float):
                module.dropout = 0.1
    if change:
        change(model)
    return _train(setup_of(model, tokenizer), tokenized_splits(tokenizer), training, folder)


def train_qlora(base: Path, values: dict[str, Any], folder: Path, *, padding_free: bool = False, **changes: Any) -> Run:
    values["model"]["family"] = "qlora"
    values["lora"]["lora_dropout"] = 0.0
    values["training"] |= PLAIN | changes
    params = parse_params(values, source="test")
    tokenizer = tokenizer_loading.load_tokenizer(str(base), None, (*params.tokenizer.special_tokens, TOKENS[1]))
    columns = batch_encoders("qlora", tokenizer, params.tokenizer, params.prompt)["train"](
        {
            "fname": [str(index) for index in range(8)],
            "dialogue": list(DIALOGUES),
            "summary": list(SUMMARIES),
            "topic": [""] * 8,
        }
    )
    rows = datasets.Dataset.from_dict({key: value for key, value in columns.items() if not key.startswith("_")})
    loaded, new = causal_lm.load(settings(base), tokenizer, precision="float32")
    torch.manual_seed(0)
    model = lora.add_lora(loaded, params.lora, new_tokens=new, settings=settings(base))
    collate = collate_chats(tokenizer.pad_token_id, padding_free=padding_free)
    setup = TrainingSetup(model, tokenizer, collate, "float32", lambda path: model.save_pretrained(str(path)), "tiny")
    return _train(setup, datasets.DatasetDict(train=rows, dev=rows), params.training, folder)


def _train(setup: TrainingSetup, splits: Any, training: Any, folder: Path) -> Run:
    set_seed(training.seed)
    logs: list[dict[str, Any]] = []

    class Log(TrainerCallback):  # type: ignore[misc]
        def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            logs.append(dict(kwargs["logs"]))

    args = training_arguments(training, folder=folder / "checkpoints", precision="float32")
    data = fit.TrainingData(splits, REFERENCES, max_target_length=24)
    result = fit.train(setup, data, training, args, callbacks=[Log()])
    weights = {name: value.detach().clone() for name, value in setup.model.named_parameters() if value.requires_grad}
    return result, weights, logs


def series(run: Run, name: str) -> list[float]:
    return [entry[name] for entry in run[2] if name in entry]


def assert_same(one: Run, several: list[Run]) -> None:
    """The runs have the same losses, norms of gradients and weights, within the rounding of float32."""
    for run in several:
        for name in ("loss", "grad_norm", "learning_rate", "eval_loss", "eval_rouge_sum"):
            assert series(run, name) == pytest.approx(series(one, name), rel=1e-3, abs=1e-6), name
            assert series(run, name) == series(several[0], name), f"all processes agree on {name}"
        assert run[0] == several[0][0]
        assert run[0]["steps"] == one[0]["steps"]
        for name, weights in run[1].items():
            assert torch.equal(weights, several[0][1][name]), name
            assert torch.allclose(weights, one[1][name], rtol=1e-2, atol=1e-4), name
    assert len(series(one, "loss")) >= 2


@pytest.mark.slow
def test_two_processes_train_an_encoder_decoder_as_one(params: Params, tmp_path: Path) -> None:
    """With packed parts, accumulation, and a last step whose rows do not fill the batches of both."""
    one = train_kobart(params, tmp_path / "one", **UNEVEN)
    assert_same(one, run_together(tmp_path / "two", lambda: train_kobart(params, tmp_path / "two", **UNEVEN)))


@pytest.mark.very_slow
@pytest.mark.parametrize(
    ("processes", "changes"),
    [
        (2, {"per_device_train_batch_size": 7, "gradient_accumulation_steps": 2}),
        (3, {"per_device_train_batch_size": 3, "gradient_accumulation_steps": 1}),  # a process without a row
        (4, {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2, "train_sampling_strategy": "group_by_length"}),
        (2, UNEVEN | {"ema_decay": 0.5, "average_checkpoints": 2, "label_smoothing_factor": 0.0}),
        (2, UNEVEN | {"gradient_checkpointing": True, "num_train_epochs": 1}),
    ],
)
def test_other_numbers_of_processes_train_as_one(
    params: Params, tmp_path: Path, processes: int, changes: dict[str, Any]
) -> None:
    one = train_kobart(params, tmp_path / "one", **changes)
    together = tmp_path / "together"
    assert_same(one, run_together(together, lambda: train_kobart(params, together, **changes), processes=processes))


@pytest.mark.very_slow
@pytest.mark.parametrize("name", ["r_drop", "r3f", "minimum_risk"])
def test_objectives_train_together(params: Params, tmp_path: Path, name: str) -> None:
    """Without dropout and noise, R-Drop and R3F are cross-entropy. Rewards are drawn, so only the agreement is compared."""
    objective = params.training.objective.model_copy(
        update={"name": name, "reward_start": 0.0, "reward_samples": 2, "r3f_epsilon": 1e-9}
    )
    changes = UNEVEN | {"objective": objective, "predict_with_generate": False, "metric_for_best_model": "loss"}
    several = run_together(tmp_path / "two", lambda: train_kobart(params, tmp_path / "two", **changes))
    if name == "minimum_risk":
        assert_same(several[0], several)
    else:
        assert_same(train_kobart(params, tmp_path / "one", **changes), several)


@pytest.mark.very_slow
@pytest.mark.parametrize("padding_free", [False, True])
def test_two_processes_train_an_adapter_as_one(values: dict[str, Any], tmp_path: Path, padding_free: bool) -> None:
    base = make_base(tmp_path / "base", "llama")
    changes = UNEVEN | {"label_smoothing_factor": 0.1 * padding_free}
    one = train_qlora(base, values, tmp_path / "one", padding_free=padding_free, **changes)
    two = tmp_path / "two"
    assert_same(one, run_together(two, lambda: train_qlora(base, values, two, padding_free=padding_free, **changes)))


@pytest.mark.very_slow
def test_the_same_number_of_processes_gives_the_same_bytes_also_after_a_kill(params: Params, tmp_path: Path) -> None:
    changes: dict[str, Any] = {**UNEVEN, "dropout": True, "save_steps": 1}
    runs = [
        run_together(tmp_path / name, lambda name=name: train_kobart(params, tmp_path / name, **changes))  # type: ignore[misc]
        for name in ("a", "b")
    ]

    def killed() -> None:
        with pytest.raises(Killed):
            train_kobart(params, tmp_path / "c", change=kill_after(3), **changes)

    run_together(tmp_path / "c", killed)
    assert list((tmp_path / "c/checkpoints").glob("checkpoint-*")), "the kill came too early"
    runs.append(run_together(tmp_path / "c", lambda: train_kobart(params, tmp_path / "c", **changes)))
    for run in runs[1:]:
        for name, weights in run[0][1].items():
            assert torch.equal(weights, runs[0][0][1][name]), name

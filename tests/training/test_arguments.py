import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.training.helpers import make_arguments, training_section
from yoyak.config.sections import Params
from yoyak.config.training_section import Training
from yoyak.system import hardware
from yoyak.training import arguments

# A key of `training`, a value for it, and the arguments that this value changes.
ARGUMENTS_OF_KEYS: dict[str, tuple[Any, dict[str, Any]]] = {
    "num_train_epochs": (3.5, {"num_train_epochs": 3.5}),
    "per_device_train_batch_size": (5, {"per_device_train_batch_size": 5, "train_batch_size": 5}),
    "per_device_eval_batch_size": (6, {"per_device_eval_batch_size": 6, "eval_batch_size": 6}),
    "gradient_accumulation_steps": (3, {"gradient_accumulation_steps": 3}),
    "learning_rate": (0.5, {"learning_rate": 0.5}),
    "lr_scheduler_type": ("cosine", {"lr_scheduler_type": "cosine"}),
    "lr_scheduler_kwargs": ({"num_cycles": 2}, {"lr_scheduler_kwargs": {"num_cycles": 2}}),
    "warmup_steps": (7, {"warmup_steps": 7}),
    "weight_decay": (0.25, {"weight_decay": 0.25}),
    "label_smoothing_factor": (0.3, {"label_smoothing_factor": 0.3}),
    "max_grad_norm": (0.7, {"max_grad_norm": 0.7}),
    "optim": ("adafactor", {"optim": "adafactor"}),
    "adam_beta1": (0.8, {"adam_beta1": 0.8}),
    "adam_beta2": (0.9, {"adam_beta2": 0.9}),
    "adam_epsilon": (1e-5, {"adam_epsilon": 1e-5}),
    "train_sampling_strategy": ("group_by_length", {"train_sampling_strategy": "group_by_length"}),
    "gradient_checkpointing": (
        True,
        {"activation_checkpointing": True, "activation_checkpointing_kwargs": {"use_reentrant": False}},
    ),
    "metric_for_best_model": ("loss", {"metric_for_best_model": "loss", "greater_is_better": False}),
    "save_steps": (7, {"save_steps": 7}),
    "full_determinism": (True, {"full_determinism": True}),
    "logging_steps": (11, {"logging_steps": 11}),
    "seed": (5, {"seed": 5}),
    "debug": (True, {"num_train_epochs": 1, "per_device_train_batch_size": 2}),
}

# Keys that other modules read: hardware, fit, dev_rouge, objectives, weight_averaging. test_fit.py has the rest of `debug`.
USED_ELSEWHERE = {"precision", "predict_with_generate", "generation_num_beams", "early_stopping_patience", "save_total_limit"}
USED_ELSEWHERE |= {"objective", "ema_decay", "average_checkpoints", "average_choice"}


def test_every_key_is_tested() -> None:
    assert set(ARGUMENTS_OF_KEYS) | USED_ELSEWHERE == set(Training.model_fields)


@pytest.mark.parametrize("key", ARGUMENTS_OF_KEYS)
def test_every_key_reaches_the_arguments(values: dict[str, Any], tmp_path: Path, key: str) -> None:
    value, expected = ARGUMENTS_OF_KEYS[key]
    base = "cosine" if key == "lr_scheduler_kwargs" else "linear"  # linear takes no kwargs
    values["training"] |= {"num_train_epochs": 2, "per_device_train_batch_size": 4, "lr_scheduler_type": base}
    before = make_arguments(training_section(values), tmp_path).to_dict()
    made = make_arguments(training_section(values, **{key: value}), tmp_path)
    after = made.to_dict()
    assert {name: getattr(made, name) for name in expected} == expected
    assert before != after
    derived = {"train_batch_size", "eval_batch_size", "gradient_checkpointing", "gradient_checkpointing_kwargs"}
    assert {name for name in after if after[name] != before[name]} | derived == set(expected) | derived


@pytest.mark.parametrize(
    ("warmup", "steps_of_200"),
    [(0, 0), (0.05, 10), (0.5, 100), (1, 1), (1.0, 1), (20, 20), (20.0, 20)],
)
def test_warmup_is_a_share_or_a_number_of_steps(
    values: dict[str, Any], tmp_path: Path, warmup: float, steps_of_200: int
) -> None:
    assert make_arguments(training_section(values, warmup_steps=warmup), tmp_path).get_warmup_steps(200) == steps_of_200


@pytest.mark.parametrize("metric", ["rouge_sum", "rouge1", "rouge2", "rougeL"])
def test_a_higher_rouge_is_better(values: dict[str, Any], tmp_path: Path, metric: str) -> None:
    made = make_arguments(training_section(values, metric_for_best_model=metric), tmp_path)
    assert (made.metric_for_best_model, made.greater_is_better) == (metric, True)


def test_arguments_that_no_key_sets(values: dict[str, Any], tmp_path: Path) -> None:
    made = make_arguments(training_section(values), tmp_path)
    assert made.load_best_model_at_end
    assert made.prediction_loss_only
    assert not made.remove_unused_columns
    assert made.report_to == []
    assert str(made.output_dir) == str(tmp_path)
    assert (made.bf16, made.fp16) == (False, False)


@pytest.mark.parametrize("precision", ["bfloat16", "float16", "float32"])
def test_precision_reaches_the_arguments(values: dict[str, Any], tmp_path: Path, precision: str) -> None:
    made = make_arguments(training_section(values), tmp_path, precision=precision)
    assert (made.bf16, made.fp16) == (precision == "bfloat16", precision == "float16")


@pytest.mark.parametrize(("is_supported", "expected"), [(True, True), (False, None)])
def test_float32_products_use_tf32_if_the_gpu_supports_it(
    values: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_supported: bool, expected: bool | None
) -> None:
    passed: dict[str, Any] = {}

    def record(**kwargs: Any) -> SimpleNamespace:
        passed.update(kwargs)
        return SimpleNamespace(n_gpu=1)

    monkeypatch.setattr(arguments, "TrainingArguments", record)  # the real one refuses tf32 without a GPU
    monkeypatch.setattr(hardware, "supports_tf32", lambda: is_supported)
    make_arguments(training_section(values), tmp_path)
    assert passed["tf32"] is expected


@pytest.mark.parametrize("gpus", [0, 1, 4])
def test_one_process_uses_one_gpu(values: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gpus: int) -> None:
    """With more, transformers multiplies the batch by their number."""
    monkeypatch.setattr(arguments, "TrainingArguments", lambda **_: SimpleNamespace(n_gpu=gpus, _n_gpu=gpus))
    assert make_arguments(training_section(values), tmp_path)._n_gpu == min(gpus, 1)


def test_recorded_arguments_are_the_same_in_another_folder(values: dict[str, Any], tmp_path: Path) -> None:
    first, second = (
        arguments.recorded_arguments(make_arguments(training_section(values), tmp_path / name)) for name in ("a", "b")
    )
    assert first == second
    assert str(tmp_path) not in json.dumps(first)
    assert first["learning_rate"] == values["training"]["learning_rate"]
    assert list(first) == sorted(first)


def test_tokens_of_the_environment_are_not_recorded(params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "OPTUNA_STORAGE"):
        monkeypatch.setenv(name, "canary-secret")
    args = make_arguments(params.training, tmp_path)
    args.hub_token = "canary-secret"
    assert "canary-secret" not in json.dumps(arguments.recorded_arguments(args), default=str)

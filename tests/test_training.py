import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import DIALOGUES, SUMMARIES
from yoyak.errors import YoyakError
from yoyak.params import Params, Training, parse

pytestmark = pytest.mark.slow  # importing the trainer takes over a second

TAGS = ("#Person1#", "#Person2#", "#Person3#", "#PhoneNumber#")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Outside the repository, which DVCLive would open each time."""
    monkeypatch.chdir(tmp_path)


def settings(values: dict[str, Any], **changes: Any) -> Training:
    return parse(values | {"training": values["training"] | changes}, source="test").training


def arguments(training: Training, folder: Path, **changes: Any) -> Any:
    from yoyak.training import arguments as real

    given: dict[str, Any] = {"folder": folder, "precision": "float32", "max_target_length": 48}
    return real(training, **(given | changes))


# A key, a value for it, and what the trainer's arguments then hold.
ARRIVES: dict[str, tuple[Any, dict[str, Any]]] = {
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
    "train_sampling_strategy": ("random", {"train_sampling_strategy": "random"}),
    "gradient_checkpointing": (
        True,
        {"activation_checkpointing": True, "activation_checkpointing_kwargs": {"use_reentrant": False}},
    ),
    "metric_for_best_model": ("loss", {"metric_for_best_model": "loss", "greater_is_better": False}),
    "generation_num_beams": (3, {"generation_num_beams": 3}),
    "save_total_limit": (9, {"save_total_limit": 9}),
    "logging_steps": (11, {"logging_steps": 11}),
    "seed": (5, {"seed": 5}),
    "debug": (True, {"num_train_epochs": 1, "per_device_train_batch_size": 2}),
}
IN_TRAIN = {"precision", "predict_with_generate", "early_stopping_patience"}  # tested below, as is the rest of `debug`


def test_every_key_is_tested() -> None:
    assert set(ARRIVES) | IN_TRAIN == set(Training.model_fields)


@pytest.mark.parametrize("key", ARRIVES)
def test_every_key_reaches_the_arguments(values: dict[str, Any], tmp_path: Path, key: str) -> None:
    value, expected = ARRIVES[key]
    base = "cosine" if key == "lr_scheduler_kwargs" else "linear"  # linear takes no kwargs
    values["training"] |= {"num_train_epochs": 2, "per_device_train_batch_size": 4, "lr_scheduler_type": base}
    before = arguments(settings(values), tmp_path).to_dict()
    made = arguments(settings(values, **{key: value}), tmp_path)
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
    assert arguments(settings(values, warmup_steps=warmup), tmp_path).get_warmup_steps(200) == steps_of_200


@pytest.mark.parametrize("metric", ["rouge_sum", "rouge1", "rouge2", "rougeL"])
def test_a_higher_rouge_is_better(values: dict[str, Any], tmp_path: Path, metric: str) -> None:
    made = arguments(settings(values, metric_for_best_model=metric), tmp_path)
    assert (made.metric_for_best_model, made.greater_is_better) == (metric, True)


def test_what_no_key_says(values: dict[str, Any], tmp_path: Path) -> None:
    made = arguments(settings(values), tmp_path, max_target_length=33)
    assert made.load_best_model_at_end
    assert made.generation_max_length == 33
    assert made.report_to == []
    assert str(made.output_dir) == str(tmp_path)
    assert (made.bf16, made.fp16) == (False, False)


@pytest.mark.parametrize("precision", ["bfloat16", "float16", "float32"])
def test_precision_reaches_the_trainer(
    values: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    from yoyak import training

    given: list[dict[str, Any]] = []
    monkeypatch.setattr(training, "Seq2SeqTrainingArguments", lambda **kwargs: given.append(kwargs))
    arguments(settings(values), tmp_path, precision=precision)
    assert (given[0]["bf16"], given[0]["fp16"]) == (precision == "bfloat16", precision == "float16")


def test_the_trainer_takes_bfloat16_without_a_gpu(params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("a GPU is here")
    from yoyak import training

    real = training.arguments
    monkeypatch.setattr(training, "arguments", lambda *given, **rest: real(*given, **(rest | {"precision": "bfloat16"})))
    reached, _, args = run(params, tmp_path, num_train_epochs=1)
    assert args.bf16
    assert reached["steps"] == 4


SMALL, LARGE = 1_000_000, 124_000_000


@pytest.mark.parametrize(
    ("asked", "hardware", "parameters", "expected"),
    [
        ("auto", "gpu bf16", SMALL, "bfloat16"),
        ("auto", "gpu", SMALL, "float16"),
        ("auto", "gpu", LARGE, "float16"),
        ("auto", "cpu bf16", LARGE, "bfloat16"),
        ("auto", "cpu bf16", SMALL, "float32"),
        ("auto", "cpu bf16", 50_000_000, "bfloat16"),
        ("auto", "cpu", LARGE, "float32"),
        ("float32", "gpu bf16", LARGE, "float32"),
        ("float16", "gpu bf16", LARGE, "float16"),
        ("bfloat16", "gpu bf16", SMALL, "bfloat16"),
        ("bfloat16", "cpu", SMALL, "bfloat16"),
        ("bfloat16", "gpu", LARGE, "this GPU has no bfloat16"),
        ("float16", "cpu bf16", LARGE, "float16 needs a GPU"),
        ("float16", "cpu", LARGE, "float16 needs a GPU"),
    ],
)
def test_choose_precision(monkeypatch: pytest.MonkeyPatch, asked: str, hardware: str, parameters: int, expected: str) -> None:
    import torch

    from yoyak import training

    has_bf16 = "bf16" in hardware
    monkeypatch.setattr(torch.cuda, "is_available", lambda: "gpu" in hardware)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: has_bf16)
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: has_bf16)
    if " " in expected:
        with pytest.raises(YoyakError, match=rf"^training\.precision: .*{expected}"):
            training.choose_precision(asked, parameters=parameters)
    else:
        chosen, why = training.choose_precision(asked, parameters=parameters)
        assert chosen == expected
        assert why


def splits(tokenizer: Any, *, times: int = 1) -> Any:
    import datasets

    from yoyak import encoding

    inputs = encoding.encode_inputs(tokenizer, DIALOGUES, 128) * times
    columns = {
        "fname": [str(at) for at in range(len(inputs))],
        "input_ids": inputs,
        "labels": encoding.encode_targets(tokenizer, SUMMARIES, 48) * times,
        "length": [len(ids) for ids in inputs],
    }
    return datasets.DatasetDict({name: datasets.Dataset.from_dict(columns) for name in ("train", "dev")})


def run(
    params: Params, folder: Path, change: Callable[[Any], object] = lambda _: None, *, times: int = 1, **changes: Any
) -> tuple[dict[str, Any], Any, Any]:
    """Train the tiny model as the stage does. DVCLive writes to folder/live, checkpoints go to folder/checkpoints."""
    from dvclive import Live
    from transformers import set_seed

    from yoyak import checkpoint, training

    chosen = params.training.model_copy(update=changes)
    set_seed(chosen.seed)
    tokenizer = checkpoint.load_tokenizer(params.model.kobart.checkpoint, None, TAGS)
    model = checkpoint.load_seq2seq(params.model.kobart.checkpoint, None, tokenizer)
    change(model)
    args = training.arguments(chosen, folder=folder / "checkpoints", precision="float32", max_target_length=48)
    with Live(str(folder / "live"), save_dvc_exp=False, dvcyaml=None) as live:
        reached = training.train(model, tokenizer, splits(tokenizer, times=times), args=args, training=chosen, live=live)
    return reached, model, args


def points(file: Path) -> list[tuple[int, float]]:
    header, *lines = file.read_text(encoding="utf-8").split("\n")[:-1]
    assert header.split("\t") == ["step", file.stem]
    return [(int(step), float(value)) for step, value in (line.split("\t") for line in lines)]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


PLOTS = Path("live") / "plots" / "metrics"


def test_training_learns_and_repeats_to_the_bit(params: Params, tmp_path: Path) -> None:
    import torch

    (reached, model, _), (again, model_again, _) = (
        run(params, tmp_path / name, num_train_epochs=3, learning_rate=0.02) for name in ("a", "b")
    )
    assert reached == again
    assert set(reached) == {"steps", "epochs", "best_step", "best_rouge_sum"}
    assert (reached["steps"], reached["epochs"]) == (12, 3)
    weights, weights_again = model.state_dict(), model_again.state_dict()
    assert all(torch.equal(weights[key], weights_again[key]) for key in weights)

    live = contents(tmp_path / "a" / "live")
    assert live == contents(tmp_path / "b" / "live")
    train = {f"plots/metrics/train/{name}.tsv" for name in ("loss", "learning_rate", "grad_norm")}
    dev = {f"plots/metrics/dev/{name}.tsv" for name in ("loss", "rouge1", "rouge2", "rougeL", "rouge_sum")}
    assert set(live) == train | dev | {"metrics.json"}
    for word in (b"time", b"second", b"runtime"):
        assert all(word not in data for data in live.values())
    loss = points(tmp_path / "a" / PLOTS / "train" / "loss.tsv")
    assert [step for step, _ in loss] == list(range(1, 13))
    assert loss[-1][1] < 0.8 * loss[0][1]
    dev_loss = points(tmp_path / "a" / PLOTS / "dev" / "loss.tsv")
    assert [epoch for epoch, _ in dev_loss] == [1, 2, 3]
    assert dev_loss[-1][1] < dev_loss[0][1]
    assert json.loads(live["metrics.json"])["dev"]["rouge_sum"] >= 0


def test_another_seed_is_another_model(params: Params, tmp_path: Path) -> None:
    import torch

    _, model, _ = run(params, tmp_path / "a", num_train_epochs=1)
    _, other, _ = run(params, tmp_path / "b", num_train_epochs=1, seed=43)
    assert not torch.equal(model.model.encoder.layers[0].fc1.weight, other.model.encoder.layers[0].fc1.weight)


def test_the_best_checkpoint_is_what_is_left(params: Params, tmp_path: Path) -> None:
    """A learning rate that is far too large spoils the later epochs."""
    import torch
    from safetensors.torch import load_file

    reached, model, _ = run(
        params,
        tmp_path,
        num_train_epochs=4,
        learning_rate=0.3,
        warmup_steps=0,
        lr_scheduler_type="constant",
        metric_for_best_model="loss",
        save_total_limit=2,
        early_stopping_patience=0,
    )
    dev = dict(points(tmp_path / PLOTS / "dev" / "loss.tsv"))
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


def test_early_stopping(params: Params, tmp_path: Path) -> None:
    spoil: dict[str, Any] = {"num_train_epochs": 6, "learning_rate": 1.0, "warmup_steps": 0, "metric_for_best_model": "loss"}
    stopped, _, _ = run(params, tmp_path / "a", early_stopping_patience=1, **spoil)
    whole, _, _ = run(params, tmp_path / "b", early_stopping_patience=0, **spoil)
    assert stopped["epochs"] < whole["epochs"] == 6
    assert stopped["epochs"] == stopped["best_step"] / 4 + 1


def test_without_generation_there_is_no_rouge(params: Params, tmp_path: Path) -> None:
    reached, _, args = run(params, tmp_path, num_train_epochs=1, predict_with_generate=False, metric_for_best_model="loss")
    assert not args.predict_with_generate
    assert "best_loss" in reached
    assert {path.name for path in (tmp_path / PLOTS / "dev").iterdir()} == {"loss.tsv"}


def test_debug_takes_few_rows(params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from yoyak import training

    monkeypatch.setattr(training, "DEBUG_ROWS", {"train": 6, "dev": 3})
    reached, _, _ = run(params, tmp_path, debug=True, num_train_epochs=9, per_device_train_batch_size=8)
    assert (reached["steps"], reached["epochs"]) == (3, 1)  # six rows by two, once
    whole, _, _ = run(params, tmp_path / "whole", num_train_epochs=1, per_device_train_batch_size=1)
    assert whole["steps"] == 8


def test_the_learning_rate_follows_the_schedule(params: Params, tmp_path: Path) -> None:
    """An earlier team's "cosine" run was linear."""
    rates = {}
    for kind, kwargs in (("linear", {}), ("cosine", {}), ("cosine_with_restarts", {"num_cycles": 2}), ("constant", {})):
        run(
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
        rates[kind] = [rate for _, rate in points(tmp_path / kind / PLOTS / "train" / "learning_rate.tsv")]
    # Eight steps, two of them warm-up; a step's rate is that of the steps before it.
    done = [max(0, at - 2) / 6 for at in range(8)]
    warm = [0, 0.005]
    assert rates["linear"] == pytest.approx([*warm, *(0.01 * (1 - x) for x in done[2:])])
    assert rates["cosine"] == pytest.approx([*warm, *(0.005 * (1 + math.cos(math.pi * x)) for x in done[2:])])
    assert rates["cosine_with_restarts"] == pytest.approx(
        [*warm, *(0.005 * (1 + math.cos(math.pi * (2 * x % 1))) for x in done[2:])]
    )
    assert rates["constant"] == pytest.approx([0.01] * 8)


def test_accumulation_and_batches(params: Params, tmp_path: Path) -> None:
    reached, _, _ = run(params, tmp_path, num_train_epochs=1, per_device_train_batch_size=2, gradient_accumulation_steps=2)
    assert reached["steps"] == 2


def test_gradient_checkpointing_changes_no_number(params: Params, tmp_path: Path) -> None:
    quick: dict[str, Any] = {"num_train_epochs": 1, "predict_with_generate": False, "metric_for_best_model": "loss"}
    plain, _, _ = run(params, tmp_path / "a", **quick)
    checkpointed, _, _ = run(params, tmp_path / "b", gradient_checkpointing=True, **quick)
    assert checkpointed == plain


def test_a_loss_that_is_no_number_is_an_error(params: Params, tmp_path: Path) -> None:
    def spoil(model: Any) -> None:
        model.model.encoder.layers[0].fc1.weight.data.fill_(float("nan"))

    with pytest.raises(YoyakError, match=r"the loss became nan; lower training\.learning_rate"):
        run(params, tmp_path, spoil, num_train_epochs=1)


def test_the_checkpoints_own_decoding_does_not_choose_the_best(params: Params, tmp_path: Path) -> None:
    """params.yaml is the whole truth: what a published checkpoint says of decoding must not reach the evaluation."""

    def own(model: Any) -> None:
        model.generation_config.update(min_length=30, no_repeat_ngram_size=1, repetition_penalty=9.0, num_beams=3)

    quick: dict[str, Any] = {"num_train_epochs": 1, "learning_rate": 0.02}
    plain, _, _ = run(params, tmp_path / "a", **quick)
    leaking, model, _ = run(params, tmp_path / "b", own, **quick)
    assert leaking == plain
    assert contents(tmp_path / "a" / "live") == contents(tmp_path / "b" / "live")
    assert model.generation_config.decoder_start_token_id == 1


def test_rouge_of_ids_ignores_padding(params: Params) -> None:
    import numpy as np

    from yoyak import checkpoint, training

    tokenizer = checkpoint.load_tokenizer(params.model.kobart.checkpoint, None, TAGS)
    a, b = tokenizer([*SUMMARIES[:2]]).input_ids
    eos, pad = tokenizer.eos_token_id, tokenizer.pad_token_id
    width = max(len(a), len(b)) + 3

    def rows(filler: int, first: list[int]) -> Any:
        return np.array([first + ids + [eos] + [filler] * (width - len(ids)) for ids in (a, b)])

    class Evaluation:
        predictions = rows(pad, [eos])
        label_ids = rows(-100, [])

    assert training.rouge_of_ids(tokenizer)(Evaluation) == {
        "rouge1": 100,
        "rouge2": 100,
        "rougeL": 100,
        "rouge_sum": 300,
        "rouge_mean": 100,
    }
    Evaluation.predictions = np.array([[eos, -100, -100], [eos, eos, -100]])
    assert training.rouge_of_ids(tokenizer)(Evaluation)["rouge_sum"] == 0


def test_resolved_arguments_say_nothing_of_the_place(values: dict[str, Any], tmp_path: Path) -> None:
    from yoyak import training

    first, second = (training.resolved(arguments(settings(values), tmp_path / name)) for name in ("a", "b"))
    assert first == second
    assert str(tmp_path) not in json.dumps(first)
    assert first["learning_rate"] == values["training"]["learning_rate"]
    assert list(first) == sorted(first)

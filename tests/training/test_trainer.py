import json
import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.conftest import DIALOGUES, SUMMARIES
from yoyak.config.params import parse_params
from yoyak.config.sections import Params, Training
from yoyak.inference.ctranslate import Writer
from yoyak.system.errors import YoyakError

trains = pytest.mark.slow

TAGS = ("#Person1#", "#Person2#", "#Person3#", "#PhoneNumber#")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Outside the repository, which DVCLive would open each time."""
    monkeypatch.chdir(tmp_path)


def settings(values: dict[str, Any], **changes: Any) -> Training:
    return parse_params(values | {"training": values["training"] | changes}, source="test").training


def arguments(training: Training, folder: Path, **changes: Any) -> Any:
    from yoyak.training.trainer import arguments as real

    given: dict[str, Any] = {"folder": folder, "precision": "float32"}
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
# Tested below, as is the rest of `debug`.
IN_TRAIN = {"precision", "predict_with_generate", "generation_num_beams", "early_stopping_patience", "save_total_limit"}


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
    made = arguments(settings(values), tmp_path)
    assert made.load_best_model_at_end
    assert made.prediction_loss_only
    assert not made.remove_unused_columns
    assert made.report_to == []
    assert str(made.output_dir) == str(tmp_path)
    assert (made.bf16, made.fp16) == (False, False)


def recorded(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What TrainingArguments is called with from now on, instead of being made."""
    from yoyak.training import trainer

    given: list[dict[str, Any]] = []

    def noted(**kwargs: Any) -> SimpleNamespace:
        given.append(kwargs)
        return SimpleNamespace(n_gpu=1)

    monkeypatch.setattr(trainer, "TrainingArguments", noted)
    return given


@pytest.mark.parametrize("precision", ["bfloat16", "float16", "float32"])
def test_precision_reaches_the_trainer(
    values: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:

    given = recorded(monkeypatch)
    arguments(settings(values), tmp_path, precision=precision)
    assert (given[0]["bf16"], given[0]["fp16"]) == (precision == "bfloat16", precision == "float16")


@pytest.mark.parametrize(("has", "expected"), [(True, True), (False, None)])
def test_float32_products_run_in_tf32_where_the_gpu_can(
    values: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, has: bool, expected: bool | None
) -> None:
    from yoyak.system import hardware

    given = recorded(monkeypatch)
    monkeypatch.setattr(hardware, "supports_tf32", lambda: has)
    arguments(settings(values), tmp_path)
    assert given[0]["tf32"] is expected


@pytest.mark.parametrize("gpus", [0, 1, 4])
def test_one_process_takes_one_gpu(values: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gpus: int) -> None:
    """Else the batch would be multiplied by the number of GPUs of the machine, on the first of them."""
    from yoyak.training import trainer

    monkeypatch.setattr(trainer, "TrainingArguments", lambda **_: SimpleNamespace(n_gpu=gpus, _n_gpu=gpus))
    assert arguments(settings(values), tmp_path)._n_gpu == min(gpus, 1)


@trains
def test_the_trainer_takes_bfloat16_without_a_gpu(params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("a GPU is here")
    from yoyak.training import trainer

    real = trainer.arguments
    monkeypatch.setattr(trainer, "arguments", lambda *given, **rest: real(*given, **(rest | {"precision": "bfloat16"})))
    reached, _, args = run(params, tmp_path, num_train_epochs=1)
    assert args.bf16
    assert reached["steps"] == 4


def splits(tokenizer: Any, *, times: int = 1) -> Any:
    import datasets

    from yoyak.data import tokenization

    inputs = tokenization.encode_inputs(tokenizer, DIALOGUES, 128) * times
    columns = {
        "fname": [str(at) for at in range(len(inputs))],
        "input_ids": inputs,
        "labels": tokenization.encode_targets(tokenizer, SUMMARIES, 48) * times,
        "length": [len(ids) for ids in inputs],
    }
    return datasets.DatasetDict({name: datasets.Dataset.from_dict(columns) for name in ("train", "dev")})


def run(
    params: Params, folder: Path, change: Callable[[Any], object] = lambda _: None, *, times: int = 1, **changes: Any
) -> tuple[dict[str, Any], Any, Any]:
    """Train the tiny model as the stage does. DVCLive writes to folder/live, checkpoints go to folder/checkpoints."""
    from dvclive import Live
    from transformers import set_seed

    from yoyak.data import collation
    from yoyak.models import checkpoints, encoder_decoder
    from yoyak.training import trainer

    chosen = params.training.model_copy(update=changes)
    set_seed(chosen.seed)
    tokenizer = checkpoints.load_tokenizer(params.model.kobart.checkpoint, None, TAGS)
    model = encoder_decoder.load(params.model.kobart.checkpoint, None, tokenizer)
    change(model)
    args = trainer.arguments(chosen, folder=folder / "checkpoints", precision="float32")
    with Live(str(folder / "live"), save_dvc_exp=False, dvcyaml=None) as live:
        reached = trainer.train(
            model,
            tokenizer,
            splits(tokenizer, times=times),
            collate=collation.collate_pairs(tokenizer, model),
            args=args,
            training=chosen,
            max_target_length=48,
            callbacks=[trainer.LiveLog(live)],
        )
    return reached, model, args


def points(file: Path) -> list[tuple[int, float]]:
    header, *lines = file.read_text(encoding="utf-8").split("\n")[:-1]
    assert header.split("\t") == ["step", file.stem]
    return [(int(step), float(value)) for step, value in (line.split("\t") for line in lines)]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


PLOTS = Path("live") / "plots" / "metrics"


@trains
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
    assert loss[-1][1] < 0.85 * loss[0][1]
    dev_loss = points(tmp_path / "a" / PLOTS / "dev" / "loss.tsv")
    assert [epoch for epoch, _ in dev_loss] == [1, 2, 3]
    assert dev_loss[-1][1] < dev_loss[0][1]
    assert json.loads(live["metrics.json"])["dev"]["rouge_sum"] >= 0


@trains
def test_another_seed_is_another_model(params: Params, tmp_path: Path) -> None:
    import torch

    _, model, _ = run(params, tmp_path / "a", num_train_epochs=1)
    _, other, _ = run(params, tmp_path / "b", num_train_epochs=1, seed=43)
    assert not torch.equal(model.model.encoder.layers[0].fc1.weight, other.model.encoder.layers[0].fc1.weight)


@trains
def test_the_best_checkpoint_is_what_is_left(params: Params, tmp_path: Path) -> None:
    """A learning rate that grows and grows spoils the last epoch."""
    import torch
    from safetensors.torch import load_file

    reached, model, _ = run(
        params,
        tmp_path,
        num_train_epochs=4,
        learning_rate=1.0,
        warmup_steps=16,
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


@trains
def test_early_stopping(params: Params, tmp_path: Path) -> None:
    spoil: dict[str, Any] = {"num_train_epochs": 6, "learning_rate": 1.5, "warmup_steps": 24, "metric_for_best_model": "loss"}
    stopped, _, _ = run(params, tmp_path / "a", early_stopping_patience=1, **spoil)
    whole, _, _ = run(params, tmp_path / "b", early_stopping_patience=0, **spoil)
    assert stopped["epochs"] < whole["epochs"] == 6
    assert stopped["epochs"] == stopped["best_step"] / 4 + 1


@trains
def test_without_generation_there_is_no_rouge(params: Params, tmp_path: Path) -> None:
    reached, _, _ = run(params, tmp_path, num_train_epochs=1, predict_with_generate=False, metric_for_best_model="loss")
    assert "best_loss" in reached
    assert {path.name for path in (tmp_path / PLOTS / "dev").iterdir()} == {"loss.tsv"}


@trains
def test_debug_takes_few_rows(params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from yoyak.training import trainer

    monkeypatch.setattr(trainer, "DEBUG_ROWS", {"train": 6, "dev": 3})
    reached, _, _ = run(params, tmp_path, debug=True, num_train_epochs=9, per_device_train_batch_size=8)
    assert (reached["steps"], reached["epochs"]) == (3, 1)  # six rows by two, once
    whole, _, _ = run(params, tmp_path / "whole", num_train_epochs=1, per_device_train_batch_size=1)
    assert whole["steps"] == 8


@trains
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


@trains
def test_accumulation_and_batches(params: Params, tmp_path: Path) -> None:
    reached, _, _ = run(params, tmp_path, num_train_epochs=1, per_device_train_batch_size=2, gradient_accumulation_steps=2)
    assert reached["steps"] == 2


@trains
def test_gradient_checkpointing_changes_no_number(params: Params, tmp_path: Path) -> None:
    quick: dict[str, Any] = {"num_train_epochs": 1, "predict_with_generate": False, "metric_for_best_model": "loss"}
    plain, _, _ = run(params, tmp_path / "a", **quick)
    checkpointed, _, _ = run(params, tmp_path / "b", gradient_checkpointing=True, **quick)
    assert checkpointed == plain


@trains
def test_a_loss_that_is_no_number_is_an_error(params: Params, tmp_path: Path) -> None:
    def spoil(model: Any) -> None:
        model.model.encoder.layers[0].fc1.weight.data.fill_(float("nan"))

    with pytest.raises(YoyakError, match=r"the loss became nan; lower training\.learning_rate"):
        run(params, tmp_path, spoil, num_train_epochs=1)


@trains
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


ROUGE = {"rouge1", "rouge2", "rougeL", "rouge_sum", "rouge_mean"}


@pytest.fixture
def evaluated(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, dict[str, float]]]:
    """Trainers that only evaluated where they would have trained, each with what came out."""
    from yoyak.training import trainer

    seen: list[tuple[Any, dict[str, float]]] = []
    monkeypatch.setattr(trainer.SummaryTrainer, "train", lambda trainer, **_: seen.append((trainer, trainer.evaluate())))
    return seen


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What generate() is asked for; it writes "비가 온다" each time."""
    from yoyak.inference import decoding

    calls: list[dict[str, Any]] = []

    def generate(model: Any, _: Any, ids: Any, dialogues: Any, **rest: Any) -> list[Any]:
        calls.append({"model": model, "ids": [list(row) for row in ids], "dialogues": list(dialogues), **rest})
        return [decoding.Output("비가 온다", hit_limit=False) for _ in ids]

    monkeypatch.setattr(decoding, "generate", generate)
    return calls


def test_with_generation_an_evaluation_adds_rouge(params: Params, tmp_path: Path, evaluated: Any, asked: Any) -> None:
    run(params, tmp_path)
    ((_, metrics),) = evaluated
    assert {name.removeprefix("eval_") for name in metrics} >= ROUGE | {"loss"}
    assert len(asked) == 1
    dev = {path.stem: points(path) for path in (tmp_path / PLOTS / "dev").iterdir()}
    assert set(dev) == {"loss", "rouge1", "rouge2", "rougeL", "rouge_sum"}
    assert dev["rouge_sum"][0][1] == metrics["eval_rouge_sum"]
    assert dev["loss"][0][1] == metrics["eval_loss"]


def test_without_generation_an_evaluation_writes_nothing(params: Params, tmp_path: Path, evaluated: Any, asked: Any) -> None:
    run(params, tmp_path, predict_with_generate=False, metric_for_best_model="loss")
    ((_, metrics),) = evaluated
    assert not [name for name in metrics if "rouge" in name]
    assert "eval_loss" in metrics
    assert asked == []
    assert {path.name for path in (tmp_path / PLOTS / "dev").iterdir()} == {"loss.tsv"}


def test_what_an_evaluation_writes_with(params: Params, tmp_path: Path, evaluated: Any, asked: Any) -> None:
    """params.yaml's `training` and max_target_length; of `generation` and of the checkpoint's own decoding nothing."""
    from yoyak.models import checkpoints

    tokenizer = checkpoints.load_tokenizer(params.model.kobart.checkpoint, None, TAGS)
    for beams in (1, 3):
        run(params, tmp_path / str(beams), generation_num_beams=beams, per_device_eval_batch_size=5, seed=9)
    first, second = asked
    assert isinstance(first["model"], Writer) and isinstance(second["model"], Writer)  # converted: the same there, and sooner
    assert first["ids"] == [list(row) for row in splits(tokenizer)["dev"]["input_ids"]]
    assert len(first["dialogues"]) == len(first["ids"])
    assert first["settings"].model_dump() == {
        "max_new_tokens": 48,
        "min_new_tokens": 0,
        "num_beams": 1,
        "do_sample": False,
        "temperature": 1.0,
        "top_p": 1.0,
        "top_k": 0,
        "repetition_penalty": 1.0,
        "length_penalty": 1.0,
        "no_repeat_ngram_size": 0,
        "early_stopping": True,
        "blocked_scripts": [],
        "seed": 9,
        "batch_size": 5,
        "backend": "auto",
        "postprocess": "never",
    }
    assert second["settings"] == first["settings"].model_copy(update={"num_beams": 3})


def test_debug_evaluates_few_rows(
    params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, evaluated: Any, asked: Any
) -> None:
    from yoyak.training import trainer

    monkeypatch.setattr(trainer, "DEBUG_ROWS", {"train": 6, "dev": 3})
    for debug in (True, False):
        run(params, tmp_path / str(debug), debug=debug)
    assert [len(call["ids"]) for call in asked] == [3, 8]
    assert [(len(trainer.train_dataset), len(trainer.eval_dataset)) for trainer, _ in evaluated] == [(6, 3), (8, 8)]


@pytest.mark.parametrize("patience", [0, 1, 4])
def test_patience_reaches_the_trainer(params: Params, tmp_path: Path, evaluated: Any, patience: int) -> None:
    from transformers import EarlyStoppingCallback

    run(params, tmp_path, early_stopping_patience=patience, predict_with_generate=False, metric_for_best_model="loss")
    ((trainer, _),) = evaluated
    stops = [item for item in trainer.callback_handler.callbacks if isinstance(item, EarlyStoppingCallback)]
    assert [item.early_stopping_patience for item in stops] == [patience] * bool(patience)


def test_a_loss_that_is_no_number_ends_an_evaluation(params: Params, tmp_path: Path, evaluated: Any) -> None:
    def spoil(model: Any) -> None:
        model.model.encoder.layers[0].fc1.weight.data.fill_(float("nan"))

    with pytest.raises(YoyakError, match=r"the loss became nan; lower training\.learning_rate$"):
        run(params, tmp_path, spoil, predict_with_generate=False, metric_for_best_model="loss")
    assert evaluated == []


def measure(params: Params, dev: Any, *, beams: int = 1) -> tuple[Any, Any]:
    """measure_rouge's callable for these dev rows, and the tokenizer."""
    from yoyak.models import checkpoints
    from yoyak.training import trainer

    tokenizer = checkpoints.load_tokenizer(params.model.kobart.checkpoint, None, TAGS)
    chosen = params.training.model_copy(update={"generation_num_beams": beams})
    return trainer.measure_rouge(dev, tokenizer, chosen, max_target_length=48), tokenizer


def load_model(params: Params, tokenizer: Any) -> Any:
    import torch

    from yoyak.models import encoder_decoder

    torch.manual_seed(0)
    return encoder_decoder.load(params.model.kobart.checkpoint, None, tokenizer)


def test_rouge_is_of_what_the_model_writes_against_the_labels(params: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    from yoyak.inference import decoding
    from yoyak.inference.decoding import Output
    from yoyak.models import checkpoints

    texts = list(SUMMARIES)
    monkeypatch.setattr(decoding, "generate", lambda *_, **__: [Output(text, hit_limit=False) for text in texts])
    tokenizer = checkpoints.load_tokenizer(params.model.kobart.checkpoint, None, TAGS)
    rouge_of, _ = measure(params, splits(tokenizer)["dev"])
    model = load_model(params, tokenizer)
    assert rouge_of(model) == {"rouge1": 100, "rouge2": 100, "rougeL": 100, "rouge_sum": 300, "rouge_mean": 100}
    texts[:] = texts[1:] + texts[:1]  # each row against another's summary
    assert 0 < rouge_of(model)["rouge_sum"] < 250
    texts[:] = [""] * 8
    assert rouge_of(model)["rouge_sum"] == 0


def test_rouge_is_that_of_prediction_with_the_same_settings(params: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    """What chooses the best is what predict and score would find, and with beams as fast."""
    from yoyak.data import tokenization
    from yoyak.evaluation import rouge
    from yoyak.inference import decoding
    from yoyak.models import checkpoints

    tokenizer = checkpoints.load_tokenizer(params.model.kobart.checkpoint, None, TAGS)
    dev = splits(tokenizer)["dev"]
    rouge_of, _ = measure(params, dev, beams=2)
    model = load_model(params, tokenizer)
    with monkeypatch.context() as patch:
        patch.setattr(decoding, "_transformers", None)  # CTranslate2 writes
        found = rouge_of(model)
    changes = {"num_beams": 2, "max_new_tokens": 48, "early_stopping": True, "batch_size": 3}
    outputs = decoding.generate(
        load_model(params, tokenizer),
        tokenizer,
        tokenization.encode_inputs(tokenizer, DIALOGUES, 128),
        DIALOGUES,
        settings=params.generation.model_copy(update=changes),
        progress="test",
    )
    scores = rouge.score_rows(
        predictions=[output.text for output in outputs],
        references=[[text] for text in SUMMARIES],
        tokenizer=rouge.Morphemes(),
    )
    assert found == rouge.summarize(scores)
    assert found["rouge_sum"] > 0


def test_measuring_leaves_no_trace_in_the_training(params: Params) -> None:
    """The model's own decoding, and the random numbers that dropout and the order of rows are made of."""
    import torch

    from yoyak.models import checkpoints

    def states() -> list[torch.Tensor]:
        return [torch.get_rng_state(), *torch.cuda.get_rng_state_all()]

    tokenizer = checkpoints.load_tokenizer(params.model.kobart.checkpoint, None, TAGS)
    rouge_of, _ = measure(params, splits(tokenizer)["dev"])
    model = load_model(params, tokenizer)
    decoding = model.generation_config
    before, kept = states(), decoding.to_dict()
    first = rouge_of(model)
    assert model.generation_config is decoding
    assert decoding.to_dict() == kept
    assert all(torch.equal(old, new) for old, new in zip(before, states(), strict=True))
    assert rouge_of(model) == first


def test_a_decoders_prompt_is_read_and_its_target_is_the_reference(params: Params, asked: list[dict[str, Any]]) -> None:
    """Their rows hold both; the labels tell where the target starts."""
    import datasets

    from yoyak.data import tokenization
    from yoyak.models import checkpoints

    tokenizer = checkpoints.load_tokenizer(params.model.kobart.checkpoint, None, TAGS)
    prompts = tokenization.encode_inputs(tokenizer, DIALOGUES[:3], 128)
    targets = tokenization.encode_targets(tokenizer, [SUMMARIES[0], "비가 온다", SUMMARIES[2]], 48)
    rows = list(zip(prompts, targets, strict=True))
    dev = datasets.Dataset.from_dict(
        {
            "input_ids": [prompt + target for prompt, target in rows],
            "labels": [[-100] * len(prompt) + target for prompt, target in rows],
        }
    )
    rouge_of, _ = measure(params, dev)
    found = rouge_of(load_model(params, tokenizer))
    assert asked[0]["ids"] == prompts
    assert found["rouge_mean"] == pytest.approx(100 / 3, abs=5)  # the second is written exactly


def model_of(kind: str, params: Params, tokenizer: Any) -> Any:
    """A tiny model without dropout."""
    import torch
    from transformers import MBartConfig, MBartForConditionalGeneration, T5Config, T5ForConditionalGeneration

    torch.manual_seed(0)
    ids = {"vocab_size": len(tokenizer), "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2, "decoder_start_token_id": 1}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2}
    layers = {"encoder_layers": 2, "decoder_layers": 2, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16}
    if kind == "mbart":
        model: Any = MBartForConditionalGeneration(MBartConfig(**ids, **heads, **layers, d_model=8, scale_embedding=True))
    elif kind == "t5":
        model = T5ForConditionalGeneration(T5Config(**ids, d_model=8, d_kv=4, d_ff=16, num_layers=2, num_heads=2))
    else:
        model = load_model(params, tokenizer)
    for module in model.modules():
        for name in ("dropout", "p"):
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.0)
    return model


def padded_batch(params: Params, kind: str = "bart", *, seed: int = 0, rows: int = 16) -> tuple[Any, dict[str, Any]]:
    """A model without dropout, and a batch whose rows have sources and targets of unlike lengths."""
    import torch

    from yoyak.data import collation
    from yoyak.models import checkpoints

    tokenizer = checkpoints.load_tokenizer(params.model.kobart.checkpoint, None, TAGS)
    model = model_of(kind, params, tokenizer)
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(2, 60, (rows, 2), generator=generator).tolist()
    return model, collation.collate_pairs(tokenizer, model)(
        [
            {
                name: torch.randint(9, 99, (n,), generator=generator).tolist()
                for name, n in zip(("input_ids", "labels"), both, strict=True)
            }
            for both in lengths
        ]
    )


def rows_of(batch: dict[str, Any]) -> list[tuple[list[int], list[int], list[int]]]:
    """What a padded batch has of each row: source, target, and what the decoder reads of it."""
    real = batch["attention_mask"].bool()
    return [
        (ids[mask].tolist(), labels[labels != -100].tolist(), decoder[labels != -100].tolist())
        for ids, mask, labels, decoder in zip(
            batch["input_ids"], real, batch["labels"], batch["decoder_input_ids"], strict=True
        )
    ]


@pytest.mark.parametrize("most", [1, 50, 130, 10_000])
def test_parts_are_the_batch_cut_to_size(params: Params, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    from yoyak.training import trainer

    monkeypatch.setattr(trainer, "PART", most)
    _, batch = padded_batch(params)
    found = list(trainer.parts(batch))
    assert sorted(row for part in found for row in rows_of(part)) == sorted(rows_of(batch))
    lengths = [[len(ids) for ids, _, _ in rows_of(part)] for part in found]
    assert [length for each in lengths for length in each] == sorted((len(ids) for ids, _, _ in rows_of(batch)), reverse=True)
    for part, each in zip(found, lengths, strict=True):
        assert part["input_ids"].shape == part["attention_mask"].shape == (len(each), max(each))
        assert part["labels"].shape == part["decoder_input_ids"].shape
        assert part["labels"].shape[1] == max(len(labels) for _, labels, _ in rows_of(part)), "no column of padding alone"
        assert len(each) == 1 or part["input_ids"].numel() <= most
    assert all(each[0] * (len(each) + 1) > most for each in lengths[:-1]), "as few parts as may be"


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
@pytest.mark.parametrize("kind", ["bart", "mbart", "t5"])
def test_parts_have_the_gradient_of_the_whole(
    params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, label_smoothing: float
) -> None:
    """Of a step of two padded batches, whose targets all weigh the same, by the formula of the loss."""
    import torch

    from yoyak.models import checkpoints
    from yoyak.training import packing, trainer

    changes = {"label_smoothing_factor": label_smoothing, "gradient_accumulation_steps": 2}
    model, first = padded_batch(params, kind)
    _, second = padded_batch(params, kind, seed=1, rows=5)
    assert packing.can_pack(model) == (kind != "t5")
    rows = splits(checkpoints.load_tokenizer(params.model.kobart.checkpoint, None, TAGS))["train"]
    trainer = trainer.SummaryTrainer(
        None,
        keep=1,
        model=model,
        args=trainer.arguments(params.training.model_copy(update=changes), folder=tmp_path, precision="float32"),
        train_dataset=rows,
        eval_dataset=rows,
    )
    targets = sum((batch["labels"] != -100).sum() for batch in (first, second))

    def gradients() -> list[torch.Tensor]:
        found = [weight.grad.clone() for weight in model.parameters() if weight.grad is not None]
        model.zero_grad()
        return found

    by_hand = torch.zeros(())
    for batch in (first, second):
        chances = model(**{name: value for name, value in batch.items() if name != "labels"}).logits.log_softmax(-1)
        for row, labels in zip(chances, batch["labels"].tolist(), strict=True):
            for at, label in enumerate(labels):
                if label != -100:
                    by_hand = by_hand - (1 - label_smoothing) * row[at, label] - label_smoothing * row[at].mean()
    (by_hand / targets).backward()
    expected = gradients()
    assert len(expected) > 20
    attention = model.config._attn_implementation
    for most in (1, 200, 10**9):
        monkeypatch.setattr(trainer, "PART", most)
        monkeypatch.setattr(packing, "PART", most)
        loss = sum(trainer.training_step(model, dict(batch), targets).item() for batch in (first, second))
        assert loss == pytest.approx(float(by_hand.detach() / targets), rel=1e-5)
        found = gradients()
        assert all(torch.allclose(a, b, rtol=1e-3, atol=1e-6) for a, b in zip(found, expected, strict=True)), most
    assert model.config._attn_implementation == attention, "an evaluation is padded"
    assert not any(module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize(("processes", "calls"), [(1, 16), (2, 1)])
def test_processes_take_a_batch_whole(
    params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, processes: int, calls: int
) -> None:
    """In parts, those with fewer of them would wait for the others' gradients for ever."""
    from transformers import Trainer, TrainingArguments

    from yoyak.models import checkpoints
    from yoyak.training import packing, trainer

    model, batch = padded_batch(params)
    rows = splits(checkpoints.load_tokenizer(params.model.kobart.checkpoint, None, TAGS))["train"]
    args = trainer.arguments(params.training, folder=tmp_path, precision="float32")
    given: list[Any] = []
    step = Trainer.training_step

    def training_step(self: Any, *inputs: Any) -> Any:
        given.append(inputs)
        return step(self, *inputs)

    monkeypatch.setattr(Trainer, "training_step", training_step)
    monkeypatch.setattr(TrainingArguments, "world_size", processes)
    monkeypatch.setattr(packing, "PART", 1)
    trainer = trainer.SummaryTrainer(None, keep=1, model=model, args=args, train_dataset=rows, eval_dataset=rows)
    trainer.training_step(model, dict(batch), (batch["labels"] != -100).sum())
    assert len(given) == calls


@pytest.mark.parametrize("like_length", [True, False])
@pytest.mark.parametrize("rows", [1, 64, 67])
def test_rows_come_by_seed_and_epoch(rows: int, like_length: bool) -> None:
    from yoyak.training.trainer import Order

    lengths = [(at * 37) % 101 for at in range(rows)]

    def order(seed: int) -> Order:
        return Order(lengths, step=4, like_length=like_length, seed=seed)

    first = order(1)
    found = list(first)
    assert sorted(found) == list(range(rows)) == list(range(len(first)))
    assert list(first) == found == list(order(1))
    first.epoch = 1
    assert list(first) == list(order(2))
    assert rows == 1 or list(first) != found
    for start in range(0, rows, 4):
        step = [lengths[row] for row in found[start : start + 4]]
        assert step == sorted(step, reverse=True), "little padding where a step has several batches"


def test_steps_are_random_or_of_like_length() -> None:
    import torch

    from yoyak.training.trainer import Order

    lengths = [(at * 37) % 101 for at in range(67)]
    mixed, alike = (list(Order(lengths, step=4, like_length=like, seed=1)) for like in (False, True))
    plain = torch.randperm(67, generator=torch.Generator().manual_seed(1)).tolist()
    assert [{*mixed[at : at + 4]} for at in range(0, 67, 4)] == [{*plain[at : at + 4]} for at in range(0, 67, 4)]
    longest = {name: [lengths[rows[at]] for at in range(0, 67, 4)] for name, rows in (("mixed", mixed), ("alike", alike))}
    assert sum(longest["alike"]) < 0.8 * sum(longest["mixed"]), "less padding"
    pools = [longest["alike"][at : at + 4] for at in range(0, 16, 4)]  # transformers sorts so many together
    assert sum(pool == sorted(pool, reverse=True) for pool in pools) < 2, "not from long to short"


def test_resolved_arguments_say_nothing_of_the_place(values: dict[str, Any], tmp_path: Path) -> None:
    from yoyak.training import trainer

    first, second = (trainer.resolved(arguments(settings(values), tmp_path / name)) for name in ("a", "b"))
    assert first == second
    assert str(tmp_path) not in json.dumps(first)
    assert first["learning_rate"] == values["training"]["learning_rate"]
    assert list(first) == sorted(first)


def test_tokens_of_the_environment_are_not_recorded(params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from yoyak.training import trainer

    for name in ("HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "OPTUNA_STORAGE"):
        monkeypatch.setenv(name, "canary-secret")
    args = trainer.arguments(params.training, folder=tmp_path, precision="float32")
    args.hub_token = "canary-secret"
    assert "canary-secret" not in json.dumps(trainer.resolved(args), default=str)

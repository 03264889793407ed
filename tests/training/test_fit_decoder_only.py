"""Training of decoder-only models in 4 bits: what is what is saved, and what an evaluation does not change."""

import json
from pathlib import Path
from typing import Any

import datasets
import pytest
import torch
from transformers import TrainerCallback

from tests.conftest import DIALOGUES, SUMMARIES, batch_encoders, load_trained
from tests.models.test_lora import TOKENS, make_base, settings
from tests.training.helpers import REFERENCES
from yoyak.config.params import parse_params
from yoyak.config.sections import Params
from yoyak.data.collation import collate_chats
from yoyak.inference import decoding
from yoyak.models import adapters, causal_lm, lora, tokenizer_loading
from yoyak.models.families.base import TrainingSetup
from yoyak.training import fit
from yoyak.training.arguments import training_arguments

pytestmark = pytest.mark.slow


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return make_base(tmp_path / "base", "llama")


def run(
    base: Path, values: dict[str, Any], folder: Path, *, padding_free: bool = False, **changes: Any
) -> tuple[Any, Any, dict[str, Any], list[dict[str, Any]]]:
    """Train as the stage does, on the eight dialogues: (model, tokenizer, the result of `fit.train`, the trainer's log)."""
    values["model"]["family"] = "qlora"
    values["training"] |= {"per_device_train_batch_size": 4, "learning_rate": 1e-2, "label_smoothing_factor": 0.0} | changes
    params: Params = parse_params(values, source="test")
    chosen = settings(base)
    tokenizer = tokenizer_loading.load_tokenizer(str(base), None, (*params.tokenizer.special_tokens, TOKENS[1]))
    encode = batch_encoders("qlora", tokenizer, params.tokenizer, params.prompt)["train"]
    columns = encode(
        {
            "fname": [str(index) for index in range(8)],
            "dialogue": list(DIALOGUES),
            "summary": list(SUMMARIES),
            "topic": [""] * 8,
        }
    )
    rows = datasets.Dataset.from_dict({key: value for key, value in columns.items() if not key.startswith("_")})
    loaded, new = causal_lm.load(chosen, tokenizer, precision="float32")
    torch.manual_seed(0)
    model = lora.add_lora(loaded, params.lora, new_tokens=new, settings=chosen)
    log: list[dict[str, Any]] = []

    class Log(TrainerCallback):  # type: ignore[misc]
        def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            log.append(dict(kwargs["logs"]))

    collate = collate_chats(tokenizer.pad_token_id, padding_free=padding_free)
    result = fit.train(
        TrainingSetup(model, tokenizer, collate, "float32", lambda path: model.save_pretrained(str(path)), "tiny"),
        fit.TrainingData(datasets.DatasetDict(train=rows, dev=rows), REFERENCES, max_target_length=24),
        params.training,
        training_arguments(params.training, folder=folder, precision="float32"),
        callbacks=[Log()],
    )
    return model, tokenizer, result, log


def frozen_weights(model: Any) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters() if not p.requires_grad}


def test_the_dev_loss_is_the_same_for_any_batch_size(base: Path, values: dict[str, Any], tmp_path: Path) -> None:
    losses = []
    for number, (batch_size, padding_free) in enumerate([(8, False), (3, False), (3, True)]):
        log = run(
            base,
            values,
            tmp_path / str(number),
            padding_free=padding_free,
            num_train_epochs=1,
            learning_rate=1e-9,
            label_smoothing_factor=0.1,
            per_device_eval_batch_size=batch_size,
            predict_with_generate=False,
            metric_for_best_model="loss",
        )[3]
        losses += [entry["eval_loss"] for entry in log if "eval_loss" in entry]
    assert losses == pytest.approx([losses[0]] * 3, rel=1e-5)


def test_it_learns_and_only_the_adapter_changes(base: Path, values: dict[str, Any], tmp_path: Path) -> None:
    frozen, _, _, _ = run(base, values, tmp_path / "a", num_train_epochs=1, learning_rate=1e-9)
    model, _, result, log = run(base, values, tmp_path / "b", num_train_epochs=6)
    losses = [entry["eval_loss"] for entry in log if "eval_loss" in entry]
    assert len(losses) == 6 and losses[-1] < 0.8 * losses[0]
    assert {"eval_rouge1", "eval_rouge_sum"} <= {key for entry in log for key in entry}
    assert result["steps"] == 12
    before, after = frozen_weights(frozen), frozen_weights(model)
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
    assert all("lora_" in name or "trainable_tokens" in name for name, p in model.named_parameters() if p.requires_grad)


@pytest.mark.parametrize("rouge", [True, pytest.param(False, marks=pytest.mark.very_slow)])
def test_rouge_after_each_epoch_does_not_touch_the_training(
    base: Path, values: dict[str, Any], tmp_path: Path, *, rouge: bool
) -> None:
    """The losses would differ if an evaluation repacked the 4-bit layers, or used random numbers that dropout needs."""
    values["lora"]["lora_dropout"] = 0.1
    same: dict[str, Any] = {"num_train_epochs": 3, "metric_for_best_model": "loss", "seed": 3}
    evaluated = run(base, values, tmp_path / "a", predict_with_generate=rouge, **same)
    once = run(base, values, tmp_path / "b", predict_with_generate=False, per_device_eval_batch_size=1, **same)
    losses = [[entry["loss"] for entry in result[3] if "loss" in entry] for result in (evaluated, once)]
    assert losses[0] == losses[1] and len(losses[0]) > 3


def test_it_ends_with_the_best_adapter_and_its_token_rows(base: Path, values: dict[str, Any], tmp_path: Path) -> None:
    """At this learning rate an early epoch is better than the last. The model ends with its adapter and token rows."""
    model, tokenizer, result, log = run(
        base, values, tmp_path / "a", num_train_epochs=4, learning_rate=1.0, warmup_steps=16,
        metric_for_best_model="loss", predict_with_generate=False, early_stopping_patience=0,
    )  # fmt: skip
    losses = [entry["eval_loss"] for entry in log if "eval_loss" in entry]
    assert min(losses) < losses[-1], "choose another learning rate for this test"
    assert result["best_loss"] == pytest.approx(min(losses), abs=1e-3)
    rows = [
        {"input_ids": ids, "labels": [-100] * 5 + ids[5:]}
        for ids in tokenizer([f"{TOKENS[1]} {text}" for text in DIALOGUES[:2]]).input_ids
    ]
    batch = collate_chats(tokenizer.pad_token_id, padding_free=False)(rows)
    model.eval()
    folder = tmp_path / "adapter"
    folder.mkdir()
    adapters.save(model, tokenizer, folder, settings=settings(base), precision="float32")
    with torch.inference_mode():
        wanted = model(**batch).loss.item()
        again, _ = load_trained(folder)
        assert again(**batch).loss.item() == pytest.approx(wanted, rel=1e-4)


def test_two_runs_give_the_same_bytes(base: Path, values: dict[str, Any], tmp_path: Path) -> None:
    values["lora"]["lora_dropout"] = 0.1
    saved = []
    for name in ("a", "b"):
        model, tokenizer, _, _ = run(base, values, tmp_path / name)
        folder = tmp_path / f"adapter-{name}"
        folder.mkdir()
        adapters.save(model, tokenizer, folder, settings=settings(base), precision="float32")
        saved.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert saved[0] == saved[1]


@pytest.mark.very_slow
def test_gradient_checkpointing_changes_no_number(base: Path, values: dict[str, Any], tmp_path: Path) -> None:
    losses = []
    for checkpointing in (False, True):
        _, _, _, log = run(base, values, tmp_path / str(checkpointing), gradient_checkpointing=checkpointing)
        losses.append([entry["loss"] for entry in log if "loss" in entry])
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


@pytest.mark.parametrize(
    "optim",
    [
        "paged_adamw_8bit",
        pytest.param("paged_adamw_32bit", marks=pytest.mark.very_slow),
        pytest.param("adamw_bnb_8bit", marks=pytest.mark.very_slow),
    ],
)
def test_optimizers_of_bitsandbytes(base: Path, values: dict[str, Any], tmp_path: Path, optim: str) -> None:
    _, _, _, log = run(base, values, tmp_path / "a", optim=optim, num_train_epochs=4)
    losses = [entry["eval_loss"] for entry in log if "eval_loss" in entry]
    assert losses[-1] < losses[0]


def test_every_target_of_accumulated_batches_weighs_the_same(base: Path, values: dict[str, Any], tmp_path: Path) -> None:
    """Four batches of one row give the gradient of one batch of four, although the targets have different lengths."""
    norms = []
    for batch, accumulation in ((4, 1), (1, 4)):
        _, _, _, log = run(
            base, values, tmp_path / f"{batch}", per_device_train_batch_size=batch, gradient_accumulation_steps=accumulation,
            num_train_epochs=1, train_sampling_strategy="random",
        )  # fmt: skip
        norms.append([entry["grad_norm"] for entry in log if "grad_norm" in entry])
    assert norms[0][0] == pytest.approx(norms[1][0], rel=1e-3)


def test_label_smoothing_counts_only_targets(base: Path, values: dict[str, Any]) -> None:
    tokenizer = tokenizer_loading.load_tokenizer(str(base), None, ())
    loaded, _ = causal_lm.load(settings(base), tokenizer, precision="float32")
    params = parse_params(values, source="test")
    model = lora.add_lora(loaded, params.lora, new_tokens=[], settings=settings(base)).eval()
    from transformers.trainer_pt_utils import LabelSmoother

    ids = tokenizer(list(DIALOGUES[:2])).input_ids
    rows = [{"input_ids": row, "labels": [-100] * 6 + row[6:]} for row in ids]
    smoothed = []
    for flat in (False, True):
        batch = collate_chats(tokenizer.pad_token_id, padding_free=flat)(rows)
        labels = batch.pop("labels")
        smoothed.append(LabelSmoother(0.1)(model(**batch), labels, shift_labels=True).item())
    logits = [model(input_ids=torch.tensor([row])).logits[0, 5:-1].log_softmax(-1) for row in ids]
    wanted = torch.cat([torch.tensor(row[6:]) for row in ids])
    scores = torch.cat(logits)
    expected = -(0.9 * scores.gather(1, wanted[:, None])[:, 0] + 0.1 * scores.mean(-1)).mean().item()
    assert smoothed == pytest.approx([expected, expected], rel=1e-4)


def test_the_saved_adapter_names_its_base(base: Path, values: dict[str, Any], tmp_path: Path) -> None:
    model, tokenizer, _, _ = run(base, values, tmp_path / "a", num_train_epochs=1)
    line = lora.describe(model)
    assert "LoRA on down_proj, gate_proj, k_proj, o_proj, q_proj, up_proj, v_proj" in line
    adapters.save(model, tokenizer, tmp_path, settings=settings(base), precision="float32")
    record = json.loads((tmp_path / "base.json").read_text(encoding="utf-8"))
    assert record["quantization"] == "nf4" and record["precision"] == "float32"
    assert set(record["sha256"]) == {"config.json", "model.safetensors"}
    assert decoding.describe_decoding(parse_params(values, source="test").generation, backend="x").startswith(
        "max_new_tokens=8"
    )

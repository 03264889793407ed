"""memory.py: the estimate against what autograd really keeps, and advice that fits."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, BartConfig, PreTrainedConfig, T5Config

from tests.models.test_lora import CONFIGS, settings
from yoyak.config import presets
from yoyak.config.params import load_params
from yoyak.config.sections import Params
from yoyak.data.collation import collate_chats
from yoyak.models import causal_lm, checkpoints, lora, memory_estimate, tokenizer_loading

ROOT = Path(__file__).parents[2]
GIB = 2**30


def config_of(kind: str, vocabulary: int) -> PreTrainedConfig:
    make, more = CONFIGS[kind]
    more = {**more, "intermediate_size": 512 if kind == "gpt_neox" else 352}
    config: PreTrainedConfig = make(
        vocab_size=vocabulary, hidden_size=128, num_hidden_layers=4, num_attention_heads=4, max_position_embeddings=512, **more
    )
    return config


def changed(*changes: str) -> Params:
    return load_params(ROOT / "params.yaml", changes=["model.family=qlora", "tokenizer.special_tokens=[]", *changes])


def kept_for_backward(model: torch.nn.Module, batch: dict[str, Any], precision: str) -> int:
    """Bytes that autograd keeps of a forward pass, but for the model's own."""
    own = {tensor.untyped_storage().data_ptr() for tensor in [*model.parameters(), *model.buffers()]}
    kept: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = max(storage.nbytes(), kept.get(storage.data_ptr(), 0))
        return tensor

    with (
        torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"),
    ):
        model(**batch)
    return sum(kept.values())


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("dropout", [0.0, 0.05])
@pytest.mark.parametrize("kind", ["llama", "qwen3", "gpt_neox"])
def test_activations_are_what_autograd_keeps(kind: str, dropout: float, precision: str, tmp_path: Path) -> None:
    tokenizer = tokenizer_loading.load_tokenizer(str(ROOT / "models/base/llama-tiny"), None, ())
    config = config_of(kind, len(tokenizer))
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    params = changed(
        f"lora.lora_dropout={dropout}",
        "training.per_device_train_batch_size=4",
        "tokenizer.max_input_length=160",
        "tokenizer.max_target_length=20",
    )
    chosen = settings(tmp_path)
    base, _ = causal_lm.load(chosen, tokenizer, precision=precision)
    model = lora.add_lora(base, params.lora, new_tokens=[], settings=chosen).train()
    row = {"input_ids": [5] * 180, "labels": [-100] * 160 + [7] * 20}
    batch = collate_chats(tokenizer.pad_token_id, padding_free=False)([row] * 4)
    kept = kept_for_backward(model, batch, precision)
    found = memory_estimate.estimate_causal_lm(config, params, precision=precision)
    logits = 4 * 20 * config.vocab_size * 4  # of which autograd keeps the logarithms
    assert found.activations + logits == pytest.approx(kept, rel=0.3)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("lengths", [(160, 20), (60, 60)])
@pytest.mark.parametrize("kind", ["bart", "t5"])
def test_activations_of_encoder_decoders_are_what_autograd_keeps(kind: str, lengths: tuple[int, int], precision: str) -> None:
    shared = {"vocab_size": 2000, "d_model": 128, "decoder_start_token_id": 0}
    config: PreTrainedConfig = (
        BartConfig(
            **shared,
            encoder_layers=3,
            decoder_layers=4,
            encoder_attention_heads=4,
            decoder_attention_heads=4,
            encoder_ffn_dim=512,
            decoder_ffn_dim=512,
            max_position_embeddings=256,
        )
        if kind == "bart"
        else T5Config(
            **shared, d_kv=32, num_layers=3, num_decoder_layers=4, num_heads=4, d_ff=320, feed_forward_proj="gated-gelu"
        )
    )
    model = AutoModelForSeq2SeqLM.from_config(config).train()
    ids, labels = torch.full((4, lengths[0]), 5), torch.full((4, lengths[1]), 7)
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}
    kept = kept_for_backward(model, batch, precision)
    params = load_params(
        ROOT / "params.yaml",
        changes=[
            f"tokenizer.max_input_length={lengths[0]}",
            f"tokenizer.max_target_length={lengths[1]}",
            "training.per_device_train_batch_size=4",
            f"training.precision={precision}",
        ],
    )
    found = memory_estimate.estimate_encoder_decoder(config, params)
    logits = 4 * lengths[1] * config.vocab_size * 4  # of which autograd keeps the logarithms
    copies = model.num_parameters() * 2 if precision == "bfloat16" else 0  # of the weights, which the estimate counts with them
    assert found.activations + logits + copies == pytest.approx(kept, rel=0.3)


def test_the_peak_of_either_family_is_that_of_its_estimate() -> None:
    kobart = load_params(ROOT / "params.yaml")
    config = checkpoints.load_config(checkpoints.from_pretrained_arguments(str(ROOT / "models/base/kobart-tiny"), None))
    assert memory_estimate.estimate_for_params(kobart).peak == memory_estimate.estimate_encoder_decoder(config, kobart).peak
    larger = load_params(ROOT / "params.yaml", changes=["training.per_device_train_batch_size=64"])
    assert memory_estimate.estimate_for_params(larger).peak > 1.5 * (
        memory_estimate.estimate_for_params(kobart).peak - memory_estimate.CUDA_CONTEXT_BYTES
    )
    less = load_params(
        ROOT / "params.yaml", changes=["training.per_device_train_batch_size=64", "training.gradient_checkpointing=true"]
    )
    assert memory_estimate.estimate_for_params(less).peak < memory_estimate.estimate_for_params(larger).peak
    assert (
        memory_estimate.estimate_for_params(changed()).peak
        < memory_estimate.estimate_for_params(changed("training.per_device_train_batch_size=64")).peak
    )


def test_the_megabytes_of_a_base_are_those_of_its_weights_as_they_are_kept() -> None:
    parameters = memory_estimate.base_model_bytes(changed("model.qlora.quantization=none")) / 2
    assert parameters == pytest.approx(3.1e6, rel=0.02)
    assert (
        memory_estimate.base_model_bytes(changed())
        < memory_estimate.base_model_bytes(changed("model.qlora.quantization=int8"))
        < 2 * parameters
    )


def test_weights_and_adapter_are_what_is_loaded(tmp_path: Path) -> None:
    tokenizer = tokenizer_loading.load_tokenizer(str(ROOT / "models/base/llama-tiny"), None, ())
    config = config_of("llama-untied", len(tokenizer))
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    params = changed()
    chosen = settings(tmp_path)
    base, _ = causal_lm.load(chosen, tokenizer, precision="bfloat16")
    held = sum(p.numel() * p.element_size() for p in base.parameters())
    for layer in base.modules():
        state = getattr(getattr(layer, "weight", None), "quant_state", None)
        if state is not None:  # scales: 1 byte each for 64 weights, and for these again
            held += state.absmax.numel() + state.state2.absmax.numel() * 4
    found = memory_estimate.estimate_causal_lm(config, params, precision="bfloat16")
    unpacked = 128 * 352 * 2
    assert found.weights - unpacked == pytest.approx(held, rel=0.01)
    model = lora.add_lora(base, params.lora, new_tokens=[], settings=chosen)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert found.adapter == trained * (4 + 4 + 8)


def shape(name: str) -> PreTrainedConfig:
    return memory_estimate.config_from_shape(presets.read_preset(name, ROOT / "presets")[1]["shape"])


def big(name: str, **training: Any) -> Params:
    applied = presets.params_with_preset(name, folder=ROOT / "presets", params=ROOT / "params.yaml")
    return applied.model_copy(update={"training": applied.training.model_copy(update=training)})


@pytest.mark.parametrize(("name", "stated"), [("llama-3.2-korean-3b", 8), ("qwen3-4b", 10), ("llama-3-8b", 16)])
def test_training_is_near_the_peaks_that_users_stated(name: str, stated: int) -> None:
    """Feature M13, in decimal or binary GB, with other settings than ours perhaps: within a third."""
    assert memory_estimate.estimate_causal_lm(shape(name), big(name), precision="bfloat16").training / GIB == pytest.approx(
        stated, rel=0.34
    )


def test_each_setting_moves_the_estimate_the_right_way() -> None:
    config, start = shape("qwen3-4b"), big("qwen3-4b")
    before = memory_estimate.estimate_causal_lm(config, start, precision="bfloat16")
    assert (
        memory_estimate.estimate_causal_lm(
            config, big("qwen3-4b", gradient_checkpointing=False), precision="bfloat16"
        ).activations
        > 3 * before.activations
    )
    assert (
        memory_estimate.estimate_causal_lm(config, big("qwen3-4b", optim="paged_adamw_8bit"), precision="bfloat16").adapter
        < before.adapter
    )
    assert (
        memory_estimate.estimate_causal_lm(config, big("qwen3-4b", per_device_train_batch_size=12), precision="bfloat16").logits
        == 2 * before.logits
    )
    in_full = start.model_copy(
        update={
            "model": start.model.model_copy(update={"qlora": start.model.qlora.model_copy(update={"quantization": "none"})})
        }
    )
    assert memory_estimate.estimate_causal_lm(config, in_full, precision="bfloat16").weights == before.parameters * 2


def test_advice_is_taken_and_then_it_fits() -> None:
    config, start = shape("llama-3-8b"), big("llama-3-8b", gradient_checkpointing=False)
    free = 12 * GIB
    advice = memory_estimate.advise(config, start, precision="bfloat16", free=free)
    assert advice and advice.startswith("set training.gradient_checkpointing=True, ")
    values = {
        section: {
            name.removeprefix(f"{section}."): (value == "True" if value in ("True", "False") else int(value))
            for name, value in (part.split("=") for part in advice.removeprefix("set ").split(", "))
            if name.startswith(section)
        }
        for section in ("training", "generation")
    }
    took = start.model_copy(
        update={
            "training": start.training.model_copy(update=values["training"]),
            "generation": start.generation.model_copy(update=values["generation"]),
        }
    )
    assert memory_estimate.estimate_causal_lm(config, took, precision="bfloat16").peak <= free
    assert memory_estimate.advise(config, took, precision="bfloat16", free=free) is None
    training = took.training
    assert training.per_device_train_batch_size * training.gradient_accumulation_steps == 64  # the same rows a step


def test_what_can_not_fit_is_told() -> None:
    advice = memory_estimate.advise(shape("solar-10.7b"), big("solar-10.7b"), precision="bfloat16", free=3 * GIB)
    assert advice == "choose a smaller checkpoint, or a shorter tokenizer.max_input_length"

"""Memory estimates: compared with the memory that autograd keeps, and the advice that follows from them."""

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


def qlora_params(*changes: str) -> Params:
    return load_params(ROOT / "params.yaml", changes=["model.family=qlora", "tokenizer.special_tokens=[]", *changes])


def kept_for_backward(model: torch.nn.Module, batch: dict[str, Any], precision: str) -> int:
    """Bytes that autograd keeps for the backward pass, without the weights of the model."""
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
def test_activations_of_decoder_only_models_match_autograd(kind: str, dropout: float, precision: str, tmp_path: Path) -> None:
    tokenizer = tokenizer_loading.load_tokenizer(str(ROOT / "models/base/llama-tiny"), None, ())
    config = config_of(kind, len(tokenizer))
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    params = qlora_params(
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
    estimate = memory_estimate.estimate_causal_lm(config, params, precision=precision)
    logits = 4 * 20 * config.vocab_size * 4  # autograd keeps the log-probabilities
    assert estimate.activations + logits == pytest.approx(kept, rel=0.3)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("lengths", [(160, 20), (60, 60)])
@pytest.mark.parametrize("kind", ["bart", "t5"])
def test_activations_of_encoder_decoders_match_autograd(kind: str, lengths: tuple[int, int], precision: str) -> None:
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
    estimate = memory_estimate.estimate_encoder_decoder(config, params)
    logits = 4 * lengths[1] * config.vocab_size * 4  # autograd keeps the log-probabilities
    copies = model.num_parameters() * 2 if precision == "bfloat16" else 0  # of the weights; the estimate counts them as weights
    assert estimate.activations + logits + copies == pytest.approx(kept, rel=0.3)


def test_the_estimate_for_params_is_that_of_the_family() -> None:
    kobart = load_params(ROOT / "params.yaml")
    config = checkpoints.load_config(checkpoints.from_pretrained_arguments(str(ROOT / "models/base/kobart-tiny"), None))
    assert memory_estimate.estimate_for_params(kobart).peak == memory_estimate.estimate_encoder_decoder(config, kobart).peak
    larger = load_params(ROOT / "params.yaml", changes=["training.per_device_train_batch_size=64"])
    assert memory_estimate.estimate_for_params(larger).peak > 1.5 * (
        memory_estimate.estimate_for_params(kobart).peak - memory_estimate.CUDA_CONTEXT_BYTES
    )
    checkpointed = load_params(
        ROOT / "params.yaml", changes=["training.per_device_train_batch_size=64", "training.gradient_checkpointing=true"]
    )
    assert memory_estimate.estimate_for_params(checkpointed).peak < memory_estimate.estimate_for_params(larger).peak
    assert (
        memory_estimate.estimate_for_params(qlora_params()).peak
        < memory_estimate.estimate_for_params(qlora_params("training.per_device_train_batch_size=64")).peak
    )


def test_the_bytes_of_a_base_follow_its_quantization() -> None:
    parameters = memory_estimate.base_model_bytes(qlora_params("model.qlora.quantization=none")) / 2
    assert parameters == pytest.approx(3.1e6, rel=0.02)
    assert (
        memory_estimate.base_model_bytes(qlora_params())
        < memory_estimate.base_model_bytes(qlora_params("model.qlora.quantization=int8"))
        < 2 * parameters
    )


def test_weights_and_adapter_match_the_loaded_model(tmp_path: Path) -> None:
    tokenizer = tokenizer_loading.load_tokenizer(str(ROOT / "models/base/llama-tiny"), None, ())
    config = config_of("llama-untied", len(tokenizer))
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    params = qlora_params()
    chosen = settings(tmp_path)
    base, _ = causal_lm.load(chosen, tokenizer, precision="bfloat16")
    actual = sum(p.numel() * p.element_size() for p in base.parameters())
    for layer in base.modules():
        state = getattr(getattr(layer, "weight", None), "quant_state", None)
        if state is not None:  # one byte for the scale of 64 weights, and float32 scales of these scales
            actual += state.absmax.numel() + state.state2.absmax.numel() * 4
    estimate = memory_estimate.estimate_causal_lm(config, params, precision="bfloat16")
    dequantized = 128 * 352 * 2  # the largest layer
    assert estimate.weights - dequantized == pytest.approx(actual, rel=0.01)
    model = lora.add_lora(base, params.lora, new_tokens=[], settings=chosen)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert estimate.adapter == trained * (4 + 4 + 8)


def config_of_preset(name: str) -> PreTrainedConfig:
    return memory_estimate.config_from_shape(presets.read_preset(name, ROOT / "presets")[1]["shape"])


def params_of_preset(name: str, **training: Any) -> Params:
    params = presets.params_with_preset(name, folder=ROOT / "presets", params=ROOT / "params.yaml")
    return params.model_copy(update={"training": params.training.model_copy(update=training)})


@pytest.mark.parametrize(("name", "reported"), [("llama-3.2-korean-3b", 8), ("qwen3-4b", 10), ("llama-3-8b", 16)])
def test_training_is_near_the_peaks_that_users_reported(name: str, reported: int) -> None:
    """Within a third: users do not say whether a GB is decimal, and their settings may differ from ours."""
    assert memory_estimate.estimate_causal_lm(
        config_of_preset(name), params_of_preset(name), precision="bfloat16"
    ).training / GIB == pytest.approx(reported, rel=0.34)


def test_settings_that_save_memory_lower_the_estimate() -> None:
    config, start = config_of_preset("qwen3-4b"), params_of_preset("qwen3-4b")
    before = memory_estimate.estimate_causal_lm(config, start, precision="bfloat16")
    assert (
        memory_estimate.estimate_causal_lm(
            config, params_of_preset("qwen3-4b", gradient_checkpointing=False), precision="bfloat16"
        ).activations
        > 3 * before.activations
    )
    assert (
        memory_estimate.estimate_causal_lm(
            config, params_of_preset("qwen3-4b", optim="paged_adamw_8bit"), precision="bfloat16"
        ).adapter
        < before.adapter
    )
    assert (
        memory_estimate.estimate_causal_lm(
            config, params_of_preset("qwen3-4b", per_device_train_batch_size=12), precision="bfloat16"
        ).logits
        == 2 * before.logits
    )
    objective = start.training.objective.model_copy(update={"name": "r_drop"})
    twice = memory_estimate.estimate_causal_lm(
        config, params_of_preset("qwen3-4b", objective=objective, ema_decay=0.9), precision="bfloat16"
    )
    assert (twice.logits, twice.activations) == (2 * before.logits, 2 * before.activations), "each batch is read twice"
    assert twice.adapter > before.adapter
    unquantized = start.model_copy(
        update={
            "model": start.model.model_copy(update={"qlora": start.model.qlora.model_copy(update={"quantization": "none"})})
        }
    )
    assert memory_estimate.estimate_causal_lm(config, unquantized, precision="bfloat16").weights == before.parameters * 2


def test_training_fits_after_the_advice_is_followed() -> None:
    config, start = config_of_preset("llama-3-8b"), params_of_preset("llama-3-8b", gradient_checkpointing=False)
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
    advised = start.model_copy(
        update={
            "training": start.training.model_copy(update=values["training"]),
            "generation": start.generation.model_copy(update=values["generation"]),
        }
    )
    assert memory_estimate.estimate_causal_lm(config, advised, precision="bfloat16").peak <= free
    assert memory_estimate.advise(config, advised, precision="bfloat16", free=free) is None
    training = advised.training
    assert (
        training.per_device_train_batch_size * training.gradient_accumulation_steps == 64
    )  # the same number of rows in a step


def test_the_advice_for_a_model_that_cannot_fit_is_a_smaller_one() -> None:
    advice = memory_estimate.advise(
        config_of_preset("solar-10.7b"), params_of_preset("solar-10.7b"), precision="bfloat16", free=3 * GIB
    )
    assert advice == "choose a smaller checkpoint, or a shorter tokenizer.max_input_length"

"""LoRA on small random Llama, Qwen and GPT-NeoX models, quantized to NF4 by bitsandbytes on this machine."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from bitsandbytes.nn.modules import Linear4bit
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForCausalLM,
    GPTNeoXConfig,
    LlamaConfig,
    PreTrainedTokenizerBase,
    Qwen3Config,
)

from tests.conftest import DIALOGUES, generate_with_transformers, load_trained
from yoyak.config.sections import Params, QuantizedCheckpoint
from yoyak.data.collation import collate_chats
from yoyak.models import adapters, causal_lm, lora, tokenizer_loading
from yoyak.system.errors import YoyakError

ROOT = Path(__file__).parents[2]
TINY = "models/base/llama-tiny"
TOKENS = ("#Person1#", "#Nowhere#")  # llama-tiny has the first one, but not the second


def settings(folder: Path, **changes: Any) -> QuantizedCheckpoint:
    values: dict[str, Any] = {
        "checkpoint": str(folder),
        "revision": None,
        "quantization": "nf4",
        "double_quantization": True,
        "attention": "auto",
        "padding_free": "auto",
        "offload_folder": None,
    }
    return QuantizedCheckpoint(**{**values, **changes})


def params_with_base(base: QuantizedCheckpoint) -> Any:
    """An object with only `model.qlora`, which names this base."""
    return SimpleNamespace(model=SimpleNamespace(qlora=base))


CONFIGS: dict[str, Any] = {
    "llama": (LlamaConfig, {"num_key_value_heads": 2, "intermediate_size": 128, "tie_word_embeddings": True}),
    "llama-untied": (LlamaConfig, {"num_key_value_heads": 2, "intermediate_size": 128, "tie_word_embeddings": False}),
    "qwen3": (Qwen3Config, {"num_key_value_heads": 2, "head_dim": 32, "intermediate_size": 128, "tie_word_embeddings": True}),
    "gpt_neox": (GPTNeoXConfig, {"intermediate_size": 256, "rotary_pct": 0.5}),
}


def make_base(folder: Path, kind: str, *, seed: int = 0, spare_rows: int = 0) -> Path:
    """Save a random model with the tokenizer of llama-tiny. Its embedding has `spare_rows` more rows than the vocabulary."""
    tokenizer = tokenizer_loading.load_tokenizer(str(ROOT / TINY), None, ())
    make, more = CONFIGS[kind]
    torch.manual_seed(seed)
    config = make(
        vocab_size=len(tokenizer) + spare_rows,
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=512,
        initializer_range=0.2,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **more,
    )
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module", params=list(CONFIGS))
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("base") / str(request.param), str(request.param))


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("llama") / "llama", "llama")


def model_with_lora(folder: Path, params: Params, *, special: tuple[str, ...] = TOKENS, **changes: Any) -> tuple[Any, Any]:
    """A quantized base with a LoRA whose weights are not zero, and its tokenizer."""
    tokenizer = tokenizer_loading.load_tokenizer(str(folder), None, special)
    chosen = settings(folder, **changes)
    model, new = causal_lm.load(chosen, tokenizer, precision="float32")
    torch.manual_seed(1)
    model = lora.add_lora(model, params.lora, new_tokens=new, settings=chosen)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name or "trainable_tokens" in name:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    return model, tokenizer


def examples_of(tokenizer: PreTrainedTokenizerBase, count: int = 3) -> list[dict[str, list[int]]]:
    """Rows of different lengths, each with a prompt and a target."""
    examples = []
    for index, text in enumerate(DIALOGUES[:count]):
        prompt = [tokenizer.bos_token_id, *tokenizer(text).input_ids]
        target = [*tokenizer(f"{TOKENS[0]} {TOKENS[1]} {text[12 : 16 + 3 * index]}").input_ids, tokenizer.eos_token_id]
        examples.append({"input_ids": prompt + target, "labels": [-100] * len(prompt) + target})
    return examples


def gradients_of(model: Any) -> dict[str, torch.Tensor]:
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.requires_grad and p.grad is not None}


def loss_and_gradients(model: Any, batches: list[dict[str, Any]]) -> tuple[float, dict[str, torch.Tensor]]:
    """The loss, summed over all target tokens of the batches, and its gradients."""
    model.zero_grad()
    total = 0.0
    for batch in batches:
        loss = model(**batch, num_items_in_batch=1).loss  # with 1, the loss is the sum over tokens
        loss.backward()
        total += loss.item()
    return total, gradients_of(model)


def assert_close(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys() and one
    for name, value in one.items():
        scale = value.abs().max().item()
        torch.testing.assert_close(value, other[name], rtol=1e-3, atol=1e-4 * scale + 1e-9, msg=name)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_padding_and_packing_do_not_change_loss_and_gradients(base: Path, params: Params, attention: str) -> None:
    model, tokenizer = model_with_lora(base, params, attention=attention)
    model.eval()  # turns dropout off
    lora.keep_trainable_on_cpu(model)
    examples = examples_of(tokenizer)
    padded = collate_chats(tokenizer.pad_token_id, padding_free=False)
    packed = collate_chats(tokenizer.pad_token_id, padding_free=True)
    without_padding = [
        {
            "input_ids": torch.tensor([row["input_ids"]]),
            "labels": torch.tensor([row["labels"]]),
            "use_cache": False,
        }
        for row in examples
    ]  # one row in each batch, and logits at all positions
    loss, expected = loss_and_gradients(model, without_padding)
    for batches in (
        [padded([row]) for row in examples],
        [padded(examples)],
        [packed(examples)],
        [packed([row]) for row in examples],
    ):
        other_loss, actual = loss_and_gradients(model, batches)
        assert other_loss == pytest.approx(loss, rel=1e-4)
        assert_close(expected, actual)


def test_an_evaluation_does_not_change_the_gradients_of_training(base: Path, params: Params) -> None:
    """In eval mode on a CPU, bitsandbytes repacks 4-bit weights. Training would then continue with wrong gradients."""
    model, tokenizer = model_with_lora(base, params)
    batch = collate_chats(tokenizer.pad_token_id, padding_free=False)(examples_of(tokenizer))
    torch.manual_seed(2)
    model.train()
    _, before = loss_and_gradients(model, [batch])
    model.eval()
    with torch.inference_mode():
        model(**batch)
    ids = [row["input_ids"][:20] for row in examples_of(tokenizer)]
    generation = params.generation.model_copy(update={"max_new_tokens": 5, "num_beams": 1})
    generate_with_transformers(model, tokenizer, ids, DIALOGUES[:3], generation)
    torch.manual_seed(2)
    model.train()
    _, after = loss_and_gradients(model, [batch])
    assert_close(before, after)


def test_gradients_are_wrong_if_bitsandbytes_may_repack_the_weights(llama: Path, params: Params) -> None:
    """This shows that the test above would fail without `keep_trainable_on_cpu`, on a CPU with AVX512 for bfloat16."""
    model, tokenizer = model_with_lora(llama, params)
    layers = [module for module in model.modules() if hasattr(module, "support_avx512bf16_for_cpu")]
    assert len(layers) == 14 and not any(layer.support_avx512bf16_for_cpu for layer in layers)
    from bitsandbytes.functional import has_avx512bf16

    if not has_avx512bf16():  # type: ignore[no-untyped-call]
        pytest.skip("this CPU has no AVX512 with bfloat16")
    batch = collate_chats(tokenizer.pad_token_id, padding_free=False)(examples_of(tokenizer))
    _, before = loss_and_gradients(model, [batch])
    for layer in layers:
        layer.support_avx512bf16_for_cpu = True
    model.eval()
    with torch.inference_mode():
        model(**batch)
    model.train()
    _, after = loss_and_gradients(model, [batch])
    with pytest.raises(AssertionError):
        assert_close(before, after)


def test_every_linear_layer_except_the_output_layer_has_a_lora(base: Path, params: Params) -> None:
    model, _ = model_with_lora(base, params)
    layer_names = {name.rpartition(".")[2] for name in model.peft_config["default"].target_modules}
    neox = {"query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"}
    assert layer_names == (
        neox if base.name == "gpt_neox" else {f"{x}_proj" for x in ("q", "k", "v", "o", "gate", "up", "down")}
    )
    assert sum("lora_A" in name for name, _ in model.named_parameters()) == 2 * len(layer_names)
    assert all(p.dtype == torch.float32 for p in model.parameters() if p.requires_grad)


def test_linear_layers_are_quantized_to_nf4_with_double_quantization(base: Path, params: Params) -> None:
    model, _ = model_with_lora(base, params)
    quantized: list[Any] = [m for m in model.modules() if type(m) is Linear4bit]
    assert len(quantized) == (8 if base.name == "gpt_neox" else 14)
    for layer in quantized:
        assert layer.weight.quant_state.quant_type == "nf4" and layer.weight.quant_state.nested
        assert layer.weight.dtype == torch.uint8
    model, _ = model_with_lora(base, params, double_quantization=False)
    quantized = [m for m in model.modules() if type(m) is Linear4bit]
    assert quantized and not any(layer.weight.quant_state.nested for layer in quantized)


@pytest.mark.parametrize(("quantization", "kind"), [("int8", "Linear8bitLt"), ("none", "Linear")])
def test_quantization_can_be_int8_or_none(llama: Path, params: Params, quantization: str, kind: str) -> None:
    model, tokenizer = model_with_lora(llama, params, quantization=quantization)
    projection = model.base_model.model.model.layers[0].self_attn.q_proj.base_layer
    assert type(projection).__name__ == kind
    loss, gradients = loss_and_gradients(
        model, [collate_chats(tokenizer.pad_token_id, padding_free=False)(examples_of(tokenizer))]
    )
    assert loss > 0 and all(torch.isfinite(grad).all() for grad in gradients.values())


def test_a_new_token_starts_as_the_mean_of_its_pieces(base: Path) -> None:
    tokenizer = tokenizer_loading.load_tokenizer(str(base), None, TOKENS)
    own = tokenizer_loading.load_tokenizer(str(base), None, ())
    model, new = causal_lm.load(settings(base), tokenizer, precision="float32")
    assert new == [tokenizer.convert_tokens_to_ids(TOKENS[1])] == [len(own)]  # #Person1# is already in the vocabulary
    pieces = own(TOKENS[1]).input_ids
    assert len(pieces) > 1
    for weight in (model.get_input_embeddings().weight, model.get_output_embeddings().weight):
        torch.testing.assert_close(weight[new[0]], weight[pieces].mean(0))


def test_a_new_token_uses_a_spare_row_of_the_embedding(tmp_path: Path, params: Params) -> None:
    """The embedding of Qwen has more rows than its vocabulary has tokens."""
    folder = make_base(tmp_path / "spare", "qwen3", spare_rows=7)
    model, tokenizer = model_with_lora(folder, params)
    assert model.get_input_embeddings().weight.shape[0] == len(tokenizer) - 1 + 7


def test_only_rows_of_new_tokens_are_trained_with_the_gradients_of_peft(base: Path, params: Params) -> None:
    """`_forward_rows` gives the values and gradients of peft's own forward, which copies the whole embedding."""
    model, tokenizer = model_with_lora(base, params)
    batch = collate_chats(tokenizer.pad_token_id, padding_free=False)(examples_of(tokenizer))
    model.eval()
    lora.keep_trainable_on_cpu(model)
    loss, ours = loss_and_gradients(model, [batch])
    for module in model.modules():
        module.__dict__.pop("forward_adapters", None)  # restores the method of peft
    peft_loss, peft_gradients = loss_and_gradients(model, [batch])
    assert loss == pytest.approx(peft_loss, rel=1e-5)
    assert_close(peft_gradients, ours)
    tied = base.name in ("llama", "qwen3")
    trained_rows = {name: grad for name, grad in ours.items() if "trainable_tokens" in name}
    assert len(trained_rows) == (1 if tied else 2)
    assert all(grad.shape == (1, 64) and grad.abs().sum() > 0 for grad in trained_rows.values())


def generated_texts(model: Any, tokenizer: PreTrainedTokenizerBase, params: Params, *, beams: int = 1) -> list[str]:
    ids = [row["input_ids"][: 12 + 5 * index] for index, row in enumerate(examples_of(tokenizer))]
    generation = params.generation.model_copy(update={"max_new_tokens": 12, "num_beams": beams})
    outputs = generate_with_transformers(model, tokenizer, ids, DIALOGUES[:3], generation)
    return [output.text for output in outputs]


def test_the_saved_and_the_merged_model_write_the_same_texts(base: Path, params: Params, tmp_path: Path) -> None:
    model, tokenizer = model_with_lora(base, params)
    model.eval()
    expected = generated_texts(model, tokenizer, params, beams=2)
    assert len(set(expected)) > 1
    folder = tmp_path / "adapter"
    folder.mkdir()
    adapters.save(model, tokenizer, folder, settings=settings(base), precision="float32")
    again, own = load_trained(folder)
    assert generated_texts(again, own, params, beams=2) == expected
    merged = tmp_path / "merged"
    merged.mkdir()
    adapters.merge(folder, merged)
    assert not (merged / "adapter_config.json").exists()
    assert "quantization_config" not in json.loads((merged / "config.json").read_text())
    plain, own = load_trained(merged)
    assert type(plain).__name__.endswith("ForCausalLM")
    assert generated_texts(plain, own, params, beams=2) == expected


def test_peft_can_load_the_saved_adapter(base: Path, params: Params, tmp_path: Path) -> None:
    from peft import AutoPeftModelForCausalLM

    model, tokenizer = model_with_lora(base, params)
    adapters.save(model, tokenizer, tmp_path, settings=settings(base), precision="float32")
    weights = load_file(tmp_path / "adapter_model.safetensors")
    trained_count = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert sum(value.numel() for value in weights.values()) == trained_count
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(base)
    loaded = AutoPeftModelForCausalLM.from_pretrained(str(tmp_path))
    state = {name: value for name, value in loaded.state_dict().items() if "lora" in name}
    ours = {name: value for name, value in model.state_dict().items() if "lora" in name}
    assert state.keys() == ours.keys() and all(torch.equal(state[name], ours[name]) for name in state)


@pytest.fixture
def saved(llama: Path, params: Params, tmp_path: Path) -> Path:
    """A saved adapter and a copy of its base. A test may damage both."""
    own = tmp_path / "base"
    shutil.copytree(llama, own)
    model, tokenizer = model_with_lora(own, params)
    folder = tmp_path / "adapter"
    folder.mkdir()
    adapters.save(model, tokenizer, folder, settings=settings(own), precision="float32")
    return folder


def test_an_adapter_is_refused_if_its_base_has_changed(saved: Path, tmp_path: Path) -> None:
    make_base(tmp_path / "base", "llama", seed=5)
    with pytest.raises(
        YoyakError, match=r"adapter: .*base has changed since this adapter was trained on it \(model.safetensors differ"
    ):
        load_trained(saved)


def test_an_adapter_is_refused_if_params_name_another_base_or_revision(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(YoyakError, match=r"belongs to .*base .*model.qlora.checkpoint is elsewhere"):
        load_trained(saved, params_with_base(settings(Path("elsewhere"))))
    with pytest.raises(YoyakError, match=r"belongs to .*revision None.*model.qlora.revision is v2"):
        load_trained(saved, params_with_base(settings(tmp_path / "base", revision="v2")))
    load_trained(saved, params_with_base(settings(tmp_path / "base")))


def test_a_damaged_adapter_or_a_missing_record_is_a_clear_error(saved: Path) -> None:
    weights = saved / "adapter_model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[: len(content) // 2])
    with pytest.raises(YoyakError, match="adapter: the adapter cannot be loaded"):
        load_trained(saved)
    weights.write_bytes(content)
    state = load_file(weights)
    name = next(key for key in state if "lora_A" in key)
    del state[name]
    save_file(state, weights)
    with pytest.raises(YoyakError, match=r"adapter: .*weights.* missing"):
        load_trained(saved)
    (saved / "base.json").unlink()
    with pytest.raises(YoyakError, match=r"adapter has no base.json"):
        load_trained(saved)


def test_an_encoder_decoder_is_refused_and_the_error_names_its_family(tiny: Path) -> None:
    tokenizer = tokenizer_loading.load_tokenizer(str(tiny), None, ())
    with pytest.raises(YoyakError, match=r"set model\.family: kobart"):
        causal_lm.load(settings(tiny), tokenizer, precision="float32")


def test_bitsandbytes_without_its_library_is_a_clear_error(llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bitsandbytes import cextension

    monkeypatch.setattr(cextension, "lib", cextension.ErrorHandlerMockBNBNativeLibrary("no such library"))
    tokenizer = tokenizer_loading.load_tokenizer(str(llama), None, ())
    with pytest.raises(YoyakError, match=r"bitsandbytes has no compiled library for this device.*quantization: none"):
        causal_lm.load(settings(llama), tokenizer, precision="float32")
    causal_lm.load(settings(llama, quantization="none"), tokenizer, precision="float32")


def test_a_checkpoint_with_missing_weights_is_refused(llama: Path, tmp_path: Path) -> None:
    folder = tmp_path / "incomplete"
    shutil.copytree(llama, folder)
    state = load_file(folder / "model.safetensors")
    del state["model.layers.1.mlp.up_proj.weight"]
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    tokenizer = tokenizer_loading.load_tokenizer(str(folder), None, ())
    with pytest.raises(YoyakError, match=r"1 weights of the model are missing.*up_proj"):
        causal_lm.load(settings(folder), tokenizer, precision="float32")


def test_other_weights_are_frozen_and_keep_bfloat16(llama: Path, params: Params) -> None:
    chosen = settings(llama)
    tokenizer = tokenizer_loading.load_tokenizer(str(llama), None, TOKENS)
    base, new = causal_lm.load(chosen, tokenizer, precision="bfloat16")
    model: Any = lora.add_lora(base, params.lora, new_tokens=new, settings=chosen)
    for name, parameter in model.named_parameters():
        assert parameter.requires_grad == ("lora_" in name or "trainable_tokens" in name), name
    assert model.get_input_embeddings().weight.dtype == torch.bfloat16
    assert model.base_model.model.model.norm.weight.dtype == torch.bfloat16
    with torch.autocast("cpu", torch.bfloat16):
        loss, gradients = loss_and_gradients(
            model, [collate_chats(tokenizer.pad_token_id, padding_free=False)(examples_of(tokenizer))]
        )
    assert loss > 0 and all(grad.dtype == torch.float32 for grad in gradients.values())


def test_a_model_with_an_offload_folder_has_the_same_loss(llama: Path, params: Params, tmp_path: Path) -> None:
    model, tokenizer = model_with_lora(llama, params, offload_folder=str(tmp_path / "offload"))
    loss, gradients = loss_and_gradients(
        model, [collate_chats(tokenizer.pad_token_id, padding_free=False)(examples_of(tokenizer))]
    )
    plain, _ = model_with_lora(llama, params)
    expected, _ = loss_and_gradients(plain, [collate_chats(tokenizer.pad_token_id, padding_free=False)(examples_of(tokenizer))])
    assert loss == pytest.approx(expected, rel=1e-5) and gradients


def test_a_damaged_record_or_a_missing_base_is_a_clear_error(saved: Path, tmp_path: Path) -> None:
    record = json.loads((saved / "base.json").read_text(encoding="utf-8"))
    (saved / "base.json").write_text(json.dumps({key: value for key, value in record.items() if key != "sha256"}))
    with pytest.raises(YoyakError, match=r"base.json: sha256 is missing; the file is damaged"):
        load_trained(saved)
    (saved / "base.json").write_text("{")
    with pytest.raises(YoyakError, match=r"base.json: not JSON"):
        load_trained(saved)
    (saved / "base.json").write_text(json.dumps(record))
    (tmp_path / "base").rename(tmp_path / "moved")
    with pytest.raises(YoyakError, match=r"the folder .*base of its base is not here"):
        load_trained(saved)


def test_checkpoints_of_the_trainer_have_only_the_adapter(base: Path, params: Params, tmp_path: Path) -> None:
    """The Trainer saves them by `save_pretrained`. By default, peft would add the whole embedding if it was resized."""
    model, _ = model_with_lora(base, params)
    model.save_pretrained(str(tmp_path))
    weights = load_file(tmp_path / "adapter_model.safetensors")
    assert sum(value.numel() for value in weights.values()) == sum(p.numel() for p in model.parameters() if p.requires_grad)


def test_the_saved_config_lists_its_layers_in_order(saved: Path) -> None:
    layers = json.loads((saved / "adapter_config.json").read_text(encoding="utf-8"))["target_modules"]
    assert layers == sorted(layers) and len(layers) == 14

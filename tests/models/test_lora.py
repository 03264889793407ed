"""adapter.py: real NF4 through bitsandbytes on this machine, small random Llama, Qwen and GPT-NeoX models."""

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
NEW = ("#Person1#", "#Nowhere#")  # the second is in no vocabulary


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


def with_base(base: QuantizedCheckpoint) -> Any:
    """Params whose section model names this base."""
    return SimpleNamespace(model=SimpleNamespace(qlora=base))


CONFIGS: dict[str, Any] = {
    "llama": (LlamaConfig, {"num_key_value_heads": 2, "intermediate_size": 128, "tie_word_embeddings": True}),
    "llama-untied": (LlamaConfig, {"num_key_value_heads": 2, "intermediate_size": 128, "tie_word_embeddings": False}),
    "qwen3": (Qwen3Config, {"num_key_value_heads": 2, "head_dim": 32, "intermediate_size": 128, "tie_word_embeddings": True}),
    "gpt_neox": (GPTNeoXConfig, {"intermediate_size": 256, "rotary_pct": 0.5}),
}


def make_base(folder: Path, kind: str, *, seed: int = 0, rows: int = 0) -> Path:
    """A random model of this kind with llama-tiny's tokenizer, its embedding `rows` longer than the vocabulary."""
    tokenizer = tokenizer_loading.load_tokenizer(str(ROOT / TINY), None, ())
    make, more = CONFIGS[kind]
    torch.manual_seed(seed)
    config = make(
        vocab_size=len(tokenizer) + rows,
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


def tuned(folder: Path, params: Params, *, special: tuple[str, ...] = NEW, **changes: Any) -> tuple[Any, Any]:
    """A base in 4 bits with a LoRA that does something, and its tokenizer."""
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


def rows(tokenizer: PreTrainedTokenizerBase, count: int = 3) -> list[dict[str, list[int]]]:
    """Examples of unlike length, a prompt and a target each."""
    made = []
    for at, text in enumerate(DIALOGUES[:count]):
        prompt = [tokenizer.bos_token_id, *tokenizer(text).input_ids]
        target = [*tokenizer(f"{NEW[0]} {NEW[1]} {text[12 : 16 + 3 * at]}").input_ids, tokenizer.eos_token_id]
        made.append({"input_ids": prompt + target, "labels": [-100] * len(prompt) + target})
    return made


def gradients(model: Any) -> dict[str, torch.Tensor]:
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.requires_grad and p.grad is not None}


def of_all(model: Any, batches: list[dict[str, Any]]) -> tuple[float, dict[str, torch.Tensor]]:
    """Loss summed over all target tokens, and its gradients."""
    model.zero_grad()
    total = 0.0
    for batch in batches:
        loss = model(**batch, num_items_in_batch=1).loss  # one item: the sum over tokens
        loss.backward()
        total += loss.item()
    return total, gradients(model)


def assert_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys() and one
    for name, value in one.items():
        scale = value.abs().max().item()
        torch.testing.assert_close(value, other[name], rtol=1e-3, atol=1e-4 * scale + 1e-9, msg=name)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_loss_and_gradients_are_the_same_alone_padded_and_packed(base: Path, params: Params, attention: str) -> None:
    model, tokenizer = tuned(base, params, attention=attention)
    model.eval()  # no dropout; the adapter's gradients are wanted all the same
    lora.keep_trainable_on_cpu(model)
    examples = rows(tokenizer)
    padded = collate_chats(tokenizer.pad_token_id, padding_free=False)
    packed = collate_chats(tokenizer.pad_token_id, padding_free=True)
    whole = [
        {
            "input_ids": torch.tensor([row["input_ids"]]),
            "labels": torch.tensor([row["labels"]]),
            "use_cache": False,
        }
        for row in examples
    ]  # as transformers itself computes it: all logits, no padding
    loss, wanted = of_all(model, whole)
    for batches in (
        [padded([row]) for row in examples],
        [padded(examples)],
        [packed(examples)],
        [packed([row]) for row in examples],
    ):
        other, found = of_all(model, batches)
        assert other == pytest.approx(loss, rel=1e-4)
        assert_same(wanted, found)


def test_gradients_after_an_evaluation_are_those_before(base: Path, params: Params) -> None:
    """On a CPU bitsandbytes repacks 4-bit weights in eval mode, and then trains on with wrong gradients."""
    model, tokenizer = tuned(base, params)
    batch = collate_chats(tokenizer.pad_token_id, padding_free=False)(rows(tokenizer))
    torch.manual_seed(2)
    model.train()
    _, before = of_all(model, [batch])
    model.eval()
    with torch.inference_mode():
        model(**batch)
    ids = [row["input_ids"][:20] for row in rows(tokenizer)]
    writing = params.generation.model_copy(update={"max_new_tokens": 5, "num_beams": 1})
    generate_with_transformers(model, tokenizer, ids, DIALOGUES[:3], writing)
    torch.manual_seed(2)
    model.train()
    _, after = of_all(model, [batch])
    assert_same(before, after)


def test_a_repacked_layer_is_the_trap_that_the_test_above_guards(llama: Path, params: Params) -> None:
    """Without `train_in_4_bits` the gradients do change, where the CPU has what bitsandbytes repacks for."""
    model, tokenizer = tuned(llama, params)
    layers = [module for module in model.modules() if hasattr(module, "support_avx512bf16_for_cpu")]
    assert len(layers) == 14 and not any(layer.support_avx512bf16_for_cpu for layer in layers)
    from bitsandbytes.functional import has_avx512bf16

    if not has_avx512bf16():  # type: ignore[no-untyped-call]
        pytest.skip("this CPU has no AVX512 with bfloat16")
    batch = collate_chats(tokenizer.pad_token_id, padding_free=False)(rows(tokenizer))
    _, before = of_all(model, [batch])
    for layer in layers:
        layer.support_avx512bf16_for_cpu = True
    model.eval()
    with torch.inference_mode():
        model(**batch)
    model.train()
    _, after = of_all(model, [batch])
    with pytest.raises(AssertionError):
        assert_same(before, after)


def test_lora_is_on_every_linear_layer_but_the_head(base: Path, params: Params) -> None:
    model, _ = tuned(base, params)
    kinds = {name.rpartition(".")[2] for name in model.peft_config["default"].target_modules}
    neox = {"query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"}
    assert kinds == (neox if base.name == "gpt_neox" else {f"{x}_proj" for x in ("q", "k", "v", "o", "gate", "up", "down")})
    assert sum("lora_A" in name for name, _ in model.named_parameters()) == 2 * len(kinds)
    assert all(p.dtype == torch.float32 for p in model.parameters() if p.requires_grad)


def test_the_linear_layers_are_nf4_with_double_quantisation(base: Path, params: Params) -> None:
    model, _ = tuned(base, params)
    quantized: list[Any] = [m for m in model.modules() if type(m) is Linear4bit]
    assert len(quantized) == (8 if base.name == "gpt_neox" else 14)
    for layer in quantized:
        assert layer.weight.quant_state.quant_type == "nf4" and layer.weight.quant_state.nested
        assert layer.weight.dtype == torch.uint8
    model, _ = tuned(base, params, double_quantization=False)
    quantized = [m for m in model.modules() if type(m) is Linear4bit]
    assert quantized and not any(layer.weight.quant_state.nested for layer in quantized)


@pytest.mark.parametrize(("quantization", "kind"), [("int8", "Linear8bitLt"), ("none", "Linear")])
def test_eight_bits_or_none_by_param(llama: Path, params: Params, quantization: str, kind: str) -> None:
    model, tokenizer = tuned(llama, params, quantization=quantization)
    projection = model.base_model.model.model.layers[0].self_attn.q_proj.base_layer
    assert type(projection).__name__ == kind
    loss, found = of_all(model, [collate_chats(tokenizer.pad_token_id, padding_free=False)(rows(tokenizer))])
    assert loss > 0 and all(torch.isfinite(grad).all() for grad in found.values())


def test_a_new_token_starts_as_the_mean_of_its_pieces(base: Path) -> None:
    tokenizer = tokenizer_loading.load_tokenizer(str(base), None, NEW)
    own = tokenizer_loading.load_tokenizer(str(base), None, ())
    model, new = causal_lm.load(settings(base), tokenizer, precision="float32")
    assert new == [tokenizer.convert_tokens_to_ids(NEW[1])] == [len(own)]  # #Person1# is in the vocabulary already
    pieces = own(NEW[1]).input_ids
    assert len(pieces) > 1
    for weight in (model.get_input_embeddings().weight, model.get_output_embeddings().weight):
        torch.testing.assert_close(weight[new[0]], weight[pieces].mean(0))


def test_spare_rows_of_the_embedding_are_used_before_it_grows(tmp_path: Path, params: Params) -> None:
    """Qwen's embedding is longer than its vocabulary."""
    folder = make_base(tmp_path / "spare", "qwen3", rows=7)
    model, tokenizer = tuned(folder, params)
    assert model.get_input_embeddings().weight.shape[0] == len(tokenizer) - 1 + 7


def test_only_the_new_tokens_rows_are_trained_and_as_peft_would(base: Path, params: Params) -> None:
    """Our forward of the trained rows gives peft's own values and gradients, without its copies of the embedding."""
    model, tokenizer = tuned(base, params)
    batch = collate_chats(tokenizer.pad_token_id, padding_free=False)(rows(tokenizer))
    model.eval()
    lora.keep_trainable_on_cpu(model)
    loss, mine = of_all(model, [batch])
    for module in model.modules():
        module.__dict__.pop("forward_adapters", None)  # peft's own method again
    wanted, pefts = of_all(model, [batch])
    assert loss == pytest.approx(wanted, rel=1e-5)
    assert_same(pefts, mine)
    tied = base.name in ("llama", "qwen3")
    trained_rows = {name: grad for name, grad in mine.items() if "trainable_tokens" in name}
    assert len(trained_rows) == (1 if tied else 2)
    assert all(grad.shape == (1, 64) and grad.abs().sum() > 0 for grad in trained_rows.values())


def written(model: Any, tokenizer: PreTrainedTokenizerBase, params: Params, *, beams: int = 1) -> list[str]:
    ids = [row["input_ids"][: 12 + 5 * at] for at, row in enumerate(rows(tokenizer))]
    writing = params.generation.model_copy(update={"max_new_tokens": 12, "num_beams": beams})
    outputs = generate_with_transformers(model, tokenizer, ids, DIALOGUES[:3], writing)
    return [output.text for output in outputs]


def test_saved_and_loaded_it_writes_the_same_and_so_does_the_merged_model(base: Path, params: Params, tmp_path: Path) -> None:
    model, tokenizer = tuned(base, params)
    model.eval()
    wanted = written(model, tokenizer, params, beams=2)
    assert len(set(wanted)) > 1
    folder = tmp_path / "adapter"
    folder.mkdir()
    adapters.save(model, tokenizer, folder, settings=settings(base), precision="float32")
    again, own = load_trained(folder)
    assert written(again, own, params, beams=2) == wanted
    merged = tmp_path / "merged"
    merged.mkdir()
    adapters.merge(folder, merged)
    assert not (merged / "adapter_config.json").exists()
    assert "quantization_config" not in json.loads((merged / "config.json").read_text())
    plain, own = load_trained(merged)
    assert type(plain).__name__.endswith("ForCausalLM")
    assert written(plain, own, params, beams=2) == wanted


def test_the_adapter_is_small_and_what_peft_itself_loads(base: Path, params: Params, tmp_path: Path) -> None:
    from peft import AutoPeftModelForCausalLM

    model, tokenizer = tuned(base, params)
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
    """An adapter on a base of its own, which a test may damage."""
    own = tmp_path / "base"
    shutil.copytree(llama, own)
    model, tokenizer = tuned(own, params)
    folder = tmp_path / "adapter"
    folder.mkdir()
    adapters.save(model, tokenizer, folder, settings=settings(own), precision="float32")
    return folder


def test_an_adapter_on_a_base_that_has_changed_is_refused(saved: Path, tmp_path: Path) -> None:
    make_base(tmp_path / "base", "llama", seed=5)
    with pytest.raises(
        YoyakError, match=r"adapter: .*base has changed since this adapter was trained on it \(model.safetensors differ"
    ):
        load_trained(saved)


def test_an_adapter_of_another_base_or_revision_is_refused(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(YoyakError, match=r"belongs to .*base .*model.qlora.checkpoint is elsewhere"):
        load_trained(saved, with_base(settings(Path("elsewhere"))))
    with pytest.raises(YoyakError, match=r"belongs to .*revision None.*model.qlora.revision is v2"):
        load_trained(saved, with_base(settings(tmp_path / "base", revision="v2")))
    load_trained(saved, with_base(settings(tmp_path / "base")))


def test_an_adapter_without_its_record_or_damaged_is_told(saved: Path) -> None:
    weights = saved / "adapter_model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(YoyakError, match="adapter: the adapter cannot be loaded"):
        load_trained(saved)
    weights.write_bytes(whole)
    state = load_file(weights)
    name = next(key for key in state if "lora_A" in key)
    del state[name]
    save_file(state, weights)
    with pytest.raises(YoyakError, match=r"adapter: .*weights.* missing"):
        load_trained(saved)
    (saved / "base.json").unlink()
    with pytest.raises(YoyakError, match=r"adapter has no base.json"):
        load_trained(saved)


def test_an_encoder_decoder_is_refused_with_the_other_family(tiny: Path) -> None:
    tokenizer = tokenizer_loading.load_tokenizer(str(tiny), None, ())
    with pytest.raises(YoyakError, match=r"set model\.family: kobart"):
        causal_lm.load(settings(tiny), tokenizer, precision="float32")


def test_bitsandbytes_without_its_library_is_told(llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bitsandbytes import cextension

    monkeypatch.setattr(cextension, "lib", cextension.ErrorHandlerMockBNBNativeLibrary("no such library"))
    tokenizer = tokenizer_loading.load_tokenizer(str(llama), None, ())
    with pytest.raises(YoyakError, match=r"bitsandbytes has no compiled library for this device.*quantization: none"):
        causal_lm.load(settings(llama), tokenizer, precision="float32")
    causal_lm.load(settings(llama, quantization="none"), tokenizer, precision="float32")


def test_a_checkpoint_with_missing_weights_is_refused(llama: Path, tmp_path: Path) -> None:
    folder = tmp_path / "holes"
    shutil.copytree(llama, folder)
    state = load_file(folder / "model.safetensors")
    del state["model.layers.1.mlp.up_proj.weight"]
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    tokenizer = tokenizer_loading.load_tokenizer(str(folder), None, ())
    with pytest.raises(YoyakError, match=r"1 weights of the model are missing.*up_proj"):
        causal_lm.load(settings(folder), tokenizer, precision="float32")


def test_what_is_not_trained_is_frozen_and_half_precision_stays_half(llama: Path, params: Params) -> None:
    chosen = settings(llama)
    tokenizer = tokenizer_loading.load_tokenizer(str(llama), None, NEW)
    untuned, new = causal_lm.load(chosen, tokenizer, precision="bfloat16")
    model: Any = lora.add_lora(untuned, params.lora, new_tokens=new, settings=chosen)
    for name, parameter in model.named_parameters():
        assert parameter.requires_grad == ("lora_" in name or "trainable_tokens" in name), name
    assert model.get_input_embeddings().weight.dtype == torch.bfloat16
    assert model.base_model.model.model.norm.weight.dtype == torch.bfloat16
    with torch.autocast("cpu", torch.bfloat16):
        loss, found = of_all(model, [collate_chats(tokenizer.pad_token_id, padding_free=False)(rows(tokenizer))])
    assert loss > 0 and all(grad.dtype == torch.float32 for grad in found.values())


def test_an_offload_folder_is_passed_on_and_the_model_works(llama: Path, params: Params, tmp_path: Path) -> None:
    model, tokenizer = tuned(llama, params, offload_folder=str(tmp_path / "offload"))
    loss, found = of_all(model, [collate_chats(tokenizer.pad_token_id, padding_free=False)(rows(tokenizer))])
    plain, _ = tuned(llama, params)
    wanted, _ = of_all(plain, [collate_chats(tokenizer.pad_token_id, padding_free=False)(rows(tokenizer))])
    assert loss == pytest.approx(wanted, rel=1e-5) and found


def test_a_record_that_is_damaged_or_whose_base_has_gone_is_told(saved: Path, tmp_path: Path) -> None:
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


def test_checkpoints_in_training_hold_the_adapter_alone(base: Path, params: Params, tmp_path: Path) -> None:
    """As the Trainer saves them: for a resized embedding peft's default would add the whole of it."""
    model, _ = tuned(base, params)
    model.save_pretrained(str(tmp_path))
    weights = load_file(tmp_path / "adapter_model.safetensors")
    assert sum(value.numel() for value in weights.values()) == sum(p.numel() for p in model.parameters() if p.requires_grad)


def test_the_layers_of_the_saved_config_are_in_order(saved: Path) -> None:
    layers = json.loads((saved / "adapter_config.json").read_text(encoding="utf-8"))["target_modules"]
    assert layers == sorted(layers) and len(layers) == 14

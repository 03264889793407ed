"""The backend `vllm`: what it refuses, and the folders and requests that the engine gets.

The engine of most tests is a stand-in that loads the same folders with transformers and peft and takes the same arguments as
vLLM 0.32. The last test needs the real one, which pins other packages than yoyak (docs/how-to/use-a-gpu.md).
"""

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar, Literal

import pytest
import torch

from tests.conftest import DIALOGUES, ROOT
from yoyak.config.generation_section import Consensus, Generation
from yoyak.config.sections import Lora, QuantizedCheckpoint
from yoyak.inference.backend_choice import choose_backend
from yoyak.inference.backends import vllm as backend
from yoyak.inference.backends.transformers import TransformersWriter
from yoyak.models import causal_lm, lora, tokenizer_loading
from yoyak.models.families.base import LoadedModel
from yoyak.system.errors import YoyakError

TINY = ROOT / "models/base/llama-tiny"
PLAIN = Generation.plain(max_new_tokens=12, num_beams=1)
BEAMS = PLAIN.model_copy(update={"num_beams": 3, "length_penalty": 0.0, "early_stopping": "never"})
WEIGHTED = Consensus(**Consensus.off().model_dump() | {"candidates": 2, "weights": "probability"})


def tuned_llama(quantization: Literal["none", "nf4"] = "none") -> LoadedModel:
    """llama-tiny with a LoRA of random numbers and changed rows of the new tokens."""
    settings = QuantizedCheckpoint(
        checkpoint=str(TINY),
        revision=None,
        quantization=quantization,
        double_quantization=True,
        attention="sdpa",
        padding_free="never",
        offload_folder=None,
    )
    tokenizer = tokenizer_loading.load_tokenizer(str(TINY), None, ["#Person1#", "#New#"], pad_with_eos=True)
    base, new = causal_lm.load(settings, tokenizer, precision="float32")
    assert new
    model: Any = lora.add_lora(base, Lora(r=4, lora_alpha=8, lora_dropout=0.0), new_tokens=new, settings=settings)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    return LoadedModel("qlora", model.eval(), tokenizer)


def prompts_of(tokenizer: Any, count: int = 4) -> list[list[int]]:
    return [tokenizer(f"#New# {text}", add_special_tokens=False).input_ids for text in DIALOGUES[:count]]


@dataclass
class SamplingParams:
    """The arguments of vLLM's class that the backend uses, with vLLM's defaults."""

    max_tokens: int = 16
    min_tokens: int = 0
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    seed: int | None = None
    repetition_penalty: float = 1.0
    stop_token_ids: list[int] = field(default_factory=list)
    detokenize: bool = True


@dataclass
class BeamSearchParams:
    beam_width: int
    max_tokens: int
    length_penalty: float = 1.0


@dataclass
class LoRARequest:
    lora_name: str
    lora_int_id: int
    lora_path: str


class StandIn:
    """vLLM's LLM, as far as the backend uses it, on transformers and peft."""

    started: ClassVar[list[dict[str, Any]]] = []

    def __init__(self, model: str, **kwargs: Any) -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self.started.append(kwargs)
        self.model: Any = AutoModelForCausalLM.from_pretrained(model, dtype=getattr(torch, kwargs["dtype"])).eval()
        self.tokenizer = AutoTokenizer.from_pretrained(model)
        self.requests: list[Any] = []

    def _write(self, prompt: dict[str, Any], adapter: LoRARequest | None, **settings: Any) -> Any:
        from peft import PeftModel

        if adapter and not isinstance(self.model, PeftModel):
            assert "trainable_token" not in Path(adapter.lora_path, "adapter_config.json").read_text(encoding="utf-8")
            self.model = PeftModel.from_pretrained(self.model, adapter.lora_path).eval()
        ids = torch.tensor([prompt["prompt_token_ids"]])
        out = self.model.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), do_sample=False, pad_token_id=0, **settings
        )
        return out[0].tolist()

    def generate(self, prompts: Any, params: list[SamplingParams], *, use_tqdm: bool, lora_request: Any) -> list[Any]:
        self.requests.append(params)
        results = []
        for prompt, one in zip(prompts, params, strict=True):
            settings = {"min_new_tokens": one.min_tokens or None, "repetition_penalty": one.repetition_penalty}
            tokens = self._write(
                prompt, lora_request, max_new_tokens=one.max_tokens, eos_token_id=one.stop_token_ids, **settings
            )
            new = tokens[len(prompt["prompt_token_ids"]) :]
            results.append(SimpleNamespace(outputs=[SimpleNamespace(token_ids=new)]))
        return results

    def beam_search(self, prompts: Any, params: BeamSearchParams, lora_request: Any, use_tqdm: bool) -> list[Any]:
        settings = {"num_beams": params.beam_width, "early_stopping": "never", "length_penalty": params.length_penalty}
        ends = self.tokenizer.eos_token_id
        return [
            SimpleNamespace(
                sequences=[
                    SimpleNamespace(
                        tokens=self._write(
                            prompt, lora_request, max_new_tokens=params.max_tokens, eos_token_id=ends, **settings
                        )
                    )
                ]
            )
            for prompt in prompts
        ]


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> type[StandIn]:
    modules: dict[str, Any] = {
        "vllm": ModuleType("vllm"),
        "vllm.lora": ModuleType("vllm.lora"),
        "vllm.lora.request": ModuleType("vllm.lora.request"),
        "vllm.sampling_params": ModuleType("vllm.sampling_params"),
    }
    modules["vllm"].LLM, modules["vllm"].SamplingParams = StandIn, SamplingParams
    modules["vllm.lora.request"].LoRARequest = LoRARequest
    modules["vllm.sampling_params"].BeamSearchParams = BeamSearchParams
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(backend, "is_installed", lambda: True)
    monkeypatch.setattr(StandIn, "started", [])
    return StandIn


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"no_repeat_ngram_size": 3}, "generation.no_repeat_ngram_size"),
        ({"blocked_scripts": ["han"]}, "generation.blocked_scripts"),
        ({"num_beams": 2}, "generation.length_penalty other than 0 with num_beams"),
        ({"num_beams": 2, "length_penalty": 0.0}, "generation.early_stopping other than never with num_beams"),
        (
            {**BEAMS.model_dump(include={"num_beams", "length_penalty", "early_stopping"}), "min_new_tokens": 3},
            "min_new_tokens",
        ),
        ({"consensus": WEIGHTED}, "generation.consensus.weights probability"),
        (
            {"consensus": WEIGHTED.model_copy(update={"source": "beams", "weights": "auto"})},
            "generation.consensus.source beams",
        ),
    ],
)
def test_a_setting_without_an_equivalent_is_named(changes: dict[str, Any], named: str) -> None:
    (reason,) = backend.setting_reasons(PLAIN.model_copy(update=changes))
    assert reason.startswith("vLLM has no equivalent of ") and named in reason


def test_settings_with_an_equivalent_are_accepted() -> None:
    sampling = {
        "do_sample": True,
        "temperature": 0.7,
        "top_p": 0.9,
        "top_k": 20,
        "repetition_penalty": 1.2,
        "min_new_tokens": 3,
    }
    assert not backend.setting_reasons(PLAIN.model_copy(update=sampling))
    assert not backend.setting_reasons(BEAMS)
    prompts = WEIGHTED.model_copy(update={"source": "prompts", "weights": "auto"})
    assert not backend.setting_reasons(PLAIN.model_copy(update={"consensus": prompts}))


def test_it_refuses_an_encoder_decoder_and_says_if_it_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import BartConfig, BartForConditionalGeneration

    narrow = {
        "d_model": 8,
        "encoder_ffn_dim": 8,
        "decoder_ffn_dim": 8,
        "encoder_attention_heads": 1,
        "decoder_attention_heads": 1,
    }
    bart = BartForConditionalGeneration(BartConfig(vocab_size=99, encoder_layers=1, decoder_layers=1, **narrow))
    loaded = LoadedModel("kobart", bart, None)
    monkeypatch.setattr(backend, "is_installed", lambda: False)
    named = PLAIN.model_copy(update={"backend": "vllm"})
    with pytest.raises(YoyakError, match=r"generation.backend: vllm: vLLM is not installed .*no encoder-decoders such as bart"):
        choose_backend(loaded, named, threads=1)
    assert "has no transformers model" in backend.BACKEND.why_not(LoadedModel("endpoint", object(), None), PLAIN)  # type: ignore[operator]


@pytest.mark.parametrize("settings", [PLAIN, BEAMS, PLAIN.model_copy(update={"repetition_penalty": 1.3, "min_new_tokens": 5})])
def test_the_engine_gets_the_model_with_its_adapter_beside_it(stand_in: type[StandIn], settings: Generation) -> None:
    loaded = tuned_llama()
    prompts = prompts_of(loaded.tokenizer)
    expected = TransformersWriter(loaded, settings).write(prompts, [""] * 4, seed=1)
    writer = choose_backend(loaded, settings.model_copy(update={"backend": "vllm"}), threads=1).writer
    assert writer.write(prompts, [""] * 4, seed=1) == expected
    (started,) = stand_in.started
    assert (started["enable_lora"], started["max_lora_rank"], started["dtype"]) == (True, 8, "float32")
    assert all(parameter.numel() == 0 for parameter in loaded.model.parameters() if not parameter.is_meta)


def test_other_settings_use_the_engine_that_runs(stand_in: type[StandIn]) -> None:
    loaded = tuned_llama()
    prompts = prompts_of(loaded.tokenizer, 1)
    for temperature in (0.5, 0.9):
        drawn = PLAIN.model_copy(update={"do_sample": True, "temperature": temperature, "top_k": 7, "seed": 3})
        writer: Any = backend.BACKEND.open(loaded, drawn, threads=1)
        writer.write(prompts, [""], seed=5)
        (asked,) = writer.engine.requests[-1]
        assert (asked.temperature, asked.top_k, asked.seed, asked.max_tokens) == (temperature, 7, 5, 12)
    assert len(stand_in.started) == 1


def test_a_quantized_base_is_served_with_the_values_of_its_quantized_weights(stand_in: type[StandIn]) -> None:
    loaded = tuned_llama("nf4")
    prompts = prompts_of(loaded.tokenizer, 2)
    expected = TransformersWriter(loaded, PLAIN).write(prompts, ["", ""], seed=1)
    writer: Any = backend.BACKEND.open(loaded, PLAIN, threads=1)
    assert writer.write(prompts, ["", ""], seed=1) == expected
    assert "quantization_config" not in json.loads((writer.served.base / "config.json").read_text(encoding="utf-8"))


def test_an_engine_that_cannot_start_is_an_error_that_names_the_setting(
    stand_in: type[StandIn], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Any, model: str, **_: Any) -> None:
        raise ValueError("No available memory for the cache blocks.\nSecond line")

    monkeypatch.setattr(stand_in, "__init__", refuse)
    with pytest.raises(YoyakError, match=r"generation.backend: vllm: the engine cannot start: No available memory"):
        backend.BACKEND.open(tuned_llama(), PLAIN, threads=1)


@pytest.mark.very_slow
def test_the_real_engine_writes_what_transformers_writes() -> None:
    pytest.importorskip("vllm", reason="vLLM pins other packages than yoyak; docs/how-to/use-a-gpu.md says how to install it")
    from bench.gpu import decoding

    figures = decoding.vllm(small=True)
    assert figures["same"] + figures["near ties"] == figures["texts"]

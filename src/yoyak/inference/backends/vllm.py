"""The backend `vllm`: vLLM's engine writes with a decoder-only model. A LoRA adapter is served beside its base, not merged.

The base is written once to a temporary folder, with its weights as they compute: dequantized, and with the trained rows of new
tokens, which vLLM cannot take from an adapter.
"""

import json
import os
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel, get_peft_model_state_dict
from peft.tuners.trainable_tokens.layer import TrainableTokensLayer
from safetensors.torch import save_file
from transformers import PreTrainedModel

from yoyak.config.generation_section import Generation
from yoyak.inference.backends.base import Backend
from yoyak.inference.outputs import Output, outputs_from_tokens
from yoyak.models.checkpoints import one_line
from yoyak.models.families.base import LoadedModel
from yoyak.models.lora import silence_known_warnings
from yoyak.models.tokenizer_loading import save_tokenizer
from yoyak.system import resumable
from yoyak.system.errors import YoyakError

LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # values of vLLM's max_lora_rank
ENVIRONMENT = {
    "VLLM_NO_USAGE_STATS": "1",  # vLLM would send data about this machine to its makers
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # the engine runs in this process, so that it ends with it
    "VLLM_LOGGING_LEVEL": "WARNING",
}


def is_installed() -> bool:
    return find_spec("vllm") is not None


def model_reasons(loaded: LoadedModel) -> list[str]:
    """Return every reason why vLLM cannot serve this model."""
    model = loaded.model
    if not isinstance(model, PreTrainedModel | PeftModel):
        return [f"the family {loaded.family} has no transformers model"]
    reasons = {
        "vLLM is not installed (docs/how-to/use-a-gpu.md says how)": not is_installed(),
        f"vLLM has no encoder-decoders such as {model.config.model_type}": model.config.is_encoder_decoder,
        "the probabilities of several models are averaged": hasattr(model, "averaged_models"),
        "parts of the model are offloaded; empty model.qlora.offload_folder": _is_offloaded(model),
    }
    return [reason for reason, holds in reasons.items() if holds]


def _is_offloaded(model: Any) -> bool:
    return bool({str(place) for place in (getattr(model, "hf_device_map", None) or {}).values()} & {"cpu", "disk"}) and (
        torch.cuda.is_available()
    )


def setting_reasons(settings: Generation) -> list[str]:
    """Return the reason why vLLM has no equivalent of the settings; it names every such setting.

    vLLM 0.32's beam search divides a beam's score by the tokens of prompt and summary together, and ends when no beam is left
    (vllm/entrypoints/generate/beam_search). Only without a length penalty is that transformers' search with `never`.
    """
    beams = settings.num_beams > 1
    in_use = {
        "no_repeat_ngram_size": settings.no_repeat_ngram_size > 0,
        "blocked_scripts": bool(settings.blocked_scripts),
        "do_sample with num_beams": beams and settings.do_sample,
        "length_penalty other than 0 with num_beams": beams and settings.length_penalty != 0,
        "early_stopping other than never with num_beams": beams and settings.early_stopping != "never",
        "min_new_tokens with num_beams": beams and settings.min_new_tokens > 0,
        "repetition_penalty with num_beams": beams and settings.repetition_penalty != 1,
        f"consensus.source {settings.consensus.source}": settings.consensus.is_on
        and settings.consensus.source in ("beams", "dropout"),
        "consensus.weights probability": settings.consensus.uses_probability,
    }
    names = [f"generation.{name}" for name, used in in_use.items() if used]
    return [f"vLLM has no equivalent of {', '.join(names)}"] if names else []


class ServedModel:
    """A model on vLLM's engine.

    It stands in a temporary folder that is deleted with this object: the base, and beside it the adapter if there is one.
    """

    def __init__(self, loaded: LoadedModel) -> None:
        """Write a model and start the engine. The model is unusable afterwards: its weights leave the memory for the engine.

        Raises:
            YoyakError: if the engine cannot start.
        """
        model, self.tokenizer = loaded.model, loaded.tokenizer
        self.device: str = model.device.type
        self.dtype = _compute_dtype(model)
        ends = model.generation_config.eos_token_id
        self.end_ids: set[int] = set(ends if isinstance(ends, list) else [self.tokenizer.eos_token_id])
        parent = resumable.checkpoints_root() if resumable.checkpoints_root().is_dir() else None
        self._temporary = tempfile.TemporaryDirectory(prefix="converted-", dir=parent)
        self.base = Path(self._temporary.name, "base")
        self.adapter: Path | None = None
        self.rank = 0
        if isinstance(model, PeftModel):
            self.adapter, self.rank = Path(self._temporary.name, "adapter"), model.peft_config["default"].r
            model = self._separate(model)
        elif _is_quantized(model):
            model = model.dequantize(dtype=self.dtype)
        self._save_base(model)
        for parameter in model.parameters():
            parameter.data = parameter.data.new_empty(0)
        if self.device == "cuda":
            torch.cuda.empty_cache()
        self.engine = self._start()

    def _separate(self, tuned: PeftModel) -> PreTrainedModel:
        """Write the adapter's matrices, and return the base with the trained rows of new tokens in its embeddings."""
        assert self.adapter
        config = tuned.peft_config["default"]
        self.adapter.mkdir()
        weights = get_peft_model_state_dict(tuned, save_embedding_layers=False)
        matrices = {name: value.detach().cpu().contiguous() for name, value in weights.items() if ".lora_" in name}
        save_file(matrices, self.adapter / "adapter_model.safetensors")
        kept = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "bias": "none", "r": config.r, "lora_alpha": config.lora_alpha}
        described = {**kept, "target_modules": sorted(config.target_modules), "base_model_name_or_path": str(self.base)}
        (self.adapter / "adapter_config.json").write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")
        rows = _trained_rows(tuned)
        silence_known_warnings()
        base: Any = tuned.unload()
        if _is_quantized(base):
            base = base.dequantize(dtype=self.dtype)
        with torch.no_grad():
            for is_input, ids, values in rows:
                layer = base.get_input_embeddings() if is_input else base.get_output_embeddings()
                layer.weight[ids] = values.to(layer.weight)
        return base

    def _save_base(self, model: Any) -> None:
        model.to(self.dtype).save_pretrained(self.base)
        save_tokenizer(self.tokenizer, self.base)

    def _start(self) -> Any:
        for name, value in ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        import vllm

        adapter = {"enable_lora": True, "max_lora_rank": next((rank for rank in LORA_RANKS if rank >= self.rank), self.rank)}
        try:
            return vllm.LLM(
                model=str(self.base),
                dtype=str(self.dtype).removeprefix("torch."),
                max_model_len=-1,  # as many tokens as the model reads and the memory holds
                generation_config="vllm",  # the settings come from params, not from the checkpoint
                enforce_eager=self.device == "cpu",  # compiling pays only on a GPU
                **(adapter if self.adapter else {}),
            )
        except Exception as error:  # vLLM, torch and its workers raise exceptions of many classes
            raise YoyakError(f"generation.backend: vllm: the engine cannot start: {one_line(error)}") from error


def _is_quantized(model: Any) -> bool:
    return bool(getattr(model.config, "quantization_config", None))


def _compute_dtype(model: Any) -> torch.dtype:
    """The number format of the model's matrix products."""
    quantization = getattr(model.config, "quantization_config", None)
    dtype: torch.dtype = getattr(quantization, "bnb_4bit_compute_dtype", None) or model.dtype
    return dtype


def _trained_rows(tuned: PeftModel) -> list[tuple[bool, list[int], torch.Tensor]]:
    """The rows of new tokens that the adapter trained: whether of the input embedding, their ids, and their values."""
    found = []
    for module in tuned.modules():
        if isinstance(module, TrainableTokensLayer):
            is_input = isinstance(module.base_layer, torch.nn.Embedding)
            values = module.trainable_tokens_delta["default"].detach()
            found.append((is_input, list(module.token_indices["default"]), values))
    return found


class VllmWriter:
    """A served model with the settings of its requests."""

    def __init__(self, served: ServedModel, settings: Generation) -> None:
        self.served, self.settings, self.engine = served, settings, served.engine
        self.lora: Any = None
        if served.adapter:
            from vllm.lora.request import LoRARequest

            self.lora = LoRARequest("adapter", 1, str(served.adapter))

    def write(self, encoded: Sequence[Any], dialogues: Sequence[str], *, seed: int) -> list[Output]:
        tokens = self.generate(encoded, seed=seed)
        return outputs_from_tokens(self.served.tokenizer, tokens, end_ids=self.served.end_ids)

    def generate(self, rows: Sequence[Any], *, seed: int) -> list[list[int]]:
        """Return the new token ids of each row, with the token that ends the text if there is one."""
        prompts = [{"prompt_token_ids": list(row)} for row in rows]
        if self.settings.num_beams > 1:
            return self._search(prompts)
        params = [self.sampling(seed=seed + row) for row in range(len(rows))]
        results = self.engine.generate(prompts, params, use_tqdm=False, lora_request=self.lora)
        return [list(result.outputs[0].token_ids) for result in results]

    def sampling(self, *, seed: int) -> Any:
        """vLLM's SamplingParams of one row. Temperature 0 is greedy decoding."""
        from vllm import SamplingParams

        settings = self.settings
        drawn = {
            "temperature": settings.temperature,
            "top_p": settings.top_p,
            "top_k": settings.top_k,
            "seed": seed,
        }
        return SamplingParams(
            max_tokens=settings.max_new_tokens,
            min_tokens=settings.min_new_tokens,
            repetition_penalty=settings.repetition_penalty,
            stop_token_ids=sorted(self.served.end_ids),
            detokenize=False,
            **(drawn if settings.do_sample else {"temperature": 0.0}),
        )

    def _search(self, prompts: list[dict[str, list[int]]]) -> list[list[int]]:
        from vllm.sampling_params import BeamSearchParams

        params = BeamSearchParams(
            beam_width=self.settings.num_beams, max_tokens=self.settings.max_new_tokens, length_penalty=0.0
        )
        results = self.engine.beam_search(prompts, params, lora_request=self.lora, use_tqdm=False)
        return [
            list(result.sequences[0].tokens[len(prompt["prompt_token_ids"]) :])
            for prompt, result in zip(prompts, results, strict=True)
        ]


class VllmBackend(Backend):
    name = "vllm"
    is_exact = False  # other kernels: near ties of two tokens may fall otherwise

    def why_not(self, loaded: LoadedModel, settings: Generation) -> str | None:
        ends = getattr(getattr(loaded.model, "generation_config", None), "eos_token_id", None)
        several = ["its beam search knows one end of text, and this model has several"]
        beams = several if settings.num_beams > 1 and isinstance(ends, list) and len(ends) > 1 else []
        return "; ".join([*model_reasons(loaded), *setting_reasons(settings), *beams]) or None

    def open(self, loaded: LoadedModel, settings: Generation, *, threads: int | None, processes: int = 1) -> VllmWriter:
        if "vllm" not in loaded.shared:
            loaded.shared["vllm"] = ServedModel(loaded)
        return VllmWriter(loaded.shared["vllm"], settings)


BACKEND = VllmBackend()

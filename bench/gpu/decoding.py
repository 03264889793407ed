"""Greedy decoding on this device beside the CPU's, in float32: the same tokens, except at near ties of two tokens."""

import copy
from typing import Any

import torch

from bench.gpu import models
from bench.gpu.outcomes import Figures, require, require_at_most

NEAR_TIE = 1e-2  # difference of two logits; float32 sums in another order move a logit by about 1e-4
NEW_TOKENS = 60


def kobart(small: bool) -> Figures:
    model, tokenizer, rows = models.kobart(4 if small else 64)
    return _beside_cpu(model, tokenizer, [row["input_ids"] for row in rows], small)


def llama(small: bool) -> Figures:
    model, tokenizer, rows = models.llama(4 if small else 64)
    return _beside_cpu(model.merge_and_unload(), tokenizer, prompts_of(rows), small)


def vllm(small: bool) -> Figures:
    """llama-tiny with its LoRA on vLLM's engine, not merged: the tokens that transformers writes greedily, on this device."""
    from bench.gpu.outcomes import CannotRunError
    from yoyak.inference.backends import vllm as backend
    from yoyak.models.families.base import LoadedModel

    if not backend.is_installed():
        raise CannotRunError("vLLM is not installed")
    model, tokenizer, rows = models.llama(4 if small else 32)
    model.eval()
    prompts, settings = prompts_of(rows), _settings(small)
    expected = _greedy(model, tokenizer, prompts, settings)
    writer = backend.BACKEND.open(LoadedModel("qlora", copy.deepcopy(model), tokenizer), settings, threads=None)
    return _compared(model, prompts, writer.generate(prompts, seed=0), expected)


def prompts_of(rows: list[dict[str, Any]]) -> list[list[int]]:
    """The tokens before the summary."""
    return [row["input_ids"][: next(place for place, label in enumerate(row["labels"]) if label != -100)] for row in rows]


def _settings(small: bool) -> Any:
    from yoyak.config.generation_section import Generation

    return Generation.plain(max_new_tokens=10 if small else NEW_TOKENS, num_beams=1)


def _beside_cpu(model: Any, tokenizer: Any, inputs: list[list[int]], small: bool) -> Figures:
    model = model.eval().cpu().float()
    settings = _settings(small)
    expected = _greedy(model, tokenizer, inputs, settings)
    with models.tf32(False):
        found = _greedy(copy.deepcopy(model).to(models.device()), tokenizer, inputs, settings)
    return _compared(model, inputs, found, expected)


def _greedy(model: Any, tokenizer: Any, inputs: list[list[int]], settings: Any) -> list[list[int]]:
    from yoyak.inference.backends.transformers import TransformersWriter
    from yoyak.models.families.base import LoadedModel

    writer = TransformersWriter(LoadedModel("bench", model, tokenizer), settings)
    return writer.generate(inputs, [""] * len(inputs), seed=0)


def _compared(model: Any, inputs: list[list[int]], found: list[list[int]], expected: list[list[int]]) -> Figures:
    ends = model.generation_config.eos_token_id
    end_ids = set(ends if isinstance(ends, list) else [ends])
    same, ties, worst = 0, 0, 0.0
    for prompt, ours, theirs in zip(inputs, found, expected, strict=True):
        a, b = _until_end(ours, end_ids), _until_end(theirs, end_ids)
        if a == b:
            same += 1
            continue
        place = next((at for at, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), None)
        if place is None:
            worst = float("inf")  # one text ends where the other goes on
            continue
        gap = _gap(model, prompt, b[:place], a[place], b[place])
        worst = max(worst, gap)
        ties += gap <= NEAR_TIE
    figures: Figures = {"texts": len(inputs), "same": same, "near ties": ties, "largest gap": worst}
    require(same + ties == len(inputs), f"{len(inputs) - same - ties} texts differ where there is no near tie", figures)
    return require_at_most(figures, {"largest gap": NEAR_TIE})


def _until_end(tokens: list[int], end_ids: set[int]) -> list[int]:
    end = next((at for at, token in enumerate(tokens) if token in end_ids), len(tokens))
    return tokens[: end + 1]


def _gap(model: Any, prompt: list[int], written: list[int], one: int, other: int) -> float:
    """The difference of the logits of two tokens after what was written."""
    place = next(model.parameters()).device
    with torch.inference_mode():
        if model.config.is_encoder_decoder:
            start = [model.config.decoder_start_token_id, *written]
            logits = model(
                input_ids=torch.tensor([prompt], device=place), decoder_input_ids=torch.tensor([start], device=place)
            ).logits
        else:
            logits = model(input_ids=torch.tensor([prompt + written], device=place)).logits
    return float((logits[0, -1, one] - logits[0, -1, other]).abs())

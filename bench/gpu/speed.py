"""Speed: training and writing of both families beside a plain Hugging Face script and TRL, and the share of the device's peak.

Every contender is a check of its own. The table divides their figures.
"""

import argparse
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch

from bench import ROOT, contest
from bench.gpu import models, random_models
from bench.gpu.outcomes import CannotRunError, Figures

LLAMA_PRESET = "llama-3.2-korean-3b"
KOBART_ROWS, KOBART_DEV, LLAMA_ROWS, LLAMA_DEV = 2400, 256, 160, 64


def matrix_products(small: bool) -> Figures:
    """What the device reaches in plain products, by number format: 8192 x 8192 matrices of random numbers, best of five."""
    size = 128 if small else 8192
    figures: Figures = {}
    for name, dtype, fast in (
        ("float32", torch.float32, False),
        ("tf32", torch.float32, True),
        ("bfloat16", torch.bfloat16, False),
        ("float16", torch.float16, False),
    ):
        a, b = (torch.randn(size, size, device=models.device()).to(dtype) for _ in range(2))
        with models.tf32(fast):
            seconds = [_timed(partial(torch.matmul, a, b)) for _ in range(2 if small else 6)]
        figures[f"{name}_tflops"] = round(2 * size**3 / min(seconds[1:]) / 1e12, 3)
    return figures


def _timed(work: Any) -> float:
    start = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def _kobart_arguments(small: bool, *, shape: bool, folder: str) -> argparse.Namespace:
    return argparse.Namespace(
        data=ROOT / "data/sample",
        checkpoint=models.KOBART,
        tokenizer=None,
        shape=shape,
        rows=8 if small else KOBART_ROWS,
        dev=4 if small else KOBART_DEV,
        batch=4 if small else 16,
        seed=42,
        model=Path(folder, "model"),
    )


def train_kobart(how: str, small: bool) -> Figures:
    """KoBART's shape with random weights: one epoch of the sample, by yoyak or by what one would run instead."""
    from bench import kobart
    from yoyak.models import flops

    if small:
        _narrow(kobart)
    with tempfile.TemporaryDirectory() as folder:
        args = _kobart_arguments(small, shape=True, folder=folder)
        result: Figures = kobart.train(args, how)
        params, tokenizer, rows = kobart.prepare(args)
    encoded = kobart.encoded(params, tokenizer, rows["train"])
    config = kobart.model_of(args, tokenizer).config
    work = flops.encoder_decoder_training(config, [(len(row["input_ids"]), len(row["labels"])) for row in encoded])
    return result | {"tflops": round(work.model / work.tokens * result["tokens_a_second_warm"] / 1e12, 4)}


def _narrow(kobart: Any) -> None:
    """A model that a CPU trains in a second."""
    small = {"d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32}
    kobart.SHAPE = {**kobart.SHAPE, **small}


def write_kobart(how: str, small: bool) -> Figures:
    """Summaries of dev with kobart-tiny and 4 beams."""
    from bench import kobart

    with tempfile.TemporaryDirectory() as folder:
        args = _kobart_arguments(small, shape=False, folder=folder)
        args.model = models.KOBART
        return kobart.write(args, how)


def train_llama(how: str, small: bool) -> Figures:
    """A LoRA on random NF4 weights of Llama 3.2 3B's shape: yoyak padded or without padding, and TRL in three ways."""
    from bench import qlora
    from yoyak.models import flops, lora

    if how.startswith("trl"):
        _needed("trl")
    preset, shape = random_models.preset_of(LLAMA_PRESET, small=small)
    args = argparse.Namespace(
        checkpoint=str(models.LLAMA),
        data=ROOT / "data/sample",
        rows=8 if small else LLAMA_ROWS,
        dev=4 if small else 8,
        batch=2 if small else preset.training.per_device_train_batch_size,
        adapter=None,
        padding_free=how == "yoyak-padding-free",
    )

    def make_model(params: Any, _tokenizer: Any) -> Any:
        base = random_models.causal_lm(shape, params.model.qlora, precision=_precision())
        return lora.add_lora(
            base, preset.lora.model_copy(update={"lora_dropout": 0.0}), new_tokens=[], settings=params.model.qlora
        )

    args.make_model = make_model
    result: Figures = qlora.run("yoyak" if how.startswith("yoyak") else how, args)
    params, tokenizer, rows = qlora.prepare(args)
    encoded = qlora.encoded(params, tokenizer, rows["train"], "train")
    targets = [sum(label != -100 for label in row["labels"]) for row in encoded]
    from yoyak.models import memory_estimate

    config = memory_estimate.config_from_shape(shape)
    pairs = [(len(row["input_ids"]) - target, target) for row, target in zip(encoded, targets, strict=True)]
    work = flops.causal_lm_training(config, pairs)
    return result | {"tflops": round(work.model / work.tokens * result["tokens_a_second"] / 1e12, 4)}


def write_llama(how: str, small: bool) -> Figures:
    """Greedy summaries with random NF4 weights of Llama 3.2 3B's shape and a LoRA: by yoyak, in file order, or by vLLM."""
    from yoyak.inference import outputs
    from yoyak.inference.backends import transformers, vllm
    from yoyak.models import lora

    if how == "vllm" and not vllm.is_installed():
        raise CannotRunError("vLLM is not installed")
    preset, shape = random_models.preset_of(LLAMA_PRESET, small=small)
    params = models.params_of("qlora")
    _, tokenizer, rows = models.llama(4 if small else LLAMA_DEV)
    from bench.gpu.decoding import prompts_of

    # vLLM serves a base in 16 bits in any case.
    stored = preset.model.qlora.model_copy(update={"quantization": "none"}) if how == "vllm" else preset.model.qlora
    base = random_models.causal_lm(shape, stored, precision=_precision())
    model: Any = lora.add_lora(base, preset.lora, new_tokens=[], settings=preset.model.qlora).eval()
    model.generation_config.eos_token_id, model.generation_config.pad_token_id = tokenizer.eos_token_id, tokenizer.pad_token_id
    ids = prompts_of(rows)
    dev = models.rows_of(params, len(ids))
    backend = "vllm" if how == "vllm" else "transformers"
    tokens = 4 if small else 60
    settings = params.generation.model_copy(
        update={"num_beams": 1, "max_new_tokens": tokens, "min_new_tokens": tokens, "backend": backend, "batch_size": 32}
    )

    def in_file_order() -> list[str]:
        model.generation_config = transformers.generation_config(settings, tokenizer, model)
        texts = []
        with torch.inference_mode():
            for start in range(0, len(ids), 32):
                part = tokenizer.pad({"input_ids": ids[start : start + 32]}, padding_side="left", return_tensors="pt")
                batch = part.to(model.device)
                out = model.generate(**{key: batch[key] for key in ("input_ids", "attention_mask")})
                # Random weights also write ids that the tokenizer does not have.
                kept = [
                    [token for token in row if token < len(tokenizer)] for row in out[:, batch["input_ids"].shape[1] :].tolist()
                ]
                texts += outputs.decode_tokens(tokenizer, kept)
        return texts

    baseline = in_file_order if how == "plain" else None
    dev = [{**row, "references": row.get("references") or [row["summary"]]} for row in dev]
    return contest.write(model, tokenizer, ids, dev, settings=settings, threads=None, baseline=baseline)


def _precision() -> str:
    from yoyak.system import hardware

    return hardware.choose_precision("auto", parameters=0, quantized=True)[0]


def _needed(module: str) -> None:
    from importlib.util import find_spec

    if find_spec(module) is None:
        raise CannotRunError(f"{module} is not installed")

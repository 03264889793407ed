"""The estimates of memory beside the measured peaks, for each preset's shape with random weights and the preset's settings."""

import dataclasses
from typing import Any

import torch

from bench import ROOT
from bench.gpu import models, random_models
from bench.gpu.outcomes import Figures

WRITTEN = 16  # tokens that are written; the estimate is made for as many


def presets() -> list[str]:
    """Presets with a shape, one of those whose shape and settings of memory are the same."""
    from yoyak.config import presets as library

    found: dict[str, str] = {}
    for name in library.preset_names(ROOT / "presets"):
        shape = library.read_preset(name, ROOT / "presets")[1].get("shape")
        if shape:
            params = library.params_with_preset(name, folder=ROOT / "presets", params=ROOT / "params.yaml")
            sizes = params.training.per_device_train_batch_size, params.generation.batch_size, params.generation.num_beams
            found.setdefault(str((sorted(shape.items()), params.tokenizer.max_input_length, sizes)), name)
    return sorted(found.values())


def decoder_only(name: str, small: bool) -> Figures:
    """A LoRA on the preset's shape in NF4: two steps of training on the longest rows, then a batch of summaries."""
    from bench import shape as bench_shape
    from yoyak.models import lora, memory_estimate
    from yoyak.system import hardware

    params, shape = random_models.preset_of(name, small=small)
    generation = params.generation.model_copy(update={"max_new_tokens": 2 if small else WRITTEN})
    params = params.model_copy(update={"generation": generation})
    precision, _ = hardware.choose_precision("auto", parameters=0, quantized=True)
    config = memory_estimate.config_from_shape(shape)
    base = random_models.causal_lm(shape, params.model.qlora, precision=precision)
    loaded = _gib()
    model = lora.add_lora(base, params.lora, new_tokens=[], settings=params.model.qlora)
    batch = bench_shape.batch_of(params, config.vocab_size, model, flat=False)
    _reset()
    seconds = bench_shape.train(model, params, batch, precision=precision, steps=2)
    trained = _gib()
    model.gradient_checkpointing_disable()
    _reset()
    bench_shape.write(model, params, config.vocab_size, generation.max_new_tokens)
    estimate = memory_estimate.estimate_causal_lm(config, params, precision=precision)
    return _figures(estimate, loaded=loaded, trained=trained, wrote=_gib()) | {"seconds_a_step": round(seconds, 3)}


def kobart(small: bool) -> Figures:
    """KoBART's shape with all weights trained, with the settings of the preset kobart, in bf16 where the device has it."""
    from transformers import BartConfig, BartForConditionalGeneration

    from bench.kobart import SHAPE
    from yoyak.config import presets as library
    from yoyak.models import memory_estimate
    from yoyak.system import hardware

    params = library.params_with_preset("kobart", folder=ROOT / "presets", params=ROOT / "params.yaml")
    narrow = {"d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32}
    config = BartConfig(**{**SHAPE, **(narrow if small else {})})
    torch.manual_seed(0)
    model: Any = BartForConditionalGeneration(config).to(models.device())
    loaded = _gib()
    precision, _ = hardware.choose_precision("auto", parameters=model.num_parameters())
    rows = 2 if small else params.training.per_device_train_batch_size
    source, target = (8, 4) if small else (params.tokenizer.max_input_length, params.tokenizer.max_target_length)
    batch = {
        name: torch.randint(3, 9000, (rows, length), device=models.device())
        for name, length in (("input_ids", source), ("labels", target))
    }
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)
    _reset()
    model.train()
    for _ in range(2):
        with torch.autocast(models.device().type, getattr(torch, precision), enabled=precision != "float32"):
            loss = model(**batch).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    trained = _gib()
    return _figures(memory_estimate.estimate_encoder_decoder(config, params), loaded=loaded, trained=trained, wrote=None)


def _gib() -> float | None:
    return torch.cuda.max_memory_allocated() / 2**30 if torch.cuda.is_available() else None


def _reset() -> None:
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def _figures(estimate: Any, *, loaded: float | None, trained: float | None, wrote: float | None) -> Figures:
    parts = {name: round(value / 2**30, 2) for name, value in dataclasses.asdict(estimate).items() if name != "parameters"}
    figures: Figures = {
        "parameters": estimate.parameters,
        "estimated_training_gib": round(estimate.training / 2**30, 2),
        "estimated_prediction_gib": round(estimate.prediction / 2**30, 2),
        "parts_gib": parts,
    }
    measured = {"loaded_gib": loaded, "training_peak_gib": trained, "prediction_peak_gib": wrote}
    figures |= {name: round(value, 2) for name, value in measured.items() if value is not None}
    if trained:
        figures["training: measured over estimated"] = round(trained / (estimate.training / 2**30), 2)
    if wrote:
        figures["prediction: measured over estimated"] = round(wrote / (estimate.prediction / 2**30), 2)
    return figures

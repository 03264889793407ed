"""Measure a decoder-only model of a preset's shape with random weights: peak memory and its estimate, speed, use of the GPU.

    python -m bench.shape qwen3-4b --peak-tflops 989         # on a GPU; the number is its dense bf16 rate
    python -m bench.shape llama-3.2-korean-3b --layers 2     # fewer layers, if the whole model does not fit or takes too long

The script builds the model, saves it, loads it in 4 bits and trains it with the preset's settings for some steps, on rows of
exactly max_input_length + max_target_length random tokens. Then the model writes a batch. The figures go to
bench/results/shape-PRESET.json.

FLOPs of a step: 4 for each frozen weight and token (2 forward, 2 for the gradient of activations). Attention takes
4 x layers x width x length for each token forward and twice that backward, halved by the causal mask. What gradient
checkpointing computes again does not count (model FLOP utilisation, Chowdhery et al. 2022, arXiv:2204.02311, appendix B).
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from typing import Any

from bench import ROOT


def peak_gib() -> float:
    """Return the peak memory in GiB: of the GPU's allocator, or without a GPU of this process."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def build(shape: dict[str, Any], folder: str) -> Any:
    """Save random weights in a child process, whose memory does not count, and return a tokenizer for them."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    code = (
        "import sys, json, torch; sys.path.insert(0, sys.argv[1]); from yoyak.models import memory_estimate;"
        "from transformers import AutoModelForCausalLM; torch.set_default_dtype(torch.bfloat16);"
        "AutoModelForCausalLM.from_config(memory_estimate.config_from_shape(json.loads(sys.argv[2]))).save_pretrained(sys.argv[3])"
    )
    subprocess.run([sys.executable, "-c", code, str(ROOT / "src"), json.dumps(shape), folder], check=True)
    names = {f"<{number}>": number for number in range(shape["vocab_size"])}
    words = Tokenizer(models.WordLevel(names, unk_token="<0>"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<1>", pad_token="<2>", unk_token="<0>")
    tokenizer.save_pretrained(folder)
    return tokenizer


def optimizer_of(model: Any, name: str) -> Any:
    import bitsandbytes
    import torch

    trained = [p for p in model.parameters() if p.requires_grad]
    if name.startswith("paged") and torch.cuda.is_available():
        paged: Any = bitsandbytes.optim
        return paged.PagedAdamW(trained, lr=1e-5)
    return torch.optim.AdamW(trained, lr=1e-5)


def batch_of(params: Any, vocabulary: int, model: Any, *, flat: bool) -> dict[str, Any]:
    """Return a batch of rows that are as long as the params allow."""
    import torch

    from yoyak.data.collation import collate_chats

    length, target = params.tokenizer.max_input_length, params.tokenizer.max_target_length
    rows = [
        {"input_ids": torch.randint(3, vocabulary, (length + target,)).tolist(), "labels": [-100] * length + [5] * target}
        for _ in range(params.training.per_device_train_batch_size)
    ]
    made = collate_chats(2, padding_free=flat)(rows)
    return {key: value.to(model.device) if isinstance(value, torch.Tensor) else value for key, value in made.items()}


def train(model: Any, params: Any, batch: dict[str, Any], *, precision: str, steps: int) -> float:
    """Train for some steps, and return the seconds of the fastest step after the first."""
    import torch

    optimizer = optimizer_of(model, params.training.optim)
    if params.training.gradient_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    model.train()
    seconds = []
    for _ in range(steps):
        start = time.perf_counter()
        with torch.autocast(model.device.type, getattr(torch, precision), enabled=precision != "float32"):
            loss = model(**batch).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        loss.item()  # waits for the GPU
        seconds.append(time.perf_counter() - start)
    return min(seconds[1:] or seconds)


def flops_a_step(config: Any, params: Any) -> float:
    from yoyak.models import memory_estimate

    length, target = params.tokenizer.max_input_length, params.tokenizer.max_target_length
    weights = sum(wide * high for wide, high in memory_estimate.layer_sizes(config).linears)
    width = config.num_attention_heads * (getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)
    attention = 3 * 4 * config.num_hidden_layers * width * (length + target) / 2
    head = 4 * config.vocab_size * config.hidden_size * target / (length + target)
    return float(params.training.per_device_train_batch_size * (length + target) * (4 * weights + attention + head))


def write(model: Any, params: Any, vocabulary: int, tokens: int) -> float:
    """Write `tokens` tokens for one batch of prompts, and return the seconds."""
    import torch

    model.eval()
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    shape = (params.generation.batch_size, params.tokenizer.max_input_length)
    prompt = torch.randint(3, vocabulary, shape, device=model.device)
    start = time.perf_counter()
    with torch.inference_mode():
        model.generate(
            input_ids=prompt,
            attention_mask=torch.ones_like(prompt),
            num_beams=params.generation.num_beams,
            max_new_tokens=tokens,
            min_new_tokens=tokens,
        )
    return time.perf_counter() - start


def measure(args: argparse.Namespace, params: Any, shape: dict[str, Any]) -> dict[str, Any]:
    """Build, train and run the model of a shape, and return its figures."""
    import torch

    from yoyak.models import causal_lm, lora, memory_estimate
    from yoyak.system import hardware

    config = memory_estimate.config_from_shape(shape)
    precision, _ = hardware.choose_precision("auto", parameters=0, quantized=True)
    attention, _ = hardware.choose_attention(args.attention, precision=precision)
    hardware.enable_tf32()
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        tokenizer = build(shape, folder)
        before = 0.0 if torch.cuda.is_available() else peak_gib()
        settings = params.model.qlora.model_copy(update={"checkpoint": folder, "revision": None, "attention": attention})
        base, _ = causal_lm.load(settings, tokenizer, precision=precision)
        loaded = peak_gib()
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        model = lora.add_lora(base, params.lora, new_tokens=[], settings=settings)
    batch = batch_of(params, config.vocab_size, model, flat=attention == "flash_attention_2")
    step = train(model, params, batch, precision=precision, steps=args.steps)
    estimate = memory_estimate.estimate_causal_lm(config, params, precision=precision)
    lengths = params.tokenizer.max_input_length, params.tokenizer.max_target_length
    rate = flops_a_step(config, params) / step / 1e12
    result = {
        "preset": args.preset,
        "shape": shape,
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU",
        "precision": precision,
        "attention": attention,
        "batch": params.training.per_device_train_batch_size,
        "tokens": [*lengths],
        "gradient_checkpointing": params.training.gradient_checkpointing,
        "loaded_gib": round(loaded - before, 2),
        "training_peak_gib": round(peak_gib() - before, 2),
        "estimated_training_gib": round(estimate.training / 2**30, 2),
        "seconds_a_step": round(step, 3),
        "tokens_a_second": round(params.training.per_device_train_batch_size * sum(lengths) / step, 1),
        "tflops": round(rate, 3),
        "utilisation": round(rate / args.peak_tflops, 4) if args.peak_tflops else None,
    }
    if args.write:
        result["write_seconds"] = round(write(model, params, config.vocab_size, args.write), 2)
        result["write_peak_gib"] = round(peak_gib() - before, 2)
        result["estimated_prediction_gib"] = round(estimate.prediction / 2**30, 2)
    return result


def preset_of(args: argparse.Namespace) -> tuple[Any, dict[str, Any]]:
    """Return the params and the shape of a preset, with the changes that the arguments ask for."""
    from yoyak.config import presets

    params = presets.params_with_preset(args.preset, folder=ROOT / "presets", params=ROOT / "params.yaml")
    shape = presets.read_preset(args.preset, ROOT / "presets")[1]["shape"]
    if args.layers:
        shape["num_hidden_layers"] = args.layers
    lengths = {"max_input_length": args.input, "max_target_length": args.target}
    lengths = {name: value for name, value in lengths.items() if value}
    batch_size = {"per_device_train_batch_size": args.batch} if args.batch else {}
    changes = {
        "training": params.training.model_copy(update=batch_size),
        "tokenizer": params.tokenizer.model_copy(update={"special_tokens": [], **lengths}),
    }
    return params.model_copy(update=changes), shape


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    made.add_argument("preset")
    made.add_argument("--layers", type=int, help="number of layers, instead of the shape's own")
    made.add_argument("--batch", type=int, help="rows in a batch, instead of the preset's own")
    made.add_argument("--input", type=int, help="tokens of a prompt, instead of the preset's max_input_length")
    made.add_argument("--target", type=int, help="tokens of a summary, instead of the preset's max_target_length")
    made.add_argument("--steps", type=int, default=4)
    made.add_argument("--write", type=int, default=0, help="also write this many tokens for one batch")
    made.add_argument("--attention", default="auto")
    made.add_argument("--peak-tflops", type=float, help="peak rate of the device in the precision used, for the utilisation")
    return made


def main() -> None:
    args = parser().parse_args()
    result = measure(args, *preset_of(args))
    print(json.dumps(result, indent=2))
    output = ROOT / f"bench/results/shape-{args.preset}.json"
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""A decoder-only model of a preset's shape with random weights: peak memory against the estimate, speed, and use of the GPU.

    python bench/shape.py qwen3-4b --peak-tflops 989          # on a GPU; the figure is its dense bf16 rate
    python bench/shape.py llama-3.2-korean-3b --layers 2      # fewer layers, where the whole does not fit or would take long

The model is built, saved, loaded in 4 bits and trained with the preset's own settings for some steps on rows of exactly
max_input_length + max_target_length random tokens; then it writes a batch. Writes bench/results/shape-PRESET.json.

FLOPs of a step: 4 a frozen weight and token (2 forwards, 2 for the gradient of activations), and attention's 4 x layers x
width x length x 2 for each token forwards and as much again times two backwards, halved by the causal mask. What gradient
checkpointing computes again is not counted (model FLOP utilisation, Chowdhery et al. 2022, arXiv:2204.02311, appendix B).
"""

import argparse
import json
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "src"))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("preset")
    parser.add_argument("--layers", type=int, help="instead of the shape's own number")
    parser.add_argument("--batch", type=int, help="instead of the preset's own")
    parser.add_argument("--input", type=int, help="instead of the preset's max_input_length")
    parser.add_argument("--target", type=int, help="instead of the preset's max_target_length")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--write", type=int, default=0, help="also write this many tokens for one batch")
    parser.add_argument("--attention", default="auto")
    parser.add_argument("--peak-tflops", type=float, help="of the device in the precision used, for the utilisation")
    args = parser.parse_args()

    import torch
    from tokenizers import Tokenizer, models
    from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

    from yoyak import adapter, hardware, memory, presets
    from yoyak.training import collate_chats

    folder = ROOT / "presets"
    params = presets.apply(args.preset, folder=folder, params=ROOT / "params.yaml")
    shape = presets.read_preset(args.preset, folder)[1]["shape"]
    if args.layers:
        shape["num_hidden_layers"] = args.layers
    params = params.model_copy(
        update={
            "training": params.training.model_copy(
                update={"per_device_train_batch_size": args.batch or params.training.per_device_train_batch_size}
            ),
            "tokenizer": params.tokenizer.model_copy(
                update={
                    "max_input_length": args.input or params.tokenizer.max_input_length,
                    "max_target_length": args.target or params.tokenizer.max_target_length,
                    "special_tokens": [],
                }
            ),
        }
    )
    config = memory.config_of_shape(shape)
    precision, _ = hardware.choose_precision("auto", parameters=0, quantized=True)
    estimate = memory.estimate(config, params, precision=precision)
    gpu = torch.cuda.is_available()

    def peak() -> float:
        if gpu:
            return torch.cuda.max_memory_allocated() / 2**30
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20

    names = {f"<{at}>": at for at in range(config.vocab_size)}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel(names, unk_token="<0>")), eos_token="<1>", pad_token="<2>", unk_token="<0>"
    )
    hardware.allow_tf32()
    with tempfile.TemporaryDirectory() as saved:
        torch.manual_seed(0)
        # Built in another process, so that its memory is not counted here.
        import subprocess

        code = (
            "import sys, json, torch; sys.path.insert(0, sys.argv[1]); from yoyak import memory;"
            "from transformers import AutoModelForCausalLM; torch.set_default_dtype(torch.bfloat16);"
            "AutoModelForCausalLM.from_config(memory.config_of_shape(json.loads(sys.argv[2]))).save_pretrained(sys.argv[3])"
        )
        subprocess.run([sys.executable, "-c", code, str(ROOT / "src"), json.dumps(shape), saved], check=True)
        tokenizer.save_pretrained(saved)
        before = peak() if not gpu else 0.0
        settings = params.model.qlora.model_copy(update={"checkpoint": saved, "revision": None, "attention": args.attention})
        base, _ = adapter.load_base(settings, tokenizer, precision=precision)
        loaded = peak()
        model = adapter.add_lora(base, params.lora, new_tokens=[], settings=settings)
    training = params.training
    if training.gradient_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    model.train()
    batch, length = training.per_device_train_batch_size, params.tokenizer.max_input_length
    target = params.tokenizer.max_target_length
    rows = [
        {
            "input_ids": torch.randint(3, config.vocab_size, (length + target,)).tolist(),
            "labels": [-100] * length + [5] * target,
        }
        for _ in range(batch)
    ]
    flat = hardware.choose_attention(args.attention, precision=precision)[0] == "flash_attention_2"
    inputs = collate_chats(2, padding_free=flat)(rows)
    inputs = {key: value.to(model.device) if isinstance(value, torch.Tensor) else value for key, value in inputs.items()}
    if training.optim.startswith("paged") and gpu:
        import bitsandbytes

        optimizer: Any = bitsandbytes.optim.PagedAdamW([p for p in model.parameters() if p.requires_grad], lr=1e-5)
    else:
        optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-5)
    seconds = []
    for _ in range(args.steps):
        start = time.perf_counter()
        with torch.autocast(model.device.type, getattr(torch, precision), enabled=precision != "float32"):
            loss = model(**inputs).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        loss.item()  # waits for the GPU
        seconds.append(time.perf_counter() - start)
    trained_peak = peak()
    step = min(seconds[1:] or seconds)
    tokens = batch * (length + target)
    weights = sum(wide * high for wide, high in memory.layers_of(config).linears)
    heads = config.num_attention_heads * (getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)
    attention = 3 * 4 * config.num_hidden_layers * heads * (length + target) / 2
    head = 4 * config.vocab_size * config.hidden_size * target / (length + target)
    flops = tokens * (4 * weights + attention + head)
    result = {
        "preset": args.preset,
        "shape": shape,
        "device": torch.cuda.get_device_name() if gpu else "CPU",
        "precision": precision,
        "batch": batch,
        "tokens": [length, target],
        "gradient_checkpointing": training.gradient_checkpointing,
        "lora_dropout": params.lora.lora_dropout,
        "loaded_gib": round(loaded - before, 2),
        "training_peak_gib": round(trained_peak - before, 2),
        "estimated_training_gib": round(estimate.training / 2**30, 2),
        "seconds_a_step": round(step, 3),
        "tokens_a_second": round(tokens / step, 1),
        "tflops": round(flops / step / 1e12, 3),
        "utilisation": round(flops / step / 1e12 / args.peak_tflops, 4) if args.peak_tflops else None,
    }
    if args.write:
        model.eval()
        if gpu:
            torch.cuda.reset_peak_memory_stats()
        prompt = torch.randint(3, config.vocab_size, (params.generation.batch_size, length), device=model.device)
        start = time.perf_counter()
        with torch.inference_mode():
            model.generate(
                input_ids=prompt,
                attention_mask=torch.ones_like(prompt),
                num_beams=params.generation.num_beams,
                max_new_tokens=args.write,
                min_new_tokens=args.write,
            )
        result["write_seconds"] = round(time.perf_counter() - start, 2)
        result["write_peak_gib"] = round(peak() - before, 2)
        result["estimated_prediction_gib"] = round(estimate.prediction / 2**30, 2)
    print(json.dumps(result, indent=2))
    output = ROOT / f"bench/results/shape-{args.preset}.json"
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

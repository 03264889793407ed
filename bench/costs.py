"""Hours and money of each preset on common GPUs, from counted operations and a stated utilisation.

    python -m bench.costs                                          # the table, with hours alone
    python -m bench.costs --price H100=2.5 --price L4=0.8          # money too: the price of an hour, in your currency
    python -m bench.costs --utilisation 0.4 --rows 50000 --prompt 600
    python -m bench.costs --write                                  # writes the table into docs/explanation/costs*.md

Training: the operations of all rows and epochs (yoyak.models.flops), those that gradient checkpointing computes again
included, divided by the peak of the GPU times the utilisation. Writing: the prompts likewise; then each token of a batch reads
all weights and the keys and values of all beams, at a share of the memory's bandwidth, and takes at least STEP_SECONDS. A
quantized weight is read, written out in 16 bits and read again. Whether a preset fits is yoyak's estimate of its peak memory.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import ROOT

PAGES = [ROOT / "docs/explanation/costs.md", ROOT / "docs/explanation/costs.ko.md"]
START, END = "<!-- table: python -m bench.costs --write -->", "<!-- end of the table -->"
GPU_RESULTS = ROOT / "bench/results/gpu.json"
STEP_SECONDS = 0.03  # assumed: the least time in which transformers writes one token for a batch, whatever the GPU
BANDWIDTH_SHARE = 0.6  # assumed: the share of the bandwidth that reading weights reaches
UTILISATION = 0.3  # assumed, until make gpu has measured it


@dataclass(frozen=True)
class Gpu:
    """A GPU by its maker's data sheet: dense peak in 16 bits with sums in float32, bandwidth, and memory."""

    name: str
    tflops: float
    gigabytes_a_second: float
    gib: float


# NVIDIA's data sheets and architecture papers: dense tensor-core rates, without sparsity. GeForce: with sums in float32.
GPUS = [
    Gpu("T4", 65, 320, 15),
    Gpu("L4", 121, 300, 22.5),
    Gpu("RTX3090", 71, 936, 24),
    Gpu("RTX4090", 165, 1008, 24),
    Gpu("A100", 312, 2039, 80),
    Gpu("H100", 989, 3350, 80),
]


def model_of(name: str) -> tuple[Any, Any] | None:
    """The params of a preset and the config of its model; None if the preset does not know its shape."""
    from transformers import BartConfig

    from bench.kobart import SHAPE
    from yoyak.config import presets
    from yoyak.models import memory_estimate

    params = presets.params_with_preset(name, folder=ROOT / "presets", params=ROOT / "params.yaml")
    if shape := presets.read_preset(name, ROOT / "presets")[1].get("shape"):
        return params, memory_estimate.config_from_shape(shape)
    return (params, BartConfig(**SHAPE)) if name in ("kobart", "kobart-baseline") else None


def costs_of(params: Any, config: Any, gpu: Gpu, args: argparse.Namespace) -> tuple[float, float] | None:
    """Hours of training, and hours of writing a thousand summaries; None if the model does not fit."""
    from yoyak.models import flops, memory_estimate

    rows = [(min(args.prompt, params.tokenizer.max_input_length), min(args.target, params.tokenizer.max_target_length))]
    checkpointing = params.training.gradient_checkpointing
    if config.is_encoder_decoder:
        estimate = memory_estimate.estimate_encoder_decoder(config, params)
        work = flops.encoder_decoder_training(config, rows, checkpointing=checkpointing)
        reading = flops.encoder_decoder_reading(config, rows).model
        weight_bytes = estimate.parameters * 2.0
        layers, width = config.decoder_layers, 2 * config.d_model
    else:
        sizes = memory_estimate.layer_sizes(config)
        estimate = memory_estimate.estimate_causal_lm(config, params, precision="bfloat16", sizes=sizes)
        work = flops.causal_lm_training(config, rows, checkpointing=checkpointing, sizes=sizes)
        reading = flops.causal_lm_reading(config, rows, sizes=sizes).model
        each = {"nf4": 0.5 + 2 + 2, "int8": 1.0, "none": 2.0}[params.model.qlora.quantization]
        weight_bytes = sum(inputs * outputs for inputs, outputs in sizes.linears) * each
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        layers, width = config.num_hidden_layers, 2 * heads * size
    if estimate.peak > gpu.gib * 2**30:
        return None
    speed = gpu.tflops * 1e12 * args.utilisation
    training = params.training.num_train_epochs * args.rows * (work.model + work.recomputed) / speed
    batch, (prompt, target) = params.generation.batch_size, rows[0]
    cache_bytes = batch * params.generation.num_beams * layers * width * 2 * (prompt + target / 2)
    step = max(STEP_SECONDS, (weight_bytes + cache_bytes) / (gpu.gigabytes_a_second * 1e9 * BANDWIDTH_SHARE))
    writing = 1000 * (reading / speed + target * step / batch)
    return training / 3600, writing / 3600


def table(args: argparse.Namespace) -> list[str]:
    """Markdown: a line for each preset, a column for each GPU, training hours and minutes for a thousand summaries."""
    from yoyak.config import presets

    prices = dict(args.price)
    header = [f"{gpu.name}{f' ({prices[gpu.name]:g} an hour)' if gpu.name in prices else ''}" for gpu in GPUS]
    lines = [f"| preset | {' | '.join(header)} |", "| --- |" + " --- |" * len(GPUS)]
    for name in presets.preset_names(ROOT / "presets"):
        if found := model_of(name):
            cells = [_cell(costs_of(*found, gpu, args), prices.get(gpu.name)) for gpu in GPUS]
            lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def _cell(costs: tuple[float, float] | None, price: float | None) -> str:
    if costs is None:
        return "too large"
    training, writing = costs
    money = f", {training * price:.2f} + {writing * price:.2f}" if price is not None else ""
    return f"{_short(training)} h + {_short(writing * 60)} min{money}"


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"


def assumptions(args: argparse.Namespace) -> str:
    return (
        f"{args.rows:,} train rows of {args.prompt} and {args.target} tokens without padding; "
        f"utilisation {args.utilisation:g}; "
        f"writing at {BANDWIDTH_SHARE:g} of the bandwidth, at least {STEP_SECONDS * 1000:g} ms a token of a batch"
    )


def measured_utilisation(path: Path = GPU_RESULTS) -> float | None:
    """The utilisation of training Llama's shape that make gpu measured, as a share of what products reach; None without it."""
    if not path.is_file():
        return None
    report = json.loads(path.read_text(encoding="utf-8"))
    figures = {check["name"]: check["figures"] for check in report["checks"] if check["status"] == "measured"}
    ours, peak = figures.get("train-llama-yoyak", {}).get("tflops"), figures.get("matrix-products", {}).get("bfloat16_tflops")
    return round(ours / peak, 2) if ours and peak and report["about"]["form"] == "full" else None


def _price(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    try:
        price = float(value)
    except ValueError:
        price = -1
    if name not in {gpu.name for gpu in GPUS} or not price >= 0:
        raise argparse.ArgumentTypeError(
            f"{text!r}: write GPU=PRICE, such as H100=2.5; GPUs: {', '.join(gpu.name for gpu in GPUS)}"
        )
    return name, price


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text}: a number above 0 is needed")
    return value


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m bench.costs", description=(__doc__ or "").splitlines()[0])
    made.add_argument(
        "--price", type=_price, action="append", default=[], metavar="GPU=PRICE", help="of an hour, in your currency"
    )
    made.add_argument(
        "--utilisation", type=_positive, help=f"share of the peak (default: what make gpu measured, or {UTILISATION})"
    )
    made.add_argument("--rows", type=int, default=10_000, help="train rows (default: 10000)")
    made.add_argument("--prompt", type=int, default=400, help="mean tokens of a dialogue with its prompt (default: 400)")
    made.add_argument("--target", type=int, default=60, help="mean tokens of a summary (default: 60)")
    made.add_argument("--write", action="store_true", help="write the table into docs/explanation/costs.md and costs.ko.md")
    return made


def written_into(text: str, made: list[str]) -> str:
    """A page with the table between its two marks."""
    before, _, rest = text.partition(START)
    return f"{before}{START}\n\n" + "\n".join(made) + f"\n\n{END}{rest.partition(END)[2]}"


def main() -> None:
    args = parser().parse_args()
    args.utilisation = args.utilisation or measured_utilisation() or UTILISATION
    made = [*table(args), "", f"({assumptions(args)})"]
    print("\n".join(made))
    if args.write:
        for page in PAGES:
            page.write_text(written_into(page.read_text(encoding="utf-8"), made), encoding="utf-8")


if __name__ == "__main__":
    main()

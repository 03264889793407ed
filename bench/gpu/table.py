"""gpu.json as a page of Markdown."""

from typing import Any

RATIOS = [  # (ours, theirs, figure, words)
    (
        "train-kobart-yoyak",
        "train-kobart-padded",
        "tokens_a_second_warm",
        "training KoBART's shape beside rows padded to 512/100",
    ),
    ("train-kobart-yoyak", "train-kobart-plain", "tokens_a_second_warm", "training KoBART's shape beside a plain script"),
    ("train-kobart-yoyak", "train-kobart-plain-bf16", "tokens_a_second_warm", "the same, and the plain script in bf16"),
    (
        "train-kobart-packed",
        "train-kobart-yoyak",
        "tokens_a_second_warm",
        "training KoBART's shape without padding beside padded",
    ),
    ("train-llama-yoyak", "train-llama-trl", "tokens_a_second", "training Llama 3.2 3B's shape beside TRL"),
    ("train-llama-yoyak", "train-llama-trl-keeping", "tokens_a_second", "the same, TRL with activations kept"),
    ("train-llama-yoyak", "train-llama-trl-padded", "tokens_a_second", "the same, TRL padded"),
    ("train-llama-yoyak", "train-llama-trl-padded", "peak_mib", "memory beside TRL padded"),
    (
        "train-llama-yoyak-padding-free",
        "train-llama-yoyak",
        "tokens_a_second",
        "training Llama's shape without padding beside padded",
    ),
    (
        "write-kobart-yoyak",
        "write-kobart-padded",
        "dialogues_a_second",
        "writing with kobart-tiny beside padded, in file order",
    ),
    ("write-llama-yoyak", "write-llama-plain", "dialogues_a_second", "writing with Llama's shape beside file order"),
    ("write-llama-vllm", "write-llama-yoyak", "dialogues_a_second", "writing with vLLM beside transformers"),
]


def page(report: dict[str, Any]) -> str:
    """The report as Markdown: the machine, each check, the ratios, the utilisation, and memory beside its estimate."""
    about, checks = report["about"], report["checks"]
    figures = {check["name"]: check["figures"] for check in checks if check["status"] in ("passed", "measured")}
    lines = ["# What a GPU showed", "", "By `make gpu`, which writes this page from gpu.json.", ""]
    lines += ["| machine | |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in about.items())]
    lines += ["", "| check | result | seconds | why, or the largest figures |", "| --- | --- | --- | --- |"]
    for check in checks:
        detail = check["why"] or ", ".join(f"{name} {_number(value)}" for name, value in _largest(check["figures"]))
        lines.append(f"| {check['name']} | {check['status']} | {check['seconds']:.0f} | {detail.replace('|', '/')} |")
    lines += ["", "| work | ratio |", "| --- | --- |", *_ratios(figures)]
    lines += [
        "",
        "| training | TFLOP/s | share of this device's products in bf16 |",
        "| --- | --- | --- |",
        *_utilisation(figures),
    ]
    header = "| preset | estimated training, prediction (GiB) | measured | measured over estimated |"
    lines += ["", header, "| --- | --- | --- | --- |", *_memory(figures)]
    return "\n".join(lines) + "\n"


def _largest(figures: dict[str, Any]) -> list[tuple[str, float]]:
    numbers = {name: value for name, value in figures.items() if isinstance(value, int | float) and not isinstance(value, bool)}
    return sorted(numbers.items(), key=lambda item: -abs(item[1]))[:3]


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _ratios(figures: dict[str, dict[str, Any]]) -> list[str]:
    return [
        f"| {words} | {figures[ours][name] / figures[theirs][name]:.2f} |"
        for ours, theirs, name, words in RATIOS
        if {ours, theirs} <= set(figures)
    ]


def _utilisation(figures: dict[str, dict[str, Any]]) -> list[str]:
    peak = figures.get("matrix-products", {}).get("bfloat16_tflops")
    rates = {name.removeprefix("train-"): found["tflops"] for name, found in figures.items() if "tflops" in found}
    return [
        f"| {name} | {_number(rate)} | {format(rate / peak, '.1%') if peak else 'unknown'} |" for name, rate in rates.items()
    ]


def _memory(figures: dict[str, dict[str, Any]]) -> list[str]:
    lines = []
    for name, found in figures.items():
        if name.startswith("memory-"):
            measured = ", ".join(str(found.get(key, "no GPU")) for key in ("training_peak_gib", "prediction_peak_gib"))
            ratios = ", ".join(str(value) for key, value in found.items() if key.endswith("over estimated")) or "unknown"
            estimated = f"{found['estimated_training_gib']}, {found['estimated_prediction_gib']}"
            lines.append(f"| {name.removeprefix('memory-')} | {estimated} | {measured} | {ratios} |")
    return lines

"""The list of all checks: name, kind, seconds, and the function. The most important ones stand first, for the time may end."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Literal

from bench.gpu.outcomes import Figures


@dataclass(frozen=True)
class Check:
    """One check.

    Attributes:
        name: for the command line and gpu.json.
        kind: "correctness" passes or fails; "measurement" gives figures.
        seconds: after them the process is ended.
        place: MODULE:FUNCTION in bench.gpu, with arguments after further colons.
        alone: nothing else runs beside it, because it measures time.
    """

    name: str
    kind: Literal["correctness", "measurement"]
    seconds: int
    place: str
    alone: bool = False

    def function(self) -> Callable[[bool], Figures]:
        module, name, *arguments = self.place.split(":")
        return partial(getattr(import_module(f"bench.gpu.{module}"), name), *arguments)


CORRECTNESS = [
    Check("gradients", "correctness", 90, "precision:gradients"),
    Check("fp16-scaler", "correctness", 60, "precision:scaler"),
    Check("trainer-precisions", "correctness", 90, "precision:trainer"),
    Check("nf4", "correctness", 60, "quantization:nf4"),
    Check("int8", "correctness", 60, "quantization:int8"),
    Check("optimizers", "correctness", 60, "quantization:optimizers"),
    Check("sdpa", "correctness", 60, "attention:sdpa"),
    Check("flex", "correctness", 120, "attention:flex"),
    Check("varlen", "correctness", 60, "attention:varlen"),
    Check("attention-in-models", "correctness", 120, "attention:in_models"),
    Check("packing-encoder-decoder", "correctness", 120, "packed_batches:encoder_decoder"),
    Check("packing-decoder-only", "correctness", 60, "packed_batches:decoder_only"),
    Check("greedy-kobart", "correctness", 60, "decoding:kobart"),
    Check("greedy-llama", "correctness", 60, "decoding:llama"),
    Check("greedy-vllm", "correctness", 150, "decoding:vllm"),
    Check("same-bytes-kobart", "correctness", 120, "recovery:kobart"),
    Check("same-bytes-qlora", "correctness", 120, "recovery:qlora"),
]
SPEED = [
    Check("matrix-products", "measurement", 30, "speed:matrix_products", alone=True),
    *(
        Check(f"train-kobart-{how}", "measurement", 60, f"speed:train_kobart:{how}", alone=True)
        for how in ("yoyak", "packed", "plain", "plain-bf16", "padded")
    ),
    *(
        Check(f"train-llama-{how}", "measurement", 75, f"speed:train_llama:{how}", alone=True)
        for how in ("yoyak", "yoyak-padding-free", "trl", "trl-keeping", "trl-padded")
    ),
    *(Check(f"write-kobart-{how}", "measurement", 45, f"speed:write_kobart:{how}", alone=True) for how in ("yoyak", "padded")),
    *(
        Check(f"write-llama-{how}", "measurement", 75, f"speed:write_llama:{how}", alone=True)
        for how in ("yoyak", "plain", "vllm")
    ),
]


def all_checks() -> list[Check]:
    from bench.gpu import memory

    presets = [Check(f"memory-{name}", "measurement", 60, f"memory:decoder_only:{name}") for name in memory.presets()]
    return [*CORRECTNESS, *SPEED, Check("memory-kobart", "measurement", 60, "memory:kobart"), *presets]

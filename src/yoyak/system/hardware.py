"""What the machine can do: number formats and attention kernels, and why they were chosen."""

import ctypes
import os
import platform
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import torch

from yoyak.system.errors import YoyakError

# Below this, bf16 on a CPU gains little or loses, from machine to machine (docs/log.md).
BF16_PAYS_FROM = 50_000_000

MEMINFO, CGROUP = Path("/proc/meminfo"), Path("/sys/fs/cgroup")


def default_device() -> torch.device:
    """This process's GPU (several processes have one each), or the CPU."""
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if torch.cuda.is_available() else torch.device("cpu")


def configure_cpu(threads: int | None) -> None:
    """Let the CPU's kernels run in so many threads, whatever the machine and OMP_NUM_THREADS say: they add up in as many parts,
    and so the bytes of a result depend on it. And let glibc keep the memory of large tensors for the next ones: it gives
    blocks of over 32 MiB back to the system, which then clears them page by page, a tenth of a training's time (docs/log.md).
    """
    if threads:
        torch.set_num_threads(threads)
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(-3, 1 << 30)  # M_MMAP_THRESHOLD
        libc.mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD


def choose_precision(precision: str, *, parameters: int, quantized: bool = False) -> tuple[str, str]:
    """("float32" | "bfloat16" | "float16", why): what `training.precision` comes to on this hardware.

    Raises:
        YoyakError: if the hardware cannot do what was asked for.
    """
    gpu = torch.cuda.is_available()
    gpu_bf16 = gpu and torch.cuda.is_bf16_supported(including_emulation=False)
    cpu_bf16 = not gpu and _cpu_has_bf16()
    if precision == "auto":
        if gpu:
            return ("bfloat16", "this GPU has it") if gpu_bf16 else ("float16", "this GPU has no bfloat16")
        if quantized:
            return "float32", "quantized layers on a CPU"
        if cpu_bf16 and parameters >= BF16_PAYS_FROM:
            return "bfloat16", "this CPU has it, and the model is large enough to gain"
        return "float32", "a small model on a CPU" if cpu_bf16 else "a CPU without bfloat16"
    if precision == "float16" and not gpu:
        raise YoyakError("training.precision: float16 needs a GPU; choose auto, bfloat16 or float32")
    if precision == "bfloat16" and gpu and not gpu_bf16:
        raise YoyakError("training.precision: this GPU has no bfloat16; choose auto or float16")
    return precision, "training.precision says so"


def _cpu_has_bf16() -> bool:
    """oneDNN says so of any AVX-512 too, where it is made of float32 and takes twice as long as that (docs/log.md)."""
    own = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()) and (own or platform.machine() not in ("x86_64", "AMD64"))


class Memory(NamedTuple):
    """Bytes of RAM."""

    total: int
    available: int


def memory_bytes() -> Memory:
    """Bytes of RAM in all, and of those that can be had now: the machine's, or its container's share (cgroup 2)."""
    lines = (line.split() for line in MEMINFO.read_text(encoding="utf-8").splitlines())
    kib = {line[0]: int(line[1]) for line in lines}
    total, available = kib["MemTotal:"] * 1024, kib["MemAvailable:"] * 1024
    with suppress(OSError, ValueError):  # no such file, or "max"
        share = int((CGROUP / "memory.max").read_text(encoding="utf-8"))
        used = int((CGROUP / "memory.current").read_text(encoding="utf-8"))
        for line in (CGROUP / "memory.stat").read_text(encoding="utf-8").splitlines():
            if line.startswith(("inactive_file ", "active_file ")):  # files that were read, which go where memory is asked for
                used -= int(line.split()[1])
        return Memory(min(total, share), min(available, max(0, share - used)))
    return Memory(total, available)


def supported_precision(precision: str) -> str:
    """This precision where the hardware has it, else what `auto` gives."""
    try:
        return choose_precision(precision, parameters=0, quantized=True)[0]
    except YoyakError:
        return choose_precision("auto", parameters=0, quantized=True)[0]


def choose_attention(attention: str, *, precision: str) -> tuple[str, str]:
    """("flash_attention_2" | "sdpa" | "eager", why). FlashAttention knows no float32.

    Raises:
        YoyakError: if FlashAttention was asked for and cannot be had.
    """
    from transformers.utils import is_flash_attn_2_available

    usable = torch.cuda.is_available() and is_flash_attn_2_available() and precision != "float32"
    if attention == "auto":
        return (
            ("flash_attention_2", "it is installed") if usable else ("sdpa", "no FlashAttention for this device and precision")
        )
    if attention == "flash_attention_2" and not usable:
        raise YoyakError(
            "model.qlora.attention: flash_attention_2 needs an NVIDIA GPU, the package flash-attn, and bfloat16 or float16; "
            "choose auto or sdpa"
        )
    return attention, "model.qlora.attention says so"


def enable_tf32() -> None:
    """Let float32 products run there, where the GPU can."""
    from transformers.utils.import_utils import enable_tf32  # the trainer's own way: torch warns of two

    if supports_tf32():
        enable_tf32(True)


def supports_tf32() -> bool:
    """Whether float32 products may run on a GPU's tensor cores with 10 bits of mantissa (Ampere and later)."""
    return torch.cuda.is_available() and torch.cuda.get_device_capability() >= (8, 0)

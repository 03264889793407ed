"""What this machine can do: devices, number formats, attention kernels and memory. Automatic choices come with a reason."""

import ctypes
import os
import platform
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import torch

from yoyak.system import portable_kernels
from yoyak.system.errors import YoyakError
from yoyak.system.processes import local_rank

# A CPU with bfloat16 gains little, or even loses, with a model of fewer parameters. Measured here: docs/log/speed.md.
BF16_MIN_PARAMETERS = 50_000_000

MEMINFO, CGROUP = Path("/proc/meminfo"), Path("/sys/fs/cgroup")  # Linux only

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # from glibc's malloc.h


class Memory(NamedTuple):
    """Bytes of RAM."""

    total: int
    available: int


def default_device() -> torch.device:
    """The GPU of this process, or the CPU if there is no GPU. With several processes, LOCAL_RANK is the GPU's number."""
    return torch.device("cuda", local_rank()) if torch.cuda.is_available() else torch.device("cpu")


def configure_cpu(threads: int | None) -> None:
    """Set the number of CPU threads of torch, and let glibc keep freed memory for the next large tensors.

    CPU kernels split a sum into one part per thread, so the number of threads changes the last bits of a result. It must come
    from the params and not from the machine or OMP_NUM_THREADS.

    By default glibc returns each freed block of over 32 MiB to the system, which then clears new pages one by one. That took a
    tenth of the training time (docs/log/speed.md). This part does nothing on macOS and with other C libraries.

    Args:
        threads: number of threads, or None to keep torch's own choice.

    Raises:
        YoyakError: if `hardware.portable` is on and torch calculates with other kernels.
    """
    portable_kernels.check()
    if threads:
        torch.set_num_threads(threads)
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_THRESHOLD, 1 << 30)
        libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def choose_precision(precision: str, *, parameters: int, quantized: bool = False) -> tuple[str, str]:
    """Choose the number format for `training.precision` on this hardware.

    Args:
        precision: value of `training.precision`: "auto", "float32", "bfloat16" or "float16".
        parameters: number of parameters of the model. It matters only for "auto" on a CPU.
        quantized: whether the model has quantized layers, which compute in float32 on a CPU.

    Returns:
        "float32", "bfloat16" or "float16", and the reason for the choice.

    Raises:
        YoyakError: if this hardware does not support the requested format.
    """
    gpu = torch.cuda.is_available()
    gpu_bf16 = gpu and torch.cuda.is_bf16_supported(including_emulation=False)
    if precision == "auto":
        if gpu:
            return ("bfloat16", "this GPU supports it") if gpu_bf16 else ("float16", "this GPU has no bfloat16")
        if quantized:
            return "float32", "quantized layers on a CPU"
        if portable_kernels.in_use():
            return "float32", "hardware.portable"
        if not _cpu_supports_bf16():
            return "float32", "this CPU has no bfloat16"
        if parameters >= BF16_MIN_PARAMETERS:
            return "bfloat16", "this CPU supports it, and the model is large enough to gain from it"
        return "float32", "a small model is not faster in bfloat16 on a CPU"
    if precision == "float16" and not gpu:
        raise YoyakError("training.precision: float16 needs a GPU; choose auto, bfloat16 or float32")
    if precision == "bfloat16" and gpu and not gpu_bf16:
        raise YoyakError("training.precision: this GPU has no bfloat16; choose auto or float16")
    return precision, "set by training.precision"


def _cpu_supports_bf16() -> bool:
    """Whether the CPU has bfloat16 instructions.

    On x86, oneDNN also says yes for every CPU with AVX-512. Without AVX512-BF16 or AMX it emulates bfloat16 in float32, which
    takes twice as long as float32 (docs/log/speed.md).
    """
    instructions = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    is_x86 = platform.machine() in ("x86_64", "AMD64")
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()) and (instructions or not is_x86)


def supported_precision(precision: str) -> str:
    """`precision` if this hardware supports it, or else what "auto" chooses here for a quantized model."""
    try:
        return choose_precision(precision, parameters=0, quantized=True)[0]
    except YoyakError:
        return choose_precision("auto", parameters=0, quantized=True)[0]


def memory_bytes() -> Memory:
    """Total and available RAM, in bytes.

    On Linux, "available" includes the file cache, which the system frees when a program needs memory. In a container (cgroup
    version 2), both numbers are limited to the container's share. Where /proc/meminfo is missing, as on macOS, the numbers come
    from os.sysconf. macOS does not report available memory there, so `available` equals `total`.
    """
    try:
        lines = [line.split() for line in MEMINFO.read_text(encoding="utf-8").splitlines()]
    except FileNotFoundError:
        return _memory_from_sysconf()
    kib = {line[0]: int(line[1]) for line in lines}
    total, available = kib["MemTotal:"] * 1024, kib["MemAvailable:"] * 1024
    with suppress(OSError, ValueError):  # outside a container there is no such file, or its value is "max"
        limit = int((CGROUP / "memory.max").read_text(encoding="utf-8"))
        used = int((CGROUP / "memory.current").read_text(encoding="utf-8"))
        for line in (CGROUP / "memory.stat").read_text(encoding="utf-8").splitlines():
            if line.startswith(("inactive_file ", "active_file ")):  # the file cache
                used -= int(line.split()[1])
        return Memory(min(total, limit), min(available, max(0, limit - used)))
    return Memory(total, available)


def _memory_from_sysconf() -> Memory:
    page, total = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_PHYS_PAGES")
    available = os.sysconf("SC_AVPHYS_PAGES") if "SC_AVPHYS_PAGES" in os.sysconf_names else total
    return Memory(total * page, available * page)


def choose_attention(attention: str, *, precision: str) -> tuple[str, str]:
    """Choose the attention kernel for `model.qlora.attention` on this hardware.

    Args:
        attention: value of `model.qlora.attention`: "auto", "sdpa", "eager" or "flash_attention_2".
        precision: number format of the model. FlashAttention does not support float32.

    Returns:
        "flash_attention_2", "sdpa" or "eager", and the reason for the choice.

    Raises:
        YoyakError: if FlashAttention is requested and cannot be used.
    """
    from transformers.utils import is_flash_attn_2_available

    has_flash = torch.cuda.is_available() and is_flash_attn_2_available() and precision != "float32"
    if attention == "auto":
        if has_flash:
            return "flash_attention_2", "it is installed"
        return "sdpa", "FlashAttention is not available for this device and precision"
    if attention == "flash_attention_2" and not has_flash:
        raise YoyakError(
            "model.qlora.attention: flash_attention_2 needs an NVIDIA GPU, the package flash-attn, and bfloat16 or float16; "
            "choose auto or sdpa"
        )
    return attention, "set by model.qlora.attention"


def enable_tf32() -> None:
    """Let float32 matrix products run in TF32 where the GPU supports it."""
    from transformers.utils import import_utils

    if supports_tf32():
        import_utils.enable_tf32(True)  # the trainer's own function, because torch warns when two APIs are mixed


def supports_tf32() -> bool:
    """Whether the GPU has TF32: float32 products on tensor cores, with 10 bits of mantissa (NVIDIA Ampere and later)."""
    return torch.cuda.is_available() and torch.cuda.get_device_capability() >= (8, 0)

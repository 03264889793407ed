"""Choices that depend on the hardware, for pretended machines and for this one."""

import ctypes
import os
import platform
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from yoyak.system import hardware
from yoyak.system.errors import YoyakError

SMALL, LARGE = 1_000_000, 124_000_000


def pretend(monkeypatch: pytest.MonkeyPatch, machine: str) -> None:
    """Pretend that this machine is a "cpu" or a "gpu", with or without " bf16"."""
    has_bf16 = "bf16" in machine
    monkeypatch.setattr(torch.cuda, "is_available", lambda: "gpu" in machine)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: has_bf16)
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: has_bf16 or "AVX-512" in machine)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: has_bf16 and "AMX" not in machine)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: "AMX" in machine)
    monkeypatch.setattr(platform, "machine", lambda: "aarch64" if "ARM" in machine else "x86_64")


@pytest.mark.parametrize(
    ("asked", "machine", "parameters", "expected"),
    [
        ("auto", "gpu bf16", SMALL, "bfloat16"),
        ("auto", "gpu", SMALL, "float16"),
        ("auto", "gpu", LARGE, "float16"),
        ("auto", "cpu bf16", LARGE, "bfloat16"),
        ("auto", "cpu bf16", SMALL, "float32"),
        ("auto", "cpu bf16", 50_000_000, "bfloat16"),
        ("auto", "cpu bf16", 49_999_999, "float32"),
        ("auto", "cpu", LARGE, "float32"),
        ("auto", "cpu AVX-512", LARGE, "float32"),  # oneDNN emulates it
        ("auto", "cpu AMX bf16", LARGE, "bfloat16"),
        ("auto", "cpu ARM", LARGE, "float32"),
        ("float32", "gpu bf16", LARGE, "float32"),
        ("float16", "gpu bf16", LARGE, "float16"),
        ("bfloat16", "gpu bf16", SMALL, "bfloat16"),
        ("bfloat16", "cpu", SMALL, "bfloat16"),
        ("bfloat16", "gpu", LARGE, "this GPU has no bfloat16"),
        ("float16", "cpu bf16", LARGE, "float16 needs a GPU"),
        ("float16", "cpu", LARGE, "float16 needs a GPU"),
    ],
)
def test_choose_precision(monkeypatch: pytest.MonkeyPatch, asked: str, machine: str, parameters: int, expected: str) -> None:
    pretend(monkeypatch, machine)
    if " " in expected:
        with pytest.raises(YoyakError, match=rf"^training\.precision: .*{expected}"):
            hardware.choose_precision(asked, parameters=parameters)
    else:
        chosen, why = hardware.choose_precision(asked, parameters=parameters)
        assert chosen == expected
        assert why


@pytest.mark.parametrize(
    ("asked", "machine", "expected"),
    [
        ("auto", "cpu", "float32"),
        ("auto", "cpu bf16", "float32"),  # a model of this size without quantization gets bfloat16
        ("auto", "gpu", "float16"),
        ("auto", "gpu bf16", "bfloat16"),
        ("float32", "gpu bf16", "float32"),
        ("bfloat16", "cpu bf16", "bfloat16"),
        ("float16", "cpu", "float16 needs a GPU"),
        ("bfloat16", "gpu", "this GPU has no bfloat16"),
    ],
)
@pytest.mark.parametrize("parameters", [0, LARGE])
def test_choose_precision_of_a_quantized_model(
    monkeypatch: pytest.MonkeyPatch, asked: str, machine: str, parameters: int, expected: str
) -> None:
    """Quantized layers compute in float32 on a CPU, whatever the size of the model."""
    pretend(monkeypatch, machine)
    if " " in expected:
        with pytest.raises(YoyakError, match=rf"^training\.precision: .*{expected}"):
            hardware.choose_precision(asked, parameters=parameters, quantized=True)
    else:
        chosen, why = hardware.choose_precision(asked, parameters=parameters, quantized=True)
        assert chosen == expected
        assert ("quantized" in why) == (asked == "auto" and "cpu" in machine)


@pytest.mark.parametrize(
    ("asked", "machine", "installed", "precision", "expected"),
    [
        ("auto", "cpu", True, "bfloat16", "sdpa"),
        ("auto", "cpu", False, "float32", "sdpa"),
        ("auto", "gpu", False, "bfloat16", "sdpa"),
        ("auto", "gpu", True, "float32", "sdpa"),  # FlashAttention does not support it
        ("auto", "gpu", True, "bfloat16", "flash_attention_2"),
        ("auto", "gpu", True, "float16", "flash_attention_2"),
        ("sdpa", "gpu", True, "bfloat16", "sdpa"),
        ("eager", "gpu", True, "bfloat16", "eager"),
        ("sdpa", "cpu", False, "float32", "sdpa"),
        ("eager", "cpu", False, "float32", "eager"),
        ("flash_attention_2", "gpu", True, "float16", "flash_attention_2"),
        ("flash_attention_2", "cpu", True, "bfloat16", None),
        ("flash_attention_2", "gpu", False, "bfloat16", None),
        ("flash_attention_2", "gpu", True, "float32", None),
    ],
)
def test_choose_attention(
    monkeypatch: pytest.MonkeyPatch, *, asked: str, machine: str, installed: bool, precision: str, expected: str | None
) -> None:
    import transformers.utils

    pretend(monkeypatch, machine)
    monkeypatch.setattr(transformers.utils, "is_flash_attn_2_available", lambda: installed)
    if expected is None:
        with pytest.raises(YoyakError, match=r"^model\.qlora\.attention: flash_attention_2 needs .* choose auto or sdpa$"):
            hardware.choose_attention(asked, precision=precision)
    else:
        chosen, why = hardware.choose_attention(asked, precision=precision)
        assert chosen == expected
        assert why


def test_on_arm_onednn_decides_whether_there_is_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, "cpu ARM AVX-512")
    assert hardware.choose_precision("auto", parameters=LARGE)[0] == "bfloat16"


@pytest.mark.parametrize(
    ("share", "used", "files", "expected"),
    [
        (None, None, 0, (8_000_000, 6_000_000)),
        ("max", "9", 0, (8_000_000, 6_000_000)),
        ("3072000", "2048000", 0, (3000, 1000)),
        ("3072000", "2048000", 1024000, (3000, 2000)),
        ("7168000000", "1024", 0, (7_000_000, 6_000_000)),
        ("1024", "2048", 0, (1, 0)),
    ],
)
def test_available_memory_includes_the_file_cache_and_is_limited_to_the_container(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    share: str | None,
    used: str | None,
    files: int,
    expected: tuple[int, int],
) -> None:
    monkeypatch.setattr(hardware, "MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(hardware, "CGROUP", tmp_path)
    numbers = {"MemTotal": 8_000_000, "MemFree": 100_000, "MemAvailable": 6_000_000}
    (tmp_path / "meminfo").write_text("".join(f"{name}: {kib} kB\n" for name, kib in numbers.items()))
    for name, text in (("memory.max", share), ("memory.current", used)):
        if text is not None:
            (tmp_path / name).write_text(f"{text}\n")
    (tmp_path / "memory.stat").write_text(f"anon 9\ninactive_file {files // 4}\nactive_file {files // 4 * 3}\nfile {files}\n")
    assert hardware.memory_bytes() == tuple(kib * 1024 for kib in expected)


def test_memory_of_this_machine() -> None:
    total, available = hardware.memory_bytes()
    assert 0 < available < total


@pytest.mark.parametrize(
    ("names", "expected"),
    [({"SC_AVPHYS_PAGES": 1}, (8_000 * 4096, 3_000 * 4096)), ({}, (8_000 * 4096, 8_000 * 4096))],
)
def test_memory_comes_from_sysconf_without_proc(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, names: dict[str, int], expected: tuple[int, int]
) -> None:
    """As on macOS, where SC_AVPHYS_PAGES is missing too."""
    values = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 8_000, "SC_AVPHYS_PAGES": 3_000}
    monkeypatch.setattr(hardware, "MEMINFO", tmp_path / "none")
    monkeypatch.setattr(os, "sysconf_names", names)
    monkeypatch.setattr(os, "sysconf", lambda name: values[name])
    assert hardware.memory_bytes() == expected


@pytest.mark.parametrize("library", ["glibc", ""])
def test_the_allocator_is_only_configured_with_glibc(monkeypatch: pytest.MonkeyPatch, library: str) -> None:
    calls: list[object] = []
    monkeypatch.setattr(platform, "libc_ver", lambda: (library, ""))
    monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace(mallopt=lambda *given: calls.append(given)))
    hardware.configure_cpu(None)
    assert len(calls) == (2 if library else 0)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_choices_on_this_cpu_without_pretending() -> None:
    assert hardware.default_device() == torch.device("cpu")
    assert not hardware.supports_tf32()
    assert hardware.choose_attention("auto", precision="float32")[0] == "sdpa"
    assert hardware.choose_precision("auto", parameters=LARGE, quantized=True)[0] == "float32"
    with pytest.raises(YoyakError, match=r"model\.qlora\.attention"):
        hardware.choose_attention("flash_attention_2", precision="bfloat16")


@pytest.mark.parametrize(
    ("machine", "rank", "expected"),
    [("cpu", None, "cpu"), ("cpu", "1", "cpu"), ("gpu", None, "cuda:0"), ("gpu", "3", "cuda:3")],
)
def test_each_process_has_its_own_device(
    monkeypatch: pytest.MonkeyPatch, machine: str, rank: str | None, expected: str
) -> None:
    pretend(monkeypatch, machine)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    if rank:
        monkeypatch.setenv("LOCAL_RANK", rank)
    assert hardware.default_device() == torch.device(expected)


@pytest.mark.parametrize(
    ("machine", "capability", "expected"),
    [
        ("cpu", (9, 0), False),
        ("gpu", (7, 5), False),
        ("gpu", (8, 0), True),
        ("gpu", (8, 9), True),
        ("gpu", (9, 0), True),
    ],
)
def test_tf32_is_enabled_where_the_gpu_supports_it(
    monkeypatch: pytest.MonkeyPatch, machine: str, capability: tuple[int, int], expected: bool
) -> None:
    set_to: list[bool] = []
    monkeypatch.setattr("transformers.utils.import_utils.enable_tf32", set_to.append)
    pretend(monkeypatch, machine)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    assert hardware.supports_tf32() == expected
    hardware.enable_tf32()
    assert set_to == ([True] if expected else [])


@pytest.mark.parametrize(("machine", "saved", "used"), [("cpu", "float16", "float32"), ("cpu", "float32", "float32")])
def test_the_precision_of_training_is_used_where_it_is_supported(
    monkeypatch: pytest.MonkeyPatch, machine: str, saved: str, used: str
) -> None:
    pretend(monkeypatch, machine)
    assert hardware.supported_precision(saved) == used


@pytest.mark.very_slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's allocator has these settings")
def test_memory_of_freed_tensors_is_used_for_the_next_ones() -> None:
    """Counts the page faults for 20 tensors of 64 MiB, one after the other, in a separate process."""
    code = (
        "import resource, sys, torch; from yoyak.system import hardware\n"
        "if sys.argv[1] == 'kept': hardware.configure_cpu(None)\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "for _ in range(20): torch.ones(1 << 24)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)"
    )
    kept, given_back = (
        int(subprocess.run([sys.executable, "-c", code, how], check=True, capture_output=True, text=True).stdout)
        for how in ("kept", "given back")
    )
    assert kept < given_back / 2

import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from yoyak.system import hardware
from yoyak.system.errors import YoyakError

SMALL, LARGE = 1_000_000, 124_000_000


def pretend(monkeypatch: pytest.MonkeyPatch, machine: str) -> None:
    """This machine is "cpu" or "gpu", with or without " bf16"."""
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
        ("auto", "cpu AVX-512", LARGE, "float32"),  # oneDNN would emulate it
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
        ("auto", "cpu bf16", "float32"),  # where a plain model of this size gets bfloat16
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
    """Its layers compute in float32 on a CPU, however large it is."""
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
        ("auto", "gpu", True, "float32", "sdpa"),  # FlashAttention knows none
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


def test_an_arm_processor_has_bf16_by_onednns_word(monkeypatch: pytest.MonkeyPatch) -> None:
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
def test_memory_is_what_can_be_had(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    share: str | None,
    used: str | None,
    files: int,
    expected: tuple[int, int],
) -> None:
    """Not what nothing is in: a file that was read stays there until others need its place. Of a container, its share."""
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


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")
def test_on_this_cpu_nothing_needs_to_be_pretended() -> None:
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
def test_tf32_where_the_gpu_has_it(
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
def test_what_training_used_is_used_again_where_it_can_be(
    monkeypatch: pytest.MonkeyPatch, machine: str, saved: str, used: str
) -> None:
    pretend(monkeypatch, machine)
    assert hardware.supported_precision(saved) == used


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="by glibc's allocator alone")
def test_memory_of_large_tensors_serves_the_next_ones() -> None:
    """Pages that the system had to hand out for 20 tensors of 64 MiB, one after the other, in a process of its own."""
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

"""`hardware.portable`: which libraries are told to take which kernels, and the results that other processors gave."""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

from bench import portable
from tests.conftest import ROOT
from yoyak.config.params import parse_params
from yoyak.config.yaml_files import read_yaml
from yoyak.system import hardware, portable_kernels
from yoyak.system.errors import YoyakError

EXPECTED = json.loads((ROOT / "bench/results/portable.json").read_text(encoding="utf-8"))


@pytest.fixture(autouse=True)
def restored_environment() -> Iterator[None]:
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


def test_nothing_changes_unless_asked_for() -> None:
    before = dict(os.environ)
    portable_kernels.use_if(False)
    assert dict(os.environ) == before
    assert not portable_kernels.in_use()


def test_another_architecture_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    with pytest.raises(YoyakError, match="needs an x86-64 processor, this one is arm64"):
        portable_kernels.use_if(True)


def test_torch_that_chose_other_kernels_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    portable_kernels.check()  # nothing was asked for
    portable_kernels.use_if(True)
    with pytest.raises(YoyakError, match="AVX512 kernels instead of AVX2"):
        hardware.configure_cpu(None)


def test_precision_and_int8_follow() -> None:
    from yoyak.inference.backends.ctranslate2_int8 import BACKEND

    portable_kernels.use_if(True)
    assert hardware.choose_precision("auto", parameters=10**9) == ("float32", "hardware.portable")
    assert BACKEND.why_not(None, None) == "with hardware.portable, int8 is slower than float32"  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("hardware.cpu_threads", None, "needs a number in hardware.cpu_threads"),
        ("training.precision", "bfloat16", "needs training.precision: auto or float32"),
        ("training.optim", "adamw_torch", "needs training.optim: adamw_torch_fused or sgd"),
        ("pretrain.optim", "adafactor", "needs pretrain.optim: adamw_torch_fused or sgd"),
    ],
)
def test_params_that_are_not_portable_are_refused(key: str, value: object, said: str) -> None:
    from yoyak.search.base_params import apply_changes

    values = apply_changes({key: value}, read_yaml(ROOT / "params.yaml"))  # type: ignore[arg-type]
    parse_params(values, source="params.yaml")
    with pytest.raises(YoyakError, match=f"hardware.portable: {said}"):
        parse_params(apply_changes({"hardware.portable": True}, values), source="params.yaml")


def test_a_new_process_calculates_with_portable_kernels() -> None:
    """The hash is of a product that MKL computes otherwise with AVX2 or AVX-512."""
    script = (
        "from yoyak.system import portable_kernels; portable_kernels.use_if(True); portable_kernels.use_if(True)\n"
        "import hashlib, torch; portable_kernels.check(); torch.set_num_threads(1)\n"
        "values = torch.arange(40_000, dtype=torch.float32).reshape(200, 200).cos()\n"
        "product = values @ torch.nn.functional.gelu(values)\n"
        "print(hashlib.sha256(product.numpy().tobytes()).hexdigest())\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "cfe29954f83ec075d9828fb1c05990d846339ddc7b9f836d5cb29962bc62c94d"


@pytest.mark.very_slow
@pytest.mark.parametrize("family", ["kobart", "qlora"])
def test_this_processor_gives_the_bytes_of_the_others(tmp_path: Path, family: str) -> None:
    """If code, params or packages changed, run `python -m bench.portable --write`."""
    changed = {name: version(name) for name in portable.PACKAGES if version(name) != EXPECTED["packages"][name]}
    if changed:
        pytest.skip(f"the packages are others than in bench/results/portable.json: {changed}")
    found = portable.small_run(family, tmp_path / "run")
    if found != EXPECTED[family]["hashes"] and (processor := portable.processor_name()) not in EXPECTED[family]["processors"]:
        pytest.xfail(f"the promise does not hold on a processor that was never compared: {processor}")
    assert found == EXPECTED[family]["hashes"]

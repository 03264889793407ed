"""`hardware.portable`: the same bytes on every x86-64 processor with AVX2.

The libraries that calculate have kernels for several instruction sets, and choose by the processor. Kernels for other
instructions round in another order. This module makes all of them take kernels that exist on each of these processors:

- torch's own kernels are those for AVX2.
- oneDNN, which computes GELU in torch, compiles for AVX2.
- MKL, which multiplies matrices in torch and CTranslate2, takes its branch "COMPATIBLE". It is the only one for which Intel
  promises the same results on processors of Intel and of others. It uses SSE2.
- CTranslate2 takes its kernels for AVX2, and MKL on each processor.
- No GPU is used.

The square root of MKL's vector library starts from an estimate (rsqrtps) that differs between processors, also in this branch.
Of the optimizers, `adamw_torch` and others use it. So params.yaml allows only those without it.

Sources: oneMKL Developer Guide, "Obtaining Numerically Reproducible Results"; oneDNN's ONEDNN_MAX_CPU_ISA; CTranslate2's
"Environment variables"; aten/src/ATen/native/DispatchStub.cpp for ATEN_CPU_CAPABILITY. What was compared, and on which
processors: docs/explanation/determinism.md.
"""

import os
import platform

from yoyak.system.errors import YoyakError

ENVIRONMENT = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_CBWR": "COMPATIBLE",
    "CT2_FORCE_CPU_ISA": "AVX2",
    "CT2_USE_MKL": "1",
    "CUDA_VISIBLE_DEVICES": "",
}


def use_if(portable: bool) -> None:
    """Make this process and its children calculate with portable kernels, if asked to. Call it before torch is imported.

    `check` then tells whether torch did so.

    Raises:
        YoyakError: if this is not an x86-64 processor.
    """
    if portable:
        if platform.machine() not in ("x86_64", "AMD64"):
            raise YoyakError(f"hardware.portable: needs an x86-64 processor, this one is {platform.machine()}; choose false")
        os.environ.update(ENVIRONMENT)


def in_use() -> bool:
    """Whether `use_if` chose portable kernels in this process or in the one that started it."""
    return all(os.environ.get(name) == value for name, value in ENVIRONMENT.items())


def check() -> None:
    """Verify that torch calculates with portable kernels, if they were chosen.

    Raises:
        YoyakError: if it does not, because the processor has no AVX2 or torch was imported before.
    """
    import torch

    if in_use() and (kernels := torch.backends.cpu.get_cpu_capability()) != "AVX2":
        raise YoyakError(
            f"hardware.portable: torch calculates with {kernels} kernels instead of AVX2; choose false if this processor has "
            "no AVX2, or else start a new process, because torch was imported too early in this one"
        )

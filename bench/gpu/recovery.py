"""The same bytes: a training twice with full_determinism, and once more with a kill by the system and a second start."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from bench import ROOT
from bench.gpu.outcomes import Figures, WrongResultError, require


def kobart(small: bool) -> Figures:
    return _same_bytes("kobart", small)


def qlora(small: bool) -> Figures:
    return _same_bytes("qlora", small)


def _same_bytes(family: str, small: bool) -> Figures:
    rows = 16 if small else 64
    with tempfile.TemporaryDirectory() as folder:
        first, second, third = (Path(folder, name) for name in ("first", "second", "third"))
        # Two at the same time save half of the wait. None depends on the speed of another.
        started = [_start(first, family, rows), _start(third, family, rows, kill_at=3)]
        expected = _hash(started[0])
        killed = started[1].wait()
        figures: Figures = {"hash": expected[:16], "exit of the killed run": killed}
        require(killed == -signal.SIGKILL, "the run that should be killed ended by itself", figures)
        started = [_start(second, family, rows), _start(third, family, rows)]
        figures |= {"same twice": _hash(started[0]) == expected, "same after a kill": _hash(started[1]) == expected}
    require(figures["same twice"], "two runs with full_determinism gave different weights", figures)
    return require(figures["same after a kill"], "a run that was killed and resumed gave different weights", figures)


def _start(folder: Path, family: str, rows: int, *, kill_at: int | None = None) -> "subprocess.Popen[str]":
    words = [sys.executable, "-m", "bench.gpu.training_run", str(folder), "--family", family, "--rows", str(rows)]
    words += ["--kill-at", str(kill_at)] if kill_at else []
    # cuBLAS is deterministic only with a workspace of fixed size.
    environment = os.environ | {"CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
    return subprocess.Popen(words, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _hash(process: "subprocess.Popen[str]") -> str:
    output, errors = process.communicate()
    lines = [line for line in output.splitlines() if line.startswith("HASH ")]
    if process.returncode or not lines:
        raise WrongResultError(f"a training ended with {process.returncode}: {errors.strip()[-1500:]}", {})
    return lines[-1].removeprefix("HASH ")

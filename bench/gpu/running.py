"""Runs checks in processes of their own, several at a time, each with its own limit, and writes each result at once."""

import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from bench import ROOT
from bench.gpu.checks import Check
from bench.gpu.outcomes import CannotRunError, WrongResultError

Result = dict[str, Any]  # name, kind, status, why, figures, seconds
SMALL_FACTOR = 10  # a small check on a busy CPU may take longer than the whole one on a GPU
LEAST_SECONDS = 15  # with less time left a check is not started: loading the libraries takes as long
PREFIX = "RESULT "
BAD = ("failed", "crashed", "timed out")


def perform(check: Check, *, small: bool) -> Result:
    """Run a check in this process. Whatever it raises becomes a status: failed, skipped, out of memory, or crashed."""
    start = time.perf_counter()
    status, why, figures = "measured" if check.kind == "measurement" else "passed", "", {}
    try:
        figures = check.function()(small)
    except CannotRunError as reason:
        status, why = "skipped", str(reason)
    except WrongResultError as wrong:
        status, why, figures = "failed", str(wrong), wrong.figures
    except Exception as error:  # the next check must run in any case
        why = f"{type(error).__name__}: {str(error).strip()[:500]}"
        status = "out of memory" if type(error).__name__ == "OutOfMemoryError" else "crashed"
        traceback.print_exc()
    figures.pop("texts", None)  # of a contender; the sample's texts fill a page
    return {
        "name": check.name,
        "kind": check.kind,
        "status": status,
        "why": why,
        "figures": {name: _in_json(value) for name, value in figures.items()},
        "seconds": round(time.perf_counter() - start, 1),
    }


def _in_json(value: Any) -> Any:
    """JSON has no infinity and no NaN."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def is_bad(result: Result) -> bool:
    """Whether the command must end with an error. A measurement may lack memory on a small GPU."""
    return result["status"] in BAD or (result["status"] == "out of memory" and result["kind"] == "correctness")


class Report:
    """gpu.json: what was measured where, and a result for each check, in the order of the checks."""

    def __init__(self, path: Path, about: dict[str, Any], names: Sequence[str]) -> None:
        self.path, self.about, self.names = path, about, list(names)
        self.results: dict[str, Result] = {}
        self._lock = threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)

    def add(self, result: Result) -> None:
        with self._lock:
            self.results[result["name"]] = result
            ordered = [self.results[name] for name in self.names if name in self.results]
            text = json.dumps({"about": self.about, "checks": ordered}, indent=2, ensure_ascii=False) + "\n"
            unfinished = self.path.with_suffix(".tmp")
            unfinished.write_text(text, encoding="utf-8")
            unfinished.replace(self.path)
            print(f"{result['name']:26} {result['status']:14} {result['seconds']:6.1f} s  {result['why'][:150]}", flush=True)


def run_all(checks: Sequence[Check], report: Report, *, small: bool, seconds: float, jobs: int) -> None:
    """Run the checks in their order until the time is over, those that measure time alone and the others side by side."""
    end = time.monotonic() + seconds

    def run(check: Check) -> None:
        report.add(run_one(check, small=small, end=end))

    waiting: list[Check] = []
    for check in [*checks, None]:
        if check and not check.alone:
            waiting.append(check)
            continue
        with ThreadPoolExecutor(jobs) as pool:
            list(pool.map(run, waiting))
        waiting = []
        if check:
            run(check)


def run_one(check: Check, *, small: bool, end: float) -> Result:
    """Run a check in a process of its own, and return its result, or how the process ended."""
    limit = min(check.seconds * (SMALL_FACTOR if small else 1), end - time.monotonic())
    result: Result = {"name": check.name, "kind": check.kind, "status": "skipped", "why": "", "figures": {}, "seconds": 0.0}
    if limit < min(LEAST_SECONDS, check.seconds):
        return result | {"why": "no time was left"}
    start = time.monotonic()
    words = [sys.executable, "-m", "bench.gpu", "--one", check.name, *(["--small"] if small else [])]
    # A session of its own, so that a check ends together with the processes that it started.
    process = subprocess.Popen(
        words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace", start_new_session=True
    )
    try:
        output, errors = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return result | {"status": "timed out", "why": f"it took more than {limit:.0f} s", "seconds": round(limit, 1)}
    lines = [line for line in output.splitlines() if line.startswith(PREFIX)]
    if lines:
        found: Result = json.loads(lines[-1].removeprefix(PREFIX))
        if found["status"] == "crashed":
            found["errors"] = errors.strip()[-2000:]
        return found
    how = f"signal {-process.returncode}" if process.returncode < 0 else f"exit status {process.returncode}"
    seconds = round(time.monotonic() - start, 1)
    return result | {"status": "crashed", "why": f"ended by {how}", "errors": errors.strip()[-2000:], "seconds": seconds}

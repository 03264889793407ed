"""Measure what a user waits for before the work begins.

    python -m bench.startup

That is the imports of a stage, a stage that has nothing to do, `dvc repro` that has nothing to do, and a first `make repro` in
a fresh clone of the last commit, with set-up (and its downloads, if pip's cache does not have them). Seconds are the median of
five processes, after a first one that does not count. Writes bench/results/startup.json.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench import ROOT, contest

TIMES = 5
STAGES = ("preprocess", "augment", "tokenize", "pretrain", "train_kobart", "train_qlora", "predict", "score")
# The environment of a new user: without the virtual environment in which this runs.
BARE = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH", "MAKEFLAGS")}
BARE["PATH"] = ":".join(part for part in BARE["PATH"].split(":") if not Path(part).is_relative_to(ROOT))


def seconds_of(command: list[str], root: Path, environment: dict[str, str]) -> float:
    start = time.perf_counter()
    done = subprocess.run(command, cwd=root, env=environment, check=False, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{command} failed:\n{(done.stdout + done.stderr)[-3000:]}")
    return time.perf_counter() - start


def measured(command: list[str], root: Path, environment: dict[str, str]) -> float:
    seconds = [seconds_of(command, root, environment) for _ in range(TIMES + 1)][1:]
    return round(statistics.median(seconds), 2)


def main() -> None:
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="yoyak.") as folder:
        root = Path(folder, "clone")
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(root)], check=True)
        python = f"PYTHON={Path(sys.executable).resolve()}"
        setup = seconds_of(["make", "setup", python], root, BARE)
        first = seconds_of(["make", "repro", python], root, BARE)
        taken = {"set-up": setup, "pipeline": first, "seconds": setup + first}
        results["clone to first score"] = {name: round(seconds, 1) for name, seconds in taken.items()}
        print(results["clone to first score"], flush=True)
        ready = BARE | {"PATH": f"{root}/.venv/bin:{BARE['PATH']}"}
        commands = {
            "dvc repro, nothing to do": ["dvc", "repro"],
            "a stage that ends at once": ["python", "-m", "stages.train_qlora"],
            **{f"imports of {name}": ["python", "-c", f"import stages.{name}"] for name in STAGES},
            "python alone": ["python", "-c", "pass"],
        }
        for what, command in commands.items():
            results[what] = {"seconds": measured(command, root, ready)}
            print(what, results[what], flush=True)
    contest.save(ROOT / "bench/results/startup.json", results)


if __name__ == "__main__":
    main()

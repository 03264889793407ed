"""What the benchmarks share: each contender runs in a process of its own, one after the other, and tells its figures."""

import json
import resource
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "src"))


def peak_mib() -> float:
    """Of this process so far: the GPU's allocator, or the resident set."""
    torch = sys.modules.get("torch")
    if torch and torch.cuda.is_available():
        return float(torch.cuda.max_memory_allocated() / 2**20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def tell(result: dict[str, Any]) -> None:
    print("RESULT " + json.dumps(result))


def run(script: str, names: Sequence[str], arguments: Sequence[str]) -> dict[str, Any]:
    """The figures of each contender of `script`, run as `script ARGUMENTS --one NAME`."""
    results = {}
    for name in names:
        done = subprocess.run(
            [sys.executable, script, *arguments, "--one", name], check=False, cwd=ROOT, capture_output=True, text=True
        )
        lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
        if done.returncode or not lines:
            raise SystemExit(f"{name} failed:\n{done.stderr[-3000:]}")
        results[name] = json.loads(lines[-1].removeprefix("RESULT "))
        print(name, {key: value for key, value in results[name].items() if key != "texts"}, flush=True)
    return results


def ratio(results: dict[str, Any], ours: str, theirs: str, key: str) -> dict[str, float]:
    """How often their figure goes into ours, if both ran."""
    if not {ours, theirs} <= set(results):
        return {}
    return {f"{key}: {ours} over {theirs}": round(results[ours][key] / results[theirs][key], 3)}


def save(path: Path, results: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(results["ratios"], indent=2))

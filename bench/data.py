"""Measure preprocess and tokenize on many dialogues: seconds, peak memory of all processes of a stage, and use of the cores.

    python -m bench.data --rows 250000 1000000

Memory means anonymous and shared pages of these processes, each counted once. Mapped files are counted separately, because they
are pages of the disk cache, which the system can free at any time. The rows repeat the sample's train split,
with a different number in the first turn of each dialogue. Writes bench/results/data.json.
"""

import argparse
import csv
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from bench import ROOT, contest


def write_csv(folder: Path, rows: int) -> None:
    from yoyak.system.csv_files import read_csv

    sample = ROOT / "data/sample"
    sample_rows = [cells for _, cells in read_csv(sample / "train.csv", required=["fname", "dialogue", "summary"])]
    folder.mkdir(parents=True)
    for name in ("dev.csv", "test.csv"):
        shutil.copy(sample / name, folder)
    with open(folder / "train.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(sample_rows[0]), lineterminator="\n")
        writer.writeheader()
        for number in range(rows):
            cells = sample_rows[number % len(sample_rows)]
            first, colon, rest = cells["dialogue"].partition(":")
            writer.writerow({**cells, "fname": f"train_{number}", "dialogue": f"{first}{colon} {number}번. {rest.lstrip()}"})


def memory_of(pid: int) -> tuple[float, float]:
    """Return the MiB that a process and its descendants hold, each page counted once (PSS): own pages and mapped files."""
    own, mapped, pending = 0.0, 0.0, [pid]
    while pending:
        current = pending.pop()
        try:
            lines = Path(f"/proc/{current}/smaps_rollup").read_text(encoding="ascii").splitlines()[1:]
            kib = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}
            own += (kib["Pss_Anon"] + kib["Pss_Shmem"]) / 1024
            mapped += kib["Pss_File"] / 1024
            for thread in Path(f"/proc/{current}/task").iterdir():
                pending += [int(child) for child in (thread / "children").read_text(encoding="ascii").split()]
        except (OSError, IndexError, ValueError, KeyError):
            continue  # the process has ended
    return own, mapped


def measure_stage(name: str, folder: Path) -> dict[str, Any]:
    start, before = time.perf_counter(), os.times()
    process = subprocess.Popen([sys.executable, "-m", f"stages.{name}"], cwd=folder, stdout=subprocess.DEVNULL)
    peak, mapped = 0.0, 0.0

    def watch() -> None:
        nonlocal peak, mapped
        while process.poll() is None:
            now = memory_of(process.pid)
            peak, mapped = max(peak, now[0]), max(mapped, now[1])
            time.sleep(0.2)

    watcher = threading.Thread(target=watch)
    watcher.start()
    if process.wait():
        raise SystemExit(f"{name} failed")
    watcher.join()
    seconds, after = time.perf_counter() - start, os.times()
    busy = after.children_user + after.children_system - before.children_user - before.children_system
    return {
        "seconds": round(seconds, 1),
        "peak_mib": round(peak),
        "peak_mapped_mib": round(mapped),
        "cores_busy": round(busy / seconds, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[250_000, 1_000_000])
    parser.add_argument("--json", type=Path, default=ROOT / "bench/results/data.json")
    args = parser.parse_args()
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(dir=ROOT, prefix=".bench.", suffix=".tmp") as folder:
        for rows in args.rows:
            root = Path(folder, str(rows))
            write_csv(root / "data/sample", rows)
            for name in ("stages", "src", "models/base"):
                shutil.copytree(ROOT / name, root / name)
            shutil.copy(ROOT / "params.yaml", root)
            for name in ("preprocess", "augment", "tokenize"):
                measured = measure_stage(name, root)
                if name != "augment":  # it only writes an empty file, which tokenize reads
                    results[f"{name} {rows}"] = measured
                    print(name, rows, measured, flush=True)
            shutil.rmtree(root)
    few, many = min(args.rows), max(args.rows)
    results["ratios"] = {
        f"{name}: {key} of {many} rows over {few}": round(results[f"{name} {many}"][key] / results[f"{name} {few}"][key], 2)
        for name in ("preprocess", "tokenize")
        for key in ("seconds", "peak_mib")
    }
    contest.save(args.json, results)


if __name__ == "__main__":
    main()

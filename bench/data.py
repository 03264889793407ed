"""Measure preprocess and tokenize on many dialogues: seconds, peak memory of all processes of a stage, and use of the cores.

    python -m bench.data --rows 250000 1000000
    python -m bench.data --rows 100000 1000000 --shards 8 --turns 2 --stages preprocess

Memory means anonymous and shared pages of these processes, each counted once. Mapped files are counted separately, because they
are pages of the disk cache, which the system can free at any time. The rows repeat the sample's train split,
with a different number in the first turn of each dialogue. Writes bench/results/data.json, with --shards data-shards.json.
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
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from bench import ROOT, contest

ROW_GROUP = 10_000  # rows; Hugging Face datasets writes groups of 1,000 to 100,000


def write_splits(folder: Path, rows: int, *, shards: int, turns: int | None) -> None:
    """Write dev and test of the sample, and a train split of `rows` rows: one CSV file, or so many Parquet files.

    Args:
        folder: for the files. It is made.
        rows: of train.
        shards: number of Parquet files; 0 for train.csv.
        turns: that are left of each dialogue; None for all.
    """
    from yoyak.system.csv_files import read_csv

    sample = ROOT / "data/sample"
    sample_rows = [cells for _, cells in read_csv(sample / "train.csv", required=["fname", "dialogue", "summary"])]
    folder.mkdir(parents=True)
    for name in ("dev.csv", "test.csv"):
        shutil.copy(sample / name, folder)

    def train() -> Iterator[dict[str, str]]:
        for number in range(rows):
            cells = sample_rows[number % len(sample_rows)]
            first, colon, rest = "\n".join(cells["dialogue"].split("\n")[:turns]).partition(":")
            yield {**cells, "fname": f"train_{number}", "dialogue": f"{first}{colon} {number}번. {rest.lstrip()}"}

    if not shards:
        with open(folder / "train.csv", "w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(sample_rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(train())
        return
    from pyarrow import Table as ArrowTable
    from pyarrow import parquet, schema, string

    columns, source = schema([(name, string()) for name in sample_rows[0]]), train()
    for shard in range(shards):
        size = rows * (shard + 1) // shards - rows * shard // shards
        with parquet.ParquetWriter(folder / f"train-{shard:05}-of-{shards:05}.parquet", columns) as writer:
            for start in range(0, size, ROW_GROUP):
                group = list(islice(source, min(ROW_GROUP, size - start)))
                writer.write_table(ArrowTable.from_pylist(group, schema=columns))


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
    parser.add_argument("--shards", type=int, default=0, help="write train as so many Parquet files (default: train.csv)")
    parser.add_argument("--turns", type=int, help="keep only the first turns of each dialogue (default: all)")
    parser.add_argument("--stages", nargs="+", default=["preprocess", "augment", "tokenize"])
    parser.add_argument("--json", type=Path, help="file of the results")
    args = parser.parse_args()
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(dir=ROOT, prefix=".bench.", suffix=".tmp") as folder:
        for rows in args.rows:
            root = Path(folder, str(rows))
            write_splits(root / "data/sample", rows, shards=args.shards, turns=args.turns)
            for name in ("stages", "src", "models/base"):
                shutil.copytree(ROOT / name, root / name)
            shutil.copy(ROOT / "params.yaml", root)
            for name in args.stages:
                measured = measure_stage(name, root)
                if name != "augment":  # it only writes an empty file, which tokenize reads
                    results[f"{name} {rows}"] = measured
                    print(name, rows, measured, flush=True)
            shutil.rmtree(root)
    few, many = min(args.rows), max(args.rows)
    results["ratios"] = {
        f"{name}: {key} of {many} rows over {few}": round(results[f"{name} {many}"][key] / results[f"{name} {few}"][key], 2)
        for name in args.stages
        if name != "augment"
        for key in ("seconds", "peak_mib")
    }
    default = ROOT / "bench/results" / ("data-shards.json" if args.shards else "data.json")
    contest.save(args.json or default, results)


if __name__ == "__main__":
    main()

"""The memory of `yoyak serve` over many requests: 64 clients, resident memory every minute.

    python -m bench.serving_memory --requests 100000
    python -m bench.serving_memory --model packages/kobart --requests 600000 --minutes 120

Almost every request has a dialogue that the server has not seen before: some turns of one of dev and test in another order. So
what a server keeps of each text shows as growth. One request in 20 is an original dialogue, whose answer is compared with what
`Summarizer` writes. It ends after --requests or --minutes, whichever comes first. The result stands in
bench/results/serving.json under "memory"; the other figures there stay.
"""

import argparse
import asyncio
import json
import os
import random
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench import ROOT
from bench.serving import Load, expected_pairs, get, metric, run_clients, served

RSS = "process_resident_memory_bytes"
ORIGINAL = 20  # one request in so many has a dialogue of the data
WARM_SECONDS = 120.0  # until allocators have what they need; the slope begins there


def unseen(dialogue: str, generator: random.Random) -> str:
    """Some turns of a dialogue in another order; at least one."""
    turns = [line for line in dialogue.splitlines() if line.strip()]
    return "\n".join(generator.sample(turns, generator.randint(max(1, len(turns) // 2), len(turns))))


def requests(pairs: Sequence[tuple[str, str]], count: int, end: float, seed: int = 42) -> Iterator[tuple[str, str | None]]:
    """Dialogues and what the server should write, None for new ones. They stop after `count`, or at `end` (monotonic)."""
    generator = random.Random(seed)
    for number in range(count):
        if time.monotonic() > end:
            return
        dialogue, summary = pairs[number % len(pairs)]
        yield (dialogue, summary) if number % ORIGINAL == 0 else (unseen(dialogue, generator), None)


async def _watch(port: int, load: Load, every: float, samples: list[dict[str, float]]) -> None:
    start = time.monotonic()
    while True:
        rss = await asyncio.to_thread(metric, port, RSS)
        now = {"minute": round((time.monotonic() - start) / 60, 2), "requests": len(load.latencies)}
        samples.append({**now, "rss_mib": round(rss / 2**20, 1)})
        print(samples[-1], flush=True)
        await asyncio.sleep(every)


def measure(port: int, work: Iterator[tuple[str, str | None]], *, clients: int, every: float) -> dict[str, Any]:
    """Send everything, and read the memory at the start, every `every` seconds and at the end."""
    load, samples = Load(), list[dict[str, float]]()

    async def both() -> None:
        watcher = asyncio.create_task(_watch(port, load, every, samples))
        await run_clients(port, work, load, clients=clients)
        watcher.cancel()

    start = time.monotonic()
    asyncio.run(both())
    minutes = (time.monotonic() - start) / 60
    last = round(metric(port, RSS) / 2**20, 1)
    samples.append({"minute": round(minutes, 2), "requests": len(load.latencies), "rss_mib": last})
    return {**load.report(), "minutes": round(minutes, 1), "rss": samples, **growth(samples)}


def growth(samples: Sequence[dict[str, float]]) -> dict[str, float | None]:
    """The slope of the memory over the requests after the first minutes, by least squares; None for fewer than 3 points."""
    late = [one for one in samples if one["minute"] * 60 >= WARM_SECONDS]
    if len(late) < 3 or late[0]["requests"] == late[-1]["requests"]:
        return {"kib_a_thousand_requests": None}
    slope = np.polyfit([one["requests"] for one in late], [one["rss_mib"] for one in late], 1)[0]
    return {"kib_a_thousand_requests": round(float(slope) * 1024 * 1000, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("models/kobart"), help="folder of a trained model")
    parser.add_argument("--data", type=Path, default=Path("data/sample"), help="folder with dev.csv and test.csv")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--dialogues", type=int, default=600, help="from which the requests are made")
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--every", type=float, default=60.0, help="seconds between two readings")
    parser.add_argument("--argument", action="append", default=[], help="for `yoyak serve`; may be given several times")
    parser.add_argument("--output", type=Path, default=ROOT / "bench/results/serving.json")
    args = parser.parse_args()
    pairs = expected_pairs(args.model, args.data, args.dialogues)
    setting: dict[str, Any] = {"model": str(args.model), "clients": args.clients, "dialogues": len(pairs)}
    setting |= {"cores": os.cpu_count(), "load_average": os.getloadavg()[0], "arguments": args.argument}
    with served(args.model, args.argument) as port:
        setting["backend"] = json.loads(get(port, "/healthz"))["backend"]
        work = requests(pairs, args.requests, time.monotonic() + args.minutes * 60)
        results = measure(port, work, clients=args.clients, every=args.every)
    kept = json.loads(args.output.read_text(encoding="utf-8")) if args.output.is_file() else {}
    kept["memory"] = {"setting": setting, **results}
    args.output.write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")
    print(json.dumps({key: value for key, value in results.items() if key != "rss"}, indent=2))


if __name__ == "__main__":
    main()

"""Load `yoyak serve`: one request at a time against 64 clients at once.

    python -m bench.serving                # models/kobart, which `dvc repro` trains
    python -m bench.serving --model packages/kobart --requests 20000

Each client keeps one connection and sends its next dialogue when it has an answer. The clients share the cores with the server.
Both loads take turns, because the speed of a machine changes; the ratio is the median of the rounds. Every answer is compared
with what `Summarizer` writes. Memory is read before and after all requests of a round. With --batches the same dialogues are
also written alone and in batches of several sizes, by each backend of CTranslate2, and texts that differ are counted. Writes
bench/results/serving.json.
"""

import argparse
import asyncio
import csv
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import ROOT, contest

BACKENDS, SIZES = ("ctranslate2", "ctranslate2-int8"), (4, 8, 16, 32)
SECONDS_TO_START, PATH = 300, "/v1/summaries"


@dataclass
class Load:
    """What one load gave: seconds of each answer, and what was wrong."""

    latencies: list[float] = field(default_factory=list)
    wrong: int = 0  # answers with another text than expected, or another status than 200
    lost: int = 0  # requests without an answer
    seconds: float = 0.0

    def report(self) -> dict[str, Any]:
        cuts = statistics.quantiles(self.latencies, n=100) if len(self.latencies) > 1 else self.latencies * 99
        return {
            "requests": len(self.latencies) + self.lost,
            "requests_a_second": round(len(self.latencies) / self.seconds, 1),
            "wrong": self.wrong,
            "lost": self.lost,
            **{f"p{cut}_ms": round(cuts[cut - 1] * 1000, 1) for cut in (50, 95, 99)},
        }


async def _exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> tuple[int, bytes]:
    """Send a request over an open connection and read the answer: status and body."""
    writer.write(request)
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    length = int(re.search(r"(?i)content-length: (\d+)", head)[1])  # type: ignore[index]
    return int(head.split(" ", 2)[1]), await reader.readexactly(length)


def _request(dialogue: str, port: int) -> bytes:
    body = json.dumps({"dialogues": [dialogue]}, ensure_ascii=False).encode()
    fields = {"Host": f"127.0.0.1:{port}", "Content-Type": "application/json", "Content-Length": len(body)}
    head = "\r\n".join([f"POST {PATH} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()), "", ""])
    return head.encode() + body


async def _client(port: int, work: Iterator[tuple[str, str | None]], load: Load) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for dialogue, expected in work:
            start = time.perf_counter()
            try:
                status, body = await _exchange(reader, writer, _request(dialogue, port))
            except (OSError, asyncio.IncompleteReadError):
                load.lost += 1
                return
            load.latencies.append(time.perf_counter() - start)
            summary = json.loads(body)["summaries"][0]["summary"] if status == 200 else None
            load.wrong += summary is None or expected not in (None, summary)
    finally:
        writer.close()


async def run_clients(port: int, work: Iterator[tuple[str, str | None]], load: Load, *, clients: int) -> None:
    """Send everything in `work` once; where there is no expected text, only the status is checked."""
    start = time.perf_counter()
    await asyncio.gather(*(_client(port, work, load) for _ in range(clients)))
    load.seconds = time.perf_counter() - start


def run_load(port: int, pairs: Sequence[tuple[str, str]], *, clients: int) -> Load:
    """Send every dialogue once.

    Args:
        port: of the server.
        pairs: dialogues and what the server should write.
        clients: at the same time.
    """
    load, work = Load(), iter(pairs)
    asyncio.run(run_clients(port, work, load, clients=clients))
    load.lost += sum(1 for _ in work)  # nobody was left to send them
    return load


def get(port: int, path: str) -> bytes:
    """The body of a page."""

    async def read() -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        _, body = await _exchange(reader, writer, f"GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n".encode())
        writer.close()
        return body

    return asyncio.run(read())


def metric(port: int, name: str) -> float:
    """A number of /metrics."""
    found = re.search(rf"(?m)^{name} (\S+)$", get(port, "/metrics").decode())
    assert found, name
    return float(found[1])


@contextmanager
def served(model: Path, arguments: Sequence[str] = ()) -> Iterator[int]:
    """A server of the model on a free port, in its own process. Yields the port."""
    environment = {name: value for name, value in os.environ.items() if name != "YOYAK_SERVE_KEY"}
    command = [sys.executable, "-m", "yoyak", "serve", str(model), "--port", "0", *arguments]
    with tempfile.TemporaryFile("w+", encoding="utf-8") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=log)
        try:
            yield _wait_for_port(process, lambda: os.pread(log.fileno(), 10_000, 0).decode("utf-8", "replace"))
        finally:
            process.terminate()
            process.wait(timeout=60)


def _wait_for_port(process: "subprocess.Popen[bytes]", read: Callable[[], str]) -> int:
    end = time.monotonic() + SECONDS_TO_START
    while not (ready := re.search(r":(\d+): ready", read())):
        if process.poll() is not None or time.monotonic() > end:
            raise SystemExit(f"the server does not start:\n{read()}")
        time.sleep(0.1)
    return int(ready[1])


def expected_pairs(model: Path, data: Path, count: int) -> list[tuple[str, str]]:
    """Dialogues of dev and test, and what a Summarizer writes for them."""
    from yoyak import Summarizer

    dialogues: list[str] = []
    for name in ("dev.csv", "test.csv"):
        with open(data / name, encoding="utf-8-sig", newline="") as file:
            dialogues += [row["dialogue"] for row in csv.DictReader(file)]
    dialogues = dialogues[:count]
    return list(zip(dialogues, Summarizer.load(model).summarize_many(dialogues), strict=True))


def measure(port: int, pairs: Sequence[tuple[str, str]], *, clients: int, rounds: int, requests: int) -> dict[str, Any]:
    """All rounds, and then further requests for the memory."""
    results: dict[str, Any] = {"rounds": []}

    def loaded(pairs: Sequence[tuple[str, str]], clients: int) -> dict[str, Any]:
        before = metric(port, "process_cpu_seconds_total")
        report = run_load(port, pairs, clients=clients).report()
        seconds = metric(port, "process_cpu_seconds_total") - before
        return {**report, "cpu_ms_a_request": round(seconds * 1000 / report["requests"], 1)}

    run_load(port, pairs[: 2 * clients], clients=clients)  # does not count: the first batches allocate memory
    memory = [metric(port, "process_resident_memory_bytes")]
    for _ in range(rounds):
        one = loaded(pairs[: max(1, len(pairs) // 4)], 1)
        many = loaded(pairs, clients)
        memory.append(metric(port, "process_resident_memory_bytes"))
        ratio = round(many["requests_a_second"] / one["requests_a_second"], 2)
        results["rounds"].append({"one at a time": one, f"{clients} clients": many, "times": ratio})
        print(results["rounds"][-1], flush=True)
    results["times"] = statistics.median(one["times"] for one in results["rounds"])
    if requests:
        results["further"] = loaded([pairs[number % len(pairs)] for number in range(requests)], clients)
        memory.append(metric(port, "process_resident_memory_bytes"))
    results["memory_mib"] = [round(value / 2**20, 1) for value in memory]
    batches = metric(port, "yoyak_batch_dialogues_count")
    results["dialogues_a_batch"] = round(metric(port, "yoyak_batch_dialogues_sum") / batches, 1)
    return results


def compare_batches(model: Path, dialogues: Sequence[str]) -> dict[str, dict[str, int]]:
    """For each backend and batch size: how many texts differ from those of dialogues that are written alone."""
    from yoyak.app.model_source import ModelSource
    from yoyak.data.raw_dialogues import prepare_dialogue

    differing: dict[str, dict[str, int]] = {}
    for backend in BACKENDS:
        shared = ModelSource(model, "model").load([f"generation.backend={backend}"])
        cleaned = [prepare_dialogue(text, shared.base.params.preprocess)[0] for text in dialogues]
        requests = [[{"dialogue": text, "topic": ""}] for text in cleaned]

        def texts(size: int, shared: Any = shared, requests: Any = requests) -> list[str]:
            starts = range(0, len(requests), size)
            written = [one for start in starts for one in shared.write(requests[start : start + size], shared.settings)]
            return [one[0].summary for one in written]

        alone = texts(1)
        differing[backend] = {
            f"batches of {size}": sum(a != b for a, b in zip(alone, texts(size), strict=True)) for size in SIZES
        }
        print(backend, differing[backend], flush=True)
    return differing


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("models/kobart"), help="folder of a trained model")
    parser.add_argument("--data", type=Path, default=Path("data/sample"), help="folder with dev.csv and test.csv")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dialogues", type=int, default=600, help="different ones")
    parser.add_argument("--requests", type=int, default=2000, help="further ones after the rounds, for the memory")
    parser.add_argument("--batches", action="store_true", help="also compare texts of batches")
    parser.add_argument("--output", type=Path, default=ROOT / "bench/results/serving.json")
    args = parser.parse_args()
    pairs = expected_pairs(args.model, args.data, args.dialogues)
    setting: dict[str, Any] = {"model": str(args.model), "clients": args.clients, "dialogues": len(pairs)}
    setting |= {"cores": os.cpu_count(), "load_average": os.getloadavg()[0]}  # of other programs too
    with served(args.model) as port:
        results = measure(port, pairs, clients=args.clients, rounds=args.rounds, requests=args.requests)
        setting["backend"] = json.loads(get(port, "/healthz"))["backend"]
    if args.batches:
        results["texts that differ"] = compare_batches(args.model, [dialogue for dialogue, _ in pairs])
    if args.output.is_file() and (memory := json.loads(args.output.read_text(encoding="utf-8")).get("memory")):
        results["memory"] = memory  # of bench.serving_memory
    contest.save(args.output, {"setting": setting, **results})
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()

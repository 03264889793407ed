"""Measure a bulk job: memory with ten million dialogues, and what its own work costs beside that of the model.

    python -m bench.bulk                     # ten million dialogues, without a model
    python -m bench.bulk --model models/base/kobart-tiny --dialogues 20000

Makes Parquet files with dialogues of the sample, repeated under new names, and runs `yoyak.inference.bulk.run_job` on them.
Without a model the first turn is copied. bench/results/bulk.json gets the dialogues a second and the largest resident memory of
the main process, after a tenth of the job and at its end.
"""

import argparse
import csv
import resource
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import ROOT

if TYPE_CHECKING:
    from yoyak.inference.bulk import Progress, Summaries
    from yoyak.inference.bulk_input import Part

ROWS_IN_FILE = 500_000


def first_turns(part: "Part") -> "Summaries":
    """Stands in for a model."""
    from yoyak.inference.bulk import Summaries

    texts: list[str | None] = [dialogue.text.partition("\n")[0] for dialogue in part.dialogues]
    return Summaries(part.name, [dialogue.fname for dialogue in part.dialogues], texts, [None] * len(texts))


def make_dialogues(folder: Path, count: int) -> None:
    """Write `count` dialogues as Parquet files of at most ROWS_IN_FILE rows."""
    import pyarrow
    import pyarrow.parquet

    with open(ROOT / "data/sample/train.csv", encoding="utf-8-sig", newline="") as file:
        texts = [row["dialogue"] for row in csv.DictReader(file)]
    schema = pyarrow.schema([("fname", pyarrow.string()), ("dialogue", pyarrow.string())])
    for start in range(0, count, ROWS_IN_FILE):
        with pyarrow.parquet.ParquetWriter(folder / f"dialogues-{start // ROWS_IN_FILE:04d}.parquet", schema) as writer:
            for first in range(start, min(start + ROWS_IN_FILE, count), 10_000):
                numbers = range(first, min(first + 10_000, start + ROWS_IN_FILE, count))
                columns = [[f"d{number}" for number in numbers], [texts[number % len(texts)] for number in numbers]]
                writer.write_table(pyarrow.table(columns, schema=schema))


def peak_mib() -> int:
    """The largest resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def main() -> None:
    from yoyak.config.params import load_params
    from yoyak.inference.bulk import TrainedModel, run_job
    from yoyak.inference.decisions import Decisions
    from yoyak.system.text_files import read_json, write_json

    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--dialogues", type=int, default=10_000_000)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--model", type=Path, help="folder of a trained model (default: none, the first turn is copied)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="yoyak.") as name:
        source, output = Path(name, "in"), Path(name, "out")
        source.mkdir()
        make_dialogues(source, args.dialogues)
        size = sum(file.stat().st_size for file in source.iterdir())
        model = TrainedModel(args.model.resolve(), load_params(), Decisions()) if args.model else None
        peaks: dict[str, int] = {"before": peak_mib()}

        def tell(progress: "Progress") -> None:
            if "after a tenth" not in peaks and progress.dialogues >= args.dialogues // 10:
                peaks["after a tenth"] = peak_mib()

        start = time.perf_counter()
        run_job(source, output, model or first_turns, key="bench", processes=args.processes, tell=tell)
        seconds = time.perf_counter() - start
        peaks["at the end"] = peak_mib()
        start = time.perf_counter()
        run_job(source, output, model or first_turns, key="bench", processes=args.processes)
        again = time.perf_counter() - start
    result: dict[str, Any] = {
        "dialogues": args.dialogues,
        "input_mib": size >> 20,
        "processes": args.processes,
        "model": args.model.name if args.model else "none",
        "seconds": round(seconds, 1),
        "dialogues_a_second": round(args.dialogues / seconds),
        "peak_mib": peaks,
        "seconds_of_a_second_run": round(again, 1),
    }
    print(result)
    path = ROOT / "bench/results/bulk.json"
    results = read_json(path) if path.is_file() else {}
    write_json(path, results | {f"model {result['model']}, {args.dialogues} dialogues": result})


if __name__ == "__main__":
    main()

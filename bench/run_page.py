"""Write the page of a run with many dialogues, and measure how long that takes.

    python -m bench.run_page --rows 10000 --output run.html

A row has the turns of three dialogues of data/sample and two of their summaries; its "model's" summary is the reference of
other dialogues. Prints seconds of Mecab and marks, seconds of writing, and megabytes. To see how long a browser needs, open
the page with its developer tools: the last entry of the performance timeline is the first page of dialogues.
"""

import argparse
import csv
import time
from pathlib import Path

from bench import ROOT
from yoyak.evaluation import rouge
from yoyak.evaluation.morphemes import Morphemes
from yoyak.reports.page.frame import write_page
from yoyak.reports.run_page.dev_rows import DevRow, explain_rows
from yoyak.reports.run_page.files import RunFacts
from yoyak.reports.run_page.run_page import run_page


def make_rows(count: int) -> list[DevRow]:
    """`count` rows from data/sample/dev.csv, with the scores of their summaries."""
    with open(ROOT / "data/sample/dev.csv", encoding="utf-8-sig", newline="") as file:
        given = list(csv.DictReader(file))
    parts = [[given[(row * step + shift) % len(given)] for step, shift in ((1, 0), (7, 1), (13, 5))] for row in range(count)]
    references = [f"{one['summary']} {two['summary']}" for one, two, _ in parts]
    summaries = [f"{one['summary']} {three['summary']}" for one, _, three in parts]
    scores = rouge.score_rows(predictions=summaries, references=[[text] for text in references], tokenizer=Morphemes())
    return [
        DevRow(
            f"dev_{number}",
            part[0].get("topic", ""),
            "\n".join(each["dialogue"] for each in part),
            [references[number]],
            summaries[number],
            {**dict(zip(rouge.KEYS, map(float, scores[number]), strict=True)), "rouge_sum": float(scores[number].sum())},
        )
        for number, part in enumerate(parts)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--output", type=Path, default=Path("reports/bench.html"))
    args = parser.parse_args()
    rows = make_rows(args.rows)
    start = time.perf_counter()
    explained = explain_rows(rows)
    marked = time.perf_counter()
    write_page(args.output, run_page(RunFacts(name="bench", rows=rows), explained, "en"))
    written = time.perf_counter()
    characters = sum(len(row.dialogue) for row in rows) / len(rows)
    print(f"{len(rows):,} rows, dialogues of {characters:.0f} characters: marks {marked - start:.1f} s, ", end="")
    print(f"page {written - marked:.1f} s, {args.output.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()

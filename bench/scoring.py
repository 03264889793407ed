"""Score many pairs with an interval, and compare with rouge_score with Mecab in one process.

    python -m bench.scoring --pairs 100000

No two texts are the same, so that no cache helps. Each text is a summary of the sample with its words in another order, and the
beginning of a second one. Both contenders score the same pairs; `largest_difference` is over all rows and measures (0 to 100).
Writes bench/results/scoring.json.
"""

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench import ROOT, contest


def pairs(count: int) -> tuple[list[str], list[str]]:
    from yoyak.system.csv_files import read_csv

    known = [cells["summary"] for _, cells in read_csv(ROOT / "data/sample/train.csv", required=["summary"])]
    draw, seen, texts = random.Random(0), set[str](), list[str]()
    while len(texts) < 2 * count:
        words = draw.choice(known).split()
        draw.shuffle(words)
        text = " ".join([*words, *draw.choice(known).split()[: draw.randrange(1, 9)]])
        if text not in seen:
            seen.add(text)
            texts.append(text)
    return texts[:count], texts[count:]


def by_yoyak(args: argparse.Namespace) -> dict[str, Any]:
    import numpy as np

    from yoyak.evaluation import bootstrap, rouge
    from yoyak.evaluation.morphemes import Morphemes

    predictions, references = pairs(args.pairs)
    start = time.perf_counter()
    tokenizer = Morphemes()
    tokenizer.preload([*predictions, *references])
    read = time.perf_counter() - start
    rows = rouge.score_rows(predictions=predictions, references=[[text] for text in references], tokenizer=tokenizer)
    scored = time.perf_counter() - start
    means = rouge.with_totals(bootstrap.resampled_means(rows, samples=1000, seed=0))
    for column in means.T:
        bootstrap.interval(column)
    seconds = time.perf_counter() - start
    np.save(args.folder / "yoyak.npy", rows)
    return {
        "seconds": round(seconds, 2),
        "of_them_mecab": round(read, 2),
        "of_them_interval": round(seconds - scored, 2),
        "peak_mib": round(contest.peak_mib()),
    }


def by_rouge_score(args: argparse.Namespace) -> dict[str, Any]:
    import numpy as np
    from mecab import MeCab
    from rouge_score.rouge_scorer import RougeScorer

    class Tokenizer:
        mecab = MeCab()

        def tokenize(self, text: str) -> list[str]:
            return list(self.mecab.morphs(text))

    predictions, references = pairs(args.pairs)
    start = time.perf_counter()
    keys = ["rouge1", "rouge2", "rougeL"]
    scorer = RougeScorer(keys, tokenizer=Tokenizer())
    rows = []
    for prediction, reference in zip(predictions, references, strict=True):
        scores = scorer.score(target=reference, prediction=prediction)
        rows.append([100 * scores[key].fmeasure for key in keys])
    seconds = time.perf_counter() - start
    np.save(args.folder / "rouge_score.npy", rows)
    return {"seconds": round(seconds, 2), "peak_mib": round(contest.peak_mib())}


def main() -> None:
    import numpy as np

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pairs", type=int, default=100_000)
    parser.add_argument("--json", type=Path, default=ROOT / "bench/results/scoring.json")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        contest.print_result((by_yoyak if args.one == "yoyak" else by_rouge_score)(args))
        return
    with tempfile.TemporaryDirectory() as folder:
        results = contest.run_each("bench.scoring", ["yoyak", "rouge_score"], [*sys.argv[1:], "--folder", folder])
        ours, theirs = (np.load(Path(folder, f"{name}.npy")) for name in ("yoyak", "rouge_score"))
    results["largest_difference"] = float(np.abs(ours - theirs).max())
    results["ratios"] = contest.ratio(results, "rouge_score", "yoyak", "seconds")
    results["setting"] = {"pairs": args.pairs}
    contest.save(args.json, results)


if __name__ == "__main__":
    main()

"""Write bench/results/README.md, one table of all results, from the JSON files beside it.

python -m bench.table
"""

import json
from typing import Any

from bench import ROOT

RESULTS = ROOT / "bench/results"
# (file, our contender, the other contender, the unit that is counted per second)
CONTESTS = [
    (file, ours, theirs, unit)
    for file in sorted(path.stem for path in RESULTS.glob("kobart*.json"))
    for ours, theirs, unit in (
        ("train-yoyak", "train-padded", "tokens"),
        ("train-yoyak", "train-plain", "tokens"),
        ("write-yoyak", "write-padded", "dialogues"),
        ("write-int8", "write-padded", "dialogues"),
        ("write-yoyak", "write-transformers", "dialogues"),
    )
] + [
    ("qlora", "yoyak", "trl", "tokens"),
    ("qlora", "yoyak", "trl-keeping", "tokens"),
    ("qlora", "yoyak", "trl-padded", "tokens"),
    ("qlora", "write-yoyak", "write-plain", "dialogues"),
    ("qlora", "write-yoyak", "write-merged", "dialogues"),
]
LABELS = {
    "train-padded": "padded to 512/100",
    "train-plain": "plain Hugging Face script",
    "write-padded": "padded, in file order",
    "write-transformers": "yoyak's batches, written by transformers",
    "trl": "TRL's defaults",
    "trl-keeping": "TRL, activations kept",
    "trl-padded": "TRL, padded",
    "write-plain": "NF4 base with its adapter, in file order",
    "write-merged": "base and adapter merged, in file order",
}


def read(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return found


def number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def quality(result: dict[str, Any]) -> str:
    return f"dev loss {result['dev_loss']:.3f}" if "dev_loss" in result else f"rouge_sum {result['rouge_sum']:.1f}"


def contest_row(file: str, ours: str, theirs: str, unit: str) -> str | None:
    results = read(file)
    if not {ours, theirs} <= set(results):
        return None
    one, other, setting = results[ours], results[theirs], results["setting"]
    model = setting.get("model") or setting["checkpoint"].rpartition("/")[2]
    rows = setting["rows"] if unit == "tokens" else setting["dev"]
    speeds = [result[f"{unit}_a_second"] for result in (one, other)]
    times = f"{speeds[0] / speeds[1]:.1f}"
    if "tokens_a_second_warm" in one:
        times += f" ({one['tokens_a_second_warm'] / other['tokens_a_second_warm']:.1f})"
    cells = [
        f"{'train' if unit == 'tokens' else 'write'}: {model}, {rows} rows of {setting['data']}"
        + ("; 5 beams, penalties" if "decoding" in setting else ""),
        LABELS[theirs],
        f"{number(speeds[0])} beside {number(speeds[1])} {unit} a second",
        times,
        f"{quality(one)} beside {quality(other).rpartition(' ')[2]}"
        + (f", {one['backend'].removeprefix('ctranslate2').removeprefix('-') or 'float32'}" if "backend" in one else ""),
        f"{one['peak_mib'] / other['peak_mib']:.2f}",
    ]
    return f"| {' | '.join(cells)} |"


def lines() -> list[str]:
    made = [
        "# What the benchmarks found",
        "",
        "By `make bench`, which writes this page. The contenders of a line ran one after the other on one machine. Figures in",
        "brackets are without the first three steps, in which the system allocates memory. Memory: ours divided by theirs.",
        "",
        "| work | beside | figures | times as fast | at the end | memory |",
        "| --- | --- | --- | --- | --- | --- |",
        *(row for entry in CONTESTS if (row := contest_row(*entry))),
    ]
    scoring = read("scoring")
    ours, theirs = scoring["yoyak"], scoring["rouge_score"]
    made += [
        f"| score: {scoring['setting']['pairs']:,} pairs with interval | rouge_score with Mecab | "
        f"{ours['seconds']:.1f} beside {theirs['seconds']:.1f} seconds ({ours['of_them_mecab']:.1f} of ours are Mecab's) | "
        f"{theirs['seconds'] / ours['seconds']:.1f} | largest difference of a row {scoring['largest_difference']:g} | "
        f"{ours['peak_mib'] / theirs['peak_mib']:.2f} |",
        "",
        "| dialogues | seconds | MiB of its own | cores busy |",
        "| --- | --- | --- | --- |",
    ]
    for what, result in read("data").items():
        if what != "ratios":
            name, rows = what.split()
            made.append(f"| {name}: {int(rows):,} | {result['seconds']:.0f} | {result['peak_mib']} | {result['cores_busy']} |")
    made += ["", "| waited for | seconds |", "| --- | --- |"]
    for what, result in read("startup").items():
        parts = [f"{part} {result[part]:g}" for part in ("set-up", "pipeline") if part in result]
        made.append(f"| {what} | {result['seconds']:g}{' (' + ', '.join(parts) + ')' if parts else ''} |")
    return made


def main() -> None:
    text = "\n".join(lines()) + "\n"
    (RESULTS / "README.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()

"""The table of bench.ablation: each technique beside the first one, from the numbers of their runs."""

from typing import Any

METRICS = ("rouge_sum", "content_sum", "facts_unsupported", "facts_recalled")  # columns of metrics/per_dialogue.csv
LOWER_IS_BETTER = ("facts_unsupported",)
FACTS = ("rows", "added", "steps", "train_seconds", "predict_seconds", "commit")  # of a run
COLUMNS = (
    "Technique",
    "rows + added",
    "steps",
    "s",
    "metric",
    "mean, 95 % interval",
    "seeds",
    "difference, 95 % interval",
    "p",
    "verdict",
    "better than medoid",
)
SAMPLES = 1000  # for the intervals of the means


def compared(runs: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Each name against the first one, by the means of the dialogues over the seeds."""
    import numpy as np

    from yoyak.evaluation import bootstrap
    from yoyak.evaluation.paired_tests import compare_systems

    tables = {name: [run["dialogues"] for run in several] for name, several in runs.items()}
    base, *others = tables
    result: dict[str, Any] = {name: {} for name in tables}
    for metric in METRICS:
        kept = {name for name, several in tables.items() if all(metric in table for table in several)}
        if base not in kept:
            continue  # its runs are older than this metric
        by_seed = {name: np.array([table[metric] for table in tables[name]]) for name in tables if name in kept}
        means = {name: table.mean(axis=0) for name, table in by_seed.items()}
        tests = compare_systems(
            {name: means[name] for name in others if name in kept}, means[base], lower_is_better=metric in LOWER_IS_BETTER
        )
        for name, rows in means.items():
            resampled = bootstrap.resampled_means(rows[:, None], samples=SAMPLES, seed=0)
            singles = by_seed[name].mean(axis=1)
            result[name][metric] = {
                "mean": round(float(rows.mean()), 3),
                "interval": bootstrap.interval(resampled[:, 0]),
                "seeds": [round(float(value), 3) for value in singles],
                **({"against": tests[name].to_json()} if name in tests else {}),
                **medoid_beaten(runs[name], metric),
            }
    for name, several in runs.items():
        result[name] |= {key: [run[key] for run in several] for key in FACTS}
    return result


def medoid_beaten(runs: list[dict[str, Any]], metric: str) -> dict[str, list[bool]]:
    """Whether each run is better than the baseline medoid by the paired bootstrap, where the runs have kept that."""
    found = [run["medoid_beaten"][metric] for run in runs if metric in run.get("medoid_beaten", {})]
    return {"medoid_beaten": found} if len(found) == len(runs) else {}


def markdown(result: dict[str, Any], *, heading: str) -> str:
    """The table of the results."""
    lines = [
        f"{heading}\n",
        f"| {' | '.join(COLUMNS)} |",
    ]
    lines.append("| --- " * len(COLUMNS) + "|")
    for name, found in result.items():
        for metric in filter(found.__contains__, METRICS):
            one_metric = found[metric]
            low, high = one_metric["interval"]
            seeds = f"{min(one_metric['seeds']):.2f} to {max(one_metric['seeds']):.2f}"
            seconds = " + ".join(f"{sum(found[key]) / len(found[key]):.0f}" for key in ("train_seconds", "predict_seconds"))
            cells = [
                name.partition(":")[0],
                f"{found['rows'][0]:,} + {found['added'][0]:,}",
                f"{found['steps'][0]:,}",
                seconds,
                metric,
            ]
            cells += [f"{one_metric['mean']:.2f} ({low:.2f} to {high:.2f})", seeds]
            if test := one_metric.get("against"):
                ends = " to ".join(f"{end:+.2f}" for end in test["interval"])
                cells += [f"{test['difference']:+.2f} ({ends})", f"{test['p_corrected']:.4f}", test["verdict"]]
            else:
                cells += ["", "", ""]
            beaten = one_metric.get("medoid_beaten")
            cells.append(f"{sum(beaten)} of {len(beaten)}" if beaten else "")
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"

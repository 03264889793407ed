"""Comparison of runs over the same dev dialogues: scores with paired tests, params that differ, costs; as data and as text."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from yoyak.evaluation.metrics.lookup import lower_is_better
from yoyak.evaluation.paired_table import paired_table
from yoyak.evaluation.paired_tests import SAMPLES, PairedResult, compare_metrics
from yoyak.reports.runs import Run, scorer_of
from yoyak.system.errors import YoyakError

MAX_VALUE = 40  # characters of a param's value in the table


@dataclass(frozen=True)
class Comparison:
    """Runs beside a base run.

    Attributes:
        base: name of the run that the others are compared with.
        results: the paired result of each metric (outer key) and each other run (inner key).
        params: the values of each param that differs, for the base and then the other runs. None: the run lacks the param.
        costs: what each run costs, by name of the run; see `costs_of`.
        rows: number of dialogues.
    """

    base: str
    results: dict[str, dict[str, PairedResult]]
    params: dict[str, list[Any]]
    costs: dict[str, dict[str, float | None]]
    rows: int

    def to_json(self) -> dict[str, Any]:
        """The content of the file that `yoyak compare --json` writes."""
        names = list(self.costs)
        return {
            "base": self.base,
            "rows": self.rows,
            "metrics": {
                metric: {name: result.to_json() for name, result in results.items()} for metric, results in self.results.items()
            },
            "params": {name: dict(zip(names, values, strict=True)) for name, values in self.params.items()},
            "costs": self.costs,
        }


def compare_runs(runs: Sequence[Run], *, samples: int = SAMPLES, seed: int = 0) -> Comparison:
    """Compare all runs with the first one.

    Args:
        runs: at least two, with different names.
        samples: number of resamplings of each test.
        seed: of the resampling.

    Raises:
        YoyakError: if a run has no score, or two runs were scored on other dialogues, references or by another scorer.
    """
    base, *others = runs
    _check_comparable(base, others)
    _, base_scores = base.row_scores
    metrics = [metric for metric in base_scores if all(_same_metric(metric, run, base) for run in others)]
    results = compare_metrics(
        {run.name: {metric: run.row_scores[1][metric] for metric in metrics} for run in others},
        {metric: base_scores[metric] for metric in metrics},
        lower_is_better=lower_is_better(),
        samples=samples,
        seed=seed,
    )
    return Comparison(
        base=base.name,
        results=results,
        params=_differing_params(runs),
        costs={run.name: costs_of(run) for run in runs},
        rows=len(base.row_scores[0]),
    )


def _check_comparable(base: Run, others: Sequence[Run]) -> None:
    fnames, _ = base.row_scores
    for run in others:
        if scorer_of(run) != scorer_of(base):
            raise YoyakError(
                f"{run.name}: scored otherwise than {base.name}:\n  {scorer_of(run)}\n  {scorer_of(base)}\n"
                "Score both with the same packages and the same score.references (`dvc repro score`)."
            )
        its_fnames = run.row_scores[0]
        if its_fnames != fnames:
            only_here, only_there = (len(set(a) - set(b)) for a, b in ((its_fnames, fnames), (fnames, its_fnames)))
            raise YoyakError(
                f"{run.name}: other dev dialogues than in {base.name}: {only_here} are only in {run.name}, {only_there} only "
                f"in {base.name}{'' if only_here or only_there else ', and the order differs'}; compare runs on one dev.csv"
            )
        if changed := [name for name in fnames if run.references[name] != base.references[name]]:
            raise YoyakError(
                f"{run.name}: {len(changed)} dialogues have other references than in {base.name} (the first is "
                f"{changed[0]}); compare runs on one dev.csv"
            )


def _same_metric(column: str, run: Run, base: Run) -> bool:
    """Whether both runs have a column of metrics/per_dialogue.csv, computed in the same way: by one model, one rubric."""
    if column not in run.row_scores[1]:
        return False
    parts = [name for name in base.scores if column.startswith(f"{name}_") and "signature" in (base.scores[name] or {})]
    return all(run.scores.get(name, {}).get("signature") == base.scores[name]["signature"] for name in parts)


def _differing_params(runs: Sequence[Run]) -> dict[str, list[Any]]:
    names = dict.fromkeys(name for run in runs for name in run.params)  # in the order of params.yaml
    values = {name: [run.params.get(name) for run in runs] for name in names}
    return {name: found for name, found in values.items() if any(value != found[0] for value in found)}


def costs_of(run: Run) -> dict[str, float | None]:
    """Seconds of training and for each summary, megabytes of the trained model, price of an API's answers; None: not known.

    Times are those of this machine (`system.timings`). They are in no file of a run, because they would differ each time. The
    family `endpoint` keeps the mean time of its answers in metrics/predict.json.
    """
    family = run.params.get("model.family")
    return {
        "train_seconds": run.seconds_of(f"models/{family}"),
        "seconds_a_dialogue": run.seconds_of("data/predictions"),
        "model_megabytes": None if run.model_bytes is None else round(run.model_bytes / 1e6, 1),
        "price": run.scores.get("price"),
    }


def comparison_table(comparison: Comparison) -> str:
    """The comparison as text for a terminal of 100 columns."""
    width = max(4, *map(len, comparison.costs))
    lines = paired_table(comparison.results, base=comparison.base, rows=comparison.rows)
    return "\n".join([*lines, "", *_params_table(comparison), "", *_costs_table(comparison, width)])


def _params_table(comparison: Comparison) -> list[str]:
    if not comparison.params:
        return ["params: all equal"]
    shown = {name: [_short(value) for value in values] for name, values in comparison.params.items()}
    columns = [list(comparison.costs), *shown.values()]
    widths = [max(len(column[index]) for column in columns) for index in range(len(comparison.costs))]
    first = max(map(len, shown), default=0)
    rows = [("params that differ", columns[0]), *shown.items()]
    first = max(first, len(rows[0][0]))
    return [
        f"{name:{first}}  " + "  ".join(f"{cell:{size}}" for cell, size in zip(cells, widths, strict=True)).rstrip()
        for name, cells in rows
    ]


def _costs_table(comparison: Comparison, width: int) -> list[str]:
    heads = {"train_seconds": "train s", "seconds_a_dialogue": "s/dialogue", "model_megabytes": "model MB", "price": "price"}
    forms = {"train_seconds": ",.1f", "seconds_a_dialogue": ".4f", "model_megabytes": ",.1f", "price": ".4f"}
    lines = [f"{'cost':{width}}" + "".join(f"{head:>12}" for head in heads.values())]
    for name, cost in comparison.costs.items():
        cells = ["-" if (value := cost[key]) is None else format(value, forms[key]) for key in heads]
        lines.append(f"{name:{width}}" + "".join(f"{cell:>12}" for cell in cells))
    return [*lines, "-: not known: made on another machine, continued after a kill, or nothing to pay"]


def _short(value: Any) -> str:
    text = "-" if value is None else " ".join(str(value).split())
    return text if len(text) <= MAX_VALUE else f"{text[: MAX_VALUE - 1]}…"
